"""A run as a pipeline of diffusers: its U-Net as a UNet2DModel, its schedule as a table of betas.

    DDIMPipeline.from_pretrained("digits-diffusers").unet(x, timestep, class_labels).sample

What can be said there is a dense U-Net of blocks with one number of groups, and attention of one width, that predicts
the noise, v or x_0 of a variance preserving process. Only the noise level is told in another way, and is made exact: a
UNet2DModel looks up a row of numbers for each of T timesteps, and puts it through two layers. With random rows and a
random first layer of 2T units, the hidden units of T timesteps are linearly independent, so the second layer can say
any T vectors: those of our waves of log-SNR.

``undiffuse.json`` holds what a pipeline of diffusers has no place for: the mean and deviation of the pixels, since a
pipeline takes them to be within -1 and 1, and the names of labels, of which the one after the last is none.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undiffuse.codec.normalise import Normalise
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Labels
from undiffuse.core.errors import UserError
from undiffuse.core.files import write_json
from undiffuse.denoiser.gaussian import noise_level
from undiffuse.denoiser.prediction import X0, Eps, V
from undiffuse.net.blocks import PixelAttention
from undiffuse.net.unet import UNet
from undiffuse.pipeline.parts import BESIDE, class_of_part, quiet
from undiffuse.process.schedule import VariancePreserving
from undiffuse.run.run import Run

STEPS = 1000  # timesteps of a continuous schedule
PREDICTIONS = {Eps: "epsilon", V: "v_prediction", X0: "sample"}
CHECKED = 4  # random inputs
FAR = 1e-3  # of an answer's size: further off than rounding explains


def to_diffusers(run: Run, folder: Path) -> str:
    """Write the pipeline. Raises UserError, naming the part that diffusers has no words for."""
    _check(run)
    unet = _network(run)
    off = _difference(run, unet)
    if off > FAR:
        raise UserError(f"{run.folder}: diffusers' network differs from the run's by {off:.1g} of its size")
    scheduler = class_of_part("diffusers", "DDIMScheduler")(
        num_train_timesteps=_steps(run),
        trained_betas=_betas(run),
        prediction_type=PREDICTIONS[type(run.denoiser.prediction)],
        clip_sample=False,
        timestep_spacing="trailing",
    )
    with quiet("diffusers"):
        class_of_part("diffusers", "DDIMPipeline")(unet, scheduler).save_pretrained(folder)
    mean, std = run.codec.affine()
    names = {name: list(of.names) for name, of in run.specifications.items() if isinstance(of, Labels)}
    write_json(folder / BESIDE, {"mean": mean.flatten().tolist(), "std": std.flatten().tolist(), "labels": names})
    return f"a DDIMPipeline; its network answers as the run does, to {off:.1g}; pixels are mean + std x of {BESIDE}"


def _check(run: Run) -> None:
    """Raises UserError for what cannot be said."""
    for wrong, what in _unsaid(run):
        if wrong:
            raise UserError(f"{run.folder}: diffusers has no words for {what}")


def _unsaid(run: Run) -> Iterator[tuple[bool, str]]:
    denoiser, net = run.denoiser, getattr(run.recipe.model, "net", None)
    yield run.is_of_tokens or run.is_few_step or run.is_bridge or run.is_classifier, "what is no plain diffusion"
    yield not isinstance(run.codec, Normalise) or run.kind != "pictures", "its codec, only for pixels"
    yield not isinstance(net, UNet), "its network, only for a U-Net (--net unet --net.dense true)"
    assert isinstance(net, UNet)
    yield not net.dense, "a U-Net with one skip a level; train with --net.dense true"
    yield net.skip_scale != 1 or net.resampling != "learned", "its skip_scale or its resampling"
    levels = range(len(net.multiples))
    yield len({net.blocks_of(level) for level in levels}) > 1, "levels of different numbers of blocks"
    groups, heads = _counts(denoiser.net)
    yield len(groups) > 1, f"normalisations of different numbers of groups, {', '.join(map(str, sorted(groups)))}"
    yield len(heads) > 1, f"attention of heads of different widths, {', '.join(map(str, sorted(heads)))}"
    halved = 2 ** (len(net.multiples) - 1)
    yield any(side % halved for side in run.shape[1:]), f"pictures whose sides are no multiples of {halved}"
    yield type(denoiser.prediction) not in PREDICTIONS, "what it predicts, only for eps, v and x0"
    yield denoiser.learned_variance, "its learned variance"
    process = denoiser.process
    yield not isinstance(process.schedule, VariancePreserving), "its schedule, only for variance preserving ones"
    yield not process.z.is_gaussian, "its noise, only for Gaussian noise"
    others = [name for name, of in run.specifications.items() if not isinstance(of, Labels)]
    yield bool(others) or len(run.specifications) > 1, f"its conditions {', '.join(run.specifications)}, only one label"


def _counts(net: nn.Module) -> tuple[set[int], set[int]]:
    """Numbers of groups of its normalisations, and widths of its heads."""
    norms = {one.num_groups for one in net.modules() if isinstance(one, nn.GroupNorm)}
    looks = [one for one in net.modules() if isinstance(one, PixelAttention)]
    return norms, {one.query_key_value.in_features // one.heads for one in looks}


def _steps(run: Run) -> int:
    return run.denoiser.process.schedule.steps or STEPS


def _times(run: Run) -> Tensor:
    """Of timesteps 0, 1, ...: (T,) float64."""
    return torch.arange(1, _steps(run) + 1, dtype=torch.float64) / _steps(run)


def _betas(run: Run) -> list[float]:
    """1 - alpha-bar_i/alpha-bar_(i-1)."""
    alpha_bars = torch.cat(
        [torch.ones(1, dtype=torch.float64), run.denoiser.process.schedule.at(_times(run)).alpha ** 2]
    )
    return (1 - alpha_bars[1:] / alpha_bars[:-1]).tolist()


def _network(run: Run) -> Any:
    """The UNet2DModel."""
    net: Any = run.denoiser.net
    design = run.recipe.model.net
    assert isinstance(design, UNet)
    (groups,), heads = _counts(net)
    levels, labels = range(len(design.multiples)), next(iter(run.specifications.values()), None)
    down = tuple("AttnDownBlock2D" if design.attends(level) else "DownBlock2D" for level in levels)
    unet = class_of_part("diffusers", "UNet2DModel")(
        sample_size=run.shape[1:],
        in_channels=run.shape[0],
        out_channels=run.shape[0],
        time_embedding_type="learned",
        time_embedding_dim=2 * _steps(run),
        num_train_timesteps=_steps(run),
        down_block_types=down,
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(down)),
        block_out_channels=tuple(map(design.width_of, levels)),
        layers_per_block=design.blocks_of(0),
        attention_head_dim=next(iter(heads), 8),
        norm_num_groups=groups,
        attn_norm_num_groups=groups,  # of the attention in the middle
        resnet_time_scale_shift="scale_shift",
        add_attention=design.attends(levels[-1]),
        num_class_embeds=len(labels.names) + 1 if isinstance(labels, Labels) else None,
    )
    with torch.no_grad():
        _tell_time(run, unet)
        if unet.class_embedding is not None:
            table = run.denoiser.encoder.entries[0].table.weight.cpu()  # the first is for none, there the last
            unet.class_embedding.weight.zero_()[:, : table.shape[1]] = torch.cat([table[1:], table[:1]])
        _copy(unet.conv_in, net.stem)
        _copy(unet.conv_norm_out, net.norm)
        _copy(unet.conv_out, net.head)
        _fill(unet, net.levels)
    return unet.eval().requires_grad_(False)


def _tell_time(run: Run, unet: Any) -> None:
    """Random rows and a random first layer; the second layer that makes our vectors of them."""
    encoder, generator = run.denoiser.encoder, torch.Generator().manual_seed(0)
    log_snr = noise_level(run.denoiser.process.schedule.at(_times(run)).log_snr, run.device)
    wanted = encoder.level(log_snr).double().cpu()
    first, second = unet.time_embedding.linear_1, unet.time_embedding.linear_2
    unet.time_proj.weight.copy_(torch.randn(unet.time_proj.weight.shape, generator=generator))
    first.weight.copy_(2 * torch.randn(first.weight.shape, generator=generator) / math.sqrt(first.in_features))
    first.bias.copy_(torch.randn(first.bias.shape, generator=generator))
    hidden = torch.nn.functional.silu(first.double()(unet.time_proj.weight.double()))
    first.float()
    second.weight.zero_()
    second.bias.zero_()
    second.weight[: wanted.shape[1]] = torch.linalg.lstsq(hidden, wanted, driver="gelsd").solution.T.float()


def _fill(unet: Any, level: Any) -> None:
    """Its levels, finest first on the way down, coarsest first on the way up."""
    for down, up in zip(unet.down_blocks, reversed(unet.up_blocks), strict=True):
        _fill_blocks(down, level.down)
        _fill_blocks(up, level.up)
        if hasattr(level, "inner"):
            _copy(down.downsamplers[0].conv, level.shrink[0])
            _copy(_coarser(unet, up).upsamplers[0].conv, level.grow.conv)
            level = level.inner
    _fill_block(unet.mid_block.resnets[0], level.middle[0].residual)
    _fill_block(unet.mid_block.resnets[1], level.middle[1].residual)
    if unet.mid_block.attentions[0] is not None:
        _fill_attention(unet.mid_block.attentions[0], level.middle[0].look)


def _coarser(unet: Any, up: Any) -> Any:
    """The block before this one on the way up, which enlarges what this one takes."""
    blocks = list(unet.up_blocks)
    return blocks[blocks.index(up) - 1]


def _fill_blocks(block: Any, ours: Any) -> None:
    attentions = getattr(block, "attentions", [None] * len(ours))
    for resnet, attention, one in zip(block.resnets, attentions, ours, strict=True):
        _fill_block(resnet, one.residual)
        if attention is not None:
            _fill_attention(attention, one.look)


def _fill_block(resnet: Any, ours: Any) -> None:
    for theirs, mine in (
        (resnet.norm1, ours.norm_in),
        (resnet.conv1, ours.conv_in),
        (resnet.norm2, ours.norm_out),
        (resnet.conv2, ours.conv_out),
        (resnet.conv_shortcut, ours.shortcut),
    ):
        if theirs is not None:
            _copy(theirs, mine)
    wide = ours.modulation.in_features
    resnet.time_emb_proj.weight.zero_()[:, :wide] = ours.modulation.weight.cpu()
    resnet.time_emb_proj.bias.copy_(ours.modulation.bias)


def _fill_attention(attention: Any, ours: Any) -> None:
    _copy(attention.group_norm, ours.norm)
    _copy(attention.to_out[0], ours.out)
    parts = zip(ours.query_key_value.weight.chunk(3), ours.query_key_value.bias.chunk(3), strict=True)
    for theirs, (weight, bias) in zip((attention.to_q, attention.to_k, attention.to_v), parts, strict=True):
        theirs.weight.copy_(weight)
        theirs.bias.copy_(bias)


def _copy(theirs: Any, mine: Any) -> None:
    theirs.weight.copy_(mine.weight)
    theirs.bias.copy_(mine.bias)


@torch.no_grad()
def _difference(run: Run, unet: Any) -> float:
    """The largest difference of answers to random inputs, in the size of the answers."""
    generator, steps = torch.Generator().manual_seed(1), _steps(run)
    x = torch.randn(CHECKED, *run.shape, generator=generator)
    worst = 0.0
    for timestep in (0, steps // 3, steps - 1):
        conditions, labels = None, None
        if run.specifications:
            (name, of), *_ = run.specifications.items()
            asked = torch.randint(len(getattr(of, "names", ())), (CHECKED,), generator=generator)
            present = torch.arange(CHECKED) > 0
            conditions = Conditions({name: Entry(asked, present)}).to(run.device)
            labels = asked.masked_fill(~present, len(getattr(of, "names", ())))
        mine = run.denoiser.answer(x.to(run.device), (timestep + 1) / steps, conditions).cpu()
        off = (unet(x, timestep, class_labels=labels).sample - mine).abs().max()
        worst = max(worst, float(off / mine.abs().max().clamp(min=1e-6)))
    return worst

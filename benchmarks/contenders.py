"""Who is measured by `benchmarks.throughput`: the same task in every library, each with its own way of doing it.

A contender is a function of a `Setting` that gives an object with a network, ``train()`` for one step and ``sample()``
for one batch: name it in ``CONTENDERS``. One whose package is missing raises ImportError, and is left out.

Training is a whole step, from bytes to averaged weights: ours as `undiffuse.train.trainer` takes it, the others' as
their own training example or trainer does. Sampling is DDIM, in each library's own loop.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from benchmarks import peers
from undiffuse.condition.label import conditions_of, labelled
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import Eps
from undiffuse.net import DiT, UNet
from undiffuse.process import Affine, Linear
from undiffuse.sampling.loop import sample
from undiffuse.sampling.samplers import SAMPLERS


@dataclass(frozen=True)
class Setting:
    """What every contender is given."""

    device: str
    precision: Literal["fp32", "bf16"]
    size: int
    batch: int
    steps: int  # of sampling
    width: int = 64  # of a U-Net's finest level; a transformer is three times as wide
    multiples: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    depth: int = 6  # of a transformer
    patch: int = 2
    head_width: int = 32
    groups: int = 8
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.size, self.size

    @property
    def heads(self) -> int:
        """Of a transformer."""
        return 3 * self.width // self.head_width

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def pictures(self) -> Tensor:
        return torch.randint(0, 256, self.shape, dtype=torch.uint8, device=self.device)

    def labels(self, classes: int) -> Tensor:
        return torch.randint(0, classes, (self.batch,), device=self.device)


class Contender(Protocol):
    net: nn.Module

    def train(self) -> None:
        """One step."""

    def sample(self) -> Tensor:
        """One batch."""


class Ours:
    """`Trainer`'s step and `sample`."""

    def __init__(self, setting: Setting, design: UNet | DiT, classes: int = 0, compiled: bool = False) -> None:
        from accelerate import Accelerator

        from undiffuse.data.dataset import Dataset
        from undiffuse.data.ready import Digits
        from undiffuse.recipe.model import GaussianDiffusion
        from undiffuse.recipe.recipe import Recipe
        from undiffuse.recipe.training import Training
        from undiffuse.train.trainer import Trainer

        self.setting, self.process, self.sampler = setting, Affine(Linear()), SAMPLERS["ddim"]
        pictures = torch.randint(0, 256, (4 * setting.batch, *setting.shape[1:]), dtype=torch.uint8)
        labels = torch.randint(0, classes, (len(pictures),)) if classes else None
        recipe = Recipe(
            Digits(),
            GaussianDiffusion(design, schedule=Linear(), prediction=Eps()),
            training=Training(
                batch=setting.batch, lr=1e-4, averages=(0.05,), precision=setting.precision, compile=compiled
            ),
        )
        names = tuple(map(str, range(classes)))
        data = Dataset(pictures, *labelled(labels, names), "pictures")
        self.trainer = Trainer(recipe, data, Accelerator(cpu=setting.device == "cpu"))
        self.net, self.encoder = self.trainer.objective.denoiser.net, self.trainer.objective.denoiser.encoder
        self.conditions = conditions_of(setting.labels(classes), names) if classes else None

    def train(self) -> None:
        self.trainer.step()

    def sample(self) -> Tensor:
        denoiser = Denoiser(self.net, self.process, Eps(), encoder=self.encoder)
        times = self.sampler.grid(self.process.schedule, self.setting.steps)
        like = torch.empty(self.setting.shape, device=self.setting.device)
        with self.setting.autocast():
            return sample(
                self.process,
                self.sampler.make(self.process),
                lambda x_t, t: denoiser(x_t, t, self.conditions),
                like,
                times,
            )


def our_unet(setting: Setting, compiled: bool = False) -> Ours:
    design = UNet(
        setting.width,
        setting.multiples,
        setting.blocks,
        embedding=4 * setting.width,
        heads=setting.width * setting.multiples[-1] // setting.head_width,
        groups=setting.groups,
        dense=True,
    )
    return Ours(setting, design, compiled=compiled)


def our_dit(setting: Setting, compiled: bool = False, as_theirs: bool = False) -> Ours:
    """As we recommend it; or with what diffusers' has: positions added to the patches, queries of any length."""
    kind = {"positions": "learned", "qk_norm": False} if as_theirs else {}
    design = DiT(setting.patch, 3 * setting.width, setting.depth, setting.heads, **kind)  # type: ignore[arg-type]
    return Ours(setting, design, classes=10, compiled=compiled)


class Diffusers:
    """A network of diffusers, the step of its ``examples/unconditional_image_generation``, and ``DDIMScheduler``."""

    def __init__(self, setting: Setting, net: nn.Module, classes: int = 0) -> None:
        from diffusers import DDIMScheduler, DDPMScheduler
        from diffusers.training_utils import EMAModel

        self.setting, self.net, self.classes = setting, net.to(setting.device), classes
        self.train_scheduler, self.scheduler = DDPMScheduler(), DDIMScheduler()
        self.averaged = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True)
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def train(self) -> None:
        x_0 = self.setting.pictures().float() / 127.5 - 1
        noise = torch.randn_like(x_0)
        t = torch.randint(0, 1000, (len(x_0),), device=x_0.device)
        x_t = self.train_scheduler.add_noise(x_0, noise, t)
        with self.setting.autocast():
            y = self.net(x_t, t, **self._condition()).sample
        nn.functional.mse_loss(y.float(), noise).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.step(self.net.parameters())

    @torch.no_grad()
    def sample(self) -> Tensor:
        self.scheduler.set_timesteps(self.setting.steps)
        x, condition = torch.randn(self.setting.shape, device=self.setting.device), self._condition()
        for t in self.scheduler.timesteps:
            with self.setting.autocast():
                y = self.net(x, t.expand(len(x)).to(x.device), **condition).sample
            x = self.scheduler.step(y, t, x).prev_sample
        return x

    def _condition(self) -> dict[str, Tensor]:
        return {"class_labels": self.setting.labels(self.classes)} if self.classes else {}


def diffusers_unet(setting: Setting) -> Diffusers:
    """``UNet2DModel``."""
    from diffusers import UNet2DModel

    levels = len(setting.multiples)
    net = UNet2DModel(
        sample_size=setting.size,
        in_channels=setting.channels,
        out_channels=setting.channels,
        layers_per_block=setting.blocks,
        block_out_channels=tuple(setting.width * m for m in setting.multiples),
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        attention_head_dim=setting.head_width,
        norm_num_groups=setting.groups,
        resnet_time_scale_shift="scale_shift",
    )
    return Diffusers(setting, net)


def diffusers_dit(setting: Setting) -> Diffusers:
    """``DiTTransformer2DModel``: it embeds time and label anew in every block, hence its few more parameters."""
    from diffusers import DiTTransformer2DModel

    net = DiTTransformer2DModel(
        num_attention_heads=setting.heads,
        attention_head_dim=setting.head_width,
        in_channels=setting.channels,
        num_layers=setting.depth,
        sample_size=setting.size,
        patch_size=setting.patch,
        num_embeds_ada_norm=10,
    )
    return Diffusers(setting, net, classes=10)


class Azula:
    """azula's U-Net, its denoiser's loss and its ``DDIMSampler``: no attention, and a block a level more for it.

    azula leaves the embedding of time and the training loop to its users: here its ``SineEncoding``, AdamW, clipping
    and torch's own averages.
    """

    def __init__(self, setting: Setting) -> None:
        from azula.denoise import KarrasDenoiser
        from azula.noise import VPSchedule

        self.setting, self.net = setting, _TimedUNet(setting).to(setting.device)
        self.denoiser = KarrasDenoiser(self.net, VPSchedule())
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9999)
        self.averaged = torch.optim.swa_utils.AveragedModel(self.net, multi_avg_fn=average)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4)

    def train(self) -> None:
        x_0 = self.setting.pictures().float() / 127.5 - 1
        with self.setting.autocast():
            loss = self.denoiser.loss(x_0, torch.rand(len(x_0), device=x_0.device))
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.update_parameters(self.net)

    @torch.no_grad()
    def sample(self) -> Tensor:
        sampler = peers.azula_sample().DDIMSampler(self.denoiser, steps=self.setting.steps, silent=True)
        x_1: Tensor = sampler.init(self.setting.shape, device=self.setting.device)
        with self.setting.autocast():
            return sampler(x_1)


class _TimedUNet(nn.Module):
    """azula's U-Net, told the time."""

    def __init__(self, setting: Setting) -> None:
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet as AzulaUNet

        super().__init__()
        told = 4 * setting.width
        self.time = nn.Sequential(SineEncoding(told), nn.Linear(told, told), nn.SiLU(), nn.Linear(told, told))
        self.unet = AzulaUNet(
            setting.channels,
            setting.channels,
            hid_channels=[setting.width * m for m in setting.multiples],
            hid_blocks=[setting.blocks + 1] * len(setting.multiples),
            mod_features=told,
            norm="group",
            groups=setting.groups,
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        y: Tensor = self.unet(x, self.time(t))
        return y


class DenoisingDiffusion:
    """denoising-diffusion-pytorch's ``Unet`` and ``GaussianDiffusion``, stepped as its ``Trainer`` does."""

    def __init__(self, setting: Setting) -> None:
        library = peers.denoising_diffusion()
        self.setting = setting
        width = setting.width * 9 // 8  # its blocks have fewer parameters
        self.net = library.Unet(
            width, dim_mults=setting.multiples, channels=setting.channels, attn_dim_head=setting.head_width
        )
        self.diffusion = library.GaussianDiffusion(
            self.net, image_size=setting.size, objective="pred_noise", sampling_timesteps=setting.steps
        ).to(setting.device)
        self.averaged = library.EMA(self.diffusion, beta=0.995, update_every=10)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4, betas=(0.9, 0.99))

    def train(self) -> None:
        with self.setting.autocast():
            loss = self.diffusion(self.setting.pictures().float() / 255)
        loss.item()  # as its trainer does, for its progress bar
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.update()

    @torch.no_grad()
    def sample(self) -> Tensor:
        with self.setting.autocast(), redirect_stderr(StringIO()):  # a progress bar that cannot be turned off
            # without its inference mode, in which autocast and the counting of operations do not go together
            pictures: Tensor = type(self.diffusion).ddim_sample.__wrapped__(self.diffusion, self.setting.shape)
        return pictures


# The last of each is what the others are compared with.
CONTENDERS: dict[str, dict[str, Callable[[Setting], Contender]]] = {
    "unet": {
        "undiffuse": our_unet,
        "undiffuse, compiled": partial(our_unet, compiled=True),
        "azula": Azula,
        "denoising-diffusion": DenoisingDiffusion,
        "diffusers": diffusers_unet,
    },
    "dit": {
        "undiffuse": our_dit,
        "undiffuse, compiled": partial(our_dit, compiled=True),
        "undiffuse, as theirs": partial(our_dit, as_theirs=True),
        "diffusers": diffusers_dit,
    },
}

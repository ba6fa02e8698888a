"""Words by cross-attention and by joint attention, beside diffusers' of equal width: python -m benchmarks.attention

                 cross-attention                    joint attention
    undiffuse    DiT                                DiT(words="joint")
    diffusers    PixArtTransformer2DModel           SD3Transformer2DModel

Four networks of one width, depth and patch, on the same pictures and words, forward alone (a step of sampling) and
forward and backward (a step of training, without the optimiser's). Repetitions are interleaved, so that whatever else
the machine does meets all alike. Figures are medians of pictures a second, with the range from the first to the third
quartile. The networks are not the same to the last layer: what each counts as parameters is printed.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from diffusers import PixArtTransformer2DModel, SD3Transformer2DModel
from torch import Tensor, nn

from benchmarks.throughput import measure
from undiffuse.condition.routes import Routes, Widths
from undiffuse.net import DiT

CHANNELS, SIDE, PATCH, HEAD = 4, 32, 2, 32


class Batch(NamedTuple):
    """Noisy pictures, their words and what modulates."""

    x: Tensor
    words: Tensor
    vector: Tensor
    t: Tensor


class Contender(NamedTuple):
    """A network, and a call of it."""

    net: nn.Module
    call: Callable[[Batch], Tensor]


def ours(width: int, depth: int, words: Literal["cross", "joint"]) -> Contender:
    """A DiT; a row is told all of its words."""
    design = DiT(patch=PATCH, width=width, depth=depth, heads=width // HEAD, words=words)
    net = design.build((CHANNELS, SIDE, SIDE), Widths(width, width))

    def call(some: Batch) -> Tensor:
        there = torch.ones(some.words.shape[:2], dtype=torch.bool, device=some.words.device)
        told: Tensor = net(some.x, Routes(some.vector, some.words, there))
        return told

    return Contender(net, call)


def pixart(width: int, depth: int) -> Contender:
    """Cross-attention in diffusers."""
    net = PixArtTransformer2DModel(
        num_attention_heads=width // HEAD,
        attention_head_dim=HEAD,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=depth,
        cross_attention_dim=width,
        caption_channels=width,
        sample_size=SIDE,
        patch_size=PATCH,
        use_additional_conditions=False,
    )
    plain = {"resolution": None, "aspect_ratio": None}
    return Contender(net, lambda some: net(some.x, some.words, some.t, added_cond_kwargs=plain).sample)


def sd3(width: int, depth: int) -> Contender:
    """Joint attention in diffusers."""
    net = SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=PATCH,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=depth,
        attention_head_dim=HEAD,
        num_attention_heads=width // HEAD,
        joint_attention_dim=width,
        caption_projection_dim=width,
        pooled_projection_dim=width,
        pos_embed_max_size=SIDE,
    )
    return Contender(net, lambda some: net(some.x, some.words, some.vector, some.t).sample)


def forward(one: Contender, some: Batch) -> None:
    """One answer."""
    with torch.no_grad():
        one.call(some)


def both(one: Contender, some: Batch) -> None:
    """One answer and its gradient."""
    one.net.zero_grad(set_to_none=True)
    one.call(some).square().mean().backward()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256, help=f"a multiple of {HEAD}, the width of a head")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--words", type=int, default=32, help="tokens of a text")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = options.width, options.depth
    contenders = {
        "cross, undiffuse": ours(*size, "cross"),
        "cross, diffusers": pixart(*size),
        "joint, undiffuse": ours(*size, "joint"),
        "joint, diffusers": sd3(*size),
    }
    draw = partial(torch.randn, options.batch, device=options.device)
    some = Batch(
        draw(CHANNELS, SIDE, SIDE), draw(options.words, options.width), draw(options.width), draw().sigmoid() * 1000
    )
    for one in contenders.values():
        one.net.to(options.device)
    for title, work in (("forward", forward), ("forward and backward", both)):
        seconds = measure([partial(work, one, some) for one in contenders.values()], options.rounds, options.device)
        print(f"\n{title}: pictures a second (quartiles), parameters")
        for (name, one), taken in zip(contenders.items(), seconds, strict=True):
            low, middle, high = (options.batch / quartile for quartile in reversed(statistics.quantiles(taken, n=4)))
            count = sum(weight.numel() for weight in one.net.parameters()) / 1e6
            print(f"  {name:18} {middle:8.2f} ({low:.2f} to {high:.2f})   {count:.2f} M", flush=True)


if __name__ == "__main__":
    main()

"""A path of samples from one to the next: the noise moves along great circles, and each frame is sampled from its own.

    frames = interpolate(run, noises(run, [1, 2], how), 16, {"label": "3"}, how)

Near noises make near samples, so the samples change gradually, and each is as good as any other (Song et al. 2021,
section 5.3). Any fresh noise that the sampler adds is the same in every frame.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.core.parallel import in_batches
from undiffuse.core.sphere import slerp
from undiffuse.run.invert import check_invertible
from undiffuse.run.run import Run, Samples
from undiffuse.run.stages import completed, without_drawn
from undiffuse.run.start import Kept
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.sampling import Sampling

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Alike:
    """Noise that is the same for every sample of a batch: that of the first."""

    noise: Noise

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1)."""
        return self.noise.normal(like[:1]).expand_as(like)

    def uniform(self, like: Tensor) -> Tensor:
        """U[0, 1)."""
        return self.noise.uniform(like[:1]).expand_as(like)


def noises(run: Run, seeds: Sequence[int], sampling: Sampling | None = None) -> Kept:
    """The noise from which sample 0 of each seed is drawn. Raises UserError where no numbers diffuse."""
    check_invertible(run, "interpolate")
    t = run.plan(sampling).times[0]
    starts = [run.denoiser.process.start(run.blank(1), run.noise(seed), t) for seed in seeds]
    return Kept(torch.cat(starts).cpu(), t)


def interpolate(
    run: Run,
    ends: Kept,
    frames: int,
    conditions: Request = None,
    sampling: Sampling | None = None,
    texts: Sequence[str] = (),
    vectors: Mapping[str, Tensor] = NOTHING,
) -> Samples:
    """Samples along the path through all ends, ``frames`` in all: (frames, *shape) as the data is stored.

    All are asked for the same conditions: the first row of ``conditions``; and for ``vectors`` by name, one for each
    end, which move along great circles as the noise does (unCLIP's interpolations; Ramesh et al. 2022, section 3.2).
    Between two ``texts``, each frame is guided to both, by weights that sum to 1, and one end is enough.

    Raises UserError for fewer than two ends, and for fewer frames than ends.
    """
    count, how = len(ends.x), sampling or run.sampling
    if texts:
        return between_texts(run, ends, frames, conditions, how, texts)
    if count < 2:
        raise UserError("a path needs at least two ends: --seeds 1,2, or --files A.png,B.png")
    if frames < count:
        raise UserError(f"a path through {count} ends has at least {count} frames, not {frames}")
    plan, asked = run.plan(how, ends), run.conditions(1, conditions)
    z = path(ends.x, frames)
    every = None if asked is None else asked[torch.zeros(frames, dtype=torch.int64)]
    if every is not None and vectors:
        present = torch.ones(frames, dtype=torch.bool)
        moved = {name: Entry(path(values, frames), present) for name, values in vectors.items()}
        every = Conditions({**every.entries, **moved})
    every = _alike(completed(run, every, frames, 0, how), run.drawn, vectors)

    def made(rows: range) -> Tensor:
        chosen = None if every is None else every[rows.start : rows.stop].to(run.device)
        x, noise = z[rows.start : rows.stop].to(run.device), Alike(run.noise(how.seed))
        states = trajectory(plan.step, partial(plan.denoise, conditions=chosen), x, plan.times, noise)
        return run.codec.decode(last(states))

    none = run.codec.decode(run.blank(0))
    return Samples(in_batches(frames, run.batch, made, none), without_drawn(run, every))


def _alike(conditions: Conditions | None, drawn: Collection[str], vectors: Collection[str]) -> Conditions | None:
    """Every frame with what a stage drew for the first, except for the vectors that move."""
    if conditions is None:
        return None
    first = conditions.only(*(name for name in drawn if name not in vectors))
    return conditions if first is None else conditions.replaced(first[:1])


def between_texts(
    run: Run, ends: Kept, frames: int, conditions: Request, how: Sampling, texts: Sequence[str]
) -> Samples:
    """The frames between two texts, one by one, from the same noise: that of the first end."""
    if len(texts) != 2 or len(ends.x) != 1 or frames < 2:
        raise UserError(
            "between texts there are two of them, one seed, and 2 frames or more: --seeds 1 --text A --text B"
        )
    shares = torch.linspace(0, 1, frames, dtype=torch.float64).tolist()
    drawn = []
    for share in shares:
        parts = ((texts[0], 1 - share), (texts[1], share))
        each = replace(how, guidance=replace(how.guidance, parts=parts))
        drawn.append(run.draw(1, conditions, each, start=ends).x)
    wanted = run.conditions(1, conditions)
    return Samples(torch.cat(drawn), None if wanted is None else wanted[torch.zeros(frames, dtype=torch.int64)])


def path(ends: Tensor, frames: int) -> Tensor:
    """Vectors along great circles through all ``ends`` (count, *shape), evenly spaced and with both ends: (frames,
    *shape)."""
    place = torch.linspace(0, len(ends) - 1, frames, dtype=torch.float64)
    leg = place.long().clamp(max=len(ends) - 2)
    parts = [slerp(ends[k], ends[k + 1], (place - k)[leg == k]) for k in range(len(ends) - 1)]
    return torch.cat(parts)

"""Conditioning augmentation: a low-resolution picture is given with noise, whose level the network is told.

    y = sqrt(1 - s^2) low + s z

In training, s is random for each row; in sampling it is chosen. The low-resolution picture of a cascade is itself
drawn, and a little wrong. With noise the network does not trust its details and draws them anew, so the error of the
stage below counts less, and so does what it says (Ho et al. 2022, "Cascaded diffusion models", section 4.2; Saharia et
al. 2022, section 2.4). `tests/laws/test_cascade.py` has both in closed form for Gaussian stages.
"""

import torch

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.diffused import with_own_noise
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Specifications, Vector
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise


def pictures_with_noise(specifications: Specifications) -> dict[str, Picture]:
    """The conditions that are given with noise, by name. They are never dropped."""
    return {name: of for name, of in specifications.items() if isinstance(of, Picture) and of.noise}


def speeds(specifications: Specifications) -> dict[str, float]:
    """How fast those conditions diffuse that do, by name; see `undiffuse.condition.diffused`."""
    return {name: of.speed for name, of in specifications.items() if isinstance(of, Picture | Vector) and of.speed}


def diffusing(specifications: Specifications, conditions: Conditions, noise: Noise) -> Conditions:
    """The same, with fresh noise beside those that diffuse."""
    found = {
        name: with_own_noise(conditions.entries[name], noise)
        for name in speeds(specifications)
        if name in conditions.entries
    }
    return Conditions({**conditions.entries, **found}) if found else conditions


def given_with_noise(
    specifications: Specifications, conditions: Conditions, noise: Noise, level: float | None = None
) -> Conditions:
    """The same, with noise in the pictures that take it: of this ``level``, or of a random one for each row; and beside
    the conditions that diffuse."""
    conditions = diffusing(specifications, conditions, noise)
    found = {
        name: with_noise(conditions.entries[name], of, noise, level)
        for name, of in pictures_with_noise(specifications).items()
        if name in conditions.entries
    }
    return Conditions({**conditions.entries, **found}) if found else conditions


def with_noise(entry: Entry, of: Picture, noise: Noise, level: float | None) -> Entry:
    """Pictures with noise of a ``level`` s, or of one that is uniform in [0, most] for each."""
    picture = entry.values[:, :-1]
    if level == 0:
        return entry
    rows = torch.empty(len(picture), device=picture.device)
    s = (of.noise * noise.uniform(rows) if level is None else torch.full_like(rows, level)).view(-1, 1, 1, 1)
    noisy = (1 - s.square()).sqrt() * picture + s * noise.normal(picture)
    return Entry(torch.cat([noisy, s.expand_as(picture[:, :1])], 1), entry.present)


def check_level(specifications: Specifications, level: float) -> None:
    """Raises UserError for a level that no picture of the model was given in training."""
    most = min((of.noise for of in pictures_with_noise(specifications).values()), default=0.0)
    if level > most:
        none = "--low-noise is the noise of a low-resolution picture, and this model is given none; leave it out"
        raise UserError(
            f"noise of the low-resolution picture goes up to {most:g} in this model, not {level:g}; change --low-noise"
            if most
            else none
        )

"""Recipe files from before recipes had parts: every field of the model, its training and sampling at the top.

    {data, codec, net, schedule, ..., steps, lr, ..., sampler, sampling_steps, guidance}

The command line still has these names, as short ones (`undiffuse.recipe.recipe`).
"""

from dataclasses import fields
from typing import Any

from undiffuse.core.configuration import class_of, from_values, hints, kebab
from undiffuse.core.errors import UserError, caution, nearest
from undiffuse.recipe.model import MODELS, NoisyClassifier
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling

RENAMED = {
    "sampling_steps": "sampling.steps",
    "guidance": "sampling.guidance.weight",
    "label_dropout": "training.condition_dropout",
    "attribute_dropout": "training.each_dropout",
}
FIELDS = {name: f"sampling.{name}" for name in hints(Sampling)}
FIELDS |= {name: f"training.{name}" for name in hints(Training)}  # steps, seed: of the training
FIELDS |= {name: f"model.{name}" for cls in MODELS for name in hints(cls)}
PATHS = FIELDS | RENAMED


def is_flat(plain: dict[str, Any]) -> bool:
    """Whether a recipe file has this form."""
    return not plain.keys() & {"model", "training", "sampling"} and bool(plain.keys() & PATHS.keys())


def nested(plain: dict[str, Any], where: str) -> dict[str, Any]:
    """The same recipe, in parts, with a `Caution` that names the file, ``where``.

    Raises UserError for an unknown field, or one that such a model does not have.
    """
    found: dict[str, Any] = {"model": {}}
    for name, value in plain.items():
        if name in ("data", "codec"):
            found[name] = value
            continue
        if name not in PATHS:
            raise UserError(nearest(name, ["data", "codec", *PATHS], "field of Recipe"))
        *owners, last = PATHS[name].split(".")
        at = found
        for owner in owners:
            at = at.setdefault(owner, {})
        at[last] = value
    found["model"] = _model(found["model"])
    kind = kebab(found["model"]["kind"])
    caution(f"{where or 'recipe'}: written before recipes had parts, read as {kind}")
    return found


def _model(plain: dict[str, Any]) -> dict[str, Any]:
    """The type that has this network and this loss, with the fields that it has."""
    parts = {name: _kind(plain[name]) for name in ("net", "loss") if name in plain}
    cls = max(MODELS, key=lambda cls: sum(class_of(hints(cls)[name], kind) is not None for name, kind in parts.items()))
    for name in sorted(plain.keys() - hints(cls).keys()):
        if cls is not NoisyClassifier and not _is_default(name, plain[name]):
            raise UserError(f"{name} says nothing of a {kebab(cls.__name__)}; leave it out")
    return {"kind": cls.__name__} | {name: value for name, value in plain.items() if name in hints(cls)}


def _is_default(name: str, value: Any) -> bool:
    """Whether a field has its default: these files hold all fields, whatever the model."""
    owner = next(cls for cls in MODELS if name in hints(cls))
    default = next(field for field in fields(owner) if field.name == name)
    made = default.default_factory() if callable(default.default_factory) else default.default
    return bool(from_values(hints(owner)[name], value, name) == made)


def _kind(plain: Any) -> Any:
    return plain.get("kind") if isinstance(plain, dict) else plain

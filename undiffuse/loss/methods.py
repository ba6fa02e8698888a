"""The methods that train a model of few steps, by the names that `undiffuse distill --method` takes."""

from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.loss.consistency import ConsistencyDistillation
from undiffuse.loss.few_step import FewStepLoss

METHODS: dict[str, type[FewStepLoss]] = {
    "consistency": ConsistencyDistillation,
}


@usage()
def method_of(name: str) -> FewStepLoss:
    """The method of this name, at its defaults. Raises UserError where there is none, naming the nearest."""
    if name not in METHODS:
        raise UserError(nearest(name, METHODS, "method"))
    return METHODS[name]()

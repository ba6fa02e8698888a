"""The methods that train a model of few steps, by the names that `undiffuse distill --method` takes."""

from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.loss.consistency import ConsistencyDistillation, ConsistencyTraining
from undiffuse.loss.continuous import ContinuousDistillation, ContinuousTraining
from undiffuse.loss.distribution_matching import DistributionMatching
from undiffuse.loss.easy_consistency import EasyConsistencyTuning
from undiffuse.loss.few_step import FewStepLoss
from undiffuse.loss.improved_consistency import ImprovedConsistencyTraining
from undiffuse.loss.mean_flow import ImprovedMeanFlow, MeanFlow, MeanFlowDistillation
from undiffuse.loss.moment_matching import MomentMatching
from undiffuse.loss.progressive import ProgressiveDistillation
from undiffuse.loss.shortcut import Shortcut
from undiffuse.loss.trajectory import TrajectoryDistillation

METHODS: dict[str, type[FewStepLoss]] = {
    "progressive": ProgressiveDistillation,
    "consistency": ConsistencyDistillation,
    "consistency-training": ConsistencyTraining,
    "improved-consistency-training": ImprovedConsistencyTraining,
    "continuous": ContinuousDistillation,
    "continuous-training": ContinuousTraining,
    "easy-consistency-tuning": EasyConsistencyTuning,
    "trajectory": TrajectoryDistillation,
    "mean-flow": MeanFlow,
    "improved-mean-flow": ImprovedMeanFlow,
    "mean-flow-distillation": MeanFlowDistillation,
    "shortcut": Shortcut,
    "distribution-matching": DistributionMatching,
    "moment-matching": MomentMatching,
}


@usage()
def method_of(name: str) -> FewStepLoss:
    """The method of this name, at its defaults. Raises UserError where there is none, naming the nearest."""
    if name not in METHODS:
        raise UserError(nearest(name, METHODS, "method"))
    return METHODS[name]()

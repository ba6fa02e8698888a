"""What a classifier of noisy data is trained to do: to name the condition, seen through the noise.

    L = E_{t, x_0, z} -log p_t(y | x_t)

Its minimiser is Bayes' rule over the diffused data, p_t(y | x_t) = p(y) q_t(x_t | y)/q_t(x_t), whose gradient guides an
unconditional denoiser (Song et al. 2021, appendix I; Dhariwal and Nichol 2021, section 4).
"""

from dataclasses import dataclass, field

from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.classifier import ConditionClassifier
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import TimeDistribution, Uniform


@dataclass(frozen=True)
class CrossEntropy(Loss[ConditionClassifier]):
    """-log p_t(y | x_t), one t a sample; what it trains is a `ConditionClassifier`, which samples nothing."""

    time: TimeDistribution = field(default_factory=Uniform)

    def __call__(
        self, classifier: ConditionClassifier, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,); 0 where no condition is present. Raises UserError for data without conditions."""
        if conditions is None:
            raise UserError("a classifier needs data with conditions that are one of some names")
        schedule = classifier.process.schedule
        t = self.time.sample(len(x_0), noise, schedule)
        losses = -classifier.log_prob(classifier.process.corrupt(x_0, t, noise), t, conditions)
        if classifier.training:
            self.time.update(t, losses, schedule)
        return losses

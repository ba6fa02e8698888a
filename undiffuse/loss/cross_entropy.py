"""The loss of a classifier of noisy data, which predicts the condition from x_t.

    L = E_{t, x_0, z} -log p_t(y | x_t)

Its minimiser is Bayes' rule over the diffused data, p_t(y | x_t) = p(y) q_t(x_t | y)/q_t(x_t). The gradient of its
logarithm guides an unconditional denoiser (Song et al. 2021, appendix I; Dhariwal and Nichol 2021, section 4).
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
    """-log p_t(y | x_t), one t for each sample. It trains a `ConditionClassifier`, which cannot sample."""

    time: TimeDistribution = field(default_factory=Uniform)

    def __call__(
        self, classifier: ConditionClassifier, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,); 0 in rows in which no condition is present. Raises UserError for data without conditions."""
        if conditions is None:
            raise UserError("a classifier needs data whose conditions are classes")
        schedule = classifier.process.schedule
        t = self.time.sample(len(x_0), noise, schedule)
        losses = -classifier.log_prob(classifier.process.corrupt(x_0, t, noise), t, conditions)
        if classifier.training:
            self.time.update(t, losses, schedule)
        return losses

"""A classifier's loss: what it says of noisy data, at times that its law draws."""

import pytest
import torch
from conditioned import labels
from stand_ins import seeded
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.loss.adaptive import Importance
from undiffuse.loss.cross_entropy import CrossEntropy
from undiffuse.loss.time import Uniform
from undiffuse.process import VP, Affine


class Classifier(nn.Module):
    """Says log p = -(t + |x_t|^2)."""

    process = Affine(VP())

    def log_prob(self, x_t: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        assert conditions is ASKED
        return -(t + x_t.square().sum(1))


ASKED, X_0 = labels(torch.tensor([0, 1, 1])), torch.randn(3, 2, dtype=torch.float64)


def test_it_is_minus_the_log_probability_at_the_time_drawn():
    loss = CrossEntropy(Uniform(start=0.2))(Classifier(), X_0, seeded(), ASKED)
    t = Uniform(start=0.2).sample(3, noise := seeded(), VP())
    x_t = Classifier.process.corrupt(X_0, t, noise)
    torch.testing.assert_close(loss, t + x_t.square().sum(1))


def test_a_law_of_times_learns_while_it_is_in_training_alone():
    law, classifier = Importance(bins=2).build(), Classifier()
    for training in (False, True):
        CrossEntropy(law)(classifier.train(training), X_0, seeded(), ASKED)
        assert int(law.seen.sum()) == 3 * training


def test_data_without_conditions_is_refused():
    with pytest.raises(UserError, match="a classifier needs data"):
        CrossEntropy()(Classifier(), X_0, seeded())

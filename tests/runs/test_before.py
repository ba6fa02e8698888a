"""A run that was trained before conditions had an encoder of their own opens, says so, and samples as it did.

``before/`` is such a run: eight steps on 60 random points of two attributes (a .csv with the columns label.digit
and label.colour), with what it sampled then: ``run.sample(12, steps=4, seed=3)``, and six guided by 2.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import undiffuse
from undiffuse.core.errors import Caution

BEFORE = Path(__file__).parent / "before"


def test_a_run_of_before_samples_as_it_did():
    with pytest.warns(Caution, match=r"model.safetensors: written before .* renamed as it is opened"):
        run = undiffuse.load(BEFORE, "cpu")
    assert run.label_names == {"digit": ("0", "1", "2"), "colour": ("blue", "red")}
    with np.load(BEFORE / "samples.npz") as then:
        for name, count, guidance in (("plain", 12, None), ("guided", 6, 2.0)):
            now = run.sample(count, steps=4, seed=3, guidance=guidance)
            torch.testing.assert_close(now, torch.from_numpy(then[name]), rtol=1e-5, atol=1e-5)

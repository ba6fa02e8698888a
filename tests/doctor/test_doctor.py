"""Runs that are broken in one known way, and healthy ones: the doctor names the cause, and calls no healthy run sick.

Thresholds were chosen on moons and digits with seed 0, on rings, a swiss roll, eight Gaussians, and digits with seed 1.
The runs here are of a pinwheel, of moons and digits with other seeds, and of other random rows.
"""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch

import undiffuse
from tests.doctor.patients import (
    at_high_noise,
    broken,
    cancelling,
    changed,
    digits,
    guided,
    one_label,
    points,
    random_rows,
    rows,
    scaled,
    shifted,
    with_average,
)
from undiffuse.cli.grammar import COMMANDS
from undiffuse.cli.program import _split_fields, command_parser
from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.core.files import write_tensors
from undiffuse.doctor import diagnose_run
from undiffuse.evaluate.judged import FILE as JUDGE
from undiffuse.process import Linear

COUNT = 160  # rows and samples
TOY = "pinwheel"
HEAD = "denoiser.net.head"


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """Five runs in which nothing is wrong, by name; the sick ones are made of them."""
    folder = tmp_path_factory.mktemp("healthy")
    pinwheel = points(folder / "pinwheel", TOY, seed=3)
    pixels = digits(folder / "digits", seed=2)
    return {
        "pinwheel": pinwheel,
        "digits": pixels,
        "moons": points(folder / "moons", "moons", seed=7),
        "guided": broken(pixels, folder / "guided", guided(1.5)),
        "another sampler": broken(pinwheel, folder / "ddim", lambda recipe: recipe.changed(sampler="ddim")),
    }


def of(base, recipe=None, tensors=None):
    """A sick copy of a healthy run."""
    return lambda healthy, to: broken(healthy[base], to, recipe, tensors)


def other_judge(healthy, to):
    broken(healthy["pinwheel"], to)
    write_tensors(to / JUDGE, {"x": torch.zeros(1)}, {"format": "undiffuse judge 1", "data crc32": "0"})
    return to


def steps(count, **more):
    return lambda recipe: recipe.override("sampling.steps", str(count)).changed(**more)


SICK = {  # what is broken, how, and what the doctor must call it
    "trained for ten steps": (lambda healthy, to: points(to, TOY, steps=10, warmup=0), "untrained"),
    "never trained at low noise": (lambda healthy, to: points(to, TOY, loss=at_high_noise(), steps=200), "low noise"),
    "a schedule that ends early": (of("pinwheel", changed(schedule=Linear(end=0.004))), "the schedule ends"),
    "a wrong scale": (of("digits", tensors=scaled("codec.std", 3.0)), "wrong scale"),
    "a wrong mean": (of("pinwheel", tensors=shifted("codec.mean", 3.0)), "wrong mean"),
    "a bias": (of("digits", tensors=shifted(f"{HEAD}.bias", 0.8)), "shift of brightness"),
    "a grid that ends early": (of("pinwheel", steps(2, sampler="ddim")), "the grid ends too early"),
    "three steps": (of("pinwheel", steps(3, sampler="ddim")), "too few steps"),
    "too much guidance": (of("digits", guided(9.0)), "guidance too strong"),
    "an average that still holds the beginning": (
        lambda healthy, to: with_average(broken(healthy["pinwheel"], to), 0.8),
        "average of the weights is too long",
    ),
    "a label that is not drawn": (of("pinwheel", tensors=one_label), "labels that are not drawn"),
    "twelve rows": (lambda healthy, to: rows(to, random_rows(14, 8, 5), batch=64, steps=600), "memorised"),
    "too large a network": (
        lambda healthy, to: rows(to, random_rows(30, 8, 5), batch=64, steps=600),
        "overfitted",
    ),
    "too high a learning rate": (lambda healthy, to: points(to, TOY, lr=0.2, steps=250), "learning rate"),
    "an autoencoder of two numbers": (
        lambda healthy, to: digits(
            to, steps=100, codec=MLPVAE(latent=2, hidden=(32,), fit=Fit(steps=60, batch=64)), seed=1
        ),
        "the autoencoder blurs",
    ),
    "large weights that cancel, in half precision": (
        of("pinwheel", changed(precision="bf16"), cancelling),
        "half precision",
    ),
    "the judge of other data": (other_judge, "stale judge"),
    "damaged rows": (
        lambda healthy, to: rows(to, np.concatenate([random_rows(800, 3, 5), 40 * random_rows(3, 3, 6)]), steps=200),
        "outliers",
    ),
}
MISSED = 1  # of these, at most
SEVERAL = (  # with commands of all sorts
    "a schedule that ends early",
    "a wrong scale",
    "a grid that ends early",
    "too much guidance",
    "a label that is not drawn",
    "the judge of other data",
)


def named(folder):
    return [finding.cause for finding in diagnose_run(undiffuse.load(folder), COUNT).findings]


def test_no_healthy_run_is_called_sick(healthy):
    found = {name: named(folder) for name, folder in healthy.items()}
    assert len(found) >= 5 and not any(found.values()), found


def test_causes_are_named(healthy, tmp_path):
    found = {name: named(make(healthy, tmp_path / f"run {k}")) for k, (name, (make, _)) in enumerate(SICK.items())}
    missed = {name: causes for name, causes in found.items() if not any(SICK[name][1] in cause for cause in causes)}
    assert len(SICK) >= 15 and len(missed) <= MISSED, missed


@pytest.mark.parametrize("words", [(), ("-n", 32, "--json")])
def test_the_command(healthy, run, words):
    shutil.copytree(healthy["pinwheel"], "a run")
    code, said, _ = run("doctor", "a run", *words)
    assert code == 0
    if words:
        found = json.loads(said)
        assert found["target"] == "a run" and not found["findings"] and "no judge yet" in found["skipped"]["judge"]
    else:
        assert said.startswith("about ") and "nothing found by" in said and "healthy: number of rows" in said


def test_what_mends_it_is_a_command(healthy, run, tmp_path):
    """Each command that is told can be typed."""
    sick = [SICK[name][0](healthy, tmp_path / name) for name in SEVERAL]
    found = [one for folder in sick for one in diagnose_run(undiffuse.load(folder), 64).findings]
    assert len(found) >= len(sick)
    for one in found:
        name, command, *words = shlex.split(one.command)
        plain, _ = _split_fields(command, words) if command == "train" else (words, [])
        assert name == "undiffuse" and command in COMMANDS
        options = command_parser(command).parse_args(plain)
        assert (getattr(options, "folder", None) or options.target).startswith(str(tmp_path))


def test_bad_input_is_told_in_one_line(healthy, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for words in (("nowhere",), ("empty",), (healthy["pinwheel"], "-n", 0), (healthy["pinwheel"], "-n", 3)):
        code, said, error = run("doctor", *words)
        assert code != 0 and not said.count("Traceback") and error.count("\n") == 1, error


def test_a_run_without_its_data_says_so(tmp_path):
    folder = rows(tmp_path / "run", random_rows(300, 2, 0), steps=3)
    folder.with_suffix(".npy").unlink()
    found = diagnose_run(undiffuse.load(folder), 16)
    assert not found.findings and "unknown file or folder" in dict(found.skipped)["copies"]

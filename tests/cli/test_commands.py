"""Every command, on tiny runs: what it writes can be read back, what it prints is what it did."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.data.ready import Shapes
from undiffuse.draw.animation import HELD, TICK
from undiffuse.sampling.samplers import SAMPLERS


def film(path):
    with Image.open(path) as picture:
        durations = []
        for k in range(picture.n_frames):
            picture.seek(k)
            durations.append(picture.info["duration"])
    return durations


def test_help_is_printed_and_lists_every_command(run):
    for words in ([], ["--help"], ["-h"], ["help"]):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        for command in ("recipes", "data", "train", "resume", "sample", "evaluate", "likelihood", "compare", "animate"):
            assert f"  {command} " in out


@pytest.mark.parametrize(
    "command", ["recipes", "data", "resume", "sample", "evaluate", "likelihood", "compare", "animate"]
)
def test_every_command_has_help(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: undiffuse {command}")


def test_version(run):
    assert run("--version")[1].strip().count(".") == 2


def test_recipes_are_listed_a_line_each(run):
    from undiffuse.recipes import RECIPES

    code, out, err = run("recipes")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(RECIPES)
    assert all(len(line.split()) > 2 for line in out.splitlines())


@pytest.mark.parametrize("words", [["train", "--help"], ["train", "moons", "-h"], ["train", "-h", "--steps", "3"]])
def test_help_of_train_lists_the_recipes_fields(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for name in ("--net.width", "--condition-dropout", "--guidance", "--sampling.steps", "--schedule", "--data.name"):
        assert f"  {name} " in out
    assert ("moons" in words) == ("  moons " in out)


def test_training_makes_a_run_of_the_fields_given(points_run):
    model = undiffuse.load(points_run)
    assert (model.step, model.recipe.model.net.width, model.recipe.data.count) == (6, 16, 300)


def test_train_from_a_saved_recipe_and_from_data_of_ones_own(run, points_run, tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(60, 3)).astype("float32"))
    tiny = ["--steps=2", "--batch=8", "--net.width=8", "--net.depth=1"]
    assert run("train", points_run / "recipe.yaml", "--out", "again", *tiny)[0] == 0
    code, out, err = run("train", *tiny, "mine.npy", "--quiet")  # fields before the data, too
    assert (code, err) == (0, "")
    assert "undiffuse sample runs/mine" in out
    assert undiffuse.load(tmp_path / "runs" / "mine").sample(5).shape == (5, 3)
    assert run("sample", "runs/mine", "-n", "20", "--out", "pairs.png")[0] == 0


def test_resume_of_a_finished_run_is_no_mistake(run, points_run):
    code, out, err = run("resume", points_run)
    assert (code, err) == (0, "")
    assert "6 steps" in out


def test_interrupted_training_says_how_to_go_on_and_does(run, monkeypatch, tmp_path):
    from undiffuse.train.trainer import Trainer

    step = Trainer.step

    def interrupted(trainer):
        step(trainer)
        if trainer.done == 3:
            import signal

            signal.raise_signal(signal.SIGINT)

    words = ["--steps", "5", "--batch", "16", "--net.width", "8", "--data.count", "100"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        code, _, err = run("train", "swiss-roll", "--out", "cut", *words)
    assert code == 130
    assert "undiffuse resume cut" in err
    assert len(err.splitlines()) == 1
    assert run("resume", "cut")[0] == 0
    assert undiffuse.load("cut").step == 5


def test_python_says_the_same_as_the_command_line(run, labelled_run):
    assert (
        run("sample", labelled_run, "-n", "9", "--label", "1", "--steps", "3", "--seed", "7", "--out", "x.npy")[0] == 0
    )
    expected = undiffuse.load(labelled_run).sample(9, label=1, steps=3, seed=7)
    assert (np.load("x.npy", allow_pickle=False) == expected.numpy()).all()


def test_sample_says_what_it_wrote_and_what_it_cost(run, points_run):
    code, out, err = run("sample", points_run, "-n", "10", "--sampler", "heun", "--steps", "5")
    assert (code, err) == (0, "")
    assert out == "wrote samples.png: 10 points, heun with 5 steps, 9 network evaluations each\n"
    assert SAMPLERS["heun"].evaluations(5) == 9


@pytest.mark.parametrize("which", ["points_run", "labelled_run", "line_run", "pictures_run"])
def test_samples_are_read_back_by_every_ending(run, request, which):
    folder = request.getfixturevalue(which)
    model = undiffuse.load(folder)
    expected = model.sample(7).numpy()
    for ending in ("png", "npy", "npz", "gif", *(["csv"] if model.kind == "points" else [])):
        code, out, err = run("sample", folder, "-n", "7", "--out", f"x.{ending}", "--steps", "4")
        assert (code, err) == (0, "")
        assert out.startswith(f"wrote x.{ending}: ")
    assert (np.load("x.npy", allow_pickle=False) == expected).all()
    with np.load("x.npz", allow_pickle=False) as arrays:
        assert (arrays["x"] == expected).all()
        assert ("labels" in arrays) == bool(model.label_names)
    with Image.open("x.png") as sheet:
        sheet.load()
        assert min(sheet.size) > 60
    assert film("x.gif") == [TICK] * 4 + [TICK * HELD]
    if model.kind == "points":
        with open("x.csv", newline="") as file:
            header, *table = csv.reader(file)
        assert len(header) == model.shape[0] + bool(model.label_names)
        assert (np.array([row[: model.shape[0]] for row in table], dtype="float32") == expected).all()


def test_labels_take_turns_by_name_or_number(run, pictures_run):
    assert run("sample", pictures_run, "-n", "5", "--label", "3,7", "--steps", "2", "--out", "x.npz")[0] == 0
    with np.load("x.npz") as arrays:
        assert arrays["labels"].tolist() == [3, 7, 3, 7, 3]


def test_samples_do_not_need_the_data(run, tmp_path):
    np.save("gone.npy", np.random.default_rng(0).normal(size=(60, 2)).astype("float32"))
    assert run("train", "gone.npy", "--steps", "2", "--batch", "8", "--net.width", "8")[0] == 0
    (tmp_path / "gone.npy").unlink()
    assert run("sample", "runs/gone", "-n", "20")[0] == 0


def test_nothing_is_overwritten_unless_asked(run, points_run, tmp_path):
    (tmp_path / "samples.png").write_text("precious")
    code, _, err = run("sample", points_run)
    assert code == 1
    assert "--force" in err
    assert (tmp_path / "samples.png").read_text() == "precious"
    assert run("sample", points_run, "-n", "5", "--force")[0] == 0
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("which", ["points_run", "pictures_run"])
def test_a_film_has_a_frame_a_state_and_holds_the_last(run, request, which):
    code, out, err = run("animate", request.getfixturevalue(which), "-n", "6", "--steps", "5")
    assert (code, err) == (0, "")
    assert film("undiffuse.gif") == [TICK] * 5 + [TICK * HELD]
    assert "6 frames" in out


def test_data_is_described_drawn_and_saved(run, labelled_run):
    code, out, _ = run("data", "moons", "--out", "moons.png")
    assert (code, out.count("wrote")) == (0, 1)
    assert "2 labels" in out
    assert Image.open("moons.png").width > 300
    assert run("data", labelled_run, "-n", "20", "--split", "test", "--out", "held.npz")[0] == 0
    with np.load("held.npz") as arrays:
        assert (arrays["x"].shape, arrays["labels"].shape) == ((20, 2), (20,))
    test = {tuple(row) for row in undiffuse.load(labelled_run).dataset("test").x.tolist()}
    assert all(tuple(row) in test for row in torch.from_numpy(np.load("held.npz")["x"]).tolist())
    first, second, other = (
        run("data", "moons", "-n", "5", "--seed", seed, "--out", f"{k}.npy")[0] or np.load(f"{k}.npy")
        for k, seed in enumerate((1, 1, 2))
    )
    assert (first == second).all()
    assert (first != other).any()


def test_of_data_that_is_drawn_few_are_drawn_to_look_at(run, monkeypatch):
    drawn = []
    opened = Shapes.open
    monkeypatch.setattr(Shapes, "open", lambda self, split="train": drawn.append(self.count) or opened(self, split))
    code, out, _ = run("data", "shapes", "-n", "3", "--out", "shapes.png")
    assert code == 0 and "drawn like the 30,000 of a training" in out and "3 of 500" in out
    assert run("data", "shapes", "-n", "501", "--out", "more.npz")[0] == 0
    assert drawn == [500, 501] and len(np.load("more.npz")["x"]) == 501
    assert run("data", "shapes", "-n", "0", "--out", "none.png")[0] != 0


def test_evaluate_prints_a_table_or_one_json_object(run, points_run):
    code, out, err = run("evaluate", points_run, "-n", "60")
    assert (code, err) == (0, "")
    assert "sliced Wasserstein" in out
    code, out, err = run("evaluate", points_run, "-n", "60", "--json")
    assert (code, err) == (0, "")
    assert {"measures", "protocol"} <= set(json.loads(out))
    assert out.count("\n") == 1


@pytest.mark.parametrize("how", [[], ["--steps", "20"], ["--flow"]], ids=["bound", "bound of steps", "flow"])
def test_likelihood_prints_a_table_or_one_json_object(run, line_run, pictures_run, how):
    code, out, err = run("likelihood", line_run, "-n", "40", *how)
    assert (code, err) == (0, "")
    assert "nats a point" in out and "rows 40" in out
    for folder, unit in ((line_run, "nats a point"), (pictures_run, "bits a dimension")):
        code, out, err = run("likelihood", folder, "-n", "4", "--seed", "2", "--split", "train", "--json", *how)
        found = json.loads(out)
        assert (code, err, found["unit"]) == (0, "", unit)
        assert np.isfinite([found["value"], found["error"]]).all()
        assert (found["floor"] is None) == (folder is pictures_run)  # the density is known on the line alone
        assert {"rows": 4, "split": "train", "seed": 2}.items() <= found["protocol"].items()


def test_an_exact_divergence_can_be_asked_for(run, tmp_path):
    np.savez(tmp_path / "small.npz", images=np.random.default_rng(0).integers(0, 256, (40, 5, 5), dtype=np.uint8))
    words = ["--steps", "2", "--batch", "8", "--report-every", "2", "--save-every", "2", "--net.width", "8"]
    assert run("train", "small.npz", "--out", "small", "--quiet", *words)[0] == 0
    probed, exact = (
        json.loads(run("likelihood", "small", how, "-n", "3", "--json")[1]) for how in ("--flow", "--exact")
    )
    assert (probed["protocol"]["divergence"], exact["protocol"]["divergence"]) == ("by 1 random probe a row", "exact")
    assert probed["value"] != exact["value"] and exact["value"] == pytest.approx(probed["value"], rel=0.2)


def test_compare_prints_a_table_and_answers_and_writes_a_picture_and_the_numbers(run, points_run, tmp_path):
    words = ["compare", points_run, "--samplers", "ddim,heun", "--steps", "1,4", "--seeds", "2", "-n", "40"]
    code, out, err = run(*words, "--out", "found")
    assert (code, err) == (0, "")
    assert "ddim" in out
    assert "evaluation" in out
    found = json.loads((tmp_path / "found" / "compare.json").read_text())
    assert [(t["sampler"], t["asked"], t["steps"], t["evaluations"]) for t in found["trials"]] == [
        ("ddim", 1, 1, 1),
        ("ddim", 4, 4, 4),
        ("heun", 1, 1, 1),
        ("heun", 4, 2, 3),
    ]
    with (tmp_path / "found" / "compare.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    Image.open(tmp_path / "found" / "compare.png").load()
    assert "--force" in run(*words, "--out", "found")[2]
    assert run(*words, "--out", "found", "--force")[0] == 0

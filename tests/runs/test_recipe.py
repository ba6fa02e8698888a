"""A recipe is written down and read back; what is wrong in it is said in a line that names the nearest."""

from dataclasses import replace

import pytest
import yaml

from undiffuse.cli.words import recipe_for
from undiffuse.core.configuration import classes, from_values, hints, kebab, leaves, to_values
from undiffuse.core.errors import Caution, UserError
from undiffuse.data.own import Files
from undiffuse.data.ready import Digits, Toy
from undiffuse.loss.adaptive import Importance
from undiffuse.loss.categorical import TokenBound
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.variational import Hybrid
from undiffuse.net import MLP, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.table import TableMLP
from undiffuse.process import VP, AlphaBars, Cosine, Fading, Flow, Linear, Shifted, ZeroTerminal, ZeroTerminalTable
from undiffuse.process.learned import Learned
from undiffuse.recipe.model import DiscreteDiffusion, GaussianDiffusion, MixedDiffusion, NoisyClassifier
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes import RECIPES

BASE = Recipe(Toy(), GaussianDiffusion(MLP()))
NEEDS = {
    "Files": {"path": "x"},
    "AlphaBars": {"values": [0.9, 0.1]},
    "Shifted": {"base": "flow"},
    "ZeroTerminal": {"base": "vp"},
}
NEEDS |= {"ZeroTerminalTable": {"base": "linear"}, "Hybrid": {}}


def every_part() -> list[tuple[str, str]]:
    """(field, kind) for everything that may stand in a recipe, at any depth; a field of a class once."""
    seen = set()

    def below(owner: type, path: str) -> list[tuple[str, str]]:
        found = []
        for name, hint in hints(owner).items():
            for kind, cls in classes(hint).items():
                if (owner, name, kind) in seen:
                    continue
                seen.add((owner, name, kind))
                found.append((f"{path}{name}", kind))
                if name not in ("base", "of"):
                    found += below(cls, f"{path}{name}={kind}.")
        return found

    return below(Recipe, "")


def test_every_part_is_found():
    kinds = {kind for _, kind in every_part()}
    assert {
        "VP",
        "Learned",
        "ZeroTerminalTable",
        "PoissonNoise",
        "EDMPrediction",
        "UNet",
        "Hybrid",
        "Adaptive",
    } <= kinds
    assert {"LowDiscrepancy", "Integral", "MinSNR", "EDMCurve", "Sliced", "PseudoHuber", "LogitNormal"} <= kinds


@pytest.mark.parametrize(("path", "kind"), sorted(set(every_part())), ids=lambda part: part)
def test_every_part_comes_back(path, kind):
    """Put it where it may stand, write the recipe down, read it: nothing is lost."""
    plain = to_values(BASE, Recipe)
    at = plain
    *owners, last = path.split(".")
    for owner in owners:
        name, above = owner.split("=")
        at[name] = {"kind": above} | NEEDS.get(above, {})
        at = at[name]
    at[last] = {"kind": kind} | NEEDS.get(kind, {})
    try:
        recipe = from_values(Recipe, plain)
    except UserError as error:  # parts that do not go together say so
        assert "needs" in str(error) or "rescales" in str(error)
        return
    again = Recipe.from_yaml(recipe.to_yaml())
    assert to_values(again) == to_values(recipe)
    assert again.to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back(name, tmp_path):
    recipe = RECIPES[name]()
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe == recipe_for(name)
    assert recipe == recipe_for(str(tmp_path / "recipe.yaml"))
    assert RECIPES[name].__doc__.splitlines()[0].strip()


def test_nested_parts_come_back_equal():
    given = AlphaBars((0.9, 0.5, 1e-9))
    for schedule in (Shifted(ZeroTerminal(VP(0.2)), 2.0), ZeroTerminalTable(Linear(count=100)), given):
        recipe = BASE.changed(schedule=schedule, averages=(0.1,), clip=float("inf"))
        assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_missing_fields_take_their_defaults():
    assert Recipe.from_yaml("data: {kind: Digits}\nnet: {kind: UNet, width: 16}\nlr: 1e-3") == Recipe(
        Digits(),
        GaussianDiffusion(UNet(width=16)),
        training=Training(lr=1e-3),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {kind: Toy}", "Recipe needs a model"),
        ("data: {kind: Toi}\nnet: {kind: MLP}", r"data: unknown kind 'toi'; did you mean toy\?"),
        ("data: {kind: Toy}\nnet: {kind: MLP, widht: 3}", r"net: unknown field of MLP 'widht'; did you mean width"),
        ("data: {kind: Toy}\nnet: {width: 3}", "net: which kind"),
        ("data: {kind: Toy}\nnet: {kind: MLP, width: wide}", "net.width: expected a whole number, not 'wide'"),
        ("data: {kind: Toy}\nnet: {kind: MLP, width: 1.5}", "net.width: expected a whole number, not 1.5"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\nstep: 3", r"unknown field of Recipe 'step'; did you mean steps"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\ndecay: cosin", r"decay: unknown choice 'cosin'; did you mean cosine\?"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\nsteps: true", "steps: expected a whole number, not True"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\naverages: [0.1, x]", "averages: expected a number, not 'x'"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\naverages: []", "averages must be one or more widths"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\nbatch: 0", "batch must be at least 1, not 0"),
        ("data: {kind: Toy}\nnet: {kind: MLP}\nschedule: {kind: ZeroTerminal, base: flow}", "variance preserving"),
        ("[1, 2]", "holds no fields"),
        ("a: [", "not YAML"),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(UserError, match=message) as caught:
        Recipe.from_yaml(text, "my.yaml")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("my.yaml: ")


@pytest.mark.parametrize(
    ("path", "text", "changed"),
    [
        ("lr", "1e-3", {"lr": 1e-3}),
        ("lr", "2", {"lr": 2.0}),
        ("steps", "1e4", {"steps": 10_000}),
        ("steps", "10_000", {"steps": 10_000}),
        ("learned-variance", "true", {"learned_variance": True, "loss": Hybrid()}),
        ("averages", "0.1,0.2", {"averages": (0.1, 0.2)}),
        ("averages", "0.1", {"averages": (0.1,)}),
        ("schedule", "flow", {"schedule": Flow()}),
        ("schedule", "Cosine", {"schedule": Cosine()}),
        ("schedule", "zero-terminal-table", None),
        ("schedule", "{kind: Shifted, base: flow, shift: 2}", {"schedule": Shifted(Flow(), 2.0)}),
        ("net", "u-net", {"net": UNet()}),
        ("net", "unet", {"net": UNet()}),
        ("net.width", "256", {"net": MLP(width=256)}),
        ("data.name", "moons", {"data": Toy("moons")}),
        ("precision", "bf16", {"precision": "bf16"}),
        ("sampler", "heun", {"sampler": "heun"}),
    ],
)
def test_overrides(path, text, changed):
    if changed is None:
        with pytest.raises(UserError, match="needs a base"):
            BASE.override(path, text)
        return
    assert BASE.override(path, text) == BASE.changed(**changed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net", "model.net"),
        ("net.width", "model.net.width"),
        ("model.net.width", "model.net.width"),
        ("width", "model.net.width"),  # nothing else has one
        ("time.start", "model.loss.time.start"),
        ("steps", "training.steps"),  # before those of the sampling, and of times
        ("seed", "training.seed"),
        ("lr", "training.lr"),
        ("save-every", "training.save_every"),
        ("sampler", "sampling.sampler"),
        ("sampling-steps", "sampling.steps"),  # the names of before
        ("guidance", "sampling.guidance.weight"),
        ("label-dropout", "training.condition_dropout"),
        ("attribute-dropout", "training.each_dropout"),
    ],
)
def test_short_names(name, path):
    assert BASE.path_of(name) == path


@pytest.mark.parametrize(
    ("recipe", "name", "paths"),
    [
        ("quantised-digits", "width", "--model.net.inner.width, --model.net.width"),
        ("fashion-mnist-latent", "width", "--codec.width, --model.net.width"),
        ("swiss-roll", "count", None),
    ],
)
def test_a_name_of_several_fields_is_answered_with_their_paths(recipe, name, paths):
    if paths is None:
        assert RECIPES[recipe]().path_of(name) == "data.count"
        return
    with pytest.raises(UserError, match=r"there are several width; which is meant") as caught:
        RECIPES[recipe]().path_of(name)
    assert all(path in str(caught.value) for path in paths.split(", "))


@pytest.mark.parametrize(
    ("recipe", "pairs", "model"),
    [
        ("digits", [("loss", "cross-entropy")], NoisyClassifier(UNet())),
        ("digits-classifier", [("loss", "denoising")], GaussianDiffusion(UNet())),
        ("moons", [("loss", "cross-entropy"), ("schedule", "flow")], NoisyClassifier(MLP(), Flow())),
        ("moons", [("model", "noisy-classifier"), ("width", "8")], NoisyClassifier(MLP(8))),
        ("digits", [("loss", "token-bound"), ("net", "embedded")], DiscreteDiffusion(Embedded(), loss=TokenBound())),
        ("digits", [("net.width", "4"), ("net", "embedded")], DiscreteDiffusion(Embedded(width=4))),
        ("digits", [("loss", "mixed-loss"), ("width", "8")], MixedDiffusion(TableMLP(8))),
        ("digits", [("model.loss", "mixed-loss")], MixedDiffusion()),
        ("heartbeat", [("net", "mlp")], GaussianDiffusion(MLP(), Fading())),
    ],
)
def test_a_network_or_a_loss_of_another_model_makes_it_that_model(recipe, pairs, model):
    """What both may have stays, and the order of the words does not matter."""
    before = RECIPES[recipe]()
    assert before.overrides(pairs) == before.overrides(pairs[::-1]) == replace(before, model=model)


def test_overrides_reach_any_depth():
    recipe = (
        BASE.override("loss.time", "log-normal")
        .override("loss.time.mean", "-1")
        .override("loss.time.draws", "stratified")
    )
    assert recipe.model.loss.time.mean == -1.0 and type(recipe.model.loss.time.draws).__name__ == "Stratified"
    assert type(BASE.override("loss.time", "importance").model.loss.time) is Importance


def test_a_size_is_one_number_or_two():
    recipe = BASE.changed(data=Files("x"))
    assert recipe.override("data.size", "32").data.size == 32
    assert recipe.override("data.size", "32,48").data.size == (32, 48)
    assert recipe.override("data.size", "none").data.size is None


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("widht", "3", "unknown field of Recipe 'widht'"),
        ("net.widht", "3", r"unknown field of MLP 'widht'; did you mean width"),
        ("schedule", "cosin", r"schedule: unknown kind 'cosin'; did you mean cosine"),
        ("lr.x", "3", "lr is a number, it has no x"),
        ("lr", "fast", "lr: expected a number, not 'fast'"),
        ("net.width", "0.5", "net.width: expected a whole number, not 0.5"),
        ("lr", "-1", "lr must be above 0"),
        ("sampler", "dimm", r"unknown sampler 'dimm'; did you mean ddim"),
        ("label-dropout", "1.5", "condition_dropout must be"),
        ("steps", "0", "steps must be at least 1"),
        ("kernel", "ordinal", "kernel is of discrete-diffusion, and this recipe is of gaussian-diffusion"),
        (
            "loss",
            "masked-bound",
            "masked-bound is of discrete-diffusion, which needs another network: --net token-transformer or",
        ),
        ("model", "discrete", "unknown kind 'discrete'; did you mean discrete-diffusion"),
        ("model", "discrete-diffusion", "discrete-diffusion, which needs another network"),
    ],
)
def test_overrides_that_are_wrong(path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        BASE.override(path, text)
    assert "\n" not in str(caught.value)


def test_leaves_can_all_be_overridden_with_what_they_are():
    for path, kind, value in leaves(RECIPES["digits"]()):
        assert kind
        if isinstance(value, int | float | str) and value is not None:
            assert RECIPES["digits"]().override(path, str(value)) == RECIPES["digits"]()


FLAT = {
    "swiss-roll": """
        {data: {kind: Toy}, net: {kind: MLP}, loss: {kind: Denoising, time: {kind: Uniform, draws: stratified}},
        z: {kind: GaussianLaw}, kernel: {kind: Replace, mask: 1.0}, leave_one_out: false, steps: 2000, batch: 1024,
        lr: 0.003, save_every: 1000, report_every: 1000, label_dropout: 0.1, sampler: dpm++2m, sampling_steps: 20}""",
    "digits-classifier": """
        {data: digits, net: {kind: UNet}, loss: {kind: CrossEntropy}, prediction: {kind: V}, steps: 1500, batch: 64,
        lr: 0.001, label_dropout: 0.0, save_every: 500, report_every: 500}""",
    "heartbeat-masked": """
        {data: heartbeat, codec: verbatim, schedule: fading, loss: masked-bound, prediction: {kind: V},
        net: {kind: TokenTransformer, width: 64, depth: 2, heads: 4, positions: learned, time: false}, steps: 2000,
        lr: 0.002, save_every: 1000, report_every: 1000, sampler: first-hitting, sampling_steps: 20}""",
    "digits-joint": """
        {data: digits, codec: labelled, net: {kind: TableMLP, width: 512, depth: 4, waves: 0},
        loss: {kind: MixedLoss, whole: true}, label_dropout: 0, steps: 6000, batch: 256, precision: bf16,
        save_every: 1000, report_every: 2000, sampler: ddpm, sampling_steps: 50}""",
    "digits-latent": """
        {data: digits, codec: {kind: MLPVAE, latent: 16, hidden: [256, 128], fit: {kind: Fit, steps: 3000,
        deviation: 0.3, kl: 0.3}}, net: {kind: MLP, width: 256, depth: 4, waves: 0, embedding: 128}, steps: 6000,
        batch: 256, save_every: 1000, report_every: 2000, sampler: dpm++2m, guidance: 1.5}""",
}


@pytest.mark.parametrize("name", FLAT)
def test_recipes_of_before_they_had_parts_are_read_and_said_to_be(name):
    where, kind = f"{name}-of-before.yaml", kebab(type(RECIPES[name]().model).__name__)
    with pytest.warns(Caution, match=f"^{where}: written before recipes had parts, read as {kind}$"):
        assert Recipe.from_yaml(FLAT[name], where) == RECIPES[name]()


def test_what_said_nothing_of_such_a_model_before_says_nothing_now():
    with pytest.raises(UserError, match="kernel says nothing of a gaussian-diffusion"):
        Recipe.from_yaml(FLAT["swiss-roll"].replace("mask: 1.0", "mask: 0.5"))


def test_kebab():
    assert [kebab(n) for n in ("VP", "SubVP", "CosineTable", "UNet", "EDMPrediction")] == [
        *("vp", "sub-vp", "cosine-table", "u-net", "edm-prediction")
    ]


def test_a_recipe_is_plain_yaml():
    plain = yaml.safe_load(BASE.to_yaml())
    assert plain["model"]["net"] == {"kind": "MLP"} | vars(MLP())
    assert plain["training"]["steps"] == 10_000 and "kind" not in plain["training"]  # there is no other


def test_recipes_are_values():
    """Equal where they say the same, whatever is in them; and may be kept in a set."""
    learning = [BASE.changed(loss=Denoising(time=Importance(bins=7)), schedule=Learned(units=3)) for _ in range(2)]
    assert learning[0] == learning[1] != BASE and len({*learning, BASE}) == 2


def test_parts_that_learn_are_told_apart_by_their_fields():
    recipe = BASE.changed(loss=Denoising(time=Importance(bins=7)))
    assert "bins: 7" in recipe.to_yaml() and "losses" not in recipe.to_yaml()


@pytest.mark.parametrize(
    ("what", "message"),
    [("swiss-rol", r"did you mean swiss-roll"), ("nothing.yaml", "no such file"), ("qqq", "known: ")],
)
def test_what_cannot_be_found(what, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        recipe_for(what)

"""Every command: what runs it, and the arguments that it takes."""

import argparse
from collections.abc import Callable
from typing import Any

from undiffuse.cli import drawing, looking, measuring, sharing, training
from undiffuse.cli.arguments import columns, conditions, labels, levels, number, scales, several, whole, wholes

Argument = tuple[tuple[str, ...], dict[str, Any]]


def _arg(*words: str, **options: Any) -> Argument:
    return words, options


_RUN = _arg("folder", metavar="RUN", help="the folder of a training")
_COUNT = _arg("-n", "--count", type=whole, metavar="N", help="how many")
_SEED = _arg("--seed", type=whole, default=0, metavar="N", help="the same seed gives the same result (0)")
_QUIET = _arg("--quiet", action="store_true", help="no progress")
_HUB_NAME = _arg("name", metavar="OWNER/NAME", help="a repository on the Hugging Face hub")
_JSON = _arg("--json", action="store_true", help="one JSON object on stdout, nothing else")
_FOLLOWING = (
    _arg("--preview", metavar="FILE.png", help="a picture of the latest samples, to keep open"),
    _arg(
        "--tracker", type=several, metavar="NAME", help="wandb, mlflow, trackio, ...: numbers and pictures go there too"
    ),
    _arg("--profile", action="store_true", help="where the time of some steps goes: RUN/profile.txt"),
)
_FORCE = _arg("--force", action="store_true", help="overwrite what is there")
_GUIDANCE = _arg("--guidance", type=number, metavar="W", help="guidance scale, 1 is off (the recipe's)")
_GUIDING = (
    _GUIDANCE,
    _arg("--negative", metavar="K", help="negative label: guide away from it (none)"),
    _arg("--negative-text", metavar="WORDS", help="guide away from what these words say (none)"),
    _arg("--rescale", type=number, metavar="R", help="from 0 to 1: rescale guided samples to the unguided spread (0)"),
    _arg("--interval", type=levels, metavar="A,B", help="guide only between these noise levels, sigma/alpha (all)"),
    _arg("--low-noise", type=number, metavar="S", help="noise of the picture that a cascade enlarges (the recipe's)"),
    _arg("--threshold", choices=("static", "dynamic"), help="keep pictures within black and white (no)"),
    _arg("--classifier", metavar="RUN", help="guide by this classifier, trained with --loss cross-entropy"),
    _arg("--worse", metavar="RUN", help="autoguidance: guide away from this run, which is smaller or less trained"),
)
_DATA = _arg("--data", metavar="DATA", help="what stands for its data, of a model that came without (its own)")
_STEPPING = (
    _arg("--sampler", metavar="NAME", help="the sampler (the recipe's)"),
    _arg("--steps", type=whole, metavar="N", help="the number of steps (the recipe's)"),
    _arg("--grid", metavar="NAME", help="the grid of times (the sampler's)"),
)
_ASKED = (
    _arg(
        "--label",
        type=labels,
        metavar="K",
        help="labels by name or number, several in turn: 3,5 or digit=3,5,colour=red",
    ),
    _arg(
        "--text",
        dest="texts",
        action="append",
        metavar="WORDS",
        help='what to draw, several in turn; weighted parts: "a red circle :2 AND a blue square"',
    ),
    _arg("--cond", type=conditions, metavar="A=X,B=Y", help="conditions by name, several values in turn: age=30,40"),
)
_SAMPLING = (*_STEPPING, *_ASKED, *_GUIDING)


_FIT = _arg("--fit", action="store_true", help="scale, crop and turn grey pictures of another size or colour")
_LIKE = _arg("--like", metavar="FILE", help="variations: what the stages of a run would draw is read from a picture")
_REFINE = _arg(
    "--refine", type=whole, default=0, metavar="N", help="of an inversion: iterations that improve a step (0)"
)
_TOLD = (
    _arg(
        "--given",
        type=columns,
        metavar="A=X,B=Y",
        help="of tables and points: the known values of these columns",
    ),
    _arg("--prompt", metavar="TEXT|FILE", help="of text: the known text, with _ for each unknown token"),
    _arg("--hole", default="_", metavar="C", help="the sign for an unknown token (_)"),
    _arg("--gap", metavar="C", help="the sign, in --prompt, for a gap of unknown length"),
    _arg("--known", metavar="FILE", help="partly known data: the rest (empty cells, NaN, --mask) is drawn"),
    _arg("--mask", metavar="FILE", help="of pictures: white where --known is unknown"),
    _arg("--low", metavar="FILE", help="a picture of fewer pixels, of which samples are larger ones"),
    _LIKE,
    _arg("--edges", metavar="FILE", help="white lines on black, of which samples are pictures (--task edges)"),
    _arg("--gray", metavar="FILE", help="a grey picture, of which samples are coloured ones"),
    _arg(
        "--by",
        metavar="NAME",
        help="how they guide: pigdm, reconstruction, moment-matching, dps; --known: replacement, repaint, too",
    ),
    _arg("--init-picture", metavar="FILE", help="start from this picture, or from rows of a file, noised so far:"),
    _arg("--strength", type=number, metavar="S", help="the share of noise, from 0 (the picture) to 1 (0.6)"),
    _arg("--noise", metavar="FILE.npz", help="start from the noise that undiffuse invert wrote"),
    _FIT,
)


def completion(options: argparse.Namespace) -> None:
    """Print a completion script for your shell: commands, options, recipes and their fields."""
    from undiffuse.cli.completion import script

    print(script(COMMANDS, options.shell))


COMMANDS: dict[str, tuple[Callable[..., None], tuple[Argument, ...]]] = {
    "recipes": (looking.recipes, ()),
    "data": (
        looking.data,
        (
            _arg("target", metavar="RECIPE|RUN|DATA"),
            _COUNT,
            _arg("--split", default="train", choices=("train", "test", "all"), help="which part (train)"),
            _arg("--augment", type=several, metavar="A,B", help="show pictures augmented: flip, shift, rotate, ..."),
            _SEED,
            _arg("--out", metavar="FILE", help="draw or save some: .png, .npy, .npz, .csv, .tsv or .txt"),
            _FORCE,
        ),
    ),
    "train": (
        training.train,
        (
            _arg("target", nargs="?", metavar="RECIPE|FILE|FOLDER", help="a recipe's name or file, or your own data"),
            _arg("--target", dest="end", metavar="B", help="a bridge to this data from the first; noise is N(0, I)"),
            _arg(
                "--sizes",
                type=wholes,
                metavar="16,64",
                help="draw pictures small first, then enlarge them: their sides",
            ),
            _arg("--task", metavar="NAME", help="restore pictures: super-resolution, inpainting, edges"),
            _arg("--method", metavar="NAME", help="of a bridge: flow, optimal-transport, schroedinger, ... (flow)"),
            _arg("--init", metavar="RUN", help="go on from another run's weights, on this data (fine-tuning)"),
            _arg("--minutes", type=number, metavar="M", help="the best training for this time: --steps and more"),
            *_FOLLOWING,
            _arg("--out", metavar="RUN", help="the folder of this training (runs/NAME)"),
            _QUIET,
            _arg("--FIELD", metavar="VALUE", help="any field of the recipe: --steps 5000 --batch 64"),
            _arg("-h", "--help", action="store_true", help="show this help, and the recipe's fields with their values"),
        ),
    ),
    "distill": (
        training.distill,
        (
            _RUN,
            _arg(
                "--method", required=True, metavar="NAME", help="how it is taught: a name that is not known lists all"
            ),
            _arg("--guidance", type=scales, metavar="W|A,B", help="the teacher's scale; A,B: any, as a condition"),
            _arg("--evaluations", type=whole, metavar="N", help="of the network, for a sample (1)"),
            _arg("--out", required=True, metavar="FAST", help="the folder of the student"),
            _QUIET,
            _arg("--FIELD", metavar="VALUE", help="any field of the student's recipe: --steps 5000 --lr 1e-3"),
        ),
    ),
    "resume": (
        training.resume,
        (
            _RUN,
            _arg("--steps", type=whole, metavar="N", help="in all: longer than was asked for (the recipe's)"),
            _arg("--minutes", type=number, metavar="M", help="for so much longer, instead of --steps"),
            *_FOLLOWING,
            _QUIET,
        ),
    ),
    "sample": (
        drawing.sample,
        (
            _RUN,
            _COUNT,
            *_SAMPLING,
            *_TOLD,
            _arg("--tokens", type=whole, metavar="N", help="of text: N more tokens after --prompt, any number"),
            _SEED,
            _arg(
                "--out",
                metavar="FILE",
                help=".png, .npy, .npz, .csv, .tsv, .txt or .gif (samples.png, of tables .csv, of text .txt)",
            ),
            _FORCE,
        ),
    ),
    "invert": (
        drawing.invert,
        (
            _RUN,
            _arg("rows", metavar="FILE", help="a picture, or pictures, points or series as .npy"),
            *(option for option in _SAMPLING if option[0] != ("--sampler",)),
            _LIKE,
            _REFINE,
            _arg("--exact", action="store_true", help="to rounding: the noise is two states of corrected steps (BDIA)"),
            _FIT,
            _SEED,
            _arg("--out", metavar="FILE.npz", help="the noise (noise.npz)"),
            _FORCE,
        ),
    ),
    "interpolate": (
        drawing.interpolate,
        (
            _RUN,
            _arg("--seeds", type=wholes, metavar="1,2", help="between the first samples of these seeds"),
            _arg(
                "--files", type=several, metavar="A,B", help="between the pictures of these files, which are inverted"
            ),
            _arg("-n", "--count", type=whole, metavar="N", help="how many, the ends included (16)"),
            *_SAMPLING,
            _REFINE,
            _FIT,
            _SEED,
            _arg("--out", metavar="FILE", help=".png, .gif, or as samples are saved (between.png)"),
            _FORCE,
        ),
    ),
    "evaluate": (
        measuring.evaluate,
        (
            _RUN,
            _DATA,
            _COUNT,
            _SEED,
            *_STEPPING,
            *_GUIDING,
            _arg(
                "--features",
                default="judge",
                choices=("judge", "inception"),
                help="whose features measure pictures (judge)",
            ),
            _arg("--target", metavar="COLUMN", help="of tables: the column to predict (last category)"),
            _JSON,
        ),
    ),
    "doctor": (
        measuring.doctor,
        (
            _arg("target", metavar="RUN", help="the folder of a training; or a RECIPE, FILE or FOLDER: its data"),
            _COUNT,
            _SEED,
            _JSON,
        ),
    ),
    "likelihood": (
        measuring.likelihood,
        (
            _RUN,
            _arg("-n", "--count", type=whole, metavar="N", help="how many rows of the data (as many as take seconds)"),
            _SEED,
            _arg("--split", default="test", choices=("test", "train"), help="which part of the data (test)"),
            _arg("--steps", type=whole, metavar="N", help="the bound on N steps (infinitely many)"),
            _arg("--flow", action="store_true", help="numbers only: by the probability flow instead of the bound"),
            _arg("--exact", action="store_true", help="by the flow with the exact divergence: slow for pictures"),
            _JSON,
        ),
    ),
    "translate": (
        drawing.translate,
        (
            _RUN,
            _arg("rows", metavar="FILE", help="data of the kind that the bridge starts from: .npy, .csv, a picture"),
            _arg("--back", action="store_true", help="from the data that it makes to the data that it starts from"),
            *_STEPPING,
            *_ASKED,
            _GUIDANCE,
            _SEED,
            _arg("--out", metavar="FILE", help="(translated, as samples are saved)"),
            _FORCE,
        ),
    ),
    "impute": (
        drawing.impute,
        (
            _RUN,
            _arg(
                "holes",
                metavar="FILE",
                help="data with missing cells or columns, as for sample --known",
            ),
            *_STEPPING,
            _SEED,
            _arg("--out", metavar="FILE", help="the filled data (filled.csv, or as for sample)"),
            _FORCE,
        ),
    ),
    "runs": (looking.runs, (_arg("folder", nargs="?", default="runs", metavar="FOLDER", help="(runs)"), _JSON)),
    "compare": (
        measuring.compare,
        (
            _RUN,
            _DATA,
            _arg("--samplers", type=several, metavar="A,B,C", help="ddim,gradient-estimation,dpm++2m, or others"),
            _arg(
                "--with",
                dest="beside",
                type=several,
                default=[],
                metavar="A,B",
                help="other runs, such as its students",
            ),
            _arg("--steps", type=wholes, metavar="5,10", help="network evaluations for each sample (5,10,20,50)"),
            _arg("--seeds", type=whole, default=3, metavar="N", help="how many seeds, for error bars (3)"),
            _COUNT,
            *_GUIDING,
            _arg("--out", metavar="DIR", help="a folder for a plot and the numbers"),
            _FORCE,
        ),
    ),
    "tune": (
        measuring.tune,
        (
            _RUN,
            _DATA,
            _arg("--evaluations", type=wholes, default=[5, 10], metavar="5,10", help="of the network (5,10)"),
            _arg("--sampler", metavar="NAME", help="tune the grid of this one alone (all, of the best)"),
            _arg("--noises", type=whole, metavar="N", help="to fit, and as many to choose and report (by size)"),
            _arg("--rounds", type=whole, default=15, metavar="N", help="of improvement, at most (15)"),
            _arg("--guidance", type=number, metavar="W", help="how strongly, 1 is off (the recipe's)"),
            _SEED,
            _JSON,
        ),
    ),
    "write": (
        drawing.write,
        (
            _arg("text", metavar="TEXT", help='what to write; "\\n" begins a new line'),
            _RUN,
            *(option for option in _SAMPLING if not {"--label", "--cond", "--text"} & set(option[0])),
            _arg("--columns", type=whole, default=16, metavar="N", help="characters in a line (16)"),
            _SEED,
            _arg("--out", metavar="FILE", help=".gif or .png (letters.gif)"),
            _FORCE,
        ),
    ),
    "animate": (
        drawing.animate,
        (
            _RUN,
            _COUNT,
            *_SAMPLING,
            *_TOLD,
            _SEED,
            _arg("--out", metavar="FILE.gif", help="the film (undiffuse.gif)"),
            _FORCE,
        ),
    ),
    "export": (
        sharing.export,
        (
            _RUN,
            _arg("--to", required=True, metavar="NAME", help="diffusers, onnx"),
            _arg("--out", metavar="FOLDER", help="a new folder (RUN-NAME, here)"),
        ),
    ),
    "page": (
        sharing.page,
        (
            _arg("runs", nargs="+", metavar="RUN", help="trainings of points or pictures"),
            _arg("--out", default="page", metavar="FOLDER", help="a new folder (page)"),
            _arg(
                "--runtime", metavar="FOLDER", help="the unpacked npm package onnxruntime-web (fetched once, and kept)"
            ),
            _FORCE,
        ),
    ),
    "push": (
        sharing.push,
        (
            _RUN,
            _HUB_NAME,
            _arg("--public", action="store_true", help="everybody may see it (private)"),
            _arg("--force", action="store_true", help="a new version of a run that is there"),
        ),
    ),
    "pull": (sharing.pull, (_HUB_NAME, _arg("--out", metavar="FOLDER", help="a new folder (runs/NAME)"))),
    "completion": (
        completion,
        (_arg("shell", choices=("bash", "zsh", "fish"), help="the shell: undiffuse completion bash"),),
    ),
}

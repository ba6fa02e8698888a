"""The model card of a run: a page in Markdown that says what it is, how good, and how to use it.

It begins with the front matter that the Hugging Face hub reads: the library, and tags to find it by.
"""

import math
import shlex
from collections.abc import Iterator

import yaml

from undiffuse.condition.specification import Labels, Text
from undiffuse.core.errors import SHORT, shown
from undiffuse.evaluate.kept import Evaluation, Value, kept_evaluation
from undiffuse.kind import kind_of
from undiffuse.run.run import Run
from undiffuse.run.shown import PICTURES, latest_picture

FILE = "README.md"
BETTER = ("lower", "higher", "near floor")


def card(run: Run, name: str) -> str:
    """The page of a run that is called ``name`` (owner/name) on the hub."""
    parts = [
        _what(run, name),
        *_pictures(run),
        *_numbers(kept_evaluation(run)),
        _use(run, name),
        _files(folder_of(name)),
    ]
    return _front_matter(run) + "\n" + "\n\n".join(parts) + "\n"


def folder_of(name: str) -> str:
    """Where a run of the hub is pulled to, unless told otherwise."""
    return f"runs/{name.partition('/')[2]}"


def _front_matter(run: Run) -> str:
    words = {"library_name": "undiffuse", "tags": ["undiffuse", "diffusion", kind_of(run).items]}
    return f"---\n{yaml.safe_dump(words, sort_keys=False)}---\n"


def _what(run: Run, name: str) -> str:
    facts = [f"- {fact}: {_code(said)}" for fact, said in run.facts.items() if said]
    labels = {asked: of.names for asked, of in run.specifications.items() if isinstance(of, Labels)}
    asked = [f"- {_code(asked)}: {_code(', '.join(names))}" for asked, names in labels.items()]
    below = [f"- stage: {_code(stage)}, which is drawn first" for stage in run.stages]
    return "\n".join(
        [f"# {name.partition('/')[2]}", "", "A diffusion model, trained with undiffuse.", "", *facts, *asked, *below]
    )


def _pictures(run: Run) -> Iterator[str]:
    picture = latest_picture(run.folder)
    if picture:
        yield f"![samples, as its training drew them last]({PICTURES}/{picture.name})"


def _numbers(found: Evaluation | None) -> Iterator[str]:
    """Each measure beside its floor, and the command that measured them."""
    if found is None:
        return
    rows = ["## How good", "", "| measure | value | floor | better |", "|---|---|---|---|"]
    for row in found.measures:
        better = row.get("better") if row.get("better") in BETTER else ""
        rows.append(
            f"| {shown(row.get('name'), SHORT)} | {_number(row, 'value')} | {_number(row, 'floor')} | {better} |"
        )
    protocol = ", ".join(f"{name} {value}" for name, value in found.protocol.items() if value is not None)
    by = f"Measured by {_code(found.command)}: " if found.command else ""
    rows += ["", f"The floor is what real data gets. {by}{shown(protocol)}."]
    yield "\n".join(rows)


def _number(row: dict[str, Value], name: str) -> str:
    value = row.get(name)
    return f"{value:.3g}" if isinstance(value, int | float) and math.isfinite(value) else "not known"


def _use(run: Run, name: str) -> str:
    """Commands and Python that a reader may copy."""
    folder = folder_of(name)
    commands, python = [f"undiffuse pull {name}"], ["import undiffuse", "", f'run = undiffuse.load("{folder}")']
    if run.is_bridge:
        commands.append(f"undiffuse translate {folder} FILE")
    elif run.recipe.samples:
        words, values = _asked(run)
        commands.append(f"undiffuse sample {folder} -n 16{words}")
        python.append(f"samples = run.sample(16{values})")
    return "\n".join(["## How to use it", "", "```bash", *commands, "```", "", "```python", *python, "```"])


def _asked(run: Run) -> tuple[str, str]:
    """What a sample may be asked for: in the words of the command line, and of Python."""
    if run.enlarges and run.enlarges not in run.stages:
        return " --low FILE.png", ', {"' + run.enlarges + '": low}'
    if any(isinstance(of, Text) for of in run.specifications.values()):
        return ' --text "WORDS"', ', text="WORDS"'
    labels = next((of for of in run.specifications.values() if isinstance(of, Labels)), None)
    if labels is None or len(run.label_names) != len(labels.names):
        return "", ""
    first = shown(labels.names[0], SHORT)
    return f" --label {shlex.quote(first)}", f", label={first!r}"


def _files(folder: str) -> str:
    return (
        "`recipe.yaml` says everything about its training, but for where its data lay; `model.safetensors` holds the "
        f"averaged weights. On data of your own they go on: `undiffuse train DATA --init {folder} --out runs/mine`."
    )


def _code(text: str) -> str:
    return f"`{shown(text, SHORT).replace('`', chr(39))}`"

"""A page in the browser where noise un-diffuses under your hand: a static folder, which needs no server and no network.

page([load("runs/swiss-roll"), load("runs/digits")], "page")

index.html, *.js, style.css    the page: `assets`, plain modules of JavaScript, one idea each
runs/NAME/                     each run as ONNX graphs (`undiffuse.export.onnx`)
runtime/                       onnxruntime-web (`undiffuse.page.runtime`)
runs.json                      which runs there are
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from undiffuse.core.errors import UserError, usage
from undiffuse.core.files import write_folder, write_json
from undiffuse.core.paths import path_of
from undiffuse.export.onnx import to_onnx
from undiffuse.page.runtime import copy_runtime, runtime_folder
from undiffuse.run.run import Run

ASSETS = Path(__file__).parent / "assets"
SHOWN = ("points", "pictures")  # the kinds of data that the page draws
ENDINGS = (".html", ".css", ".js")
INDEX = "index.html"


def page(runs: Sequence[Run], out: str | Path, runtime: str | Path | None = None, force: bool = False) -> str:
    """Write the folder, whole or not at all; returns a line on what was written.

    Args:
        runs: What can be drawn on it; without any, only what is drawn by hand.
        out: A new folder.
        runtime: The unpacked package onnxruntime-web; None is the one in the cache, fetched if it is not there.
        force: Whether a page that is there already is replaced.

    Raises:
        UserError: A run that the page cannot draw or that ONNX cannot say; a folder that is there and is not to be
            replaced, or is no page; no runtime.
    """
    out = path_of(out)
    with usage():
        _check(runs, out, force)
    source = runtime_folder(path_of(runtime) if runtime else None) if runs else None
    said: list[str] = []

    def write(folder: Path) -> None:
        for asset in sorted(path for path in ASSETS.iterdir() if path.suffix in ENDINGS):
            shutil.copyfile(asset, folder / asset.name)
        if source is not None:
            copy_runtime(source, folder / "runtime")
        listed = []
        for run in runs:
            name = run.folder.resolve().name
            (folder / "runs" / name).mkdir(parents=True)
            said.append(f"{name}: {to_onnx(run, folder / 'runs' / name)}")
            listed.append({"folder": name, "name": name.replace("_", " ")})
        write_json(folder / "runs.json", listed)

    if not out.exists():
        write_folder(out, write)
    else:  # the old page stays until the new one is whole
        fresh = out.with_name(f".{out.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        write_folder(fresh, write)
        shutil.rmtree(out)
        fresh.rename(out)
    return "\n".join(said)


def _check(runs: Sequence[Run], out: Path, force: bool) -> None:
    """Raises UserError for what cannot be shown, and where something else lies."""
    names = [run.folder.resolve().name for run in runs]
    for run, name in zip(runs, names, strict=True):
        if names.count(name) > 1:
            raise UserError(f"two runs are called {name}; rename the folder of one")
        if run.kind not in SHOWN or run.is_of_tokens:
            what = f"{run.kind} of tokens" if run.is_of_tokens and run.kind in SHOWN else run.kind
            raise UserError(f"{run.folder}: the page draws points and pictures, not {what}; try undiffuse animate")
        if run.denoiser.jumps:
            raise UserError(f"{run.folder}: the page draws many steps, and this run jumps; show its teacher")
        if run.stages:
            stage = run.folder / "stages" / next(iter(run.stages))
            raise UserError(
                f"{run.folder}: the page draws one network, and this run draws in stages; show one: {stage}"
            )
    if out.exists() and not force:
        raise UserError(f"{out}: exists already; choose another --out, or add --force")
    if out.exists() and not (out.is_dir() and ((out / INDEX).is_file() or not any(out.iterdir()))):
        raise UserError(f"{out}: is no page; choose another --out")

"""Runs on the Hugging Face hub, to share them and to move them to another machine.

    push(load("runs/digits"), "ada/digits")        a private repository, with a page that says what it is
    pull("ada/digits", "runs/digits")              a run as any other

What sampling needs is pushed: recipe and weights of the run and of its stages, its own samplers, the last evaluation
and the last picture. Paths of this machine are left out of the recipe. Nothing else is ever pulled: no other file of a
repository, and so no pickle. A run is opened once before it is there: whole, or not at all.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from undiffuse.core.errors import UserError, shown, usage
from undiffuse.core.files import write_folder
from undiffuse.core.memory import in_words
from undiffuse.core.paths import path_of
from undiffuse.data.source import anywhere
from undiffuse.evaluate.kept import FILE as EVALUATION
from undiffuse.evaluate.kept import kept_evaluation
from undiffuse.export.card import FILE as CARD
from undiffuse.export.card import card
from undiffuse.pipeline.parts import INDEX
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.folder import MODEL, RECIPE, load
from undiffuse.run.run import Run
from undiffuse.run.shown import PICTURES, latest_picture
from undiffuse.run.stages import STAGES, require_stage
from undiffuse.run.tuned import FILE as TUNED

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")  # owner/name
PART = re.compile(
    rf"(?:{STAGES}/\w+/)*(?:{re.escape(RECIPE)}|{re.escape(MODEL)}|{re.escape(TUNED)})"
    rf"|{re.escape(CARD)}|{re.escape(EVALUATION)}|{PICTURES}/\d+\.png"
)  # the files of a run
LOG_IN = "log in with: hf auth login, or give a token in HF_TOKEN"
REASONS = {  # of an answer of the hub, by its status
    401: f"the hub does not know you; {LOG_IN}",
    403: "your token may not do that there; make one that may at huggingface.co/settings/tokens, or choose a name "
    "of your own",
    413: "too large for the space that is left there",
    429: "the hub wants fewer requests; wait, and try again",
}


def push(run: Run, name: str, public: bool = False, force: bool = False) -> str:
    """Write a run into the repository ``name`` (owner/name), which is made; returns a line on what was written.

    Args:
        run: One that was trained here.
        name: Of the repository.
        public: Whether everybody may see it.
        force: Whether to write a new version of a run that is there; the older ones stay in its history.

    Raises UserError for a wrong name, for a repository that is there, without rights, and without a network.
    """
    _check_name(name)
    if not (run.folder / MODEL).is_file():
        raise UserError(f"{run.folder}: not trained here; push it with: hf upload {name} {run.folder}")
    _require_stages(run)
    api, files = _api(), files_of(run, name)
    with _spoken(name):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        there = _found(api, name)
        if there is None:
            api.create_repo(name, private=not public)
        else:
            _check_version(there, name, public, force)
        before = [file.rfilename for file in (there.siblings or ()) if there] if there else []
        gone = [file for file in before if PART.fullmatch(file) and file not in files]
        made = api.create_commit(
            name,
            [
                *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=held) for path, held in files.items()),
                *(CommitOperationDelete(path_in_repo=path) for path in gone),
            ],
            commit_message=f"{run.folder.name}, {run.step:,} steps",
        )
    size = sum(len(held) if isinstance(held, bytes) else held.stat().st_size for held in files.values())
    seen = "everybody may see it" if public else "private"
    return f"{made.repo_url}: {len(files)} files, {in_words(size)}, {seen}"


def pull(name: str, out: str | Path) -> tuple[Run, str]:
    """Read the run of a repository ``name`` (owner/name) into a new folder; the run, and a line on what was left there.

    Raises UserError for a wrong name, a folder that is there, a repository that is not, or that holds no run, a file
    that is not whole, and without a network.
    """
    out = path_of(out)
    _check_name(name)
    with usage():
        if out.exists():
            raise UserError(f"{out}: exists already; choose another --out")
    api = _api()
    with _spoken(name):
        there = api.model_info(name, files_metadata=True)
    files = [file for file in there.siblings or () if PART.fullmatch(file.rfilename)]
    others = [file.rfilename for file in there.siblings or () if file not in files and file.rfilename[0] != "."]
    _check_is_run(name, {file.rfilename for file in files}, others)

    def write(folder: Path) -> None:
        for file in files:
            with _spoken(name):
                got = api.hf_hub_download(name, file.rfilename, revision=there.sha, local_dir=folder)
            _check_whole(Path(got), file, name)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        try:
            _require_stages(load(folder, "cpu"))
        except UserError as error:
            raise UserError(str(error).replace(str(folder), name)) from None

    out.parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, write)
    left = f"; left there: {', '.join(map(shown, others[:3]))}{', ...' * (len(others) > 3)}" if others else ""
    return load(out), f"{len(files)} files, {in_words(sum(file.size or 0 for file in files))}{left}"


def files_of(run: Run, name: str) -> dict[str, bytes | Path]:
    """What is pushed, by its path in the repository."""
    files = dict(_sampled_by(run))
    picture = latest_picture(run.folder)
    if picture:
        files[f"{PICTURES}/{picture.name}"] = picture
    if kept_evaluation(run):
        files[EVALUATION] = run.folder / EVALUATION
    return files | {CARD: card(run, name).encode()}


def _sampled_by(run: Run, below: str = "") -> Iterator[tuple[str, bytes | Path]]:
    """What sampling needs of a run and of its stages."""
    yield below + RECIPE, _of_any_machine(run.recipe).to_yaml().encode()
    yield below + MODEL, run.folder / MODEL
    if (run.folder / TUNED).is_file():
        yield below + TUNED, run.folder / TUNED
    for name, stage in run.stages.items():
        yield from _sampled_by(stage, f"{below}{STAGES}/{name}/")


def _of_any_machine(recipe: Recipe) -> Recipe:
    stages = (replace(stage, recipe=_of_any_machine(stage.recipe)) for stage in recipe.stages)
    return replace(recipe, data=anywhere(recipe.data), stages=tuple(stages))


# ------------------------------------------------------------------------------------------------ what is checked


@usage()
def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"{shown(name)}: a repository of the hub is called owner/name, as ada/digits")


@usage()
def _check_version(there: "ModelInfo", name: str, public: bool, force: bool) -> None:
    """Raises UserError where a push would put something else in the place of what is there, or show what it holds."""
    held = {file.rfilename for file in there.siblings or () if file.rfilename != ".gitattributes"}
    if held and RECIPE not in held:
        raise UserError(f"{name}: holds something else than a run of undiffuse; choose another name")
    if held and not force:
        raise UserError(f"{name}: is there already; add --force for a new version of it (older ones are kept there)")
    if not there.private and not public:
        raise UserError(f"{name}: everybody may see what is there; add --public if they may see this, too")


def _check_is_run(name: str, files: set[str], others: list[str]) -> None:
    if INDEX in others:
        raise UserError(f"{name}: a pipeline of diffusers; get it with: hf download {name} --local-dir FOLDER")
    for needed in (RECIPE, MODEL):
        if needed not in files:
            raise UserError(f"{name}: no run of undiffuse, it holds no {needed}")


def _check_whole(path: Path, file: "RepoSibling", name: str) -> None:
    """Raises UserError for a file that is not what the hub says it holds."""
    import hashlib

    whole = file.size is None or path.stat().st_size == file.size
    if whole and file.lfs:
        with path.open("rb") as held:
            whole = hashlib.file_digest(held, "sha256").hexdigest() == file.lfs.sha256
    if not whole:
        raise UserError(f"{name}: {file.rfilename} did not come whole; try again")


def _require_stages(run: Run) -> None:
    for stage in run.recipe.stages:
        require_stage(run, stage.name)
        _require_stages(run.stages[stage.name])


# ----------------------------------------------------------------------------------------------------- the hub


def _api() -> "HfApi":
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("the hub needs huggingface_hub: pip install 'undiffuse[hub]'") from None
    return HfApi(library_name="undiffuse")


def _found(api: "HfApi", name: str) -> "ModelInfo | None":
    """The repository, if there is one that may be seen."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(name)
    except RepositoryNotFoundError:
        return None


@contextmanager
def _spoken(name: str) -> Iterator[None]:
    """What goes wrong with the hub as one line. What goes wrong with this disk is left as it is."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        yield
    except UserError:
        raise
    except OfflineModeIsEnabled:
        raise UserError(f"{name}: the hub is not asked as long as HF_HUB_OFFLINE is set; unset it") from None
    except GatedRepoError:
        raise UserError(f"{name}: its owner lets in who asks; ask on its page, huggingface.co/{name}") from None
    except RepositoryNotFoundError:
        raise UserError(f"{name}: no such repository, or a private one of somebody else; {LOG_IN}") from None
    except HfHubHTTPError as error:
        reason = REASONS.get(error.response.status_code, " ".join(str(error).split()))
        raise UserError(f"{name}: {shown(reason)}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: the hub cannot be reached ({shown(reason, 150)}); is there a network?") from None

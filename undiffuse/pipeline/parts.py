"""The parts of a pipeline of diffusers, one folder each, as its model_index.json names them.

    unet/ or transformer/   config.json and weights          scheduler/   scheduler_config.json
    vae/  text_encoder/     config.json and weights          tokenizer/

Only safetensors are read: a pickle may run any code when it is opened.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from inspect import signature
from logging import CRITICAL
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from undiffuse.core.errors import UserError, caution
from undiffuse.core.memory import require_network
from undiffuse.pipeline.single_file import converted, whole_file

INDEX = "model_index.json"
BESIDE = "undiffuse.json"  # what an exported run says besides
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack")
Index = dict[str, Any]


class Parts(Protocol):
    """What a model consists of, wherever it lies."""

    @property
    def index(self) -> Index:
        """Which classes its parts are of, by name: model_index.json."""
        ...

    @property
    def where(self) -> Path:
        """What errors call it."""
        ...

    def has(self, name: str) -> bool:
        """Whether it has this part."""
        ...

    def settings(self, name: str) -> dict[str, Any]:
        """The configuration of a part."""
        ...

    def module(self, name: str) -> nn.Module:
        """A part that has weights, in float32 and eval mode."""
        ...

    def tokenizer(self, name: str) -> Any:
        """A part that makes ids of words."""
        ...

    @property
    def beside(self) -> dict[str, Any]:
        """What a run that was exported says besides; empty for others."""
        ...


def is_pipeline(path: Path) -> bool:
    """Whether a pipeline of diffusers lies there."""
    return (path / INDEX).is_file()


def parts_at(path: Path) -> Parts:
    """The parts that lie there."""
    return FolderParts(path)


class FolderParts:
    """The parts in a folder. Raises UserError without a readable model_index.json."""

    def __init__(self, folder: Path) -> None:
        self.where = folder

    @cached_property
    def index(self) -> Index:
        """Its model_index.json."""
        return read_json(self.where / INDEX)

    @property
    def beside(self) -> dict[str, Any]:
        """Its undiffuse.json."""
        return read_json(self.where / BESIDE) if (self.where / BESIDE).is_file() else {}

    def has(self, name: str) -> bool:
        """Whether the index names this part, and does not say that it was left out."""
        return (self.index.get(name) or [None])[0] is not None

    def settings(self, name: str) -> dict[str, Any]:
        """Of its config.json, or of a scheduler's scheduler_config.json."""
        files = [self.where / name / file for file in ("config.json", "scheduler_config.json")]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise UserError(f"{self.where}: incomplete, there is no {name}/ with its configuration; load it again")
        return read_json(found)

    def module(self, name: str) -> nn.Module:
        """By the class that the index names."""
        library, kind = self.index[name]
        self.settings(name)  # raises UserError where it is missing
        return module(library, kind, self.where / name)

    def tokenizer(self, name: str) -> Any:
        """By the class that fits its files."""
        from undiffuse.condition.words import tokenizer_at

        if not (self.where / name).is_dir():
            raise UserError(f"{self.where}: incomplete, there is no {name}/; load it again")
        return tokenizer_at(str(self.where / name))


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file. Raises UserError where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no settings")
    return found


def module(library: str, kind: str, folder: Path) -> Any:
    """A part with weights, of a class of diffusers or transformers, in float32 and eval mode.

    Raises:
        UserError: Weights that are missing, pickled, damaged, or of another class; a library that is not installed.
    """
    cls, whole = class_of_part(library, kind), whole_file(folder)
    variant = None if whole else _variant(folder)
    with quiet(library), quiet("diffusers"):
        try:
            if library == "diffusers":
                _check_fits(cls, folder)
            if whole:
                return converted(library, kind, whole, folder)
            loaded, report = cls.from_pretrained(
                folder,
                use_safetensors=True,
                variant=variant,
                output_loading_info=True,
                **{"torch_dtype" if library == "diffusers" else "dtype": torch.float32},
            )
        except UserError as error:
            raise UserError(f"{folder}: {error}") from None
        except Exception as error:  # of a stranger's settings, anything
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"{folder}: no {kind} ({reason})") from None
    missing = sorted({*report["missing_keys"], *(name for name, x in loaded.state_dict().items() if x.is_meta)})
    if missing:
        raise UserError(f"{folder}: its weights lack {len(missing)} tensors, {missing[0]} first; is the file damaged?")
    return loaded.eval().requires_grad_(False)


def class_of_part(library: str, kind: str) -> Any:
    """The class of diffusers or transformers that a part is of.

    Raises UserError for another library or class, and for a library that is not installed.
    """
    if library not in LIBRARIES:
        raise UserError(f"a part that is {library}.{kind} is not known; only those of {' and '.join(LIBRARIES)} are")
    try:
        found = LIBRARIES[library]()
    except ImportError:
        raise UserError(f"this model needs {library}: pip install 'undiffuse[diffusers]'") from None
    if not hasattr(found, kind):
        raise UserError(f"{library} has no class {kind}; update it, or use a model of a class that it has")
    return getattr(found, kind)


def _diffusers() -> Any:
    import diffusers

    return diffusers


def _transformers() -> Any:
    import transformers

    return transformers


LIBRARIES: dict[str, Callable[[], Any]] = {"diffusers": _diffusers, "transformers": _transformers}


def _variant(folder: Path) -> str | None:
    """The variant in which the weights lie there, such as fp16, if not in the plain one.

    Raises UserError for no weights, or pickled ones.
    """
    names = sorted(file.name for file in folder.glob("*.safetensors"))
    if not names:
        pickled = [file.name for file in sorted(folder.glob("*")) if file.suffix in PICKLES]
        if pickled:
            raise UserError(
                f"{folder / pickled[0]}: weights are pickled, and a pickle may run any code; get the .safetensors of "
                "this model, or write them where you trust it: pipeline.save_pretrained(FOLDER)"
            )
        raise UserError(f"{folder}: incomplete, it holds no weights (.safetensors)")
    plain = re.compile(r"(diffusion_pytorch_model|model)(-\d+-of-\d+)?\.safetensors")
    if any(plain.fullmatch(name) for name in names):
        return None
    said = re.fullmatch(r"\w+\.(\w+)(-\d+-of-\d+)?\.safetensors", names[0])
    return said[1] if said else None


def _check_fits(cls: Any, folder: Path) -> None:
    """Raises UserError if its weights do not fit memory; cautions about settings that the class ignores."""
    config = dict(cls.load_config(folder))
    known = signature(cls.__init__).parameters
    if ignored := [name for name in config if name not in known and not name.startswith("_")]:
        caution(f"{folder / 'config.json'}: {', '.join(ignored)}: not known of a {cls.__name__}, and ignored")
    require_network(lambda: cls.from_config(config))


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """What the library would say is said here."""
    logging = import_module(f"{library}.utils.logging")
    before = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()

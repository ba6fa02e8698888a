"""A pipeline whose weights are one file, as Stable Diffusion's own authors write them, by diffusers' conversion.

    FOLDER/model_index.json, */config.json, scheduler/, tokenizer/     the small files of its pipeline
    FOLDER/checkpoint.safetensors                                      the weights of all of its parts

The file says neither how large its parts are, nor its scheduler, nor its words, so all else is of the folder: nothing
is guessed, or fetched. Each part without weights of its own is converted when it is opened.
"""

from pathlib import Path
from typing import Any

import torch

from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors

ENDING = ".safetensors"


def whole_file(folder: Path) -> Path | None:
    """The file of all weights, for a part in a ``folder`` without weights of its own; None if it has some, or there is
    none. Raises UserError for several."""
    if any(folder.glob(f"*{ENDING}")):
        return None
    found = sorted(folder.parent.glob(f"*{ENDING}"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise UserError(f"{folder.parent}: which of {names} are the weights? leave one of them there")
    return found[0] if found else None


def converted(library: str, kind: str, whole: Path, folder: Path) -> Any:
    """The part of ``folder``, of a class of diffusers or transformers, with its weights from a ``whole`` file.

    Raises UserError, and whatever diffusers raises for a file that it cannot convert.
    """
    from diffusers import pipelines
    from diffusers.loaders.single_file import load_single_file_sub_model

    try:
        part = load_single_file_sub_model(
            library,
            kind,
            folder.name,
            read_tensors(whole)[0],
            pipelines,
            is_pipeline_module=False,
            cached_model_config_path=str(folder.parent),
            local_files_only=True,
            torch_dtype=torch.float32,
        )
    except NotImplementedError:  # of tensors that were never filled
        raise UserError(f"{whole}: has not all weights of {folder.name}; is it whole, and of this pipeline?") from None
    return part.eval().requires_grad_(False)


def check_folder(path: Path) -> None:
    """Raises UserError for a file of weights, which is opened by the folder that says what they are of."""
    if path.suffix.lower() == ENDING and path.is_file():
        raise UserError(
            f"{path}: weights alone, without sizes, scheduler or tokenizer; put it beside the small files of its "
            f"pipeline (hf download NAME --exclude '*{ENDING}' '*.bin' --local-dir FOLDER) and give the FOLDER"
        )

"""A run as a pipeline of diffusers."""

from pathlib import Path

from undiffuse.core.errors import UserError
from undiffuse.run.run import Run


def to_diffusers(run: Run, folder: Path) -> str:
    """Write the pipeline. Raises UserError, naming the part that diffusers has no words for."""
    raise UserError(f"{run.folder}: diffusers has no words for its network")

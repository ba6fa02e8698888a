"""A run as a notebook shows it: what it is, and the latest picture that its training drew."""

from collections.abc import Mapping
from pathlib import Path

from undiffuse.core.notebook import as_html, picture_html

PICTURES = "pictures"  # in the folder of a run, called by the step


def latest_picture(folder: Path) -> Path | None:
    """The .png of the last report; None where none was drawn."""
    return max((folder / PICTURES).glob("*.png"), default=None)


def run_html(folder: Path, facts: Mapping[str, str]) -> str:
    """The facts that are not empty, above the picture."""
    from rich.table import Table

    table = Table("run", str(folder), box=None)
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    picture = latest_picture(folder)
    return as_html(table) + (picture_html(picture.read_bytes(), f"samples of {folder.name}") if picture else "")

"""What a notebook shows: what a terminal would, and pictures."""

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 110  # characters
_PRE = '<pre style="white-space:pre;overflow-x:auto;line-height:1.25;font-family:monospace">{code}</pre>'


def as_html(shown: "RenderableType") -> str:
    """A table, or text, of rich; in the page's own colours."""
    from rich.console import Console

    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system=None)
    console.print(shown)
    return console.export_html(code_format=_PRE, inline_styles=True)


def picture_html(png: bytes, alt: str) -> str:
    """A picture, within the page."""
    source = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width:100%" src="data:image/png;base64,{source}">'

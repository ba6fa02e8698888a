"""Where the gallery's pictures are kept, and how: in few colours, so that the repository stays light."""

from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from undiffuse.draw.style import picture
from undiffuse.files import write_atomically

GALLERY = Path("docs/gallery")  # from the root of the repository, where these scripts are run
INKS = 200  # colours a picture: lines and dots need no more


def keep(figure: Figure, path: Path) -> None:
    few = picture(figure).quantize(INKS, dither=Image.Dither.NONE)
    write_atomically(path, lambda temporary: few.save(temporary, "PNG", optimize=True))

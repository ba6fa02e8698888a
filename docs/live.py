"""The page that runs on the front page of the documentation, in docs/live, which git ignores.

Run before the site is built (make docs). It shows the swiss roll, which is trained here, and the digits and letters of
runs/demo/digits and runs/letters, where they are. Without onnxruntime-web, and no network to fetch it, only what a
visitor draws by hand un-diffuses there.
"""

from pathlib import Path

from undiffuse.core.errors import UserError
from undiffuse.page import page
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.train.loop import train

LIVE = Path(__file__).parent / "live"
BUILD = LIVE.parent.parent / "build" / "live"
OTHERS = (Path("runs/demo/digits"), Path("runs/letters"))


def main() -> None:
    """Write it."""
    roll = BUILD / "swiss-roll"
    try:
        if not (roll / "model.safetensors").is_file():
            train(RECIPES["swiss-roll"](), roll, quiet=True)
        runs = [roll, *(run for run in OTHERS if (run / "model.safetensors").is_file())]
        print(page([load(run) for run in runs], LIVE, force=True))
    except UserError as error:
        print(f"docs/live shows no network: {error}")
        page([], LIVE, force=True)


if __name__ == "__main__":
    main()

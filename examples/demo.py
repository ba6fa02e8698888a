"""From noise to a swiss roll and to handwritten digits: what `make demo` shows.

Only commands that you would type yourself; each is printed before it runs. Needs no network and no GPU.
"""

import subprocess
import sys
from pathlib import Path

OUT = Path("runs/demo")


def undiffuse(*words: str | Path) -> None:
    """Print a command, then run it."""
    print(f"\n$ undiffuse {' '.join(map(str, words))}", flush=True)
    subprocess.run([sys.executable, "-m", "undiffuse", *map(str, words)], check=True)


def show(recipe: str, count: int) -> None:
    """Train unless it is trained, then film, draw and measure."""
    run = OUT / recipe
    if not (run / "model.safetensors").exists():
        undiffuse("train", recipe, "--out", run)
    undiffuse("animate", run, "--out", OUT / f"{recipe}.gif", "--force")
    undiffuse("sample", run, "-n", str(count), "--out", OUT / f"{recipe}.png", "--force")
    undiffuse("evaluate", run)


def build_page() -> None:
    """Both in the browser; not where onnxruntime-web is not there and cannot be fetched."""
    try:
        undiffuse("page", OUT / "swiss-roll", OUT / "digits", "--out", OUT / "page", "--force")
    except subprocess.CalledProcessError:
        print("No page: it needs onnxruntime-web, once from the network.")


def main() -> int:
    """Both halves; the exit code of the command that failed, if one does."""
    try:
        show("swiss-roll", 2000)
        show("digits", 100)
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"\nLook at {OUT}/swiss-roll.gif and {OUT}/digits.gif, and at the pictures beside them.")
    build_page()
    print("Next: `undiffuse recipes`, or `undiffuse train FOLDER` with pictures of your own.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

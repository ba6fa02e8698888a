"""Draw the whole gallery again, picture by picture: `make gallery`.

Every script here is an idea of its own; read the one whose picture you like, change it, and run it alone.
"""

import runpy
import time
from pathlib import Path

NOT_PICTURES = ("all.py", "demo.py", "gallery.py")


def main() -> None:
    for script in sorted(Path(__file__).parent.glob("*.py")):
        if script.name in NOT_PICTURES:
            continue
        print(f"\n$ python examples/{script.name}", flush=True)
        began = time.perf_counter()
        runpy.run_path(str(script), run_name="__main__")
        print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()

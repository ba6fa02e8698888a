"""What a busy core costs a training: python -m benchmarks.busy [--steps 200]

Digits are trained for so many steps, alone and then beside a process that keeps one core busy: as the package does it,
and with threads that spin on every core, as torch does by itself. Each in a process of its own; the ratio is what
counts. Run it on a machine that does nothing else.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = "import sys; from undiffuse.cli import main; sys.exit(main(sys.argv[1:]))"
SPINNING = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "infinity", "KMP_BLOCKTIME": "infinite"}


def seconds(steps: int, environment: dict[str, str]) -> float:
    """How long a training takes."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "digits", "--out", str(Path(folder) / "run"), "--steps", str(steps), "--quiet"]
        words += ["--report-every", str(steps), "--save-every", str(steps)]
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", TRAIN, *words], env=os.environ | environment, check=True, stdout=subprocess.DEVNULL
        )
        return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    every = {"OMP_NUM_THREADS": str(os.cpu_count())}
    ways = {"as the package does it": {}, "spinning, a thread a core": SPINNING | every}
    alone = {name: seconds(steps, environment) for name, environment in ways.items()}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        beside = {name: seconds(steps, environment) for name, environment in ways.items()}
    finally:
        busy.kill()
    for name in ways:
        times = f"{alone[name]:8.1f} s alone{beside[name]:8.1f} s beside a busy core"
        print(f"{name:28}{times}{beside[name] / alone[name]:8.2f} x")


if __name__ == "__main__":
    main()

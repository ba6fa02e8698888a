"""Every measurement that the README quotes, one after the other: make bench (several hours on 2 cores)."""

import subprocess
import sys

MEASUREMENTS = (
    "start_up",
    "page",
    "momentum",
    "step_cost",
    "token_cost",
    "pace",
    "data_speed",
    "swiss_roll",
    "digits",
    "mixture",
    "tuned",
    "few_steps",
    "bridges",
    "letters",
    "table",
    "heartbeat",
    "checkable",
    "text",
    "throughput",
    "inverse",
    "fashion",
    "shapes",
    "attention",
)


def main() -> int:
    failed = []
    for name in MEASUREMENTS:
        print(f"\n=== python -m benchmarks.{name}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

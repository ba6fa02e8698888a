"""Waiting threads sleep: settings of the threading libraries of torch, which read them when torch is imported.

A thread that spins while it waits saves microseconds on an idle machine, but on a busy machine it takes a core from the
others. Settings that the environment already has are not changed.
"""

import os

SLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def sleep_while_waiting() -> None:
    """Call this before torch is imported; afterwards it has no effect."""
    for name, value in SLEEP.items():
        os.environ.setdefault(name, value)

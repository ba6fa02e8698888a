"""Threads that wait sleep: settings of the threading libraries beneath torch, which read them when it is imported.

Spinning saves microseconds on an idle machine, and costs a busy one the core that the others are waiting for. What the
environment says already stays as it is.
"""

import os

SLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def sleep_while_waiting() -> None:
    """To be called before torch is imported; afterwards it changes nothing."""
    for name, value in SLEEP.items():
        os.environ.setdefault(name, value)

"""undiffuse: diffusion models as a few small parts that fit together.

import undiffuse
undiffuse.load("runs/digits").sample(64, label=3, steps=20, seed=0)
"""

from typing import TYPE_CHECKING, Any

from undiffuse.core.waiting import sleep_while_waiting

if TYPE_CHECKING:
    from undiffuse.run.folder import load as load
    from undiffuse.run.run import Run as Run
    from undiffuse.train.fit import fit as fit


sleep_while_waiting()  # before torch is imported


def __getattr__(name: str) -> Any:
    """``load``, ``Run`` and ``fit``, imported when they are first used: importing undiffuse alone is free."""
    if name == "fit":
        from undiffuse.train.fit import fit

        return fit
    if name in ("load", "Run"):
        from undiffuse.run import folder

        return getattr(folder, name)
    raise AttributeError(f"module 'undiffuse' has no attribute {name!r}")

"""DEIS: Adams-Bashforth with z as a polynomial in time (Zhang and Chen 2023, tAB-DEIS, eq. 15).

The step is exact in alpha and sigma, and z changes more evenly in t than in rho = sigma/alpha, which spans decades.
diffusers' "DEIS" draws the polynomial in log rho instead (`in_log_rho`): the same numbers at order 1, and at any
order on schedules whose log rho is linear in t.
"""

from undiffuse.process.affine import Affine
from undiffuse.step.adams_bashforth import AdamsBashforth, in_time


def DEIS(process: Affine, order: int = 4, corrected: bool = False) -> AdamsBashforth:
    """Order ``order``, one evaluation a step; one order more if ``corrected``. The paper's tAB3 is order 4."""
    return AdamsBashforth(process, order, in_time, corrected)

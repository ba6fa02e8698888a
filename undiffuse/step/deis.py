"""DEIS: Adams-Bashforth with z as a polynomial in time (Zhang and Chen 2023, tAB-DEIS, eq. 15).

The step is exact in alpha and sigma, and z changes more evenly in t than in rho = sigma/alpha, which spans decades.
diffusers' "DEIS" draws the polynomial in log rho instead (`in_log_rho`): the same numbers at order 1, and at any
order on schedules whose log rho is linear in t.

It is not corrected for free, as UniPC is. Where data has little width, a disturbance of x_t is one of z, 1/sigma times
as large; a correction by that z, of the step that led there, makes it larger still, and it grows from step to step
unless steps are short. UniPC corrects by x_0, which such data hardly disturbs.
"""

from undiffuse.process.affine import Affine
from undiffuse.step.adams_bashforth import AdamsBashforth, in_time


def DEIS(process: Affine, order: int = 4) -> AdamsBashforth:
    """Order ``order``, one evaluation a step. The paper's tAB3 is order 4."""
    return AdamsBashforth(process, order, in_time)

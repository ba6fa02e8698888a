"""DEIS: Adams-Bashforth with z as a polynomial in time (Zhang and Chen 2023, tAB-DEIS, eq. 15).

The step is exact in alpha and sigma, and z changes more evenly in t than in rho = sigma/alpha, which spans decades.
diffusers' "DEIS" has the polynomial in log rho instead (`in_log_rho`): the same numbers at order 1, and at any order on
schedules whose log rho is linear in t.

It has no corrector, unlike UniPC. If the data is narrow, an error in x_t is an error in z that is 1/sigma times as
large. Correcting the last step by that z enlarges it further, so it grows from step to step unless steps are short.
UniPC corrects by x_0, in which such an error hardly shows.
"""

from undiffuse.process.affine import Affine
from undiffuse.step.adams_bashforth import AdamsBashforth, in_time


def DEIS(process: Affine, order: int = 4) -> AdamsBashforth:
    """Order ``order``, one evaluation a step. The paper's tAB3 is order 4."""
    return AdamsBashforth(process, order, in_time)

"""Every sampler by name: its step, the grid that suits it, and its cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from undiffuse.core.errors import UserError, caution, nearest
from undiffuse.process import ABSORBING, Affine, Categorical, Mixed, Process
from undiffuse.sampling.grid import Grid, Karras, angle_uniform, log_snr_uniform, slowing, trailing, widening
from undiffuse.step import Step
from undiffuse.step.adams_bashforth import AdamsBashforth, in_log_rho
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.annealed_langevin import AnnealedLangevin
from undiffuse.step.bridge import BridgeStep
from undiffuse.step.consistency import Consistency
from undiffuse.step.ddim import DDIM
from undiffuse.step.deis import DEIS
from undiffuse.step.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from undiffuse.step.euler import Euler
from undiffuse.step.euler_maruyama import EulerMaruyama
from undiffuse.step.forward_backward import ForwardBackward
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun
from undiffuse.step.jump import Jump
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.step.remasking import Remasking
from undiffuse.step.tau_leaping import TauLeaping
from undiffuse.step.token_flow import TokenFlow
from undiffuse.step.unipc import UniPC
from undiffuse.step.unmask import FirstHitting, MarginFirst, MostConfidentFirst
from undiffuse.step.unrolling import Unrolling


def each(steps: int) -> int:
    """One evaluation a step."""
    return steps


def twice(steps: int) -> int:
    """Two evaluations a step, but only one in the last step, to the data."""
    return 2 * steps - 1


@dataclass(frozen=True)
class Sampler:
    """A step that needs only a process, the grid that suits it, and its cost."""

    make: Callable[[Any], Step]
    grid: Grid
    summary: str
    evaluations: Callable[[int], int] = each  # of how many steps; one or two fewer where alpha is 0 at the start
    learned_variance: bool = False  # hand it `denoiser.belief`, not `denoiser`, and only one that learned it
    of_belief: bool = False  # hand it `denoiser.belief`

    def suits(self, process: Process) -> bool:
        """Whether it can sample this process: its step says so when it is made."""
        try:
            self.make(process)
        except UserError:
            return False
        return True


SAMPLERS: dict[str, Sampler] = {
    "ddim": Sampler(DDIM, trailing, "DDIM: deterministic, order 1"),
    "ddpm": Sampler(Ancestral, trailing, "ancestral sampling with variance beta-tilde"),
    "ddpm-large": Sampler(lambda process: Ancestral(process, 1.0), trailing, "ancestral sampling with variance beta"),
    "ddpm-learned": Sampler(Ancestral, trailing, "ancestral sampling with the learned variance", learned_variance=True),
    "gradient-estimation": Sampler(
        lambda process: GradientEstimation(process, 1.6), widening, "DDIM with momentum: for 10 evaluations or fewer"
    ),
    "euler": Sampler(Euler, trailing, "straight along the probability flow, order 1"),
    "heun": Sampler(Heun, log_snr_uniform, "EDM's: order 2, deterministic", twice),
    "heun-churn": Sampler(lambda process: Heun(process, churn=0.1), Karras(), "EDM's, with fresh noise", twice),
    "dpm++2s": Sampler(DPMSolverSinglestep, log_snr_uniform, "DPM-Solver++ singlestep, order 2", twice),
    "dpm++2m": Sampler(DPMSolverMultistep, log_snr_uniform, "DPM-Solver++ multistep, order 2"),
    "dpm++3m": Sampler(
        lambda process: DPMSolverMultistep(process, 3), log_snr_uniform, "DPM-Solver++ multistep, order 3"
    ),
    "dpm++2m-sde": Sampler(
        lambda process: DPMSolverMultistep(process, eta=1.0), log_snr_uniform, "DPM-Solver++ multistep with fresh noise"
    ),
    "unipc": Sampler(UniPC, widening, "multistep predictor with a free corrector: for 20 evaluations or more"),
    "deis": Sampler(DEIS, log_snr_uniform, "the noise as a polynomial in time, order 4"),
    "adams-bashforth": Sampler(
        lambda process: AdamsBashforth(process, 3, in_log_rho),
        widening,
        "the noise as a polynomial in log sigma/alpha, order 3",
    ),
    "euler-maruyama": Sampler(EulerMaruyama, trailing, "the reverse SDE in time"),
    "predictor-corrector": Sampler(PredictorCorrector, trailing, "ancestral, then a Langevin step", twice),
    "annealed-langevin": Sampler(
        AnnealedLangevin, trailing, "Langevin dynamics at falling noise levels", lambda steps: 20 * steps + 1
    ),
}

TOKEN_SAMPLERS: dict[str, Sampler] = {
    "ancestral": Sampler(Ancestral, trailing, "the posterior, step by step"),
    "tau-leaping": Sampler(TauLeaping, trailing, "jumps at the rates of a step's beginning"),
    "token-flow": Sampler(TokenFlow, trailing, "discrete flow matching: drawn anew from the belief, as often as asked"),
    "forward-backward": Sampler(ForwardBackward, trailing, "ancestral, each step drawn twice", lambda steps: 2 * steps),
    "remasking": Sampler(Remasking, trailing, "ancestral, and some tokens masked again: for many steps"),
    "first-hitting": Sampler(FirstHitting, trailing, "masks revealed one by one, when the process would"),
    "unrolling": Sampler(Unrolling, trailing, "SUNDAE's: a share of the tokens drawn anew, again and again"),
    "most-confident-first": Sampler(MostConfidentFirst, trailing, "the tokens it is most confident of unmasked first"),
    "margin-first": Sampler(MarginFirst, trailing, "places where one token is far ahead of the next unmasked first"),
}

BRIDGE_SAMPLERS: dict[str, Sampler] = {
    "bridge": Sampler(BridgeStep, slowing, "the SDE of a bridge with noise", of_belief=True),
}

FLOW_MAP_SAMPLERS: dict[str, Sampler] = {
    "consistency": Sampler(Consistency, angle_uniform, "jumps to the data, with fresh noise in between"),
    "jump": Sampler(Jump, angle_uniform, "jumps along the probability flow, deterministic"),
}


FORMER = {  # former names that runs and users still have, and the present ones
    "deis-corrected": ("deis", "its corrector made errors grow from step to step"),
    "surest-first": ("most-confident-first", "the field's word"),
}
NAMES = (*SAMPLERS, *TOKEN_SAMPLERS, *FLOW_MAP_SAMPLERS, *BRIDGE_SAMPLERS, *FORMER)  # all that may be asked for


def current(name: str) -> str:
    """The present name of a sampler, and a caution if a former name was used."""
    if name not in FORMER:
        return name
    now, why = FORMER[name]
    caution(f"{name} is {now} now: {why}")
    return now


def samplers_of(process: Process, learned_variance: bool = True, jumps: tuple[str, ...] = ()) -> dict[str, Sampler]:
    """Those that can sample it, by name: without a learned variance, those that need none; of a `FlowMap`, those of its
    ``jumps``."""
    if isinstance(process, Mixed):
        return {"ddpm": SAMPLERS["ddpm"]}
    known = TOKEN_SAMPLERS if isinstance(process, Categorical) else SAMPLERS | BRIDGE_SAMPLERS
    if jumps:
        known = {name: FLOW_MAP_SAMPLERS[name] for name in jumps}
    able = {name: sampler for name, sampler in known.items() if sampler.suits(process)}
    return {name: sampler for name, sampler in able.items() if learned_variance or not sampler.learned_variance}


def sampler_of(process: Process, name: str, learned_variance: bool = True, jumps: tuple[str, ...] = ()) -> Sampler:
    """The sampler of that name.

    Raises UserError if there is none, or if it cannot sample this process, or not with such a denoiser.
    """
    known, name = samplers_of(process, jumps=jumps), current(name)
    if name not in known and name in NAMES:
        what = "a model of few steps, which jumps" if jumps else _called(process)
        raise UserError(f"{name} cannot sample {what}; choose one of {', '.join(known)}")
    if name not in known:
        raise UserError(nearest(name, known, "sampler"))
    if known[name].learned_variance and not learned_variance:
        raise UserError(f"{name} needs a model that learned its variance; train with --learned-variance true")
    return known[name]


def _called(process: Process) -> str:
    if isinstance(process, Mixed):
        return "numbers beside tokens"
    if isinstance(process, Categorical):
        return "masked tokens" if process.kernel == ABSORBING else "tokens that are not masked"
    if isinstance(process, Affine) and not process.z.is_gaussian:
        return f"numbers under {process.z}, where no step may add fresh noise"
    return "numbers"

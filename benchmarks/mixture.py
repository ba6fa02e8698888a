"""Which sampler ends nearest to the exact one? python -m benchmarks.mixture [--choose]

The data are mixtures of Gaussians with full covariances, fitted to standardised data, so that the denoiser is exact and
every error is the sampler's. All start from the same noise z; the reference is the probability flow from z at
sigma/alpha = 160, or the schedule's end if that is lower, solved in float64 with far more steps. A grid that begins
lower pays for it. The error of a sampler is the median over samples of the root mean square difference from the
reference's end, at 5, 10, 20 and 50 network evaluations.

*What is chosen on some problems is reported on others.* Chosen on moons, pinwheel (2 dimensions), digits of 8 x 8 (64)
and Fashion-MNIST of 14 x 14 (196), with DDPM's linear schedule: for each library and count the configuration of least
error, as the geometric mean over problems of the error over the best one's. Of ours the configurations are the samplers
as they come (--choose ranks them); their grids, gradient estimation's gamma and `interpolate.LONG` were chosen on the
same problems. Of the peers they are every deterministic sampler with its orders, solvers and grids. Reported on MNIST
of 28 x 28 (784) and patches of CIFAR-10 (8 x 8 x 3 = 192), which chose nothing: the median over 3 seeds of 16 samples,
the least and the greatest; and what was chosen of ours on other schedules.

Data: UNDIFFUSE_TEST_DATA with mnist/, fashion_mnist/ and cifar10/.
"""

import argparse
import math
import os
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmarks import peers
from undiffuse.data.readers.digits import digits
from undiffuse.data.readers.well_known import known
from undiffuse.data.synthetic.toys import toy
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process import EDM, Affine, Cosine, Flow, Linear
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import LogLinearGrid
from undiffuse.sampling.loop import Counted, last, trajectory
from undiffuse.sampling.samplers import SAMPLERS

EVALUATIONS = (5, 10, 20, 50)
CHOOSING = ("moons", "pinwheel", "digits", "Fashion-MNIST")
REPORTED = ("MNIST", "CIFAR-10")
OTHER_SCHEDULES = {"cosine": Cosine(), "EDM": EDM(), "flow": Flow()}
OURS = ("ddim", "gradient-estimation", "heun", "dpm++2m", "dpm++3m", "unipc", "adams-bashforth", "deis")
TOP = 160.0  # sigma/alpha

Runs = Iterator[tuple[str, Callable[[], Tensor]]]  # a configuration, and what finds where it ends (samples, size)


class Given:
    """The noise that is given."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def normal(self, like: Tensor) -> Tensor:
        """It."""
        return self.z


class Problem(NamedTuple):
    """An exact denoiser, noise to start from, and where the flow takes it."""

    process: Affine
    denoise: GaussianMixture
    z: Tensor  # (samples, size)
    truth: Tensor  # (samples, size)

    def start(self, t: float) -> Tensor:
        """What sampling starts from at t."""
        return self.process.start(self.z, Given(self.z), t)


Library = Callable[[Problem, int], Runs]


def well_known(name: str, split: str = "train") -> Tensor:
    """Pictures (20000 at most, channels, height, width)."""
    if "UNDIFFUSE_TEST_DATA" not in os.environ:
        raise SystemExit("UNDIFFUSE_TEST_DATA is not set; it holds mnist/, fashion_mnist/ and cifar10/")
    folder = Path(os.environ["UNDIFFUSE_TEST_DATA"]) / name.replace("-", "_")
    return known(name, str(folder), split).x[:20000].double()


DATA: dict[str, Callable[[], Tensor]] = {
    "moons": lambda: toy("moons", 10000).x,
    "pinwheel": lambda: toy("pinwheel", 10000).x,
    "digits": lambda: digits().x,
    "Fashion-MNIST": lambda: avg_pool2d(well_known("fashion-mnist"), 2),
    "MNIST": lambda: well_known("mnist"),
    "CIFAR-10": lambda: well_known("cifar10", "test")[:, :, 12:20, 12:20],
}


@lru_cache
def fit(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances (+ 1e-3): clusters by k-means, 24 in 2 dimensions and 10 in more."""
    from sklearn.cluster import MiniBatchKMeans

    x = DATA[name]().double().flatten(1)
    x = (x - x.mean(0)) / x.std()
    components = 24 if x.shape[1] == 2 else 10
    label = torch.from_numpy(MiniBatchKMeans(components, random_state=0, n_init=3).fit_predict(x.numpy()))
    parts = [part for part in (x[label == k] for k in range(components)) if len(part) > 1]
    covariances = torch.stack([part.T.cov() + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype) for part in parts])
    weights = torch.tensor([len(part) / len(x) for part in parts], dtype=x.dtype)
    return weights, torch.stack([part.mean(0) for part in parts]), covariances


def pose(name: str, schedule: Schedule, samples: int, steps: int = 300) -> Problem:
    """The problem, with the reference's end by so many steps uniform in log-SNR down to sigma = 1e-4."""
    process = Affine(schedule)
    denoise = GaussianMixture(process, *fit(name))
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((samples, denoise.means.shape[1])))
    posed, times = Problem(process, denoise, z, z), LogLinearGrid(1e-4, TOP)(schedule, steps)
    end = last(trajectory(SAMPLERS["unipc"].make(process), denoise, posed.start(times[0]), times, Given(z)))
    return posed._replace(truth=end)


def undiffuse(problem: Problem, budget: int) -> Runs:
    """Deterministic samplers as they come."""
    for name in OURS:
        yield name, partial(run_ours, name, problem, budget)


def run_ours(name: str, problem: Problem, budget: int) -> Tensor:
    """With as many steps as the budget pays for."""
    sampler, counted = SAMPLERS[name], Counted(problem.denoise)
    steps = max(n for n in range(1, budget + 1) if sampler.evaluations(n) <= budget)
    times = sampler.grid(problem.process.schedule, steps)
    end = last(trajectory(sampler.make(problem.process), counted, problem.start(times[0]), times, Given(problem.z)))
    assert counted.count <= budget, (name, counted.count)
    return end


def diffusers(problem: Problem, budget: int) -> Runs:
    """Every deterministic scheduler with its orders, solvers and spacings."""
    import diffusers as library

    library.utils.logging.set_verbosity_error()

    sigmas = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_lu_lambdas": True}]
    multistep = [
        (
            f"{a} {o} {s}",
            library.DPMSolverMultistepScheduler,
            {"algorithm_type": a, "solver_order": o, "solver_type": s},
        )
        for a, o, s in product(("dpmsolver++",), (2, 3), ("midpoint", "heun"))
    ]
    multistep += [
        (f"unipc {o} {s}", library.UniPCMultistepScheduler, {"solver_order": o, "solver_type": s})
        for o, s in product((2, 3), ("bh1", "bh2"))
    ]
    multistep += [(f"deis {o}", library.DEISMultistepScheduler, {"solver_order": o}) for o in (2, 3)]
    multistep += [(f"singlestep {o}", library.DPMSolverSinglestepScheduler, {"solver_order": o}) for o in (2, 3)]
    multistep += [("heun", library.HeunDiscreteScheduler, {}), ("euler", library.EulerDiscreteScheduler, {})]
    multistep += [("lms", library.LMSDiscreteScheduler, {}), ("ddim", library.DDIMScheduler, {"clip_sample": False})]
    for (name, kind, options), spacing, sigma in product(multistep, ("linspace", "trailing"), sigmas):
        known = kind().config
        if any(key not in known for key in sigma) or (sigma and spacing == "trailing"):
            continue  # with noise levels of its own, a scheduler starts at the end whatever the spacing
        spaced = {"timestep_spacing": spacing} if "timestep_spacing" in known else {}
        make = partial(kind, **options, **sigma, **spaced, prediction_type="epsilon")
        yield f"{name} {spacing} {' '.join(sigma)}", partial(run_diffusers, make, problem, budget)


def run_diffusers(make: Callable[[], Any], problem: Problem, budget: int) -> Tensor:
    """The scheduler's own loop, told the noise level that it thinks it is at."""
    process, denoise, scheduler = problem.process, problem.denoise, make()
    heun = "Heun" in type(scheduler).__name__
    scheduler.set_timesteps((budget + 1) // 2 if heun else budget)
    start = process.schedule.at(1.0)
    exploding = bool(scheduler.init_noise_sigma > 1.5)
    state, count = (problem.start(1.0) / start.alpha if exploding else problem.start(1.0)), 0
    for t in scheduler.timesteps:
        inside = scheduler.scale_model_input(state, t)
        time = (float(t) + 1) / 1000
        if hasattr(scheduler, "sigmas") and getattr(scheduler, "step_index", None) is not None:
            time = time_of_sigma(process, float(scheduler.sigmas[scheduler.step_index]))
        elif hasattr(scheduler, "sigmas") and len(scheduler.sigmas) > 1:
            time = time_of_sigma(process, float(scheduler.sigmas[0]))
        point = process.schedule.at(time)
        eps = (inside - point.alpha * denoise(inside, time)) / point.sigma
        state, count = scheduler.step(eps, t, state).prev_sample, count + 1
    if count > budget:
        raise ValueError("over budget")
    return state


def time_of_sigma(process: Affine, sigma: float) -> float:
    """The t at which sigma/alpha is this."""
    return float(process.schedule.time(torch.tensor([-2 * np.log(sigma)], dtype=torch.float64)))


def k_diffusion(problem: Problem, budget: int) -> Runs:
    """Its deterministic samplers on its own grids, from the schedule's end or from 40."""
    k = peers.k_diffusion_sampling()
    process, start = problem.process, problem.process.schedule.at(1.0)
    count = 0

    def model(x_bar: Tensor, sigma: Tensor) -> Tensor:
        nonlocal count
        count += 1
        time = time_of_sigma(process, float(sigma[0]))
        return problem.denoise(x_bar * process.schedule.at(time).alpha, time)

    def run(sampler: Callable[..., Tensor], sigmas: Tensor) -> Tensor:
        return sampler(model, begun(sigmas), sigmas, disable=True)

    def begun(sigmas: Tensor) -> Tensor:
        return problem.z * math.hypot(1.0, float(sigmas[0]))

    samplers: dict[str, Callable[[Tensor], Tensor]] = {
        name: partial(run, getattr(k, f"sample_{name}")) for name in ("heun", "lms", "dpmpp_2m")
    }
    samplers["dpmpp_2s"] = lambda s: k.sample_dpmpp_2s_ancestral(model, begun(s), s, eta=0.0, disable=True)
    samplers["dpm_fast"] = lambda s: k.sample_dpm_fast(
        model, begun(s), float(s[-2]), float(s[0]), len(s) - 1, disable=True
    )
    lows, tops = (0.003, 0.01, 0.03, 0.1), (start.sigma / start.alpha, 40.0)
    for name, low, rho, top in product(samplers, lows, (None, 7.0), tops):

        def grid(n: int, low: float = low, rho: float | None = rho, top: float = top) -> Tensor:
            return k.get_sigmas_karras(n, low, top, rho) if rho else k.get_sigmas_exponential(n, low, top)

        def most(name: str = name, grid: Callable[[int], Tensor] = grid) -> Tensor:
            """With as many steps as the budget pays for."""
            nonlocal count
            for n in range(budget, max(1, budget // 2 - 1), -1):
                count = 0
                end = samplers[name](grid(n).double())
                if count <= budget:
                    return end
            raise ValueError("over budget")

        yield f"{name} {'exponential' if rho is None else f'karras rho {rho}'} {top:.0f} to {low}", most


def errors(end: Tensor, truth: Tensor, seeds: int = 1) -> list[float]:
    """For each seed the median over its samples of the root mean square difference."""
    each = (end - truth).square().mean(1).sqrt().nan_to_num(float("inf"))
    return [float(part.median()) for part in each.chunk(seeds)]


class Score(NamedTuple):
    """How a configuration did on the problems that one chooses on."""

    ratio: float  # geometric mean of its errors over the best one's
    worst: float
    name: str


def ranked(library: Library, problems: Iterable[Problem], budget: int) -> list[Score]:
    """Every configuration that runs, the best first."""
    tables = []
    for problem in problems:
        table = {}
        for name, run in library(problem, budget):
            with suppress(ValueError, NotImplementedError, RuntimeError, IndexError):  # what a peer refuses
                table[name] = errors(run(), problem.truth)[0]
        tables.append(table)
    ratios = {
        name: [table[name] / min(table.values()) for table in tables]
        for name in tables[0]
        if all(table.get(name, math.inf) < math.inf for table in tables)
    }
    return sorted(Score(statistics.geometric_mean(r), max(r), name) for name, r in ratios.items())


def report(problem: Problem, run: Callable[[], Tensor], seeds: int) -> str:
    """The error: the median over seeds, the least and the greatest."""
    each = sorted(errors(run(), problem.truth, seeds))
    return f"{statistics.median(each):8.5f} ({each[0]:.5f} to {each[-1]:.5f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16, help="a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--choose", action="store_true", help="also rank what one chooses from")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with torch.no_grad():
        compare(arguments.evaluations, arguments.samples, arguments.seeds, arguments.choose)


def compare(evaluations: Iterable[int], samples: int, seeds: int, choose: bool) -> None:
    """Choose, and report."""
    libraries: tuple[Library, ...] = (undiffuse, diffusers, k_diffusion)
    problems = [pose(name, Linear(), samples) for name in CHOOSING]
    chosen: dict[tuple[Library, int], str] = {}
    for budget, library in product(evaluations, libraries):
        scores = ranked(library, problems, budget)
        chosen[library, budget] = scores[0].name
        print(f"chosen at {budget:2} of {len(scores):2}: {library.__name__:12} {scores[0].name}", flush=True)
        for score in scores if choose else ():
            print(f"    {score.ratio:8.2f}, at worst {score.worst:8.2f}  {score.name}")
    for name in REPORTED:
        problem, finer = (pose(name, Linear(), samples * seeds, steps) for steps in (300, 600))
        print(f"\n{name}; reference: 300 and 600 steps differ by {errors(problem.truth, finer.truth)[0]:.0e}")
        for budget, library in product(evaluations, libraries):
            for other, run in library(problem, budget):
                if other == chosen[library, budget] or library is undiffuse:
                    mark = "chosen" if other == chosen[library, budget] else ""
                    print(
                        f"{budget:4} {library.__name__:12} {report(problem, run, seeds)} {mark:6} {other}", flush=True
                    )
    for name, (label, schedule) in product(REPORTED, OTHER_SCHEDULES.items()):
        problem = pose(name, schedule, samples * seeds)
        for budget in evaluations:
            only = chosen[undiffuse, budget]
            found = report(problem, partial(run_ours, only, problem, budget), seeds)
            print(f"{name:9} {label:7} {budget:4} {found}  {only}", flush=True)


if __name__ == "__main__":
    main()

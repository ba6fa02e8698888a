"""Whose sampler ends nearest to the exact one? python -m benchmarks.mixture [--samples 64] [--components 10]

The data is a mixture of 10 Gaussians with full covariances, fitted to handwritten digits of 28 x 28 = 784
dimensions, so its denoiser is exact and every error is the sampler's. All start from the same noise at the end of
DDPM's linear schedule, sigma/alpha = 157, and follow the same probability flow; the reference is that flow solved
in float64 with far more steps. The score is the median over samples of the root mean square difference from the
reference's end point, at 5, 10, 20 and 50 network evaluations: the best of all samplers and grids of each library.

Pictures: MNIST from UNDIFFUSE_TEST_DATA, or scikit-learn's digits, enlarged, without it.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import peers
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.sampling.grid import GRIDS, Grid, Karras, LogLinearGrid
from undiffuse.sampling.loop import Counted, last, trajectory
from undiffuse.sampling.samplers import SAMPLERS

EVALUATIONS = (5, 10, 20, 50)
OURS = ("gradient-estimation", "dpm++3m", "unipc", "adams-bashforth", "deis")
TOP = 1e6  # grids begin at the end of the schedule

Result = dict[str, Tensor]  # sampler and grid -> end points (samples, 784)


def pictures() -> Tensor:
    """(count, 784) float64, pixels scaled to [-1, 1]."""
    folder = os.environ.get("UNDIFFUSE_TEST_DATA")
    if folder:
        from undiffuse.data.readers.open import open_data

        x = open_data(Path(folder) / "mnist").x[:20000].double()
    else:
        from undiffuse.data.readers.digits import digits

        x = torch.nn.functional.interpolate(digits().x.double(), size=28, mode="bilinear")
    return x.flatten(1) / 127.5 - 1


def fit(x: Tensor, components: int, process: Affine) -> GaussianMixture:
    """Clusters by k-means, a full covariance each (+ 1e-3, the quantisation and a little more)."""
    from sklearn.cluster import MiniBatchKMeans

    label = torch.from_numpy(MiniBatchKMeans(components, random_state=0, n_init=3).fit_predict(x.numpy()))
    parts = [x[label == k] for k in range(components)]
    covariances = torch.stack([p.T.cov() + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype) for p in parts])
    weights = torch.tensor([len(p) / len(x) for p in parts], dtype=x.dtype)
    return GaussianMixture(process, weights, torch.stack([p.mean(0) for p in parts]), covariances)


def reference(process: Affine, denoise: GaussianMixture, x: Tensor, steps: int) -> Tensor:
    """The flow's end point by many third-order steps, uniform in log-SNR down to sigma = 1e-4."""
    times = LogLinearGrid(1e-4, TOP)(process.schedule, steps)
    return last(trajectory(SAMPLERS["dpm++3m"].make(process), denoise, x, times, None))


def ours(process: Affine, denoise: GaussianMixture, x: Tensor, budget: int) -> Iterator[tuple[str, Tensor]]:
    """Every deterministic sampler of ours on every grid that ends within the budget."""
    grids: dict[str, Grid] = {name: GRIDS[name] for name in ("quadratic", "gradient-estimation", "log-snr-uniform")}
    grids |= {f"log-linear to {low}": LogLinearGrid(low, TOP) for low in (0.003, 0.006, 0.01, 0.02, 0.03)}
    grids |= {f"karras rho {rho} to {low}": Karras(rho, low, TOP) for rho, low in product((7.0, 12.0), (0.005, 0.02))}
    for name, (label, grid) in product(OURS, grids.items()):
        sampler, counted = SAMPLERS[name], Counted(denoise)
        steps = max((n for n in range(1, budget + 1) if sampler.evaluations(n) <= budget), default=0)
        if steps:
            yield (
                f"{name}, {label}",
                last(trajectory(sampler.make(process), counted, x, grid(process.schedule, steps), None)),
            )
            assert counted.count <= budget, (name, counted.count)


def diffusers(process: Affine, denoise: GaussianMixture, x: Tensor, budget: int) -> Iterator[tuple[str, Tensor]]:
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
        try:
            scheduler = kind(**options, **sigma, **spaced, prediction_type="epsilon")
            yield f"{name} {spacing} {' '.join(sigma)}", run_diffusers(scheduler, process, denoise, x, budget)
        except (ValueError, NotImplementedError, RuntimeError, IndexError):
            continue  # a combination that diffusers refuses


def run_diffusers(scheduler: object, process: Affine, denoise: GaussianMixture, x: Tensor, budget: int) -> Tensor:
    """The scheduler's own loop, told the noise level that it thinks it is at."""
    heun = "Heun" in type(scheduler).__name__
    scheduler.set_timesteps((budget + 1) // 2 if heun else budget)
    start = process.schedule.at(1.0)
    exploding = bool(scheduler.init_noise_sigma > 1.5)
    state, count = (x / start.alpha if exploding else x), 0
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


def k_diffusion(process: Affine, denoise: GaussianMixture, x: Tensor, budget: int) -> Iterator[tuple[str, Tensor]]:
    """Its deterministic samplers on its own grids, from the same sigma."""
    k = peers.k_diffusion_sampling()
    start = process.schedule.at(1.0)
    top, state = start.sigma / start.alpha, x / start.alpha
    count = 0

    def model(x_bar: Tensor, sigma: Tensor) -> Tensor:
        nonlocal count
        count += 1
        time = time_of_sigma(process, float(sigma[0]))
        return denoise(x_bar * process.schedule.at(time).alpha, time)

    def run(sampler: Callable[..., Tensor], sigmas: Tensor) -> Tensor:
        return sampler(model, state, sigmas, disable=True)

    samplers: dict[str, Callable[[Tensor], Tensor]] = {
        name: partial(run, getattr(k, f"sample_{name}")) for name in ("heun", "lms", "dpmpp_2m")
    }
    samplers["dpmpp_2s"] = lambda s: k.sample_dpmpp_2s_ancestral(model, state, s, eta=0.0, disable=True)
    samplers["dpm_fast"] = lambda s: k.sample_dpm_fast(model, state, float(s[-2]), top, len(s) - 1, disable=True)
    lows = (0.003, 0.01, 0.03, 0.1)
    for name, low, rho in product(samplers, lows, (None, 7.0)):

        def grid(n: int, low: float = low, rho: float | None = rho) -> Tensor:
            return k.get_sigmas_karras(n, low, top, rho) if rho else k.get_sigmas_exponential(n, low, top)

        for n in range(budget, max(1, budget // 2 - 1), -1):
            count = 0
            end = samplers[name](grid(n).double())
            if count <= budget:
                yield f"{name} {'exponential' if rho is None else f'karras rho {rho}'} to {low}", end
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--top", type=int, default=0, help="also list this many of each library")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    process = Affine(Linear())
    denoise = fit(pictures(), arguments.components, process)
    with torch.no_grad():
        z = torch.from_numpy(np.random.default_rng(0).standard_normal((arguments.samples, 784)))
        exact, coarse = (reference(process, denoise, z, n) for n in (400, 200))
        print(f"reference: 200 and 400 steps differ by {rmse(exact, coarse):.1e}\n")
        print("evaluations  library        median RMSE   of ours   by")
        for budget in arguments.evaluations:
            ranked = {
                library.__name__: sorted((rmse(end, exact), name) for name, end in library(process, denoise, z, budget))
                for library in (ours, diffusers, k_diffusion)
            }
            best = {library: errors[0] for library, errors in ranked.items()}
            for library, errors in ranked.items() if arguments.top else ():
                print(*(f"    {library} {error:.5f} {name}" for error, name in errors[: arguments.top]), sep="\n")
            for library, (error, name) in best.items():
                print(f"{budget:11}  {library:12} {error:12.5f} {error / best['ours'][0]:9.2f}   {name}", flush=True)


def rmse(x: Tensor, y: Tensor) -> float:
    """The median over samples of the root mean square difference."""
    return float((x - y).square().mean(1).sqrt().nan_to_num(float("inf")).median())


if __name__ == "__main__":
    main()

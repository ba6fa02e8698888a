"""A run as ONNX graphs, with all that a sampler elsewhere needs beside them.

    model.onnx      x_t, log-SNR and conditions -> E[x_0 | x_t]; of tokens the logits of p(x_0 | x_t)
    decoder.onnx    of what diffuses as a latent: z -> data
    model.json      the schedule, the conditions, the shape, the scale of the data, how the run is sampled

The noise level of the graph is log-SNR, not t, so it holds for any schedule of the same family (`process.schedule`),
and the sampler chooses its own times. What the network predicts does not leave the graph. Each input has the same count
of rows, any count; log-SNR is float64, since the graph computes alpha and sigma of it as the library does.
"""

import contextlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undiffuse.codec import Codec
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Specification
from undiffuse.core.configuration import kebab, to_values
from undiffuse.core.errors import UserError
from undiffuse.core.files import write_json
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.process import Ordinal, Replace
from undiffuse.process.schedule import Schedule
from undiffuse.run.run import Run

MODEL, DECODER, FACTS = "model.onnx", "decoder.onnx", "model.json"
FORMAT = "undiffuse onnx 1"
OPSET = 20
ENTRIES = 1000  # of the table of a schedule in continuous time
FAMILIES = {  # by their alpha where the log-SNR is 0 (`process.schedule`)
    "variance-preserving": math.sqrt(0.5),
    "variance-exploding": 1.0,
    "straight": 0.5,
    "sub-variance-preserving": (math.sqrt(5) - 1) / 2,
}
ABLE = (Denoiser, TokenDenoiser, FlowMap)  # what can be said as one graph of tensors
Kernels = Replace | Ordinal
PRESENT = ".present"  # after the name of a condition: whether a row has it


def to_onnx(run: Run, folder: Path) -> str:
    """Write the graphs and the facts; how far the graphs are from the run, as measured on random inputs.

    Raises UserError, naming the part, for what is no graph of tensors, and without the extra ``onnx``.
    """
    _require(run)
    device = run.device
    try:
        inputs = _inputs(run, 3)
        apart = write_graph(Believed(run).cpu().eval(), inputs, "belief", folder / MODEL, _inputs(run, 5))
        said = f"one evaluation differs from torch's by {apart:.1e} at most"
        if not run.codec.in_place and _decodes(run):
            z, other = ({"z": _latents(run, count)} for count in (3, 5))
            decoded = write_graph(Decoded(run.codec).cpu().eval(), z, "data", folder / DECODER, other)
            said += f", decoded data by {decoded:.1e}"
    finally:
        run.denoiser.to(device), run.codec.to(device)
    write_json(folder / FACTS, facts(run))
    return said


class ByLevel(Schedule):
    """A schedule whose time is the log-SNR itself."""

    def __init__(self, base: Schedule) -> None:
        self.base = base

    def log_snr(self, t: Tensor) -> Tensor:
        """Itself."""
        return t

    def time(self, log_snr: Tensor) -> Tensor:
        """Itself."""
        return log_snr

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """The base's family."""
        return self.base.scale(log_snr)

    def rate(self, t: Any) -> Any:
        """By the base's time: what a network of velocities predicts does not depend on how noise levels are told."""
        return self.base.rate(self.base.time(t))


class Believed(nn.Module):
    """The denoiser of a run as a function of tensors alone."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.denoiser, self.names = run.denoiser, tuple(run.specifications)
        self.process = replace(run.denoiser.process, schedule=ByLevel(run.denoiser.process.schedule))

    def forward(self, x: Tensor, log_snr: Tensor, *others: Tensor) -> Tensor:
        """x (batch, *latent_shape), log_snr (batch,), then values and presence of each condition, then where it jumps
        to."""
        pairs = [Entry(*others[2 * k : 2 * k + 2]) for k in range(len(self.names))]
        conditions = Conditions(dict(zip(self.names, pairs, strict=True))) if pairs else None
        told, self.denoiser.process = self.denoiser.process, self.process
        try:
            answer: Tensor = self.denoiser(x, log_snr, conditions, *others[2 * len(pairs) :])
        finally:
            self.denoiser.process = told
        return answer


class Decoded(nn.Module):
    """The way back of a codec."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, z: Tensor) -> Tensor:
        """(batch, *latent_shape) -> data (batch, *shape), as it is stored, float32."""
        return self.codec.decode(z).float()


# ------------------------------------------------------------------------------------------------- the graphs


def write_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], output: str, path: Path, others: Mapping[str, Tensor]
) -> float:
    """Write the graph of a module, and compare it with the module on ``others``, of another count of rows.

    Returns the largest difference, in units of the largest output if that exceeds 1. Raises UserError if torch cannot
    trace the module, if onnxruntime cannot run the graph, or if the graph answers otherwise.
    """
    batch = torch.export.Dim("batch")
    try:
        with _silence(), torch.no_grad():
            shapes = tuple({0: batch} for _ in inputs)
            traced = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=_of(module, shapes))
            program = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=list(inputs),
                output_names=[output],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            program.save(str(path))
            apart = difference(answers(path, others), module(*others.values()))
    except Exception as error:  # of a network of any kind, anything
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        name = type(getattr(getattr(module, "denoiser", None), "net", module)).__name__
        raise UserError(f"ONNX has no words for its {kebab(name)} ({reason})") from error
    if not apart < 1e-2:
        raise UserError(f"its graph would answer otherwise than the run, by {apart:.1e}: nothing is written")
    return apart


def answers(path: Path, inputs: Mapping[str, Tensor]) -> Tensor:
    """What a graph says, by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}  # a graph leaves out what does not matter
    said = session.run(None, {name: value.numpy() for name, value in inputs.items() if name in taken})
    return torch.from_numpy(said[0])


def difference(x: Tensor, y: Tensor) -> float:
    """The largest, in units of the largest entry if that exceeds 1."""
    return float((x - y).abs().max() / y.abs().max().clamp(min=1.0))


def _of(module: nn.Module, shapes: tuple[Any, ...]) -> Any:
    """Dynamic shapes, as the signature of the module has its arguments."""
    return (*shapes[:2], shapes[2:]) if isinstance(module, Believed) and shapes[2:] else shapes


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What the exporter says of itself is not for the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _require(run: Run) -> None:
    """Raises UserError for what is no such graph, and without the extra."""
    if not isinstance(run.denoiser, ABLE):
        part = kebab(type(run.recipe.model).__name__)
        raise UserError(f"{run.folder}: its model is a {part}, which is not one graph from x_t to E[x_0 | x_t]")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}: pip install 'undiffuse[onnx]'") from None


# ------------------------------------------------------------------------------------------------- the inputs


def _inputs(run: Run, count: int) -> dict[str, Tensor]:
    """Random inputs: states at noise levels of all sizes, with conditions that are there and absent."""
    generator = torch.Generator().manual_seed(count)
    inputs = {"x": _latents(run, count), "log_snr": torch.linspace(-12, 12, count, dtype=torch.float64)}
    for k, (name, one) in enumerate(run.specifications.items()):
        inputs[name] = _value(one, count, generator)
        inputs[name + PRESENT] = torch.arange(count) % (k + 2) < 1
    if isinstance(run.denoiser, FlowMap) and run.denoiser.is_told_where:
        inputs["log_snr_end"] = inputs["log_snr"] + 4.0
    return inputs


def _latents(run: Run, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    shape = (count, *run.codec.latent_shape)
    if run.is_of_tokens:
        return torch.randint(run.denoiser.process.classes, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def _value(one: Specification, count: int, generator: torch.Generator) -> Tensor:
    if one.dtype.is_floating_point:
        return torch.randn(count, *one.shape, generator=generator)
    most = len(getattr(one, "names", ())) or getattr(one, "vocabulary", 1)
    return torch.randint(most, (count, *one.shape), generator=generator)


def _decodes(run: Run) -> bool:
    """Whether the codec has a way back among tensors; a text's is its alphabet."""
    return not hasattr(run.codec, "alphabet")


# ------------------------------------------------------------------------------------------------- the facts


def facts(run: Run) -> dict[str, Any]:
    """What a sampler elsewhere needs to know, as plain values."""
    how, codec = run.sampling, run.codec
    said: dict[str, Any] = {
        "format": FORMAT,
        "name": run.folder.name,
        "kind": run.kind,
        "shape": list(run.shape),
        "latent_shape": list(codec.latent_shape),
        "columns": list(run.columns),
        "schedule": schedule_facts(run.denoiser.process.schedule),
        "sigma_data": getattr(run.denoiser.process, "sigma_data", None),
        "jumps": list(run.denoiser.jumps),
        "conditions": {name: to_values(one, Specification) for name, one in run.specifications.items()},
        "may_be_absent": bool(run.recipe.training.condition_dropout or run.recipe.training.each_dropout),
        "sampling": {"sampler": how.sampler, "steps": run.steps, "guidance": how.guidance.weight or 1.0},
        "data": None,
    }
    if codec.in_place and not run.is_of_tokens:
        mean, std = (part.detach().cpu().expand(codec.shape) for part in codec.affine())
        flat = [part.reshape(part.shape[0], -1)[:, 0].tolist() for part in (mean, std)]
        said["data"] = {"mean": flat[0], "std": flat[1], "quantised": codec.quantised}
    if run.is_of_tokens:
        process = run.denoiser.process
        kernel = to_values(process.kernel, Kernels)
        said["tokens"] = {"classes": process.classes, "states": process.states, "kernel": kernel}
        symbols = getattr(getattr(codec, "alphabet", None), "symbols", None)
        said["alphabet"] = None if symbols is None else list(symbols)
    return said


def schedule_facts(schedule: Schedule) -> dict[str, Any]:
    """Its family, and its curve as angles arctan(sigma/alpha) at t = 0, 1/T, ..., 1.

    An angle is finite at both ends. A table of T steps is linear in it between its entries; any other schedule is
    smooth.
    """
    count = schedule.steps or ENTRIES
    with torch.no_grad():
        alpha, sigma = schedule(torch.linspace(0, 1, count + 1, dtype=torch.float64))
        even, _ = schedule.scale(torch.zeros(1, dtype=torch.float64))
    family = min(FAMILIES, key=lambda name: abs(FAMILIES[name] - float(even)))
    angles = torch.atan2(sigma, alpha).tolist()
    return {"family": family, "discrete": schedule.steps is not None, "angles": angles}


def read_facts(folder: Path) -> dict[str, Any]:
    """Of a folder that was written here."""
    found: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return found

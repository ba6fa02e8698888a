"""Where the time of a training goes: a few steps, after the first ones, under torch's profiler.

``RUN/profile.txt`` lists what took longest; ``RUN/profile.json`` is opened by Perfetto or chrome://tracing.
"""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import torch

from undiffuse.core.files import write_atomically, write_text

if TYPE_CHECKING:
    from torch.profiler import profile

WAIT, WARM, STEPS = 10, 2, 10  # steps that are left out, that warm the profiler up, that are profiled
LISTED, TOLD = 20, 3  # operations in the file, and in the line


class Spent(NamedTuple):
    """One operation: its name, its share of the time, milliseconds and calls in a step."""

    name: str
    share: float
    milliseconds: float
    calls: float


class Profile:
    """Counts steps while it is open, and writes what it found after the last that it looks at."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self.line = ""  # for the user, once it is known

    def __enter__(self) -> Self:
        from torch.profiler import ProfilerActivity, profile, schedule

        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self.device.type == "cuda")
        plan = schedule(wait=WAIT, warmup=WARM, active=STEPS, repeat=1)
        self._profiler = profile(activities=kinds, schedule=plan, on_trace_ready=self._write, acc_events=True)
        self._profiler.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._profiler.__exit__(kind, error, at)

    def step(self) -> str:
        """One step is over. Returns the line for the user after the last that is profiled, else nothing."""
        self._profiler.step()
        line, self.line = self.line, ""
        return line

    def _write(self, profiler: "profile") -> None:
        found = self._costs(profiler)
        table = [f"{'operation':<48} {'share':>6} {'ms a step':>10} {'calls':>8}"]
        table += [f"{one.name:<48.48} {one.share:6.1%} {one.milliseconds:10.2f} {one.calls:8.1f}" for one in found]
        write_text(self.folder / "profile.txt", "\n".join(table[: LISTED + 1]) + "\n")
        write_atomically(self.folder / "profile.json", lambda part: profiler.export_chrome_trace(str(part)))
        most = ", ".join(f"{one.name} {one.share:.0%}" for one in found[:TOLD])
        self.line = f"{STEPS} steps were profiled: {most}; {self.folder / 'profile.txt'} lists the rest"

    def _costs(self, profiler: "profile") -> list[Spent]:
        """What took longest, itself alone, first."""
        times = {
            event.key: (
                event.self_device_time_total if self.device.type == "cuda" else event.self_cpu_time_total,
                event,
            )
            for event in profiler.key_averages()
            if not event.key.startswith("ProfilerStep")
        }
        total = sum(time for time, _ in times.values()) or 1.0
        ordered = sorted(times.items(), key=lambda item: -item[1][0])
        return [Spent(k, time / total, time / 1e3 / STEPS, event.count / STEPS) for k, (time, event) in ordered]

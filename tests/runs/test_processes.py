"""Two processes on this machine train as one does, sample as one does, and end together."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from launched import command_of, launch, start, workers
from safetensors.torch import load_file

from undiffuse.core.noise import Stream
from undiffuse.data.ready import Toy
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.run.folder import load
from undiffuse.train.batches import Batches

TINY = "--steps 12 --batch 16 --net.width 16 --net.depth 1 --data.count 200 --report-every 12 --save-every 4"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("processes")
    for processes in (1, 2):
        done = launch(processes, f"train moons --quiet --out {folder / str(processes)} {TINY}")
        assert done.returncode == 0, done.stderr[-2000:]
    return {processes: folder / str(processes) for processes in (1, 2)}


def test_two_processes_train_what_one_does(runs):
    """Every weight and average, to the rounding of sums in another order."""
    one, two = (load_file(next((runs[n] / "state").glob("*12.safetensors"))) for n in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        if name != "window":  # the log shows the main process's share of the batch
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)


def test_two_processes_sample_what_one_does(runs, tmp_path):
    alone = load(runs[1]).sample(7, seed=3)
    done = launch(2, f"sample {runs[1]} -n 7 --seed 3 --out {tmp_path / 'two.npy'}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("wrote") == 1
    import numpy as np

    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "two.npy")), alone, rtol=1e-4, atol=1e-5)


def test_two_processes_measure_what_one_does(runs):
    found = [launch(n, f"evaluate {runs[1]} -n 50 --json") for n in (1, 2)]
    one, two = (json.loads(done.stdout) for done in found)
    for mine, theirs in zip(one["measures"], two["measures"], strict=True):
        assert mine["name"] == theirs["name"] and mine["value"] == pytest.approx(theirs["value"], rel=1e-3, abs=1e-6)


def test_a_run_goes_on_with_another_number_of_processes(runs, tmp_path):
    folder = tmp_path / "on"
    started = launch(2, f"train moons --quiet --out {folder} {TINY}")
    assert started.returncode == 0
    for path in (folder / "state").glob("*12.*"):
        path.unlink()  # as if it had been killed after step 8
    assert launch(1, f"resume {folder} --quiet").returncode == 0
    one, other = (load_file(run / "model.safetensors") for run in (runs[1], folder))
    for name in one:
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_batch_that_does_not_split_is_refused(tmp_path):
    done = launch(2, f"train moons --quiet --out {tmp_path / 'run'} {TINY} --batch 15")
    assert done.returncode != 0
    assert "a batch of 15 does not split evenly over 2 processes; change --batch" in done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc")
def test_when_one_dies_all_stop(tmp_path):
    folder = tmp_path / "run"
    group = start(2, f"-m undiffuse train moons --quiet --out {folder} {TINY} --steps 1000000 --save-every 1000000")
    try:
        deadline = time.monotonic() + 60
        while not (folder / "log.jsonl").exists() or not (folder / "log.jsonl").read_text():
            assert time.monotonic() < deadline and group.poll() is None
            time.sleep(0.2)
        pids = workers(group.pid)
        os.kill(max(pids), signal.SIGKILL)
        assert group.wait(timeout=60) != 0
        assert not any(Path(f"/proc/{pid}").exists() and "undiffuse" in command_of(pid) for pid in pids)
    finally:
        group.kill()


def test_processes_share_every_epoch_without_repeats():
    data = Toy("moons", count=24).open()
    whole = Batches(data, 8, 0, torch.device("cpu"))
    shares = [Batches(data, 8, 0, torch.device("cpu"), process, 2) for process in range(2)]
    for step in range(6):
        together = torch.stack([part(step)[0] for part in shares], 1).flatten(0, 1)
        assert torch.equal(together, whole(step)[0])
    epoch = torch.cat([whole.rows(step) for step in range(3)])
    assert sorted(epoch.tolist()) == list(range(24))


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_processes_share_the_noise_of_one(kind):
    def drawn(stream: Stream, count: int) -> torch.Tensor:
        torch.manual_seed(0)
        return torch.cat([getattr(stream, kind)(torch.empty(count, 3)) for _ in range(2)], 1)

    whole = drawn(Stream(), 8)
    assert torch.equal(torch.stack([drawn(Stream(None, k, 2), 4) for k in range(2)], 1).flatten(0, 1), whole)


def test_processes_share_one_comb_of_times():
    law = Uniform(draws=LowDiscrepancy())
    times = []
    for stream, count in ((Stream(), 8), (Stream(None, 0, 2), 4), (Stream(None, 1, 2), 4)):
        torch.manual_seed(0)
        times.append(law.sample(count, stream, None))
    assert torch.equal(torch.stack(times[1:], 1).flatten(), times[0])

"""Runs are listed from their files: how far, how long, what they measured last."""

import json
import shutil
from pathlib import Path


def test_runs_are_listed_side_by_side(run, points_run, pictures_run):
    Path("runs/deep").mkdir(parents=True)
    for source, name in ((points_run, "a"), (pictures_run, "deep/b"), (points_run, "killed"), (points_run, "damaged")):
        shutil.copytree(source, Path("runs") / name)
    Path("runs/killed/model.safetensors").unlink()
    log = Path("runs/killed/log.jsonl")
    log.write_text(log.read_text() + '{"step": 7, "loss": 1.5}\n{"step": 9, "lo')  # killed as it wrote
    Path("runs/damaged/model.safetensors").write_bytes(b"no")
    code, out, _ = run("runs", "--json")
    found = {line["folder"]: line for line in json.loads(out)}
    assert code == 0 and list(found) == ["runs/a", "runs/damaged", "runs/deep/b", "runs/killed"]
    assert (found["runs/a"]["data"], found["runs/a"]["net"], found["runs/deep/b"]["net"]) == (
        "swiss-roll",
        "mlp",
        "u-net",
    )
    assert found["runs/a"]["steps"] == found["runs/a"]["of"] > 0 and found["runs/a"]["seconds"] > 0
    assert {"loss", "sliced Wasserstein", "floor"} <= found["runs/a"]["numbers"].keys()
    assert found["runs/killed"]["seconds"] is None and found["runs/killed"]["steps"] == 7
    assert found["runs/killed"]["numbers"]["loss"] == 1.5
    assert "truncated" in found["runs/damaged"]["fault"]
    code, out, _ = run("runs", "runs")
    assert code == 0 and "truncated" in out and "7 of" in out


def test_a_folder_without_runs_says_how_to_make_one(run):
    Path("empty").mkdir()
    for folder in ("empty", "nowhere"):
        code, _, error = run("runs", folder)
        assert code == 1 and f"undiffuse train RECIPE --out {folder}/NAME" in error

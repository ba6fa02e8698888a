"""The wheel holds all that runs, and what is declared is what is imported."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from functools import partial
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
CALLED = {  # packages whose modules have another name
    "pillow": "PIL",
    "pot": "ot",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "torch-fidelity": "torch_fidelity",
}
UNSEEN = {"torchvision"}  # what torch-fidelity needs, and does not say


def module_of(requirement: str) -> str:
    name = re.split(r"[<>=!\[ ]", requirement)[0].lower()
    return CALLED.get(name, name.replace("-", "_"))


def imported() -> set[str]:
    """The top names of every module that the package imports, anywhere."""
    found = set()
    for path in (HOUSE / "undiffuse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"undiffuse", "__future__"}


def test_what_is_declared_is_imported_and_what_is_imported_is_declared():
    extras = {name: needs for name, needs in PROJECT["optional-dependencies"].items() if name not in ("dev", "docs")}
    declared = {module_of(need) for need in PROJECT["dependencies"]}
    optional = {module_of(need) for needs in extras.values() for need in needs} - UNSEEN
    assert imported() | {"tensorboard"} == declared | optional  # which torch.utils.tensorboard imports


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "undiffuse"):
        os.symlink(HOUSE / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("undiffuse/")}
        entry = next(file.read(name).decode() for name in file.namelist() if name.endswith("entry_points.txt"))
    wanted = {path.relative_to(HOUSE).as_posix() for path in (HOUSE / "undiffuse").rglob("*.py")}
    assets = {path.relative_to(HOUSE).as_posix() for path in (HOUSE / "undiffuse/page/assets").iterdir()}
    assert held == wanted | assets | {"undiffuse/py.typed"}
    assert "undiffuse = undiffuse.cli:main" in entry


def test_the_wheel_runs_with_nothing_but_what_it_declares(wheel, tmp_path):
    """From another folder, with the site packages alone behind it: it trains, and samples what it trained."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    path = os.pathsep.join([str(folder), sysconfig.get_paths()["purelib"]])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def undiffuse(*words: str) -> str:
        program = [sys.executable, "-m", "undiffuse", *words]
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import undiffuse; print(undiffuse.__file__)"
    run = partial(subprocess.run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = run([sys.executable, "-c", where])
    assert found.stdout.startswith(str(folder))
    assert "swiss-roll" in undiffuse("recipes")
    undiffuse("train", "swiss-roll", "--out", "run", "--steps", "2", "--batch", "8", "--data.count", "200", "--quiet")
    undiffuse("sample", "run", "-n", "3", "--out", "x.npy")
    assert (tmp_path / "x.npy").is_file()

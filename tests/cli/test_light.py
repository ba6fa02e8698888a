"""What is only looked up answers at once: help, recipes and completion import nothing that computes."""

import shutil
import subprocess
import sys

import pytest

from undiffuse.cli import main
from undiffuse.cli.completion import script
from undiffuse.cli.grammar import COMMANDS
from undiffuse.recipes import RECIPES

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "PIL", "rich", "undiffuse.recipes")


def alone(*words: str, then: str = "") -> str:
    """What a fresh Python prints of these words, and of HEAVY what it has imported by then."""
    code = f"import sys; from undiffuse.cli import main; code = main({list(words)}) if {bool(words)} else 0; {then}"
    code += f"\nprint(code, [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("words", [("recipes",), ("train", "--help"), ("completion", "fish")])
def test_nothing_heavy_is_imported(words):
    assert alone(*words).splitlines()[-1] == "0 []"


def test_help_of_train_says_the_same_without_torch_and_with(tmp_path):
    """Of every recipe; where torch is there already, nothing is absent. Both in processes that hold no other class."""
    names = [*RECIPES, str(tmp_path / "recipe.yaml")]
    RECIPES["table"]().save(tmp_path / "recipe.yaml")
    help_of_all = f"[main(['train', name, '--help']) for name in {names}]"
    light = alone(then=help_of_all)
    heavy = alone(then=f"import torch, undiffuse.recipes; {help_of_all}")
    assert light.splitlines()[:-1] == heavy.splitlines()[:-1] and len(light) > 10_000
    assert light.endswith("[]\n") and "torch" in heavy.splitlines()[-1]


def test_what_is_absent_for_a_moment_is_there_afterwards():
    """In the same process, what computes is imported anew."""
    then = "import undiffuse.recipes as r; print(type(r.RECIPES['moons']().denoiser((2,), {})).__mro__[1])"
    assert "torch.nn.modules.module.Module" in alone("train", "--help", then=then)


def test_sampling_imports_no_compiler(tmp_path, monkeypatch):
    """Nor what only measures: a second and a half of the three that sampling takes."""
    monkeypatch.chdir(tmp_path)
    brief = [
        "--steps",
        "2",
        "--batch",
        "4",
        "--save-every",
        "2",
        "--report-every",
        "2",
        "--warmup",
        "1",
        "--width",
        "8",
    ]
    assert main(["train", "digits", *brief, "--quiet", "--out", "run"]) == 0
    code = "import sys; from undiffuse.cli import main; main(['sample', 'run', '-n', '4', '--out', 'a.png'])"
    code += "; print([name for name in ('torch._dynamo', 'scipy', 'sklearn', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_mistakes_are_told_without_torch_too():
    code = (
        "from undiffuse.cli import main; import sys; print(main(['train', 'moon', '--help']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n" and "did you mean moons" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def bash_script():
    return script(COMMANDS, "bash")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("com", {"compare", "completion"}),
        ("train mni", {"mnist"}),
        ("train --net.pos", {"--net.positions"}),
        ("train --schedule zero", {"zero-terminal", "zero-terminal-table"}),
        ("train --precision b", {"bf16"}),
        ("train --flip t", {"true"}),
        ("sample RUN --sampler heun", {"heun", "heun-churn"}),
        ("sample RUN --thr", {"--threshold"}),
    ],
)
def test_bash_completes(words, offered, bash_script, tmp_path):
    (tmp_path / "script").write_text(bash_script)
    asked = f"COMP_WORDS=(undiffuse {words}); COMP_CWORD={len(words.split())}"
    ask = f"source ./script; {asked}; _shtab_undiffuse; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_given_the_same_words(shell, run, tmp_path):
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert all(word in out for word in ("fashion-mnist-vq", "net.positions", "low-discrepancy", "threshold"))
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)

"""The command line in several processes on this machine.

By torchrun, to which `accelerate launch` comes down where there are GPUs; on a CPU it launches one process.
"""

import os
import subprocess
import sys
from pathlib import Path

SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}  # what `accelerate launch --use_fsdp` sets


def start(processes: int, words: str, **environment: str) -> subprocess.Popen:
    several = f"-m torch.distributed.run --nproc_per_node {processes} --master_port {29600 + os.getpid() % 2000}"
    command = [sys.executable, *(several.split() if processes > 1 else []), *words.split()]
    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "ACCELERATE_USE_CPU": "true"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | settings | environment)


def launch(processes: int, words: str, **environment: str) -> subprocess.CompletedProcess:
    with start(processes, f"-m undiffuse {words}", **environment) as running:
        try:
            out, err = running.communicate(timeout=120)
        finally:
            running.kill()
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def workers(launcher: int) -> list[int]:
    """The processes that a launcher started."""
    return [pid for pid in _children(launcher) if "undiffuse" in command_of(pid)]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

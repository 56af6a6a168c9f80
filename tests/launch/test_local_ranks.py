"""The command and the environment of DeepSpeed's launcher, and what the ranks that it starts see."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sentalign.launch import local_ranks
from sharding.contract import UserError


def test_command_on_the_cpu():
    words = local_ranks.command("some.module", ["c.yaml", "run=a b"], 2, [])
    port = words.pop(words.index("--master_port") + 1)
    assert 1024 <= int(port) < 65536
    assert words == [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank"),
        *("--num_gpus", "2", "--master_port", "--module", "some.module", "c.yaml", "run=a b"),
    ]


@pytest.mark.parametrize(
    ("visible", "count", "gpus"),
    [(None, 3, [0, 1, 2]), ("2,3", 2, [2, 3]), ("2,-1,3", 1, [2]), ("", 0, []), ("5", 0, [])],
)
def test_gpus_are_those_of_the_variable(visible, count, gpus):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert local_ranks.visible_gpus(environ, count) == gpus
    assert local_ranks.visible_gpus(environ | {"DS_ACCELERATOR": "cpu"}, count) == []


def test_gpus_by_name_are_refused():
    with pytest.raises(UserError, match=r"CUDA_VISIBLE_DEVICES=GPU-8a names GPUs.*; set the numbers"):
        local_ranks.visible_gpus({"CUDA_VISIBLE_DEVICES": "GPU-8a"}, 1)


def test_a_rank_without_a_gpu_is_refused():
    with pytest.raises(UserError, match=r"4 ranks need a GPU each, and 2 can be seen; set --ranks 2"):
        local_ranks.command("some.module", [], 4, [2, 3])


# A host of eight GPUs, as far as DeepSpeed's launcher can tell.
EIGHT_GPUS = "import torch\ntorch.cuda.is_available = lambda: True\ntorch.cuda.device_count = lambda: 8\n"
RANK = 'import os\nprint(*(os.environ[n] for n in ("RANK", "LOCAL_RANK", "CUDA_VISIBLE_DEVICES")), flush=True)\n'


def test_ranks_see_the_gpus_that_the_user_left_visible(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(EIGHT_GPUS)
    (tmp_path / "one_rank.py").write_text(RANK)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    environ |= {"DS_ACCELERATOR": "cuda", "CUDA_VISIBLE_DEVICES": "5,6,7"}
    gpus = local_ranks.visible_gpus(environ, 3)
    command = local_ranks.command("one_rank", [], 2, gpus)
    environ = local_ranks.environment(environ, 2, gpus)
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["0 0 5,6", "1 1 5,6"]


def test_free_port_can_be_bound():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", local_ranks.free_port()))


def test_environment_of_ranks_on_cpu():
    environ = {"PATH": "/bin"}
    cores = os.cpu_count() or 1
    expected = environ | {
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": str(cores),
        "GLIBC_TUNABLES": local_ranks.KEEP_MEMORY,
    }
    assert local_ranks.environment(environ, 1, []) == expected
    assert local_ranks.environment(environ, 10 * cores, [])["OMP_NUM_THREADS"] == "1"
    assert environ == {"PATH": "/bin"}


def test_variables_that_the_user_set_are_kept():
    environ = {"DS_ACCELERATOR": "xpu", "OMP_NUM_THREADS": "3", "GLIBC_TUNABLES": "glibc.malloc.check=1"}
    assert local_ranks.environment(environ, 2, []) == environ
    assert local_ranks.environment(environ, 2, [0, 1]) == environ


FAULTS = """
import resource
for _ in range(50):
    bytearray(b"x") * (16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"), reason="glibc's")
def test_a_rank_keeps_the_memory_of_large_tensors():
    """Each of 50 arrays of 16 MiB is 4,096 pages, which are faulted in again where they were returned."""

    def faults(environ):
        done = subprocess.run([sys.executable, "-c", FAULTS], env=environ, capture_output=True, text=True, check=True)
        return int(done.stdout)

    environ = {"PATH": os.environ["PATH"]}
    assert faults(local_ranks.environment(environ, 1, [])) < 25_000
    assert faults(environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}) > 50 * 4_096

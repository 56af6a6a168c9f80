"""What each host of a run is busy with: processor, memory, disk, network and GPUs, every ten seconds.

In: the host's number in the run. Out: lines in RUN/system/node-0.jsonl, by a background thread of one rank a host.
Hosts are numbered: a host's name could be an identity. Without psutil nothing is written; GPUs need NVIDIA's NVML.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = "system"
SECONDS, MOST_HOSTS = 10.0, 8  # between samples; more hosts than these sample less often
GIB, MIB = 2**30, 2**20


class HostSampler:
    """Appends a sample of this host every `seconds`, until it is closed."""

    def __init__(self, run: Path, node: int, seconds: float, sample: Callable[[], dict[str, float]]) -> None:
        self._file, self._seconds, self._sample = run / FOLDER / f"node-{node}.jsonl", seconds, sample
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="host-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _work(self) -> None:
        with contextlib.suppress(OSError):  # a full or absent disk ends the samples, not the run
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "ab", buffering=0) as file:
                while not self._stop.wait(self._seconds):
                    line = {"kind": "system", "time": round(time.time(), 3), **self._sample()}
                    file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


@contextlib.contextmanager
def sampling(run: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Samples this host while the block runs, in the first rank of each host; `environ` has the rank's variables."""
    sample = sampler_of(run) if int(environ.get("LOCAL_RANK", 0)) == 0 else None
    if sample is None:
        yield
        return
    hosts = int(environ.get("WORLD_SIZE", 1)) / max(1, int(environ.get("LOCAL_WORLD_SIZE", 1)))
    made = HostSampler(run, int(environ.get("NODE_RANK", 0)), SECONDS * max(1.0, hosts / MOST_HOSTS), sample)
    made.start()
    try:
        yield
    finally:
        made.close()


def sampler_of(run: Path) -> Callable[[], dict[str, float]] | None:
    """A function that measures this host once; None without psutil."""
    try:
        import psutil
    except ImportError:
        return None
    psutil.cpu_percent(None)  # the first call measures nothing
    before, gpus = psutil.net_io_counters(), _gpus()

    def sample() -> dict[str, float]:
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage(str(run)), psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(None),
            "system_memory_usage_gigabytes": round((memory.total - memory.available) / GIB, 3),
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_percentage": disk.percent,
        }
        if network and before:
            values["network_receive_megabytes"] = round((network.bytes_recv - before.bytes_recv) / MIB, 1)
            values["network_transmit_megabytes"] = round((network.bytes_sent - before.bytes_sent) / MIB, 1)
        return values | _gpu_values(gpus)

    return sample


def _gpus() -> tuple[Any, list[Any]]:
    """NVML and its handles; none where there is no NVIDIA driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no package, no driver, no permission
        return None, []


def _gpu_values(gpus: tuple[Any, list[Any]]) -> dict[str, float]:
    nvml, handles = gpus
    values: dict[str, float] = {}
    for number, handle in enumerate(handles):
        with contextlib.suppress(nvml.NVMLError):  # some devices do not tell all
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            values[f"gpu_{number}_memory_usage_gigabytes"] = round(memory.used / GIB, 3)
            values[f"gpu_{number}_memory_usage_percentage"] = round(100 * memory.used / memory.total, 1)
            values[f"gpu_{number}_utilization_percentage"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            values[f"gpu_{number}_power_usage_watts"] = round(nvml.nvmlDeviceGetPowerUsage(handle) / 1000, 1)
    return values

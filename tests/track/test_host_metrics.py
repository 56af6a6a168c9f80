"""System metrics of each host: how often, by whom, without names; and their way into MLflow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from sentalign.track import host_metrics
from tests.processes import within


def lines(run, node=0):
    path = run / "system" / f"node-{node}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_sample_has_what_the_host_is_busy_with(tmp_path):
    sample = host_metrics.sampler_of(tmp_path)()
    assert {"cpu_utilization_percentage", "system_memory_usage_gigabytes", "disk_usage_percentage"} <= sample.keys()
    assert all(isinstance(value, (int, float)) and value >= 0 for value in sample.values())


def test_samples_are_lines_until_the_sampler_is_closed(tmp_path):
    sampler = host_metrics.HostSampler(tmp_path, 3, 0.01, lambda: {"cpu_utilization_percentage": 5.0})
    sampler.start()
    within(10, lambda: len(lines(tmp_path, 3)) >= 2)
    sampler.close()
    written = lines(tmp_path, 3)
    assert written[0] == {"kind": "system", "time": written[0]["time"], "cpu_utilization_percentage": 5.0}
    time.sleep(0.05)
    assert lines(tmp_path, 3) == written


def test_a_measurement_takes_no_longer_than_the_interval_allows():
    """One round of calls every ten seconds, and fewer with many hosts: the store gets at most one write a second."""
    assert host_metrics.SECONDS >= 10
    for hosts in (1, 8, 64, 1000):
        assert hosts / (host_metrics.SECONDS * max(1.0, hosts / host_metrics.MOST_HOSTS)) <= 1


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "node-1.jsonl"),
        ({"LOCAL_RANK": "1", "NODE_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, None),
        ({}, "node-0.jsonl"),
    ],
)
def test_one_rank_of_each_host_samples(tmp_path, monkeypatch, environ, file):
    monkeypatch.setattr(host_metrics, "SECONDS", 0.01)
    with host_metrics.sampling(tmp_path, environ):
        if file:
            within(10, lambda: (tmp_path / "system" / file).is_file() and (tmp_path / "system" / file).stat().st_size)
    names = [path.name for path in (tmp_path / "system").iterdir()] if (tmp_path / "system").is_dir() else []
    assert names == ([file] if file else [])
    assert all(socket.gethostname() not in path.read_text() for path in tmp_path.rglob("*.jsonl"))


def test_without_psutil_there_are_no_samples(tmp_path):
    code = (
        "import sys, pathlib; sys.modules['psutil'] = None\n"
        "from sentalign.track import host_metrics\n"
        "sys.exit(host_metrics.sampler_of(pathlib.Path('.')) is not None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0


def test_a_disk_that_cannot_be_written_ends_the_samples_only(tmp_path):
    (tmp_path / "system").write_text("in the way")
    sampler = host_metrics.HostSampler(tmp_path, 0, 0.01, lambda: {"x": 1.0})
    sampler.start()
    within(10, lambda: not sampler._thread.is_alive())
    sampler.close()


def test_gpus_are_measured_through_nvml():
    """A stand-in for NVML, whose second device tells nothing of its power."""

    class NVMLError(Exception):
        pass

    def power(handle):
        if handle:
            raise NVMLError
        return 350_000

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=2**30, total=4 * 2**30),
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=70 + handle),
        nvmlDeviceGetPowerUsage=power,
    )
    values = host_metrics._gpu_values((nvml, [0, 1]))
    assert values["gpu_0_memory_usage_percentage"] == 25.0
    assert (values["gpu_0_utilization_percentage"], values["gpu_1_utilization_percentage"]) == (70, 71)
    assert values["gpu_0_power_usage_watts"] == 350.0
    assert "gpu_1_power_usage_watts" not in values

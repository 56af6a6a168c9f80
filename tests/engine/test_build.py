"""What DeepSpeed is told."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from sentalign import config
from sentalign.engine import build
from sentalign.engine.build import _refuse, _refuse_compiled, deepspeed_config
from sharding.contract import UserError


@pytest.mark.parametrize("clipping", [0.0, 0.25])
def test_clipping_is_always_written(clipping):
    tree = {"run": "r", "data": {"shards": "s", "batch": 12}, "optimizer": {"gradient_clipping": clipping}}
    said = deepspeed_config(config.check(tree), 4)
    assert said["gradient_clipping"] == clipping
    assert (said["train_batch_size"], said["train_micro_batch_size_per_gpu"]) == (12, 3)
    assert "torch_autocast" not in said


def test_bfloat16_is_autocast_whatever_the_stage():
    tree = {"run": "r", "data": {"shards": "s"}, "train": {"precision": "bfloat16", "zero_stage": 0}}
    said = deepspeed_config(config.check(tree), 1)
    assert said["torch_autocast"] == {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    assert "bf16" not in said


def checked(**train):
    return config.check({"run": "r", "data": {"shards": "s"}, "train": train})


@pytest.mark.parametrize(
    ("offload", "stage", "kinds"),
    [("none", 3, []), ("optimizer", 1, ["offload_optimizer"]), ("all", 3, ["offload_optimizer", "offload_param"])],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_lies_in_the_hosts_memory(monkeypatch, offload, stage, kinds, device):
    monkeypatch.setattr(build, "get_accelerator", lambda: SimpleNamespace(device_name=lambda: device))
    said = deepspeed_config(checked(offload=offload, zero_stage=stage), 1)
    place = {"device": "cpu", "pin_memory": device == "cuda"}
    assert said["zero_optimization"] == {"stage": stage} | dict.fromkeys(kinds, place)
    assert said["zero_force_ds_cpu_optimizer"] is False


@pytest.mark.parametrize(
    ("offload", "stage", "complaint"),
    [
        ("all", 2, "train.offload=all needs train.zero_stage=3, not 2; or set it to optimizer"),
        ("optimizer", 0, "train.offload=optimizer needs train.zero_stage 1, 2 or 3"),
    ],
)
def test_nothing_there_to_offload(offload, stage, complaint):
    with pytest.raises(UserError, match=re.escape(complaint)):
        checked(offload=offload, zero_stage=stage)


def test_stage_0_is_clipped_by_its_guard_alone():
    tree = {"run": "r", "data": {"shards": "s"}, "optimizer": {"gradient_clipping": 0.5}, "train": {"zero_stage": 0}}
    assert deepspeed_config(config.check(tree), 1)["gradient_clipping"] == 0.0


def test_float16_wants_a_gpu():
    said = checked(precision="float16")
    assert deepspeed_config(said, 1)["torch_autocast"]["dtype"] == "float16"
    _refuse(said, "cuda")
    with pytest.raises(UserError, match=r"^train\.precision=float16 needs a GPU .*; set it to bfloat16$"):
        _refuse(said, "cpu")


def accelerator(name, devices, taken):
    return lambda: SimpleNamespace(device_name=lambda: name, device_count=lambda: devices, set_device=taken.append)


def test_each_rank_takes_its_device_before_the_first_message(monkeypatch):
    taken = []
    monkeypatch.setattr(build, "get_accelerator", accelerator("cuda", 4, taken))
    monkeypatch.setattr(build.gather_report_ids, "all_ranks", lambda *_: taken.append("met"))
    monkeypatch.setattr(build.deepspeed, "init_distributed", lambda **_: taken.append("joined"))
    monkeypatch.setenv("LOCAL_RANK", "3")
    build.init_ranks(1)
    assert taken == [3, "met", "joined"]
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(UserError, match="rank 4 of this host has no GPU, there are 4; start as many ranks"):
        build.init_ranks(1)
    monkeypatch.setattr(build, "get_accelerator", accelerator("cpu", 1, taken))
    build.init_ranks(1)
    assert taken[3:] == [4, "met", "joined"], "processes of a CPU are as many as one likes"


def test_what_compiled_code_cannot_do_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"train.compile=true needs train.zero_stage 0, 1 or 2"):
        checked(compile=True, zero_stage=3)
    _refuse_compiled({"drop_path_rate": 0.0, "hidden_sizes": [8]}, "group")
    with pytest.raises(UserError, match="wants an image tower without chance; set its drop_path_rate to 0"):
        _refuse_compiled({"drop_path_rate": 0.1}, "batch")
    with pytest.raises(UserError, match=r"does not go with model\.image\.norm=sync"):
        _refuse_compiled({}, "sync")
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler, and there is none"):
        _refuse_compiled({}, "batch")

"""What DeepSpeed is told."""

from __future__ import annotations

import pytest

from sentalign import config
from sentalign.engine.build import deepspeed_config


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
    assert said["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}
    assert "bf16" not in said

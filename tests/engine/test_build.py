"""The engine as it is built: steps on two real ranks at every ZeRO stage, and options that are refused."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest
import torch

from sentalign import config, dist
from sentalign.engine import build
from sentalign.model import dual, image, text
from sharding.contract import UserError
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, batch, towers

CLIPPING = 0.01
CASES = [(stage, clipping, "float32") for stage in (0, 1, 2, 3) for clipping in (0.0, CLIPPING)]
CASES += [(stage, CLIPPING, "bfloat16") for stage in (0, 1, 2, 3)]  # last: DeepSpeed keeps autocast for the process


def settings(**train):
    return config.check({"run": "r", "data": {"shards": "s"}, "train": train})


def moved(cases):
    """Per (stage, clipping, precision): the metrics of one plain gradient step, and the change of the weights."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.checkpoint import full_state
    from sentalign.engine.step import train_step

    build.init_ranks(2)
    rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
    results = []
    for stage, clipping, precision in cases:
        tree = {"run": "r", "data": {"shards": "s", "batch": BATCH, "image_size": 32}}
        tree["optimizer"] = {"kind": "sgd", "momentum": 0, "weight_decay": 0, "gradient_clipping": clipping}
        case = config.check(tree | {"train": {"zero_stage": stage, "precision": precision}})
        engine = build.build(towers(), case)
        terms = train_step(engine, batch(0, rows), case, 0, 1.0)
        assert {p.dtype for p in engine.module.parameters()} == {torch.float32}
        start, state = towers().state_dict(), full_state.weights(engine)
        results.append((terms, {name: (value - start[name]).numpy() for name, value in state.items()}))
    return results


def length(change):
    return sum(float((value**2).sum()) for value in change.values()) ** 0.5


def test_the_weights_move_by_the_clipped_gradient_at_every_stage_and_precision():
    results = dict(zip(CASES, on_ranks(2, moved, CASES)[0], strict=True))
    for (stage, clipping, precision), (terms, change) in results.items():
        assert terms["grad_norm"] > 10 * CLIPPING, "the limit is never reached"
        assert length(change) == pytest.approx(clipping or terms["grad_norm"], rel=1e-3), (stage, clipping, precision)
        exact_terms, exact = results[stage, clipping, "float32"]
        off = length({name: change[name] - exact[name] for name in exact})
        if precision == "bfloat16":
            assert 0 < off < 0.1 * length(exact), stage
            assert terms["grad_norm"] == pytest.approx(exact_terms["grad_norm"], rel=0.05)


def test_messages_between_ranks_stay_float32():
    autocast = build.deepspeed_config(settings(precision="bfloat16"), 1)["torch_autocast"]
    assert autocast == {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}


@pytest.mark.parametrize(
    ("offload", "stage", "kinds"),
    [("none", 3, []), ("optimizer", 1, ["offload_optimizer"]), ("all", 3, ["offload_optimizer", "offload_param"])],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_of_the_host_is_pinned_where_there_is_a_gpu(monkeypatch, offload, stage, kinds, device):
    monkeypatch.setattr(build, "get_accelerator", lambda: SimpleNamespace(device_name=lambda: device))
    zero = build.deepspeed_config(settings(offload=offload, zero_stage=stage), 1)["zero_optimization"]
    assert zero == {"stage": stage} | {kind: {"device": "cpu", "pin_memory": device == "cuda"} for kind in kinds}


@pytest.mark.parametrize(
    ("offload", "stage", "complaint"),
    [
        ("all", 2, "train.offload=all needs train.zero_stage=3, not 2; or set it to optimizer"),
        ("optimizer", 0, "train.offload=optimizer needs train.zero_stage 1, 2 or 3"),
    ],
)
def test_nothing_there_to_offload(offload, stage, complaint):
    with pytest.raises(UserError, match=re.escape(complaint)):
        settings(offload=offload, zero_stage=stage)


class FourGpus:
    """An accelerator of four GPUs that records which was chosen, and whether the ranks were connected by then."""

    def __init__(self):
        self.chosen = []

    def device_name(self):
        return "cuda"

    def device_count(self):
        return 4

    def set_device(self, index):
        self.chosen.append((index, torch.distributed.is_initialized()))


def joined():
    os.environ |= {"DS_ACCELERATOR": "cpu", "LOCAL_RANK": "3"}
    gpus = FourGpus()
    build.get_accelerator = lambda: gpus
    build.init_ranks(1)
    return gpus.chosen, torch.distributed.is_initialized()


def test_a_rank_chooses_its_gpu_before_the_first_message():
    assert on_ranks(1, joined) == [([(3, False)], True)]


def test_a_rank_without_a_gpu_of_its_own_is_refused(monkeypatch):
    gpus = FourGpus()
    monkeypatch.setattr(build, "get_accelerator", lambda: gpus)
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(UserError, match="rank 4 of this host has no GPU, there are 4; start as many ranks"):
        build.init_ranks(1)
    assert gpus.chosen == []


def compiled(backbone, norm="batch"):
    """Builds an engine with a compiled image tower; the text tower is tiny."""
    image_tower = image.build(None, backbone, "stage1", "stage2", 16, norms=norm)
    bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    tree = {"run": "r", "data": {"shards": "s"}, "train": {"compile": True}}
    tree["model"] = {"width": 16, "image": {"norm": norm}, "text": {"backbone": {"hidden_size": 16}}}
    build.build(dual.DualEncoder(image_tower, text.build(None, bert, 40, 1)), config.check(tree))


CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
RESNET = {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}


def test_what_compiled_code_cannot_do_is_refused(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"train.compile=true needs train.zero_stage 0, 1 or 2"):
        settings(compile=True, zero_stage=3)
    with pytest.raises(UserError, match="needs an image tower without dropout; set its drop_path_rate to 0"):
        compiled(CONVNEXT | {"drop_path_rate": 0.1})
    with pytest.raises(UserError, match=r"does not support model\.image\.norm=sync"):
        compiled(RESNET, "sync")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler; install g\+\+"):
        compiled(CONVNEXT)

"""Norms of the image tower; synchronised batch norm over ranks is in tests/multiproc/test_norm.py."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sentalign.model import dual, image, norm
from sentalign.model.pretrained import WeightsError
from tests.model.conftest import RESNET, both


def backbone(kind, settings=RESNET):
    """A backbone whose norms have values of their own."""
    torch.manual_seed(3)
    tower = image.build(None, settings, "stage2", "stage3", 16, norms="batch")
    for layer in tower.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.bias.data, layer.running_mean):
                values.normal_()
            layer.running_var.uniform_(0.5, 2)
    return norm.replace(tower.backbone, kind)


def out(net, images):
    return net(images).feature_maps[-1]


@pytest.fixture
def images():
    return torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def test_frozen_is_batch_norm_by_running_statistics_whatever_the_mode(images):
    frozen, plain = backbone("frozen").train(), backbone("batch").eval()
    before = {name: b.clone() for name, b in frozen.named_buffers()}
    assert torch.equal(out(frozen, images), out(plain, images))
    out(frozen, images).sum().backward()
    assert all(torch.equal(b, before[name]) for name, b in frozen.named_buffers())
    assert all(p.grad is not None for p in frozen.parameters())  # scale and shift are trained


def test_one_rank_synchronised_is_torchs_batch_norm_in_value_gradient_and_statistics(images):
    nets = [backbone(kind).train() for kind in ("sync", "batch")]
    outputs = [out(net, images) for net in nets]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    for value in outputs:
        value.square().sum().backward()
    largest = max(float(p.grad.abs().max()) for p in nets[1].parameters())
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6 * largest)
    for one, other in zip(*(net.buffers() for net in nets), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*[out(net.eval(), images) for net in nets], rtol=1e-5, atol=1e-5)


def test_group_keeps_scale_and_shift_and_does_not_see_the_batch(images):
    grouped, plain = backbone("group").train(), backbone("batch")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in grouped.modules())
    state = plain.state_dict()
    assert all(torch.equal(p, state[name]) for name, p in grouped.state_dict().items())
    assert {m.num_groups for m in grouped.modules() if isinstance(m, nn.GroupNorm)} == {
        8,
        4,
    }  # of 8, 12 and 20 channels
    torch.testing.assert_close(out(grouped, images)[:1], out(grouped, images[:1]), rtol=1e-4, atol=1e-5)
    wide = norm.replace(nn.Sequential(nn.BatchNorm2d(2048)), "group")
    assert wide[0].num_groups == 32


def test_frozen_running_stats_do_not_change(images):
    for kind in ("batch", "sync"):
        net = backbone(kind).train()
        before = [b.clone() for b in net.buffers()]
        with norm.frozen_running_stats(net):
            kept = out(net, images)
        assert all(map(torch.equal, net.buffers(), before))
        assert torch.equal(kept, out(net, images))
        assert not any(map(torch.equal, net.buffers(), before))


def test_what_differs_between_ranks():
    assert (
        norm.unsynced_buffers(backbone("frozen"))
        == norm.unsynced_buffers(backbone("sync"))
        == norm.unsynced_buffers(backbone("group"))
        == []
    )
    assert len(norm.unsynced_buffers(backbone("batch"))) == 2 * sum(
        isinstance(m, nn.BatchNorm2d) for m in backbone("batch").modules()
    )


def test_a_backbone_without_batch_norm_is_refused():
    settings = {"model_type": "convnext", "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
    with pytest.raises(WeightsError, match=r"norm=group replaces batch norm, and a convnext has none; set it to batch"):
        image.build(None, settings, "stage2", "stage3", 8, norms="group")


@pytest.mark.parametrize("kind", norm.KINDS)
def test_a_run_folder_knows_its_norm(tmp_path, kind, images):
    model = both(norms=kind)
    dual.save(tmp_path, model.describe(), model.state_dict())
    again = dual.load(tmp_path)
    assert again.image.norms == kind
    assert [type(m) for m in again.modules()] == [type(m) for m in model.modules()]
    one, other = (m.encode_images(images[:, :1])[0] for m in (model.eval(), again))
    assert torch.equal(one, other)


def test_a_folder_without_a_choice_has_batch_norm(tmp_path):
    model = both()
    description = model.describe()
    del description["norm"]
    dual.save(tmp_path, json.loads(json.dumps(description)), model.state_dict())
    assert dual.load(tmp_path).image.norms == "batch"

"""The image tower: shapes of the paper's network, other backbones, channels."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import image
from sentalign.model.pretrained import WeightsError

RESNET = {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 12, 20], "depths": [1, 1, 1]}
DINO = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}


def seen_by_backbone(tower, images_B1HW):
    seen = []
    tower.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        tower.eval()(images_B1HW)
    return seen[0]


def test_resnet_50_has_the_papers_shapes():
    tower = image.build(None, {"model_type": "resnet"}, "stage3", "stage4", 768).eval()
    maps = []
    tower.backbone.register_forward_hook(lambda module, args, output: maps.extend(output.feature_maps))
    with torch.no_grad():
        regions_BHWD, global_BD = tower(torch.zeros(1, 1, 299, 299))
    assert maps[0].shape == (1, 1024, 19, 19)
    assert maps[1].shape[1] == 2048
    assert regions_BHWD.shape == (1, 19, 19, 768)
    assert global_BD.shape == (1, 768)
    assert tower.to_regions.weight.shape == (768, 1024, 1, 1)
    assert tower.to_regions.bias is None
    assert tower.to_global.weight.shape == (768, 2048)


def test_heads_by_hand():
    tower = image.build(None, RESNET, "stage2", "stage3", 6).eval()
    images_B1HW = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        regions_BHWD, global_BD = tower(images_B1HW)
        low_BCHW, high_BCHW = tower.backbone(images_B1HW.repeat(1, 3, 1, 1)).feature_maps
    assert regions_BHWD.shape == (2, 8, 12, 6)
    expected = torch.einsum("bchw,dc->bhwd", low_BCHW, tower.to_regions.weight[..., 0, 0])
    torch.testing.assert_close(regions_BHWD, expected, atol=1e-5, rtol=1e-4)
    expected = high_BCHW.flatten(2).mean(2) @ tower.to_global.weight.T + tower.to_global.bias
    torch.testing.assert_close(global_BD, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [64, 97])
def test_fused_stages_are_one_convolution_of_all_maps(size):
    """The plain twin: maps drawn by torch's own pooling and interpolation, stacked, and one matrix product."""
    tower = image.build(None, RESNET, "stage2", "stage3", 6, fused_stages=["stage3", "stage1"]).double().eval()
    images_B1HW = torch.randn(2, 1, size, size, dtype=torch.float64)
    regions_BHWD, global_BD = tower(images_B1HW)
    fine_BCHW, middle_BCHW, coarse_BCHW = tower.backbone(images_B1HW.repeat(1, 3, 1, 1)).feature_maps
    cells = middle_BCHW.shape[2]
    # A cell covers its own fine cell and the halves of both neighbours: two overlapping means of two.
    padded = torch.nn.functional.pad(fine_BCHW, (1, 1, 1, 1), "replicate")
    pairs = torch.nn.functional.avg_pool2d(padded, 2, stride=1)
    fine = torch.nn.functional.avg_pool2d(pairs, 2, stride=1)[:, :, ::2, ::2]
    # Coarse cell i lies on cell 2 i.
    coarse = torch.nn.functional.interpolate(
        coarse_BCHW, size=2 * coarse_BCHW.shape[2] - 1, mode="bilinear", align_corners=True
    )
    coarse = torch.nn.functional.pad(coarse, (0, 1, 0, 1), "replicate")[:, :, :cells, :cells]
    stacked = torch.cat([middle_BCHW, coarse, fine], dim=1)
    kernels = [tower.to_regions, *tower.fused_to_regions]
    assert all(kernel.bias is None for kernel in kernels)
    expected = torch.einsum("bchw,dc->bhwd", stacked, torch.cat([k.weight for k in kernels], dim=1)[..., 0, 0])
    inner = (slice(None), slice(1, cells - 1), slice(1, cells - 1))  # the border has its test in test_resample
    torch.testing.assert_close(regions_BHWD[inner], expected[inner])
    torch.testing.assert_close(global_BD, tower.to_global(coarse_BCHW.mean((2, 3))))
    probe = torch.randn_like(expected[inner])
    leaves = list(tower.parameters())
    both = [torch.autograd.grad((x[inner] * probe).sum(), leaves, allow_unused=True) for x in (regions_BHWD, expected)]
    for one, other in zip(*both, strict=True):
        assert one is other is None or torch.allclose(one, other)


def test_fused_stages_leave_other_towers_as_they_were():
    torch.manual_seed(0)
    plain = image.build(None, RESNET, "stage2", "stage3", 6)
    torch.manual_seed(0)
    fused = image.build(None, RESNET, "stage2", "stage3", 6, fused_stages=["stage1"])
    state = fused.state_dict()
    assert set(state) - set(plain.state_dict()) == {"fused_to_regions.0.weight"}
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())


def test_weights_of_a_first_pass_without_gradient_serve_training():
    tower = image.build(None, RESNET, "stage2", "stage3", 6, fused_stages=["stage1"])
    with torch.inference_mode():
        before = tower.eval()(torch.ones(1, 1, 64, 96))[0]
    after = tower(torch.ones(1, 1, 64, 96))[0]
    after.sum().backward()
    torch.testing.assert_close(before, after)


def test_a_vit_works_with_one_stage_for_both():
    tower = image.build(None, {"model_type": "dinov2"} | DINO, "stage2", "stage2", 8).eval()
    with torch.no_grad():
        regions_BHWD, global_BD = tower(torch.randn(2, 1, 28, 42))
    assert regions_BHWD.shape == (2, 2, 3, 8)
    assert global_BD.shape == (2, 8)


def test_layers_of_a_vit_are_added_cell_by_cell():
    settings = {"model_type": "dinov2"} | DINO
    tower = image.build(None, settings, "stage3", "stage3", 8, fused_stages=["stage1", "stage2"]).eval()
    images_B1HW = torch.randn(2, 1, 28, 42)
    with torch.no_grad():
        regions_BHWD, _ = tower(images_B1HW)
        first, second, third = tower.backbone(images_B1HW.repeat(1, 3, 1, 1)).feature_maps
        expected = tower.to_regions(third) + tower.fused_to_regions[0](first) + tower.fused_to_regions[1](second)
    torch.testing.assert_close(regions_BHWD, expected.permute(0, 2, 3, 1))


def test_stages_may_be_named_in_any_order():
    tower = image.build(None, {"model_type": "dinov2"} | DINO, "stage3", "stage1", 8)
    assert (tower.region_stage, tower.global_stage, tower.backbone.out_features) == (
        "stage3",
        "stage1",
        ["stage1", "stage3"],
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_repeated_as_often_as_the_backbone_has_channels(channels):
    images_B1HW = torch.randn(2, 1, 32, 32)
    seen_BCHW = seen_by_backbone(
        image.build(None, RESNET | {"num_channels": channels}, "stage2", "stage3", 8), images_B1HW
    )
    assert seen_BCHW.shape == (2, channels, 32, 32)
    assert all(torch.equal(seen_BCHW[:, c], images_B1HW[:, 0]) for c in range(channels))


def test_coordinates_are_columns_then_rows():
    images_B1HW = torch.randn(2, 1, 32, 64)
    seen_BCHW = seen_by_backbone(image.build(None, RESNET, "stage2", "stage3", 8, coordinates=True), images_B1HW)
    assert torch.equal(seen_BCHW[:, :1], images_B1HW)
    assert seen_BCHW[1, 1, 7, [0, -1]].tolist() == [-1, 1]  # x: left to right
    assert seen_BCHW[1, 2, [0, -1], 7].tolist() == [-1, 1]  # y: top to bottom
    assert seen_BCHW[0, 1].std(dim=0).max() == 0
    assert seen_BCHW[0, 2].std(dim=1).max() == 0


def test_coordinates_need_three_channels():
    with pytest.raises(WeightsError, match="num_channels: 3"):
        image.build(None, RESNET | {"num_channels": 1}, "stage2", "stage3", 8, coordinates=True)


@pytest.mark.parametrize(
    ("settings", "stage", "message"),
    [
        (RESNET, "stage4", "a resnet has no stage4; it has stem, stage1, stage2, stage3"),
        ({"model_type": "bert"}, "stage1", "a bert has no stage1; it has none"),
        ({"model_type": "resmet"}, "stage1", "backbone settings are no resmet config"),
        ({"layer_type": "odd"}, "stage1", "backbone settings are no resnet config"),
        ({"depths": "many"}, "stage1", "backbone settings are no resnet config"),
        (RESNET | {"hiden_sizes": [8]}, "stage1", "a resnet has no 'hiden_sizes'"),
    ],
)
def test_settings_that_make_no_backbone_are_one_line(settings, stage, message):
    with pytest.raises(WeightsError) as caught:
        image.build(None, settings, stage, stage, 8)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8] * 4, "depths": [1] * 4}


def test_new_kernels_are_point_symmetric_and_patches_are_left_alone():
    tower = image.build(None, {"num_channels": 1, **RESNET}, "stage2", "stage3", 8)
    kernels = [m.weight for m in tower.backbone.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size > (1, 1)]
    assert len(kernels) >= 5
    assert all(torch.equal(kernel, kernel.flip(-1, -2)) for kernel in kernels)
    patches = image.build(None, {"num_channels": 1, **CONVNEXT}, "stage2", "stage2", 8).backbone
    stem = next(m for m in patches.modules() if isinstance(m, torch.nn.Conv2d) and m.stride == m.kernel_size)
    assert not torch.equal(stem.weight, stem.weight.flip(-1, -2))

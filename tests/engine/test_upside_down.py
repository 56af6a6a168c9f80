"""Images upside down: which ones, and that coordinates and maps turn with them."""

from __future__ import annotations

import pytest
import torch

from sentalign import config as configuration
from sentalign.engine.step import some_upside_down
from sentalign.model import image
from sharding.contract import UserError

RESNET = {"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [8, 8, 8], "depths": [1, 1, 1]}
RESNET |= {"layer_type": "basic", "num_channels": 3}
KEYS = [f"sample-{n}" for n in range(400)]


def settings(share, coordinates=True, **loss):
    tree = {"run": "none", "data": {"shards": "none", "upside_down": share}, "loss": loss}
    return configuration.check(tree | {"model": {"image": {"coordinates": coordinates}}})


def images(count, side=33):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_the_setting_images_are_as_they_were():
    images_B1HH = images(3)
    assert some_upside_down(images_B1HH, KEYS[:3], [0] * 3, settings(0)) is images_B1HH


@pytest.mark.parametrize("coordinates", [False, True])
def test_grey_and_rows_turn_and_columns_stay(coordinates):
    images_B1HH = images(2)
    seen = some_upside_down(images_B1HH, KEYS[:2], [0, 0], settings(1, coordinates))
    for n in range(2):
        for row in range(33):
            assert (seen[n, 0, row] == images_B1HH[n, 0, 32 - row]).all()
            if coordinates:
                assert seen[n, 2, row].tolist() == pytest.approx([1 - row / 16] * 33)
                assert seen[n, 1, row].tolist() == pytest.approx([column / 16 - 1 for column in range(33)])


def test_which_ones_depends_on_seed_epoch_and_sample_alone():
    images_B1HH, config = images(1).expand(400, -1, -1, -1), settings(0.25)

    def drawn(keys, epoch=0, config=config):
        seen = some_upside_down(images_B1HH[: len(keys)], keys, [epoch] * len(keys), config)
        return [bool(one[2, 0, 0] == 1) for one in seen]

    whole = drawn(KEYS)
    assert 70 <= sum(whole) <= 130
    assert drawn(KEYS[100:110]) == whole[100:110]
    assert drawn(KEYS, epoch=1) != whole
    assert drawn(KEYS, config=config.model_copy(update={"seed": 1})) != whole


def test_a_tower_that_treats_up_and_down_alike_turns_its_map():
    """So grey, coordinates and regions turn about the same line."""
    torch.manual_seed(0)
    tower = image.build(None, RESNET, "stage2", "stage3", 8, coordinates=True).eval()
    with torch.no_grad():
        for module in tower.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight + module.weight.flip(2))
    images_B1HH = images(2)
    with torch.no_grad():
        (plain_BHWD, global_BD), (turned_BHWD, turned_BD) = (
            tower(some_upside_down(images_B1HH, KEYS[:2], [0, 0], settings(share))) for share in (0, 1)
        )
    torch.testing.assert_close(turned_BHWD, plain_BHWD.flip(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned_BD, global_BD, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("view", ["weight_rescale", "weight_window"])
def test_views_are_of_upright_images(view):
    with pytest.raises(UserError, match="cannot be used with"):
        settings(0.5, **{view: 1.0})

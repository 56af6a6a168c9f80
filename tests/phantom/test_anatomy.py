"""The healthy chest: laterality, shape, and the arithmetic of body coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.phantom.anatomy import Chest, Pose, draw_body, draw_chest, draw_pose, smooth_noise
from sentalign.phantom.study import stream


def straight(size: int = 256) -> Pose:
    return Pose(rows=size, columns=size, size=size, shift_x=0, shift_y=0, scale=1, cosine=1, sine=0)


def chest(number: int, pose: Pose | None = None) -> Chest:
    rng = stream(3, number)
    return draw_chest(rng, draw_body(rng), pose or draw_pose(rng, 256))


@pytest.mark.parametrize("number", range(6))
def test_heart_lies_on_the_pictures_right(number: int) -> None:
    drawn = chest(number, straight())
    lower = (drawn.y_HW > 0.05) & (drawn.y_HW < 0.15) & (np.abs(drawn.x_HW) > 0.08) & (np.abs(drawn.x_HW) < 0.16)
    patients_left = drawn.picture_HW[lower & (drawn.x_HW > 0)].mean()
    patients_right = drawn.picture_HW[lower & (drawn.x_HW < 0)].mean()
    assert patients_left > patients_right + 0.1


@pytest.mark.parametrize("number", range(6))
def test_lungs_are_darker_than_the_tissue_around_and_brighter_than_air(number: int) -> None:
    drawn = chest(number)
    lung = drawn.picture_HW[drawn.lung_HW > 0.9].mean()
    air = drawn.picture_HW[drawn.y_HW < -0.42].min()
    abdomen = np.median(drawn.picture_HW[(drawn.y_HW > 0.35) & (np.abs(drawn.x_HW) < 0.3)])
    assert air + 0.1 < lung < abdomen - 0.3
    assert 0.08 < (drawn.lung_HW > 0.5).mean() < 0.35


def test_to_pixels_inverts_the_body_grid() -> None:
    pose = Pose(rows=200, columns=256, size=256, shift_x=0.03, shift_y=-0.02, scale=0.9, cosine=0.9986, sine=0.0523)
    drawn = chest(1, pose)
    for row, column in ((10, 20), (150, 240)):
        back = pose.to_pixels(float(drawn.x_HW[row, column]), float(drawn.y_HW[row, column]))
        assert back == pytest.approx((row + 0.5, column + 0.5), abs=0.05)


def test_window_covers_its_rectangle_and_stays_in_the_picture() -> None:
    pose = straight(100)
    rows, columns = pose.window(0.2, 0.0, 0.1, 0.05)
    assert rows.start <= 45
    assert rows.stop >= 55
    assert columns.start <= 60
    assert columns.stop >= 80
    assert pose.window(0.45, 0.45, 0.3, 0.3)[0].stop == 100


def test_smooth_noise_hits_its_knots() -> None:
    noise_HW = smooth_noise(stream(1, 1), 33, 65, 5)
    knots = stream(1, 1).standard_normal((5, 5), dtype=np.float32)
    np.testing.assert_allclose(noise_HW[::8, ::16], knots, atol=1e-5)
    np.testing.assert_allclose(noise_HW[4, 0], (knots[0, 0] + knots[1, 0]) / 2, atol=1e-5)


def test_poses_vary_in_shape_and_keep_the_long_side() -> None:
    poses = [draw_pose(stream(2, number), 256) for number in range(60)]
    assert {max(pose.rows, pose.columns) for pose in poses} == {256}
    assert any(pose.rows > pose.columns for pose in poses)
    assert any(pose.rows < pose.columns for pose in poses)

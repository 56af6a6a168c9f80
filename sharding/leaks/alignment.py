"""Two thumbnails → their agreement after alignment.

In: images made by `thumbnail`. Out: the correlation of their local contrast: above SAME they are very probably the same
exposure of the same person. `neighbours` selects the pairs to compare.
"""

# H rows, W columns, N = PADDED, J parameters, P pixels
from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sharding.leaks import perceptual_hash
from sharding.pixels.picture import Grey

LONG_SIDE = 128  # of a thumbnail: ribs are still visible
SAME = 0.75  # measured on real images: different patients agree to 0.58 at most, copies to 0.8 at least
REFINE_FROM = 0.4  # below this coarse correlation, refinement has never helped
COARSE_SIDE = 64
PADDED = 128  # zero-padded side, so that shifts do not wrap around
SCALES = np.geomspace(0.78, 1 / 0.78, 11)
STEPS = 8
MIN_OVERLAP = 0.3
MIN_CONTRAST = 0.1  # local contrast in standard deviations; X-rays have about 0.7

Plane = NDArray[np.float32]
Affine = NDArray[np.float64]


def thumbnail(grey_HW: Grey) -> Grey:
    """The image without its border, the long side LONG_SIDE: the input of `agreement`."""
    return _scaled(perceptual_hash.content(grey_HW), LONG_SIDE)


def agreement(one_HW: Grey, other_HW: Grey) -> float:
    """Correlation (-1 to 1) of the local contrast, after the best scale and shift, then the best affine transform."""
    coarse, transform = _coarse(one_HW, other_HW)
    return coarse if coarse < REFINE_FROM else max(coarse, _refined(_detail(one_HW), _detail(other_HW), transform))


def _scaled(grey_HW: Grey, long_side: int) -> Grey:
    ratio = long_side / max(grey_HW.shape)
    height, width = (max(2, round(side * ratio)) for side in grey_HW.shape)
    return np.asarray(Image.fromarray(grey_HW).resize((width, height), Image.Resampling.BOX))


def _detail(grey_HW: Grey) -> Plane:
    """Local contrast: each pixel against its neighbourhood, in its standard deviations, so that windows cancel out."""
    radius = max(2, max(grey_HW.shape) // 25)
    detail_HW = grey_HW - _blurred(grey_HW.astype(np.float32), radius)
    return np.asarray(detail_HW / np.sqrt(_blurred(detail_HW**2, 2 * radius) + perceptual_hash.FLAT**2))


def _blurred(plane_HW: Plane, radius: int) -> Plane:
    rows, columns = (_blur(side, radius) for side in plane_HW.shape)
    return np.asarray(rows @ plane_HW @ columns.T, np.float32)


@functools.lru_cache(maxsize=256)
def _blur(side: int, radius: int) -> Plane:
    return (perceptual_hash.blur(side, radius) / (2 * radius + 1) ** 2).astype(np.float32)


def _coarse(one_HW: Grey, other_HW: Grey) -> tuple[float, Affine]:
    """The best correlation over SCALES and all shifts, and its affine transform in pixels of the thumbnails.

    The transform maps a point (x, y, 1) of the first image to (x, y) of the second.
    """
    one = _detail(_scaled(one_HW, COARSE_SIDE))
    others = [_detail(_scaled(other_HW, round(COARSE_SIDE * scale))) for scale in SCALES]
    padded_SNN = np.zeros((len(others), PADDED, PADDED), np.float32)
    for plane, other in zip(padded_SNN, others, strict=True):
        plane[: other.shape[0], : other.shape[1]] = _unit(other)
    spectra = np.conj(np.fft.rfft2(padded_SNN)) * np.fft.rfft2(_unit(one), (PADDED, PADDED))
    products_SNN = np.fft.irfft2(spectra, (PADDED, PADDED))
    scale, row, column = (int(index) for index in np.unravel_index(products_SNN.argmax(), products_SNN.shape))
    shift_y, shift_x = ((index + PADDED // 2) % PADDED - PADDED // 2 for index in (row, column))
    unit, ratio = LONG_SIDE / COARSE_SIDE, 1 / SCALES[scale]
    transform = np.array([[ratio, 0, -shift_x * unit * ratio], [0, ratio, -shift_y * unit * ratio]])
    return float(products_SNN[scale, row, column]), transform


def _unit(plane_HW: Plane) -> Plane:
    """Of length 1; shorter for an image without structure, whose noise would correlate otherwise."""
    return plane_HW / np.float32(max(np.linalg.norm(plane_HW), MIN_CONTRAST * plane_HW.size**0.5))


def _refined(one_HW: Plane, other_HW: Plane, transform: Affine) -> float:
    """The best correlation along Gauss-Newton steps over the six parameters of the transform."""
    slopes = np.gradient(other_HW)[::-1]
    best = -1.0
    for _ in range(STEPS):
        points_P3, inside = _overlap(one_HW, other_HW, transform)
        if len(points_P3) < MIN_OVERLAP * min(one_HW.size, other_HW.size):
            return best
        one_P, other_P = one_HW[inside], _warped(other_HW, one_HW, transform)[inside]
        best = max(best, _correlation(one_P, other_P))
        gain = max(0.2, float(one_P @ other_P) / (float(other_P @ other_P) + 1e-9))
        slope_x_P, slope_y_P = (gain * _warped(slope, one_HW, transform)[inside] for slope in slopes)
        jacobian_PJ = np.concatenate([slope_x_P[:, None] * points_P3, slope_y_P[:, None] * points_P3], axis=1)
        normal = jacobian_PJ.T @ jacobian_PJ
        normal += np.diag(np.diag(normal) * 1e-3 + 1e-6)
        transform = transform + np.linalg.solve(normal, jacobian_PJ.T @ (one_P - gain * other_P)).reshape(2, 3)
    return best


def _overlap(one_HW: Plane, other_HW: Plane, transform: Affine) -> tuple[Plane, NDArray[np.bool_]]:
    """The points (x, y, 1) of the first image that map into the second, shape (P, 3), and their mask."""
    rows, columns = (np.arange(side) + 0.5 for side in one_HW.shape)
    points_HW3 = np.stack([*np.meshgrid(columns, rows), np.ones(one_HW.shape)], axis=-1)
    mapped_HW2 = points_HW3 @ transform.T
    inside = np.all((mapped_HW2 > 1) & (mapped_HW2 < np.array(other_HW.shape[::-1]) - 1), axis=-1)
    return points_HW3[inside].astype(np.float32), np.asarray(inside)


def _warped(other_HW: Plane, one_HW: Plane, transform: Affine) -> Plane:
    """The second image, resampled on the pixels of the first."""
    height, width = one_HW.shape
    image = Image.fromarray(np.ascontiguousarray(other_HW, np.float32))
    numbers = [float(number) for number in transform.ravel()]
    return np.asarray(
        image.transform((width, height), Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR), np.float32
    )


def _correlation(one_P: Plane, other_P: Plane) -> float:
    one_P, other_P = one_P - one_P.mean(), other_P - other_P.mean()
    return float(_unit(one_P) @ _unit(other_P))

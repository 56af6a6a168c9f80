"""Consistency of a sentence's map between two views: the formula, and what each kind of view can see."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sentalign.loss import consistency
from sentalign.loss.reference import LossConfig
from sentalign.stream.views import CellGrid, rescaled, windowed

SIDE, CELLS = 128, 16
GRID = CellGrid(8, 4.0, CELLS)
SHARPNESS = 6.0


def random_logits(seed, requires_grad=False):
    return torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def js_by_loops(logits, others, compared):
    """The formula, one cell at a time."""
    found = np.zeros(logits.shape[:2])
    for v, k in np.ndindex(found.shape):
        cells = [r for r in range(logits.shape[2]) if compared[v, r]]
        a, b = ([math.exp(x[v, k, r]) for r in cells] for x in (logits, others))
        for p, q in zip(a, b, strict=True):
            p, q = p / sum(a), q / sum(b)
            found[v, k] += (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2
    return found


def test_divergence_is_the_formula_in_value_and_gradient():
    generator = torch.Generator().manual_seed(7)
    compared = torch.rand(3, 16, generator=generator) < 0.6
    first, second = random_logits(0).requires_grad_(), random_logits(1).requires_grad_()
    found = consistency.divergence(first, second, compared)
    expected = js_by_loops(first.detach().numpy(), second.detach().numpy(), compared.numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    gradients = torch.autograd.grad(found.sum(), (first, second))
    for number, gradient in enumerate(gradients):
        for place in ((0, 0, 3), (1, 1, 5), (2, 0, 15), (2, 1, 8)):
            changed = []
            for step in (1e-5, -1e-5):
                both = [first.detach().clone(), second.detach().clone()]
                both[number][place] += step
                changed.append(js_by_loops(*(x.numpy() for x in both), compared.numpy()).sum())
            assert float(gradient[place]) == pytest.approx((changed[0] - changed[1]) / 2e-5, abs=1e-8)


def test_equal_maps_give_zero_without_gradient_and_the_views_may_be_exchanged():
    first, second, every = random_logits(0).requires_grad_(), random_logits(1), torch.ones(3, 16, dtype=torch.bool)
    same = consistency.divergence(first, first.detach() + 5.0, every)  # a constant changes no attention
    assert same.abs().max() < 1e-14
    assert torch.autograd.grad(same.sum(), first)[0].abs().max() < 1e-14
    torch.testing.assert_close(
        consistency.divergence(first, second, every), consistency.divergence(second, first, every)
    )
    far = consistency.divergence(torch.tensor([[[50.0, 0]]]), torch.tensor([[[0, 50.0]]]), torch.ones(1, 2).bool())
    assert float(far) == pytest.approx(math.log(2))


@pytest.mark.parametrize("attention", ["paper", "cosine"])
def test_attention_is_that_of_the_loss(attention):
    from sentalign.loss import reference

    generator = torch.Generator().manual_seed(0)
    v = torch.randn(3, 9, 5, generator=generator, dtype=torch.float64)
    t = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    present = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    tau = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    config = LossConfig(attention, t1=3.0, tau=tau)
    found = consistency.attention_logits(v.requires_grad_(), t, present, config).softmax(dim=2)
    if attention == "paper":
        every = reference.paper_attention(v, t, present, 3.0)
    else:
        every = reference.cosine_attention(F.normalize(v, dim=-1), F.normalize(t, dim=-1), 0.3)
    for i in range(3):
        torch.testing.assert_close(found[i][present[i]], every[i, i][present[i]])
    assert torch.autograd.grad(found.square().sum(), tau, allow_unused=True)[0] is None


def picture(points):
    """Images of a bright blob each, smooth against the cells; points are x, y in pixels."""
    pixels = torch.arange(SIDE) + 0.5
    x, y = (torch.tensor([point[i] for point in points])[:, None, None] for i in range(2))
    blob = torch.exp(-((pixels - x) ** 2 + (pixels[:, None] - y) ** 2) / (2 * 14.0**2))
    return (2 * blob - 1)[:, None]


def tower(images, right=0):
    """A tower whose cell r reports the grey of its own 8 x 8 pixels; or of those `right` pixels beside it."""
    moved = F.pad(images, (0, right), value=-1)[..., right:]
    return SHARPNESS * F.avg_pool2d(moved, 8).flatten(2)


POINTS = [(60.0, 58.0), (84.0, 70.0), (40.0, 44.0), (72.0, 84.0)]


def rescale_loss(factor, right):
    images = picture(POINTS)
    view = rescaled(images, [factor] * len(POINTS), GRID)
    plain = consistency.resampled(tower(images, right), view.places_vGG2)
    return float(consistency.divergence(plain, tower(view.images_v1HH, right), view.compared_vGG.flatten(1)).mean())


@pytest.mark.parametrize("factor", [0.66, 0.8, 1.25, 1.5])
def test_rescaling_sees_a_displaced_map_and_more_of_it_the_farther_it_is(factor):
    by_displacement = [rescale_loss(factor, right) for right in (0, 4, 8, 16)]
    assert by_displacement == sorted(by_displacement)
    assert by_displacement[0] < 0.006  # the blob is not a point, and interpolation between cells lowers its peak
    assert by_displacement[1] > by_displacement[0]
    assert by_displacement[3] > 10 * by_displacement[0]
    assert rescale_loss(1.0, 16) < 1e-6, "without a zoom nothing is seen"


def window_loss(right, side=1.0):
    images = picture(POINTS)
    view = windowed(images, [(0, 0), (1, 0), (0, 1), (1, 1)], side, GRID)
    plain = consistency.resampled(tower(images, right), view.places_vGG2)
    return float(consistency.divergence(plain, tower(view.images_v1HH, right), view.compared_vGG.flatten(1)).mean())


def test_windows_see_evidence_from_outside_of_the_own_cell():
    inside, beside = window_loss(0), [window_loss(right) for right in (2, 4, 8)]
    assert inside < 1e-6
    assert beside == sorted(beside)
    assert beside[0] > 100 * inside
    assert window_loss(4, side=2.0) < 1e-6, "a window of two cells shows half a cell more on each side"
    assert window_loss(8, side=2.0) > 1e-4


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_gradient_through_both_views_brings_the_peak_back_and_through_one_alone_need_not(factor):
    """The peak of the plain map is at x + d, that of the view at s x + d: the difference is (s - 1) d."""
    cells = torch.arange(CELLS, dtype=torch.float64)
    view = rescaled(picture([(64.0, 64.0)]).double(), [factor], GRID)

    def gradient(detach):
        shift = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)  # d, in cells; the lesion is at the centre
        both = []
        for name, width in (("plain", 2.0), ("view", 2.0 * factor)):
            d = shift.detach() if name == detach else shift
            line = -((cells - 7.5 - d) ** 2) / (2 * width**2)
            both.append((line[None] + -((cells[:, None] - 7.5) ** 2) / (2 * width**2)).flatten()[None, None])
        plain = consistency.resampled(both[0], view.places_vGG2)
        return float(
            torch.autograd.grad(consistency.divergence(plain, both[1], view.compared_vGG.flatten(1)).sum(), shift)[0]
        )

    assert gradient(None) > 0, "descent makes d smaller"
    assert (gradient("plain") > 0) == (factor < 1)
    assert (gradient("view") > 0) == (factor > 1)

"""Second views: which images have one, zooms and windows by seed, epoch and sample, and which places correspond."""

import math

import numpy as np
import pytest
import torch

from sentalign.config import Loss
from sentalign.stream.views import CellGrid, ViewMaker, has_view, rescaled, windowed, zoom

SIDE = 64
GRID = CellGrid(8, 4.0, 8)
KEYS = [f"k{i}" for i in range(6)]


def images(count=6, side=SIDE):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def maker(keys=KEYS, seed=0, epoch=0, pictures=None):
    pictures = images(len(keys)) if pictures is None else pictures
    return ViewMaker(pictures, keys, [epoch] * len(keys), [True] * len(keys), seed, Loss())


@pytest.mark.parametrize(("batch", "share", "ranks"), [(64, 0.25, 2), (64, 0.25, 4), (12, 0.5, 3), (8, 1.0, 2)])
def test_every_rank_has_views_of_the_same_of_its_rows_and_every_row_has_its_turn(batch, share, ranks):
    rows, seen = batch // ranks, set()
    for step in range(batch):
        whole = has_view(batch, share, 0, batch, step)
        by_rank = [has_view(batch, share, rank * rows, rows, step) for rank in range(ranks)]
        assert [chosen for rank in by_rank for chosen in rank] == whole
        assert by_rank == [by_rank[0]] * ranks
        assert sum(whole) == batch * share
        seen |= {n for n in range(batch) if whole[n]}
    assert seen == set(range(batch))


def test_zooms_are_uniform_in_their_logarithm():
    drawn = np.array([zoom(draw, 0.5, 2.0) for draw in range(0, 2**64, 2**56)])
    assert drawn.min() == 0.5
    assert drawn.max() < 2.0
    np.testing.assert_allclose(np.diff(np.log(drawn)), math.log(4) / 256, rtol=1e-9)


@pytest.mark.parametrize("kind", ["rescale", "window"])
def test_a_view_belongs_to_the_sample_its_epoch_and_the_seed(kind):
    whole = maker().make(kind, range(6), GRID)
    back = maker(KEYS[::-1], pictures=images().flip(0)).make(kind, [2, 0], GRID)
    for found, expected in zip(back, whole, strict=True):
        torch.testing.assert_close(found, expected[[3, 5]])
    for other in (maker(seed=1), maker(epoch=1)):
        assert not torch.equal(other.make(kind, range(6), GRID).images_v1HH, whole.images_v1HH)


@pytest.mark.parametrize("grid", [GRID, CellGrid(8, 0.5, 9), CellGrid(16, 7.0, 4)], ids=str)
@pytest.mark.parametrize("factor", [0.66, 0.9, 1.0, 1.5])
def test_places_are_where_the_zoom_took_them_from(grid, factor):
    side = 65 if grid.cells == 9 else SIDE
    x = torch.arange(side) + 0.5 - side / 2
    ramp = (x / side).expand(1, 1, side, side)  # grey is the place: a zoom divides it
    view = rescaled(ramp, [factor], grid)
    half = side / 2
    for y, x in np.ndindex(grid.cells, grid.cells):
        centre = [grid.stride * i + grid.offset - half for i in (x, y)]
        source = [(c / factor + half - grid.offset) / grid.stride for c in centre]
        place = [(float(p) + 1) * grid.cells / 2 - 0.5 for p in view.places_vGG2[0, y, x]]
        assert place == pytest.approx(source, abs=1e-4)
        assert bool(view.compared_vGG[0, y, x]) == all(-0.01 < s < grid.cells - 0.99 for s in source)
        row, column = (int(grid.stride * i + grid.offset) for i in (y, x))
        # The pixel in whose middle, or at whose left edge, the cell is centred.
        exact = (column + 0.5 - half) / factor / side
        if all(abs(c / factor) < half - 1 for c in centre):
            assert float(view.images_v1HH[0, 0, row, column]) == pytest.approx(exact, abs=1e-4)
    assert view.compared_vGG.any()


@pytest.mark.parametrize("side", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("grid", [GRID, CellGrid(8, 0.5, 9)], ids=str)
def test_windows_are_sharp_around_the_compared_cells_and_nothing_else_is(grid, side):
    pictures, period = images(4, 65 if grid.cells == 9 else SIDE), math.ceil(2 * side)
    phases = [(0, 0), (1, 2), (5, 7), (2**64 - 1, 3)]
    view = windowed(pictures, phases, side, grid)
    torch.testing.assert_close(
        view.places_vGG2[0, 2, 5], torch.tensor([2 * 5 + 1, 2 * 2 + 1]) / grid.cells - 1, check_dtype=False
    )
    for n, phase in enumerate(phases):
        first = [draw % period for draw in phase]
        cells = [[i for i in range(-grid.cells, 2 * grid.cells) if (i - f) % period == 0] for f in first]
        compared = {(y, x) for y in cells[0] for x in cells[1] if min(x, y) >= 0 and max(x, y) < grid.cells}
        assert {tuple(place) for place in view.compared_vGG[n].nonzero().tolist()} == compared
        same = (view.images_v1HH == pictures)[n, 0]
        for row, column in np.ndindex(tuple(same.shape)):
            inside = all(
                any(abs(p + 0.5 - grid.offset - grid.stride * i) < side * grid.stride / 2 for i in along)
                for p, along in zip((row, column), cells, strict=True)
            )
            assert bool(same[row, column]) == inside
    assert view.images_v1HH.std() < 0.8 * pictures.std(), "the rest is blurred"

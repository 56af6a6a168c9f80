"""The bootstrap against a loop, its coverage, and its rules for missing values."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.evaluate.bootstrap import Bootstrap

PATIENTS = ["a", "a", "b", "c", "c", "c", "d"]
CATEGORIES = ["x", "y", "x", "y", "y", "x", "x"]
VALUES = np.array([1.0, 0.0, 0.5, 0.25, np.nan, 1.0, 0.0])


def slow_mean(members, by_category):
    """The mean of some cases by their numbers, repeats counted; NaN values are ignored."""
    members = [n for n in members if np.isfinite(VALUES[n])]
    if not by_category:
        return np.mean([VALUES[n] for n in members]) if members else None
    parts = [[VALUES[n] for n in members if CATEGORIES[n] == c] for c in ("x", "y")]
    parts = [np.mean(part) for part in parts if part]
    return np.mean(parts) if parts else None


@pytest.mark.parametrize("by_category", [False, True])
def test_vectorised_equals_a_loop_over_cases(by_category):
    replicates, seed = 300, 4
    boot = Bootstrap(PATIENTS, CATEGORIES, replicates, seed)
    estimate = boot.over_categories(VALUES) if by_category else boot.pooled(VALUES)
    counts = np.random.default_rng(seed).multinomial(4, np.full(4, 0.25), size=replicates)
    means = []
    for row in counts:
        drawn = [n for p, name in enumerate("abcd") for n in range(7) for _ in range(row[p]) if PATIENTS[n] == name]
        mean = slow_mean(drawn, by_category)
        if mean is not None:
            means.append(mean)
    assert estimate.mean == pytest.approx(slow_mean(range(7), by_category))
    assert [estimate.low, estimate.high] == pytest.approx(np.percentile(means, [2.5, 97.5]))
    assert estimate.n == 6


def test_means_by_hand():
    boot = Bootstrap(PATIENTS, CATEGORIES, 10)
    assert boot.pooled(VALUES).mean == pytest.approx(2.75 / 6)
    assert boot.per_category(VALUES)["x"].mean == pytest.approx(2.5 / 4)
    assert boot.per_category(VALUES)["y"].mean == pytest.approx(0.125)
    assert boot.over_categories(VALUES).mean == pytest.approx((2.5 / 4 + 0.125) / 2)


def test_intervals_cover_the_truth_when_patients_are_clusters():
    """Cases of a patient are correlated: drawing patients covers about 95%, drawing cases far less."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 5)
    by_patient = by_case = 0
    for trial in range(150):
        values = np.repeat(rng.normal(size=60), 5) + 0.2 * rng.normal(size=300)
        one = Bootstrap(patients.astype(str).tolist(), ["x"] * 300, 200, trial).pooled(values)
        other = Bootstrap([str(n) for n in range(300)], ["x"] * 300, 200, trial).pooled(values)
        by_patient += one.low <= 0 <= one.high
        by_case += other.low <= 0 <= other.high
    assert 0.88 <= by_patient / 150 <= 0.99
    assert by_case / 150 < 0.75


def test_same_seed_same_interval_and_another_seed_another():
    values = np.random.default_rng(1).random(7)
    same = [Bootstrap(PATIENTS, CATEGORIES, 50, 3).pooled(values) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != Bootstrap(PATIENTS, CATEGORIES, 50, 4).pooled(values)


def test_no_value_at_all():
    estimate = Bootstrap(PATIENTS, CATEGORIES, 50).over_categories(np.full(7, np.nan))
    assert estimate.n == 0
    assert np.isnan([estimate.mean, estimate.low, estimate.high]).all()

"""Means over cases and their 95% intervals, drawn by patient.

In: one value per case, its category and its patient. Out: means and percentile intervals. NaN marks a case that a
metric does not apply to; it is ignored. A patient's cases are not independent, so whole patients are drawn.
"""

# N cases, P patients, C categories, R replicates, r of a chunk

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CHUNK = 64  # replicates that are multiplied at once, so that 100,000 patients need 50 MB


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` cases with its interval; NaN where there is no case."""

    mean: float
    low: float
    high: float
    n: int


class Bootstrap:
    """One set of draws of the patients of some cases: metrics that share it are compared on the same draws."""

    def __init__(
        self, patients: Sequence[str], categories: Sequence[str], replicates: int = 1000, seed: int = 0
    ) -> None:
        _, patient_N = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
        self.categories, category_N = np.unique(np.asarray(categories, dtype=str), return_inverse=True)
        count = int(patient_N.max()) + 1 if len(patient_N) else 0
        self._patient_N, self._patients = patient_N, count
        # How often each patient is drawn, (R, P); row 0 is the set itself.
        rng, share_P = np.random.default_rng(seed), np.full(count, 1 / max(count, 1))
        drawn = [rng.multinomial(count, share_P).astype(np.int16) for _ in range(replicates)]
        self._draws_RP = np.stack([np.ones(count, np.int16), *drawn])
        self._member_NC = (category_N[:, None] == np.arange(len(self.categories))).astype(float)

    def pooled(self, values_N: Array) -> Estimate:
        """Mean over all cases."""
        return self._estimate(values_N, np.ones((len(self._member_NC), 1)))

    def per_category(self, values_N: Array) -> dict[str, Estimate]:
        """Mean over the cases of each category."""
        members = self._member_NC.T
        return {str(c): self._estimate(values_N, m[:, None]) for c, m in zip(self.categories, members, strict=True)}

    def over_categories(self, values_N: Array) -> Estimate:
        """Mean per category, then over the categories (docs/method.md: evaluation protocols); a replicate without a
        case of some category takes the mean over the others."""
        return self._estimate(values_N, self._member_NC)

    def weights(self) -> Iterator[Array]:
        """How often each case is drawn (N,): of the set itself, then of each replicate."""
        return (draws_P[self._patient_N].astype(float) for draws_P in self._draws_RP)

    def _estimate(self, values_N: Array, member_NC: Array) -> Estimate:
        values_N = np.asarray(values_N, float)
        valid_N = np.isfinite(values_N)
        weights_NC = member_NC * valid_N[:, None]
        sums_RC = self._drawn(weights_NC * np.where(valid_N, values_N, 0.0)[:, None])
        counts_RC = self._drawn(weights_NC)
        drawn_RC = counts_RC > 0
        means_RC = np.divide(sums_RC, counts_RC, out=np.zeros_like(sums_RC), where=drawn_RC)
        some_R = drawn_RC.any(axis=1)
        means_R = means_RC.sum(axis=1)[some_R] / drawn_RC.sum(axis=1)[some_R]
        n = int((weights_NC.sum(axis=1) > 0).sum())
        if not n:
            return Estimate(float("nan"), float("nan"), float("nan"), 0)
        replicates = means_R[1:] if len(means_R) > 1 else means_R
        low, high = np.percentile(replicates, [2.5, 97.5])
        return Estimate(float(means_R[0]), float(low), float(high), n)

    def _drawn(self, values_NC: Array) -> Array:
        """The sums over the cases of the drawn patients, (R, C)."""
        columns = [np.bincount(self._patient_N, column_N, self._patients) for column_N in values_NC.T]
        sums_PC = np.stack(columns, axis=1)
        chunks = (self._draws_RP[start : start + CHUNK] for start in range(1, len(self._draws_RP), CHUNK))
        # The set's own sum apart: in one product with the draws, its last bits would depend on their number.
        return np.concatenate([sums_PC.sum(axis=0)[None], *(draws_rP.astype(float) @ sums_PC for draws_rP in chunks)])

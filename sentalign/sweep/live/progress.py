"""How far a sweep is, and about how long it takes still.

In: contents of a sweep and the time. Out: seconds, and a heading in words.
"""

from __future__ import annotations

from collections import Counter
from statistics import fmean

from sentalign.sweep.content import ENDED, SweepContent, TrialContent
from sentalign.sweep.wording import duration

STATES = ("running", "waiting", "finished", "stopped", "failed", "interrupted")


class Speed:
    """Pairs a second of all trials together, since the display began: pairs of an earlier start do not count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None

    def note(self, sweep: SweepContent, now: float) -> None:
        self._last = now, sum(trial.pairs for trial in sweep.trials)
        self._first = self._first or self._last

    def seconds_left(self, sweep: SweepContent) -> float | None:
        """None as long as no speed is known. A trial that waits is expected to go as far as those that ended did."""
        if not self._first or not self._last:
            return None
        seconds, pairs = self._last[0] - self._first[0], self._last[1] - self._first[1]
        return _pairs_left(sweep) * seconds / pairs if pairs > 0 and seconds > 0 else None


def _pairs_left(sweep: SweepContent) -> float:
    ended = [trial.pairs for trial in sweep.trials if trial.status in ENDED and trial.pairs]
    expected = fmean(ended) if ended else sweep.max_pairs
    running = [t for t in sweep.trials if t.status == "running"]
    not_begun = sum(t.status == "waiting" for t in sweep.trials) + max(0, sweep.planned - len(sweep.trials))
    return sum(max(expected, trial.pairs) - trial.pairs for trial in running) + not_begun * expected


def trial_seconds_left(sweep: SweepContent, trial: TrialContent) -> float | None:
    """Until the end of a whole run, at the trial's own speed."""
    if trial.status != "running" or not trial.pairs or not trial.seconds:
        return None
    return (sweep.max_pairs - trial.pairs) * trial.seconds / trial.pairs


def heading(sweep: SweepContent, elapsed: float, left: float | None) -> str:
    """5 of 12 trials ended | 3 min, about 9 min left | 2 running, 3 finished, 2 stopped | best: trial 3, ..."""
    ended = sum(trial.status in ENDED for trial in sweep.trials)
    time = duration(elapsed) + (f", about {duration(left)} left" if left else "")
    parts = [f"{ended} of {max(sweep.planned, len(sweep.trials))} trials ended", time, states(sweep)]
    return " | ".join([*parts, best_in_words(sweep)] if sweep.best else parts)


def states(sweep: SweepContent) -> str:
    counts = Counter(trial.status for trial in sweep.trials)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "none yet"


def best_in_words(sweep: SweepContent) -> str:
    """best: trial 3, validation/average_precision 0.41 (0.39 to 0.43)."""
    assert sweep.best
    known = [goal.metric for goal in sweep.goals if goal.metric in sweep.best.values]
    values = [f"{metric} {sweep.best.value_text(metric)}" for metric in known]
    return ", ".join([f"best: trial {sweep.best.number}", *values])

"""The time of trainings, read bit by bit: as a plain reading of the whole journal gives it."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep.run_seconds import RunSeconds


def plain(entries: list[tuple[str, float]]) -> float:
    """The starts, each up to the last entry before the next start that is no end."""
    starts: list[list[float]] = []
    for kind, time in entries:
        if kind == "start":
            starts.append([])
        if starts and kind != "end":
            starts[-1].append(time)
    return sum(times[-1] - times[0] for times in starts)


def test_an_end_that_is_written_later_and_the_time_between_starts_are_not_counted(tmp_path: Path) -> None:
    entries = [("start", 10.0), ("metrics", 15.0), ("end", 99.0), ("start", 200.0), ("validation", 207.0)]
    write(tmp_path, entries)
    assert RunSeconds().of(tmp_path) == plain(entries) == 12.0
    assert RunSeconds().of(tmp_path / "none") == 0.0


@given(
    kinds=st.lists(st.sampled_from(["start", "metrics", "end"]), max_size=12),
    steps=st.lists(st.integers(0, 9), min_size=12, max_size=12),
    cuts=st.sets(st.integers(0, 12)),
)
def test_what_is_read_in_parts_is_what_is_read_at_once(tmp_path_factory, kinds, steps, cuts) -> None:
    run = tmp_path_factory.mktemp("run")
    times = [float(sum(steps[: place + 1])) for place in range(len(kinds))]
    entries, reader = list(zip(kinds, times, strict=True)), RunSeconds()
    for cut in sorted(cuts):
        write(run, entries[:cut])
        reader.of(run)
    write(run, entries)
    assert reader.of(run) == RunSeconds().of(run) == plain(entries)


def write(run: Path, entries: list[tuple[str, float]]) -> None:
    lines = [json.dumps({"kind": kind, "time": time}) + "\n" for kind, time in entries]
    (run / "journal.jsonl").write_text("".join(lines))

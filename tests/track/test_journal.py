"""The journal: what is written is read, a crash costs one line at most, a resumed run has one curve."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.track import journal
from sentalign.track.journal import Journal, follow, latest, metrics, read
from sharding.contract import UserError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "run") as book:
        book.append("start", run="a", config={"loss.t1": 4.0}, versions={"torch": "2"}, pairs=0)
        book.append("metrics", step=1, pairs=8, loss=1.5)
        book.append("end", status="finished")
    kinds = [entry["kind"] for entry in read(tmp_path / "run")]
    assert kinds == ["start", "metrics", "end"]
    assert read(tmp_path / "run")[1]["loss"] == 1.5


@pytest.mark.parametrize("torn", [b'{"kind":"met', b"\0" * 40, b"\0\0\n", b'{"kind":"metrics","pairs":16,"loss":1.0}'])
def test_a_torn_last_line_is_ignored_and_cut_off(tmp_path: Path, torn: bytes) -> None:
    with Journal(tmp_path) as book:
        book.append("metrics", step=1, pairs=8, loss=1.0)
    path = tmp_path / journal.JOURNAL_NAME
    path.write_bytes(path.read_bytes() + torn)
    assert [entry["pairs"] for entry in read(tmp_path)] == [8]
    with Journal(tmp_path) as book:
        book.append("metrics", step=2, pairs=16, loss=0.5)
    assert [entry.get("loss") for entry in read(tmp_path)] == [1.0, 0.5]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_damaged_line_in_the_middle_is_reported(tmp_path: Path) -> None:
    (tmp_path / journal.JOURNAL_NAME).write_text('{"kind":"end"}\nrubbish\n{"kind":"end"}\n')
    with pytest.raises(UserError, match="damaged at byte 15"):
        read(tmp_path)


def test_a_missing_journal_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder of a run"):
        read(tmp_path)


def test_a_resumed_run_has_one_curve(tmp_path: Path) -> None:
    with Journal(tmp_path) as book:
        book.append("start", pairs=0)
        for pairs in (8, 16, 24):
            book.append("metrics", pairs=pairs, loss=float(pairs))
    with Journal(tmp_path) as book:
        book.append("start", pairs=8)
        for pairs in (16, 32):
            book.append("metrics", pairs=pairs, loss=-float(pairs))
    curve = [(entry["pairs"], entry["loss"]) for entry in read(tmp_path) if entry["kind"] == "metrics"]
    assert curve == [(8, 8.0), (16, -16.0), (32, -32.0)]


def test_pictures_of_the_same_moment_all_stay(tmp_path: Path) -> None:
    with Journal(tmp_path) as book:
        book.append("picture", path="pictures/a.png", pairs=8)
        book.append("picture", path="pictures/b.png", pairs=8)
    assert len(read(tmp_path)) == 2


def test_follow_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with Journal(tmp_path) as book:
        book.append("metrics", pairs=8, loss=1.0)
        [(first, offset)] = follow(tmp_path)
        assert not list(follow(tmp_path, offset))
        book.append("metrics", pairs=16, loss=2.0)
        [(second, _)] = follow(tmp_path, offset)
    assert (first["pairs"], second["pairs"]) == (8, 16)


def test_metrics_carry_the_name_of_the_validation() -> None:
    entry = {
        "kind": "validation",
        "time": 1.0,
        "pairs": 8,
        "loss": 2,
        "validation/recall": 0.5,
        "ok": True,
        "note": "x",
    }
    assert metrics(entry) == {"validation/loss": 2.0, "validation/recall": 0.5}
    assert metrics({"kind": "metrics", "time": 1.0, "step": 1, "pairs": 8, "loss": 2}) == {"loss": 2.0}
    assert metrics({"kind": "end", "time": 1.0, "pairs": 8}) == {}


def test_a_loss_that_is_no_number_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path) as book:
        book.append("metrics", pairs=8, loss=math.nan)
    assert math.isnan(metrics(read(tmp_path)[0])["loss"])


def test_a_killed_writer_loses_no_finished_line(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sentalign.track.journal import Journal\n"
        "book = Journal(Path(sys.argv[1]))\n"
        "for pairs in range(10**9):\n"
        "    book.append('metrics', pairs=pairs, loss=0.0)\n"
        "    print(pairs, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    told = [int(writer.stdout.readline()) for _ in range(50)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    pairs = [entry["pairs"] for entry in read(tmp_path)]
    assert pairs == list(range(len(pairs)))
    assert len(pairs) > told


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["start", "metrics", "validation", "end"])},
        optional={"pairs": st.integers(0, 6), "loss": st.floats(allow_nan=False)},
    ),
    max_size=30,
)


@given(ENTRIES)
def test_latest_keeps_the_last_of_each_and_nothing_taken_back(entries: list[journal.Entry]) -> None:
    kept = latest(entries)
    keys = [(entry["kind"], entry["pairs"]) for entry in kept if "pairs" in entry]
    assert len(keys) == len(set(keys))
    starts = [n for n, entry in enumerate(entries) if entry["kind"] == "start" and "pairs" in entry]
    after = entries[starts[-1] :] if starts else entries
    for entry in after:
        if "pairs" in entry:
            last = [other for other in after if (other["kind"], other.get("pairs")) == (entry["kind"], entry["pairs"])]
            assert last[-1] in kept
    if starts:
        resumed_at = entries[starts[-1]]["pairs"]
        assert all(any(entry is new for new in after) or entry.get("pairs", 0) <= resumed_at for entry in kept)
    assert latest(kept) == kept


@settings(max_examples=50)
@given(entries=ENTRIES, cut=st.integers(0, 400))
def test_any_cut_leaves_a_readable_prefix(
    tmp_path_factory: pytest.TempPathFactory, entries: list[journal.Entry], cut: int
) -> None:
    run = tmp_path_factory.mktemp("run")
    with Journal(run) as book:
        for entry in entries:
            book.append(**entry)
    whole = [entry for entry, _ in follow(run)]
    path = run / journal.JOURNAL_NAME
    content = path.read_bytes()[: max(0, path.stat().st_size - cut)]
    path.write_bytes(content)
    Journal(run).close()
    left = [entry for entry, _ in follow(run)]
    assert left == whole[: len(left)]
    assert len(left) == content.count(b"\n")

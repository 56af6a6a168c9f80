"""The step that is tried before a sweep: its memory, its error, and that nothing of it is left."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sentalign.sweep.spec import sweep_file
from sentalign.sweep.trial import first_step
from tests.sweep.trial.test_point import plan

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]
MIB = 2**20
# Takes 200 MiB in a process of its own and 100 MiB in a child, and shares another 100 MiB with it.
HUNGRY = """
import os, sys, time
from pathlib import Path
from sentalign.config import load
from sentalign.track import journal
config = load(sys.argv[1], sys.argv[2:])
shared, ready = b"x" * (100 << 20), os.pipe()
if os.fork() == 0:
    own = b"y" * (100 << 20)
    os.write(ready[1], b"x")
    time.sleep(300)
own = b"z" * (200 << 20)
os.read(ready[0], 1)
time.sleep(1)
with journal.Journal(Path(config.run)) as book:
    book.append("metrics", step=1, pairs=config.data.batch, loss=1.0)
time.sleep(300)
"""


def test_memory_of_all_processes_counts_once(sweep_path: Write, running: Running, tmp_path: Path) -> None:
    script = tmp_path / "hungry.py"
    script.write_text(HUNGRY)
    of = plan(sweep_path(), (sys.executable, str(script)))
    found = first_step.run(of)
    assert found.error == ""
    own = found.memory / MIB - 400
    assert 0 < own < 350, "the interpreters, torch not included"
    assert found.host_memory <= psutil.virtual_memory().total
    assert found.seconds >= 1
    assert not (of.sweep.out / "first-step").exists()
    assert not running(of.sweep.out)


def test_the_error_is_one_line_and_the_log_stays(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    of = plan(sweep_path(), launcher, "loss.t2=13")
    found = first_step.run(of)
    log = of.sweep.out / "first-step" / "train.log"
    assert found.error == f"training ended with 1: error: thirteen is refused (see {log})"
    assert log.read_text().count("thirteen") == 1


def test_a_training_shorter_than_a_step_is_no_error(sweep_path: Write, tmp_path: Path) -> None:
    script = tmp_path / "short.py"
    write = "from sentalign.track.journal import Journal; from pathlib import Path; import sys\n"
    write += "run = Path([w for w in sys.argv if w.startswith('run=')][-1][4:].strip('\"'))\n"
    script.write_text(write + "with Journal(run) as book: book.append('end', status='finished')\n")
    assert first_step.run(plan(sweep_path(), (sys.executable, str(script)))).error == ""


def test_the_largest_batch_and_pictures_are_tried(sweep_path: Write) -> None:
    space = {
        "data.batch": {"choice": [4, 8, 6]},
        "train.micro_batch": {"choice": [0, 2]},
        "data.image_size": {"qrandint": [64, 128, 32]},
        "optimizer.lr": {"uniform": [0.1, 0.2]},
    }
    sweep = sweep_file.load(sweep_path(space=space))
    assert first_step.largest(sweep) == {"data.batch": 8, "train.micro_batch": 0, "data.image_size": 128}
    sweep = sweep_file.load(sweep_path(space={"train.micro_batch": {"choice": [2, 4]}}))
    assert first_step.largest(sweep) == {"train.micro_batch": 4}
    assert first_step.largest(sweep_file.load(sweep_path())) == {}


def test_a_container_bounds_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(first_step, "CONTAINER_LIMIT", limit)
    total = psutil.virtual_memory().total
    for text, expected in (("max", total), (str(2**30), 2**30), (str(2 * total), total)):
        limit.write_text(text + "\n")
        assert first_step.host_memory() == expected

"""A checkpoint as the beginning of another run: the same state, no best validation, and the source untouched."""

from __future__ import annotations

import pytest

from sentalign.checkpoint import checksums, fork, restore
from sharding.contract import UserError
from tests.checkpoint.test_write import progress, saved
from tests.engine.fake import Engine


@pytest.fixture
def run(tmp_path):
    saved(tmp_path / "run", 10, value=1)
    (tmp_path / "run" / "tokenizer").mkdir()
    (tmp_path / "run" / "tokenizer" / "words").write_text("a")
    return tmp_path / "run"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_fork_restores_what_was_saved_but_for_the_best_validation(run, tmp_path):
    before = contents(run)
    fork.keep(run, 10, run / "snapshots")
    kept = run / "snapshots" / fork.name_of(10)
    fork.fork(kept, run, tmp_path / "other" / "run")
    engine = Engine()
    restored = restore.restore(tmp_path / "other" / "run", engine)
    assert restored.best is None
    assert progress(10).best is not None
    assert restored == restore.Progress(**{**progress(10).__dict__, "best": None})
    assert (engine.module.weight == 1).all()
    assert (tmp_path / "other" / "run" / "tokenizer" / "words").read_text() == "a"
    assert {path: data for path, data in contents(run).items() if path.parts[0] != "snapshots"} == before


def test_a_kept_checkpoint_outlives_the_one_of_the_run(run, tmp_path):
    fork.keep(run, 10, run / "snapshots")
    fork.keep(run, 10, run / "snapshots")
    before = contents(run / "snapshots")
    saved(run, 20, value=2)
    saved(run, 30, value=3)
    assert contents(run / "snapshots") == before
    assert checksums.has_all_sizes(run / "snapshots" / fork.name_of(10))


def test_a_checkpoint_that_is_gone_is_one_line(run, tmp_path):
    with pytest.raises(UserError, match="is gone"):
        fork.fork(run / "checkpoints" / fork.name_of(99), run, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(OSError, match="pairs-000000000099"):
        fork.keep(run, 99, run / "snapshots")

"""A training configuration with shards, a sweep file and a stand-in for training, for all tests of the sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentalign.cli import main
from sentalign.sweep.spec import preflight, sweep_file
from sentalign.sweep.spec.preflight import Checked
from tests.processes import naming

# Writes a journal as training does, and resumes from its last checkpoint. `recall` is best at lr 0.1 and rises with the
# pairs; `loss` is multiplied by weight_local, as the real one. Starts a child of its own, as the launcher does, which
# would run for long, so that a leftover process is seen.
STAND_IN = """
import json, math, os, shutil, signal, subprocess, sys, time
from pathlib import Path
from sentalign.config import load
from sentalign.track import journal

config, run = load(sys.argv[1], sys.argv[2:]), None
run = Path(config.run)
pace = Path(__file__).with_name("seconds")  # a file, since nodes that run already have their environment
pause = float(pace.read_text() if pace.exists() else os.environ.get("STAND_IN_SECONDS", "0.1"))
if config.loss.t2 == 13:
    sys.exit("error: thirteen is refused")
if config.loss.t2 == 16:
    if not (run / "failed").exists():
        (run / "failed").touch()
        sys.exit("error: the first start")
    os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", config.run])
checkpoints = sorted((run / "checkpoints").glob("pairs-*"))
state = json.loads((checkpoints[-1] / "state.json").read_text())["progress"] if checkpoints else {}
done, recall = state.get("pairs", 0), state.get("recall", 0.0)
(run / "tokenizer").mkdir(parents=True, exist_ok=True)
every, total = config.train.validate_every_pairs, 24 * config.train.epochs
quality = 1 - abs(math.log10(config.optimizer.lr) + 1) / 4 + 0.01 * config.seed
with journal.Journal(run) as book:
    book.append("start", run=run.name, config=config.model_dump(mode="json"), pairs=done)
    for pairs in range(done + every, total + every, every):
        time.sleep(pause)
        book.append("metrics", step=pairs // every, pairs=pairs, loss=1.0)
        recall += (quality - recall) * (1 - 0.5 ** (every / 32))
        loss = config.loss.weight_local * (2 - recall)
        book.append("validation", pairs=pairs, loss=loss, recall=recall, side=1 - recall / 2)
        part, whole = run / "part", run / "checkpoints" / f"pairs-{pairs:012d}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        (part / "state.json").write_text(json.dumps({"progress": {"pairs": pairs, "recall": recall, "best": None}}))
        (part / "index.json").write_text("{}")
        whole.parent.mkdir(exist_ok=True)
        part.rename(whole)
        for old in sorted(whole.parent.iterdir())[:-config.train.keep_checkpoints]:
            shutil.rmtree(old)
        book.append("checkpoint", pairs=pairs)
        if config.loss.t2 == 15 and pairs == 24 and not (run / "fallen").exists():
            (run / "fallen").touch()
            os._exit(9)
    book.append("end", status="stopped" if config.loss.t2 == 14 else "finished")
"""


@pytest.fixture
def launcher(tmp_path: Path) -> tuple[str, ...]:
    """The command line of the stand-in."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    return (sys.executable, str(script))


@pytest.fixture(scope="session")
def phantom_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training pairs and a few for validation."""
    folder = tmp_path_factory.mktemp("sweep")
    made = ["--studies", "40", "--seed", "1", "--test-studies", "4", "--validation-studies", "12"]
    assert main(["phantom", str(folder / "phantoms"), *made]) == 0
    build = ["shard", "build", "mimic-cxr", str(folder / "phantoms"), "--out", str(folder / "shards"), "--size", "65"]
    assert main(build) == 0
    return folder / "shards"


@pytest.fixture
def sweep_path(tmp_path: Path, phantom_shards: Path) -> Callable[..., Path]:
    """Writes a base configuration and a sweep over it; named settings replace those of the sweep."""

    def write(training: dict[str, Any] | None = None, **changed: Any) -> Path:
        own: dict[str, Any] = {"run": str(tmp_path / "run"), "data": {"shards": str(phantom_shards), "batch": 8}}
        own |= {"track": {"uri": None}, "optimizer": {"lr": 1.0}}
        own["train"] = {"epochs": 3, "validate_every_pairs": 8}
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(own | (training or {})))
        sweep = {
            "base": "base.yaml",
            "out": str(tmp_path / "sweep"),
            "trials": 4,
            "space": {"optimizer.lr": {"loguniform": ["1e-3", 10]}},
            **changed,
        }
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        return tmp_path / "sweep.yaml"

    return write


def checked_of(path: Path, *words: str) -> Checked:
    """A checked sweep whose trainings are the stand-in's: 8 pairs an epoch, each with a validation."""
    return preflight.check(sweep_file.load(path, words))


@pytest.fixture
def running() -> Callable[[Path], list[str]]:
    """Command lines of living processes that name a folder."""

    return lambda folder: naming(f"{folder}/trials")

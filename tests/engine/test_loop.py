"""The loop on two real ranks with a real engine, real shards and injected faults; whole commands are in tests/e2e."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import signal
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from sentalign import config as configuration
from sentalign import dist
from sentalign.stream.dataset import Stream
from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import UserError
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import towers
from tests.stream.conftest import SENTENCES, tuples, write

BATCH, EPOCHS = 8, 2  # an epoch has two batches, and a validation too
TOTAL = EPOCHS * 2 * BATCH


class Recorder:
    """Loop callbacks that record their arguments; `sums` are hashes of model.safetensors at validations and bests."""

    def __init__(self, folder):
        self.folder, self.events, self.weights, self.sums, self.replaced = folder, [], None, {}, 0
        self.validated = None

    def start(self, pairs, total):
        self.events.append(("start", pairs))

    def step(self, pairs, metrics):
        self.events.append(("step", pairs))
        self.replaced += metrics["replaced"]

    def validation(self, pairs, metrics, weights):
        self.events.append(("validation", pairs))
        self.sums["validation", pairs] = self.sum(), metrics.get("loss")
        self.validated = weights

    def best(self, pairs, loss, weights):
        self.events.append(("best", pairs))
        assert self.validated is None or weights is self.validated, "the weights that were validated are kept"
        self.weights = {name: value.clone() for name, value in weights.items()}
        self.sums["best", pairs] = self.sum(), loss

    def saved(self, pairs):
        self.events.append(("saved", pairs))

    def stopped(self, pairs):
        self.events.append(("stopped", pairs))

    def of(self, kind):
        return [pairs for name, pairs in self.events if name == kind]

    def sum(self):
        file = self.folder / "model.safetensors"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


class Run:
    """One run by this rank: its config, engine and streams; `go` is the loop."""

    def __init__(self, folder, shards, data=None, **train):
        from sentalign.engine import build

        settings = {"epochs": EPOCHS, "validate_every_pairs": BATCH, "zero_stage": 1, "keep_checkpoints": 9} | train
        tree = {"run": str(folder), "seed": 3, "train": settings, "optimizer": {"lr": 3e-3, "schedule": "constant"}}
        tree["data"] = {"shards": shards, "batch": BATCH, "image_size": 32, "workers": 0, "max_tokens": 48}
        tree["model"] = {"width": 16, "text": {"backbone": {"hidden_size": 16}}}
        tree["data"] |= data or {}
        self.folder, self.config = folder, configuration.check(tree)
        words = sorted(set(" ".join(SENTENCES).replace(".", " .").split()))
        tokenizer = Tokenizer([*SPECIAL, *words], cased=True)
        arguments = (self.config.data, self.config.seed, dist.rank(), dist.ranks(), tokenizer)
        self.train, self.validation = (Stream(*arguments, split) for split in ("train", "validate"))
        self.engine, self.callbacks = build.build(towers(), self.config), Recorder(folder)
        # Calls of the image tower, counted, and a fault of the test's choice at one of them.
        self.training = self.validating = 0
        self.fault = lambda kind, number, images: images
        self.engine.module.image.register_forward_pre_hook(self._called)

    def _called(self, tower, inputs):
        self.training, self.validating = self.training + tower.training, self.validating + (not tower.training)
        kind, number = ("training", self.training) if tower.training else ("validating", self.validating)
        return (self.fault(kind, number, inputs[0]),)

    def go(self):
        from sentalign.engine import loop

        return loop.run(self.folder, self.engine, self.train, self.validation, self.config, self.callbacks)

    def refused(self):
        with pytest.raises(UserError) as error:
            self.go()
        return str(error.value)

    def state(self):
        from sentalign.checkpoint import full_state

        return plain(full_state.weights(self.engine))


def plain(tensors):
    return {name: value.numpy() for name, value in tensors.items()}


def signalled(kind, number, rank):
    """A fault: this process gets a stop request in its n-th forward pass of that kind."""

    def fault(seen, at, images):
        if (seen, at, dist.rank()) == (kind, number, rank):
            os.kill(os.getpid(), signal.SIGUSR1)
        return images

    return fault


def results(run, progress=None, **more):
    """What the test needs of a run, as plain values."""
    seen = run.callbacks
    return SimpleNamespace(
        events=seen.events, sums=seen.sums, validating=run.validating, state=run.state(), progress=progress, **more
    )


def scenarios(folder, shards):
    """Every scenario of this file, by name; one start of two ranks serves all of them."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build, loop

    build.init_ranks(2)
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("sentalign").addHandler(handler)
    done = {}

    def new(name, **train):
        warnings.clear()
        dist.barrier()
        return Run(folder / name, shards, **train)

    run = new("whole", ema_pairs=16.0)
    progress = run.go()
    average = plain(run.engine.average.state())
    done["whole"] = results(run, progress, average=average, weights=plain(run.callbacks.weights))

    run = new("plain")
    done["plain"] = results(run, run.go())

    for name, boxes in (("unvalidated", None), ("boxes-alone", "phantoms")):
        run = new(name)
        run.validation = None
        run.config = run.config.model_copy(update={"validation": configuration.Validation(boxes=boxes)})
        done[name] = results(run, run.go())

    run = new("nan")
    run.fault = lambda kind, n, images: images * math.nan if kind == "validating" and n in (1, 5) else images
    done["nan"] = results(run, run.go(), warnings=list(warnings))

    for name, kind, number in (
        ("in-validation", "validating", 3),
        ("in-step", "training", 2),
        ("at-end", "validating", 7),
    ):
        run = new(name)
        run.fault = signalled(kind, number, rank=1)
        done[name] = results(run, run.go())
        run = new(name)
        done[f"{name}, resumed"] = results(run, run.go())

    run = new("while-writing")
    save = loop.dual.save

    def signalled_save(target, *rest):
        save(target, *rest)
        if target == run.folder:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.dual.save = signalled_save
    done["while-writing"] = results(run, run.go())
    loop.dual.save = save

    run = new("full")
    if dist.rank() == 0:
        (folder / "full").mkdir()
        (folder / "full" / "checkpoints").write_text("in the way")
    dist.barrier()
    done["full"] = results(run, error=run.refused(), warnings=list(warnings))
    dist.barrier()
    if dist.rank() == 0:
        (folder / "full" / "checkpoints").unlink()
    run = new("full")
    done["full, resumed"] = results(run, run.go())

    run = new("no-weights")
    if dist.rank() == 0:
        (folder / "no-weights" / "model.safetensors.part").mkdir(parents=True)
    dist.barrier()
    done["no-weights"] = results(run, error=run.refused())

    for name, fast in (("clock", 0), ("clock-of-rank-1", 1)):
        minutes = 1e-9 if dist.rank() == fast else 1e9
        every = {"checkpoint_every_pairs": 10 * TOTAL, "validate_every_pairs": TOTAL}
        run = new(name, checkpoint_every_minutes=minutes, **every)
        done[name] = results(run, run.go())

    done["damaged"] = damaged(new("damaged"), folder)
    build.leave_ranks()
    return done


def damaged(run, folder):
    """One damaged image of each rank's first batch: the loop's count, and its end where the budget is 1.6 samples."""
    rows, _ = next(run.train.batches(run.train.start()))
    everyone = [None, None]
    torch.distributed.all_gather_object(everyone, rows.keys[0])
    samples = tuples(16)
    place = folder / "damaged-shards"
    if dist.rank() == 0:
        write(place, [*samples, *tuples(16, "validate")], per_shard=16)
        content = bytearray((place / "shard-000000.tar").read_bytes())
        for sample in samples:
            if sample.key in everyone:
                start = content.index(sample.image, content.index(f"{sample.key}.png".encode()))
                content[start + 20] ^= 0xFF
        (place / "shard-000000.tar").write_bytes(content)
    dist.barrier()
    many = Run(folder / "replaced", str(place), {"on_damage": "replace", "damage_budget": 1.0})
    many.go()
    few = Run(folder / "refused", str(place), {"on_damage": "replace", "damage_budget": 0.1})
    stopped = Run(folder / "budget", str(place), {"on_damage": "replace", "damage_budget": 1.0})
    stopped.fault = signalled("training", 2, rank=1)
    stopped_at = stopped.go()
    # 3.5 samples at the end: more than those of the second epoch alone, less than those of both.
    resumed = Run(folder / "budget", str(place), {"on_damage": "replace", "damage_budget": 0.11})
    return SimpleNamespace(
        stopped_at=(stopped_at.pairs, stopped_at.replaced),
        resumed=resumed.refused(),
        keys=everyone,
        of_rank=many.train.replaced,
        of_all=many.callbacks.replaced,
        error=few.refused(),
        events=few.callbacks.events,
    )


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The results of all scenarios, per rank."""
    folder = tmp_path_factory.mktemp("loop")
    shards = write(folder / "shards", [*tuples(16), *tuples(16, "validate")], per_shard=16)
    return on_ranks(2, scenarios, folder, shards), folder


def both(ranks, name):
    """The scenario's results of rank 0; the ranks saw the same events."""
    one, other = (rank[name] for rank in ranks[0])
    assert one.events == other.events
    return one


def equal(one, other):
    return one.keys() == other.keys() and all((value == other[name]).all() for name, value in one.items())


def test_a_run_validates_and_saves_where_it_should(ranks):
    run = both(ranks, "whole")
    assert run.events[0] == ("start", 0)
    steps = [8, 16, 24, 32]
    for kind in ("step", "validation", "saved"):
        assert [pairs for name, pairs in run.events if name == kind] == steps
    losses = [run.sums["validation", pairs][1] for pairs in steps]
    best = [pairs for pairs, loss in zip(steps, losses, strict=True) if loss == min(losses[: pairs // BATCH])]
    assert [pairs for name, pairs in run.events if name == "best"] == best
    assert (run.progress.pairs, run.progress.best) == (TOTAL, min(losses))


def test_the_averaged_weights_are_kept_and_the_trained_ones_saved(ranks):
    run, folder = both(ranks, "whole"), ranks[1] / "whole"
    kept = plain(load_file(folder / "model.safetensors"))
    assert equal(kept, run.weights), "callbacks got what was written"
    best = [pairs for name, pairs in run.events if name == "best"]
    assert best[-1] == TOTAL, "the average at the end is compared"
    assert all((kept[name] == value).all() for name, value in run.average.items())
    saved = load_file(folder / f"checkpoints/pairs-{TOTAL:012d}/model.safetensors")
    assert equal(plain(saved), run.state)
    assert not equal(kept, run.state)
    assert equal(run.state, both(ranks, "plain").state), "an average does not change the training"


def test_without_a_validation_split_there_are_validations_only_for_boxes(ranks):
    alone, boxes = (both(ranks, name) for name in ("unvalidated", "boxes-alone"))
    assert [event for event in boxes.events if event[0] != "validation"] == alone.events
    assert [pairs for kind, pairs in boxes.events if kind == "validation"] == [8, 16, 24, 32]
    assert [boxes.sums["best", pairs][1] for pairs in (8, 16, 24, 32)] == [None] * 4, "the last weights are kept"


def test_a_validation_loss_that_is_nan_is_never_the_best(ranks):
    run = both(ranks, "nan")
    losses = {pairs: run.sums["validation", pairs][1] for pairs in (8, 16, 24, 32)}
    assert [pairs for pairs, loss in losses.items() if math.isnan(loss)] == [8, 24], "the fault did not happen"
    assert ("best", 8) not in run.events
    assert ("best", 16) in run.events, "the first finite loss is the best so far"
    assert ("best", 24) not in run.events
    kept, after = run.sums["best", 16][0], run.sums["validation", 32][0]
    assert kept == after, "the weights of 16 pairs were overwritten after a NaN"
    assert (("best", 32) in run.events) == (losses[32] < losses[16])
    assert [line for line in run.warnings if "validation loss after 8 pairs is nan" in line]
    assert [line for line in run.warnings if "validation loss after 24 pairs is nan" in line]
    assert math.isfinite(run.progress.best)


@pytest.mark.parametrize(
    ("name", "pairs", "validating"), [("in-validation", 16, 3), ("in-step", 16, 2), ("at-end", TOTAL, 7)]
)
def test_a_stop_request_to_one_rank_stops_both_with_a_checkpoint(ranks, name, pairs, validating):
    run = both(ranks, name)
    assert run.events[-2:] == [("saved", pairs), ("stopped", pairs)]
    assert ("validation", pairs) not in run.events, "it was left early, or not begun"
    assert [rank[name].validating for rank in ranks[0]] == [validating] * 2, "both left before the same batch"
    assert run.progress.pairs == pairs != run.progress.validated
    again = both(ranks, f"{name}, resumed")
    assert again.events[:2] == [("start", pairs), ("validation", pairs)], "the validation runs again"
    assert ("stopped", TOTAL) not in again.events
    assert (again.progress.pairs, again.progress.validated) == (TOTAL, TOTAL)
    whole = both(ranks, "plain")
    assert equal(again.state, whole.state)
    assert again.progress == whole.progress


def test_a_stop_request_while_the_best_weights_are_written_stops_before_the_next_step(ranks):
    run = both(ranks, "while-writing")
    kinds = ["start", "step", "validation", "best", "saved", "stopped"]
    assert run.events == [(kind, 0 if kind == "start" else BATCH) for kind in kinds]
    assert run.progress.validated == BATCH


def test_one_failed_save_is_a_warning_and_the_second_ends_the_run(ranks):
    run = both(ranks, "full")
    assert [event for event in run.events if event[0] in ("step", "saved")] == [("step", 8), ("step", 16)]
    assert [line for line in run.warnings if "the checkpoint of 8 pairs was not written" in line]
    assert "the checkpoint of 16 pairs was not written" in run.error
    again = both(ranks, "full, resumed")
    assert again.events[0] == ("start", 0), "there is no checkpoint to resume from"
    assert ("saved", TOTAL) in again.events


def test_best_weights_that_cannot_be_written_end_the_run_on_all_ranks(ranks):
    errors = {rank["no-weights"].error for rank in ranks[0]}
    assert len(errors) == 1
    assert errors.pop().startswith(f"cannot write the weights to {ranks[1] / 'no-weights'} (")


def test_checkpoints_by_the_clock_of_rank_0(ranks):
    for name, pairs in (("clock", [8, 16, 24, 32]), ("clock-of-rank-1", [32])):
        assert [pairs for kind, pairs in both(ranks, name).events if kind == "saved"] == pairs


def test_damaged_samples_are_counted_over_all_ranks(ranks):
    run = both(ranks, "damaged")
    assert len(set(run.keys)) == 2
    counts = [rank["damaged"].of_rank for rank in ranks[0]]
    assert min(counts) > 0, "each rank read a damaged sample"
    assert [rank["damaged"].of_all for rank in ranks[0]] == [sum(counts)] * 2
    assert run.error == ranks[0][1]["damaged"].error
    assert run.stopped_at == (16, 2)
    assert re.match("[34] samples could not be read", run.resumed), "a resumed run counts the samples of before too"
    assert run.error.startswith("2 samples could not be read and data.damage_budget=0.1 of an epoch is allowed")


def due(every, batch, total):
    from sentalign.engine.loop import _due

    return [pairs for pairs in range(0, total + 1, batch) if _due(pairs, batch, every, total)]


def test_due_by_hand():
    # Batches of 10, every 25 pairs, 60 in all: after the steps that cross 25, 50 and at the end.
    assert due(25, 10, 60) == [30, 50, 60]
    assert due(20, 10, 40) == [20, 40]
    assert due(1, 10, 30) == [10, 20, 30]
    assert due(1000, 10, 30) == [30]


@given(st.integers(1, 50), st.integers(1, 200), st.integers(1, 40))
def test_due_as_often_as_multiples_are_crossed(batch, every, steps):
    total = batch * steps
    crossed = {-(-multiple // batch) for multiple in range(every, total + 1, every)}
    assert len(due(every, batch, total)) == len(crossed | {steps})

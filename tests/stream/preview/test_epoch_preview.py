"""`sentalign plan`: its numbers against the stream's own, its output, its errors, and what it must not import."""

import json
import subprocess
import sys

import pytest
import yaml

from sentalign import cli
from sentalign.config import Config
from sentalign.stream.dataset import Stream
from sentalign.stream.order.limit_duplicates import surplus
from sentalign.stream.preview.cli import _count, _size, batch_sizes
from sentalign.stream.preview.epoch_preview import MIN_BATCHES, SAMPLED, _sampled_steps, preview
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.open_data import open_mixture
from sharding.contract import UserError
from tests.stream.conftest import tuples, write


@pytest.fixture(scope="module")
def both(make_shards):
    """Two data sets; one of them has samples without text, in shares of 1 to 3."""
    return [{"url": make_shards(11), "weight": 1}, {"url": make_shards(45, silent=(1, 5)), "weight": 3}]


def config(shards, **data):
    return Config.model_validate({"run": "unused", "data": {"shards": shards, "batch": 8, **data}})


def as_a_store(monkeypatch):
    """Folders count as remote stores."""
    monkeypatch.setattr(Shards, "local", property(lambda self: False, lambda self, value: None), raising=False)


@pytest.fixture
def file(tmp_path, shards):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"run": "unused", "data": {"shards": shards, "batch": 8, "block": 4}}))
    return path


def test_account_adds_up_and_is_that_of_the_stream(both, tokenizer):
    found = preview(config(both), [], 1, 1)
    stream = Stream(config(both).data, 0, 0, 1, tokenizer, "train")
    assert found["epoch"] == {"batches": stream.epoch_batches, "pairs": stream.epoch_batches * 8}
    for one, url in zip(found["data_sets"], both, strict=True):
        assert one["url"] == url["url"]
        assert one["samples"] == one["used"] + sum(one["dropped"].values())
    assert [one["dropped"]["without text"] for one in found["data_sets"]] == [0, 2]
    assert [one["dropped"]["less than a batch"] for one in found["data_sets"]] == [1, 1]
    assert [one["lanes"] for one in found["data_sets"]] == [2, 6]
    assert [one["passes"] for one in found["data_sets"]] == [7 / 5, 1]


def test_samples_of_other_splits_are_counted(tmp_path):
    """20 of the split of which one has no text, 9 of another."""
    url = write(tmp_path / "shards", [*tuples(20, silent=(3,)), *tuples(9, "validate")])
    (one,) = preview(config(url), [], 1, 1)["data_sets"]
    assert (one["samples"], one["used"]) == (29, 16)
    assert one["dropped"] == {"other splits": 9, "without text": 1, "less than a batch": 3}
    with pytest.raises(UserError, match="no sample with text in split 'test'"):
        preview(config(url, train_split="test"), [], 1, 1)


def test_orders_that_are_compared(shards):
    found = preview(config(shards, block=1, max_duplicates=1, duplicate_keys=["patient"]), [4, 8], 2, 1)
    for one in found["collisions"]:
        assert list(one["orders"]) == ["planned", "max_duplicates=0", "full shuffle"]
        assert one["sampled"] == one["batches"] == 2 * (48 // one["batch"])
        planned, unbound, shuffle = (one["orders"][name] for name in one["orders"])
        assert planned["patient"]["pairs"] == 0 < unbound["patient"]["pairs"]
        assert 0 < shuffle["shard"]["share"] <= 1
    plain = preview(config(shards, block=1), [8], 1, 1)["collisions"][0]
    assert list(plain["orders"]) == ["planned", "full shuffle"]
    assert plain["orders"]["planned"] == plain["orders"]["full shuffle"]
    assert "too_many" not in plain


def test_surplus_is_shown_with_what_no_order_could_limit(shards):
    settings = config(shards, max_duplicates=1, duplicate_keys=["text"])
    (one,) = preview(settings, [8], 1, 1)["collisions"]
    mixture = open_mixture(settings.data, "train", 0)
    # Five texts stand in eight lanes: some text is always there twice.
    every = surplus(
        mixture.epoch(0, 0).lanes_PB, mixture.data_sets[0].duplicate_groups(settings.data.duplicate_keys), 1
    )
    assert one["too_many"]["unmet"] + one["too_many"]["unboundable"] == every > 0
    assert one["too_many"]["unboundable"] > 0
    (roomy,) = preview(config(shards, max_duplicates=8), [8], 1, 1)["collisions"]
    assert roomy["too_many"] == {"unmet": 0, "unboundable": 0}


def test_workers_share_the_reading(shards):
    found = preview(config(shards, workers=2), [8], 1, 4)["reads"]
    assert (found["ranks"], found["workers"]) == (4, 8)
    assert found["local"]
    assert found["bytes_again_after_a_restart"] == 0
    for name in ("requests", "bytes"):
        least, most = found[f"{name}_of_a_worker"]
        assert least <= found[name] / 8 <= most


def test_of_many_batches_some_are_sampled_from_end_to_end():
    assert _sampled_steps(5, 1024).tolist() == [0, 1, 2, 3, 4]
    looked = _sampled_steps(100_000, 64)
    assert len(looked) == SAMPLED // 64
    assert looked[0] == 0
    assert looked[-1] >= 100_000 - 2 * 100_000 // len(looked)
    assert len(_sampled_steps(100, SAMPLED)) == MIN_BATCHES


def test_reads_of_a_store_and_lanes_of_a_mixture_are_shown(both, tmp_path, monkeypatch, capsys):
    as_a_store(monkeypatch)
    file = tmp_path / "mixed.yaml"
    file.write_text(yaml.safe_dump({"run": "unused", "data": {"shards": both, "batch": 8, "block": 4, "workers": 1}}))
    assert cli.main(["plan", str(file), "--ranks", "2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "10 of 11 samples in 2 of 8 lanes, 1.4 times" in out
    assert "left out: 2 without text, 1 less than a batch" in out
    found = preview(config(both, block=4, workers=1), [8], 1, 2)["reads"]
    assert f"in {found['requests']} requests, {found['amplification']:.3f} bytes for a byte of a sample" in out
    assert "a worker (2 ranks, 2 workers in all)" in out
    assert "a restart fetches at most" in out
    assert "data.cache" not in out
    assert cli.main(["plan", str(file), f"data.cache={tmp_path / 'deep' / 'cache'}"]) == 0
    assert "with data.cache 0 bytes in whole shards" not in capsys.readouterr().out
    assert not (tmp_path / "deep").exists(), "a preview makes nothing"


def test_restart_of_a_remote_run_fetches_no_more_than_there_is(shards, monkeypatch):
    as_a_store(monkeypatch)
    found = preview(config(shards, prefetch_mb=1), [8], 1, 1)["reads"]
    assert 0 < found["bytes_again_after_a_restart"] <= found["bytes"]


def test_json_is_what_a_program_reads(file, capsys):
    assert cli.main(["plan", str(file), "--json", "data.max_duplicates=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["max_duplicates"] == 1
    assert [one["batch"] for one in found["collisions"]] == [8]


def test_tables_fit_a_hundred_columns(file, capsys):
    assert cli.main(["plan", str(file), "--batches", "4,48", "data.max_duplicates=1"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in out
    assert not err
    assert [line.split()[0] for line in lines if " planned " in line] == ["4", "48"]
    assert "  6 batches of 8, 48 pairs" in lines
    assert any(line.startswith("Batch 4: limit kept except for ") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batches", "64,x"], "--batches 64,x: give whole numbers from 2 on"),
        (["--batches", "1"], "give whole numbers from 2 on"),
        (["--batches", "64"], "has 48 samples with text, a batch of 64 takes 64 of them"),
        (["--epochs", "0"], "--epochs and --ranks must be 1 or more"),
        (["--ranks", "3"], "data.batch 8 does not divide by 3 ranks"),
        (["data.batch=100"], "a batch of 100 takes 100 of them; choose a smaller batch"),
        (["data.shards=/nowhere"], "/nowhere: no such folder"),
        (["data.colour=red"], "there is no such setting"),
    ],
)
def test_a_mistake_is_one_line(file, words, message, capsys):
    assert cli.main(["plan", str(file), *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert err.count("\n") == 1


def test_neither_torch_nor_deepspeed_is_loaded(file):
    code = (
        "import sys; from sentalign import cli; code = cli.main(sys.argv[1:]); "
        "sys.exit(code or ' '.join(sys.modules.keys() & {'torch', 'deepspeed', 'transformers', 'mlflow'}) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code, "plan", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "full shuffle" in done.stdout


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(["plan", "--help"])
    assert "sentalign plan configs/paper.yaml data.max_duplicates=1 --ranks 8 --json" in capsys.readouterr().out


def test_batch_sizes_once_each_in_order():
    assert batch_sizes("128, 64,128") == [64, 128]
    assert batch_sizes("") == []


def test_numbers_are_short():
    assert [_count(n) for n in (0, 9.994, 9.996, 9999, 12345, 999_499, 12e6)] == [
        *("0.00", "9.99", "10", "9,999", "12k", "999k", "12M")
    ]
    assert [_size(n) for n in (0, 999, 1000, 1.234e7, 5e13)] == ["0 bytes", "999 bytes", "1 kB", "12.3 MB", "50 TB"]

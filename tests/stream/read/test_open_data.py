"""Opening the data of a run over a real S3 server: what it reads before the first batch, counted."""

import re
from collections import Counter
from pathlib import Path

import pytest

from sentalign import config, train
from sentalign.stream.read import fetch, manifest_index
from sentalign.stream.read.fetch import Shards
from sharding.contract import MANIFEST_NAME, UserError
from sharding.store import locations
from tests.servers import use_s3
from tests.stream.conftest import SENTENCES, tuples, write


@pytest.fixture
def folder(tmp_path):
    """5 shards of up to 60 samples, validation samples in the last two."""
    return Path(write(tmp_path / "shards", [*tuples(200), *tuples(80, "validate")], 60))


@pytest.fixture
def far(folder, s3, line, monkeypatch):
    """The same in a bucket, behind a proxy that counts."""
    for file in sorted(folder.iterdir()):
        locations.open_store(f"{s3}/set").put(file.name, file.read_bytes())
    use_s3(monkeypatch, line.url)
    return f"{s3}/set"


def of(url, run):
    """The settings of a run with its vocabulary from the training sentences."""
    return config.check({"run": str(run), "data": {"shards": url, "batch": 8, "workers": 0}, "track": {"uri": None}})


def requests(line):
    """The number of requests for each file."""
    return Counter(re.search(r"[^/?]+(?=\?|$)", request.split()[1])[0] for request in line.requests)


def test_a_run_reads_the_manifest_once_and_sentences_in_large_requests(far, folder, line, tmp_path):
    """Not a request for each of the 200 reports, nor a manifest for the tokenizer, each stream and each count."""
    settings = of(far, tmp_path / "run")
    (tmp_path / "run").mkdir()
    tokenizer = train.tokenizer_of(tmp_path / "run", settings)
    counts = requests(line)
    assert sum(count for name, count in counts.items() if name.endswith(".tar")) == 4
    _, validation = train.streams_of(settings, tokenizer)
    assert validation is not None
    read = [request for request in line.requests if MANIFEST_NAME in request]
    assert Counter(request.split()[0] for request in read) == {"HEAD": 1, "GET": 1}
    near = train.tokenizer_of(tmp_path / "other", of(str(folder), tmp_path / "other"))
    assert tokenizer.vocabulary == near.vocabulary
    assert len(tokenizer.vocabulary) > 30


@pytest.mark.parametrize("piece", [1, 3000, 10**9])
def test_sentences_of_a_store_are_all_sentences_whatever_the_size_of_a_request(far, folder, monkeypatch, piece):
    monkeypatch.setattr(fetch, "PIECE", piece)
    expected = Counter(text for i in range(200) for text in SENTENCES[: 1 + i % 5])
    assert Counter(Shards(far, "train").sentences()) == expected
    assert Counter(Shards(str(folder), "train").sentences()) == expected


def test_a_damaged_report_is_named(folder):
    shard = folder / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes().replace(b"pneumothorax", b"pneumothorxa", 1))
    with pytest.raises(UserError, match=r"shard-000001\.tar is damaged: the checksum of the json of sample train-00"):
        list(Shards(str(folder), "train").sentences())


def test_a_new_process_reads_the_manifest_again(folder):
    """In one process a data set is what it was when it was opened."""
    first = Shards(str(folder), "train")
    write(folder, tuples(100))
    assert Shards(str(folder), "train").fingerprint == first.fingerprint
    manifest_index.read_index.cache_clear()
    assert Shards(str(folder), "train").fingerprint != first.fingerprint


def test_a_manifest_that_could_not_be_read_is_tried_again(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match=MANIFEST_NAME):
        Shards(str(tmp_path / "set"), "train")
    write(tmp_path / "set", tuples(10))
    assert len(Shards(str(tmp_path / "set"), "train")) == 10

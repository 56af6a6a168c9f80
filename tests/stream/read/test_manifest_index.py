"""Manifests from anywhere: no name leads out of the data set, no number allocates memory that no sample needs."""

import json
import shutil
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.manifest_index import read_index
from sharding.contract import MANIFEST_NAME, UserError

NUMBERS = ("image_offset", "image_bytes", "json_offset", "json_bytes")
ANYWHERE = ("../shard-000000.tar", "/etc/shard-000000.tar", "s3://other/shard-000000.tar", "file:///etc/passwd")
NAMES = (*ANYWHERE, "shard-000000.tar/../x", "shard-000000.tar\n", "pipe:cat shard-000000.tar", "", "manifest.parquet")


@pytest.fixture(scope="module")
def folder(shards, tmp_path_factory):
    """A copy of the shards whose manifest a test may change."""
    return Path(shutil.copytree(shards, tmp_path_factory.mktemp("sound") / "copy"))


@pytest.fixture
def edited(shards, folder):
    """edited(change) -> the folder, its manifest changed by change(rows, metadata)."""

    def edit(change):
        table = pq.read_table(Path(shards) / MANIFEST_NAME)
        rows = table.to_pylist()
        metadata = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}
        change(rows, metadata)
        encoded = {key: json.dumps(value) for key, value in metadata.items()}
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema.with_metadata(encoded)), folder / MANIFEST_NAME)
        read_index.cache_clear()  # as in a new process
        return str(folder)

    return edit


def refused(url):
    read_index.cache_clear()  # as in a new process
    with pytest.raises(UserError) as error:
        Shards(url, "train")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("described", [False, True])
def test_a_shard_elsewhere_is_refused(edited, name, described):
    def change(rows, metadata):
        rows[0]["shard"] = name
        if described:
            metadata["shards"][name] = metadata["shards"]["shard-000000.tar"]

    message = refused(edited(change))
    assert "names a shard outside of the data set" in message if described else "does not describe" in message
    assert name.strip() not in message or name in ("", "manifest.parquet")


@pytest.mark.parametrize("sha256", ["../../x", "/etc/passwd", "A" * 64, "", None, "0" * 63])
def test_a_digest_that_is_no_file_name_is_refused(edited, sha256):
    url = edited(lambda rows, metadata: metadata["shards"]["shard-000001.tar"].update(sha256=sha256))
    assert "describes its shards in another form" in refused(url)


@pytest.mark.parametrize("size", [-1, 1 << 60, 1.5, "1", None, True])
def test_a_size_that_no_shard_has_is_refused(edited, size):
    refused(edited(lambda rows, metadata: metadata["shards"]["shard-000001.tar"].update(bytes=size)))


@pytest.mark.parametrize("other", [[], None, 3, {"shard-000000.tar": None}, {}])
def test_shards_of_another_shape_are_refused(edited, other):
    refused(edited(lambda rows, metadata: metadata.update(shards=other)))


@pytest.mark.parametrize("key", ["train-0000\n", "../x", "", "Patient Name", "a\x1b[2J"])
def test_a_key_that_no_build_writes_is_refused(edited, key):
    message = refused(edited(lambda rows, metadata: rows[0].update(key=key)))
    assert "has a key that no build writes" in message


@pytest.mark.parametrize("column", ["key", "shard", "image_member", "image_offset", "json_sha256", "text_hashes"])
def test_an_empty_field_is_refused(edited, column):
    assert f"has empty fields in {column}" in refused(edited(lambda rows, metadata: rows[0].update({column: None})))


@pytest.mark.parametrize("column", ["split", "patient", "image_member"])
def test_bytes_that_are_no_text_are_refused(shards, folder, column):
    table = pq.read_table(Path(shards) / MANIFEST_NAME)
    words = pa.array([b"\xff\xfe"] * len(table), pa.binary()).view(pa.string())
    bad = table.set_column(table.column_names.index(column), table.schema.field(column), words)
    pq.write_table(bad, folder / MANIFEST_NAME)
    assert "holds text that is not UTF-8" in refused(str(folder))


def test_a_report_with_an_empty_hash_is_refused(edited):
    assert "empty fields in text_hashes" in refused(edited(lambda rows, _: rows[3].update(text_hashes=[None])))


def test_metadata_of_endless_depth_is_refused(shards, folder):
    table = pq.read_table(Path(shards) / MANIFEST_NAME)
    deep = {**table.schema.metadata, b"settings": b"[" * 100_000}
    pq.write_table(table.replace_schema_metadata(deep), folder / MANIFEST_NAME)
    assert "is damaged or not a manifest" in refused(str(folder))


@pytest.mark.parametrize("column", NUMBERS)
@pytest.mark.parametrize("number", [-1, -(1 << 63), 1 << 40, (1 << 63) - 1])
def test_a_place_outside_of_the_shard_is_refused(edited, column, number):
    assert "has a member" in refused(edited(lambda rows, metadata: rows[0].update({column: number})))


def test_members_far_apart_are_refused(edited):
    """A span over a whole shard would be read for each sample."""

    def change(rows, metadata):
        metadata["shards"]["shard-000000.tar"]["bytes"] = 1 << 40
        rows[0]["json_offset"] = 1 << 39

    assert "too large, or not next to each other" in refused(edited(change))


def test_a_size_that_the_file_has_not_takes_no_memory(edited):
    def change(rows, metadata):
        metadata["shards"]["shard-000000.tar"]["bytes"] = 1 << 30
        rows[0].update(image_bytes=900 << 20, json_offset=512 + (900 << 20))

    found = Shards(edited(change), "train")
    tracemalloc.start()
    with pytest.raises(UserError, match=r"shard-000000\.tar is damaged"):
        found.read(0)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


numbers = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-2000, 20000))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(NUMBERS), numbers, min_size=1), name=st.sampled_from((*NAMES, None)))
def test_any_row_is_refused_or_damaged_or_right(edited, shards, changes, name):
    """Whatever a row holds: one line, or the sample as it was written."""
    right = Shards(shards, "train").read(0)
    url = edited(lambda rows, metadata: rows[0].update(changes | ({"shard": name} if name is not None else {})))
    try:
        sample = Shards(url, "train").read(0)
    except UserError as error:
        message = str(error)
    else:
        message = ""
        assert (sample.key, sample.sentences) == (right.key, right.sentences)
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"{", b"[" * 100_000, b'{"sentences": 3}', b'{"sentences": [{}]}', b"\xff\xfe"]
    + [
        b'{"sentences": [{"text": 1, "tags": [], "hash": "x"}]}',
        b'{"sentences": [{"text": "a", "tags": 5, "hash": ""}]}',
    ]
    + [b'{"sentences": [{"text": "a", "tags": [[]], "hash": ""}]}', b'{"sentences": []}']
    + [
        b'{"sentences": [{"text": "%s", "tags": [%s], "hash": "%s"}]}' % (text, tag, digest)
        for text, tag, digest in [
            (b"\\ud800", b"", b"0" * 64),
            (b"a", b'"no tag"', b"0" * 64),
            (b"a", b"", b"x" * 64),
            (b"a", b"", b"0" * 63),
        ]
    ],
)
def test_a_report_of_another_shape_is_damage(shards, text):
    from sentalign.stream.read.byte_ranges import DamagedError
    from sentalign.stream.read.fetch import parse_sentences

    with pytest.raises(DamagedError, match="its json member holds no sentences"):
        parse_sentences("sample a of b", text)

"""Wrong values of a manifest, a quarantine or an audit are counted, and never quoted."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharding import manifest
from sharding.build.quarantine import QUARANTINE_SCHEMA
from sharding.contract import MANIFEST_SCHEMA, SHARD_NAME
from sharding.store.locations import open_store
from sharding.verify import verify_table

ROW = {
    **{"key": "0" * 24, "shard": "shard-000000.tar", "image_member": "jpg", "image_offset": 512, "image_bytes": 9},
    **{"image_sha256": "a" * 64, "json_offset": 1536, "json_bytes": 9, "json_sha256": "b" * 64, "width": 3},
    **{"height": 4, "image_likeness": "7" * 96, "view": "PA", "patient": "1" * 16, "study": "2" * 16},
    **{"split": "train", "sentence_count": 1, "text_hashes": ["c" * 64]},
}
SHARDS = {"shard-000000.tar": {"sha256": "d" * 64, "bytes": 10240, "samples": 1}}
COUNTS = {"read": 2, "samples": 1, "sentences": 1, "rejected": {"parse": 1}, "splits": {"train": 1}}
REJECTED = {"id": "3" * 24, "stage": "header", "reason": "parse", "message": "not an image"}


def manifest_with(rows=(ROW,), shards=None, counts=COUNTS):
    metadata = {"settings": {}, "shards": SHARDS if shards is None else shards, "counts": counts}
    return manifest.Manifest(pa.Table.from_pylist(list(rows), schema=MANIFEST_SCHEMA), metadata, "")


def test_what_a_build_writes_is_valid():
    assert verify_table.faults_of_metadata(manifest_with().metadata) == []
    assert verify_table.faults_of_rows(manifest_with()) == []
    assert verify_table.faults_of_counts(manifest_with()) == []
    empty = manifest_with((), {}, {"read": 0, "samples": 0, "rejected": {}})
    assert verify_table.faults_of_rows(empty) + verify_table.faults_of_counts(empty) == []


@pytest.mark.parametrize("like", ["", "0123456789abcdef" * 6])
def test_a_fingerprint_may_be_empty(like):
    assert verify_table.faults_of_rows(manifest_with([ROW | {"image_likeness": like}])) == []


@pytest.mark.parametrize(
    "change",
    [
        *({name: "Doe^Jane"} for name in verify_table.PATTERNS if name != "key"),
        *({name: "a" * 64 + "\n"} for name in ("image_sha256", "json_sha256")),
        *({name: least - 1} for name, (least, _) in verify_table.RANGES.items()),
        {"sentence_count": 2},
        {"text_hashes": ["Jane"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_value_of_another_kind_is_a_fault(change):
    faults = verify_table.faults_of_rows(manifest_with([ROW | change]))
    assert faults == [f"manifest.parquet: wrong values of {next(iter(change))} (1); build the data set again"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"image_bytes": 2**62}, "has a member outside of any shard"),
        ({"json_bytes": 2**62}, "has a member outside of any shard"),
        ({"json_offset": 10240}, "has a member beyond the end of its shard"),
        ({"shard": "shard-000001.tar"}, "has samples in a shard that it does not describe"),
        ({"key": "Doe^Jane"}, "has a key that no build writes"),
    ],
)
def test_what_no_reader_could_follow_is_a_fault(change, fault):
    assert verify_table.faults_of_rows(manifest_with([ROW | change])) == [
        f"manifest.parquet: {fault}; build the data set again"
    ]


@pytest.mark.parametrize("number", [999_999, 1_000_000])
def test_every_shard_name_of_a_build_is_valid_for_verify_and_for_training(number):
    name = SHARD_NAME.format(number)
    described = manifest_with([ROW | {"shard": name}], {name: SHARDS["shard-000000.tar"]})
    assert verify_table.faults_of_metadata(described.metadata) + verify_table.faults_of_rows(described) == []
    assert list(manifest.faults(described)) == []


@pytest.mark.parametrize(
    "name", ["shard-0000000000000.tar", "shard-00000.tar", "../shard-000000.tar", "shard-000000.tar\n"]
)
def test_verify_and_training_refuse_the_same_shard_names(name):
    """A name of 13 digits was valid for verify alone."""
    described = manifest_with([ROW | {"shard": name}], {name: SHARDS["shard-000000.tar"]})
    assert len(verify_table.faults_of_metadata(described.metadata)) == 1
    assert "names a shard outside of the data set" in next(manifest.faults(described))


@pytest.mark.parametrize("change", [{name: None} for name in ROW] + [{"text_hashes": [None]}])
def test_an_empty_field_is_a_fault(change):
    assert "empty fields" in verify_table.faults_of_rows(manifest_with([ROW | change]))[0]


@pytest.mark.parametrize(
    "counts",
    [
        COUNTS | {"samples": 2},
        COUNTS | {"read": 3},
        COUNTS | {"rejected": {"parse": 2}},
        COUNTS | {"sentences": 5},
        COUNTS | {"splits": {"test": 1}},
    ],
)
def test_counts_that_differ_from_the_rows_are_a_fault(counts):
    assert verify_table.faults_of_counts(manifest_with(counts=counts))


def test_a_key_twice_is_a_fault():
    twice = manifest_with([ROW, ROW], counts=COUNTS | {"samples": 2, "read": 3, "sentences": 2, "splits": {"train": 2}})
    assert any("1 keys are repeated" in fault for fault in verify_table.faults_of_counts(twice))


@pytest.mark.parametrize(
    ("shards", "counts"),
    [
        ([], COUNTS),
        ({"../shard-000000.tar": SHARDS["shard-000000.tar"]}, COUNTS),
        ({"shard-000000.tar": {"sha256": "x", "bytes": 1, "samples": 1}}, COUNTS),
        ({"shard-000000.tar": {"sha256": "d" * 64, "bytes": -1, "samples": 1}}, COUNTS),
        ({"shard-000000.tar": {"sha256": "d" * 64, "bytes": True, "samples": 1}}, COUNTS),
        ({"shard-000000.tar": []}, COUNTS),
        (SHARDS, None),
        (SHARDS, {}),
        (SHARDS, COUNTS | {"read": "2"}),
        (SHARDS, COUNTS | {"rejected": [1]}),
        (SHARDS, COUNTS | {"rejected": {"parse": -1}}),
        (SHARDS, COUNTS | {"left_out": None}),
        (SHARDS, COUNTS | {"notes": {"x": "1"}}),
        (SHARDS, COUNTS | {"notes": {"\x1b[2J": 1}}),
        (SHARDS, COUNTS | {"noticed": [["x", 1]]}),
    ],
)
def test_metadata_of_another_shape_is_a_fault(shards, counts):
    assert len(verify_table.faults_of_metadata(manifest_with(shards=shards, counts=counts).metadata)) == 1


def quarantine_faults(folder, rows, schema=QUARANTINE_SCHEMA):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    (folder / "quarantine.parquet").write_bytes(buffer.getvalue())
    return verify_table.faults_of_quarantine(open_store(folder), manifest_with())


def test_a_quarantine_of_this_build_is_valid(tmp_path):
    assert quarantine_faults(tmp_path, [REJECTED]) == []


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [REJECTED, REJECTED],
        [REJECTED | {"reason": "decode"}],
        [REJECTED | {"reason": "Jane Doe"}],
        [REJECTED | {"stage": "Jane Doe"}],
        [REJECTED | {"id": "/data/jane-doe.dcm"}],
        [REJECTED | {"id": ROW["key"]}],
        [REJECTED | {"message": "Jane\nDoe"}],
        [REJECTED | {"message": "x" * 501}],
        [REJECTED | {"message": None}],
    ],
)
def test_another_quarantine_is_a_fault(tmp_path, rows):
    faults = quarantine_faults(tmp_path, rows)
    assert faults
    assert not any("jane" in fault.casefold() for fault in faults)


def test_a_quarantine_of_other_columns_or_bytes_is_a_fault(tmp_path):
    assert "other columns" in quarantine_faults(tmp_path, [{"name": "Jane"}], pa.schema([("name", pa.string())]))[0]
    (tmp_path / "quarantine.parquet").write_bytes(b"PAR1" * 9)
    assert "damaged" in verify_table.faults_of_quarantine(open_store(tmp_path), manifest_with())[0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (json.dumps({"samples": 1}).encode(), ""),
        (json.dumps({"samples": 2}).encode(), "other samples"),
        (b"[]", "damaged"),
        (b"\xff{", "damaged"),
        (b"[" * 100_000, "damaged"),
        (None, "missing"),
    ],
)
def test_the_audit_counts_the_samples_of_this_data_set(tmp_path, content, fault):
    if content is not None:
        (tmp_path / "audit.json").write_bytes(content)
    faults = verify_table.faults_of_audit(open_store(tmp_path), manifest_with())
    assert [fault in line for line in faults] == ([True] if fault else [])

"""Every kind of damage to a data set is findings and reported in one line, and every leak between its splits."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding import manifest
from sharding.contract import UserError
from sharding.verify import check, verify
from tests.sharding.leaks.pictures import cloudy, cropped, data_set, names_of, rewrite


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Two shards of plain pictures, a broken file in quarantine, an image without text."""
    samples = [(f"p{n % 3}", np.full((20 + n, 30), 40 * n, np.uint8), f"Nodule of {n} cm. No edema.") for n in range(5)]
    samples += [("p3", np.full((9, 9), 5, np.uint8), ""), ("p4", b"<html>", "Edema.")]
    return data_set(tmp_path_factory.mktemp("built"), samples)


@pytest.fixture
def out(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out", copy_function=copied))


def copied(source, target):
    Path(target).write_bytes(Path(source).read_bytes())


def test_a_valid_data_set_has_no_fault(out):
    findings = check(str(out))
    assert findings.faults == []
    assert findings.lines() == ["valid: every checksum, offset and count agrees, and no split leaks"]
    assert findings.as_dict()["valid"] is True
    json.dumps(findings.as_dict())


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("byte", "differs from its checksum"),
        ("cut", "truncated"),
        ("lost", "missing"),
        ("extra", "not in the manifest"),
        ("member", "is in no row"),
        ("swapped", "checksum differs"),
        ("row", "disagree about patient"),
        ("lost quarantine", "quarantine.parquet: missing"),
        ("other quarantine", "not a quarantine"),
        ("no audit", "audit.json: missing"),
    ],
)
def test_damage_is_reported(out, damage, expected):
    shard = out / "shard-000001.tar"
    data = bytearray(shard.read_bytes())
    if damage == "byte":
        data[600] ^= 1
        shard.write_bytes(data)
    elif damage == "cut":
        shard.write_bytes(data[:700])
    elif damage == "lost":
        shard.unlink()
    elif damage == "extra":
        copied(shard, out / "ledger.sqlite")
    elif damage == "member":
        with tarfile.open(shard, "a") as tar:
            tar.add(__file__, "payload.pkl")
    elif damage == "swapped":
        shard.write_bytes((out / "shard-000000.tar").read_bytes())
    elif damage == "row":
        change(out, patient="0123456789abcdef")
    elif damage == "lost quarantine":
        (out / "quarantine.parquet").unlink()
    elif damage == "other quarantine":
        (out / "quarantine.parquet").write_bytes(b"PAR1 and nothing")
    else:
        (out / "audit.json").unlink()
    faults = verify(str(out))
    assert any(expected in fault for fault in faults), faults
    assert all(len(fault.splitlines()) == 1 for fault in faults)


def change(out, row=0, **values):
    """Other values in a row of the manifest."""
    stored = manifest.read(str(out))
    rows = stored.table.to_pylist()
    rows[row] |= values
    rewrite(out, pa.Table.from_pylist(rows, schema=stored.table.schema), stored.metadata)


def test_without_a_manifest_there_is_nothing_to_check(out, tmp_path):
    (out / "manifest.parquet").write_bytes(b"")
    for url in (out, tmp_path / "nowhere"):
        with pytest.raises(UserError):
            check(str(url))


def test_control_characters_of_a_stray_name_are_escaped(out):
    (out / "a\x1b[2J\nb.tar").write_bytes(b"")
    assert verify(str(out)) == ["a\\x1b[2J\\nb.tar: not in the manifest; remove it"]


def test_a_leak_is_a_fault_with_a_remedy(tmp_path):
    train, other, test = *names_of("train", 2), *names_of("test", 1)
    pictures = [(train, cloudy(1), "Edema."), (test, cropped(cloudy(1)), "Effusion."), (other, cloudy(2), "Nodule.")]
    findings = check(str(data_set(tmp_path, pictures)))
    assert len(findings.faults) == 1
    assert all(part in findings.faults[0] for part in ("train", "test", "--same-patient", findings.leaks[0].key))
    assert findings.counts["nearly equal images across splits"] == 1
    assert findings.counts["largest group of patients that look like one"] == 2
    assert findings.as_dict()["leaks"][0]["kind"] == "nearly the same image"


def test_a_pair_within_a_split_is_a_note_and_no_fault(tmp_path):
    one, other = names_of("train", 2)
    findings = check(str(data_set(tmp_path, [(one, cloudy(1), "Edema."), (other, cloudy(1), "Effusion.")])))
    assert findings.faults == []
    assert "image pairs of two patients within a split: 1" in findings.lines()


def test_a_patient_in_two_splits_is_a_fault(out):
    patients = manifest.read(str(out)).table["patient"].to_pylist()
    row = next(row for row, name in enumerate(patients) if patients.count(name) == 2)
    change(out, row, split="validate")
    faults = verify(str(out))
    assert any(fault.startswith(f"leak: patient {patients[row]}") and "correct the splits" in fault for fault in faults)


def test_wrong_values_are_not_quoted(out):
    """A manifest of other software may hold identities."""
    change(out, patient="Doe^Jane", view="JANE DOE 1970-01-01")
    faults = verify(str(out))
    assert len(faults) == 2
    assert not any("doe" in fault.casefold() for fault in faults)


def test_webdataset_itself_finds_these_samples(out, monkeypatch):
    monkeypatch.setenv("WDS_SECURE", "1")
    import webdataset

    urls = [str(path) for path in sorted(out.glob("*.tar"))]
    keys = [sample["__key__"] for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)]
    assert verify(str(out)) == []
    assert keys == manifest.read(str(out)).table["key"].to_pylist()


def faults_or_refusal(folder) -> Iterator[str]:
    try:
        yield from check(str(folder)).faults
    except UserError as error:
        yield str(error)


def test_any_byte_of_a_shard_counts(built, tmp_path_factory):
    @settings(max_examples=60)
    @given(st.data())
    def damaged(data):
        name = data.draw(st.sampled_from(["shard-000000.tar", "shard-000001.tar"]))
        content = bytearray((built / name).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert list(faults_or_refusal(damaged_copy(built, tmp_path_factory, {name: bytes(content)})))

    damaged()


def damaged_copy(built, tmp_path_factory, files: dict[str, bytes | None]) -> Path:
    """The data set with these files changed, added or (None) removed."""
    folder = tmp_path_factory.mktemp("copy")
    for name, content in ({path.name: path.read_bytes() for path in built.iterdir()} | files).items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def test_any_damage_to_any_file_ends_in_lines(built, tmp_path_factory):
    """Any cut, change or mixture gives faults or one line of refusal, nothing else."""
    names = sorted(path.name for path in built.iterdir())

    @settings(max_examples=120)
    @given(st.data())
    def damaged(data):
        name, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
        content = bytearray((built / name).read_bytes())
        place, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 700))
        kind = data.draw(st.sampled_from(["cut", "bytes", "zeros", "insert", "lost", "other file", "again"]))
        if kind == "cut":
            content = content[:place]
        elif kind == "bytes":
            content[place : place + 3] = data.draw(st.binary(max_size=4))
        elif kind == "zeros":
            content[place : place + length] = bytes(length)
        elif kind == "insert":
            content[place:place] = bytes(content[:length])
        elif kind == "other file":
            content = bytearray((built / other).read_bytes())
        files: dict[str, bytes | None] = {name: None if kind == "lost" else bytes(content)}
        if kind == "again":
            files = {"shard-000007.tar": bytes(content)}
        for fault in faults_or_refusal(damaged_copy(built, tmp_path_factory, files)):
            assert len(fault.splitlines()) == 1

    damaged()


def test_a_malicious_manifest_reads_no_other_file(out, tmp_path):
    """Shards outside the folder, members of absurd size: refused before anything is opened."""
    stored = manifest.read(str(out))
    (tmp_path / "secret").write_bytes(b"x" * 2000)
    shards = {"../secret": next(iter(stored.metadata["shards"].values()))}
    rewrite(out, stored.table, stored.metadata | {"shards": shards})
    assert verify(str(out)) == ["manifest.parquet: its shards or counts are damaged; build the data set again"]
    rewrite(out, stored.table, stored.metadata)
    change(out, image_bytes=2**62, image_offset=-5)
    assert verify(str(out)) == ["manifest.parquet: has a member outside of any shard; build the data set again"]


def test_a_manifest_of_other_columns_is_refused(out):
    pq.write_table(pa.table({"key": ["a"]}), out / "other.parquet")
    (out / "manifest.parquet").write_bytes((out / "other.parquet").read_bytes())
    with pytest.raises(UserError):
        check(str(out))

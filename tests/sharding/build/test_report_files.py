"""Report files in every coding: decoded by its rule, or rejected; nothing of an undecoded report is written."""

from __future__ import annotations

import codecs
import gzip

import pyarrow.parquet as pq
import pytest

from sharding import manifest, sample_reader
from sharding.build import run
from sharding.sources import REPORT, SourceImage, SourceListing
from sharding.store.locations import open_store
from tests.sharding.conftest import dicom_bytes

SETTINGS = run.BuildSettings("mimic-cxr")
TEXT = "FINDINGS: Small left effusion. Seen with Dr. Jörg Holloway. Roë has no pneumothorax.\nIMPRESSION: Effusion.\n"
SENTENCES = ["Small left effusion.", "Seen with Dr. ___.", "___ has no pneumothorax.", "Effusion."]


def built(tmp_path, private, build, data: bytes) -> tuple[dict[str, int], list[str], bytes]:
    """What was rejected, the sentences, and all bytes that were written."""
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(PatientName="Roë^Jane"))
    (tmp_path / "a.txt").write_bytes(data)
    image = SourceImage("a", str(tmp_path / "a.dcm"), text=None, text_file=str(tmp_path / "a.txt"), layout=REPORT)
    account = build(SourceListing([image]), SETTINGS, tmp_path / "out", private)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    reasons = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    written += repr(reasons).encode()
    store, rows = open_store(str(tmp_path / "out")), manifest.read(str(tmp_path / "out")).table.to_pylist()
    found = [sentence["text"] for row in rows for sentence in sample_reader.description(store, row)["sentences"]]
    return account.rejected, found, written


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        gzip.compress(TEXT.encode(), mtime=0),
    ],
)
def test_a_report_is_decoded_and_masked(tmp_path, private, build, data):
    rejected, found, written = built(tmp_path, private, build, data)
    assert (rejected, found) == ({}, SENTENCES)
    assert b"olloway" not in written


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.encode("cp1252"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")[:-1],
        TEXT.encode() + b"\0",
        gzip.compress(TEXT.encode(), mtime=0)[:-9],
    ],
)
def test_a_report_of_another_coding_is_rejected_for_its_text(tmp_path, private, build, data):
    rejected, found, written = built(tmp_path, private, build, data)
    assert (rejected, found) == ({"text": 1}, [])
    for hidden in (b"olloway", "olloway".encode("utf-16-le"), "olloway".encode("utf-16-be"), b"ffusion"):
        assert hidden not in written

"""The manifest is read as it was written, and any change changes its fingerprint."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sharding import manifest
from sharding.contract import FORMAT_VERSION, MANIFEST_SCHEMA, UserError

ROW = dict.fromkeys(MANIFEST_SCHEMA.names, "x") | dict.fromkeys(
    ("image_offset", "image_bytes", "json_offset", "json_bytes", "width", "height", "sentence_count"), 1
)
ROW["text_hashes"] = ["a", "b"]


def write(folder, rows, settings=None):
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    (folder / "manifest.parquet").write_bytes(
        manifest.encode(table, settings or {"size": 1}, {}, {"samples": len(rows)})
    )
    return manifest.read(str(folder))


def test_it_is_read_as_written(tmp_path):
    stored = write(tmp_path, [ROW])
    assert stored.table.to_pylist() == [ROW]
    assert stored.metadata == {
        "format_version": FORMAT_VERSION,
        "settings": {"size": 1},
        "shards": {},
        "counts": {"samples": 1},
    }


def test_the_fingerprint_changes_with_rows_and_settings(tmp_path):
    same = {write(tmp_path, [ROW]).fingerprint for _ in range(2)}
    changed = {write(tmp_path, [{**ROW, "view": "PA"}]).fingerprint, write(tmp_path, [ROW], {"size": 2}).fingerprint}
    assert len(same) == 1
    assert len(same | changed) == 3


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and then nothing"])
def test_a_missing_or_damaged_manifest_is_a_user_error(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.parquet"):
        manifest.read(str(tmp_path))

"""Every kind of damage to a data set is found."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sharding import run
from sharding.sources import folder as folder_source
from sharding.sources.folder import FolderTable
from sharding.verify import verify

TABLE = FolderTable("table.csv", "image", "text", "patient", "view")
SETTINGS = run.BuildSettings("folder", shard_samples=4)


@pytest.mark.parametrize("damage", ["byte", "cut", "lost", "extra", "member", "row"])
def test_verify_finds_what_is_wrong(folder, private, tmp_path, damage):
    out = tmp_path / "out"
    run.build(folder_source.read(folder, TABLE), SETTINGS, str(out), private, 1)
    shard = out / "shard-000001.tar"
    shard.chmod(0o644)
    data = bytearray(shard.read_bytes())
    if damage == "byte":
        data[600] ^= 1
        shard.write_bytes(data)
    elif damage == "cut":
        shard.write_bytes(data[:700])
    elif damage == "lost":
        shard.unlink()
    elif damage == "extra":
        shutil.copy(shard, out / "ledger.sqlite")
    elif damage == "member":
        _add_member(shard)
    else:
        _change_row(out / "manifest.parquet")
    assert verify(str(out))


def _add_member(shard: Path) -> None:
    with tarfile.open(shard, "a") as tar:
        tar.add(__file__, "payload.pkl")


def _change_row(path: Path) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["patient"] = "somebody"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)

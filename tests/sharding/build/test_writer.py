"""The offsets that a shard's rows name, counted while writing, are those that a reader of tars finds."""

from __future__ import annotations

import hashlib
import tarfile

import pytest

from sharding.build.samples import EncodedSample
from sharding.build.writer import ShardWriter
from sharding.contract import MANIFEST_SCHEMA


def sample(key, member, image, description):
    row = dict.fromkeys(MANIFEST_SCHEMA.names) | {"key": key, "image_member": member}
    return EncodedSample(key, image, description, row | {"image_bytes": len(image), "json_bytes": len(description)})


@pytest.mark.parametrize("member", ["jpg", "png", "dcm"])
def test_counted_offsets_are_those_of_the_tar(tmp_path, member):
    """Sizes around the tar's block; a PNG comes after its JSON, a JPEG before."""
    sizes = [1, 511, 512, 513, 10_240, 100_000]
    samples = [sample(f"k{size}", member, b"i" * size, b"{}" * (size // 3)) for size in sizes]
    path = tmp_path / "shard"
    with ShardWriter(path, "shard-000000.tar") as writer:
        for one in samples:
            writer.add(one)
        shard, table = writer.finish()
        data = path.read_bytes()
    assert not path.exists()
    assert (shard.bytes, shard.sha256, shard.samples) == (len(data), hashlib.sha256(data).hexdigest(), len(sizes))
    (tmp_path / "again").write_bytes(data)
    with tarfile.open(tmp_path / "again") as tar:
        offsets = {entry.name: (entry.offset_data, entry.size) for entry in tar}
    rows = table.to_pylist()
    for row in rows:
        assert (row["image_offset"], row["image_bytes"]) == offsets[f"{row['key']}.{member}"]
        assert (row["json_offset"], row["json_bytes"]) == offsets[f"{row['key']}.json"]
        assert row["shard"] == "shard-000000.tar"
    assert len(offsets) == 2 * len(rows) == 2 * len(sizes)


def test_members_come_in_the_order_of_webdataset(tmp_path):
    """As its writer orders a sample given as a whole, so that shards keep their bytes."""
    from webdataset.writer import TarWriter

    from sharding.build.writer import MODE, OWNER

    samples = [
        sample("a", "jpg", b"x" * 700, b"{}"),
        sample("b", "png", b"y" * 5, b"{}"),
        sample("c", "dcm", b"z", b""),
    ]
    with ShardWriter(tmp_path / "ours", "s") as writer:
        for one in samples:
            writer.add(one)
        writer.finish()
        ours = (tmp_path / "ours").read_bytes()
    with (tmp_path / "theirs").open("wb") as file:
        tar = TarWriter(file, user=OWNER, group=OWNER, mode=MODE, mtime=0, encoder=False)
        for one in samples:
            tar.write({"__key__": one.key, one.row["image_member"]: one.image, "json": one.description})
        tar.close()
    assert ours == (tmp_path / "theirs").read_bytes()

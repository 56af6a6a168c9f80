"""Shards by byte offset: what is read, what is refused."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydicom.data import get_testdata_file

from sentalign.stream.read import byte_ranges
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.manifest_index import read_index
from sharding import pixels
from sharding.contract import MANIFEST_NAME, UserError, text_hash


@pytest.fixture
def copy(shards, tmp_path):
    """The shards in a folder that a test may harm."""
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def edit_manifest(folder, change):
    table = pq.read_table(folder / MANIFEST_NAME)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / MANIFEST_NAME)
    read_index.cache_clear()  # as in a new process


def test_rows_without_text_are_counted_and_never_read(shards):
    found = Shards(shards, "train")
    assert (len(found), found.without_text, found.max_sentences) == (48, 2, 5)
    keys = [found.read(i).key for i in range(len(found))]
    assert keys == [f"train-{i:04d}" for i in range(50) if i not in (3, 17)]


def test_sample_is_what_was_written(shards):
    sample = Shards(shards, "train").read(5)  # row 6 of the manifest, as row 3 has no text
    assert (sample.key, sample.study, sample.patient) == ("train-0006", "s3", "p1")
    assert sample.sentences == ("The heart is large.", "No pneumothorax.")
    assert sample.hashes == tuple(text_hash(text) for text in sample.sentences)
    np.testing.assert_array_equal(sample.grey_HW, np.full((40, 30), 6, np.uint8))


def test_dicom_member_is_read_for_display(make_shards):
    file = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    found = Shards(make_shards(1, image=file, image_member="dcm"), "train")
    np.testing.assert_array_equal(found.read(0).grey_HW, pixels.read(file).grey_HW)


def test_picture_that_cannot_be_decoded_names_shard_and_key(make_shards):
    found = Shards(make_shards(1, image=b"<html>", image_member="jpg"), "train")
    with pytest.raises(UserError, match=r"sample train-0000 of shard-000000.tar: not an image but an HTML page"):
        found.read(0)


def test_url_of_a_folder_reads_the_same(shards):
    one, other = Shards(shards, "train"), Shards(f"file://{shards}", "train")
    assert one.fingerprint == other.fingerprint
    assert one.read(9).key == other.read(9).key


def test_store_reads_the_same_as_the_folder(shards):
    """Object stores are read through `sharding.store.locations`; here the folder is too."""
    one, other = Shards(shards, "train"), Shards(shards, "train")
    other._reader._folder = None
    np.testing.assert_array_equal(one.read(9).grey_HW, other.read(9).grey_HW)
    assert one.read(9).sentences == other.read(9).sentences


def test_pickled_shards_read_on(shards):
    found = Shards(shards, "train")
    found.read(0)
    again = pickle.loads(pickle.dumps(found))
    assert again.read(1).key == found.read(1).key


def test_more_shards_than_open_files(shards, monkeypatch):
    monkeypatch.setattr(byte_ranges, "OPEN_FILES", 2)
    found = Shards(shards, "train")
    assert [found.read(i).key for i in (0, 20, 40, 0)][-1] == found.read(0).key
    assert len(found._reader._files) == 2


@pytest.mark.parametrize(("column", "name"), [("image_offset", "png"), ("json_offset", "json")])
def test_flipped_byte_names_shard_key_and_member(copy, column, name):
    row = pq.read_table(copy / MANIFEST_NAME).to_pylist()[0]
    content = bytearray((copy / row["shard"]).read_bytes())
    content[row[column] + 20] ^= 1
    (copy / row["shard"]).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"shard-000000.tar is damaged: the checksum of the {name} of sample train-0000 is not"
    ) as error:
        Shards(str(copy), "train").read(0)
    assert "\n" not in str(error.value)


def test_cut_shard_is_damaged_too(copy):
    shard = copy / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match=r"shard-000000.tar is damaged"):
        Shards(str(copy), "train").read(0)


def test_missing_shard_is_named(copy):
    (copy / "shard-000000.tar").unlink()
    with pytest.raises(UserError, match=r"shard-000000.tar cannot be read"):
        Shards(str(copy), "train").read(0)


def test_member_off_the_list_is_refused(copy):
    edit_manifest(copy, lambda rows: rows[0].update(image_member="pkl"))
    with pytest.raises(UserError, match=r"has images that are no .*jpg"):
        Shards(str(copy), "train")


def test_split_without_text_says_where_to_look(shards):
    with pytest.raises(UserError, match="no sample with text in split 'validate'"):
        Shards(shards, "validate")


@pytest.mark.parametrize("change", [{"image_sha256": "0" * 64}, {"json_sha256": "1" * 64}, {"key": "other"}])
def test_changed_content_changes_the_fingerprint(shards, copy, change):
    edit_manifest(copy, lambda rows: rows[4].update(change))
    assert Shards(str(copy), "train").fingerprint != Shards(shards, "train").fingerprint


def test_moved_shards_keep_the_fingerprint(shards, copy):
    assert Shards(str(copy), "train").fingerprint == Shards(shards, "train").fingerprint

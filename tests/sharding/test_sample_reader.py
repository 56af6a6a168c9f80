"""A row leads to the picture and the description of its sample, or to a reason."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sharding import sample_reader
from sharding.contract import Rejected, UserError
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import again_as_jpeg, cloudy


def test_dicom_members_are_read_by_the_display_chain(tmp_path, dicom_bytes):
    stored_HW = np.arange(64, dtype=np.uint16).reshape(8, 8) * 16
    data = dicom_bytes(stored_HW, PhotometricInterpretation="MONOCHROME1")
    (tmp_path / "shard").write_bytes(b"x" * 10 + data)
    row = {"shard": "shard", "image_offset": 10, "image_bytes": len(data)}
    grey_HW = sample_reader.grey(open_store(tmp_path), row, 4)
    assert grey_HW[0, 0] > grey_HW[-1, -1]


def test_a_large_jpeg_is_decoded_to_a_part_of_its_size(tmp_path):
    grey_HW = cloudy(2, 1000, 800)
    buffer = io.BytesIO()
    Image.fromarray(grey_HW).save(buffer, "JPEG")
    (tmp_path / "shard").write_bytes(buffer.getvalue())
    row = {"shard": "shard", "image_offset": 0, "image_bytes": len(buffer.getvalue())}
    small_HW = sample_reader.grey(open_store(tmp_path), row, 200)
    assert small_HW.shape == (250, 200)
    whole_HW = again_as_jpeg(grey_HW, 75).reshape(250, 4, 200, 4).mean(axis=(1, 3))
    assert abs(small_HW - whole_HW).mean() < 3


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"[" * 50_000])
def test_what_is_no_description_is_refused(tmp_path, content):
    (tmp_path / "shard").write_bytes(content + b" ")
    row = {"shard": "shard", "json_offset": 0, "json_bytes": len(content) + 1}
    with pytest.raises(Rejected):
        sample_reader.description(open_store(tmp_path), row)
    with pytest.raises(UserError):
        sample_reader.description(open_store(tmp_path), row | {"json_bytes": len(content) + 9})

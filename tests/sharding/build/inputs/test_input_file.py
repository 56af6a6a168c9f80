"""The file of an image: one too large is refused before it is read, wherever it lies; a store out of reach is said."""

from __future__ import annotations

import zipfile

import pytest

from sharding.build.inputs import input_file
from sharding.contract import Reason, Rejected, UserError
from sharding.sources import SourceImage
from sharding.store import locations


@pytest.fixture
def places(tmp_path):
    """A file of 200 bytes in a folder, and in a .zip of fewer."""
    (tmp_path / "a.png").write_bytes(bytes(200))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.png", "a.png")
    return f"{tmp_path}/a.png", f"{tmp_path}/a.zip!/a.png"


def test_a_file_above_the_limit_is_not_read(places, monkeypatch):
    for place in places:
        assert input_file.image_bytes(SourceImage("a", place)) == bytes(200)
    monkeypatch.setattr(input_file, "MAX_FILE", 199)
    monkeypatch.setattr(locations, "read", pytest.fail)
    for place in places:
        with pytest.raises(Rejected, match="more than a single image") as caught:
            input_file.image_bytes(SourceImage("a", place))
        assert caught.value.reason == Reason.PARSE


def test_a_store_out_of_reach_is_no_fault_of_the_image(places, monkeypatch):
    class Down:
        def size(self, name):
            raise UserError("s3://b cannot be reached")

        find = size

    monkeypatch.setattr(locations, "_open_bucket", lambda root: Down())
    locations._open_zip.cache_clear()
    for place in ("s3://b/a.png", "s3://b/a.zip!/a.png"):
        with pytest.raises(UserError, match="cannot be reached"):
            input_file.image_bytes(SourceImage("a", place))
        with pytest.raises(UserError, match="cannot be reached"):
            input_file.report_text(place)


@pytest.mark.parametrize("place", ["gone.png", "a.zip!/gone.png", "gone.zip!/a.png", "a.png!/b"])
def test_a_file_that_is_gone_is_rejected(places, place):
    folder = places[0].removesuffix("a.png")
    assert locations.size(folder + place) is None
    with pytest.raises(Rejected, match="cannot be read"):
        input_file.image_bytes(SourceImage("a", folder + place))

"""What would fill a worker's memory is refused before it is read or decoded."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from sharding.cli import main
from tests.sharding.conftest import dicom_bytes, png_bytes
from tests.sharding.leaks.pictures import cloudy


def build(source, out, *more):
    return main(["build", "folder", str(source), "--out", str(out), "--processes", "1", *more])


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "large.png").write_bytes(png_bytes(np.zeros((1024, 1025), np.uint8)))
    (tmp_path / "in" / "large.dcm").write_bytes(dicom_bytes(Rows=2000, Columns=2000))  # not decoded: it is cut off
    (tmp_path / "in" / "large.dcm.gz").write_bytes(gzip.compress(dicom_bytes(Rows=2000, Columns=2000)))
    (tmp_path / "in" / "fits.png").write_bytes(png_bytes(cloudy(1)))
    arguments = ["--allow-no-text", "--max-megapixels", "1", "--max-failures", "1", "--json"]
    assert build(tmp_path / "in", tmp_path / "out", *arguments) == 0
    assert json.loads(capsys.readouterr().out)["rejected"] == {"decode": 3}
    messages = set(pq.read_table(tmp_path / "out" / "quarantine.parquet")["message"].to_pylist())
    assert messages == {"more than 1 megapixels, the limit of --max-megapixels"}
    for wrong in ("0", "65", "x"):
        with pytest.raises(SystemExit):
            build(tmp_path / "in", tmp_path / "out", "--max-megapixels", wrong)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--max-megapixels", "1.5", "must be a whole number"),
        ("--max-megapixels", "65", "no decoder takes more than 64 megapixels"),
        ("--size", "large", "must be a whole number"),
        ("--timeout", "0", "must be 1 or more"),
        ("--max-failures", "5%", "must be a number between 0 and 1"),
        ("--reject-blank", "nan", "must be between 0 and 1"),
        ("--split-share", "0.8,0.2,x", "give three shares that add up to 1, such as 0.8,0.1,0.1"),
        ("--split-share", "2,-1,0", "give three shares that add up to 1, such as 0.8,0.1,0.1"),
    ],
)
def test_a_wrong_number_is_told_by_what_is_right(tmp_path, capsys, option, value, message):
    with pytest.raises(SystemExit) as caught:
        build(tmp_path, tmp_path / "out", option, value)
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: argument {option}: {message}\n")


def test_a_file_larger_than_any_image_is_not_read(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "frames.dcm").open("wb") as file:
        file.truncate(2**29 + 1)  # sparse
    assert build(tmp_path / "in", tmp_path / "out", "--allow-no-text", "--json") == 1
    assert json.loads(capsys.readouterr().out)["rejected"] == {"parse": 1}

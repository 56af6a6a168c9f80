"""Tables of annotations: what is refused with its line, and what Parquet's nothing is."""

from __future__ import annotations

import gzip
import math

import pyarrow as pa
import pyarrow.parquet
import pytest

from sentalign.evaluate.datasets import rows
from sharding.contract import UserError


def read(file, columns=("image", "sentence"), optional=("patient",)):
    found = []
    rows.read(file, columns, found.append, optional)
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('image,sentence\na.png,"Effusion\nb.png,Nodule\n', "a quote in or before line 3 is not closed"),
        ("image,sentence\na.png,Effusion, left\n", "line 2 has 3 cells and the header 2"),
        ("image,sentence\na.png,Effusion\nb.png\n", "line 3 has 1 cells and the header 2"),
        ("image,sentence,sentence\na.png,A,B\n", "has several columns sentence"),
        ("image\na.png\n", "has no column sentence"),
        ("", "the table is empty"),
    ],
)
def test_what_would_lose_rows_or_words_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.csv")


def test_empty_lines_and_other_columns_do_not_matter(tmp_path):
    (tmp_path / "a.csv").write_text('image,note,sentence\na.png,x,"Effusion, left"\n\nb.png,y,Nodule\n')
    assert read(tmp_path / "a.csv") == [
        {"image": "a.png", "sentence": "Effusion, left"}, {"image": "b.png", "sentence": "Nodule"}]  # fmt: skip


def test_words_for_nothing_are_nothing_and_cells_have_any_length(tmp_path):
    long = "Effusion. " * 20_000
    (tmp_path / "a.csv").write_text(f"image,sentence,patient\nnan,NULL,7\na.png,{long},N/A\n")
    assert read(tmp_path / "a.csv") == [
        {"image": "", "sentence": "", "patient": "7"},
        {"image": "a.png", "sentence": long.strip(), "patient": ""},
    ]


def test_utf_16_and_gzip_are_known_by_their_bytes(tmp_path):
    plain = "image,sentence\na.png,Ödem\n"
    for name, data in (("a.csv", plain.encode("utf-16")), ("b", gzip.compress(plain.encode()))):
        (tmp_path / name).write_bytes(data)
        assert [row["image"] for row in read(tmp_path / name)] == ["a.png"]
        assert rows.names(tmp_path / name) == ["image", "sentence"]


def test_nothing_in_parquet_is_empty(tmp_path):
    table = pa.table({"image": ["a", "b", "c"], "sentence": [b"Nodule", b"x", None], "patient": [1.0, math.nan, None]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [
        {"image": "a", "sentence": "Nodule", "patient": "1"}, {"image": "b", "sentence": "x", "patient": ""},
        {"image": "c", "sentence": "", "patient": ""}]  # fmt: skip
    assert rows.names(tmp_path / "a.parquet") == ["image", "sentence", "patient"]

"""Tables of annotations: what is refused with its line, and what Parquet's nothing is."""

from __future__ import annotations

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
        ('image,sentence\na.png,"Effusion\nb.png,Nodule\n', "is no table in UTF-8"),
        ("image,sentence\na.png,Effusion, left\n", "row 2 has 3 cells in place of 2"),
        ("image,sentence\na.png,Effusion\nb.png\n", "row 3 has 1 cells in place of 2"),
        ("image,sentence,sentence\na.png,A,B\n", "has the column sentence twice"),
        ("image\na.png\n", "has no column sentence"),
        ("", "has no column image"),
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


def test_nothing_in_parquet_is_empty(tmp_path):
    table = pa.table({"image": ["a", "b", "c"], "sentence": [b"Nodule", b"x", None], "patient": [1.0, math.nan, None]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [
        {"image": "a", "sentence": "Nodule", "patient": "1.0"}, {"image": "b", "sentence": "x", "patient": ""},
        {"image": "c", "sentence": "", "patient": ""}]  # fmt: skip
    assert rows.names(tmp_path / "a.parquet") == ["image", "sentence", "patient"]

"""All kinds of tables give the same columns of strings; a damaged one is reported in one line that quotes nothing."""

from __future__ import annotations

import csv
import datetime
import gzip
import io

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import UserError
from sharding.tables import table
from sharding.tables.table import read_table
from sharding.text import encoding

ROWS = [["image", "text", "patient"], ["a.png", "Nodule, 1.5 cm.\nNo “edema”.", "007"], ["b.png", "", "8"]]
COLUMNS = {"image": ["a.png", "b.png"], "text": ["Nodule, 1.5 cm.\nNo “edema”.", ""], "patient": ["007", "8"]}


def text_table(delimiter: str = ",", rows=ROWS) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue()


def parquet(path, **columns) -> str:
    pa.parquet.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", text_table().encode()),
        ("t.CSV", text_table().encode("utf-8-sig")),
        ("t.csv", text_table().replace("\r\n", "\n").encode()),
        ("t.csv", text_table().encode("utf-16")),
        ("t.csv", text_table(rows=[*ROWS, [], ["", ""]]).encode()),
        ("t.csv", text_table(rows=[[" image", "text ", "patient"], *ROWS[1:]]).encode()),
        ("t.csv", text_table(rows=[ROWS[0], *([*row, ""] for row in ROWS[1:])]).encode()),
        ("t.csv.gz", gzip.compress(text_table().encode(), mtime=0)),
        ("t.csv.gz", text_table().encode()),
        ("t.csv", gzip.compress(text_table().encode(), mtime=0)),
        ("t.tsv", text_table("\t").encode()),
        ("t.tsv.gz", gzip.compress(text_table("\t").encode(), mtime=0)),
    ],
)
def test_every_way_to_write_a_table_reads_the_same(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert read_table(str(tmp_path / name)) == COLUMNS
    assert read_table(str(tmp_path / name), ["patient"], ["image", "nothing"]) == {
        "patient": COLUMNS["patient"],
        "image": COLUMNS["image"],
    }


@pytest.mark.parametrize("name", ["t.parquet", "t.bin"])
def test_parquet_is_known_by_its_first_bytes(tmp_path, name):
    assert read_table(parquet(tmp_path / name, **COLUMNS)) == COLUMNS


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([7, None, 10**12]), ["7", "", "1000000000000"]),
        (pa.array([7.0, None, float("nan"), 1.5]), ["7", "", "", "1.5"]),
        (pa.array(["  a ", None, "a\n"]), ["a", "", "a"]),
        (pa.array(["a", "b", None, "a"]).dictionary_encode(), ["a", "b", "", "a"]),
        (pa.array(["a", None], pa.large_string()), ["a", ""]),
        (pa.array([b"a", None]), ["a", ""]),
        (pa.array([True, None]), ["True", ""]),
        (pa.array([datetime.date(2020, 1, 2)]), ["2020-01-02"]),
        (pa.nulls(2), ["", ""]),
    ],
)
def test_values_of_parquet_are_written_as_one_would_type_them(tmp_path, column, expected):
    assert read_table(parquet(tmp_path / "t.parquet", x=column), ["x"]) == {"x": expected}


@pytest.mark.parametrize("column", [pa.array([["a"]]), pa.array([{"a": 1}]), pa.array([b"\xff"])])
def test_values_that_are_no_text_are_refused(tmp_path, column):
    with pytest.raises(UserError, match=r"t\.parquet"):
        read_table(parquet(tmp_path / "t.parquet", x=column), ["x"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"image,text\na,b,c,d\n", "line 2 has 4 cells and the header 2"),
        (b'image,text\na,"x\ny"\nb\n', "line 4 has 1 cells"),
        (b"image,text\nDoe,\xe9\n", "not UTF-8 in line 2"),
        (b'image,text\na,"Doe\n', "a quote in or before line 2"),
        (b'image,text\na,"Doe" x\n', "a quote in or before line 2"),
        (b"image,text\na,\0\n", "NUL"),
        ("image,text\na,Doe\n".encode("utf-16-le"), "NUL"),
        (b"image;text\na;Doe\n", "it has image;text; separate its cells with commas"),
        (b"image,text,image\na,Doe,b\n", "several columns image"),
        (b"dicom_path\nDoe\n", "no column image; it has dicom_path$"),
        (b"1.png,Mrs Doe,1961-03-04\n2.png,Roe,1962-03-04\n", "it has others, not shown since they may be values"),
        (b"text,Jane Doe,MRN 4711\na,b,c\n", "it has text and others, not shown"),
        (b'{"train": [{"report": "Mrs Doe"}]}', "t.csv is JSON, not a table"),
        (b'\xef\xbb\xbf [{"report": "Mrs Doe"}]', "t.csv is JSON, not a table"),
        (b"PAR1Doe", "not a readable table"),
        (b"PK\x03\x04Doe", "zip or Excel"),
        (gzip.compress(b"image\nDoe\n", mtime=0)[:-9], "damaged gzip"),
    ],
)
def test_a_damaged_table_is_said_in_one_line_without_its_values(tmp_path, data, words):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_table(str(tmp_path / "t.csv"), ["image"])
    assert "\n" not in str(caught.value)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_cells_have_any_length(tmp_path, name):
    """csv itself stops at 131,072 letters."""
    report = "Effusion. " * 200_000
    rows = [["image", "text"], ["a", report], ["b", "x"]]
    (tmp_path / name).write_text(text_table("\t" if name.endswith("tsv") else ",", rows))
    assert read_table(str(tmp_path / name)) == {"image": ["a", "b"], "text": [report.strip(), "x"]}


def test_an_open_quote_that_swallows_a_long_table_is_said(tmp_path):
    (tmp_path / "t.csv").write_text('image,text\na,"Doe' + "Doe,\n" * 50_000)
    with pytest.raises(UserError, match="a quote in or before line 50001 is not closed"):
        read_table(str(tmp_path / "t.csv"))


def test_the_names_of_columns_alone(tmp_path):
    (tmp_path / "t.csv").write_text(text_table())
    parquet(tmp_path / "t.parquet", image=["a"], text=["b"])
    assert table.read_header(str(tmp_path / "t.csv")) == ["image", "text", "patient"]
    assert table.read_header(str(tmp_path / "t.parquet")) == ["image", "text"]
    (tmp_path / "u.csv").write_text('"image,text\n')
    (tmp_path / "u.parquet").write_bytes(b"PAR1Doe")
    for name, words in (("u.csv", "a quote in or before line 1"), ("u.parquet", "not a readable table")):
        with pytest.raises(UserError, match=words):
            table.read_header(str(tmp_path / name))


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "NA", "n/a", "<NA>", "#N/A", " nan ", "\\N"])
def test_words_for_a_missing_value_are_no_value(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"image,text\na,{word}\nb,None seen.\n")
    assert read_table(str(tmp_path / "t.csv"), ["text"]) == {"text": ["", "None seen."]}
    parquet(tmp_path / "t.parquet", text=[word, "nana"])
    assert read_table(str(tmp_path / "t.parquet"), ["text"]) == {"text": ["", "nana"]}


def test_other_columns_may_stand_there_twice(tmp_path):
    (tmp_path / "t.csv").write_text("image,x,x\na,1,2\n")
    assert read_table(str(tmp_path / "t.csv"), ["image"]) == {"image": ["a"]}


def test_a_missing_table_and_a_long_header_are_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_table(str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text(",".join(f'"a\n{number:0100d}"' for number in range(1000)) + "\n")
    with pytest.raises(UserError, match="no column image") as caught:
        read_table(str(tmp_path / "t.csv"), ["image"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "INFLATED_FREE", 1 << 20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"image\n" + b"a" * (8 << 20), mtime=0))
    with pytest.raises(UserError, match="decompresses to more than 1 MiB"):
        read_table(str(tmp_path / "t.csv.gz"), ["image"])


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_more_rows_than_any_collection_has_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    for rows, allowed in ((3, True), (4, False)):
        parquet(tmp_path / "t.parquet", x=["1"] * rows)
        (tmp_path / "t.csv").write_text("x\n" + "1\n" * rows)
        if allowed:
            assert read_table(str(tmp_path / name)) == {"x": ["1"] * 3}
        else:
            with pytest.raises(UserError, match="more than 3 rows"):
                read_table(str(tmp_path / name))


def test_a_text_that_stands_in_many_rows_of_parquet_is_held_once(tmp_path):
    path = parquet(tmp_path / "t.parquet", x=pa.array(["long text " * 100] * 1000).dictionary_encode())
    assert len(set(map(id, read_table(path)["x"]))) == 1


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\"',\t"), max_size=8).filter(
    lambda cell: cell.strip().lower() not in table.MISSING
)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1), st.sampled_from([",", "\t"]), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, rows, delimiter, packed):
    path = tmp_path_factory.mktemp("table") / ("t.csv" if delimiter == "," else "t.tsv")
    data = text_table(delimiter, [["a", "b"], *rows]).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    expected = [tuple(cell.strip() for cell in row) for row in rows]
    columns = read_table(str(path), ["a", "b"])
    assert list(zip(columns["a"], columns["b"], strict=True)) == expected

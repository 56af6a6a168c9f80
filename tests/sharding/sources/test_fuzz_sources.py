"""Any content of tables, lists, XML, archives and reports gives rows or one line for the user, never a crash."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharding.contract import SPLITS, UserError
from sharding.sources import SourceListing, folder, mimic_cxr, open_i, open_i_xml
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable
from sharding.sources.tables import views
from sharding.text import sections

FUZZ = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
CSV = b'image,text,patient,view,split\na.png,"Edema, mild.\nNo ""x"".",7,PA,train\nb/c.png,Nodule.,8,Lateral,val\n'
TABLE = FolderTable("t", "image", "text", "patient", "view", "split")
XML = b"""<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="FINDINGS">Heart is &lt;large&gt;.</AbstractText></Abstract></Article></MedlineCitation>
<parentImage id="CXR7_IM-1-1001"><panel><url>/x</url></panel></parentImage></eCitation>"""
LIST = json.dumps({"images": [{"path": "files/p10/p10000764/s57375967/bb-1.jpg"}]}).encode()


def parquet() -> bytes:
    columns = {"image": ["a.png", "b/c.png"], "text": ["Edema.", None], "patient": [7, 8], "view": ["PA", "AP"]}
    table = pa.table({**columns, "split": pa.array(["train", "val"]).dictionary_encode()})
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("7.xml", "x/" * 60 + "8.xml"):
            member = tarfile.TarInfo(name)
            member.size = len(XML)
            tar.addfile(member, io.BytesIO(XML))
    return buffer.getvalue()


@st.composite
def damaged(draw, data: bytes) -> bytes:
    """`data` after a few changes: bytes inserted, cut or repeated anywhere; or entirely other bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        piece = draw(
            st.one_of(
                st.binary(max_size=8), st.sampled_from([b'"', b"\n", b",", b"\0", b"<!", b"&", data[start:end] * 3])
            )
        )
        data = data[:start] + piece + data[end:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def check(read: Callable[[], SourceListing]) -> None:
    """Rows with codes and splits of the contract and unique ids, or one line."""
    message, listing = "", SourceListing([])
    try:
        listing = read()
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) == (not listing.images and message != "")
    assert {image.view for image in listing.images} <= {"", *views.CODES}
    assert {image.split for image in listing.images} <= {"", *SPLITS}
    assert len({image.id for image in listing.images}) == len(listing.images)
    assert all(count > 0 for count in (*listing.left_out.values(), *listing.notes.values()))
    json.dumps([image.text for image in listing.images]).encode()


def with_file(root: Path, name: str, data: bytes) -> Inventory:
    (root / name).write_bytes(data)
    return Inventory.of(str(root))


def images(root: Path) -> Path:
    (root / "b").mkdir(exist_ok=True)
    for name in ("a.png", "b/c.png"):
        (root / name).write_bytes(b"x")
    return root


@FUZZ
@given(
    st.one_of(damaged(CSV), damaged(gzip.compress(CSV, mtime=0)), damaged(CSV.decode().encode("utf-16"))), st.booleans()
)
def test_damaged_text_tables(tmp_path, data, frontal):
    inventory = with_file(images(tmp_path), "t", data)
    check(lambda: folder.read(inventory, TABLE, frontal))


@FUZZ
@given(damaged(parquet()))
def test_damaged_parquet_tables(tmp_path, data):
    inventory = with_file(images(tmp_path), "t", data)
    check(lambda: folder.read(inventory, TABLE))


def test_every_single_byte_of_a_parquet_table_overwritten(tmp_path):
    whole = parquet()
    for place in range(4, len(whole)):
        inventory = with_file(images(tmp_path), "t", whole[:place] + b"\xff" + whole[place + 1 :])
        check(lambda inventory=inventory: folder.read(inventory, TABLE))


CELLS = st.one_of(
    st.text(max_size=12), st.sampled_from(["a.png", "b/c.png", "../a.png", "/", "//", ".", "train", "AP", "7"])
)


@FUZZ
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, st.sampled_from(["", "train", "val", "x"])), max_size=6))
def test_any_values_in_a_table(tmp_path, rows):
    names = ("image", "text", "patient", "view", "split")
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names)}
    pa.parquet.write_table(pa.table(columns), images(tmp_path) / "t")
    check(lambda: folder.read(Inventory.of(str(tmp_path)), TABLE))


@FUZZ
@given(damaged(XML))
def test_damaged_xml(tmp_path, data):
    inventory = with_file(tmp_path, "7.xml", data)
    check(lambda: open_i.read(inventory))


@FUZZ
@given(st.one_of(damaged(archive()), damaged(gzip.compress(archive(), mtime=0))))
def test_damaged_archives(tmp_path, data):
    inventory = with_file(tmp_path, "7.tar", data)
    check(lambda: open_i.read(inventory))


@FUZZ
@given(
    damaged(b"uid,findings,impression\n7,Clear.,Normal.\n"), damaged(b"uid,filename,projection\n7,7_IM.png,Frontal\n")
)
def test_damaged_tables_of_open_i(tmp_path, reports, projections):
    (tmp_path / "indiana_reports.csv").write_bytes(reports)
    inventory = with_file(tmp_path, "indiana_projections.csv", projections)
    check(lambda: open_i.read(inventory))


TABLES = ("cxr-record-list.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz")


RECORDS = b"""subject_id,study_id,dicom_id,path
10000032,50414267,aa-1,files/p10/p10000032/s50414267/aa-1.dcm
10000032,50414267,aa-2,files/p10/p10000032/s50414267/aa-2.dcm
10000764,57375967,bb-1,files/p10/p10000764/s57375967/bb-1.dcm
"""
METADATA = b"""dicom_id,subject_id,study_id,ViewPosition
aa-1,10000032,50414267,PA
aa-2,10000032,50414267,LATERAL
bb-1,10000764,57375967,AP
"""
SPLIT = b"""dicom_id,study_id,subject_id,split
aa-1,50414267,10000032,train
aa-2,50414267,10000032,train
bb-1,57375967,10000764,validate
"""


def perhaps_damaged(data: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(data), damaged(data))


@FUZZ
@given(perhaps_damaged(RECORDS), perhaps_damaged(METADATA), perhaps_damaged(SPLIT), st.booleans())
def test_damaged_tables_of_mimic(mimic, records, metadata, split, frontal):
    for name, data in zip(TABLES, (records, metadata, split), strict=True):
        (mimic / name).write_bytes(data)
    check(lambda: mimic_cxr.read(Inventory.of(str(mimic)), frontal))


@FUZZ
@given(damaged(LIST), st.sampled_from(["json", "csv", "txt", "json.gz"]))
def test_damaged_lists(mimic, tmp_path, data, ending):
    path = tmp_path / f"list.{ending}"
    path.write_bytes(data)
    check(lambda: mimic_cxr.read(Inventory.of(str(mimic)), exclude=str(path)))


REPORT = (
    " ADDENDUM: x\n ____________________\n                 FINAL REPORT\n INDICATION:  ___F with cough\n \n "
    "FINDINGS:\n \n There is a 1.5 cm nodule in the left\n upper lobe.\n \n IMPRESSION:\n \n 1.  Nodule.\n"
)


def check_sections(text: str) -> None:
    for section in (*sections.sections(text), *sections.official(text), *sections.plain(text)):
        assert text[section.start : section.end].strip()
        assert section.name in sections.NAMES


@FUZZ
@given(damaged(REPORT.encode()))
def test_damaged_reports(data):
    check_sections(data.decode("utf-8", errors="replace"))


@pytest.fixture(scope="module")
def real_reports(realdata) -> list[bytes]:
    with tarfile.open(next((realdata / "openi").glob("*.tgz"))) as tar:
        files = [tar.extractfile(f"ecgen-radiology/{number}.xml") for number in (1, 2, 4, 5, 7)]
        return [file.read() for file in files if file]


@pytest.mark.realdata
@FUZZ
@given(st.data())
def test_damaged_real_reports(real_reports, data):
    report = open_i_xml.parse(data.draw(damaged(data.draw(st.sampled_from(real_reports)))), "x")
    if report is not None:
        check_sections(report.text)

"""What the sources share: lists of excluded subjects, views, splits, encodings."""

from __future__ import annotations

import gzip
import json

import pytest

from sharding.contract import UserError
from sharding.pixels.examination import VIEWS
from sharding.sources import exclusion
from sharding.sources.tables import splits, views
from sharding.text import encoding

PATIENT_OF = {"image-1": "10000001", "image-2": "10000002", "image-3": "10000003", "image-4": ""}
PATH = "files/p10/p10000002/s50000001/image-2.jpg"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "10000002\n10000003\n"),
        ("l.txt", "\ufeff10000002\r\n\r\n10000003\r\n"),
        ("l", "10000002, 10000003"),
        ("l", "10000002 10000003\t"),
        ("l.csv", "subject_id\n10000002\n10000003\n"),
        ("l.csv", "name\n10000002\n10000003\n"),
        ("l.csv", "10000002\n10000003\n"),
        ("l.csv", "Patient_ID,age\n10000002,1\n10000003,2\n10000003,2\n"),
        ("l.tsv", "dicom_id\tx\nimage-2\tx\nimage-3\tx\n"),
        ("l.csv", f"path,subject_id\n{PATH},\nx,10000003\n"),
        ("l.json", json.dumps(["10000002", 10000003])),
        ("l.json", json.dumps({"images": [{"path": PATH}, {"file_name": "image-3.jpg"}, {}, 7]})),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_of_list_names_the_same_patients(tmp_path, name, content, packed):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert exclusion.patients(str(path), PATIENT_OF)[0] == {"10000002", "10000003"}


@pytest.mark.parametrize(
    ("name", "content", "lost"),
    [
        ("l.txt", "10000001\nJohn Doe\n10000009\n", 2),
        ("l.csv", "dicom_id\nimage-1\nimage-8\nimage-9\n", 2),
        ("l.csv", "subject_id,dicom_id\n10000001,image-8\n", 0),
        ("l.csv", "subject\n10000001\n", 0),
    ],
)
def test_ids_that_mean_nobody_are_counted(tmp_path, name, content, lost):
    (tmp_path / name).write_text(content)
    assert exclusion.patients(str(tmp_path / name), PATIENT_OF) == ({"10000001"}, lost)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.txt", b"", "names no subject"),
        ("l.csv", b"", "the table is empty"),
        ("l.csv", b"subject_id\n", "names no subject"),
        ("l.txt", b"99\n", "none of its subjects is in the input"),
        ("l.csv", b"dicom_id\nimage-4\n", "none of its subjects is in the input"),
        ("l.csv", b"a,b\n1,2\n", "neither subject_id nor dicom_id nor path"),
        ("l.txt", b"\xff\xff\xff", "not UTF-8"),
        ("l.json", b"{", "not an MS-CXR JSON"),
        ("l.json", b"[" * 100_000, "not an MS-CXR JSON"),
        ("l.json", b'{"images": 7}', "not an MS-CXR JSON"),
        ("l.json", b'{"images": [{"path": 7}]}', "none of its subjects"),
        ("l.json", b"7", "not an MS-CXR JSON"),
    ],
)
def test_a_list_that_leaves_out_nobody_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        exclusion.patients(str(tmp_path / name), PATIENT_OF)
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_said(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        exclusion.patients(str(tmp_path / "l.txt"), PATIENT_OF)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((code, code) for code in sorted(VIEWS)),
        ("ap", "AP"),
        ("AP Supine", "AP"),
        ("AP_erect", "AP"),
        ("Chest PA (standing)", "PA"),
        ("postero-anterior", "PA"),
        ("Posteroanterior", "PA"),
        ("Frontal", "FRONTAL"),
        ("frontal, AP", "AP"),
        ("AP or PA", "FRONTAL"),
        ("Lateral", "LATERAL"),
        ("left lateral", "LATERAL"),
        ("L", "LATERAL"),
        ("PA and lateral", ""),
        ("lateral decubitus", ""),
        ("Coronal", ""),
        ("John Doe", ""),
        ("apple", ""),
        ("", ""),
    ],
)
def test_views_are_codes(words, code):
    assert views.code(words) == code


def test_splits_by_any_of_their_names():
    cells = ["train", "Training", "val", "VALID", "validation", "validate", "test", "testing", ""]
    assert splits.read(cells, "t") == [*["train"] * 2, *["validate"] * 4, *["test"] * 2, ""]


def test_a_patient_has_one_split():
    assert splits.of_patients(["a", "a", "b", "", ""], ["train", "", "", "test", ""], "t") == [
        "train",
        "train",
        "",
        "test",
        "",
    ]
    with pytest.raises(UserError, match="2 patients are in two splits"):
        splits.of_patients(["a", "a", "b", "b"], ["train", "test", "test", "train"], "t")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_are_decoded_by_their_mark(codec):
    assert encoding.text("zoë\n".encode(codec), "t") == "zoë\n"

"""The options of a build on the command line."""

from __future__ import annotations

import io
import json
from collections import Counter

import numpy as np
import pydicom
import pytest
from PIL import Image

from sharding import manifest, pixels, sample_reader
from sharding.cli import main
from sharding.describe import inspection
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import cloudy

DICOM = ["--allow-no-text", "--processes", "1", "--max-failures", "1"]


def build(source, out, *more):
    return main(["build", "folder", str(source), "--out", str(out), *more])


def jpeg(grey_HW, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey_HW).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture
def dicoms(tmp_path, dicom_bytes):
    """Three radiographs: one plain, one a Secondary Capture, one lateral."""
    root = tmp_path / "in"
    root.mkdir()
    stored_HW = (np.arange(4800, dtype=np.uint16) % 4000).reshape(60, 80)
    plain = {
        "BitsStored": 12,
        "HighBit": 11,
        "PatientName": "Doe^Jane",
        "PatientID": "7",
        "WindowCenter": 2000,
        "WindowWidth": 3000,
    }
    (root / "plain.dcm").write_bytes(dicom_bytes(stored_HW, **plain, BurnedInAnnotation="NO"))
    (root / "capture.dcm").write_bytes(dicom_bytes(stored_HW, **plain, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"))
    (root / "lateral.dcm").write_bytes(dicom_bytes(stored_HW, **plain, ViewPosition="LL", BurnedInAnnotation="NO"))
    return root


def samples(out):
    return manifest.read(str(out)).table.to_pylist()


def test_lateral_views_need_views_all(dicoms, tmp_path, capsys):
    build(dicoms, tmp_path / "frontal", *DICOM)
    assert "rejected: modality 1" in capsys.readouterr().out
    build(dicoms, tmp_path / "all", *DICOM, "--views", "all")
    assert sorted(row["view"] for row in samples(tmp_path / "all")) == ["", "", "LL"]


def test_strict_captures_refuse_unmarked_images(dicoms, tmp_path, capsys):
    build(dicoms, tmp_path / "out", *DICOM, "--views", "all", "--captures", "strict", "--json")
    assert json.loads(capsys.readouterr().out)["rejected"] == {"de-identification": 1}
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (audit["rules"]["captures"], audit["refused"], audit["images"]["burned_in_no"]) == ("strict", 1, 2)


def test_original_pixels_with_a_deidentified_header(dicoms, tmp_path):
    assert build(dicoms, tmp_path / "out", *DICOM, "--views", "all", "--image", "dcm", "--size", "8") == 0
    assert main(["verify", str(tmp_path / "out")]) == 0
    store = open_store(str(tmp_path / "out"))
    expected = pixels.read((dicoms / "plain.dcm").read_bytes()).grey_HW
    for row in samples(tmp_path / "out"):
        data = store.get_range(row["shard"], row["image_offset"], row["image_bytes"])
        np.testing.assert_array_equal(pixels.read(data).grey_HW, expected)
        dataset = pydicom.dcmread(io.BytesIO(data))
        assert (row["image_member"], dataset.PatientID, str(dataset.PatientName)) == ("dcm", row["patient"], "")
        assert b"Doe" not in data


def test_patients_that_are_one_person_are_found_and_merged(tmp_path, capsys):
    """The same film under two names in two splits, once re-encoded: verify reports it, and its list corrects it."""
    root = tmp_path / "in"
    root.mkdir()
    rows = ["image,text,patient"]
    for number in range(12):
        film_HW = cloudy(number // 2 if number < 2 else number)
        (root / f"{number}.jpg").write_bytes(jpeg(film_HW, 95 - 20 * (number % 2)))
        rows.append(f"{number}.jpg,Nodule {number}.,p{number}")
    (root / "t.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "private").mkdir()
    # A salt for which the two names fall into two splits.
    (tmp_path / "private" / "salt").write_bytes(_parting_salt("p0", "p1"))
    columns = ["--table", "t.csv", "--image-column", "image", "--text-column", "text", "--patient-column", "patient"]
    common = [*columns, "--private", str(tmp_path / "private"), "--split-share", "0.5,0.2,0.3", "--processes", "1"]
    assert build(root, tmp_path / "out", *common) == 0
    leaks = str(tmp_path / "leaks.csv")
    assert main(["verify", str(tmp_path / "out"), "--leaks", leaks]) == 1
    assert "have nearly the same image" in capsys.readouterr().out
    assert build(root, tmp_path / "out", *common, "--same-patient", leaks) == 0
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert len({row["patient"] for row in samples(tmp_path / "out")}) == 11


def _parting_salt(one: str, other: str) -> bytes:
    from sharding.build.sentence_tuple import split_of
    from sharding.deid.pseudonyms import pseudonym

    for number in range(100):
        salt = f"{number:032d}".encode()
        splits = {split_of(pseudonym(salt, "patient", name), (0.5, 0.2, 0.3)) for name in (one, other)}
        if len(splits) == 2:
            return salt
    raise AssertionError("no salt parts them")


def test_a_list_of_another_salt_is_a_mistake(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(2):
        (tmp_path / "in" / f"{number}.png").write_bytes(png_of(cloudy(number)))
    (tmp_path / "in" / "t.csv").write_text("image,text,patient\n0.png,Clear.,a\n1.png,Clear.,b\n")
    (tmp_path / "same.csv").write_text(f"patient,other_patient\n{'0' * 16},{'1' * 16}\n")
    columns = ["--table", "t.csv", "--image-column", "image", "--text-column", "text", "--patient-column", "patient"]
    assert build(tmp_path / "in", tmp_path / "out", *columns, "--same-patient", str(tmp_path / "same.csv")) == 2
    assert "none of its patients is in this input" in capsys.readouterr().err


def png_of(grey_HW) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey_HW).save(file, "PNG")
    return file.getvalue()


def test_other_languages_and_other_parts_of_the_body_are_counted(tmp_path, dicom_bytes, capsys):
    (tmp_path / "in").mkdir()
    texts = ("Clear lungs.", "Kein Erguss. Herz normal groß.", "No effusion.")
    for number, part in enumerate(("CHEST", "THORAX", "KNEE")):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(dicom_bytes(BodyPartExamined=part))
    rows = "".join(f"{number}.dcm,{text}\n" for number, text in enumerate(texts))
    (tmp_path / "in" / "t.csv").write_text(f"image,text\n{rows}")
    columns = ["--table", "t.csv", "--image-column", "image", "--text-column", "text"]
    assert build(tmp_path / "in", tmp_path / "out", *columns) == 0
    assert "rejected: body part 1, language 1" in capsys.readouterr().out
    assert inspection.summary(str(tmp_path / "out"))["rejected"] == {"body part": 1, "language": 1}
    more = ["--languages", "de,en", "--body-part", "any", "--private", str(tmp_path / "p")]
    assert build(tmp_path / "in", tmp_path / "all", *columns, *more) == 0
    assert "written 3" in capsys.readouterr().out
    assert build(tmp_path / "in", tmp_path / "x", *columns, "--languages", "dutch") == 2


def test_blank_pictures_are_counted_or_rejected(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    marked_HW = np.zeros((60, 60), np.uint8)
    marked_HW[:2, :9] = 255
    for name, grey_HW in (("film", cloudy(1)), ("blank", np.zeros((60, 60), np.uint8)), ("marker", marked_HW)):
        (tmp_path / "in" / f"{name}.png").write_bytes(png_of(grey_HW))
    assert build(tmp_path / "in", tmp_path / "out", "--allow-no-text") == 0
    assert "note: picture of fewer than 8 grey levels or 8 pixels a side, kept 2" in capsys.readouterr().out
    summary = inspection.summary(str(tmp_path / "out"))
    assert summary["notes"]["picture of fewer than 8 grey levels or 8 pixels a side, kept"] == 2
    assert "note: picture of fewer than 8 grey levels or 8 pixels a side, kept 2" in inspection.lines(summary)
    assert build(tmp_path / "in", tmp_path / "two", "--allow-no-text", "--reject-blank", "0.99") == 0
    assert "written 1 + rejected 2" in capsys.readouterr().out


def test_a_table_says_which_pictures_are_stored_inverted_and_which_are_one_study(tmp_path, dicom_bytes, capsys):
    root = tmp_path / "in"
    root.mkdir()
    film_HW = cloudy(1)
    for name, grey_HW in (("plain", film_HW), ("inverted", 255 - film_HW), ("again", 255 - film_HW)):
        (root / f"{name}.png").write_bytes(png_of(grey_HW))
    (root / "header.dcm").write_bytes(dicom_bytes())
    rows = ["plain.png,p,a,MONOCHROME2", "inverted.png,p,a,MONOCHROME1", "again.png,q,a,monochrome1"]
    text = "\n".join(f"{row},Clear lungs." for row in [*rows, "header.dcm,q,b,MONOCHROME1"])
    (root / "t.csv").write_text(f"image,patient,study,model,text\n{text}\n")
    columns = [f"--{part}-column={part}" for part in ("image", "text", "patient", "study")]
    command = ["--table", "t.csv", *columns, "--photometric-column=model", "--image=png", "--processes=1"]
    assert build(root, tmp_path / "out", *command) == 0
    printed = capsys.readouterr().out
    assert "note: header that contradicts --photometric-column, the header counts 1" in printed
    assert "note: study id that several patients have: one study for each 1" in printed
    store, rows = open_store(str(tmp_path / "out")), samples(tmp_path / "out")
    films = [sample_reader.grey(store, row, 4096) for row in rows if row["width"] == film_HW.shape[1]]
    assert [(film == film_HW).all() for film in films] == [True, True, True]
    assert sorted(Counter(row["study"] for row in rows).values()) == [1, 1, 2]
    stated = Counter(sample_reader.description(store, row)["pixels"]["inverted"] for row in rows)
    assert stated == {"no": 2, "by the table": 2}


def test_ignored_files_are_no_part_of_the_data_set(tmp_path, capsys):
    for name in ("a.png", "old/a.png", "b.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(png_of(cloudy(1)))
    assert build(tmp_path / "in", tmp_path / "out", "--allow-no-text", "--ignore", "*.tif", "--ignore", "old") == 0
    printed = capsys.readouterr().out
    assert "read 1 = written 1" in printed
    assert "left out: file that --ignore leaves out 2" in printed
    summary = inspection.summary(str(tmp_path / "out"))
    assert "left out: file that --ignore leaves out 2" in inspection.lines(summary)
    page = inspection.page(str(tmp_path / "out"))
    assert "Left out before reading" in page
    assert "file that --ignore leaves out" in page

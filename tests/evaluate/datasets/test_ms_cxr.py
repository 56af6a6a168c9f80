"""The reader on both versions and both forms of the file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.evaluate.datasets import ms_cxr
from sharding.contract import UserError

DICOM_ID = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
IMAGE_PATH = f"files/p10/p10000032/s50414267/{DICOM_ID}.jpg"
OTHER_PATH = "files/p11/p11000183/s51967845/1a1f0b2c.jpg"
ROWS = [
    # path, category, phrase, box
    (IMAGE_PATH, "Pneumonia", "right lower  lobe opacity", [100, 200, 300, 150]),
    (IMAGE_PATH, "Pneumonia", "right lower lobe opacity", [500.5, 210, 80, 90]),
    (IMAGE_PATH, "Pleural Effusion", "small effusion", [10, 900, 200, 100]),
    (OTHER_PATH, "Pneumothorax", "left apical pneumothorax", [30, 40, 50, 60]),
]


def put_image(folder: Path, path: str = IMAGE_PATH, suffix: str = ".png") -> None:
    file = (folder / path).with_suffix(suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((10, 8), np.uint8)).save(file)


def write_json(folder: Path, version: str) -> Path:
    paths, names = sorted({row[0] for row in ROWS}), sorted({row[1] for row in ROWS})
    images = [
        {"id": 100 + n, "file_name": Path(p).name, "path": p, "width": 800, "height": 1000} for n, p in enumerate(paths)
    ]
    if version == "1.1.0":
        for image in images:
            _, _, patient, study, _ = image["path"].split("/")
            image |= {"subject_id": int(patient[1:]), "study_id": int(study[1:]), "split": "test"}
    annotations = [
        {
            "id": n,
            "image_id": 100 + paths.index(path),
            "category_id": names.index(category) + 1,
            "bbox": box,
            "label_text": phrase,
            "width": 800,
            "height": 1000,
        }
        for n, (path, category, phrase, box) in enumerate(ROWS)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    tree = {"info": {}, "licenses": [], "images": images, "categories": categories, "annotations": annotations}
    file = folder / f"MS_CXR_Local_Alignment_v{version}.json"
    file.write_text(json.dumps(tree))
    return file


def write_csv(folder: Path, version: str) -> Path:
    file = folder / f"MS_CXR_Local_Alignment_v{version}.csv"
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        more = ["subject_id", "study_id", "split"] if version == "1.1.0" else []
        table.writerow([*ms_cxr.CSV_COLUMNS, *more])
        for path, category, phrase, box in ROWS:
            _, _, patient, study, name = path.split("/")
            line = [Path(name).stem, category, phrase, path, *box, 800, 1000]
            table.writerow([*line, *([patient[1:], study[1:], "test"] if more else [])])
    return file


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize("write", [write_json, write_csv])
def test_every_form_gives_the_same_cases(tmp_path, write, version):
    write(tmp_path, version)
    put_image(tmp_path)
    cases = ms_cxr.read(tmp_path)
    assert [(c.phrase, c.category, len(c.boxes)) for c in cases] == [
        ("right lower lobe opacity", "Pneumonia", 2),
        ("small effusion", "Pleural Effusion", 1),
        ("left apical pneumothorax", "Pneumothorax", 1),
    ]
    assert cases[0].boxes.tolist() == [[100, 200, 300, 150], [500.5, 210, 80, 90]]
    assert (cases[0].image_id, cases[0].patient, cases[0].study) == (DICOM_ID, "10000032", "50414267")
    assert (cases[0].height, cases[0].width) == (1000, 800)
    assert cases[2].patient == "11000183"


@pytest.mark.parametrize("suffix", [".dcm", ".jpg", ".png"])
def test_image_is_found_whatever_its_type_and_a_missing_one_is_kept_as_none(tmp_path, suffix):
    write_json(tmp_path, "1.0.0")
    file = (tmp_path / IMAGE_PATH).with_suffix(suffix)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"only looked for, not opened")
    cases = ms_cxr.read(tmp_path)
    assert [case.image for case in cases] == [file, file, None]


def test_the_official_file_goes_before_others_and_the_last_version_before_older_ones(tmp_path):
    put_image(tmp_path)
    (tmp_path / "phantom.json").write_text("{}")
    write_csv(tmp_path, "1.1.0")
    old, new = write_json(tmp_path, "1.0.0"), write_json(tmp_path, "1.1.0")
    old.write_text(old.read_text().replace("small effusion", "old words"))
    other = tmp_path / "MS_CXR_validate.json"
    other.write_text(new.read_text().replace("small effusion", "other words"))
    assert [case.phrase for case in ms_cxr.read(tmp_path)][1] == "small effusion"
    assert [case.phrase for case in ms_cxr.read(other)][1] == "other words"


def test_user_errors_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        ms_cxr.read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no MS-CXR annotations"):
        ms_cxr.read(tmp_path)
    file = write_json(tmp_path, "1.0.0")
    with pytest.raises(UserError, match="none of the images"):
        ms_cxr.read(tmp_path)
    whole = file.read_text()
    put_image(tmp_path)
    for wrong, message in [
        (whole.replace("[100, 200, 300, 150]", "[100, 200, 300]"), "annotation 1 is not"),
        (whole.replace("[10, 900, 200, 100]", "[10, 900, 0, 100]"), "annotation 3 is not.*without area"),
        (whole.replace("small effusion", "  "), "empty phrase"),
        (whole.replace('"path"', '"way"'), "no 'path'"),
        (whole.replace(OTHER_PATH, "../../../elsewhere/a.jpg"), "outside its folder"),
        (whole[:-20], "not valid JSON"),
    ]:
        file.write_text(wrong)
        with pytest.raises(UserError, match=message) as error:
            ms_cxr.read(tmp_path)
        assert "\n" not in str(error.value)


def test_images_behind_a_link_are_read(tmp_path):
    """A large archive is linked beside the small file of annotations."""
    (tmp_path / "set").mkdir()
    write_json(tmp_path / "set", "1.1.0")
    put_image(tmp_path / "archive")
    (tmp_path / "set/files").symlink_to(tmp_path / "archive/files")
    image = ms_cxr.read(tmp_path / "set")[0].image
    assert image is not None
    assert image.resolve().is_relative_to(tmp_path / "archive")


ROW = "d,Edema,A phrase,files/p10/p10000001/s50000001/d.jpg,1,1,5,5,100,90"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW[:30], "line 2 has 4 cells and the header 10"),
        (ROW.replace("100,90", "0,90"), "a picture without a size"),
        (ROW.replace("100,90", "inf,90"), "a picture without a size"),
        (ROW.replace("A phrase", "\udce9"), "not UTF-8 in line 2"),
        (ROW.replace("A phrase", '"A phrase'), "a quote in or before line 2 is not closed"),
    ],
)
def test_damaged_tables_are_one_line(tmp_path, content, message):
    names = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"
    file = tmp_path / "MS_CXR_Local_Alignment_v1.0.0.csv"
    file.write_text(f"{names}\n{content}\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UserError, match=message):
        ms_cxr.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "annotation 1 is not MS-CXR's"),
        ({"annotations": 3}, "annotation 1 is not MS-CXR's"),
        ({"categories": [{"id": 1}]}, "no 'name'"),
        ({"images": [{"path": "a.jpg"}]}, "no 'id'"),
    ],
)
def test_damaged_json_is_one_line(marked, change, message):
    file = next(marked.glob("*.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        ms_cxr.read(marked)


@pytest.mark.parametrize(("name", "value", "message"), [("label_text", None, "label_text is no text"),
                                                        ("bbox", 3, "annotation 1 is not")])  # fmt: skip
def test_damaged_annotations_are_one_line(marked, name, value, message):
    file = next(marked.glob("*.json"))
    tree = json.loads(file.read_text())
    tree["annotations"][0][name] = value
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=message):
        ms_cxr.read(marked)

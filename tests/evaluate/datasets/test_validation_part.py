"""Which cases of a set with boxes a training may see: the validation part, and a fixed draw of it."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentalign.evaluate.datasets import ms_cxr, validation_part
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.scoring.target import Boxes
from sentalign.phantom.study import Settings
from sentalign.phantom.write import MS_CXR, MS_CXR_VALIDATE, write_archive
from sharding.contract import UserError


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "archive"
    write_archive(Settings(studies=30, seed=4, size=256, withheld=None, test=8, validate=14), folder)
    return folder


@pytest.fixture
def copied(archive, tmp_path):
    """A folder of the same images whose tables may be changed."""
    for file in archive.iterdir():
        (tmp_path / file.name).symlink_to(file) if file.is_dir() else (tmp_path / file.name).write_bytes(
            file.read_bytes()
        )
    return tmp_path


def keys(cases):
    return [(case.image_id, case.phrase) for case in cases]


def split_of(archive):
    with gzip.open(archive / "mimic-cxr-2.0.0-split.csv.gz", "rt") as file:
        return {row["dicom_id"]: row["split"] for row in csv.DictReader(file)}


def test_a_folder_of_phantoms_gives_its_validation_split_and_nothing_of_the_test_split(archive):
    cases, splits = validation_part.read(archive, "ms-cxr", 1000), split_of(archive)
    assert {splits[case.image_id] for case in cases} == {"validate"}
    assert keys(cases) == keys(ms_cxr.read(archive / f"{MS_CXR_VALIDATE}.json"))
    assert len({case.image_id for case in cases}) > 8


@pytest.mark.parametrize("name", [f"{MS_CXR}.json", f"{MS_CXR}.csv"])
def test_a_file_of_the_test_split_is_refused(archive, name):
    with pytest.raises(UserError, match=r"has the split test only; .* so that the test split stays unseen: give"):
        validation_part.read(archive / name, "ms-cxr", 1000)


def test_a_folder_of_the_test_split_alone_is_refused(copied):
    for suffix in ("json", "csv"):
        (copied / f"{MS_CXR_VALIDATE}.{suffix}").unlink()
    with pytest.raises(UserError, match="has the split test only"):
        validation_part.read(copied, "ms-cxr", 1000)


def renamed_splits(copied, names):
    """One annotation file of all images of test and validation, v1.1.0, with other names for its splits."""
    rows = [row for stem in (MS_CXR, MS_CXR_VALIDATE) for row in csv.DictReader((copied / f"{stem}.csv").open())]
    for file in (*copied.glob("MS_CXR*"), copied / "mimic-cxr-2.0.0-split.csv.gz"):
        file.unlink()
    with (copied / f"{MS_CXR}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"split": names[row["split"]]} for row in rows)


@pytest.mark.parametrize("name", ["val", "VALIDATION", "validate"])
def test_one_file_of_several_splits_gives_those_called_validation(copied, archive, name):
    expected = keys(validation_part.read(archive, "ms-cxr", 1000))
    renamed_splits(copied, {"validate": name, "test": "test"})
    assert keys(validation_part.read(copied, "ms-cxr", 1000)) == expected


def test_an_image_of_two_splits_is_of_neither(copied):
    renamed_splits(copied, {"validate": "val", "test": "test"})
    file = copied / f"{MS_CXR}.csv"
    rows = list(csv.DictReader(file.open()))
    twice = next(row for row in rows if row["split"] == "val")
    file.write_text(file.read_text() + ",".join((twice | {"label_text": "again", "split": "test"}).values()) + "\n")
    assert twice["dicom_id"] not in {case.image_id for case in validation_part.read(copied, "ms-cxr", 1000)}


def test_annotations_without_splits_take_those_of_mimic(copied, archive):
    for file in copied.glob("MS_CXR*.csv"):
        file.unlink()  # v1.0.0 has no splits
    expected = keys(validation_part.read(archive, "ms-cxr", 1000))
    assert keys(validation_part.read(copied, "ms-cxr", 1000)) == expected
    table = copied / "mimic-cxr-2.0.0-split.csv.gz"
    (copied / "mimic-cxr-2.0.0-split.csv").write_bytes(gzip.decompress(table.read_bytes()))
    table.unlink()
    assert keys(validation_part.read(copied, "ms-cxr", 1000)) == expected
    (copied / "mimic-cxr-2.0.0-split.csv").unlink()
    with pytest.raises(UserError, match=r"does not say which images are of the validation split; put the CSV of"):
        validation_part.read(copied, "ms-cxr", 1000)


def test_a_draw_holds_each_category_by_its_share_and_is_the_same_in_any_order(archive):
    whole = validation_part.read(archive, "ms-cxr", 1000)
    many = [replace(case, image_id=f"{case.image_id}-{n}") for n in range(10) for case in whole]
    drawn = validation_part.draw(many, 100)
    shares, found = Counter(case.category for case in many), Counter(case.category for case in drawn)
    assert sum(found.values()) == 100
    assert all(abs(found[name] - 100 * count / len(many)) <= 1.5 for name, count in shares.items())
    shuffled = random.Random(3).sample(many, len(many))
    assert sorted(keys(validation_part.draw(shuffled, 100))) == sorted(keys(drawn))
    places = [keys(many).index(key) for key in keys(drawn)]
    assert places == sorted(places), "in the order of the set"
    assert validation_part.draw(whole, 1000) == whole


def table_of(archive, file, splits):
    cases = ms_cxr.read(archive / f"{MS_CXR_VALIDATE}.json")[: len(splits)]
    lines = ["image\tsentence\tboxes\tsplit"]
    for case, split in zip(cases, splits, strict=True):
        boxes = "|".join(";".join(map(str, box)) for box in case.boxes.tolist())
        lines.append(f"{case.image}\t{case.phrase}\t{boxes}\t{split}")
    file.write_text("\n".join(lines) + "\n")
    return cases


def test_a_table_is_the_validation_part_unless_it_names_splits(archive, tmp_path):
    file = tmp_path / "cases.tsv"
    cases = table_of(archive, file, ["val", "test", "Validate", "train"])
    images = {case.image_id for case in (cases[0], cases[2])} - {case.image_id for case in (cases[1], cases[3])}
    found = validation_part.read(file, "table", 1000)
    assert {Path(case.image_id).stem for case in found} == images
    table_of(archive, file, ["test", "train"])
    with pytest.raises(UserError, match=r"cases.tsv has the split test, train only"):
        validation_part.read(file, "table", 1000)
    file.write_text(file.read_text().replace("\tsplit", "\tpart"))
    assert len(validation_part.read(file, "table", 1000)) == 2


def test_a_validation_part_without_images_is_refused(archive, tmp_path):
    for suffix in ("json", "csv"):
        name = f"{MS_CXR_VALIDATE}.{suffix}"
        (tmp_path / name).write_bytes((archive / name).read_bytes())
    with pytest.raises(UserError, match="none of the images"):
        validation_part.read(tmp_path, "ms-cxr", 1000)
    with pytest.raises(UserError, match="no folder"):
        validation_part.read(tmp_path / "nowhere", "ms-cxr", 1000)


def test_only_images_that_are_there_are_drawn(copied, archive):
    tree = json.loads((copied / f"{MS_CXR_VALIDATE}.json").read_text())
    kept = tree["images"][0]
    for image in tree["images"][1:]:
        image["path"] = image["path"].replace(".jpg", "-gone.jpg")
    (copied / f"{MS_CXR_VALIDATE}.json").write_text(json.dumps(tree))
    found = validation_part.read(copied, "ms-cxr", 1)
    assert [case.image_id for case in found] == [Path(kept["file_name"]).stem]


NAMES = st.sampled_from(["val", " Validate ", "test", "train", "", "VALIDATION", "val,test"])
WORDS = st.one_of(NAMES, st.text(max_size=8))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(WORDS, min_size=1, max_size=8))
def test_whatever_stands_in_the_split_column_only_images_of_validation_are_read(tmp_path, names):
    """Images 0, 1, 2, in turn; an image is of validation if all of its rows say so."""
    (tmp_path / "files").mkdir(exist_ok=True)
    said: dict[str, set[str]] = {}
    with (tmp_path / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*ms_cxr.CSV_COLUMNS, "split"])
        for n, name in enumerate(names):
            image = f"image{n % 3}"
            (tmp_path / f"files/{image}.jpg").touch()
            said.setdefault(image, set()).add(name.strip().lower())
            writer.writerow([image, "Nodule", f"phrase {n}", f"files/{image}.jpg", 1, 1, 2, 2, 9, 9, name])
    allowed = {image for image, words in said.items() if words <= {"val", "validate", "validation", "valid", "dev"}}
    try:
        found = {case.image_id for case in validation_part.read(tmp_path, "ms-cxr", 100)}
    except UserError:
        found = set()
    assert found == allowed


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), count=st.integers(1, 80))
def test_a_draw_is_of_that_size_and_by_share(sizes, count):
    target = Boxes(np.array([[0.0, 0, 1, 1]]))
    names = [(str(c), f"{c}-{n}") for c, size in enumerate(sizes) for n in range(size)]
    cases = [Case(None, image, "phrase", category, target, "", "", 0, 0) for category, image in names]
    drawn = validation_part.draw(cases, count)
    found = Counter(case.category for case in drawn)
    assert len(drawn) == len({case.image_id for case in drawn}) == min(count, len(cases))
    share = min(1.0, count / len(cases))
    assert all(abs(found[str(c)] - share * size) < 1 + len(sizes) for c, size in enumerate(sizes))

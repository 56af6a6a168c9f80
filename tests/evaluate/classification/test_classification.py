"""Classification: areas against loops over pairs, tables of labels, prompts, and the command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.evaluate.bootstrap import Bootstrap
from sentalign.evaluate.classification import labels, measure, prompts
from sentalign.evaluate.classification.auc import areas
from sentalign.localize.predict import Predictor
from sentalign.localize.trained_run import TrainedRun
from sharding.contract import UserError
from sharding.pixels import letterbox
from tests.evaluate.conftest import evaluate

PATIENTS = ["a", "a", "b", "c", "c", "d", "e", "f"]
SCORES = np.array([0.1, 0.4, 0.4, 0.3, 0.9, 0.2, 0.4, 0.0])
LABELS = np.array([0, 1, 0, 0, 1, np.nan, 1, 0])


def slow_area(members):
    """The share of the pairs of images, repeats counted, that are in the right order."""
    positive = [SCORES[n] for n in members if LABELS[n] == 1]
    negative = [SCORES[n] for n in members if LABELS[n] == 0]
    pairs = [(p > q) + (p == q) / 2 for p in positive for q in negative]
    return np.mean(pairs) if pairs else np.nan


def test_areas_equal_a_loop_over_pairs():
    replicates, seed = 200, 3
    found_R = areas(SCORES, LABELS, Bootstrap(PATIENTS, [""] * 8, replicates, seed))
    counts = np.random.default_rng(seed).multinomial(6, np.full(6, 1 / 6), size=replicates)
    drawn = [[n for p, name in enumerate("abcdef") for n in range(8) for _ in range(row[p]) if PATIENTS[n] == name]
             for row in counts]  # fmt: skip
    expected_R = [slow_area(range(8)), *(slow_area(members) for members in drawn)]
    assert np.isnan(found_R).sum() == np.isnan(expected_R).sum() > 0
    assert found_R == pytest.approx(np.array(expected_R), nan_ok=True)


@pytest.mark.parametrize("one", [0.0, 1.0, np.nan])
def test_no_area_without_both_kinds(one):
    assert np.isnan(areas(SCORES, np.full(8, one), Bootstrap(PATIENTS, [""] * 8, 5))).all()


def test_interval_and_mean_by_hand():
    assert measure._interval(np.array([0.5, 0.4, np.nan, 0.6]))["auc"] == 0.5
    assert measure._interval(np.array([0.5, 0.4, np.nan, 0.6]))["ci"] == pytest.approx([0.405, 0.595])
    assert measure._interval(np.array([np.nan, 0.4])) == {"auc": None, "ci": None}
    mean_R = measure._mean([np.array([0.5, 0.6, np.nan]), np.array([0.7, np.nan, np.nan]), np.full(3, np.nan)])
    assert mean_R == pytest.approx([0.6, 0.6, np.nan], nan_ok=True)


# Tables ---------------------------------------------------------------------------------------------------------------


def picture(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (70, 60), dtype=np.uint8)).save(file)


def test_a_table_of_ones_own(tmp_path):
    picture(tmp_path / "in" / "a.png")
    table = tmp_path / "labels.csv"
    table.write_text("image,patient,Nodule,Big heart\nin/a.png,p,1,0.0\nin/b.png,,,True\n")
    first, second = labels.read(table)
    assert (first.image, first.patient) == (tmp_path / "in" / "a.png", "p")
    assert first.labels == {"Nodule": 1, "Big heart": 0}
    assert (second.image, second.patient, second.labels["Big heart"]) == (None, "in/b.png", 1)
    assert np.isnan(second.labels["Nodule"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image\na.png\n", "no column of labels"),
        ("image,Nodule\na.png,2\n", r"line 2 cannot be read \(a label is none of 1, 0, true, false, -1 and empty\)"),
        ("image,Nodule\n,1\n", r"line 2 cannot be read \(no image\)"),
        ("image,Nodule\n", "holds no image"),
        ("image,Nodule\nnone.png,1\n", "none of the images"),
        ("file,Nodule\na.png,1\n", "no column image"),
    ],
)
def test_tables_that_are_wrong(tmp_path, content, message):
    (tmp_path / "labels.csv").write_text(content)
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=message):
        labels.read(tmp_path / "labels.csv")


def test_rsna(tmp_path):
    for n in (1, 2):
        picture(tmp_path / "stage_2_train_images" / f"{n}.png")
    table = tmp_path / "stage_2_detailed_class_info.csv"
    rows = ["1,Lung Opacity", "1,Lung Opacity", "2,Normal", "3,No Lung Opacity / Not Normal"]
    table.write_text("patientId,class\n" + "\n".join(rows) + "\n")
    found = labels.read(table)
    assert [(one.patient, one.labels["Pneumonia"], one.image is None) for one in found] == [
        ("1", 1, False), ("2", 0, False), ("3", 0, True)]  # fmt: skip
    table.write_text("patientId,class\n1,Normal\n1,Lung Opacity\n")
    with pytest.raises(UserError, match="a second class of its patient"):
        labels.read(table)


def packed(file: Path, text: str) -> Path:
    file.write_bytes(gzip.compress(text.encode()))
    return file


@pytest.fixture
def mimic(tmp_path):
    """Two studies: one with a frontal, a lateral and a training image, one of another split."""
    for name in ("p10/p10000001/s50000001/front", "p10/p10000001/s50000001/side", "p10/p10000001/s50000001/old",
                 "p11/p11000002/s50000002/other"):  # fmt: skip
        picture(tmp_path / "files" / f"{name}.jpg")
    packed(
        tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,ViewPosition\nfront,10000001,50000001,PA\nside,10000001,50000001,LATERAL\n"
        "old,10000001,50000001,AP\nother,11000002,50000002,AP\nnolabel,11000002,50000003,AP\n",
    )
    packed(
        tmp_path / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split\nfront,50000001,10000001,test\nside,50000001,10000001,test\n"
        "old,50000001,10000001,train\nother,50000002,11000002,validate\n",
    )
    return packed(
        tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz",
        "subject_id,study_id,Edema,No Finding,Pneumonia\n10000001,50000001,1.0,,-1.0\n11000002,50000002,0.0,1.0,\n",
    )


def test_mimic(mimic):
    (front,) = labels.read(mimic)
    assert (front.image.name, front.patient) == ("front.jpg", "10000001")
    assert (front.labels["Edema"], front.labels["No Finding"]) == (1, 0), "not mentioned counts as absent"
    assert np.isnan(front.labels["Pneumonia"]), "uncertain"
    assert [one.image.name for one in labels.read(mimic, "validate")] == ["other.jpg"]
    assert [one.image.name for one in labels.read(mimic, "")] == ["front.jpg", "old.jpg", "other.jpg"]
    with pytest.raises(UserError, match="no split 'val'; it has test, train, validate"):
        labels.read(mimic, "val")
    (mimic.parent / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(UserError, match=r"no table \*-metadata.csv\* beside the labels"):
        labels.read(mimic)
    (mimic.parent / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(UserError, match="split 'test' is asked for; or give --split all"):
        labels.read(mimic)


# Prompts --------------------------------------------------------------------------------------------------------------


def test_prompts_of_labels(tmp_path):
    found = prompts.of_labels(["Lung_Opacity", "COPD", "No Finding"])
    assert found["Lung_Opacity"].positive == ["Findings suggesting lung Opacity."]
    assert found["COPD"].negative == ["No evidence of COPD."]
    assert "No Finding" not in found
    file = tmp_path / "prompts.yaml"
    file.write_text("COPD: {positive: [Emphysema.], negative: [Clear lungs., Normal lungs.]}")
    assert prompts.of_labels(["COPD", "Edema"], file)["COPD"].negative == ["Clear lungs.", "Normal lungs."]
    for content, message in [
        ("Edma: {positive: [a], negative: [b]}", "no label 'Edma'; the table has COPD, Edema"),
        ("COPD: {positive: [], negative: [b]}", "prompts.yaml, COPD: positive"),
        ("COPD: {positive: ['  '], negative: [b]}", "prompts.yaml, COPD: positive"),
        ("COPD: here", "prompts.yaml, COPD: positive"),
        ("{}", "no label to ask for"),
    ]:
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            prompts.of_labels(["COPD", "Edema"], file)
    with pytest.raises(UserError, match="no label to ask for"):
        prompts.of_labels(["No Finding"])


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    for n in range(20):
        picture(tmp_path / f"{n}.png", n)
    (tmp_path / "20.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    rows = [f"{n}.png,p{n // 2},{n % 2},{'' if n < 3 else n % 3 // 2}" for n in range(22)]
    (tmp_path / "labels.csv").write_text("image,patient,Nodule,Mass\n" + "\n".join(rows) + "\n")
    return tmp_path / "labels.csv"


def test_the_command(table, run_folder, tmp_path, capsys):
    words = ("--data", table, "--run", run_folder, "--out", tmp_path / "out", "--replicates", 30)
    evaluate("classification", *words, "--json", "--workers", 0)
    measured = json.loads(capsys.readouterr().out)
    assert measured == json.loads((tmp_path / "out" / "classification.json").read_text())
    assert (measured["images"], measured["patients"]) == (20, 10)
    assert measured["lost"] == {"image missing": 1, "image refused": 1}
    nodule, mass = measured["labels"].values()
    assert (nodule["positive"], nodule["negative"], mass["unknown"]) == (10, 10, 3)
    evaluate("classification", *words)
    assert "mean" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "classification.json").read_text()) == measured, "decoded by processes"


def test_readings_equal_the_model_asked_one_by_one(table, run_folder, tmp_path):
    evaluate("classification", "--data", table, "--run", run_folder, "--out", tmp_path, "--replicates", 2)
    measured = json.loads((tmp_path / "classification.json").read_text())["labels"]["Nodule"]
    run = TrainedRun.load(run_folder)
    predictor = Predictor(run.model, run.tokenizer, run.settings)
    sentences = ["Findings suggesting nodule.", "No evidence of nodule."]
    scores = {name: [] for name in measure.READINGS}
    for n in range(20):
        grey_HW = np.asarray(Image.open(table.parent / f"{n}.png"))
        square_SS, _ = letterbox(grey_HW, run.settings.data.image_size)
        assert predictor.inputs([grey_HW])[0, 0].shape == square_SS.shape
        _, image_1D = run.model.encode_images(predictor.inputs([grey_HW]))
        reports = predictor.text(sentences).reports_ND
        cosines = [float(image_1D[0] @ r / image_1D[0].norm() / r.norm()) for r in reports]
        local = [float(x) for x in predictor.attended_scores(predictor.inputs([grey_HW]), sentences)[0].detach()]
        for name, (positive, negative) in {"global": cosines, "local": local}.items():
            scores[f"{name}_pair"].append(positive - negative)
            scores[f"{name}_positive"].append(positive)
    for name in measure.READINGS:
        own = np.array(scores[name])
        pairs = [(p > q) + (p == q) / 2 for p in own[1::2] for q in own[::2]]
        assert measured[name]["auc"] == pytest.approx(np.mean(pairs), abs=0.011), "one pair of a hundred may tie"


def test_a_diverged_model_is_refused(table, run_folder, monkeypatch, tmp_path):
    scores = Predictor.scores
    monkeypatch.setattr(Predictor, "scores", lambda self, *args: np.nan * scores(self, *args))
    with pytest.raises(UserError, match="its training diverged"):
        evaluate("classification", "--data", table, "--run", run_folder, "--out", tmp_path, "--workers", 0)


def test_mistakes(table, run_folder, tmp_path):
    words = ("--data", table, "--run", run_folder, "--out", tmp_path)
    with pytest.raises(UserError, match="--workers must be 0 or more"):
        evaluate("classification", *words, "--workers", -1)
    with pytest.raises(UserError, match="no prompts file"):
        evaluate("classification", *words, "--prompts", tmp_path / "none.yaml")
    for file in tmp_path.glob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="not one image can be read"):
        evaluate("classification", *words, "--workers", 0)

"""The whole evaluation with localizers that need no training: figures, files, page."""

from __future__ import annotations

import json
import re
import tomllib
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sentalign.evaluate import evaluation
from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.predict_cases import MODEL, SHUFFLED, SWAPPED
from sentalign.evaluate.results import page, published
from sentalign.evaluate.score_cases import measure
from sentalign.evaluate.scoring.protocols import Scorer
from sentalign.evaluate.scoring.target import Boxes
from sentalign.evaluate.summary import HEADLINE, summarise
from sentalign.localize.predict import SentenceMap
from sharding.contract import UserError
from sharding.pixels import Geometry

KEYS = {key for metric in HEADLINE for key in (metric, f"{metric}_ci")}


def test_a_localizer_that_reads_finds_all_and_its_controls_do_not(scores):
    metrics = summarise(scores, replicates=200)
    assert metrics["cases"] == 48
    assert (metrics["images"], metrics["patients"]) == (24, 12)
    assert set(metrics["seen"]) == KEYS
    assert metrics["seen"]["pointing"] == 1.0
    assert metrics["seen"]["pointing_ci"] == [1.0, 1.0]
    assert metrics["seen"]["cnr"] > 1
    assert metrics["withheld"] is None
    # A swapped sentence queries the other mark, which is never in the box.
    assert metrics["controls"][SWAPPED]["pointing"] == 0.0
    assert 0.2 < metrics["controls"][SHUFFLED]["pointing"] < 0.8
    assert metrics["separate"] is True
    assert all(set(one) == KEYS for one in metrics["controls"].values())
    assert metrics["sided"]["cases"] == 48
    assert metrics["protocols"]["clean"]["prompts"]["spread"]["pointing"] == [1.0, 1.0]
    assert set(metrics["protocols"]["paper"]["seen"]["cnr"]["categories"]) == {"Opacity", "Nodule", "Cavity"}


def test_a_blind_localizer_is_not_separate(marked, blind):
    metrics = summarise(measure(blind, ms_cxr.read(marked)), replicates=50)
    assert (metrics["seen"]["pointing"], metrics["seen"]["cnr"], metrics["seen"]["miou"]) == (0.0, 0.0, 0.0)
    assert metrics["separate"] is False


def test_withheld_categories_are_separate_and_have_no_controls(marked, localizer):
    scores = measure(localizer, ms_cxr.read(marked), withheld=["Cavity"])
    metrics = summarise(scores, replicates=50)
    assert set(metrics["withheld"]) == KEYS
    assert metrics["withheld_categories"] == ["Cavity"]
    clean = metrics["protocols"]["clean"]
    assert (clean["seen"]["cases"], clean["withheld"]["cases"]) == (32, 16)
    assert set(clean["seen"]["pointing"]["categories"]) == {"Opacity", "Nodule"}
    for kind in scores.controls:
        assert np.isnan(scores.kinds[kind].values["pointing"][~scores.seen_N]).all(), kind
    assert all(phrase == "" for phrase, seen in zip(scores.sentences[SHUFFLED], scores.seen_N, strict=True) if not seen)


def test_withheld_wordings_are_told_apart_among_the_seen_categories(marked, localizer, tmp_path):
    """Maps of the phrases with an even number miss: the localizer looks on the other side."""
    cases = [
        replace(case, phrase=case.phrase.replace("right", "LEFT").replace("left", "right").replace("LEFT", "left"))
        if int(case.phrase.split()[1]) % 2 == 0
        else case
        for case in ms_cxr.read(marked)
    ]
    scores = measure(localizer, cases, withheld=["Cavity"])
    withheld = {case.phrase for case in cases if int(case.phrase.split()[1]) % 4 == 0}
    metrics = summarise(scores, 20, 0, withheld)
    # 16 images are no cavity: 8 of even numbers, 4 of which are divisible by 4; two phrases each.
    assert metrics["wordings"]["withheld"] | {"cases": 8, "pointing": 0.0} == metrics["wordings"]["withheld"]
    assert metrics["wordings"]["seen"]["cases"] == 24
    assert metrics["wordings"]["seen"]["pointing"] == pytest.approx(16 / 24)
    assert set(metrics["wordings"]["withheld"]) == KEYS | {"cases"}
    assert summarise(scores, 20, 0, {"of no case"})["wordings"]["withheld"] is None
    assert summarise(scores, 20)["wordings"] is None
    evaluation.write(tmp_path, scores, metrics)
    assert '<tr class="model"><th>withheld wordings</th>' in (tmp_path / "index.html").read_text()


def test_everything_withheld_leaves_no_seen_figures(marked, localizer, tmp_path):
    scores = measure(localizer, ms_cxr.read(marked), withheld=["Cavity", "Nodule", "Opacity"])
    metrics = summarise(scores, replicates=20)
    assert metrics["seen"] is None
    assert metrics["withheld"]["pointing"] == 1.0
    assert metrics["separate"] is False
    evaluation.write(tmp_path, scores, metrics)


def test_what_cannot_be_scored_is_counted(marked, localizer):
    files = sorted(marked.rglob("*.png"))
    files[0].unlink()
    files[1].write_bytes(b"<html>not an image</html>")
    cases = ms_cxr.read(marked)
    stretched = marked / "MS_CXR_Local_Alignment_v1.1.0.json"
    tree = json.loads(stretched.read_text())
    tree["images"][2] |= {"width": 500}
    stretched.write_text(json.dumps(tree))
    scores = measure(localizer, ms_cxr.read(marked))
    assert len(cases) == 48
    assert scores.lost == {"image missing": 2, "image refused": 2, "image has another shape than annotated": 2}
    assert len(scores.cases) == 42


def test_boxes_follow_an_image_of_another_size(marked, localizer):
    file = marked / "MS_CXR_Local_Alignment_v1.1.0.json"
    tree = json.loads(file.read_text())
    for image in tree["images"]:
        image |= {"width": 2 * image["width"], "height": 2 * image["height"]}
    for annotation in tree["annotations"]:
        annotation["bbox"] = [2 * value for value in annotation["bbox"]]
    file.write_text(json.dumps(tree))
    assert summarise(measure(localizer, ms_cxr.read(marked)), replicates=20)["seen"]["pointing"] == 1.0


def test_maps_with_nan_are_refused(marked, localizer, monkeypatch):
    nans = SentenceMap(*[np.full((14, 14), np.nan)] * 3, mirrored=False)
    monkeypatch.setattr(localizer, "maps", lambda features, sentences: [nans] * len(sentences), raising=False)
    with pytest.raises(UserError, match=r"NaN or inf.*optimizer\.lr"):
        measure(localizer, ms_cxr.read(marked))


def test_sets_without_readable_images_are_refused(marked, localizer):
    cases = ms_cxr.read(marked)
    with pytest.raises(UserError, match="not one case has an image"):
        measure(localizer, [replace(case, image=None) for case in cases])
    for file in marked.rglob("*.png"):
        file.write_bytes(b"broken")
    with pytest.raises(UserError, match="not one image can be read"):
        measure(localizer, cases)


def test_figures_can_be_recomputed_from_the_stored_arrays(scores, tmp_path):
    metrics = summarise(scores, replicates=20)
    evaluation.write(tmp_path, scores, metrics)
    stored = np.load(tmp_path / "cases.npz", allow_pickle=False)
    kinds, names = stored["kinds"].tolist(), stored["metrics"].tolist()
    for kind in ("model", "plain_map", "shuffled_sentences", "mean_mask", "contrast_4_px"):
        for n in range(0, 48, 7):
            height, width = stored["square"][n].tolist()
            frame = Geometry(
                int(stored["rows"][n]), int(stored["columns"][n]), tuple(stored["crop"][n]), tuple(stored["scale"][n]),
                tuple(stored["pad"][n]), height, width,
            )  # fmt: skip
            boxes = stored["boxes_xywh"][stored["boxes_case"] == n]
            clean = stored[f"clean__{kind}"][n]
            height, width = stored["paper_square"][n].tolist()
            square = replace(frame, pad=tuple(stored["paper_pad"][n]), height=height, width=width)
            paper = stored["paper__plain_map"][n] if kind == "plain_map" else None
            again = Scorer(frame, Boxes(boxes), stored["clean__plain_map"][n].shape, square)(clean, paper)
            assert [again[name] for name in names] == stored["values"][kinds.index(kind), :, n].tolist()
    pointing = stored["values"][kinds.index("model"), names.index("pointing")]
    assert pointing[stored["seen"]].mean() == metrics["seen"]["pointing"]
    assert stored["sentence__swapped_sides"][0] == "Mark 0 in the left lung"


class Balance(HTMLParser):
    """Finds tags that are closed in the wrong order or not at all."""

    single = ("meta", "img", "line", "circle", "html")

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    @classmethod
    def of(cls, html):
        parser = cls()
        parser.feed(html)
        return parser.wrong + parser.open

    def handle_starttag(self, tag, attrs):
        if tag not in self.single:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.single and (not self.open or self.open.pop() != tag):
            self.wrong.append((tag, self.getpos()))


def test_page_is_self_contained_and_small(marked, localizer, tmp_path):
    scores = measure(localizer, ms_cxr.read(marked), withheld=["Cavity"])
    metrics = summarise(scores, replicates=50)
    evaluation.write(tmp_path, scores, metrics)
    html = (tmp_path / "index.html").read_text()
    assert len(html) < 5_000_000
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert html.count("<img") == page.PICTURES  # all are hits
    assert "{" not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)  # every template variable was replaced
    assert "in the left lung" in html
    assert Balance.of(html) == []
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_page_escapes_what_the_data_set_holds(scores):
    scores = deepcopy(scores)
    scores.cases[:] = [replace(case, phrase="<b>&", category="<i>") for case in scores.cases]
    html = page.render(scores, summarise(scores, replicates=5))
    assert "<q>&lt;b&gt;&amp;</q>" in html
    assert 'alt="&lt;b&gt;&amp;"' in html
    assert "<th>&lt;i&gt;</th>" in html
    assert "<i>" not in html


def test_every_template_is_installed():
    root = Path(__file__).resolve().parents[2]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = root / "sentalign/evaluate/results"
    installed = {file for pattern in data["sentalign.evaluate.results"] for file in folder.glob(pattern)}
    templates = {file for file in folder.rglob("*") if file.suffix in (".html", ".css", ".md", ".toml")}
    assert templates
    assert templates <= installed


def test_pictures_are_chosen_by_rank_from_hits_and_misses(scores):
    scores = deepcopy(scores)
    values = scores.kinds[MODEL].values
    values["pointing"][:20] = 0.0
    values["average_precision"][:] = np.linspace(0, 1, 48)
    hits, misses = page.choose(scores, 4)
    assert hits == [47, 38, 29, 20]
    assert misses == [19, 13, 6, 0]


def test_table_has_every_row(scores):
    metrics = summarise(scores, replicates=20)
    metrics["withheld"] = metrics["plain"]["withheld"] = metrics["seen"]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(evaluation.table(metrics))
    for name in ("model, seen", "plain, seen", *metrics["controls"]):
        assert name in captured.get()
    assert "…" not in captured.get()
    assert "1.00 [1.00, 1.00]" in captured.get()


def test_same_seed_same_files_and_another_seed_other_partners(marked, localizer):
    cases = ms_cxr.read(marked)[:10]
    one, same, other = (measure(localizer, cases, seed=seed) for seed in (0, 0, 1))
    assert one.sentences == same.sentences
    assert one.sentences[SHUFFLED] != other.sentences[SHUFFLED]


def test_boxes_beyond_the_picture_are_cut_and_counted(marked, localizer):
    cases = ms_cxr.read(marked)
    x, y, width, height = cases[0].boxes[0]
    beyond = replace(cases[0], target=Boxes(np.array([[x, y, width + 1000, height]])))
    outside = replace(cases[1], target=Boxes(np.array([[5000.0, 0, 10, 10]])))
    scores = measure(localizer, [beyond, outside, *cases[2:]])
    assert scores.notes == {"boxes reach beyond their picture and were cut at its edge": 2}
    assert scores.lost == {"target lies beyond the picture": 1}
    assert scores.cases[0].boxes[0].tolist() == [x, y, cases[0].width - x, height]
    metrics = summarise(scores, replicates=20)
    assert metrics["notes"] == scores.notes


def test_radzero_reports_the_threshold_that_is_best_over_the_cases(scores):
    found = summarise(scores, replicates=20)["protocols"]["radzero"]["seen"]
    curve_T = scores.radzero.dice_NT.mean(axis=0)
    assert found["dice"]["pooled"] == pytest.approx(curve_T.max())
    assert curve_T[round(100 * found["dice"]["threshold"])] == curve_T.max()
    assert found["dice"]["chosen_on"] == "these cases"
    assert found["pointing"]["pooled"] == scores.radzero.pointing_N.mean()


def test_published_figures_are_those_of_the_documentation():
    text = (Path(__file__).resolve().parents[2] / "docs" / "method.md").read_text()
    table = {row.split("|")[1].strip().removesuffix(" [2]"): row.split("|")[2:5] for row in text.splitlines()
             if row.startswith(("| GLoRIA", "| BioViL", "| MedKLIP", "| AFLoc"))}  # fmt: skip
    assert len(table) == 4
    for column, name in enumerate(("RSNA Pneumonia", "MS-CXR", "COVID Rural")):
        rows = [row for row in published.of_set(name) if row["protocol"] == "paper"]
        found = {row["method"]: f"{row['miou']:.3f}".lstrip("0") + f" / {row['cnr']:.2f}" for row in rows}
        assert found == {method: cells[column].strip() for method, cells in table.items()}
    assert published.of_set("cases.csv") == []
    assert "NeurIPS" in next(row["source"] for row in published.of_set("MS-CXR") if row["protocol"] == "radzero")

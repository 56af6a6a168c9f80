"""The model card: its figures are those of metrics.json, in both files, and its pictures are there."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from sentalign.evaluate import cli
from tests.evaluate.conftest import evaluate


@pytest.fixture(scope="module")
def result(drawn, run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("card")
    evaluate("ms-cxr", "--data", drawn, "--run", run_folder, "--out", out, "--withheld", "cavity", "--replicates", 20)
    return out


def test_both_files_hold_every_figure_of_the_tables(result, run_folder):
    metrics = json.loads((result / "metrics.json").read_text())
    texts = [(result / f"model_card.{kind}").read_text() for kind in ("md", "html")]
    figures = [f"{metrics['seen']['pointing']:.3f} [{metrics['seen']['pointing_ci'][0]:.3f}"]
    figures += [f"{means['cnr']:.3f} [{means['cnr_ci'][0]:.3f}" for means in metrics["controls"].values() if means]
    categories = metrics["protocols"]["clean"]["withheld"]["average_precision"]["categories"]
    figures += [f"{categories['Cavity']['mean']:.3f} ["]
    for text in texts:
        assert all(figure in text for figure in figures)
        assert "not a medical device" in text
        assert "Withheld from training: Cavity." in text
        assert "AFLoc" in text
        assert "image_size: 64" in text, "the settings"
        assert "shards" not in text, "no place of the user's own files"
        assert str(run_folder) not in text


def test_a_card_names_no_folder_of_the_user(tmp_path):
    towers = {"text": {"weights": "/home/ann/bert", "vocabulary": "/home/ann/words"}, "image": {"weights": "hub/vit"}}
    tree = {"run": "/home/ann/run", "data": {"shards": "/home/ann/shards"}, "model": towers | {"start": "ann/mimic"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    settings = cli._about(tmp_path, "0123")["settings"]
    assert "ann" not in settings
    assert all(name in settings for name in ("bert", "words", "hub/vit", "mimic"))


def test_markdown_tables_have_as_many_cells_in_each_row(result):
    lines = (result / "model_card.md").read_text().splitlines()
    tables = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(line.count("|"))
        elif tables[-1]:
            tables.append([])
    tables = [table for table in tables if table]
    assert len(tables) == 3
    assert all(len(set(table)) == 1 and len(table) > 2 for table in tables)


def test_pictures_are_the_best_the_median_and_the_worst(result):
    text = (result / "model_card.md").read_text()
    linked = re.findall(r"\]\((model_card/[\w-]+\.jpg)\)", text)
    assert linked == [f"model_card/{name}-{rank}.jpg" for name in ("best", "median", "worst") for rank in (1, 2, 3)]
    assert all((result / file).read_bytes().startswith(b"\xff\xd8") for file in linked)
    stored = np.load(result / "cases.npz", allow_pickle=False)
    model = stored["kinds"].tolist().index("model")
    precision = np.sort(stored["values"][model, stored["metrics"].tolist().index("average_precision")])
    shown = [float(value) for value in re.findall(r"average precision ([\d.]+)\)\n", text)]
    assert shown[:3] == pytest.approx(precision[::-1][:3], abs=0.006)
    assert shown[6:] == pytest.approx(precision[:3], abs=0.006)
    assert shown[4] == pytest.approx(np.median(precision), abs=0.05)


def test_the_page_is_closed_and_loads_nothing_from_elsewhere(result):
    opened, sources = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img", "link", "br"):
                opened.append(tag)
            sources.extend(value for name, value in attributes if name in ("src", "href"))

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed((result / "model_card.html").read_text())
    assert opened == []
    assert len(sources) == 9
    assert all((result / source).is_file() for source in sources)


def test_a_card_holds_no_folder_of_weights(drawn, run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    text = (run / "config.yaml").read_text()
    changed = text.replace("weights: null", "weights: /home/jane/weights/rad-dino", 1)
    assert changed != text
    (run / "config.yaml").write_text(changed)
    evaluate("ms-cxr", "--data", drawn, "--run", run, "--out", tmp_path / "out", "--replicates", 5, "--map", "plain")
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "jane" not in card
    assert "weights: rad-dino" in card

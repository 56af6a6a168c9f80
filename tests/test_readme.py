"""The README's map: every folder and file that it names exists, and every folder of the source is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.study import plots, study_json, table
from tests.localize.conftest import save_run

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = [row.split("|")[1:4] for row in TEXT.splitlines() if re.match(r"\| .*\]\((sharding|sentalign)", row)]


def folders(cell):
    return [ROOT / path for path in re.findall(r"\]\(([\w/]+)\)", cell)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_the_files_to_start_with_exist(row):
    where, files = folders(row[0]), re.findall(r"`([\w/]+\.py)`", row[2])
    assert where
    assert all(folder.is_dir() for folder in where)
    assert files
    assert not [file for file in files if not any((folder / file).is_file() for folder in where)]


def test_every_folder_of_the_source_is_in_the_map():
    named = {folder for row in ROWS for folder in folders(row[0])}
    packages = {p.parent for top in ("sharding", "sentalign") for p in (ROOT / top).glob("*/__init__.py")}
    packages |= {p.parent for p in (ROOT / "sentalign/stream").glob("*/__init__.py")}
    assert packages <= named


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")) + [ROOT / "README.md"], ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")) + [ROOT / "README.md"], ids=lambda page: page.name)
def test_tables_of_studies_are_those_of_their_files(page):
    """Between `<!-- table: FILE -->` and `<!-- end -->` stands what `sentalign study --table FILE` prints."""
    for file, text in re.findall(
        r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL
    ):
        assert text.strip() == table.markdown(study_json.read(page.parent / file)).strip(), file


def test_the_python_lines_run(tmp_path, monkeypatch, capsys):
    """With a tiny random model and a picture of noise in place of the reader's."""
    save_run(tmp_path / "runs" / "paper", {"image_size": 96})
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 80), dtype=np.uint8)).save(tmp_path / "noise.png")
    (tmp_path / "noise.png").rename(tmp_path / "image.dcm")  # read by its content
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(lines, {})
    assert capsys.readouterr().out.count("Box(x=") >= 2


def test_plots_of_studies_are_those_of_their_files():
    """docs/study/plots/NAME/FIGURE.svg is what `sentalign study --table docs/study/NAME.json --out` draws."""
    drawn = sorted((ROOT / "docs" / "study" / "plots").glob("*/*.svg"))
    assert drawn
    for file in drawn:
        content = study_json.read(ROOT / "docs" / "study" / f"{file.parent.name}.json")
        assert file.read_text(encoding="utf-8") == plots.plots(content)[file.stem] + "\n", file

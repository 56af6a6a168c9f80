"""The same commands on real X-rays, notes and DICOM files."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.e2e.commands import ROOT, command, good

pytestmark = pytest.mark.realdata


@pytest.mark.slow
def test_notes_train_and_localize(realdata, tmp_path):
    """161 real films with free notes: shards, a short training, a map on one of them.

    The set has one case under two patient ids, which may get into two splits: the list of `verify` joins them.
    """
    source = realdata / "cxr_notes"
    build = ("shard", "build", "folder", source, "--table", "metadata.csv", "--image-column", "filename",
             "--text-column", "clinical_notes", "--patient-column", "patientid", "--out", "shards", "--size", 160,
             "--private", "private")  # fmt: skip
    good(*build, folder=tmp_path)
    command("shard", "verify", "shards", "--leaks", "leaks.csv", folder=tmp_path)
    assert len((tmp_path / "leaks.csv").read_text().splitlines()) == 2, "a header and the one pair"
    good(*build, "--same-patient", "leaks.csv", folder=tmp_path)
    good("shard", "verify", "shards", folder=tmp_path)
    good("train", ROOT / "configs/phantom-cpu.yaml", "run=run", "data.shards=shards", "data.batch=16",
         "train.epochs=2", "track.uri=sqlite:///mlflow.db", folder=tmp_path)  # fmt: skip
    image = sorted((source / "images").iterdir())[0]
    good("localize", image, "consolidation in the right lower lobe", "--run", "run", "--out", "maps", folder=tmp_path)
    assert next((tmp_path / "maps").glob("*-overlay.png")).stat().st_size > 10_000
    assert (tmp_path / "maps/boxes.json").is_file()


@pytest.mark.parametrize(("modality", "written"), [("any", 28), ("CR,DX", 11)])
def test_every_malformed_file_is_in_the_quarantine(realdata, tmp_path, modality, written):
    taken = ["--allow-no-text", "--modality", modality, "--body-part", "any", "--max-failures", 0.5]
    places = ["--out", "shards", "--private", "private"]
    account = good("shard", "build", "folder", realdata / "dicom", *taken, *places, "--json", folder=tmp_path)
    assert json.loads(account)["written"] == written
    rejected = pq.read_table(tmp_path / "shards/quarantine.parquet")
    assert rejected.num_rows == 36 - written
    reasons = rejected["reason"].to_pylist()
    assert (reasons.count("parse"), reasons.count("no image")) == (2, 1)
    assert reasons.count("required tags") == 3
    assert reasons.count("decode") == (2 if modality == "any" else 0)

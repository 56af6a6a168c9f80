"""What a build notices in pictures: counted in the account and the manifest, kept in KEY.json, shown by inspect."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from sharding import manifest
from sharding.cli import main
from sharding.describe import inspection
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.checks.chests import chest
from tests.sharding.pixels.checks.test_photograph import scene


@pytest.fixture
def built(tmp_path, capsys):
    """A data set of an upright, two inverted and an upside-down picture, a lateral one and one of another depth."""
    root = tmp_path / "in"
    root.mkdir()
    pictures = {"upright": chest(), "film": 255 - chest(seed=1), "film-2": 255 - chest(seed=2), "down": chest()[::-1]}
    for name, grey_HW in pictures.items():
        Image.fromarray(np.ascontiguousarray(grey_HW)).save(root / f"{name}.png")
    Image.fromarray(255 - chest() // 64).save(root / "blank.png")
    deep_HW = chest(seed=3).astype(np.uint16) * 16
    (root / "lateral.dcm").write_bytes(dicom_bytes(255 - chest(), ViewPosition="LATERAL"))
    (root / "depth.dcm").write_bytes(dicom_bytes(deep_HW << 4, BitsStored=12, HighBit=11))
    out = str(tmp_path / "out")
    arguments = ["build", "folder", str(root), "--out", out, "--allow-no-text", "--views", "all", "--image", "png"]
    assert main([*arguments, "--processes", "1", "--json"]) == 0
    return out, json.loads(capsys.readouterr().out), pictures


def test_what_was_noticed_is_counted_and_shown(built):
    out, account, _ = built
    expected = {"depth other than the header says": 1, "looks upside down": 1, "looks inverted": 2}
    assert account["noticed"] == expected
    assert manifest.read(out).metadata["counts"]["noticed"] == expected
    summary = inspection.summary(out)
    looks = {"upright": 2, "inverted": 2, "upside down": 1, "not judged": 2}
    assert summary["sampled"]["pixels"]["looks"] == looks
    assert "noticed: looks inverted: 2" in inspection.lines(summary)
    page = inspection.page(out)
    assert "Noticed, kept as they are" in page
    assert page.count("<span>looks inverted</span>") == 2


def test_no_picture_is_changed(built, tmp_path):
    """The inverted and turned pictures are stored as they were."""
    out, _, pictures = built
    with tarfile.open(f"{out}/shard-000000.tar") as tar:
        stored = [np.asarray(Image.open(tar.extractfile(one))) for one in tar.getmembers() if one.name.endswith("png")]
    for grey_HW in pictures.values():
        assert any(np.array_equal(grey_HW, other_HW) for other_HW in stored)


def test_the_account_says_what_was_noticed(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(255 - chest()).save(tmp_path / "in" / "film.png")
    assert main(["build", "folder", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--allow-no-text"]) == 0
    assert "noticed: looks inverted 1, kept as it is" in capsys.readouterr().out


def test_photographs_are_left_out_and_counted(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(scene()).save(tmp_path / "in" / "hand.jpg")
    Image.fromarray(chest()).convert("RGB").save(tmp_path / "in" / "chest.jpg")
    arguments = ["build", "folder", str(tmp_path / "in"), "--allow-no-text", "--processes", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "written 1 + rejected 1" in (printed := capsys.readouterr().out)
    assert "rejected: photograph 1" in printed
    everything = ["--out", str(tmp_path / "any"), "--private", str(tmp_path / "p"), "--body-part", "any"]
    assert main([*arguments, *everything]) == 0
    assert "written 2" in capsys.readouterr().out

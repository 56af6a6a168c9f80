"""Pictures decoded ahead by processes: the order, the reasons, a decoder that crashes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.localize.files.decode import decode, decoded
from sharding.pixels import Picture
from sharding.store import locations


def crash_at_times(location: str) -> Picture | str:
    if location.endswith("crash"):
        os._exit(139)
    return decode(location)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = []
    for n in range(14):
        file = tmp_path / f"DOE^JANE {n}.png"
        Image.fromarray(np.full((20, 30), n, np.uint8)).save(file)
        names.append(str(file))
    (tmp_path / "DOE^JANE cut.png").write_bytes((tmp_path / "DOE^JANE 3.png").read_bytes()[:50])
    (tmp_path / "page.dcm").write_text("<html></html>")
    return [
        *names[:5],
        str(tmp_path / "DOE^JANE cut.png"),
        str(tmp_path / "JANE none.png"),
        str(tmp_path / "page.dcm"),
        *names[5:],
    ]


def greys(results: list[Picture | str]) -> list[int | None]:
    return [int(one.grey_HW[0, 0]) if isinstance(one, Picture) else None for one in results]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_in_order_with_a_reason_for_each_that_is_no_picture(files, workers):
    results = list(decoded(files, workers))
    assert greys(results) == [*range(5), None, None, None, *range(5, 14)]
    reasons = results[5:8]
    assert "the file cannot be read" in reasons[1]
    assert "an HTML page" in reasons[2]
    assert not any("JANE" in reason or "/" in reason for reason in reasons)


def test_a_crash_costs_its_file_alone(files):
    files = [*files[:3], "crash", *files[3:5], "crash", *files[8:]]
    results = list(decoded(files, 2, crash_at_times))
    assert greys(results) == [0, 1, 2, None, 3, 4, None, *range(5, 14)]
    assert results[3] == results[6] == "its decoder crashed"


def test_nothing_to_decode():
    assert list(decoded([], 2)) == []


def test_from_a_store(s3, files):
    locations.open_store(s3).put("in/a.png", Path(files[2]).read_bytes())
    assert greys(list(decoded([f"{s3}/in/a.png", f"{s3}/in/none.png"], 1))) == [2, None]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert decode(str(tmp_path / "a.png")) == "a pipe, not a file"


def test_gzip_is_undone_within_bounds(files, tmp_path):
    gz = tmp_path / "a.png.gz"
    gz.write_bytes(gzip.compress(Path(files[2]).read_bytes()))
    assert greys([decode(str(gz))]) == [2]
    gz.write_bytes(gz.read_bytes()[:-20])
    assert decode(str(gz)) == "the file: damaged gzip; fetch it again, or decompress it"
    gz.write_bytes(gzip.compress(bytes(400 << 20)))
    assert "decompresses to more than" in str(decode(str(gz)))

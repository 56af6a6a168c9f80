"""A large picture takes no more memory than its pixels and its grey: what is converted is converted by strips."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sharding import pixels
from sharding.pixels import raster

PEAK = """
import resource, sys
from pathlib import Path
from sharding import pixels
from sharding.leaks import perceptual_hash
pixels.read(Path(sys.argv[2]).read_bytes())  # imports and caches
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels.read(Path(sys.argv[1]).read_bytes())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def file_of(mode: str, shape: tuple[int, int], **options) -> bytes:
    bands = Image.getmodebands(mode)
    values = np.random.default_rng(0).integers(0, 256, (*shape, bands)).astype(np.uint8)
    image = Image.fromarray(values[..., 0] if bands == 1 else values, mode="L" if bands == 1 else mode)
    buffer = io.BytesIO()
    (image.convert(mode) if bands == 1 else image).save(buffer, "JPEG" if mode == "CMYK" else "PNG", **options)
    return buffer.getvalue()


CASES = [
    ("RGBA", {}), ("LA", {}), ("RGB", {}), ("RGB", {"transparency": (9, 9, 9)}), ("P", {}), ("P", {"transparency": 7}),
    ("L", {"transparency": 200}), ("CMYK", {}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*mode.*parameter")
@pytest.mark.parametrize(("mode", "options"), CASES, ids=str)
@pytest.mark.parametrize("strip", [1, 60, 1000])
def test_strips_give_the_picture_that_the_whole_gives(mode, options, strip, monkeypatch):
    data = file_of(mode, (37, 41), **options)
    whole = pixels.read(data)
    monkeypatch.setattr(raster, "STRIP", strip)
    by_strips = pixels.read(data)
    np.testing.assert_array_equal(by_strips.grey_HW, whole.grey_HW)
    assert by_strips.provenance == whole.provenance


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_memory(mode, tmp_path):
    side = 4096
    image = Image.linear_gradient("L").resize((side, side), Image.Resampling.NEAREST).convert(mode)
    if mode != "P":
        image.putalpha(Image.linear_gradient("L").rotate(90).resize((side, side), Image.Resampling.NEAREST))
    image.save(tmp_path / "large.png", compress_level=1, **({"transparency": 3} if mode == "P" else {}))
    image.resize((9, 9), Image.Resampling.NEAREST).save(tmp_path / "small.png")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large.png"), str(tmp_path / "small.png")]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    # 4 bytes of colours, 1 of grey, 1 or 2 of copies; whole, it took 13 more.
    assert taken < 9 * side * side

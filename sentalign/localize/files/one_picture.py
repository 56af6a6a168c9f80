"""One picture and its sentences → overlays, grids and boxes.json in a folder.

In: a predictor, a decoded picture with its features, sentences. Out: the files, and the content of boxes.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentalign.localize import boxes, findings_overlay, overlay
from sentalign.localize.arguments import make_folder
from sentalign.localize.boxes import Localization
from sentalign.localize.maps.heatmap import Array, clean_map
from sentalign.localize.predict import ImageFeatures, Predictor
from sharding.contract import UserError
from sharding.pixels import Geometry, Picture

ALL = "overlay.png"  # all sentences in one picture


def localize_picture(
    predictor: Predictor,
    picture: Picture,
    features: ImageFeatures,
    sentences: Sequence[str],
    out: Path,
    full_size: bool = True,
) -> dict[str, Any]:
    """Writes the files of every sentence (see `sentalign localize --help`), and returns the content of boxes.json.

    Without `full_size` the files of the maps hold their grids alone. Raises UserError where a file cannot be written.
    """
    make_folder(out)
    geometry, maps = picture.geometry.then(features.cells), predictor.maps(features, sentences)
    found = predictor.localizations(picture, features, sentences, maps)
    content = boxes.as_json(found, geometry, ALL if len(sentences) > 1 else None)
    try:
        for number, (one, result) in enumerate(zip(maps, found, strict=True), 1):
            _write(out, number, picture, one.grid_HW, geometry, result, full_size)
        if len(sentences) > 1:
            grids = [one.grid_HW for one in maps]
            level = predictor.settings.level
            findings_overlay.draw(picture, grids, geometry, sentences, level).save(out / ALL)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (out / "boxes.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); free space or give another --out") from None
    return content


def _write(
    out: Path, number: int, picture: Picture, grid_HW: Array, geometry: Geometry, result: Localization, full_size: bool
) -> None:
    rectangles = [(b.x, b.y, b.width, b.height) for b in result.boxes]
    overlay.write(
        out / f"{number:02d}-overlay.png", picture, grid_HW, geometry, result.sentence, rectangles, result.peak
    )
    arrays = {"grid": grid_HW.astype(np.float32), "geometry": np.array(json.dumps(geometry.as_dict()))}
    if full_size:
        arrays["map"] = clean_map(grid_HW, geometry).astype(np.float32)
    np.savez(out / f"{number:02d}-map.npz", **arrays)  # type: ignore[arg-type]

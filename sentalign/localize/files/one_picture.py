"""One picture and its sentences → overlays, grids and boxes.json in a folder.

In: a predictor, a decoded picture with its features, sentences. Out: the files, and the content of boxes.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sentalign.localize import boxes, findings_overlay, overlay
from sentalign.localize.arguments import make_folder
from sentalign.localize.boxes import Localization
from sentalign.localize.maps.heatmap import Array, clean_map
from sentalign.localize.predict import ImageFeatures, Predictor, SentenceMap
from sharding.contract import UserError
from sharding.pixels import Geometry, Picture

if TYPE_CHECKING:
    from sentalign.localize.dicom_out.write import DicomOut

# Every file that is written here, by which those of an earlier command are found.
WRITTEN = (
    "[0-9]*-overlay.png",
    "[0-9]*-map.npz",
    "overlay.png",
    "boxes.json",
    "segmentation.dcm",
    "segmentation-fractional.dcm",
    "overlay-[0-9]*.dcm",
    "report.dcm",
)
ALL = "overlay.png"  # all sentences in one picture


def localize_picture(
    predictor: Predictor,
    picture: Picture,
    features: ImageFeatures,
    sentences: Sequence[str],
    out: Path,
    full_size: bool = True,
    dicom: DicomOut | None = None,
) -> dict[str, Any]:
    """Writes the files of every sentence (see `sentalign localize --help`), and returns the content of boxes.json.

    Without `full_size` the files of the maps hold their grids alone. Raises UserError where a file cannot be written,
    FailedPictureError where no DICOM objects can be made.
    """
    maps = predictor.maps(features, sentences)
    return write_picture(predictor, picture, features, sentences, maps, out, full_size, dicom)


def write_picture(
    predictor: Predictor,
    picture: Picture,
    features: ImageFeatures,
    sentences: Sequence[str],
    maps: Sequence[SentenceMap],
    out: Path,
    full_size: bool = True,
    dicom: DicomOut | None = None,
) -> dict[str, Any]:
    """`localize_picture` of maps that are there already; it uses no model, so that threads may do it."""
    make_folder(out)
    _clear(out)
    geometry, grids = picture.geometry.then(features.cells), [one.grid_HW for one in maps]
    level, found = predictor.settings.level, predictor.localizations(picture, features, sentences, maps)
    drawings = [_draw(picture, *pair, geometry) for pair in zip(grids, found, strict=True)]
    names = [boxes.OVERLAY.format(number) for number in range(1, len(found) + 1)]
    if len(sentences) > 1:
        drawings.append(findings_overlay.draw(picture, grids, geometry, sentences, level))
        names.append(ALL)
    content = boxes.as_json(found, geometry, ALL if len(sentences) > 1 else None)
    try:
        for drawing, name in zip(drawings, names, strict=True):
            drawing.save(out / name, compress_level=1)  # a third of the time of level 6
        for number, grid_HW in enumerate(grids, 1):
            _write_map(out / boxes.MAP.format(number), grid_HW, geometry, full_size)
        if dicom is not None:
            dicom.write(out, grids, geometry, found, drawings, level)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (out / "boxes.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write to {out} ({error.strerror or error}); free space or give another --out"
        ) from None
    return content


def _clear(out: Path) -> None:
    """Removes what an earlier command has written of another picture or other sentences."""
    for pattern in WRITTEN:
        for file in out.glob(pattern):
            file.unlink()


def _draw(picture: Picture, grid_HW: Array, result: Localization, geometry: Geometry) -> Image.Image:
    rectangles = [(b.x, b.y, b.width, b.height) for b in result.boxes]
    return overlay.titled(overlay.draw(picture, grid_HW, geometry, rectangles, peak=result.peak), result.sentence)


def _write_map(file: Path, grid_HW: Array, geometry: Geometry, full_size: bool) -> None:
    arrays = {"grid": grid_HW.astype(np.float32), "geometry": np.array(json.dumps(geometry.as_dict()))}
    if full_size:
        arrays["map"] = clean_map(grid_HW, geometry).astype(np.float32)
    np.savez(file, **arrays)  # type: ignore[arg-type]

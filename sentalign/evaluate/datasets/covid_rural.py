"""COVID Rural (TCIA COVID-19-AR, masks by Tang et al.) → cases: images with a mask of the opacities that a reader saw.

In: the folder `covid_rural_annot`. Out: `Case`s, all of one sentence. Nothing is scored here. Format: docs/formats.md,
COVID Rural.
"""

# H W rows and columns of a picture

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sentalign.evaluate.datasets import mask_file, rows
from sentalign.evaluate.datasets.case import PNEUMONIA, Case
from sentalign.evaluate.scoring.target import PixelMask
from sharding.contract import UserError

FOLDER, IMAGES, MASKS, SHAPES = "covid_rural_annot", "jpgs", "pngs_masks", "jpgs/jsons"
LUNGS = ("left_lung", "right_lung")
CATEGORY = "COVID-19 pneumonia"


def read(data: Path, phrase: str = PNEUMONIA, phrases: Path | None = None) -> list[Case]:
    """The images whose mask is not empty, by name; without a mask file, of the polygons of its labelme file.

    `data` is `covid_rural_annot` or the folder that holds it. With `phrases`, a table of image (the name of its file,
    with or without its ending) and sentence, what a radiologist wrote of each image takes the place of the one phrase:
    a case for each sentence, none for an image without. Raises UserError where a folder is missing or a file
    cannot be read.
    """
    root = data / FOLDER if (data / FOLDER).is_dir() else data
    if not (root / IMAGES).is_dir():
        raise UserError(f"no folder {root / IMAGES}; give the folder that holds {FOLDER}/{IMAGES} and {FOLDER}/{MASKS}")
    cases = [_case(root, image, phrase) for image in sorted((root / IMAGES).glob("*.jpg"))]
    found = [case for case in cases if case is not None]
    if phrases is not None:
        found = _with_phrases(found, phrases)
    if not found:
        raise UserError(f"{root / IMAGES} has no .jpg with a mask in {MASKS} or shapes in {SHAPES}; take the whole set")
    return found


def _with_phrases(cases: list[Case], file: Path) -> list[Case]:
    of_image: dict[str, list[str]] = {}

    def add(row: rows.Row) -> None:
        image, sentence = PurePath(row["image"].strip()).name, " ".join(row["sentence"].split())
        if not image or not sentence:
            raise ValueError(f"no {'sentence' if image else 'image'}")
        of_image.setdefault(image.removesuffix(".jpg"), []).append(sentence)

    rows.read(file, ("image", "sentence"), add)
    found = [replace(case, phrase=s) for case in cases for s in dict.fromkeys(of_image.get(case.image_id, ()))]
    if not found:
        raise UserError(f"{file.name} names none of the {len(cases)} images with a mask; give the names of their files")
    return found


def _case(root: Path, image: Path, phrase: str) -> Case | None:
    """The case of an image; None where nothing is marked. A name is PATIENT_DATE-XR."""
    mask_HW = _mask(root, image.stem)
    if mask_HW is None or not mask_HW.any():
        return None
    patient, study = image.stem.split("_")[0], image.stem
    return Case(image, image.stem, phrase, CATEGORY, PixelMask.of(mask_HW), patient, study, *mask_HW.shape)


def _mask(root: Path, name: str) -> NDArray[np.bool_] | None:
    file, shapes = root / MASKS / f"{name}.png", root / SHAPES / f"{name}.json"
    try:
        if file.is_file():
            return mask_file.read(file)
        return _drawn(json.loads(shapes.read_text(encoding="utf-8"))) if shapes.is_file() else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        bad = file if file.is_file() else shapes
        raise UserError(f"{bad} cannot be read ({type(error).__name__}); fetch it again or remove it") from None


def _drawn(tree: dict[str, Any]) -> NDArray[np.bool_]:
    """The union of a labelme file's shapes but the lungs."""
    canvas = Image.new("1", (int(tree["imageWidth"]), int(tree["imageHeight"])))
    draw = ImageDraw.Draw(canvas)
    for shape in tree["shapes"]:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if shape["label"] in LUNGS:
            continue
        if shape["shape_type"] == "rectangle":
            (left, top), (right, bottom) = points
            points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        elif shape["shape_type"] != "polygon":
            raise ValueError(shape["shape_type"])
        draw.polygon(points, fill=1)
    return np.asarray(canvas)

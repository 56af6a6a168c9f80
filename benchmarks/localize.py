"""`sentalign localize` beside the image tower alone, and one large DICOM from its bytes to its overlay.

    PYTHONPATH=. python benchmarks/localize.py RUN [--pictures 200] [--side 1024] [--map plain] [--workers 2]

Pictures of noise are written as PNG and as one uncompressed 3,000 x 3,000 DICOM of 12 bits. Printed: pictures a second
of the tower alone (the passes that the map needs, on pictures that are ready), of decoding them first, and of the whole
command, as shares of the first; and the seconds from the DICOM's bytes to an overlay, in this process, with the model
loaded. On two cores the decoding processes and the tower share them: give a tower of some size.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from PIL import Image
from pydicom import uid

from sentalign.localize.files.decode import decode, decoded
from sharding.pixels import Picture

if TYPE_CHECKING:
    from sentalign.localize.predict import Predictor

SENTENCE = ["Right pleural effusion."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--map", default="plain")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    # Here: the decoding processes import this module, and would spend seconds on torch, as those of the command do not.
    from sentalign.localize.files.many_pictures import localize_all
    from sentalign.localize.files.results import Results
    from sentalign.localize.predict import BATCH, Predictor

    predictor = Predictor.load(args.run, maps=args.map)
    with tempfile.TemporaryDirectory() as folder:
        images = [write_png(Path(folder) / f"{n:04d}.png", args.side, n) for n in range(args.pictures)]
        greys = [picture.grey_HW for image in images[:BATCH] if isinstance(picture := decode(image), Picture)]

        def tower() -> None:
            for _ in range(0, args.pictures, BATCH):
                for features in predictor.images(greys):
                    predictor.maps(features, SENTENCE)

        def fed() -> None:
            for _ in predictor.images([p.grey_HW for p in decoded(images, args.workers) if isinstance(p, Picture)]):
                pass

        def whole() -> None:
            out = Path(tempfile.mkdtemp(dir=folder))
            localize_all(predictor, images, SENTENCE, out, Results(out, {}, images), args.workers, lambda done: None)

        tower()
        alone = args.pictures / seconds(tower)
        print(f"tower and maps alone: {alone:.1f} pictures/s")
        for name, call in (("decoded first, then the tower", fed), ("localize", whole)):
            rate = args.pictures / seconds(call)
            print(f"{name}: {rate:.1f} pictures/s, {rate / alone:.0%} of the tower alone")
        large = write_dicom(Path(folder) / "large.dcm", 3000)
        times = [seconds(lambda: one(predictor, large, Path(folder) / "large")) for _ in range(4)]
        print(f"3,000 x 3,000 DICOM to overlay, boxes and map: {min(times[1:]):.2f} to {max(times[1:]):.2f} s")


def one(predictor: Predictor, image: str, out: Path) -> None:
    from sentalign.localize.files.one_picture import localize_picture

    picture = decode(image)
    assert isinstance(picture, Picture)
    localize_picture(predictor, picture, predictor.image(picture.grey_HW), SENTENCE, out, full_size=False)


def seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def write_png(file: Path, side: int, seed: int) -> str:
    small = np.random.default_rng(seed).integers(0, 255, (side // 16, side // 16), dtype=np.uint8)
    Image.fromarray(small).resize((side, side)).save(file)
    return str(file)


def write_dicom(file: Path, side: int) -> str:
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    image.PatientID, image.Modality = "none", "DX"
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PixelData = np.random.default_rng(0).integers(0, 4096, (side, side)).astype(np.uint16).tobytes()
    image.save_as(file, enforce_file_format=True)
    return str(file)


if __name__ == "__main__":
    main()

"""The pixel data of a DICOM file → its stored values, with one fixed decoder for each transfer syntax.

In: a parsed dataset. Out: the array of stored values, and its colour space. One decoder each, so that a picture never
depends on what else is installed or has failed: the fastest of the exact ones, all permissively licensed; gdcm reads
the JPEG processes that no other decoder reads. The meaning of the values: `display`.
"""

# H rows, W columns, C samples
from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import as_pixel_options

from sharding.contract import Reason, Rejected
from sharding.pixels.decode import codestream
from sharding.pixels.decode.codestream import Codestream
from sharding.pixels.decode.layout import AS_SAID, PixelLayout, used_bits, within_loss

NATIVE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
NATIVE |= {uid.DeflatedExplicitVRLittleEndian}
RGB_IDS = (b"RGB", b"rgb")  # of components
GDCM_DAMAGE = b"Corrupt JPEG data"
MEMORY_FILES = hasattr(os, "memfd_create")
MOST_BITS = 16  # of a compressed value
PADDING = b"\0\xff "

Decoded = tuple[NDArray[Any], PixelLayout, str, str]  # values, what holds of the header, colour space, decoder

_capture = threading.Lock()


@dataclass(frozen=True)
class StoredPixels:
    """Stored values, (H, W) or (H, W, C), in native byte order; `decoder` is the library that decoded them.

    `photometric` is the colour space of the decoder's output; a colour image in two dimensions is its luminance.
    """

    values: NDArray[Any]
    photometric: str
    decoder: str
    layout: PixelLayout


def stored_values(dataset: Dataset) -> StoredPixels:
    """The values of the frame; raises Rejected(DECODE), and any exception of a decoder for damaged data."""
    layout, syntax = PixelLayout.of(dataset), dataset.file_meta.TransferSyntaxUID
    if "PixelData" not in dataset:
        raise Rejected(Reason.DECODE, "the file ends inside its pixel data")
    if syntax in NATIVE:
        values, layout, photometric, decoder = _native(dataset, layout)
    elif syntax == uid.RLELossless:
        values, layout, photometric, decoder = _rle(dataset, layout)
    elif syntax in uid.JPEG2000TransferSyntaxes:
        values, layout, photometric, decoder = _j2k(dataset, layout)
    elif syntax in uid.JPEGLSTransferSyntaxes:
        values, layout, photometric, decoder = _jpeg_ls(dataset, layout)
    elif syntax in uid.JPEGTransferSyntaxes:
        values, layout, photometric, decoder = _jpeg(dataset, layout)
    else:
        known = f" ({syntax.name})" if syntax.name != str(syntax) else ""  # the standard's own words
        raise Rejected(Reason.DECODE, f"no decoder for the transfer syntax{known}")
    return StoredPixels(values.astype(values.dtype.newbyteorder("="), copy=False), photometric, decoder, layout)


def _native(dataset: Dataset, layout: PixelLayout) -> Decoded:
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples  # two pixels share their chroma
    expected = -(-layout.rows * layout.columns * samples * layout.allocated // 8)
    if len(dataset.PixelData) < expected:
        raise Rejected(Reason.DECODE, "the pixel data is cut off")
    if len(dataset.PixelData) >= 2 * expected > 2:
        raise Rejected(Reason.DECODE, "the pixel data is twice as long as the header describes")
    values, photometric = _by_pydicom(dataset, "", bits={"bits_stored": layout.bits})
    return *used_bits(values, layout, layout.allocated), photometric, "numpy"


def _rle(dataset: Dataset, layout: PixelLayout) -> Decoded:
    with _captured_stderr():  # the decoder panics on damage and prints a trace
        values, photometric = _by_pydicom(dataset, "pylibjpeg", bits={"bits_stored": layout.bits})
    return *used_bits(values, layout, layout.allocated), photometric, "pylibjpeg-rle"


def _j2k(dataset: Dataset, layout: PixelLayout) -> Decoded:
    frame = codestream.bare_j2k(frame_of(dataset))
    coded = _check(layout, codestream.of_j2k(frame))
    values, photometric = _by_pydicom(dataset, "pylibjpeg", encapsulate([frame]), bits=_word(layout, coded))
    return *within_loss(values, layout.of_frame(coded.precision), coded.precision), photometric, "openjpeg"


def _jpeg_ls(dataset: Dataset, layout: PixelLayout) -> Decoded:
    frame = frame_of(dataset)
    coded = _check(layout, codestream.of_jpeg(frame), frame)
    layout = layout.of_frame(coded.precision)
    values, photometric = _by_pydicom(dataset, "pyjpegls", bits=_word(layout, coded))
    held = used_bits if layout.signed else within_loss
    return *held(values, layout, coded.precision), photometric, "charls"


def _jpeg(dataset: Dataset, layout: PixelLayout) -> Decoded:
    frame = frame_of(dataset)
    coded = _check(layout, codestream.of_jpeg(frame), frame)
    if codestream.has_too_many_scans(frame):
        raise Rejected(Reason.DECODE, "more scans than any JPEG has: refused as a decompression bomb")
    layout = layout.of_frame(coded.precision)
    if coded.precision == 8 and not coded.lossless:
        values, photometric = _by_pillow(frame, layout)
        return *within_loss(values, layout, 8), photometric, "pillow"
    values, photometric = _by_gdcm(dataset, frame, coded)
    held = used_bits if coded.lossless else within_loss
    return *held(values, layout, coded.precision), photometric, "gdcm"


def _word(layout: PixelLayout, coded: Codestream) -> dict[str, int]:
    """The bits that a decoder is told, for a frame whose depth is not that of the header."""
    if layout.depth == AS_SAID and coded.precision <= layout.allocated:
        return {}
    return {"bits_stored": coded.precision, "bits_allocated": 8 if coded.precision <= 8 else 16}


def _by_gdcm(dataset: Dataset, frame: bytes, coded: Codestream) -> tuple[NDArray[Any], str]:
    """JPEG of more than 8 bits, or lossless.

    With the frame's own precision and without its metadata: gdcm ends the process, not the decoding, if it finds the
    bits inconsistent, or an unknown unit of resolution in the metadata.
    """
    if coded.precision < 8 or (coded.samples > 1 and coded.precision not in (8, 16)):
        raise Rejected(Reason.DECODE, "no decoder for a JPEG of this depth")
    options = {"bits_stored": coded.precision, "bits_allocated": 8 if coded.precision == 8 else 16}
    source = encapsulate([codestream.without_metadata(frame)])
    with _captured_stderr() as messages:
        decoded = _by_pydicom(dataset, "gdcm", source, uid.JPEGLossless, options)
        messages.seek(0)
        if GDCM_DAMAGE in messages.read():  # it pads missing data and returns
            raise Rejected(Reason.DECODE, "the compressed image is damaged")
    return decoded


def _by_pillow(frame: bytes, layout: PixelLayout) -> tuple[NDArray[Any], str]:
    """8-bit JPEG, colour as its luminance (the decoder skips the rest), and the colour space."""
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    assert isinstance(image, JpegImageFile)
    has_marker = image.info.keys() & {"jfif", "adobe_transform"} or bytes(layer[0] for layer in image.layer) in RGB_IDS
    # Without a marker the decoder assumes YCbCr for three components; with YCbCr as output, it leaves RGB unchanged.
    as_stored = layout.photometric == "RGB" and not has_marker
    image.draft("YCbCr" if as_stored else "L", None)
    values = np.asarray(image)
    return (values.view(np.int8) if layout.signed else values), layout.photometric


def frame_of(dataset: Dataset) -> bytes:
    """The compressed frame."""
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _check(layout: PixelLayout, coded: Codestream | None, jpeg: bytes | None = None) -> Codestream:
    """The codestream, if it has the kind and size of the header; `jpeg` must have an end marker."""
    if coded is None:
        raise Rejected(Reason.DECODE, "the compressed image has no header, or one that violates its standard")
    same_size = (coded.rows, coded.columns, coded.samples) == (layout.rows, layout.columns, layout.samples)
    if not same_size or coded.precision > MOST_BITS:
        raise Rejected(Reason.DECODE, "the compressed image differs in size from the DICOM header")
    if jpeg is not None and not jpeg.rstrip(PADDING).endswith(
        codestream.END_OF_IMAGE
    ):  # some decoders pad missing data
        raise Rejected(Reason.DECODE, "the compressed image is cut off")
    return coded


def _by_pydicom(
    dataset: Dataset,
    decoder: str,
    source: bytes | None = None,
    syntax: uid.UID | None = None,
    bits: dict[str, int] | None = None,
) -> tuple[NDArray[Any], str]:
    """The decoded values, with unused bits unchanged, and the colour space of the decoder's output.

    `source` replaces the pixel data, `syntax` the transfer syntax: pydicom refuses 12-bit JPEG for gdcm, which uses the
    frame's own header and reads it well.
    """
    transfer_syntax = syntax or dataset.file_meta.TransferSyntaxUID
    options: dict[str, Any] = as_pixel_options(
        dataset,
        pixel_keyword="PixelData",
        pixel_vr=dataset["PixelData"].VR,
        transfer_syntax_uid=transfer_syntax,
        number_of_frames=1,
        allow_excess_frames=False,
        extended_offsets=None,  # of one frame: all fragments belong to it
        correct_unused_bits=False,
        view_only=not decoder,
        **(bits or {}),
    )
    values, description = get_decoder(transfer_syntax).as_array(
        source or dataset.PixelData, index=0, raw=True, decoding_plugin=decoder, **options
    )
    return values, str(description["photometric_interpretation"])


@contextmanager
def _captured_stderr() -> Iterator[BinaryIO]:
    """A file that gets what libraries write to the file descriptor 2 meanwhile.

    One at a time, as the descriptor belongs to the process. In memory where the system can: the disk may be full.
    """
    with _capture, open(os.memfd_create("stderr"), "w+b") if MEMORY_FILES else tempfile.TemporaryFile() as messages:
        try:
            kept = os.dup(2)
        except OSError:  # it is closed
            yield messages
            return
        os.dup2(messages.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(kept, 2)
            os.close(kept)

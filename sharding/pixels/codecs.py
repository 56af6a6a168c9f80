"""The pixel data of a DICOM file → its stored values, by one fixed decoder for each transfer syntax.

In: a parsed dataset. Out: an array of what the file stores, and its colour space. One decoder each, so that a picture
never depends on what else is installed or failed before: the fastest of the exact ones, all permissively licensed; gdcm
reads the JPEG processes that no other of them does. What the values mean is in `display`.
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
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import as_pixel_options

from sharding.contract import Reason, Rejected
from sharding.pixels import codestream
from sharding.pixels.header import number
from sharding.pixels.picture import MOST_PIXELS

NATIVE = frozenset(
    (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    )
)
SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
RGB_IDS = (b"RGB", b"rgb")  # of components
GDCM_DAMAGE = b"Corrupt JPEG data"
MEMORY_FILES = hasattr(os, "memfd_create")
END_OF_IMAGE, PADDING = b"\xff\xd9", b"\0\xff"

Decoded = tuple[NDArray[Any], str, str]  # values, colour space, decoder

_capture = threading.Lock()


@dataclass(frozen=True)
class Layout:
    """How the header describes the pixel data (PS3.3 C.7.6.3); `below` counts the unused bits under the stored ones."""

    rows: int
    columns: int
    samples: int
    allocated: int
    bits: int
    below: int
    signed: bool
    photometric: str

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest number that the stored bits can hold."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Raises Rejected(DECODE) for what no radiograph is, or whatever a value that is no number raises."""
        if (number(dataset, "NumberOfFrames") or 1) > 1:
            raise Rejected(Reason.DECODE, "multi-frame: one frame is expected")
        allocated, bits, high = int(dataset.BitsAllocated), int(dataset.BitsStored), number(dataset, "HighBit")
        if not 1 <= bits <= allocated:
            raise Rejected(Reason.DECODE, "the bits stored contradict the bits allocated")
        # Old files keep their values at the top of the word.
        below = int(high) + 1 - bits if high is not None and bits <= high < allocated else 0
        rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
        if rows * columns * samples > MOST_PIXELS:
            raise Rejected(Reason.DECODE, "more pixels than any X-ray has: refused as a decompression bomb")
        photometric = str(dataset.PhotometricInterpretation)
        if SAMPLES.get(photometric) != samples:
            raise Rejected(Reason.DECODE, "the photometric interpretation is unknown or contradicts the samples")
        signed = int(dataset.PixelRepresentation) == 1
        return cls(rows, columns, samples, allocated, bits, below, signed, photometric)


@dataclass(frozen=True)
class Stored:
    """Stored values, (H, W) or (H, W, C), in the machine's byte order; `decoder` is the library that made them.

    `photometric` is the colour space that the decoder left; colour in two dimensions is its luminance.
    """

    values: NDArray[Any]
    photometric: str
    decoder: str
    layout: Layout


def stored_values(dataset: Dataset) -> Stored:
    """The values of the one frame; raises Rejected(DECODE), or whatever a decoder raises for damaged data."""
    layout, syntax = Layout.of(dataset), dataset.file_meta.TransferSyntaxUID
    if "PixelData" not in dataset:
        raise Rejected(Reason.DECODE, "the file ends inside its pixel data")
    if syntax in NATIVE:
        values, photometric, decoder = _native(dataset, layout)
    elif syntax == uid.RLELossless:
        values, photometric, decoder = _rle(dataset, layout)
    elif syntax in uid.JPEG2000TransferSyntaxes:
        values, photometric, decoder = _j2k(dataset, layout)
    elif syntax in uid.JPEGLSTransferSyntaxes:
        values, photometric, decoder = _jpeg_ls(dataset, layout)
    elif syntax in uid.JPEGTransferSyntaxes:
        values, photometric, decoder = _jpeg(dataset, layout)
    else:
        raise Rejected(Reason.DECODE, "no decoder for the transfer syntax")
    return Stored(values.astype(values.dtype.newbyteorder("="), copy=False), photometric, decoder, layout)


def _native(dataset: Dataset, layout: Layout) -> Decoded:
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples  # two pixels share their colours
    expected = -(-layout.rows * layout.columns * samples * layout.allocated // 8)
    if len(dataset.PixelData) < expected:
        raise Rejected(Reason.DECODE, "the pixel data is cut off")
    if len(dataset.PixelData) >= 2 * expected > 2:
        raise Rejected(Reason.DECODE, "the pixel data is twice as long as the header says")
    values, photometric = _by_pydicom(dataset, "")
    return _used_bits(values, layout, layout.below), photometric, "numpy"


def _rle(dataset: Dataset, layout: Layout) -> Decoded:
    with _captured_stderr():  # the decoder panics on damage and prints a trace
        values, photometric = _by_pydicom(dataset, "pylibjpeg")
    return _used_bits(values, layout, layout.below), photometric, "pylibjpeg-rle"


def _j2k(dataset: Dataset, layout: Layout) -> Decoded:
    frame = codestream.bare_j2k(_frame(dataset))
    _check(layout, codestream.of_j2k(frame))
    return *_by_pydicom(dataset, "pylibjpeg", encapsulate([frame])), "openjpeg"


def _jpeg_ls(dataset: Dataset, layout: Layout) -> Decoded:
    frame = _frame(dataset)
    _check(layout, codestream.of_jpeg(frame), frame)
    values, photometric = _by_pydicom(dataset, "pyjpegls")
    return (_used_bits(values, layout, 0) if layout.signed else values), photometric, "charls"


def _jpeg(dataset: Dataset, layout: Layout) -> Decoded:
    frame = _frame(dataset)
    coded = _check(layout, codestream.of_jpeg(frame), frame)
    if codestream.has_too_many_scans(frame):
        raise Rejected(Reason.DECODE, "more scans than any JPEG has: refused as a decompression bomb")
    if coded.precision == 8 and not coded.lossless:
        return *_by_pillow(frame, layout), "pillow"
    values, photometric = _by_gdcm(dataset, frame, coded)
    # With loss, values may pass the stored bits a little: cut to those, white would turn black.
    return (_used_bits(values, layout, 0) if coded.lossless else values), photometric, "gdcm"


def _by_gdcm(dataset: Dataset, frame: bytes, coded: codestream.Codestream) -> tuple[NDArray[Any], str]:
    """JPEG of more than 8 bits or without loss.

    By the frame's own precision and without its remarks: gdcm ends the process, not the decoding, where it thinks that
    the bits do not fit, or at an unknown unit of resolution in a remark.
    """
    if coded.precision < 8 or (coded.samples > 1 and coded.precision not in (8, 16)):
        raise Rejected(Reason.DECODE, "no decoder for a JPEG of this depth")
    options = {"bits_stored": coded.precision, "bits_allocated": 8 if coded.precision == 8 else 16}
    source = encapsulate([codestream.without_remarks(frame)])
    with _captured_stderr() as said:
        decoded = _by_pydicom(dataset, "gdcm", source, uid.JPEGLossless, **options)
        said.seek(0)
        if GDCM_DAMAGE in said.read():  # it fills up what is missing and goes on
            raise Rejected(Reason.DECODE, "the compressed image is damaged")
    return decoded


def _by_pillow(frame: bytes, layout: Layout) -> tuple[NDArray[Any], str]:
    """8-bit JPEG, colour as its luminance (the decoder leaves the rest out), and the colour space."""
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    assert isinstance(image, JpegImageFile)
    says_itself = image.info.keys() & {"jfif", "adobe_transform"} or bytes(layer[0] for layer in image.layer) in RGB_IDS
    # Without a marker the decoder takes three components for YCbCr; asked for those, it leaves RGB as it is.
    as_stored = layout.photometric == "RGB" and not says_itself
    image.draft("YCbCr" if as_stored else "L", None)
    values = np.asarray(image)
    return (values.view(np.int8) if layout.signed else values), layout.photometric


def _frame(dataset: Dataset) -> bytes:
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _check(layout: Layout, coded: codestream.Codestream | None, jpeg: bytes | None = None) -> codestream.Codestream:
    """The codestream, if it is an image of the kind and size that the header announces; `jpeg` has to have an end."""
    if coded is None:
        raise Rejected(Reason.DECODE, "the compressed image has no header of its own, or one against its standard")
    same_size = (coded.rows, coded.columns, coded.samples) == (layout.rows, layout.columns, layout.samples)
    if not same_size or coded.precision > layout.allocated:
        raise Rejected(Reason.DECODE, "the compressed image has another size than the header says")
    if jpeg is not None and not jpeg.rstrip(PADDING).endswith(END_OF_IMAGE):  # some decoders fill up what is missing
        raise Rejected(Reason.DECODE, "the compressed image is cut off")
    return coded


def _by_pydicom(
    dataset: Dataset, decoder: str, source: bytes | None = None, syntax: uid.UID | None = None, **given: int
) -> tuple[NDArray[Any], str]:
    """Decoded, with unused bits as they stand, and the colour space that the decoder left.

    `source` instead of the pixel data, `syntax` where another is to be announced: pydicom keeps 12-bit JPEG from gdcm,
    which goes by the frame's own header and reads it well.
    """
    announced = syntax or dataset.file_meta.TransferSyntaxUID
    options: dict[str, Any] = as_pixel_options(
        dataset,
        pixel_keyword="PixelData",
        pixel_vr=dataset["PixelData"].VR,
        transfer_syntax_uid=announced,
        number_of_frames=1,
        allow_excess_frames=False,
        extended_offsets=None,  # with one frame, all fragments are its own
        correct_unused_bits=False,
        view_only=not decoder,
        **given,
    )
    values, made = get_decoder(announced).as_array(
        source or dataset.PixelData, index=0, raw=True, decoding_plugin=decoder, **options
    )
    return values, str(made["photometric_interpretation"])


def _used_bits(values: NDArray[Any], layout: Layout, below: int) -> NDArray[Any]:
    """The values without what stands in the bits around them (overlays, in old files; PS3.5 8.1.1)."""
    low, high = layout.range
    if not below and values.min() >= low and values.max() <= high:
        return values
    above = max(0, 8 * values.dtype.itemsize - layout.bits - below)
    return (values << above) >> (above + below)


@contextmanager
def _captured_stderr() -> Iterator[BinaryIO]:
    """A file that gets what libraries write to the file descriptor 2 meanwhile.

    One at a time, as the descriptor belongs to the process. In memory where the system can: the disk may be full.
    """
    with _capture, open(os.memfd_create("stderr"), "w+b") if MEMORY_FILES else tempfile.TemporaryFile() as said:
        try:
            kept = os.dup(2)
        except OSError:  # closed: nobody reads it
            yield said
            return
        os.dup2(said.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)

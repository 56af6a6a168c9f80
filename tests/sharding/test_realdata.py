"""Real files: every valid one is read to known pixels, every malformed one is refused for the right reason."""

from __future__ import annotations

import hashlib
import io
import tarfile
import warnings

import numpy as np
import pydicom
import pytest
from PIL import Image

from sharding import pixels
from sharding.cli import main
from sharding.contract import Reason, Rejected
from sharding.sources import open_i
from sharding.sources.files.inventory import Inventory
from sharding.text import sections, sentences
from tests.sharding.pixels import plain_display

pytestmark = pytest.mark.realdata

REASONS = {
    "0_ORIGINAL_no_pixels.dcm": Reason.REQUIRED_TAGS,
    "CR-MONO1-10-chest.noext": Reason.NO_IMAGE,
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": Reason.PARSE,
    "JPEG-lossy.dcm": Reason.DECODE,
    "MR_truncated.dcm": Reason.DECODE,
    "dwv-test_no-number-rows.dcm": Reason.REQUIRED_TAGS,
    "html_named.dcm": Reason.PARSE,
    "meta_missing_tsyntax.dcm": Reason.REQUIRED_TAGS,
}
# sha256 of the grey pixels (first 16 digits).
GOLDEN = {
    "chest/gdcm-CR-MONO1-10-chest.dcm": "b18accc0d440cd67",
    "chest/test1.dcm": "8a771769a267418e",
    "chest/test2.dcm": "ab30bbf7c6b0698e",
    "chest/test3.dcm": "033dadbc352c492f",
    "syntax/ExplVR_BigEnd.dcm": "e21f8f79cc7af448",
    "syntax/HTJ2KLossless_08_RGB.dcm": "f33fff008101c5f5",
    "syntax/J2K_pixelrep_mismatch.dcm": "dbe3bc187588e8c3",
    "syntax/MR-SIEMENS-DICOM-WithOverlays.dcm": "f7fc49171679f4ac",
    "syntax/MR_small_RLE.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_bigendian.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_expb.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_implicit.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_jp2klossless.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_jpeg_ls_lossless.dcm": "38ab8d87e706bf8d",
    "syntax/MR_small_padded.dcm": "38ab8d87e706bf8d",
    "syntax/image_dfl.dcm": "1f5f1b1c1a57606a",
    "syntax/vlut_04.dcm": "74853be063ef5655",
    "xray_other/JPEG2KLossless_1s_1f_u_16_16.dcm": "27961315c593431d",
    "xray_other/RG2_JLSL.dcm": "ddc934133b763daf",
    "xray_other/RG2_JPLL.dcm": "ddc934133b763daf",
    "xray_other/RG3_J2KR.dcm": "723a668ac381483d",
    "xray_other/highdicom_dx_dog_thorax.dcm": "7ab083b05e51cd2b",
}
# Mean and standard deviation of those coded with loss, whose last bit may differ by build.
LOSSY = {
    "chest/RG1_J2KI.dcm": (192.2, 38.8),
    "chest/c64d5667-a776-4f95-9e21-bfabafb07740.dcm": (111.4, 44.8),
    "syntax/693_J2KI.dcm": (44.3, 81.8),
    "syntax/HTJ2K_08_RGB.dcm": (136.9, 45.2),
    "syntax/JPEG2000.dcm": (49.6, 46.7),
    "syntax/SC_rgb_small_odd_jpeg.dcm": (128.7, 28.5),
}


@pytest.mark.parametrize("name", REASONS)
def test_malformed_files_are_refused(realdata, name):
    with pytest.raises(Rejected) as caught:
        pixels.read((realdata / "dicom" / "malformed" / name).read_bytes(), name)
    assert caught.value.reason == REASONS[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_are_the_inspected_ones(realdata, name):
    grey_HW = pixels.read((realdata / "dicom" / name).read_bytes()).grey_HW
    assert hashlib.sha256(grey_HW.tobytes()).hexdigest()[:16] == GOLDEN[name]


@pytest.mark.parametrize("name", LOSSY)
def test_pixels_coded_with_loss_are_near_the_inspected_ones(realdata, name):
    grey_HW = pixels.read((realdata / "dicom" / name).read_bytes()).grey_HW
    assert (grey_HW.mean(), grey_HW.std()) == pytest.approx(LOSSY[name], abs=0.3)


def test_every_file_that_is_not_malformed_is_read(realdata):
    for path in sorted((realdata / "dicom").glob("*/*")):
        if path.parent.name != "malformed":
            assert pixels.read(path.read_bytes()).grey_HW.ndim == 2, path.name


@pytest.mark.parametrize("name", [*GOLDEN, "chest/RG1_J2KI.dcm", "syntax/693_J2KI.dcm", "syntax/JPEG2000.dcm"])
def test_the_chain_by_table_is_the_chain_by_pixel(realdata, name):
    """The twin decodes by the library that pydicom prefers, so the decoders are compared as well."""
    data = (realdata / "dicom" / name).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected_HW = plain_display.grey(pydicom.dcmread(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels.read(data).grey_HW, expected_HW)


def test_the_luminance_of_real_jpegs_is_that_of_their_colours(realdata):
    """Equal except for out-of-gamut colours: drawn arrows and letters."""
    for path in sorted((realdata / "cxr_notes" / "images").glob("*.jp*g"))[::6]:
        full_HW = np.asarray(Image.open(path).convert("L")).astype(int)
        apart_HW = abs(pixels.read(path.read_bytes()).grey_HW - full_HW)
        assert apart_HW.mean() < 0.02
        assert apart_HW.max() < 25


@pytest.mark.parametrize("size", [1024, 512, 224])
def test_averaging_pixels_first_costs_less_than_the_jpeg_coder(realdata, size):
    for name in ("chest/RG1_J2KI.dcm", "xray_other/RG2_JLSL.dcm", "xray_other/RG3_J2KR.dcm"):
        picture = pixels.read((realdata / "dicom" / name).read_bytes())
        small_HW = pixels.shrink(picture, size).grey_HW
        rows, columns = small_HW.shape
        alone = Image.fromarray(picture.grey_HW).resize((columns, rows), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        alone.save(buffer, "JPEG", quality=95)
        alone_HW = np.asarray(alone).astype(int)
        coded = abs(np.asarray(Image.open(buffer)) - alone_HW).mean()
        assert abs(small_HW - alone_HW).mean() < max(coded, 0.4)


@pytest.mark.parametrize("name", ["chest/RG1_J2KI.dcm", "chest/gdcm-CR-MONO1-10-chest.dcm", "chest/test2.dcm"])
def test_the_mediastinum_is_brighter_than_the_lungs(realdata, name):
    grey_HW = pixels.read((realdata / "dicom" / name).read_bytes()).grey_HW
    rows, columns = grey_HW.shape
    band_HW = grey_HW[rows // 3 : rows // 2]
    lungs = band_HW[:, [columns // 4, 3 * columns // 4]].mean()
    assert band_HW[:, columns // 2].mean() > lungs + 10


def test_every_transfer_syntax_of_one_image_gives_the_same_pixels(realdata):
    names = ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit")
    pictures = [pixels.read((realdata / "dicom" / "syntax" / f"MR_small_{name}.dcm").read_bytes()) for name in names]
    assert len({picture.grey_HW.tobytes() for picture in pictures}) == 1
    assert len({picture.provenance["codec"] for picture in pictures}) == len(names)


def test_the_folder_of_dicom_files(realdata, tmp_path, capsys):
    arguments = ["build", "folder", str(realdata / "dicom"), "--out", str(tmp_path / "out"), "--allow-no-text"]
    arguments += [
        "--modality",
        "any",
        "--body-part",
        "any",
        "--max-failures",
        "0.3",
        "--processes",
        "1",
        "--private",
        str(tmp_path / "private"),
    ]
    assert main(arguments) == 0
    assert "read 36 = written 28 + rejected 8 + already there 0" in capsys.readouterr().out


def test_every_open_i_report_yields_sentences(realdata, tmp_path):
    with tarfile.open(next((realdata / "openi").glob("*.tgz"))) as archive:
        members = archive.getmembers()[:400]
        archive.extractall(tmp_path, members, filter="data")
    images = open_i.read(Inventory.of(str(tmp_path))).images
    assert len(images) > 300
    for image in images:
        text = image.text or ""
        split = [s for part in sections.official(text) for s in sentences.split(text, part.name, part.start, part.end)]
        assert split or "FINDINGS" not in text
        assert all(text[s.start : s.end].split() == s.text.split() or "_" in s.text for s in split)
        assert all(len(s.text) < 600 for s in split)

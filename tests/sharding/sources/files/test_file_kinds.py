"""Files that are no images are known by name and counted by kind; everything else is tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.sources.files.file_kinds import HIDDEN, OTHER, PACKAGE, SYSTEM, kind_of, may_be_images


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (name, "")
            for name in ("a.dcm", "a", "IM000001", "x/1.2.840.5", "a.PNG", "a.dcm.gz", "b.png.GZ", "IM1.gz", "a.tif")
        ),
        *(
            (name, OTHER)
            for name in ("LICENSE", "x/README", "DICOMDIR", "dicomdir", "a.txt", "b.JSON", "SHA256SUMS", "Makefile")
        ),
        *((name, OTHER) for name in ("t.csv.gz", "labels/1.xml", "model.pth")),
        *(
            (name, SYSTEM)
            for name in ("@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "1.png:Zone.Identifier", "Thumbs.db", "__MACOSX/a.png")
        ),
        *(
            (name, SYSTEM)
            for name in ("$RECYCLE.BIN/a.dcm", "#recycle/a.dcm", ".@__thumb/a.png", "x/desktop.ini", "a.png~")
        ),
        *((name, HIDDEN) for name in (".more", ".git/a.png", "x/._a.dcm")),
        *((name, PACKAGE) for name in ("a.zip", "all.tar.gz", "x.7z", "b.nii.gz")),
    ],
)
def test_the_kind_of_a_file(name, kind):
    assert kind_of(name) == kind


def test_nothing_is_passed_over_in_silence():
    names = ["b.dcm", "a.dcm", "LICENSE", ".x", "c.zip", "Thumbs.db"]
    images, others = may_be_images(names)
    assert images == ["a.dcm", "b.dcm"]
    assert len(images) + sum(others.values()) == len(names)


PARTS = st.sampled_from(
    [
        "a",
        "IM1",
        ".",
        "..",
        ".x",
        "@eaDir",
        "LICENSE",
        "Thumbs.db",
        "1.2.840",
        "a.b",
        "~",
        ":Zone.Identifier",
        "\n",
        "é",
    ]
)
ENDINGS = st.sampled_from(
    ["", ".dcm", ".PNG", ".jpeg", ".gz", ".dcm.gz", ".zip", ".txt", ".csv.gz", ".nii.gz", ".", "~"]
)
NAMES = st.one_of(st.builds("{}{}".format, st.lists(PARTS, min_size=1).map("/".join), ENDINGS), st.text(min_size=1))


@given(st.lists(NAMES))
def test_every_name_is_an_image_or_counted(names):
    images, others = may_be_images(names)
    assert len(images) + sum(others.values()) == len(names)
    assert set(images) <= set(names)
    assert set(others) <= {HIDDEN, SYSTEM, OTHER, PACKAGE}


@given(
    st.lists(st.text("aB1_- é", min_size=1), min_size=1, max_size=4), st.sampled_from(["dcm", "png", "JPG", "dcm.gz"])
)
def test_a_name_with_the_ending_of_an_image_is_never_lost(parts, ending):
    assert kind_of(f"{'/'.join(parts)}.{ending}") == ""


@pytest.mark.parametrize("piece", ["a", ".", "/", ":", "~", ":com.dropbox.", ".gz", "a.", "\n"])
def test_a_long_name_takes_no_longer_by_the_character(piece):
    kind_of(piece * (200_000 // len(piece)))

"""The server's answers: what they hold is what `localize` writes, and what is refused is refused in one line."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import socket
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from sentalign.localize.predict import Predictor
from sharding import pixels
from tests.localize.dicom_out.test_dicom_out import COLUMNS, ROWS, write_dicom
from tests.localize.test_cli import call
from tests.serve.conftest import serving

SENTENCE = "Right pleural effusion"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A 12-bit MONOCHROME1 image that is not square."""
    return write_dicom(tmp_path_factory.mktemp("picture") / "image.dcm")


def test_values_and_window_are_those_of_the_file(server, file):
    opened = server.open(file)
    assert (opened["rows"], opened["columns"], opened["no_segmentation"]) == (ROWS, COLUMNS, None)
    assert opened["units"] == pytest.approx([4095, 0], abs=1)  # dense is dark in the file: MONOCHROME1
    values = server.ask(f"/api/pictures/{opened['name']}/values").body
    deep = pixels.read_full_depth(file.read_bytes())
    np.testing.assert_array_equal(np.frombuffer(values, "<u2").reshape(ROWS, COLUMNS), deep.values_HW)


def test_pixels_that_are_not_square_are_shown_square(server, tmp_path):
    opened = server.open(write_dicom(tmp_path / "a.dcm", PixelSpacing=[2, 1]))
    assert (opened["rows"], opened["columns"]) == (ROWS, COLUMNS)
    assert opened["shown"] == {"rows": 2 * ROWS, "columns": COLUMNS}


def test_a_finding_is_what_localize_writes(server, file, served_run, tmp_path):
    call(file, SENTENCE, "--run", served_run, "--out", tmp_path)
    [written] = json.loads((tmp_path / "boxes.json").read_text())["sentences"]
    found = server.ask(f"/api/pictures/{server.open(file)['name']}/findings", {"sentence": f"  {SENTENCE} "}).json()
    raster = found.pop("raster")
    assert found == {name: written[name] for name in found}
    map_hw = np.load(tmp_path / "01-map.npz")["map"]
    values_hw = np.frombuffer(base64.b64decode(raster["values"]), "<u2").reshape(raster["rows"], raster["columns"])
    scaled_hw = (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())
    assert values_hw.shape == (ROWS, COLUMNS)
    assert np.abs(values_hw / 65535 - scaled_hw).max() < 1e-4
    assert (values_hw.min(), values_hw.max()) == (0, 65535)


def test_a_segmentation_has_a_segment_for_each_sentence_at_the_level(server, file, served_run):
    opened, sentences = server.open(file), [SENTENCE, "Small nodule"]
    answer = server.ask(f"/api/pictures/{opened['name']}/segmentation", {"sentences": sentences, "level": 0.8})
    segmentation, source = pydicom.dcmread(io.BytesIO(answer.body)), pydicom.dcmread(file)
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == sentences
    assert segmentation.StudyInstanceUID == source.StudyInstanceUID
    predictor, picture = Predictor.load(served_run), pixels.read(file.read_bytes())
    predictor.settings.__dict__["box_level"] = 0.8
    for [box, *rest], mask_hw in zip(
        (one.boxes for one in predictor.localize(picture, sentences)), segmentation.pixel_array, strict=True
    ):
        rows, columns = np.nonzero(mask_hw)
        if not rest:
            assert (columns.min(), rows.min()) == (box.x, box.y)
            assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (box.width, box.height)


def test_a_file_in_gzip_is_the_file(server, file, tmp_path):
    (tmp_path / "image.dcm.gz").write_bytes(gzip.compress(file.read_bytes()))
    names = [server.open(path)["name"] for path in (file, tmp_path / "image.dcm.gz")]
    plain, packed = (server.ask(f"/api/pictures/{name}/values").body for name in names)
    assert plain == packed
    asked = {"sentences": [SENTENCE], "level": 0.5}
    assert server.ask(f"/api/pictures/{names[1]}/segmentation", asked).status == 200


def test_a_png_has_findings_and_no_segmentation(server):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)).save(file, "PNG")
    opened = server.open(file.getvalue())
    assert server.ask(f"/api/pictures/{opened['name']}/findings", {"sentence": SENTENCE}).status == 200
    answer = server.ask(f"/api/pictures/{opened['name']}/segmentation", {"sentences": [SENTENCE], "level": 0.5})
    assert (answer.status, "they need the DICOM file" in answer.json()["error"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/api/pictures", b"", 422, "the file is empty"),
        ("/api/pictures", b"Mustermann, Erika: no findings", 422, "neither PNG nor JPEG"),
        ("/api/pictures", bytes(1_100_000), 413, "more than 1 MB were sent"),
        ("/api/pictures/nobody/findings", {"sentence": "x" * 300_000}, 413, "more than 0.26 MB were sent"),
        ("/api/pictures/nobody/segmentation", {"sentences": ["x"] * 33, "level": 0.5}, 422, "at most 32 sentences"),
        ("/api/pictures/nobody/findings", {"sentence": SENTENCE}, 404, "no longer open"),
        ("/api/pictures/nobody/findings", {"sentence": "x" * 501}, 422, "at most 500 letters"),
        ("/api/pictures/nobody/segmentation", {"sentences": [], "level": 0.5}, 422, "not one that the page sends"),
        ("/api/examples/99/file", None, 404, "no such example"),
        ("/api/nothing", None, 404, "nothing here"),
        ("/../cli.py", None, 404, "nothing here"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(server, path, body, status, reason):
    answer = server.ask(path, body)
    assert (answer.status, reason in answer.json()["error"]) == (status, True), answer.body
    assert b"Mustermann" not in answer.body


def test_a_sentence_without_letters_is_refused(server, file):
    answer = server.ask(f"/api/pictures/{server.open(file)['name']}/findings", {"sentence": " ... "})
    assert (answer.status, "an empty sentence" in answer.json()["error"]) == (422, True)


def test_a_truncated_file_is_refused_and_the_next_one_opens(server, file):
    answer = server.ask("/api/pictures", file.read_bytes()[:-5000])
    assert answer.status == 422
    assert server.open(file)


def test_a_body_without_a_length_is_bounded_too(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        assert connection.recv(64).startswith(b"HTTP/1.1 413")


def memory(server):
    """Resident bytes of the server's own process."""
    return int((Path("/proc") / str(server.process.pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_uploads_that_are_cut_off_leave_nothing_in_memory(server):
    def cut_off():
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
            connection.sendall(bytes(900_000))

    for _ in range(5):
        cut_off()
    before = memory(server)
    for _ in range(80):
        cut_off()
    assert server.ask("/api/about").status == 200
    assert memory(server) - before < 30e6  # 72 MB were sent


def test_a_wide_picture_that_no_browser_shows_is_refused(server):
    file = io.BytesIO()
    Image.fromarray(np.arange(40_000, dtype=np.uint8)[None]).save(file, "PNG")
    answer = server.ask("/api/pictures", file.getvalue())
    assert (answer.status, "32,767 pixels" in answer.json()["error"]) == (422, True)


def test_a_segmentation_of_an_old_and_a_new_sentence(server, file):
    """Also where the new one makes the picture forget the old one."""
    name = server.open(file)["name"]
    for number in range(64):
        assert server.ask(f"/api/pictures/{name}/findings", {"sentence": f"Nodule {number}"}).status == 200
    asked = {"sentences": ["Nodule 0", "Something new"], "level": 0.5}
    answer = server.ask(f"/api/pictures/{name}/segmentation", asked)
    assert len(pydicom.dcmread(io.BytesIO(answer.body)).SegmentSequence) == 2


def test_a_closed_picture_is_gone(server, file):
    name = server.open(file)["name"]
    assert server.ask(f"/api/pictures/{name}/close", b"").status == 204
    assert server.ask(f"/api/pictures/{name}/values").status == 404


def test_a_slow_upload_does_not_hold_up_others(server, file):
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nDICM")
        start = time.monotonic()
        name = server.open(file)["name"]
        assert server.ask(f"/api/pictures/{name}/findings", {"sentence": SENTENCE}).status == 200
        assert time.monotonic() - start < 30  # the slow one has two minutes


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8765"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[broken"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Host": "localhost:1", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
    ],
)
def test_other_pages_are_refused(server, headers, status):
    assert server.ask("/api/about", **headers).status == status


def test_the_page_loads_nothing_from_elsewhere(server):
    answer = server.ask("/")
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert b"http" not in answer.body.replace(b"http-equiv", b"")


def test_nothing_is_written_and_no_identity_is_logged(server, file):
    server.ask(f"/api/pictures/{server.open(file)['name']}/findings", {"sentence": SENTENCE})
    server.ask("/api/pictures", file.read_bytes()[:-5000])
    assert list(server.scratch.rglob("*")) == []
    assert server.log.read_text() == ""


def test_others_need_the_token(served_run, tmp_path):
    (tmp_path / "token.txt").write_text("correct-horse-battery\n")
    options = "--host", "0.0.0.0", "--token-file", str(tmp_path / "token.txt")
    with serving(served_run, tmp_path / "scratch", *options) as server:
        wrong = {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Host": "a/b"}, {"Host": "a?b"}
        for headers in (*wrong, {"Host": "a#"}, {"Host": "["}):
            assert server.ask("/api/about", **headers).status == 401
            assert server.ask("/api/pictures", b"x", **headers).status == 401
        assert server.ask("/").status == 200  # the page itself holds nothing
        headers = {"Authorization": "Bearer correct-horse-battery", "Host": "xray.hospital.example"}
        assert server.ask("/api/about", **headers).status == 200

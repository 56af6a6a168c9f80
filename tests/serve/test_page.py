"""The page in Chromium: boxes and maps where they should be, to a pixel; settings, undo, downloads; no other host."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest
from PIL import Image

from sharding import pixels
from tests.localize.dicom_out.test_dicom_out import write_dicom

pytestmark = pytest.mark.slow
SENTENCE = "Right pleural effusion"
ROWS, COLUMNS = 150, 100


@pytest.fixture
def page(browser, server):
    """The page, of which every request and every complaint is kept."""
    made = browser.new_page(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    made.requested, made.complaints = [], []
    made.on("request", lambda request: made.requested.append(request.url))
    made.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.on("console", lambda message: _complains(message) and made.complaints.append(message.text))
    made.goto(server.url)
    made.wait_for_selector("#gallery button:nth-child(6)")
    yield made
    assert {urlsplit(url).hostname for url in made.requested if not url.startswith("blob:")} == {"127.0.0.1"}
    assert made.complaints == []
    made.close()


def _complains(message):
    """Errors and warnings, but for one about how these tests read the canvases."""
    return message.type in ("error", "warning") and "willReadFrequently" not in message.text


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A 12-bit MONOCHROME1 image, higher than wide, whose window cuts values off at both ends."""
    stored_HW = np.random.default_rng(1).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16)
    return write_dicom(
        tmp_path_factory.mktemp("picture") / "image.dcm",
        Rows=ROWS,
        Columns=COLUMNS,
        PixelData=stored_HW.tobytes(),
        WindowCenter=2048,
        WindowWidth=1000,
    )


def opened(page, file):
    page.set_input_files("#file", file)
    page.wait_for_selector("#layers:not([hidden])")
    return page


def ask(page, sentence):
    before = page.locator("#list li").count()
    page.fill("#sentence", sentence)
    page.press("#sentence", "Enter")
    page.wait_for_selector(f"#list li:nth-child({before + 1})")
    return page


def drawn(page, selector):
    """The pixels of a canvas, (H, W, 4)."""
    width, height, values = page.evaluate(
        """(selector) => { const canvas = document.querySelector(selector);
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.width, canvas.height, Array.from(image.data)]; }""",
        selector,
    )
    return np.array(values, np.uint8).reshape(height, width, 4)


def download(page, button):
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.path()


def set_range(page, name, value):
    page.evaluate(
        """([id, value]) => { const range = document.getElementById(id); range.value = value;
            range.dispatchEvent(new Event("input")); range.dispatchEvent(new Event("change")); }""",
        [name, value],
    )


def test_the_picture_is_shown_as_the_file_says_and_by_another_window(page, file):
    opened(page, file)
    grey_HW = pixels.read(file.read_bytes()).grey_HW
    shown = drawn(page, "#picture")
    assert np.abs(shown[:, :, 0].astype(int) - grey_HW).max() <= 1
    assert page.text_content("#width-text") == "999"
    set_range(page, "width", 300)
    deep = pixels.read_full_depth(file.read_bytes())
    width = 3 * (deep.white - deep.black)
    shares_HW = (deep.values_HW - ((deep.black + deep.white) / 2 - width / 2)) / width
    expected_HW = np.floor(np.clip(shares_HW, 0, 1) * 255 + 0.5)
    assert np.abs(drawn(page, "#picture")[:, :, 0] - expected_HW).max() <= 1
    page.click("#reset-window")
    assert np.abs(drawn(page, "#picture")[:, :, 0].astype(int) - grey_HW).max() <= 1


def test_box_map_and_peak_lie_where_they_should_to_a_pixel(page, file, server):
    ask(opened(page, file), SENTENCE)
    name = server.open(file)["name"]
    found = server.ask(f"/api/pictures/{name}/findings", {"sentence": SENTENCE}).json()
    at = page.locator("#picture").bounding_box()
    share = at["width"] / COLUMNS
    assert at["height"] / ROWS == pytest.approx(share, rel=1e-3)
    lines = page.evaluate(
        """() => [...document.querySelectorAll("#marks line")].map((line) => {
            const to = line.getScreenCTM(); const point = (x, y) => new DOMPoint(x, y).matrixTransform(to);
            const [a, b] = [point(line.x1.baseVal.value, line.y1.baseVal.value),
                            point(line.x2.baseVal.value, line.y2.baseVal.value)];
            return [a.x, a.y, b.x, b.y]; })"""
    )
    in_file = (np.array(lines) - [at["x"], at["y"]] * 2) / share
    *corners, first, second = in_file
    boxes = [
        [min(part[:, 0]), min(part[:, 1]), max(part[:, 2]), max(part[:, 3])]
        for part in np.array(corners).reshape(-1, 4, 4)
    ]
    expected = [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in found["boxes"]]
    np.testing.assert_allclose(boxes, expected, atol=0.1)
    centre = (first[:2] + first[2:]) / 2, (second[:2] + second[2:]) / 2
    np.testing.assert_allclose(centre, [[found["peak"]["x"] + 0.5, found["peak"]["y"] + 0.5]] * 2, atol=0.1)
    coloured = drawn(page, "#maps canvas")[:, :, 3] > 0
    rows, columns = np.nonzero(coloured)
    extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(extent, [*np.min(expected, 0)[:2], *np.max(expected, 0)[2:]], atol=1)


def test_boxes_stay_in_place_when_zoomed_and_moved(page, file):
    ask(opened(page, file), SENTENCE)
    before = page.locator("#marks").bounding_box()
    page.mouse.move(400, 400)
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.mouse.down()
    page.mouse.move(450, 380)
    page.mouse.up()
    page.wait_for_timeout(300)
    marks, picture = (page.locator(selector).bounding_box() for selector in ("#marks", "#picture"))
    assert marks["width"] > 1.2 * before["width"]
    assert {name: pytest.approx(value, abs=0.5) for name, value in picture.items()} == marks
    page.click("#fit")
    page.wait_for_timeout(300)  # it is drawn with the next frame
    assert page.locator("#marks").bounding_box() == {k: pytest.approx(v, abs=0.5) for k, v in before.items()}


def test_opacity_and_threshold_ask_the_server_nothing(page, file):
    ask(opened(page, file), SENTENCE)
    asked = len(page.requested)
    area = (drawn(page, "#maps canvas")[:, :, 3] > 0).sum()
    set_range(page, "opacity", 20)
    set_range(page, "threshold", 80)
    assert page.eval_on_selector("#maps canvas", "canvas => canvas.style.opacity") == "0.2"
    assert 0 < (drawn(page, "#maps canvas")[:, :, 3] > 0).sum() < area
    assert len(page.requested) == asked


def test_several_sentences_undo_and_redo(page, file):
    ask(ask(opened(page, file), SENTENCE), "Small nodule")
    colours = {tuple(drawn(page, f"#maps canvas:nth-child({n})").reshape(-1, 4).max(0)[:3]) for n in (1, 2)}
    assert len(colours) == 2
    page.click("#list li:nth-child(1) button")
    assert page.locator("#list li").count() == 1
    page.locator("#stage").focus()
    page.keyboard.press("Control+z")
    assert page.locator("#list li").count() == 2
    page.click("#undo")
    page.click("#undo")
    assert page.locator("#list li").count() == 0
    assert page.is_disabled("#undo")
    for _ in range(2):
        page.click("#redo")
    assert page.locator("#list li").count() == 2
    page.uncheck("#list li:nth-child(2) input")
    assert page.locator("#maps canvas:not([hidden])").count() == 1


def test_a_drag_of_the_right_button_sets_the_window_in_one_step(page, file):
    opened(page, file)
    page.mouse.move(300, 300)
    page.mouse.down(button="right")
    page.mouse.move(400, 300)
    page.mouse.move(500, 350)
    page.mouse.up(button="right")
    assert page.input_value("#width") != "100"
    assert page.input_value("#level") != "50"
    page.click("#undo")
    assert (page.input_value("#width"), page.input_value("#level")) == ("100", "50")


def test_downloads(page, file, server):
    ask(ask(opened(page, file), SENTENCE), "Small nodule")
    content = json.loads(download(page, "#json").read_text())
    name = server.open(file)["name"]
    found = server.ask(f"/api/pictures/{name}/findings", {"sentence": SENTENCE}).json()
    del found["raster"]
    assert content["image"] == {"rows": ROWS, "columns": COLUMNS}
    assert content["sentences"][0] == {"number": 1} | found
    segmentation = pydicom.dcmread(download(page, "#seg"))
    assert [one.SegmentLabel for one in segmentation.SegmentSequence] == [SENTENCE, "Small nodule"]
    with Image.open(download(page, "#png")) as picture:
        assert picture.width == round(640 * COLUMNS / ROWS)
        assert picture.height > 640  # the sentences stand above


def test_a_file_that_is_no_picture_says_so_and_the_open_one_stays(page, file, tmp_path):
    opened(page, file)
    (tmp_path / "notes.txt").write_text("Mustermann, Erika")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#status.error")
    assert "refused" in page.text_content("#status")
    assert ask(page, SENTENCE).locator("#list li").count() == 1
    page.complaints = [text for text in page.complaints if "status of 422" not in text]


def test_of_two_files_the_one_chosen_last_is_shown(page, file, tmp_path):
    large = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900), np.uint8)).save(large)
    page.set_input_files("#file", large)
    page.set_input_files("#file", file)
    page.wait_for_selector("#layers:not([hidden])")
    page.wait_for_timeout(2000)
    assert page.text_content("#name") == file.name
    assert drawn(page, "#picture").shape[:2] == (ROWS, COLUMNS)


def test_the_window_reaches_every_value_of_the_file(page, file):
    opened(page, file)
    set_range(page, "width", 100_000)  # the slider ends where the file's values do
    shown = drawn(page, "#picture")[:, :, 0]
    stored_HW = 4095 - pydicom.dcmread(file).pixel_array.astype(float)
    assert ((shown == 0) | (shown == 255)).mean() < 0.02
    assert np.corrcoef(shown.ravel(), stored_HW.ravel())[0, 1] > 0.999


def test_ctrl_z_takes_back_the_sentence_that_was_just_asked(page, file):
    ask(opened(page, file), SENTENCE)
    page.keyboard.press("Control+z")
    assert page.locator("#list li").count() == 0


def test_a_picture_that_the_server_forgot_is_sent_again(page, file, server):
    opened(page, file)
    name = next(url.split("/")[-2] for url in page.requested if url.endswith("/values"))
    server.ask(f"/api/pictures/{name}/close", b"")
    assert ask(page, SENTENCE).locator("#list li").count() == 1
    page.complaints = [text for text in page.complaints if "status of 404" not in text]


def test_an_example_opens_with_its_sentences(page):
    page.click("#gallery button:nth-child(1)")
    page.click("#hints button")
    page.wait_for_selector("#list li")
    assert page.locator("#maps canvas").count() == 1

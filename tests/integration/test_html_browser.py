"""The page in a real browser: it shows what it should, answers clicks and keys, and asks the network for nothing."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.demo import SAMPLE
from tests.samples import HOSTILE, with_names

from vio.reporter.report import ReportOptions, report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Debian's chromium is not installed (tools/setup.sh installs it)", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")

PICTURES = ("bars", "curves", "heat", "iops", "bytes", "depth", "map", "sizes")
PATIENCE_MS = 120_000  # on a machine that is busy with other tests
LAYERS = 11  # of the sample, with the latency of all


@dataclass(slots=True)
class Shown:
    """A page in the browser, and what should not be: complaints, and requests for anything but the file."""

    page: "Page"
    faults: list[str] = field(default_factory=list)

    def watch(self, path: Path) -> "Shown":
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.faults.append(request.url))
        self.page.goto(path.as_uri())
        assert self.faults == [path.as_uri()]
        self.faults.clear()
        return self

    def pixels(self, picture: str) -> bytes:
        """Take a picture's pixels, to tell whether it is another one than before."""
        return bytes(self.page.locator(f"#{picture}").screenshot())


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "sample.html"
    report(SAMPLE, ReportOptions(html_path=path, is_table_written=False))
    return path


@pytest.fixture(params=[1280, 390])
def shown(browser: "Browser", sample: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    context = browser.new_context(viewport={"width": request.param, "height": 900}, color_scheme="light")
    shown = Shown(context.new_page()).watch(sample)
    yield shown
    assert shown.faults == []
    context.close()


def test_every_picture_is_drawn_and_nothing_is_wider_than_the_window(shown: Shown) -> None:
    for picture in PICTURES:
        assert shown.page.locator(f"#{picture} svg, #{picture} canvas").count() == 1, picture
        assert shown.page.locator(f"#{picture}").get_attribute("aria-labelledby")
    page_width, window_width = shown.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert page_width <= window_width


def test_a_layer_can_be_chosen_by_mouse_and_by_keyboard(shown: Shown) -> None:
    buttons = shown.page.locator("#heat-layers button")
    assert buttons.count() == LAYERS
    before = shown.pixels("heat")
    device = buttons.filter(has_text=re.compile("^ ?device$"))
    device.click()
    assert device.get_attribute("aria-pressed") == "true"
    assert "Own time of device" in shown.page.locator("#heat-now").inner_text()
    assert shown.pixels("heat") != before
    buttons.first.focus()
    shown.page.keyboard.press("Enter")
    assert buttons.first.get_attribute("aria-pressed") == "true"
    assert device.get_attribute("aria-pressed") == "false"


def test_a_bar_leads_to_its_layers_picture(shown: Shown) -> None:
    place = shown.page.locator("#bars")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    for share in (0.4, 0.5, 0.6):  # along the longest bar, which is the third of five
        shown.page.mouse.click(box["x"] + box["width"] * share, box["y"] + 8 + (box["height"] - 54) / 2)
    assert "Own time of" in shown.page.locator("#heat-now").inner_text()


def test_a_slow_io_opens_its_timeline(shown: Shown) -> None:
    first = shown.page.locator(".opener").first
    timeline = shown.page.locator(f"#{first.get_attribute('aria-controls')}")
    assert not timeline.is_visible()
    first.focus()
    shown.page.keyboard.press("Enter")
    assert first.get_attribute("aria-expanded") == "true"
    assert timeline.is_visible()
    widths = [bar.bounding_box() for bar in timeline.locator(".bar").all()]
    assert len(widths) > 5
    outer = widths[0]
    assert outer
    for box in widths:
        assert box
        assert box["x"] >= outer["x"] - 1
        assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 3
    first.click()
    assert not timeline.is_visible()


def test_every_picture_has_its_figures_as_a_table(shown: Shown) -> None:
    for details in shown.page.locator("details.figures").all():
        details.locator("summary").click()
        details.locator("tbody tr").first.wait_for()  # the browser says only later that it was opened
        assert details.locator("th[scope=col]").count() > 1
    rows = "details[data-table=heat] tbody tr"
    before = shown.page.locator(rows).all_inner_texts()
    shown.page.locator("#heat-layers button").last.click()
    assert shown.page.locator(rows).all_inner_texts() != before, "an open table follows the chosen layer"


def test_dark_and_light(shown: Shown) -> None:
    def back() -> str:
        return str(shown.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, pixels = back(), shown.pixels("curves")
    shown.page.get_by_role("button", name="Dark colours").click()
    assert back() != light
    assert shown.pixels("curves") != pixels
    shown.page.get_by_role("button", name="Light colours").click()
    shown.page.emulate_media(color_scheme="dark")
    assert back() == light, "what was chosen by hand stays"


def test_what_the_mouse_is_over_is_told_in_words(shown: Shown) -> None:
    curves = shown.page.locator("#curves")
    curves.scroll_into_view_if_needed()
    curves.hover()
    tip = shown.page.locator("#curves .tip")
    tip.wait_for()
    assert "all: latency" in tip.inner_text()


def test_it_prints(shown: Shown) -> None:
    assert shown.page.pdf(format="A4")[:5] == b"%PDF-"


def test_hostile_names_are_text(browser: "Browser", tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    recording = with_names(tmp_path / "hostile.vio", HOSTILE)
    report(recording, ReportOptions(html_path=path, is_table_written=False))
    context = browser.new_context()
    shown = Shown(context.new_page()).watch(path)
    for details in shown.page.locator("details.figures").all():
        details.locator("summary").click()
    for opener in shown.page.locator(".opener").all()[:3]:
        opener.click()
    shown.page.locator("#map").hover()
    assert shown.page.locator("img").count() == 0
    assert shown.page.locator("script").count() == 3
    assert "<img src=x" in shown.page.locator("h1").inner_text()
    assert "<img src=x" in shown.page.locator("#map-now").inner_text()
    assert shown.faults == []
    context.close()

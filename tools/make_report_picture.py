"""Make docs/report.png and docs/report-timeline.png anew: the page of the recording that comes with vio, in Chromium.

`.venv/bin/python -m tools.make_report_picture` in the checkout; wants Debian's chromium (tools/setup.sh).
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from lab.demo import SAMPLE
from lab.initramfs import REPOSITORY
from playwright.sync_api import FloatRect, sync_playwright

from vio.reporter.report import ReportOptions, report

_DOCS = REPOSITORY / "docs"
_WIDTH, _HEIGHT = 1120, 1000
_FEW_ROWS = """for (const row of document.querySelectorAll("table.slow > tbody > tr:nth-child(n+13)")) row.remove()"""


def main() -> int:
    """Make both pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium: tools/setup.sh installs it")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        # the page shows the recording's path as it was given
        with contextlib.chdir(SAMPLE.parent):
            report(Path(SAMPLE.name), ReportOptions(html_path=path, is_table_written=False))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="light")
        page.goto(path.as_uri())
        # what follows the window would be drawn over what is taken
        page.add_style_tag(content="nav { position: static !important }")
        page.locator("#layers .scroll").first.evaluate("table => table.remove()")
        box = page.locator("#h-iops").bounding_box()
        assert box
        clip: FloatRect = {"x": 0, "y": 0, "width": _WIDTH, "height": box["y"] - 16}
        page.screenshot(path=_DOCS / "report.png", full_page=True, clip=clip)
        page.locator(".opener").nth(2).click()
        page.evaluate(_FEW_ROWS)
        page.locator("#slowest").screenshot(path=_DOCS / "report-timeline.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

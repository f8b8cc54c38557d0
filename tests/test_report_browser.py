"""The report in a real browser: it asks for nothing, complains of nothing, fits a telephone, follows the theme and prints."""

from __future__ import annotations

import base64
from itertools import product
from pathlib import Path

import chromium
import pytest
import report_example as example
import text_page_example as texts
from payloads import PAYLOADS
from test_report_security import infected

from evenhand.report.audit import report as made
from evenhand.report.publish import one_line
from evenhand.report.texts import report as of_texts

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    made(example.realistic()).save(folder / "realistic")
    made(example.constrained()).save(folder / "constrained")
    made(infected([t for t in PAYLOADS if one_line(t)][:28])).save(folder / "hostile")
    of_texts(texts.aligned()).save(folder / "texts")
    of_texts(texts.hostile([t for t in PAYLOADS if one_line(t).strip()][30:36])).save(folder / "hostile_texts")
    (folder / "loud.html").write_text("<script>console.error(1)</script><img src=missing.png><p style='width:3000px'>wide</p>")
    return folder


def test_the_check_itself_sees_scripts_requests_and_overflow(browser, folder):
    browser.open(folder / "loud.html", 400, dark=False)
    methods = {e["method"] for e in browser.complaints()}
    assert {"Network.requestWillBeSent", "Runtime.consoleAPICalled"} <= methods
    assert browser.evaluate("document.documentElement.scrollWidth") > 400


@pytest.mark.parametrize("name", ["realistic", "constrained", "hostile", "texts", "hostile_texts"])
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (400, True)])
def test_page_is_silent_and_fits(browser, folder, name, width, dark):
    browser.open(folder / name / "report.html", width, dark)
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 21, 24)" if dark else "rgb(252, 252, 250)")
    shown = browser.evaluate("[...document.querySelectorAll('.wide svg')].filter(s => s.getBoundingClientRect().width > 0).length")
    narrow = browser.evaluate("[...document.querySelectorAll('.narrow svg')].filter(s => s.getBoundingClientRect().width > 0).length")
    assert (shown == 0) == (width == 400)
    assert narrow >= 1  # on a page the first screen's, side by side
    assert browser.evaluate("document.scripts.length") == 0
    assert len(browser.screenshot()) > 20_000


@pytest.mark.parametrize("dark", [False, True])
def test_figures_follow_the_theme(browser, folder, dark):
    browser.open(folder / "realistic" / "report.html", 1100, dark)
    script = "[...new Set([...document.querySelectorAll('.first svg text')].filter(t => t.style.fill.includes('muted')).map(t => getComputedStyle(t).fill))].join('|')"
    assert browser.evaluate(script) == ("rgb(167, 172, 177)" if dark else "rgb(85, 91, 97)")


@pytest.mark.parametrize("font", ["Inter, sans-serif", "DejaVu Sans, sans-serif"])
def test_labels_stay_inside_their_figures(browser, folder, font):
    """Whatever the machine's fonts: DejaVu is about the widest there is."""
    for name, width in product(("realistic", "constrained", "texts"), (1100, 400)):
        browser.open(folder / name / "report.html", width, dark=False)
        browser.evaluate(f"document.body.style.fontFamily = '{font}'")
        script = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
            const box = s.getBoundingClientRect();
            return [...s.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
                return b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2; }).map(t => t.textContent)
        })"""
        assert browser.evaluate(script) == []


def test_prints_as_pdf_with_the_tables_opened(browser, folder):
    browser.open(folder / "realistic" / "report.html", 1100, dark=True)
    pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert 4 <= pdf.count(b"/Type /Page\n") <= 14
    browser.call("Emulation.setEmulatedMedia", media="print")
    opened = browser.evaluate(
        "[...document.querySelectorAll('details:not(.long) table')].filter(t => !t.closest('.long')).every(t => t.getBoundingClientRect().height > 0)"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert opened is True

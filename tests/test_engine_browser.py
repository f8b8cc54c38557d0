"""Pages of every noun in a real browser: the first screen answers, nothing runs off, links open what they point to, print shows all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import chromium
import page_example as example
import pytest
from payloads import PAYLOADS

from evenhand.report.html import html
from evenhand.report.publish import publish

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
OPENED = "[...document.querySelectorAll('.panel')].map(d => d.open).join()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    ugly = publish(tuple(t for t in PAYLOADS if len(t) > 60 or "\u202e" in t or "😀" in t))
    pages = {"whole": example.whole(), "bare": example.bare(), "hostile": example.whole((*ugly[:3], "W" * 600))}
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(html(page, "audit", ["report.json", "groups.csv"]))
    calm = replace(example.whole(), warning="", note="", notes=())
    (folder / "calm.html").write_text(html(calm, "audit"))
    return folder


@pytest.mark.parametrize("name", ["whole", "bare", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(400, True), (800, False), (1280, False)])
def test_no_page_scrolls_sideways_or_asks_for_anything(browser, folder, name, width, dark):
    browser.open(folder / f"{name}.html", width, dark)
    assert browser.complaints() == []
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.scripts.length") == 0


def test_the_first_screen_answers_and_shows_three_figures_side_by_side(browser, folder):
    browser.open(folder / "calm.html", 1280, dark=False)
    bottom = "Math.max(...[...document.querySelectorAll('.verdict h2, .answer')].map(e => e.getBoundingClientRect().bottom))"
    assert browser.evaluate(bottom) < 300
    figures = browser.evaluate(
        "[...document.querySelectorAll('.first .narrow svg')].map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.bottom])"
    )
    assert [top for _, top, _ in figures] == [figures[0][1]] * 3
    assert figures[0][0] < figures[1][0] < figures[2][0]
    assert figures[0][1] < 400
    assert figures[0][2] < 800  # all of each figure
    browser.open(folder / "calm.html", 800, dark=False)
    lefts = browser.evaluate("[...document.querySelectorAll('.first .wide svg')].map(e => e.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1


@pytest.mark.parametrize("width", [400, 1280])
def test_a_link_opens_the_section_it_points_to_and_the_contents_stay_in_view(browser, folder, width):
    browser.open(folder / "whole.html", width, dark=False)
    assert browser.evaluate(OPENED) == "true,true,false,false,false"
    browser.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    browser.evaluate("document.querySelector('nav a[href=\"#changes\"]').click()")
    browser.evaluate("new Promise(done => setTimeout(done, 200))")
    assert browser.evaluate(OPENED) == "true,true,true,false,false"
    top = browser.evaluate("document.getElementById('changes').closest('.panel').getBoundingClientRect().top")
    contents = browser.evaluate("(b => [b.top, b.bottom])(document.querySelector('nav').getBoundingClientRect())")
    assert -1 <= contents[0] <= 16.5
    assert top >= (contents[1] - 1 if width == 400 else -1)  # the section's heading is not behind the contents


def test_wide_tables_scroll_with_their_first_column_in_place_and_words_stay_whole(browser, folder):
    browser.open(folder / "whole.html", 400, dark=False)
    scroll = "document.querySelector('.panel .scroll')"
    assert browser.evaluate(f"{scroll}.scrollWidth > {scroll}.clientWidth")
    browser.evaluate(f"{scroll}.scrollLeft = 150")
    assert browser.evaluate(f"{scroll}.querySelector('tbody th').getBoundingClientRect().left") == browser.evaluate(
        f"{scroll}.getBoundingClientRect().left"
    )
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tall = """[...document.querySelectorAll('td')].filter(e => e.textContent == 'contradictions').map(e => {
        const text = document.createRange(); text.selectNodeContents(e); return text.getClientRects().length; })"""
    found = browser.evaluate(tall)
    assert len(found) > 20
    assert set(found) == {1}


def test_print_shows_everything_and_small_text_has_contrast(browser, folder):
    browser.open(folder / "whole.html", 680, dark=False)
    browser.call("Emulation.setEmulatedMedia", media="print")
    shown = browser.evaluate("[...document.querySelectorAll('table')].every(t => t.getBoundingClientRect().height > 0)")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert shown is True
    for dark in (False, True):
        browser.open(folder / "whole.html", 1280, dark)
        assert browser.evaluate(CONTRAST) == []


CONTRAST = """(() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => parse(c).slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (parse(c)[3] !== 0) return c; } };
  const bad = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const c = e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color;
    if (c === 'none') continue;
    const [a, b] = [light(c), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + c);
  }
  return [...bad]; })()"""

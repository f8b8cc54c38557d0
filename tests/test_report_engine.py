"""Page → printers, whatever the kind: every output holds the same numbers, none holds a hidden one, and no text becomes anything else."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import page_example as example
import pytest
from payloads import PAYLOADS
from rich.console import Console

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate
from evenhand.report import Kind, Report, figures, numbers
from evenhand.report.figures.axes import bounds, ends, reach, round_numbers, short
from evenhand.report.figures.strips import Series, Strip, strips
from evenhand.report.html import MOST_BYTES
from evenhand.report.page import Column, Figure, Page, Panel, Table
from evenhand.report.publish import JOINERS, one_line, publish
from evenhand.report.terminal import Fit, lines, shared
from evenhand.report.verdicts import bar, row

VOID = frozenset({"meta", "rect", "line", "circle", "path", "use", "br"})
KIND = Kind("example", lambda page: page, judges=True)
TEXTS = [t for t in PAYLOADS if one_line(t).strip()]


class Skeleton(HTMLParser):
    """Tags, attributes and text of a page; every tag that opens has to close."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] * (tag not in VOID)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, *names: str) -> list[str]:
        return [v for _, attrs in self.tags for k, v in attrs.items() if k in names and v]


@pytest.fixture(scope="module")
def report() -> Report:
    return Report(example.whole(), KIND)


def printed(page: Page, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, markup=False, highlight=False, emoji=False)
    for line in lines(page):
        console.print(line)
    return console.file.getvalue()


def outputs(report: Report) -> dict[str, str]:
    texts = {"html": report.html(), "markdown": report.markdown(), "json": report.json(), "junit": report.junit(), "repr": repr(report)}
    return texts | {"terminal": printed(report.page)} | report.tables()


@pytest.mark.parametrize("page", [example.whole(), example.bare()], ids=["whole", "bare"])
def test_html_is_well_formed_links_lead_somewhere_and_nothing_is_asked_for(page):
    text = Report(page, KIND).html()
    found = Skeleton(text)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert {a.removeprefix("#") for a in found.values("href")} <= set(ids)
    assert not found.values("src", "srcset", "action", "data", "onclick", "onload")
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in found.tags}
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text
    assert "default-src 'none'" in text
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert all(attrs.get("scope") for tag, attrs in found.tags if tag == "th")


def test_closed_sections_say_what_they_found_and_nothing_is_said_twice(report):
    text = report.html()
    panels = re.findall(r'<details class="panel"( open)?>\s*<summary><h2>(.*?)</h2>(.*?)</summary>', text)
    assert [(bool(is_open), name) for is_open, name, _ in panels] == [
        (True, "Groups"), (True, "Support"), (False, "Before and after"), (False, "Pairwise"), (False, "Limits"),
    ]  # fmt: skip
    assert [re.sub("<.*?>", "", lead).split(":")[0] for *_, lead in panels[1:]] == [
        "Users with low support are served worse in every tenth",  # its figure's, as the panel has no finding of its own
        "Users with low support are served worse after as before", "One entry dominates", "Settings",
    ]  # fmt: skip
    shown = re.sub(r'aria-label="[^"]*"', "", text)
    assert shown.count("Users with low support are served worse in every tenth") == 1
    assert shown.count(report.page.requirements[0].reason) == 1  # the answer gives it
    assert "Nothing to see" not in text
    assert "Nothing at all" not in text


def test_numbers_are_the_same_in_every_output(report):
    texts = {name: text.replace("\u00a0", " ") for name, text in outputs(report).items()}
    for name, expected in {
        "html": ["70.4 %", "(67.1 to 73.7)", "62.9 %", "(56.4 to 69.4)", "7.5 points", "(0.5 to 14.4)"],
        "markdown": ["70.4 % (67.1 to 73.7)", "62.9 % (56.4 to 69.4)", "7.5 points (0.5 to 14.4)"],
        "terminal": ["70.4 % [67.1, 73.7]", "62.9 % [56.4, 69.4]"],
        "junit": ["estimate 7.5 points, 95 % simultaneous interval 0.5 to 14.4, required at most 5.0 points, 133 users, 1,809 pairs"],
    }.items():
        assert [e for e in expected if e not in texts[name]] == [], name
    groups = list(csv.DictReader(io.StringIO(texts["groups.csv"])))
    assert [groups[0][f"accuracy_{part}"] for part in ("value", "n_users", "n_pairs")] == ["0.7041", "97", "1267"]
    assert float(groups[1]["accuracy_low"]) == pytest.approx(0.5641)
    assert groups[3]["accuracy_value"] == groups[3]["accuracy_n_users"] == ""
    assert len(texts["pairwise.csv"].splitlines()) == 1 + 30 + 80  # every row, of both tables
    assert json.loads(texts["json"])["groups"][0]["value"] == 0.7041


def test_a_small_group_is_in_no_output(report):
    hidden = r"0\.98[78]|98\.[78]|(?<!\d)7 users|(?<!\d)70 pairs"
    for name, text in outputs(report).items():
        assert not re.search(hidden, text.replace("\u00a0", " ")), name
    assert "under 10 users" in report.html()
    assert "under 10 users" in printed(report.page)


@pytest.mark.parametrize("start", range(0, len(TEXTS), 60))
def test_hostile_texts_stay_texts(start):
    texts = publish(tuple(TEXTS[start : start + 60]))
    harmless = [f"word {i:02d}" for i in range(len(texts))]
    pages = [
        replace(example.bare(), title=some[0], note=some[1], headline=some[2], warning=some[3], command=some[4], facts={f"{some[5]} hash": some[6]},
                panels=(Panel("names", some[7], some[8], (Figure(some[9], table=table(some)),), notes=some),), brief=(table(some),), said=some[:3],
                requirements=tuple(Requirement(t, Estimate(0.1, 0.0, 0.2, 20, 30), 0.3, "PASS", t) for t in some[:12]))
        for some in (texts, tuple(harmless))
    ]  # fmt: skip
    hostile, plain = (Report(page, KIND) for page in pages)
    found, expected = Skeleton(hostile.html()), Skeleton(plain.html())
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in expected.tags]
    assert [sorted(attrs) for _, attrs in found.tags if "class" not in attrs] == [sorted(a) for _, a in expected.tags if "class" not in a]
    assert [t for t in texts if t not in "".join(found.text)] == []
    assert [case.get("name") for case in ET.fromstring(hostile.junit())[0]][1:] == list(texts[:12])
    assert len(hostile.markdown().splitlines()) <= 40
    assert not re.search(r"<[a-zA-Z/!?]|://", re.sub(r"\n?To reproduce: .*", "", hostile.markdown()))
    assert all(c.isprintable() or c in f"\n{JOINERS}" for c in printed(hostile.page))
    for cells in list(csv.reader(io.StringIO(hostile.tables()["names.csv"])))[1:]:
        assert not re.match(r"[\s'\"]*[=@＝＋－＠\t\r]", cells[0].removeprefix("'")) or cells[0].startswith("'")


def table(texts) -> Table:
    return Table(texts[10], (Column("name"), Column("number")), tuple((t, 0.5) for t in texts), file="names", most=100)


def test_ticks_are_round_numbers_within_the_limits():
    assert round_numbers((49.4, 60.6), 4) == [50.0, 55.0, 60.0]
    assert round_numbers((-0.021, 0.034), 7) == [-0.02, -0.01, 0.0, 0.01, 0.02, 0.03]
    assert round_numbers((0.8, 3.2), 5, 1) == [1.0, 2.0, 3.0]  # epochs
    assert all(0 < len(round_numbers((0.3, 0.3 + 10.0**k), 4)) <= 5 for k in range(-6, 7))


def test_values_are_drawn_where_the_axes_say():
    """Axes of 100 x 50 pixels from (20, 10) on, with limits 0 to 10 and 0 to 1: 5 of 10 is the middle, 1 of 1 the top; 11 is beyond."""
    canvas = figures.Canvas("x", 140, 100)
    axes = canvas.axes(20, 20, 10, 40, (0, 10), (0, 1))
    assert (axes.at(5, 1), axes.at(10, 0)) == ((70, 10), (120, 60))
    axes.dots([(5, 0.5), (11, 0.5)], label="one")
    assert len(canvas.shapes) == 1
    assert 'x="70.00" y="35.00"' in canvas.shapes[0]
    assert list(canvas.key) == ["one"]


def test_labels_of_figures_are_never_markup_mathtext_or_other_labels():
    labels = ("$\\frac{1}{0}$", "<b>日本語</b>", "@0@", "x" * 40)
    svg = example.rows_of("labels", publish(example.accuracies()), labels)(860)
    assert [f">{s}</text>" in svg for s in ("$\\frac{1}{0}$", "&lt;b&gt;日本語&lt;/b&gt;", "@0@", "x" * 25 + "…")] == [True] * 4
    assert f"<title>{'x' * 40}</title>" in svg


@pytest.mark.parametrize("n", [0, 1, 3, 10])
def test_markdown_has_at_most_forty_lines_with_the_most_important_first(n):
    page = example.whole(rows=200)
    many = replace(page, said=page.said * n, requirements=page.requirements * n, brief=(*page.brief[:1] * n, page.brief[1]))
    text = Report(many, KIND).markdown()
    found = text.splitlines()
    assert 20 <= len(found) <= 40
    assert found[-1] == "To reproduce: ` evenhand audit choices.jsonl --scores margin --tolerance 0.05 `"
    order = [
        text.index(s)
        for s in ("Is somebody served worse?", "| verdict |" if n else "By more", "| majority (reference) |" if n else "| pair 0 |")
    ]
    assert order == sorted(order)


def test_terminal_breaks_sentences_cuts_names_and_sets_intervals_under_values_where_there_is_no_room():
    page = example.whole((*example.GROUPS[:3], "x" * 70), rows=3)
    wide = printed(page, 200)
    assert wide.isascii()
    assert "x" * 59 + "..." in wide
    assert "x" * 60 not in wide
    assert "where the feature does not differ." in " ".join(wide.split())
    page = example.whole(rows=3)
    wide, narrow = printed(page, 110), printed(page, 66)
    assert "majority (reference) 70.4 % [67.1, 73.7]" in " ".join(wide.split())
    assert re.search(r"majority +70\.4 % .*\n.* \[67\.1, 73\.7\]", narrow.replace("\u00a0", " "))
    assert max(map(len, narrow.split("1,791")[0].splitlines())) <= 66
    assert "[red]α b[/red]" in printed(replace(page, brief=(replace(page.brief[0], caption="[red]α b[/red]"),))).replace("alpha", "α")
    assert shared([Fit(4, 6), Fit(5, 40)], 30) == [6, 24]  # what needs little more gets it, sentences the rest
    assert shared([Fit(4, 6), Fit(5, 40)], 8) == []
    table_alone = replace(page, brief=page.brief[:1])
    assert len(printed(table_alone, 130).splitlines()) == 18


def test_a_page_stays_small_and_quick_whatever_the_data():
    text = Report(example.huge(), KIND).html()
    assert len(text.encode()) <= MOST_BYTES
    assert "more rows" in text
    panels = tuple(Panel(f"panel-{i}", "Panel", tables=(example.long_table(500),)) for i in range(20))
    page = replace(example.whole(), panels=panels, first=())
    start = time.process_time()
    text = Report(page, KIND).html()
    assert time.process_time() - start < 1.5  # 0.05 s alone
    assert text.count("440 more rows in pairwise.csv.") == 20


def test_numbers_in_words():
    nb = numbers.NB
    assert [numbers.number(v) for v in (1234.5, -0.004, -0.005001, math.nan, None)] == ["1,234.50", "0.00", "−0.01", "–", "–"]
    assert [numbers.percent(v) for v in (0.7041, 1.0, None)] == [f"70.4{nb}%", f"100.0{nb}%", "–"]
    assert [numbers.signed_points(v) for v in (0.0749, -0.0749, 0.0)] == ["+7.5", "−7.5", "0.0"]
    assert [numbers.p_value(v) for v in (0.0009, 0.0123, math.nan)] == ["p < 0.001", "p = 0.012", "–"]
    assert [numbers.plural(n, "user") for n in (1, 1344)] == ["1 user", "1,344 users"]
    assert numbers.listing(list("abcdef")) == "a, b, c, d and 2 more"
    gap = Estimate(0.062, 0.031, 0.093, 48, 1344)
    assert numbers.evidence(gap) == f"(95{nb}% interval 3.1 to 9.3; 48 users, 1,344 pairs)"
    assert (numbers.is_clear(gap), numbers.is_clear(replace(gap, low=-0.01))) == (True, False)
    assert (numbers.flipped(gap).low, numbers.flipped(gap).value, numbers.flipped(gap).high) == (-0.093, -0.062, -0.031)


def test_requirements_in_words_and_on_their_bars():
    gap = Requirement("gap", Estimate(0.06, 0.02, 0.1, 48, 1344, "gap"), 0.05, "INSUFFICIENT", "why")
    floor = replace(
        gap, name="worst group", estimate=replace(gap.estimate, value=0.7, low=0.6, high=0.8, metric="worst_group"), tolerance=0.65
    )
    ratio = replace(gap, name="log-loss ratio", estimate=replace(gap.estimate, metric="log-loss ratio"))
    words = [row(r) for r in (gap, floor, ratio)]
    assert [(w.value.replace("\u00a0", " "), w.required.replace("\u00a0", " ")) for w in words] == [
        ("6.0 points", "at most 5.0 points"), ("70.0 %", "at least 65.0 %"), ("0.06", "at most 0.05"),
    ]  # fmt: skip
    drawn = bar(gap)  # from 0 to 0.1 with 6 % on either side: 0.05 lies in the middle, 0.06 at (0.06 + 0.006) / 0.112
    assert (drawn.limit, drawn.value, drawn.zero, drawn.allowed_from, drawn.allowed_length) == (50.0, 58.93, 5.36, 0.0, 50.0)
    assert bar(floor).zero is None
    assert bar(floor).allowed_from + bar(floor).allowed_length == 100
    assert bar(replace(gap, tolerance=math.nan)) is None


def test_what_plots_share():
    half = Estimate(0.5, 0.4, 0.6, 20, 100)
    lone, hidden = replace(half, low=math.nan), replace(half, value=math.nan, suppressed=True)
    assert ends(half) == (40.0, 60.0)
    assert ends(lone) is None
    assert ends(hidden) is None
    assert reach([half, lone, hidden]) == [50.0, 40.0, 60.0, 50.0]
    assert bounds([50.0, 60.0]) == pytest.approx((49.4, 60.6))
    assert bounds([50.0]) == (48.0, 52.0)
    assert bounds([99.0, 130.0])[1] == 102.0  # hardly beyond what is possible
    assert [short(n) for n in (99_999, 123_456, 2_345_678)] == ["99,999", "123 k", "2.3 M"]
    assert (figures.columns("ab日本"), figures.clipped("abcdef", 4), figures.clipped("日本語", 5)) == (6, "abc…", "日本…")


def test_labels_that_would_be_cut_to_the_same_text_stay_apart() -> None:
    names = ["alpha=0.1 balance=0", "alpha=0.1 balance=0.5", "short"]
    assert figures.apart(names, 12) == ["alpha=…nce=0", "alpha=…e=0.5", "short"]
    assert figures.apart(names, 30) == names
    assert figures.apart(["the same long name"] * 2, 8) == ["the sam…"] * 2
    assert figures.apart(["aaaaaaaaaaaa first bbbbbb", "aaaaaaaaaaaa other bbbbbb", "日本語日本語一", "日本語日本語二"], 13) == [
        "…first bbbbbb", "…other bbbbbb", "日本語…本語一", "日本語…本語二",
    ]  # fmt: skip
    estimate = Estimate(0.1, 0.05, 0.15, 40, 400)
    svg = strips(
        "x", ["Faro (linear) alpha=0.1 balance=0", "Faro (linear) alpha=0.1 balance=0.5"], [Strip("", [Series("", [estimate] * 2)])], 900
    )
    shown = re.findall(r"</title>([^<]*…[^<]*)</text>", svg)
    assert len(set(shown)) == 2
    assert all(figures.columns(s) <= 26 for s in shown)

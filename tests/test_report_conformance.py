"""Every kind of report through every printer: valid and silent pages, escaped texts, files that can be read back, the same numbers everywhere.

A kind joins with a row in KINDS. That texts of others stay texts, test_report_security holds.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import report_example as example
import text_page_example as texts
from pages import Page
from rich.console import Console
from test_report_hostile_names import PLAIN, of_certificate, of_check, of_diff, of_policies, of_texts
from test_report_numbers import numbers, real

from evenhand.core import Estimate
from evenhand.report import Report, verdicts
from evenhand.report.audit import report as audit
from evenhand.report.page import Name, Table
from evenhand.report.terminal import lines, plain
from evenhand.report.texts import report as text_report
from evenhand.writing import LIST

KINDS: list[tuple[str, Callable[[], Report]]] = [
    ("audit", lambda: audit(example.realistic())),
    ("audit_constrained", lambda: audit(example.constrained())),
    ("audit_examined", real),
    ("audit_small", lambda: audit(example.insufficient())),
    ("audit_of_one", lambda: audit(example.one_user())),
    ("audit_of_many", lambda: audit(example.many_groups(120))),
    ("audit_undefined", lambda: audit(example.undefined(example.constrained()))),
    ("audit_of_nothing", lambda: audit(example.bare())),
    ("check", lambda: of_check(PLAIN)),
    ("certificate", lambda: of_certificate(PLAIN)),
    ("policies", lambda: of_policies(PLAIN)),
    ("diff", lambda: of_diff(PLAIN)),
    ("texts", lambda: text_report(texts.one_run())),
    ("texts_null", lambda: text_report(texts.null_run())),
    ("texts_of_one_draw", lambda: text_report(texts.one_draw())),
    ("texts_untestable", lambda: text_report(texts.untestable())),
    ("texts_aligned", lambda: text_report(texts.aligned())),
    ("texts_none_selected", lambda: text_report(texts.none_selected())),
    ("texts_of_many_runs", lambda: text_report(texts.many())),
    ("texts_of_many_values", lambda: text_report(texts.many_values())),
    ("texts_of_nothing", lambda: text_report(texts.nothing())),
    ("texts_named", lambda: of_texts(PLAIN)),
]


@pytest.fixture(scope="module", params=[name for name, _ in KINDS])
def report(request: pytest.FixtureRequest) -> Report:
    return dict(KINDS)[request.param]()


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return report.html()


def terminal(report: Report) -> str:
    console = Console(file=io.StringIO(), width=1_000, soft_wrap=True, color_system=None)
    for part in lines(report.page):
        console.print(part)
    text: str = console.file.getvalue()
    return text


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def ends_of(written: tuple[str, str]) -> list[str]:
    """A number and both ends of its interval; names are cut at 60 letters."""
    return [part[:50] for part in (written[0], *re.split(r"\sto\s", written[1]))]


def cells(tables: tuple[Table, ...]) -> Iterator[tuple[str, str, Estimate]]:
    """(text, interval, estimate) of every estimate that people read."""
    for table in tables:
        for cells in table.rows[: table.most]:
            yield from ((*table.columns[i].write(c), c) for i in table.places if isinstance(c := cells[i], Estimate))


def test_the_page_is_well_formed_and_every_link_has_its_target(html: str) -> None:
    parsed = Page(html)
    assert parsed.open == []
    assert parsed.tags[0] == ("html", {"lang": "en"})
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for tag, attributes in parsed.tags:
        for name in ("href", "clip-path"):
            reference = re.search(r"#([\w.-]+)", attributes.get(name) or "")
            assert reference is None or reference[1] in ids, f"<{tag}> points to nowhere: {attributes[name]}"
        assert attributes.get("role") != "img" or len(attributes["aria-label"] or "") > 40


def test_the_page_asks_for_nothing_and_runs_nothing(html: str) -> None:
    tags = Page(html).tags
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "src", "action", "srcdoc"))
    assert "default-src 'none'" in html
    assert not re.search(r"(https?:)?//\w|url\((?!#)|@import|javascript:", html)
    assert len(html.encode()) <= 2_000_000


def test_nothing_is_not_a_number_and_no_panel_is_empty(html: str, report: Report) -> None:
    text = Page(html).text
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", text)
    listed = {p.key for p in report.page.panels if p.is_shown}
    assert {p.key for p in report.page.panels} & {a["id"] for _, a in Page(html).tags if "id" in a} == listed
    for panel in report.page.panels:
        assert not panel.is_shown or panel.finding or panel.notes or any(t.is_shown for t in panel.tables) or panel.figures
    assert len(report.page.first) <= 3
    assert {f.section for f in report.page.first} <= listed
    assert all(len(f.note) <= 240 for f in (*report.page.first, *(f for p in report.page.panels for f in p.figures)))  # two lines


def test_rows_that_are_not_shown_name_the_file_that_has_them(report: Report, html: str) -> None:
    shown = (t for p in report.page.panels for t in (*(f.table for f in p.figures if f.table), *p.tables) if t.is_shown)
    for table in (t for t in shown if len(t.rows) > t.most and report.kind.tables):
        file = re.fullmatch(r"[\d,]+ more rows? in (\w+\.csv)", table.rest(table.most))
        assert file is not None, table.caption
        assert len(list(csv.reader(io.StringIO(report.tables()[file[1]])))) > len(table.rows), table.caption
        assert file[0] in html


def test_markdown_fits_under_a_pull_request(report: Report) -> None:
    assert len(report.markdown().splitlines()) <= 40


def test_csv_files_are_rectangles_of_safe_cells(report: Report) -> None:
    for name, text in report.tables().items():
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1, name
        assert len(set(rows[0])) == len(rows[0]), name
        for cell in (cell for row in rows for cell in row):
            assert not re.match(r"[\s'\"]*[=@＝＋－＠\t\r]", cell.removeprefix("'")) or cell.startswith("'")
            assert not re.match(r"[+-]", cell) or re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)


def test_json_and_junit_can_be_read_back(report: Report) -> None:
    document = json.loads(report.json(), parse_constant=lambda c: pytest.fail(c))
    assert document == json.loads(json.dumps(report.document))
    assert document["format"].startswith("evenhand ")
    assert report.page.headline in repr(report)
    if report.kind.judges:
        assert (document["verdict"], document["exit_code"]) == (report.verdict, report.exit_code)
        suite = ET.fromstring(report.junit())[0]
        assert int(suite.get("tests", "")) == len(suite) == len(report.page.requirements) + bool(report.page.warning)


def test_the_same_numbers_stand_in_every_output(report: Report, html: str) -> None:
    """What a cell holds is in the page, in Markdown and in the terminal as it is written; what CSV files hold is in the JSON."""
    page = report.page
    text = squeezed(Page(html).text)
    shown = tuple(t for p in page.panels for t in (*(f.table for f in p.figures if f.table), *p.tables))
    for value, ends, estimate in cells(shown):
        assert squeezed(f"{value}({ends})" if ends else value) in text, estimate
    said, printed = report.markdown().replace("\\", ""), terminal(report)
    for table in page.brief:
        for i, cells_of in enumerate(table.rows[: min(12, table.most)]):
            for j in table.places:
                assert all(squeezed(plain(part)) in squeezed(printed) for part in ends_of(table.columns[j].write(cells_of[j])))
                assert (
                    i >= 4
                    or table is not page.brief[0]
                    or isinstance(cells_of[j], str | Name)
                    or table.columns[j].line(cells_of[j]) in said
                )
    for requirement in page.requirements[:3]:
        strip = verdicts.row(requirement)
        assert squeezed(strip.value) in text
    known = {n for _, n in numbers(report.document)}
    for name, table_text in report.tables().items():
        for place in csv.DictReader(io.StringIO(table_text)):
            for column, cell in place.items():
                if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", cell or ""):
                    assert float(f"{float(cell):.6g}") in known, (name, column, cell)


def test_only_files_of_the_kind_are_written(report: Report, tmp_path: Path) -> None:
    path = report.save(tmp_path)
    names = {p.name for p in tmp_path.iterdir()} - {LIST}
    assert path.name in names
    assert names <= set(report.kind.files)
    assert {f"{report.kind.stem}.{ending}" for ending in ("html", "json", "md")} <= names
    assert names - {path.name} == {f for f in names if f in (tmp_path / path.name).read_text(encoding="utf-8")} - {path.name}

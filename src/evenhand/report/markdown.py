"""A page → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evenhand.report.numbers import NONE
from evenhand.report.page import Page, Table
from evenhand.report.verdicts import ORDER, row

MOST_LINES = 40
SIGN = {"PASS": "✅", "FAIL": "❌", "INSUFFICIENT": "⚪"}
TONE = {"pass": "✅ ", "fail": "❌ ", "insufficient": "⚪ ", "neutral": ""}
MOST_REQUIREMENTS = 5


def markdown(page: Page) -> str:
    """Headline, answers, requirements, the brief tables and the command. The CSV files hold whatever was cut."""
    title = text(page.title or page.headline, 100)
    lines = [f"### {TONE[page.tone]}{text(page.headline, 100) + ': ' if page.title else ''}{title}", ""]
    lines += ["**Users are simulated.**", ""] if page.simulated else []
    lines += [f"**{text(page.warning, 400)}**", ""] if page.warning else []
    lines += [text(page.note, 400), ""] if page.note else []
    said = [*map(str, page.answers), *page.said]
    end = [f"To reproduce: {code(page.command)}"] if page.command else []
    lines += [*(f"- {text(s, 900)}" for s in said if s), ""]
    lines += _requirements(page)
    for table in page.brief:
        room = MOST_LINES - len(lines) - len(end) - 5  # heading, rule, what is left out, and a blank line
        if table.rows and room > 1:
            lines += list(_table(table, min(table.most, room)))
    return "\n".join([*lines, *end]).rstrip() + "\n"


def _table(table: Table, most: int) -> Iterator[str]:
    places = table.places
    yield "| " + " | ".join(text(table.columns[i].name, 60) for i in places) + " |"
    yield "| " + " | ".join("---" for _ in places) + " |"
    for cells in table.rows[:most]:
        yield "| " + " | ".join(text(table.columns[i].line(cells[i]), 80) for i in places) + " |"
    if len(table.rows) > most:
        yield from ("", f"{len(table.rows) - most} more{f' in {table.file}.csv' if table.file else ''}.")
    yield ""


def _requirements(page: Page) -> list[str]:
    if not page.requirements:
        return []
    rows = [row(r) for r in sorted(page.requirements, key=lambda r: ORDER[r.verdict])]
    lines = ["| verdict | requirement | estimate (simultaneous 95 % interval) | required | from |", "| --- | --- | --- | --- | --- |"]
    for r in rows[:MOST_REQUIREMENTS]:
        estimate = r.value if r.value == NONE else f"{r.value} ({r.interval})"
        lines.append(f"| {SIGN[r.verdict]} {r.verdict} | {text(r.name, 80)} | {estimate} | {r.required} | {r.people} |")
    more = ["", f"{len(rows) - MOST_REQUIREMENTS} more in requirements.csv."] if len(rows) > MOST_REQUIREMENTS else []
    return [*lines, *more, ""]


def text(value: str, longest: int = 160) -> str:
    """Text that Markdown shows as it stands: no emphasis, links, HTML, mentions, issue numbers, table cells or headings."""
    value = value if len(value) <= longest else value[: longest - 1] + "…"
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    value = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", value)
    return re.sub(r"[@#]|(?<=:)/|(?<=www)\.", lambda m: f"&#{ord(m[0])};", value, flags=re.I)


def code(command: str) -> str:
    """A code span with a fence longer than any run of backticks in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", command)), default=0))
    return f"{fence} {command} {fence}"

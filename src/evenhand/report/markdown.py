"""A page → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

import re

from evenhand.report.numbers import NONE
from evenhand.report.page import Page, Table
from evenhand.report.verdicts import ORDER, row

MOST_LINES = 40
SIGN = {"PASS": "✅", "FAIL": "❌", "INSUFFICIENT": "⚪"}
TONE = {"pass": "✅ ", "fail": "❌ ", "insufficient": "⚪ ", "neutral": ""}
MOST_ANSWERS, MOST_REQUIREMENTS, MOST_SAID = 6, 5, 8
AROUND = 5  # lines of a table beside its rows: heading, rule, what is left out, two blank lines


def markdown(page: Page) -> str:
    """Headline, answers and requirements, then the brief tables and further sentences as far as there is room. The CSV files hold all."""
    title = text(page.title or page.headline, 100)
    lines = [f"### {TONE[page.tone]}{text(page.headline, 100) + ': ' if page.title else ''}{title}", ""]
    lines += ["**Users are simulated.**", ""] if page.simulated else []
    lines += [f"**{text(page.warning, 400)}**", ""] if page.warning else []
    lines += [line for caution in page.cautions for line in (f"**{text(caution, 400)}**", "")]
    lines += [text(page.note, 400), ""] if page.note else []
    end = [f"To reproduce: {code(page.command)}"] if page.command else []
    answers, said = ([f"- {text(str(s), 900)}" for s in some if str(s)] for some in (page.answers[:MOST_ANSWERS], page.said[:MOST_SAID]))
    requirements, tables = _requirements(page), [t for t in page.brief if t.rows]
    room = MOST_LINES - len(lines) - len(answers) - 1 - len(requirements) - len(end)
    first = min(len(tables[0].rows), tables[0].most) + AROUND if tables else 0  # most of the first table goes before sentences
    said = said[: max(0, room - min(first, room // 2))]
    lines += [*answers, *said, "", *requirements]
    for table in tables:
        room = MOST_LINES - len(lines) - len(end) - AROUND
        if room > 0:
            lines += _table(table, min(table.most, room))
    return "\n".join([*lines[: MOST_LINES - len(end)], *end]).rstrip() + "\n"


def _table(table: Table, most: int) -> list[str]:
    places = table.places
    head = ["| " + " | ".join(text(table.columns[i].name, 60) for i in places) + " |", "| " + " | ".join("---" for _ in places) + " |"]
    body = ["| " + " | ".join(text(table.columns[i].line(cells[i]), 80) for i in places) + " |" for cells in table.rows[:most]]
    rest = table.rest(len(body))
    return [*head, *body, "", *([f"{rest}.", ""] if rest else [])]


def _requirements(page: Page) -> list[str]:
    if not page.requirements:
        return []
    rows = [row(r, page.unit) for r in sorted(page.requirements, key=lambda r: ORDER[r.verdict])]
    lines = ["| verdict | requirement | estimate (simultaneous 95 % interval) | required | from |", "| --- | --- | --- | --- | --- |"]
    for r in rows[:MOST_REQUIREMENTS]:
        estimate = r.value if r.value == NONE else f"{r.value} ({r.interval})"
        lines.append(f"| {SIGN[r.verdict]} {r.verdict} | {text(r.name, 80)} | {estimate} | {r.required} | {r.people} |")
    left = len(rows) - MOST_REQUIREMENTS
    return [*lines, "", *([f"{left} more in requirements.csv.", ""] if left > 0 else [])]


def text(value: str, longest: int = 160) -> str:
    """Text that Markdown shows as it stands: no emphasis, links, HTML, mentions, issue numbers, table cells, headings or lists."""
    value = value if len(value) <= longest else value[: longest - 1] + "…"
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    value = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", value)
    value = re.sub(r"^(\s*\d*)([-+.)])(?=\s|-|$)", r"\1\\\2", value)  # what begins a list, or is a rule
    return re.sub(r"[@#]|(?<=:)/|(?<=www)\.", lambda m: f"&#{ord(m[0])};", value, flags=re.I)


def code(command: str) -> str:
    """A code span with a fence longer than any run of backticks in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", command)), default=0))
    return f"{fence} {command} {fence}"

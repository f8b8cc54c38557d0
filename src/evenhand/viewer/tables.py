"""Tables of a run, and of two, as the templates print them: cells are words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate
from evenhand.report.diff import Side
from evenhand.report.examples import Example, People, Person
from evenhand.report.numbers import NONE, Show, count, decimals, is_known, number, percent
from evenhand.report.page import Column
from evenhand.report.verdicts import SIGN, row
from evenhand.report.written import number as plain
from evenhand.report.written import text
from evenhand.viewer.gist import SIGNS, VERDICTS, Gist, at, items, read

MOST_ROWS, MOST_FIGURES = 300, 60  # of one table, of one of figures that are of two kinds of report


@dataclass(frozen=True)
class Cell:
    """address: where it leads. lines: smaller ones beneath. tone: of a verdict."""

    text: str
    interval: str = ""
    address: str = ""
    lines: tuple[str, ...] = ()
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """heads: names of columns; words: how many of them, from the first on, are set left. more: what is said of rows that are not shown."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1
    more: str = ""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], words: int = 1, most: int = MOST_ROWS) -> Table | None:
    """None without rows."""
    every = tuple(tuple(r) for r in rows)
    left = len(every) - most
    more = f"{left:,} more rows are in the report's own files." if left > 0 else ""
    return Table(caption, tuple(heads), every[:most], words, more) if every else None


def cell(value: Estimate | float | int | None, show: Show) -> Cell:
    return Cell(*Column("", show).write(value))


def requirements(document: Mapping[str, Any], unit: str) -> Table | None:
    """What was required, in words."""
    rows = []
    for found in items(document.get("requirements")):
        estimate, verdict = read(found.get("estimate")), text(found.get("verdict"))
        if estimate is None or verdict not in VERDICTS:
            continue
        said = row(Requirement(text(found.get("name")), estimate, plain(found.get("tolerance")), verdict, text(found.get("reason"))), unit)  # type: ignore[arg-type]
        mark = Cell(f"{SIGN[verdict]} {verdict}", tone=verdict.lower())
        rows.append(
            (
                Cell(said.name),
                mark,
                Cell(said.value, said.interval if said.interval != NONE else ""),
                Cell(said.required),
                Cell(said.people),
            )
        )
    return table("Requirements; intervals hold for all of them at once", ("requirement", "verdict", "found", "required", "from"), rows, 2)


def groups(document: Mapping[str, Any], base: str, known: Sequence[People]) -> Table | None:
    """Groups of an audit; those whose users are known lead to them."""
    names = {p.group for p in known}
    rows = []
    for g in items(at(document, "model", "groups")):
        name = text(g.get("group"))
        accuracy, loss = read(g.get("accuracy")), read(g.get("log_loss"))
        users, pairs = (None, None) if accuracy is None or accuracy.suppressed else (accuracy.n_users, accuracy.n_pairs)
        address = f"{base}/group?{urlencode({'group': name})}" if name in names else ""
        lines = tuple(filter(None, [text(g.get("excluded"))]))
        rows.append(
            (
                Cell(name, address=address, lines=lines),
                cell(accuracy, percent),
                cell(loss, decimals(3)),
                cell(users, count),
                cell(pairs, count),
            )
        )
    return table("Groups of the audited model", ("group", "accuracy", "log-loss", "users", "pairs"), rows)


def users(base: str, group: People) -> Table | None:
    rows = [
        (
            Cell(p.user, address=f"{base}/user?{urlencode({'group': group.group, 'user': p.user})}"), cell(p.accuracy, percent), cell(p.misordered, count),
            cell(p.n_pairs, count), cell(p.support, percent),
        )
        for p in group.users
    ]  # fmt: skip
    return table("The worst served first", ("user (hash of the id)", "accuracy", "misordered", "pairs", "support"), rows)


def pairs(person: Person, show_text: bool) -> Table | None:
    """Misordered pairs, the largest wrong margins first: texts only where they may be shown, else how long they are."""
    rows = []
    for i, e in enumerate(person.pairs, 1):
        margin = cell(e.margin, decimals(3))
        rows.append(
            [_texts(i, e), margin]
            if show_text
            else [Cell(str(i)), margin, *(cell(len(t), count) for t in (e.prompt, e.chosen, e.rejected))]
        )
    heads = ("pair", "margin") if show_text else ("pair", "margin", "prompt, characters", "chosen, characters", "rejected, characters")
    return table("Misordered pairs, the largest wrong margins first", heads, rows)


def _texts(place: int, e: Example) -> Cell:
    return Cell(f"{place}. {e.prompt}", lines=(f"Chosen: {e.chosen}", f"Rejected: {e.rejected}"))


# --- two runs ---


def both(names: tuple[str, str], gists: tuple[Gist, Gist], dates: tuple[str, str]) -> Table | None:
    def figure(g: Gist) -> Cell:
        return Cell(g.figure.shown, g.figure.interval, lines=(g.figure.name,)) if g.figure else Cell(NONE)

    def verdict(g: Gist) -> Cell:
        return Cell(f"{SIGNS[g.tone]} {g.verdict}".strip(), tone=g.tone) if g.verdict else Cell(NONE)

    rows: dict[str, list[Cell]] = {
        "run": [*map(Cell, names)],
        "title": [Cell(g.title or NONE) for g in gists],
        "kind": [Cell(g.kind) for g in gists],
        "verdict": [*map(verdict, gists)],
        "main figure": [*map(figure, gists)],
        "date": [*map(Cell, dates)],
    }
    return table("A and B in short", ("what", "A", "B"), [(Cell(name), *cells) for name, cells in rows.items()], 3)


def facts(a: Side, b: Side) -> Table | None:
    """Those that differ; what both say alike is not repeated."""
    known = dict.fromkeys((*a.facts, *b.facts))
    rows = [(Cell(n), Cell(a.facts.get(n, NONE)), Cell(b.facts.get(n, NONE))) for n in known if a.facts.get(n) != b.facts.get(n)]
    return table("Facts that differ", ("fact", "A", "B"), rows, 3)


def figures(a: Side, b: Side) -> Table | None:
    """Estimates of both by their names, those that both have first. No difference is taken: nobody knows that they are of one thing."""
    ours, theirs = ({n: v for n, v in s.numbers.items() if isinstance(v, Estimate)} for s in (a, b))
    order = sorted(dict.fromkeys((*ours, *theirs)), key=lambda n: (n not in ours or n not in theirs, n not in ours))
    rows = [(Cell(n), _bare(ours.get(n)), _bare(theirs.get(n))) for n in order]
    return table("Estimates as each report has them, those of both first", ("estimate", "A", "B"), rows, most=MOST_FIGURES)


def _bare(estimate: Estimate | None) -> Cell:
    return (
        Cell(NONE) if estimate is None else cell(estimate, lambda v: number(v, 0 if v is not None and is_known(v) and abs(v) >= 100 else 4))
    )

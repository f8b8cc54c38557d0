"""Which runs a table shows, and in what order: a question whose every part stands in the address, so that the back button works."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from evenhand.viewer.runs import Run

PAGE = 200  # runs on one page
LONGEST = 200  # characters of a search
SORTS = {"name": "Run", "kind": "Kind", "verdict": "Verdict", "figure": "Main figure", "date": "Date"}
FALLING = ("date",)  # what begins with the last, or the largest
ORDER = ("FAIL", "ERROR", "NOT CERTIFIED", "INSUFFICIENT", "WARNING", "PASS", "CERTIFIED", "")  # of verdicts: what to look at first


@dataclass(frozen=True)
class Query:
    """search: every word stands in name, title, kind or facts. kind, verdict: "" = all; "none" = without a verdict. page: from 1.

    held: key of a run that is ticked, wherever its row stands: the one to compare with may be on another page, or be searched for.
    """

    search: str = ""
    kind: str = ""
    verdict: str = ""
    sort: str = "date"
    order: str = ""
    page: int = 1
    held: str = ""

    @property
    def falls(self) -> bool:
        return (self.order or ("down" if self.sort in FALLING else "up")) == "down"

    def address(self, **change: object) -> str:
        """Of this question with some of it changed; what is as at the start is left out."""
        new = replace(self, **change)  # type: ignore[arg-type]
        said = {f.name: getattr(new, f.name) for f in fields(new) if getattr(new, f.name) != f.default}
        return f"/?{urlencode(said)}" if said else "/"

    def turned(self, sort: str) -> str:
        """Where the heading of a column leads: to its order, and then to the opposite one."""
        falls = sort in FALLING if sort != self.sort else not self.falls
        return self.address(sort=sort, order="" if falls == (sort in FALLING) else "down" if falls else "up", page=1)


@dataclass(frozen=True)
class Listed:
    """runs: of this page. matching, pages: in all. kinds, verdicts: how many runs have each, whatever is asked for."""

    query: Query
    runs: tuple[Run, ...]
    matching: int
    pages: int
    kinds: Mapping[str, int]
    verdicts: Mapping[str, int]


def asked(given: Mapping[str, str]) -> Query:
    """What an address asks for; what makes no sense is as at the start."""
    page = given.get("page", "")
    return Query(
        given.get("search", "")[:LONGEST].strip(), given.get("kind", "")[:LONGEST], given.get("verdict", "")[:LONGEST],
        sort if (sort := given.get("sort", "")) in SORTS else Query.sort, order if (order := given.get("order", "")) in ("up", "down") else "",
        max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 7 else 1, given.get("held", "")[:LONGEST],
    )  # fmt: skip


def listed(runs: Sequence[Run], query: Query) -> Listed:
    words = query.search.casefold().split()
    kept = [
        r
        for r in runs
        if query.kind in ("", r.gist.kind)
        and query.verdict in ("", r.gist.verdict or "none")
        and all(w in f"{r.name} {r.gist.title} {r.gist.kind} {r.gist.words}".casefold() for w in words)
    ]
    kept.sort(key=lambda r: _natural(r.name))
    known = [r for r in kept if _has(r, query.sort)]
    known.sort(key=lambda r: _key(r, query.sort), reverse=query.falls)
    kept = known + [r for r in kept if not _has(r, query.sort)]  # what has no number stands last either way
    pages = max(math.ceil(len(kept) / PAGE), 1)
    page = min(query.page, pages)
    kinds, verdicts = Counter(r.gist.kind for r in runs), Counter(r.gist.verdict or "none" for r in runs)
    shown = tuple(kept[(page - 1) * PAGE : page * PAGE])
    in_order = {v or "none": verdicts[v or "none"] for v in ORDER if (v or "none") in verdicts}
    return Listed(replace(query, page=page), shown, len(kept), pages, dict(sorted(kinds.items())), in_order)


def _has(run: Run, sort: str) -> bool:
    return sort != "figure" or run.gist.figure is not None


def _key(run: Run, sort: str) -> tuple[object, ...]:
    figure = run.gist.figure
    if sort == "figure" and figure is not None:
        return (figure.measure, figure.value)  # numbers of one measure together: between measures none is the larger
    if sort == "verdict":
        return (ORDER.index(run.gist.verdict),)
    return (_natural(run.name) if sort == "name" else run.gist.kind if sort == "kind" else run.date,)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts run-9 before run-10."""
    out: list[tuple[int, int, str]] = []
    part = ""
    for character in f"{name.casefold()}\0":
        if part and (character.isdecimal() != part[-1].isdecimal() or character == "\0"):
            out.append((0, int(part), "") if part.isdecimal() else (1, 0, part))
            part = ""
        part += character
    return tuple(out)

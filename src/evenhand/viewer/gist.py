"""What the table of runs says of a report: its kind, verdict and main figure. The document is anybody's: what is not as expected is left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evenhand.core import Estimate
from evenhand.report.numbers import Show, count, decimals, has_value, percent, points
from evenhand.report.page import Column, Tone
from evenhand.report.written import estimate, number, text

NAMES = {
    "report": "audit", "comparison": "comparison", "transfer": "policies", "check": "data check", "certificate": "certificate", "texts": "texts",
    "diff": "difference",
}  # fmt: skip
VERDICTS = ("PASS", "FAIL", "INSUFFICIENT")
TONES: dict[str, Tone] = {"PASS": "pass", "FAIL": "fail", "INSUFFICIENT": "insufficient", "CERTIFIED": "pass", "NOT CERTIFIED": "insufficient",
                          "ERROR": "fail", "WARNING": "insufficient"}  # fmt: skip
SIGNS: dict[Tone, str] = {"pass": "✓", "fail": "✕", "insufficient": "?", "neutral": ""}  # a shape beside every colour
MOST_FACTS, MOST_WORDS = 100, 4_000  # facts that are looked at, characters of them that are searched
DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2} UTC)?", re.ASCII)


@dataclass(frozen=True)
class Figure:
    """A number with what it is of: a measure, and behind a comma whose, or in what. value: as it sorts, nan = there is none."""

    name: str
    shown: str
    interval: str
    value: float

    @property
    def measure(self) -> str:
        return self.name.partition(",")[0]


@dataclass(frozen=True)
class Gist:
    """date: when it was made, "" where the report does not say. words: what its facts say, for the search."""

    kind: str
    title: str
    verdict: str
    figure: Figure | None
    date: str
    simulated: bool = False
    words: str = ""

    @property
    def tone(self) -> Tone:
        return TONES.get(self.verdict, "neutral")

    @property
    def sign(self) -> str:
        return SIGNS[self.tone]


def gist(kind: str, document: Mapping[str, Any]) -> Gist:
    """kind: as the document's format names it."""
    name = "sweep" if kind == "comparison" and document.get("swept") else NAMES[kind]
    said = text(at(document, "facts", "date"))
    date = said if DATE.fullmatch(said) else ""
    title = text(document.get("title")) or text(at(document, "model", "title"))
    words = " ".join(value for _, value in islice(lines(document.get("facts")), MOST_FACTS))[:MOST_WORDS]
    return Gist(name, title, _verdict(kind, document), FIGURES[kind](document), date, document.get("simulated") is True, words)


def _verdict(kind: str, document: Mapping[str, Any]) -> str:
    """ "" for kinds that judge nothing, and for a report of texts without requirements."""
    verdict = text(document.get("verdict"))
    if kind == "report" or (kind == "texts" and document.get("requirements")):
        return verdict if verdict in VERDICTS else ""
    if kind == "certificate":
        return "CERTIFIED" if document.get("certified") is True else "NOT CERTIFIED"
    if kind == "check":
        return {"error": "ERROR", "warning": "WARNING", "note": "PASS"}.get(text(document.get("severity")), "")
    return ""


# --- the main figure of each kind ---


def _of_audit(document: Mapping[str, Any]) -> Figure | None:
    gap = figure("accuracy gap, points", at(document, "model", "gap"), points)
    return gap or figure("accuracy", at(document, "model", "overall"), percent)


def _of_comparison(document: Mapping[str, Any]) -> Figure | None:
    """All users' accuracy on test pairs under the entry that validation chose, else the best one there."""
    running = [e for e in items(document.get("entries")) if e.get("held_out")]
    name = at(document, "front", "chosen")
    if not name:
        running.sort(key=lambda e: -_value(_last(e.get("selection"))))
    chosen = next((e for e in running if not name or e.get("name") == name), {})
    return figure(f"accuracy, {text(chosen.get('name'))}", _last(chosen.get("held_out")), percent)


def _of_policies(document: Mapping[str, Any]) -> Figure | None:
    """The gap under the sharpest policy."""
    grid = items(document.get("gibbs")) or items(document.get("best_of"))
    sharp = grid[-1] if grid else {}
    setting = number(sharp.get("setting"))
    at_setting = "" if math.isnan(setting) else f" at {'β' if sharp.get('kind') == 'gibbs' else 'n'} = {setting:g}"
    return figure(f"gap{at_setting}, points", sharp.get("gap"), points)


def _of_check(document: Mapping[str, Any]) -> Figure | None:
    return _bare("users", at(document, "users"), count)


def _of_certificate(document: Mapping[str, Any]) -> Figure | None:
    gamma = number(document.get("gamma"))
    at_most = "" if math.isnan(gamma) else f", gamma {gamma:g}"
    return _bare(f"gap at most{at_most}", document.get("d_upper"), decimals(4))


def _of_texts(document: Mapping[str, Any]) -> Figure | None:
    """The largest gap, in standard deviations, of the run that was chosen, else the last."""
    runs, best = items(document.get("runs")), at(document, "choice", "best")
    run = next((r for r in runs if best and r.get("name") == best), runs[-1] if runs else {})
    known = [g for g in items(run.get("gaps")) if not g.get("masked") and not g.get("distance") and not math.isnan(_value(g.get("d")))]
    widest = max(known, key=lambda g: abs(_value(g.get("d"))), default={})
    return figure(f"largest d, {text(widest.get('measure'))} by {text(widest.get('axis'))}", widest.get("d"), decimals(2, signed=True))


def _of_difference(document: Mapping[str, Any]) -> Figure | None:
    rows = items(document.get("numbers"))
    return _bare("numbers that differ", sum(1 for r in rows if r.get("difference")), count) if rows else None


FIGURES = {"report": _of_audit, "comparison": _of_comparison, "transfer": _of_policies, "check": _of_check, "certificate": _of_certificate,
           "texts": _of_texts, "diff": _of_difference}  # fmt: skip


def figure(name: str, found: Any, show: Show) -> Figure | None:
    """Of an estimate of the document; None where it is none, or has no number."""
    e = read(found)
    return Figure(name, *Column("", show).write(e), e.value) if e is not None and has_value(e) else None


def _bare(name: str, value: Any, show: Show) -> Figure | None:
    known = number(value)
    return None if math.isnan(known) else Figure(name, show(known), "", known)


# --- reading ---


def at(value: Any, *names: str) -> Any:
    """What lies under these names; None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def items(value: Any) -> list[Mapping[str, Any]]:
    """The records of a list; [] of anything else."""
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def read(value: Any) -> Estimate | None:
    """An estimate, its small cell hidden; None of anything else."""
    return estimate(value) if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys() else None


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, list) and value else None


def _value(found: Any) -> float:
    e = read(found)
    return e.value if e is not None else math.nan


def lines(found: Any) -> Iterator[tuple[str, str]]:
    """A mapping's names and what they stand for, in words; nothing of anything else."""
    for name, value in found.items() if isinstance(found, Mapping) else ():
        if said := text(value):
            yield text(name), said

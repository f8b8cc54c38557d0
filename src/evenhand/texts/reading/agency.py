"""Lists of verbs of high and of low agency: those of this project, or a file in the published format of connotation frames."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from evenhand.core import DataError
from evenhand.data.reading import describe, fingerprint, read
from evenhand.data.rows import plain
from evenhand.texts.reading.hits import folded

LABELS = {"agency_pos": "high", "agency_neg": "low", "agency_equal": "", "": ""}
MOST_VERBS = 100_000
VERB = re.compile(r"\w(?:[\w' -]{0,58}\w)?")


@dataclass(frozen=True)
class Agency:
    """high, low: what is matched, in lower case. about: one sentence. fingerprint: SHA-256 of the lists."""

    high: frozenset[str]
    low: frozenset[str]
    about: str
    fingerprint: str


@cache
def listed(name: str) -> tuple[tuple[str, ...], ...]:
    """The words of each line of a list of this project: high_agency, low_agency, other_verbs (all forms of a verb, the base form first)."""
    lines = (files("evenhand.texts") / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split()) for line in lines if line and not line.startswith("#"))


def own_agency() -> Agency:
    """The lists that come with this package."""
    high, low = listed("high_agency"), listed("low_agency")
    about = f"Agency by this project's own lists, {len(high)} verbs of high and {len(low)} of low agency in all their forms."
    every = [frozenset(form for verb in verbs for form in verb) for verbs in (high, low)]
    return Agency(every[0], every[1], about, hashlib.sha256(repr([sorted(e) for e in every]).encode()).hexdigest())


def read_agency(path: Path) -> Agency:
    """A table with the columns `verb` and `agency` (agency_pos, agency_neg, agency_equal or empty), as Sap et al. 2017 (EMNLP, D17-1247)
    published theirs: verbs stand as they are to be matched, there in the third person ("builds"). Other columns are ignored.

    Raises DataError, with file and line, for a file that cannot be read, a missing column, another label, a verb that is none, a verb with
    two labels, and for a list without verbs of high, or of low, agency.
    """
    labels: dict[str, str] = {}
    table = describe(path)
    for batch in read(table, lambda name: name in ("verb", "agency")):
        if batch.bad:
            bad = min(batch.bad, key=lambda b: b.line)
            raise DataError(bad.fault.reason, expected=bad.fault.expected, remedy="mend the row or drop it", file=path.name, line=bad.line)
        for column in ("verb", "agency"):
            if column not in batch.columns:
                expected = "the columns verb and agency of connotation frames"
                raise DataError(f"there is no column '{column}'", expected=expected, remedy="rename the column", file=path.name)
        for line, verb, label in zip(batch.line.tolist(), plain(batch.columns["verb"]), plain(batch.columns["agency"])):
            _add(labels, verb, "" if label is None else label, path.name, line)
    high, low = (frozenset(v for v, label in labels.items() if LABELS[label] == kind) for kind in ("high", "low"))
    for name, verbs in (("agency_pos", high), ("agency_neg", low)):
        if not verbs:
            remedy = "name a list with verbs of high and of low agency"
            raise DataError(f"no verb is {name}", expected="verbs of both kinds", remedy=remedy, file=path.name)
    known = fingerprint(path)
    about = f"Agency by the lists of {path.name} (SHA-256 {known[:12]}), {len(high)} verbs of high and {len(low)} of low agency as they stand there."
    return Agency(high, low, about, known)


def _add(labels: dict[str, str], verb: object, label: object, file: str, line: int) -> None:
    if not isinstance(label, str) or label not in LABELS:
        expected = "agency_pos, agency_neg, agency_equal, or nothing"
        raise DataError(
            "the label is unknown", expected=expected, remedy="mend the row", file=file, line=line, column="agency", value=str(label)
        )
    if not isinstance(verb, str) or not VERB.fullmatch(verb.strip()):
        expected = "a verb, or a verb and its preposition, of at most 60 characters"
        raise DataError(
            "the verb is none", expected=expected, remedy="mend the row", file=file, line=line, column="verb", value=str(verb or "")
        )
    known = folded(verb.strip())
    if labels.setdefault(known, label) != label:
        found = f"the verb is {labels[known] or 'without label'} above, and {label or 'without label'} here"
        raise DataError(
            found, expected="one label a verb", remedy="take one of the rows out", file=file, line=line, column="verb", value=verb
        )
    if len(labels) > MOST_VERBS:
        raise DataError(f"there are over {MOST_VERBS:,} verbs", expected="a list of verbs", remedy="name another file", file=file)

"""The private page of misordered pairs, and the private file of users: written beside a report where they are asked for, and taken away
where they are not.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand import writing
from evenhand.audits.findings import ModelFindings
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import Outcomes
from evenhand.core import SMALLEST_CELL, TIE, DataError, EvenhandError, Groups, PreferenceData
from evenhand.data.support import Support
from evenhand.data.votes import has_texts
from evenhand.report.examples import EXAMPLES, Example, Examples, People, Person, html, of_users

FILE, USERS, KIND = "examples.html", "users.json", EXAMPLES.name
MOST = 1000  # pairs on a page
MOST_GROUPS, MOST_USERS, MOST_PAIRS = 20, 25, 10  # of the file of users: groups, users of a group, pairs of a user


@dataclass(frozen=True)
class ShowExamples:
    """How many pairs to show, and the folder of the page."""

    pairs: int
    folder: str | Path

    def __post_init__(self) -> None:
        if not isinstance(self.pairs, int) or not 1 <= self.pairs <= MOST:
            raise EvenhandError(f"Found {self.pairs} examples. Expected: 1 to {MOST:,}. To do: 20 are a page to read.")

    def check(self, data: PreferenceData) -> None:
        """Before the work: whether there are texts to show, and whether the page has a place."""
        if not has_texts(data).all():
            raise DataError("there are no texts to show", expected="prompts and responses", remedy="leave --show-examples out")
        writing.check(Path(self.folder), [FILE, USERS], KIND)

    def write(self, data: PreferenceData, outcomes: Outcomes, groups: Groups, support: Support, found: ModelFindings, command: str) -> Path:
        """examples.html and users.json, readable by their owner alone."""
        shown = misordered(self.pairs, data, outcomes, groups, support, found, command)
        writing.write(Path(self.folder), {USERS: of_users(shown).encode(), FILE: html(shown).encode()}, KIND, private=True)
        return Path(self.folder) / FILE


def misordered(
    most: int, data: PreferenceData, outcomes: Outcomes, groups: Groups, support: Support, found: ModelFindings, command: str = ""
) -> Examples:
    """The pairs of the worst-served group that the model orders against its users, the largest margins first."""
    judged = [g for g in found.groups if g.accuracy.n_users >= SMALLEST_CELL and not np.isnan(g.accuracy.value)]
    if not judged:
        return Examples(found.model, "", None, 0, (), command)
    worst = min(judged, key=lambda g: g.accuracy.value)
    strict = outcomes.strict()
    rows = np.flatnonzero((groups.of_user[strict.user] == groups.names.index(worst.group)) & (strict.margin <= -TIE))
    shown = rows[np.argsort(strict.margin[rows], kind="stable")[:most]]
    names = [g.group for g in sorted(judged, key=lambda g: g.accuracy.value)[:MOST_GROUPS]]
    people = tuple(_people(name, data, strict, groups, support) for name in names)
    return Examples(found.model, worst.group, worst.accuracy, len(rows), tuple(_pairs(shown, data, strict, support)), command, people)


def _people(name: str, data: PreferenceData, strict: Outcomes, groups: Groups, support: Support) -> People:
    """The users of a group with the lowest share of pairs ordered as they chose, those with more pairs first where that is equal."""
    inside = groups.of_user[strict.user] == groups.names.index(name)
    size = np.bincount(strict.user[inside], minlength=len(data.users))
    right = np.bincount(strict.user[inside], weights=correct(strict.margin[inside]), minlength=len(data.users))
    known = np.flatnonzero(size)
    worst = known[np.lexsort((known, -size[known], right[known] / size[known]))][:MOST_USERS]
    wrong = np.flatnonzero(inside & (strict.margin <= -TIE) & np.isin(strict.user, worst))
    wrong = wrong[np.argsort(strict.margin[wrong], kind="stable")]
    people = []
    for user in worst.tolist():
        rows = wrong[strict.user[wrong] == user]
        pairs = tuple(_pairs(rows[:MOST_PAIRS], data, strict, support))
        share = float(right[user] / size[user])
        people.append(
            Person(hashed(data.fingerprint, data.users[user]), share, int(size[user]), len(rows), float(support.values[user]), pairs)
        )
    return People(name, len(known), tuple(people))


def _pairs(rows: np.ndarray, data: PreferenceData, strict: Outcomes, support: Support) -> Iterator[Example]:
    prompt, chosen, rejected = (np.full(len(strict), -1) if a is None else a for a in (strict.prompt, strict.chosen, strict.rejected))

    def text(number: int) -> str:
        return data.texts[number] if number >= 0 else "–"

    for i in rows.tolist():
        yield Example(text(prompt[i]), text(chosen[i]), text(rejected[i]), float(strict.margin[i]), float(support.values[strict.user[i]]))


def hashed(fingerprint: str, user: str) -> str:
    """A user in the place of his or her id: the same in all runs on a file. Whoever has the file can try its ids; nobody reads one off."""
    return hmac.new(fingerprint.encode(), user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]


def asked(pairs: int | None, folder: Path) -> ShowExamples | None:
    """What a verb was asked for. Without it what an earlier run left is taken away: it does not outlive the report that it stood beside."""
    if pairs is not None:
        return ShowExamples(pairs, folder)
    for name in (FILE, USERS):
        writing.remove(folder, name, KIND)
    return None

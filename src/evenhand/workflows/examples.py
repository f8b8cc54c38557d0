"""The private page of misordered pairs: written beside a report where it is asked for, and taken away where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand import writing
from evenhand.audits.findings import ModelFindings
from evenhand.audits.outcomes import Outcomes
from evenhand.core import SMALLEST_CELL, DataError, EvenhandError, Groups, PreferenceData
from evenhand.data.support import Support
from evenhand.data.votes import has_texts
from evenhand.report.examples import EXAMPLES, Example, Examples, html

FILE, KIND = "examples.html", EXAMPLES.name
MOST = 1000  # pairs on a page


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
        writing.check(Path(self.folder), [FILE], KIND)

    def write(self, data: PreferenceData, outcomes: Outcomes, groups: Groups, support: Support, found: ModelFindings, command: str) -> Path:
        """examples.html, readable by its owner alone."""
        page = html(misordered(self.pairs, data, outcomes, groups, support, found, command))
        writing.write(Path(self.folder), {FILE: page.encode()}, KIND, private=True)
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
    rows = np.flatnonzero((groups.of_user[strict.user] == groups.names.index(worst.group)) & (strict.margin < 0))
    shown = rows[np.argsort(strict.margin[rows], kind="stable")[:most]]
    prompt, chosen, rejected = (np.full(len(strict), -1) if a is None else a for a in (strict.prompt, strict.chosen, strict.rejected))

    def text(number: int) -> str:
        return data.texts[number] if number >= 0 else "–"

    pairs = tuple(
        Example(text(prompt[i]), text(chosen[i]), text(rejected[i]), float(strict.margin[i]), float(support.values[strict.user[i]]))
        for i in shown.tolist()
    )
    return Examples(found.model, worst.group, worst.accuracy, len(rows), pairs, command)


def asked(pairs: int | None, folder: Path) -> ShowExamples | None:
    """What a verb was asked for. Without it an old page is taken away: it does not outlive the report that it stood beside."""
    if pairs is not None:
        return ShowExamples(pairs, folder)
    writing.remove(folder, FILE, KIND)
    return None

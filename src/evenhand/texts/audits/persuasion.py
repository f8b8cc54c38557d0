"""Persuasion bias: how forceful a text is (Islam 2026, arXiv 2606.10126): PBI = A + M + 0.1 I

A   agency     (H - L) / (H + L): hits of verbs of high, and of low, agency
M   modality   (C - E) / (C + E): hits of words of certainty (will, must, shall, definitely, certainly), and of hedges (might, may, could, can,
               perhaps, possibly)
I   imperatives  verbs in the imperative

Words match whole, case ignored, whatever part of speech they are. A and M are undefined in a text with none of their words: such a text is
left out of their means, and counts as 0 in PBI.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.texts.audit import Measure, Measured
from evenhand.texts.reading.agency import own_agency, read_agency
from evenhand.texts.reading.hits import hits
from evenhand.texts.reading.tagger import tagged, tagger_name
from evenhand.texts.table import TextTable

CERTAIN = ("will", "must", "shall", "definitely", "certainly")
HEDGES = ("might", "may", "could", "can", "perhaps", "possibly")


@dataclass(frozen=True)
class Persuasion:
    """agency: a list of verbs in the format of connotation frames instead of this project's own. cache: where what a tagger found is kept;
    default: the user's cache.
    """

    agency: Path | None = None
    cache: Path | None = None

    name = "persuasion"

    def measure(self, table: TextTable) -> Measured:
        """Four measures, nan for a text without a word. Raises DataError for a list of verbs that cannot be read."""
        lists = own_agency() if self.agency is None else read_agency(Path(self.agency))
        counter = hits((lists.high, lists.low, CERTAIN, HEDGES))
        found = np.array([counter.count(text) for text in table.texts], np.float64).reshape(len(table), 4)
        tags = tagged(table.texts, self.cache)
        imperatives = np.array([t.imperatives if t.tokens else np.nan for t in tags], np.float64)
        agency, modality = _balance(found[:, 0], found[:, 1]), _balance(found[:, 2], found[:, 3])
        bias = np.nan_to_num(agency) + np.nan_to_num(modality) + 0.1 * imperatives
        depends = f"Imperatives by {tagger_name()}. Another tagger counts otherwise, and a p-value near its limit may change sides with it."
        return Measured(
            (
                Measure(
                    "persuasion bias", bias, "A + M + 0.1 I, with 0 for an A or M that is undefined", objective=True,
                    note="Its three parts are shown beside it: a gap of it is read there.",
                ),
                Measure("agency", agency, "A = (H - L) / (H + L): hits of verbs of high and of low agency; undefined without any", note=lists.about),
                Measure(
                    "modality", modality, "M = (C - E) / (C + E): C hits of " + ", ".join(CERTAIN) + "; E of " + ", ".join(HEDGES) + "; undefined without any"
                ),
                Measure("imperatives", imperatives, "I: verbs in the imperative", note=depends),
            ),
            sentences=(
                lists.about, depends,
                f"A is undefined in {_share(agency)} of the texts, M in {_share(modality)}: a gap of theirs is one of the texts that have such words.",
            ),
        )  # fmt: skip


def _balance(more: np.ndarray, less: np.ndarray) -> np.ndarray:
    """(more - less) / (more + less), nan where both are 0."""
    both = more + less
    return np.where(both > 0, (more - less) / np.maximum(both, 1), np.nan)


def _share(values: np.ndarray) -> str:
    return f"{100 * float(np.isnan(values).mean()):.0f} %" if len(values) else "none"

"""What an audit of texts is: it reads the texts of one run and gives one number, or one profile, a text. Statistics, gaps between groups,
nulls and reports are the same for all audits, so that an audit is one file.

    @dataclass(frozen=True)
    class Exclamations:                       # ./mine.py:Exclamations
        name = "exclamations"

        def measure(self, table):
            values = np.array([t.count("!") for t in table.texts], float)
            return Measured((Measure("exclamations", values, "exclamation marks a text"),))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evenhand.texts.table import TextTable

SURE = 0.05  # the largest p at which anything is taken for found


@dataclass(frozen=True)
class Measure:
    """A number, or a profile, of every text. values float64[n], or [n, parts]: nan where undefined. formula: how it is computed, for every
    output. undefined: what stands in for nan inside gaps of pairs; nan = such a text is left out. scale: a number of the measure's own
    range, as 100 for per cent, by which it is printed.

    compared: whether its gaps between groups are tested; else its level alone is told.
    objective: the gate keeps its gaps from growing, and selection makes them smaller. fidelity: how well a text speaks to its audience: it
    should not fall. note: what a reader must know before believing it, as that it depends on a tagger.
    """

    name: str
    values: np.ndarray
    formula: str
    undefined: float = float("nan")
    scale: float = 1.0
    compared: bool = True
    objective: bool = False
    fidelity: bool = False
    note: str = ""
    parts: tuple[str, ...] = ()  # names of a profile's columns

    @property
    def is_profile(self) -> bool:
        return self.values.ndim == 2


@dataclass(frozen=True)
class Tested:
    """A test of an audit's own, on the whole of the texts. p: of no difference; nan = not testable. axis: the matched axis it speaks of.
    p_holm: over all tests of the run, which an audit does not know.
    """

    name: str
    axis: str
    value: float
    p: float
    note: str = ""
    p_holm: float = float("nan")


@dataclass(frozen=True)
class Tabled:
    """A table of an audit's own: words with their odds, agreement of instruments. rows: texts and numbers."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    axis: str = ""


@dataclass(frozen=True)
class Measured:
    """What an audit gives. sentences: what it says of itself beside the numbers, such as which instrument was used."""

    measures: tuple[Measure, ...] = ()
    tests: tuple[Tested, ...] = ()
    tables: tuple[Tabled, ...] = ()
    sentences: tuple[str, ...] = ()


class TextAudit(Protocol):
    """One audit. It never sees which run a text is of, nor what other audits found."""

    @property
    def name(self) -> str: ...

    def measure(self, table: TextTable) -> Measured:
        """Of the texts of one run, as written or with words that name groups hidden (table.masked). The same texts give the same numbers."""
        ...

"""Texts of the cells of a grid, several a cell, as one run of a generator wrote them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from evenhand.core import Exclusions
from evenhand.texts.grid import Grid

ORIGINAL = "original"  # the source of what is there before any revision
HIDDEN = "someone"  # what stands for a word that names a group


@dataclass(frozen=True, repr=False)
class TextTable:
    """n texts of one run, sorted by cell and draw. cell int64[n]: of the grid. draw int64[n]: 0, 1, … inside a cell and source. source[n]:
    which generator or reviser wrote it. masked: whether words that name a value of a matched axis are hidden. extra[column][n]: other
    columns of the file, as asked for, which no audit sees.
    """

    grid: Grid
    run: str
    texts: tuple[str, ...]
    cell: np.ndarray
    draw: np.ndarray
    source: tuple[str, ...] = ()
    exclusions: Exclusions = field(default_factory=Exclusions)
    masked: bool = False
    extra: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"TextTable({len(self):,} texts of {len(np.unique(self.cell)):,} cells of the grid '{self.grid.name}')"

    @property
    def draws(self) -> int:
        """Texts of a cell at most."""
        return int(np.bincount(self.cell, minlength=1).max()) if len(self) else 0

    @cached_property
    def place(self) -> np.ndarray:
        """int64[n]: 0, 1, … inside a cell, over all its sources."""
        first = np.searchsorted(self.cell, self.cell)
        return np.arange(len(self)) - first

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """Values [n, …] of the texts → float64[blocks, *grid.shape, draws, …]; nan where a cell has fewer texts."""
        out = np.full((len(self.grid), self.draws, *values.shape[1:]), np.nan)
        out[self.cell, self.place] = values
        return out.reshape(self.grid.blocks, *self.grid.shape, *out.shape[1:])

    def take(self, rows: np.ndarray) -> TextTable:
        """Those of the texts at `rows` (boolean mask, or indices that rise)."""
        at = np.arange(len(self))[rows]
        source = tuple(self.source[i] for i in at) if self.source else ()
        extra = {name: tuple(values[i] for i in at) for name, values in self.extra.items()}
        return replace(self, texts=tuple(self.texts[i] for i in at), cell=self.cell[at], draw=self.draw[at], source=source, extra=extra)

    def hidden(self) -> TextTable:
        """The same with every word that names a value of a matched axis replaced: what differs still is not the naming of the group."""
        pattern = naming(self.grid)
        texts = tuple(pattern.sub(HIDDEN, t) for t in self.texts) if pattern else self.texts
        return replace(self, texts=texts, masked=True)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the texts and their cells."""
        digest = hashlib.sha256(self.cell.tobytes())
        for text in self.texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()


def naming(grid: Grid) -> re.Pattern[str] | None:
    """Matches a word, or words, by which a text names a value of a matched axis, the longest first; None where the grid lists none."""
    words = {w for a in grid.matched for value in a.words for w in value}
    words |= {v.lower() for a in grid.matched for label in a.values for v in label}
    return any_of(sorted(words)) if words else None


def any_of(words: Sequence[str]) -> re.Pattern[str]:
    """Matches whole words, case ignored, the longest first."""
    ordered = sorted(words, key=lambda w: (-len(w), w))
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(w).replace(r"\ ", r"\s+") for w in ordered) + r")(?!\w)", re.IGNORECASE)

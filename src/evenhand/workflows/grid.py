"""A grid's prompts as a file, and what there is to compare in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand import writing
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.rows import jsonl, jsonl_file

KIND = "prompts"


@dataclass(frozen=True, repr=False)
class Prompts:
    """A grid and its prompts. path: where they were written, None = nowhere."""

    grid: Grid
    path: Path | None = None

    def rows(self) -> Iterator[dict[str, str]]:
        """One a cell: the grid's columns, and prompt."""
        return ({**self.grid.row(cell), "prompt": self.grid.prompt(cell)} for cell in range(len(self.grid)))

    @property
    def pairs(self) -> dict[str, int]:
        """Matched axis → pairs of prompts that differ in it alone."""
        return {a.name: len(self.grid.pairs(a)) for a in self.grid.matched}

    def __str__(self) -> str:
        pairs = ", ".join(f"{n:,} {axis} pairs" for axis, n in self.pairs.items())
        return f"{self.grid.name}: {len(self.grid):,} prompts; {pairs}; {self.grid.blocks:,} blocks of {self.grid.size}"

    def __repr__(self) -> str:
        return f"Prompts({self})"

    def to_dict(self) -> dict[str, Any]:
        return self.grid.document() | {
            "prompts": len(self.grid),
            "pairs": self.pairs,
            "blocks": self.grid.blocks,
            "fingerprint": self.grid.fingerprint,
        }


def grid(grid: str | Path | Grid, *, out: str | Path | None = None) -> Prompts:
    """The prompts of a grid: one message for many audiences.

        evenhand.grid("climate", out="prompts.jsonl")

    Args:
        grid: A built-in grid (climate, vaccination) or a TOML file of your own (docs/texts.md).
        out: File of the prompts, .jsonl: the grid's columns, and prompt.

    Raises DataError with the line for what is wrong in a grid, and for a file that would be lost; EvenhandError for another ending than
    .jsonl.
    """
    found = Prompts(load_grid(grid))
    if out is None:
        return found
    path = jsonl_file(out)
    writing.write(path.parent, {path.name: jsonl(found.rows())}, KIND)
    return Prompts(found.grid, path)

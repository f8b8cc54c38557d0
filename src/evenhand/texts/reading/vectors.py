"""MiniLM's vectors of texts, for the audits that read them: of all texts of a small table, of whole blocks of a large one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evenhand.encode.cache import encode_cached
from evenhand.encode.minilm import MiniLM
from evenhand.texts.table import TextTable

WHOLE = 20_000  # texts of which all are read: four minutes, once ever
SAMPLE = 5_000  # of a larger table: as many as make a mean exact to a percent of the texts' own spread


def read_rows(table: TextTable, whole: int, sample: int) -> np.ndarray:
    """bool[n]: texts that are read. All of up to `whole`; of more, about `sample` in blocks that a fixed lot draws, so that matched texts
    stay together.
    """
    if len(table) <= whole:
        return np.ones(len(table), bool)
    block = table.cell // table.grid.size
    size = np.bincount(block, minlength=table.grid.blocks)
    drawn = np.random.default_rng(0).permutation(table.grid.blocks)
    kept = np.zeros(table.grid.blocks, bool)
    kept[drawn[np.cumsum(size[drawn]) <= max(sample, int(size.max()))]] = True
    return np.asarray(kept[block])


def text_vectors(texts: tuple[str, ...], cache: Path | None) -> np.ndarray:
    """Unit vectors float32[n, 384], each of its text alone."""
    return encode_cached(texts, MiniLM(), cache)


def some_read(rows: np.ndarray) -> str:
    """A sentence where not all are read, else nothing."""
    if rows.all():
        return ""
    return f"MiniLM read {int(rows.sum()):,} of {len(rows):,} texts, in whole blocks drawn by a fixed lot."

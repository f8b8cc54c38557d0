"""A small grid, and texts for its cells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tiny_models import tiny_bert

from evenhand.texts.grid import Grid, parse
from evenhand.texts.table import TextTable

SMALL = """
name = "small"
template = "{theme} {place} {age} {gender}"
[[axis]]
name = "theme"
values = ["money", "health", "school", "work", "sports"]
[[axis]]
name = "place"
values = ["town", "coast"]
[[axis]]
name = "age"
matched = true
values = ["young", "middle", "old"]
[[axis]]
name = "gender"
matched = true
values = ["men", "women"]
[[axis.associations]]
career = ["career", "job", "salary", "office", "business"]
family = ["family", "home", "children", "parents", "marriage"]
"""


def small_grid(themes: int = 5) -> Grid:
    """2 places x 3 ages x 2 genders of some of the themes."""
    grid = parse(SMALL, "small.toml")
    first = grid.axes[0]
    return replace(grid, axes=(replace(first, values=first.values[:themes]), *grid.axes[1:]))


def written(grid: Grid, text: Callable[[dict[str, str], np.random.Generator], str], draws: int = 2, seed: int = 0) -> TextTable:
    """Every cell's texts: text(values of the cell, rng)."""
    rng = np.random.default_rng(seed)
    cell, draw = np.repeat(np.arange(len(grid)), draws), np.tile(np.arange(draws), len(grid))
    return TextTable(grid, "made up", tuple(text(grid.row(c), rng) for c in cell.tolist()), cell, draw)


def swapped(table: TextTable) -> TextTable:
    """The draws of every cell the other way round: the same texts in another order."""
    order = np.lexsort((-table.draw, table.cell))
    return replace(table, texts=tuple(table.texts[i] for i in order))


def labelled(folder: Path, labels: tuple[str, ...]) -> Path:
    """A tiny classifier of pairs with random weights."""
    from transformers import AutoModelForSequenceClassification

    tiny_bert(folder, score=True)
    names = dict(enumerate(labels))
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels), id2label=names, ignore_mismatched_sizes=True)
    model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["id2label"]["1"] == labels[1]
    return folder

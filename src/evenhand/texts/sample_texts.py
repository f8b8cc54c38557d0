"""The sample of texts that ships: four drafts for each of 128 audiences of a made-up campaign, written for this project (MIT), with planted
differences between men and women and between ages. texts/sample/README.md lists and measures them. They show that the tools work; they say
nothing about what people or language models write.
"""

from __future__ import annotations

import json
from importlib.resources import files

from evenhand.texts.grid import Grid, parse
from evenhand.texts.rows import read_texts
from evenhand.texts.table import ORIGINAL, TextTable


def sample() -> tuple[Grid, TextTable]:
    """The grid and its 512 texts, run "sample", source "original", draws 0 to 3 of each cell."""
    folder = files("evenhand.texts").joinpath("sample")
    grid = parse(folder.joinpath("grid.toml").read_text(encoding="utf-8"), "grid.toml")
    rows = [json.loads(line) for line in folder.joinpath("messages.jsonl").read_text(encoding="utf-8").splitlines()]
    return grid, read_texts([{**row, "run": "sample", "source": ORIGINAL} for row in rows], grid).runs["sample"]

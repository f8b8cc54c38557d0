"""Cells of the CSV files that are written here: texts in them are others' words, and a spreadsheet runs what looks like a formula."""

from __future__ import annotations

import re
from typing import Any

START = re.compile("^(?=[ \u00a0'\"]*[=+\\-@\\t\\r\\uff1d\\uff0b\\uff0d\\uff20])")  # full-width forms are read as the plain ones
SPLIT = re.compile("(?<=[;\\t\\r\\n])(?=[ \u00a0'\"]*[=+\\-@\\uff1d\\uff0b\\uff0d\\uff20])")


def neutral(cell: Any) -> Any:
    """A cell that no spreadsheet runs: a leading apostrophe where a text starts like a formula. Numbers stay numbers.

    Where lists are separated by semicolons, spreadsheets split cells there too, whatever the quotes say: a part that such a split would
    begin gets its apostrophe as well.

    >>> neutral("=1+1"), neutral(-0.5), neutral("young;=1+1")
    ("'=1+1", -0.5, "young;'=1+1")
    """
    return SPLIT.sub("'", START.sub("'", cell)) if isinstance(cell, str) else cell

"""The published JSON → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
MOST_REQUIREMENTS, MOST_GROUPS, MOST_CHANGES = 5, 6, 3  # rows; with all of them the text has 40 lines


def text(value: str, longest: int = 160) -> str:
    """Text that Markdown shows as it stands: no emphasis, links, HTML, mentions, issue numbers, table cells or headings."""
    value = value if len(value) <= longest else value[: longest - 1] + "…"
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    value = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", value)
    return re.sub(r"[@#]|(?<=:)/|(?<=www)\.", lambda m: f"&#{ord(m[0])};", value, flags=re.I)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], most: int, file: str) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows[:most])]
    return [*lines, *([f"{len(rows) - most} more in {file}."] if len(rows) > most else []), ""]


def code(command: str) -> str:
    """A code span with a fence longer than any run of backticks in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", command)), default=0))
    return f"{fence} {command} {fence}"

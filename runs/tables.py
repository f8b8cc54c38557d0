"""Tables of pages, and numbers in them."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def share(e: dict) -> str:
    """A share in per cent, with its interval where it has one."""
    return points_of(e["value"]) if e["low"] is None else per_cent([e["value"], e["low"], min(e["high"], 1.0)])


def points_of(share: float) -> str:
    return f"{100 * share:.1f}"


def per_cent(e: list[float]) -> str:
    return spread([100 * value for value in e], 1)


def spread(e: list[float], digits: int = 3) -> str:
    return f"{e[0]:.{digits}f} [{e[1]:.{digits}f}, {e[2]:.{digits}f}]"

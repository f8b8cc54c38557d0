"""Two written reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenhand.core import DataError
from evenhand.report import Report
from evenhand.report.diff import KINDS, Diff, report
from evenhand.report.written import EXPECTED, FILES, MOST_BYTES, parse, side

OF_TEXTS = "texts"  # reports that are not put side by side: runs in one report have paired intervals, two reports have none


def diff(a: str | Path, b: str | Path, *, title: str = "", note: str = "", command: str = "") -> Report:
    """The numbers, verdicts and facts of two reports of one kind: A, B, and B - A.

    a, b: folders of reports, or their JSON files. Raises DataError without a report, for two kinds, and for a file of a later version.
    """
    (kind, one), (other, two) = _read(Path(a)), _read(Path(b))
    if kind != other:
        found, expected = f"it holds a report of kind '{other}'", f"'{kind}', as the first one"
        raise DataError(found, expected=expected, remedy="compare reports of one kind", file=str(b))
    return report(Diff(kind, side(_name(a), one), side(_name(b), two), command, title=title, note=note))


def _read(place: Path) -> tuple[str, dict[str, Any]]:
    """(kind, document) of a report."""
    file = next((place / name for name in FILES if (place / name).is_file()), None) if place.is_dir() else place
    if file is None or not file.is_file():
        found = f"there is no {', '.join(FILES[:-1])} or {FILES[-1]} in it" if place.is_dir() else "there is no such file or folder"
        raise DataError(found, expected=EXPECTED, remedy="name the folder that a verb wrote with --out", file=str(place))
    with file.open("rb") as stream:
        kind, document = parse(stream.read(MOST_BYTES + 1), str(file))
    if kind == OF_TEXTS:
        expected = f"a report of {', '.join(KINDS)}"
        remedy = "audit both runs at once with evenhand audit-text (column run): only there can texts of one cell be paired"
        raise DataError("it is a report of texts, and two of these are not compared", expected=expected, remedy=remedy, file=str(file))
    if kind not in KINDS:
        raise DataError(
            f"it is a report of kind '{kind}'", expected=f"one of {', '.join(KINDS)}", remedy="name another file", file=str(file)
        )
    return kind, document


def _name(place: str | Path) -> str:
    return Path(place).name or str(place)

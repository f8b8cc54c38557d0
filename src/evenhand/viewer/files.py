"""Which files of a run may be asked for: what its kind of report writes, by name, and where the page was started for it, the private page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from evenhand.report.audit import AUDIT
from evenhand.report.certificate import CERTIFICATE
from evenhand.report.check import CHECK
from evenhand.report.comparison import COMPARISON, SWEEP
from evenhand.report.diff import DIFF
from evenhand.report.examples import EXAMPLES
from evenhand.report.policies import POLICIES
from evenhand.report.texts import TEXTS
from evenhand.report.texts.examples import TEXT_EXAMPLES
from evenhand.viewer.runs import Run

KINDS = {"audit": AUDIT, "comparison": COMPARISON, "sweep": SWEEP, "policies": POLICIES, "data check": CHECK, "certificate": CERTIFICATE,
         "texts": TEXTS, "difference": DIFF}  # fmt: skip
PRIVATE = {"audit": f"{EXAMPLES.stem}.html", "texts": f"{TEXT_EXAMPLES.stem}.html"}  # pages of raw texts
TYPES = {".html": "text/html", ".pdf": "application/pdf"}  # all others are shown as plain text
MOST_BYTES = 100_000_000


@dataclass(frozen=True)
class File:
    """is_open: whether it may be asked for; a private page is named all the same, so that its owner knows of it."""

    name: str
    size: int
    is_open: bool = True


def page(run: Run) -> str:
    """The name of its report as a page."""
    return f"{KINDS[run.gist.kind].stem}.html"


def listed(root: Path, run: Run, show_text: bool) -> tuple[File, ...]:
    """Those that are there, the page first."""
    private = PRIVATE.get(run.gist.kind, "")
    found = [(name, _size(root.joinpath(*run.folder, name))) for name in names(run)]
    return tuple(File(name, size, show_text or name != private) for name, size in found if size is not None)


def names(run: Run) -> tuple[str, ...]:
    kind = KINDS[run.gist.kind]
    private = PRIVATE.get(run.gist.kind, "")
    return (page(run), f"{kind.stem}.pdf", *reversed(kind.files[:-1]), *([private] if private else []))


def type_of(name: str) -> str:
    return TYPES.get(os.path.splitext(name)[1], "text/plain")


def _size(path: Path) -> int | None:
    """None where there is no regular file of that name."""
    try:
        return os.lstat(path).st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None

"""The runs under a folder: every report that evenhand wrote there, and every file that bears a report's name and is none."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenhand.core import DataError
from evenhand.report.publish import one_line
from evenhand.report.written import FILES, MOST_BYTES, parse
from evenhand.viewer import inside
from evenhand.viewer.gist import Gist, gist

NAMES = (*FILES, "diff.json")
MOST_RUNS, MOST_ENTRIES, DEEPEST = 5_000, 200_000, 16  # reports that are read, names that are looked at, folders one in another

Place = tuple[str, ...]  # names from the root to a report's file


@dataclass(frozen=True)
class Run:
    """A report. key: of its place, in addresses. changed: of its file, seconds since 1970."""

    key: str
    place: Place
    gist: Gist
    changed: float

    @property
    def folder(self) -> Place:
        return self.place[:-1]

    @property
    def name(self) -> str:
        """Its folder, from the root on; the file too where a folder may hold several."""
        folder = "/".join(self.folder) or "."
        return one_line(folder if self.place[-1] == NAMES[0] else f"{folder}/{self.place[-1]}")

    @property
    def date(self) -> str:
        """When the report was made; of one that does not say, when its file last changed."""
        return self.gist.date or f"{datetime.fromtimestamp(self.changed, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Broken:
    """A file that bears a report's name and is none."""

    name: str
    why: str


@dataclass(frozen=True)
class Found:
    """runs: in the order of their places. cut: why not everything was looked at, "" = it was."""

    runs: tuple[Run, ...]
    broken: tuple[Broken, ...]
    cut: str = ""


class Shelf:
    """The runs under `root`, looked for anew each time; a file that has not changed is not read again."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        self._cut = ""
        self._known: dict[Place, tuple[tuple[int, int], Run | Broken]] = {}
        self._lock = threading.Lock()

    def find(self) -> Found:
        with self._lock:
            self._cut = ""
            known = {place: (stamp, self._read(place, stamp, status)) for place, stamp, status in self._places()}
            self._known = known
            found = [known[place][1] for place in sorted(known)]
            return Found(tuple(f for f in found if isinstance(f, Run)), tuple(f for f in found if isinstance(f, Broken)), self._cut)

    def run(self, key: str) -> Run | None:
        return next((r for r in self.find().runs if r.key == key), None)

    def document(self, run: Run) -> tuple[str, dict[str, Any]]:
        """(kind, document) of its file as it is now. Raises DataError."""
        return parse(inside.read(self.root, run.place, MOST_BYTES), "/".join(run.place))

    def _places(self) -> Iterator[tuple[Place, tuple[int, int], os.stat_result]]:
        """Reports' places with what tells whether their file changed. Links are not followed, hidden folders not entered."""
        looked, reports = 0, 0
        folders: list[tuple[Place, Path]] = [((), self.root)]
        while folders:
            place, folder = folders.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda e: e.name, reverse=True)
            except OSError:
                continue
            for entry in entries:
                looked += 1
                if looked > MOST_ENTRIES or reports >= MOST_RUNS:
                    what = f"{MOST_ENTRIES:,} files and folders" if looked > MOST_ENTRIES else f"{MOST_RUNS:,} reports"
                    self._cut = f"Only the first {what} were looked at: open a folder further down."
                    return
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(".") and len(place) < DEEPEST:
                            folders.append(((*place, entry.name), Path(entry.path)))
                    elif entry.name in NAMES:
                        reports, status = reports + 1, entry.stat(follow_symlinks=False)
                        yield (*place, entry.name), (status.st_mtime_ns, status.st_size), status
                except OSError:
                    continue

    def _read(self, place: Place, stamp: tuple[int, int], status: os.stat_result) -> Run | Broken:
        before = self._known.get(place)
        if before is not None and before[0] == stamp:
            return before[1]
        name = "/".join(place)
        try:
            kind, document = parse(inside.read(self.root, place, MOST_BYTES), "")
        except DataError as error:
            return Broken(one_line(name), str(error).removeprefix(f"{name}: "))
        key = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        return Run(key, place, gist(kind, document), status.st_mtime)

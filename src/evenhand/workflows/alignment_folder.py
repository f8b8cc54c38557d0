"""The folder of one alignment: files of rows that are made once, and the settings that they were made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand import writing
from evenhand.core import DataError, clip
from evenhand.texts.grid import Grid
from evenhand.texts.rows import jsonl, read_texts
from evenhand.texts.table import TextTable
from evenhand.workflows.progress import Progress

KIND = "alignment"
FORMAT = "evenhand align 1"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Folder:
    """The folder of one alignment."""

    folder: Path
    grid: Grid
    seed: int
    say: Callable[[str], None]
    progress: Progress | None

    def same_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes them down, or raises DataError where the folder's files were written with others."""
        document = (json.dumps({"format": FORMAT, "settings": settings}, indent=1) + "\n").encode()
        writing.check(self.folder, ["align.json"], KIND)
        file = self.folder / "align.json"
        if not file.exists():
            writing.write(self.folder, {"align.json": document}, KIND)
            return
        said = json.loads(file.read_bytes())
        if said.get("format") != FORMAT:
            raise DataError(
                "the folder holds an alignment of another version of evenhand",
                expected=FORMAT,
                remedy="choose another --out",
                file=self.folder.name,
            )
        there = said["settings"]
        for name in {**settings, **there}:
            if there.get(name) != settings.get(name):
                raise DataError(
                    f"the folder holds an alignment with other settings: {name} is {clip(str(there.get(name, 'none')), 100)}",
                    expected=f"{name} {clip(str(settings.get(name, 'none')), 100)}",
                    remedy="give the same options to go on, or choose another --out",
                    file=self.folder.name,
                )

    def once(self, name: str, make: Callable[[], Iterable[Row]]) -> Path:
        """A file of rows, made unless it is there. Raises DataError where one that is there is not evenhand's, or was changed."""
        writing.check(self.folder, [name], KIND)
        if not (self.folder / name).exists():
            writing.write(self.folder, {name: jsonl(make())}, KIND)
        return self.folder / name

    def prompts(self) -> dict[int, str]:
        """Cell → how it is asked for."""
        return {self.cell(row): row["prompt"] for row in lines_of(self.folder / "prompts.jsonl")}

    def cell(self, row: Row) -> int:
        return self.grid.places[tuple(str(row[c]) for c in self.grid.columns)]

    def rows(self, table: TextTable, run: str) -> Iterator[Row]:
        prompts = self.prompts()
        for i, text in enumerate(table.texts):
            cell = int(table.cell[i])
            yield {**self.grid.row(cell), "prompt": prompts[cell], "text": text, "run": run, "source": table.source[i], "draw": int(table.draw[i])}  # fmt: skip

    def table(self, path: Path) -> TextTable:
        [table] = read_texts(path, self.grid, together=True).runs.values()
        return table


def lines_of(path: Path) -> list[Row]:
    """JSON lines that this package wrote. A text may hold other ends of lines than a line feed."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8", "surrogatepass").split("\n") if line]

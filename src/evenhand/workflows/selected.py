"""What was selected, as files: texts, what to train on in TRL's conversational format, and a log of what refused what."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evenhand import writing
from evenhand.core import Estimate
from evenhand.report.publish import document
from evenhand.texts.findings import Fall, Selection
from evenhand.texts.rows import jsonl, rows_of
from evenhand.texts.selecting.candidates import Candidates
from evenhand.texts.selecting.gate import NONE_LOWER
from evenhand.texts.table import ORIGINAL

KIND = "selection"
FILES = ("selected.jsonl", "sft.jsonl", "dpo.jsonl", "refused.jsonl", "selection.json")
UNCHOSEN = "another was chosen"
NO_FAULT = ((UNCHOSEN,), (NONE_LOWER,))  # such a text is no worse than its original


@dataclass(frozen=True, repr=False)
class Selected:
    """candidates: all of them. chosen int64[cells]: the candidate of each cell, 0 = the original. findings: what gate and selection did.
    refused[cell, candidate]: why each text that was not chosen was not. kept: unit → the constraints that stood against the nearest
    assignment.
    """

    candidates: Candidates
    chosen: np.ndarray
    findings: Selection
    refused: Mapping[tuple[int, int], tuple[str, ...]]
    kept: Mapping[str, tuple[str, ...]]
    run: str = "selected"

    def __repr__(self) -> str:
        found = self.findings
        texts = int((self.candidates.row[:, 0] >= 0).sum())
        return f"Selected({texts:,} texts of {found.n_blocks:,} blocks, {int((self.chosen > 0).sum()):,} of them not the original; {found.n_candidates:,} candidates)"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The selected texts, one a cell: the grid's columns, prompt, text, run, source, draw."""
        at = self.candidates.rows(self.chosen)
        table = replace(self.candidates.table.take(at[at >= 0]), run=self.run)
        for cell, row in zip(table.cell.tolist(), rows_of([table])):
            yield row | {"prompt": self._prompt(cell)}

    def sft(self) -> Iterator[dict[str, Any]]:
        """Prompt and selected text as a conversation, beside the grid's columns: TRL's prompt and completion."""
        for cell, text, _ in self._cells():
            source = self.candidates.table.source[self.candidates.row[cell, self.chosen[cell]]]
            yield self._about(cell) | {"source": source, "prompt": _user(self._prompt(cell)), "completion": _assistant(text)}

    def dpo(self) -> Iterator[dict[str, Any]]:
        """The selected text against the original, where it is not the original itself, and against the first candidate that a check or the
        gate refused for a fault: TRL's prompt, chosen and rejected, and what the rejected one was refused for.
        """
        for cell, text, texts in self._cells():
            rejected: list[tuple[int, tuple[str, ...]]] = [(0, (ORIGINAL,))] if self.chosen[cell] else []
            rejected += [
                (c, why)
                for c in range(1, len(texts))
                if (why := self.refused.get((cell, c), NO_FAULT[0])) not in NO_FAULT and texts[c] != text
            ][:1]
            for candidate, why in rejected:
                if texts[candidate] != text:
                    yield self._about(cell) | {
                        "refused_for": ", ".join(why), "prompt": _user(self._prompt(cell)), "chosen": _assistant(text),
                        "rejected": _assistant(texts[candidate]),
                    }  # fmt: skip

    def log(self) -> Iterator[dict[str, Any]]:
        """Which candidate was refused by what, without its text: by checks of the text, and by the gate when it alone replaces an original."""
        table = self.candidates.table
        for (cell, candidate), why in self.refused.items():
            row = self.candidates.row[cell, candidate]
            yield self._about(cell) | {"source": table.source[row], "draw": int(table.draw[row]), "refused": list(why)}

    def document(self) -> dict[str, Any]:
        return {"format": "evenhand selection 1", **document(self.findings), "kept_units": {k: list(v) for k, v in self.kept.items()}}

    def save(self, out: str | Path) -> None:
        """The five files, into a folder. Raises DataError for a file that would be lost."""
        contents = {
            "selected.jsonl": jsonl(self.rows()), "sft.jsonl": jsonl(self.sft()), "dpo.jsonl": jsonl(self.dpo()), "refused.jsonl": jsonl(self.log()),
            "selection.json": (json.dumps(self.document(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace"),
        }  # fmt: skip
        writing.write(Path(out), contents, KIND, FILES)

    def _cells(self) -> Iterator[tuple[int, str, list[str]]]:
        """Of every cell with texts: (cell, the chosen text, all its candidates)."""
        for cell, row in enumerate(self.candidates.row):
            texts = [self.candidates.table.texts[i] for i in row if i >= 0]
            if texts:
                yield cell, texts[self.chosen[cell]], texts

    def _about(self, cell: int) -> dict[str, Any]:
        return dict(self.candidates.table.grid.row(cell))

    def _prompt(self, cell: int) -> str:
        """What the original was written for: its own prompt, where the table has them."""
        table = self.candidates.table
        given = table.extra["prompt"][self.candidates.row[cell, 0]] if "prompt" in table.extra else None
        return given if isinstance(given, str) and given.strip() else table.grid.prompt(cell)


def selection_of(file: Path) -> Selection:
    """What gate and selection wrote of themselves."""
    said = json.loads(file.read_bytes())
    falls = [
        Fall(f["measure"], f["axis"], *(_estimate(f[name]) for name in ("same", "fresh", "shuffled", "learned"))) for f in said["falls"]
    ]
    signed = [(measure, axis, _number(before), _number(after)) for measure, axis, before, after in said["signed"]]
    return Selection(
        said["settings"], said["n_blocks"], said["n_candidates"], said["refused"], said["kept"], said["chosen"], tuple(falls), tuple(signed),
        tuple(said["sentences"]),
    )  # fmt: skip


def _estimate(said: Mapping[str, Any]) -> Estimate:
    return Estimate(**{**said, **{name: _number(said[name]) for name in ("value", "low", "high")}})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]

"""A grid: one message for many audiences. Axes and their values, the prompt's template, and which axes are matched: texts of cells that
differ in a matched axis alone should not differ in more than they must.

    name = "climate"
    template = "Generate a {theme} themed message in 50 words encouraging {age}, {gender} from the {region} of US to adopt {stance}."

    [[axis]]
    names = ["stance", "theme"]      # values that go together
    values = [["Pro-Energy", "Economy"], ["Clean-Energy", "Human health"]]

    [[axis]]
    name = "gender"
    matched = true
    values = ["Male", "Female"]
    [axis.words]                     # how a text may name a value: what masked audits hide, and what must be kept of an axis that is not matched
    Male = ["man", "men"]
    [[axis.associations]]            # two sets of words that the lexical audit sets against each other; as many such tables as wanted
    career = ["career", "salary"]
    family = ["family", "home"]
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from math import prod
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from evenhand.core import DataError, EvenhandError, clip

BUILT_IN = ("climate", "vaccination")
RESERVED = ("prompt", "text", "run", "source", "draw")  # columns beside the grid's own
MOST_CELLS = 1_000_000
MOST_BYTES = 2**20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Words = tuple[str, tuple[str, ...]]  # the name of a set, and what is in it
KEYS = {"name", "names", "values", "matched", "words", "associations"}


@dataclass(frozen=True)
class Axis:
    """One way in which prompts differ. names: the placeholders it fills, several where their values go together. values[v]: what stands in
    for each of them. matched: texts that differ in this axis alone are compared. words[v]: how a text may name the value, lower case.
    associations: each two named sets of words.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    matched: bool = False
    words: tuple[tuple[str, ...], ...] = ()
    associations: tuple[tuple[Words, Words], ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def name(self) -> str:
        return " and ".join(self.names)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name of each value."""
        return tuple(" / ".join(v) for v in self.values)


@dataclass(frozen=True, repr=False)
class Grid:
    """Axes that are not matched come first. A cell is one prompt: cell = block · size + place, where a block is one combination of the axes
    that are not matched, and a place one of those that are, the last axis running fastest.
    """

    name: str
    template: str
    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        """The number of cells."""
        return self.blocks * self.size

    def __repr__(self) -> str:
        return f"Grid('{self.name}', {len(self):,} cells in {self.blocks:,} blocks)"

    @property
    def matched(self) -> tuple[Axis, ...]:
        return tuple(a for a in self.axes if a.matched)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a block: the number of values of each matched axis."""
        return tuple(len(a) for a in self.matched)

    @property
    def blocks(self) -> int:
        return prod(len(a) for a in self.axes if not a.matched)

    @property
    def size(self) -> int:
        """Cells of a block."""
        return prod(self.shape)

    @cached_property
    def cells(self) -> np.ndarray:
        """int64[cells, axes]: the number of each axis's value."""
        return np.stack(np.unravel_index(np.arange(len(self)), [len(a) for a in self.axes]), axis=1)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for a in self.axes for name in a.names)

    def row(self, cell: int) -> dict[str, str]:
        """What fills the placeholders."""
        return {n: v for a, i in zip(self.axes, self.cells[cell]) for n, v in zip(a.names, a.values[i])}

    def prompt(self, cell: int) -> str:
        return self.template.format(**self.row(cell))

    def label(self, cell: int) -> str:
        """A cell's name: its values."""
        return " / ".join(self.row(cell).values())

    @cached_property
    def places(self) -> Mapping[tuple[str, ...], int]:
        """Values in the order of `columns` → cell."""
        return {tuple(self.row(c).values()): c for c in range(len(self))}

    def pairs(self, axis: Axis) -> np.ndarray:
        """int64[pairs, 2]: cells that differ in this matched axis alone, for every two of its values."""
        at = next(i for i, a in enumerate(self.axes) if a is axis)
        stride = prod(len(a) for a in self.axes[at + 1 :])
        first = np.flatnonzero(self.cells[:, at] == 0)
        return np.concatenate(
            [np.stack([first + i * stride, first + j * stride], 1) for i, j in itertools.combinations(range(len(axis)), 2)]
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that it says."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "template": self.template,
            "axes": [{"names": a.names, "values": a.values, "matched": a.matched} for a in self.axes],
        }


def load_grid(place: str | Path | Grid) -> Grid:
    """A built-in grid by name, a TOML file, or a grid as it is.

    Raises DataError with the line for: a placeholder of no axis, an axis that the template does not name (matched ones above all), a value
    twice, fewer than two values of a matched axis, no matched axis, a name twice, anything of another type.
    """
    if isinstance(place, Grid):
        return place
    if str(place) in BUILT_IN:
        return parse(files("evenhand.texts").joinpath(f"grids/{place}.toml").read_text(encoding="utf-8"), f"{place}.toml")
    path = Path(place)
    if not path.is_file():
        raise EvenhandError(
            f"There is no grid '{clip(str(place))}'. Expected: {', '.join(BUILT_IN)}, or a TOML file. To do: check the name, or write one "
            "(docs/texts.md)."
        )
    with path.open("rb") as stream:
        raw = stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise DataError("the file is larger than 1 MB", expected="a grid", remedy="check that it is the right file", file=path.name)
    try:
        return parse(raw.decode("utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise DataError("the file is not valid UTF-8", expected="a grid in TOML", remedy="save it as UTF-8", file=path.name) from error


def parse(text: str, file: str) -> Grid:
    """The grid that a TOML text says."""
    said = _Said(text, file)
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        raise said.fault(
            f"it is not valid TOML ({error})", "a grid in TOML", "mend the line", line=int(where[1]) if where else None
        ) from error
    except RecursionError as error:
        raise said.fault("its brackets are nested too deeply", "a grid in TOML", "check that it is the right file") from error
    for key in given:
        if key not in ("name", "template", "axis"):
            raise said.fault(f"a key '{clip(key)}' is not known", "name, template and [[axis]]", "take it out", key)
    template = said.text(given.get("template"), "template")
    tables = given.get("axis")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise said.fault("there is no axis", "one [[axis]] or more", "write the axes")
    axes = [_axis(t, said) for t in tables]
    _check(axes, template, said)
    grid = Grid(
        said.text(given.get("name", Path(file).stem), "name"),
        template,
        (*(a for a in axes if not a.matched), *(a for a in axes if a.matched)),
    )
    if len(grid) > MOST_CELLS:
        raise said.fault(f"it has {len(grid):,} cells", f"{MOST_CELLS:,} at most", "take values out")
    return grid


def _axis(table: dict[str, Any], said: _Said) -> Axis:
    for key in table:
        if key not in KEYS:
            raise said.fault(f"a key '{clip(key)}' of an axis is not known", ", ".join(sorted(KEYS)), "take it out", key)
    if ("name" in table) == ("names" in table):
        raise said.fault(
            "an axis has no name, or both name and names", 'name = "age", or names = ["stance", "theme"]', "write one of them", "[[axis]]"
        )
    given = table.get("names", [table.get("name")])
    names = tuple(said.text(n, "name of an axis") for n in (given if isinstance(given, list) else [given]))
    for name in names:
        if not NAME.fullmatch(name) or name in RESERVED:
            raise said.fault(
                f"'{clip(name)}' cannot name an axis",
                f"letters, digits and _, and none of {', '.join(RESERVED)}",
                "choose another name",
                name,
            )
    values = table.get("values")
    if not isinstance(values, list) or not values:
        raise said.fault(f"axis '{names[0]}' has no values", 'values = ["one", "another"]', "write them", names[0])
    rows = [_row(v, names, said) for v in values]
    for i, row in enumerate(rows):
        if row in rows[:i]:
            raise said.fault(
                f"axis '{names[0]}' has a value twice", "every value once", "take one out", row[-1], last=True, value=" / ".join(row)
            )
    if len(rows) < 2:
        raise said.fault(f"axis '{names[0]}' has one value", "two or more", "write it into the template, or add a value", names[0])
    matched = table.get("matched", False)
    if not isinstance(matched, bool):
        raise said.fault(f"matched of axis '{names[0]}' is no truth value", "true or false", "mend it", "matched")
    axis = Axis(names, tuple(rows), matched)
    words = table.get("words", {})
    if not isinstance(words, dict) or any(w not in _keys(axis) for w in words):
        odd = next((w for w in words if w not in _keys(axis)), "") if isinstance(words, dict) else ""
        raise said.fault(
            f"words of axis '{names[0]}' name no value of it", ", ".join(_keys(axis)), "mend the name", odd or "words", value=odd
        )
    hidden = tuple(_words(words.get(k, []), said) for k in _keys(axis))
    return replace(axis, words=hidden, associations=_associations(table.get("associations", []), names[0], said))


def _associations(tables: Any, axis: str, said: _Said) -> tuple[tuple[Words, Words], ...]:
    found = []
    for table in tables if isinstance(tables, list) else [tables]:
        if not isinstance(table, dict) or len(table) != 2:
            raise said.fault(
                f"associations of axis '{axis}' are not two sets of words",
                "[[axis.associations]] with two lists",
                "mend them",
                "associations",
            )
        (one, first), (other, second) = table.items()
        found.append(((one, _words(first, said)), (other, _words(second, said))))
    return tuple(found)


def _keys(axis: Axis) -> tuple[str, ...]:
    """What [axis.words] calls each value: the last of those that go together."""
    return tuple(v[-1] for v in axis.values)


def _row(value: Any, names: Sequence[str], said: _Said) -> tuple[str, ...]:
    row = value if isinstance(value, list) else [value]
    if len(row) != len(names):
        raise said.fault(
            f"a value of '{names[0]}' has {len(row)} parts",
            f"{len(names)}: {', '.join(names)}",
            "mend it",
            str(row[-1] if row else names[0]),
        )
    return tuple(said.text(v, f"value of '{names[0]}'") for v in row)


def _words(value: Any, said: _Said) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise said.fault("words are no list", '["one", "another"]', "mend them", "words")
    return tuple(dict.fromkeys(said.text(w, "word").lower() for w in value))


def _check(axes: Sequence[Axis], template: str, said: _Said) -> None:
    names = [n for a in axes for n in a.names]
    if twice := next((n for i, n in enumerate(names) if n in names[:i]), None):
        raise said.fault(f"two axes are called '{twice}'", "every name once", "rename one", twice, last=True)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise said.fault(
            f"the template cannot be read ({error})", "placeholders such as {age}; {{ and }} for braces", "mend it", "template"
        ) from error
    asked = [p for _, p, _, _ in parts if p is not None]
    if any(spec or conversion for _, p, spec, conversion in parts if p is not None):
        raise said.fault("a placeholder has a format", "plain names such as {age}", "take the format out", "template")
    if (odd := next((p for p in asked if p not in names), None)) is not None:
        raise said.fault(
            f"the template's placeholder {{{clip(odd)}}} is no axis", f"one of {', '.join(names)}", "mend the name", "template"
        )
    for axis in axes:
        if missing := [n for n in axis.names if n not in asked]:
            kind = "matched axis" if axis.matched else "axis"
            raise said.fault(
                f"the template has no placeholder for {kind} '{missing[0]}'", f"{{{missing[0]}}} in it: else its prompts are all the same",
                "add it, or take the axis out", "template",
            )  # fmt: skip
    if not any(a.matched for a in axes):
        raise said.fault("no axis is matched", "matched = true for the groups that are compared", "mark them", "[[axis]]")


@dataclass(frozen=True)
class _Said:
    """The text of a grid, for the lines of messages: TOML's values have no place of their own."""

    source: str
    file: str

    def fault(
        self, found: str, expected: str, remedy: str, near: str = "", *, last: bool = False, line: int | None = None, value: str = ""
    ) -> DataError:
        """near: what stands in the line that is meant; last: in the last one of several."""
        lines = list(enumerate(self.source.splitlines(), 1))
        at = [i for i, text in lines if near and f'"{near}"' in text] or [i for i, text in lines if near and near in text]
        return DataError(
            found, expected=expected, remedy=remedy, file=self.file, line=line or (at[-1 if last else 0] if at else None), value=value
        )

    def text(self, value: Any, what: str) -> str:
        if not isinstance(value, str) or not value.strip():
            shown = value if isinstance(value, str) else repr(value)
            raise self.fault(
                f"the {what} is {'empty' if isinstance(value, str) else 'missing or no text'}", "a text", "write it", what, value=shown
            )
        return value.strip()

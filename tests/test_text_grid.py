"""Grids: the design of the paper, cells and pairs, errors with their line; tables of texts for them."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import evenhand
from evenhand.core import DataError, EvenhandError
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.grid import Grid, load_grid, parse
from evenhand.texts.rows import LONGEST, jsonl, read_texts, rows_of
from evenhand.texts.table import TextTable

PLAIN = """
name = "flu"
template = "Ask {who} in the {place} to come at {time}, please."
[[axis]]
name = "who"
matched = true
values = ["men", "women"]
[axis.words]
men = ["man", "Mr"]
women = ["woman"]
[[axis.associations]]
work = ["job"]
home = ["family"]
[[axis]]
name = "place"
values = ["North", "South", "West"]
[[axis]]
name = "time"
matched = true
values = ["noon", "night", "dawn"]
"""


@pytest.fixture
def grid() -> Grid:
    return parse(PLAIN, "flu.toml")


def test_climate_has_the_prompts_and_pairs_of_the_paper() -> None:
    climate = evenhand.grid("climate")
    assert len(climate.grid) == 440
    assert climate.pairs == {"age": 660, "gender": 220}
    assert (climate.grid.blocks, climate.grid.size) == (55, 8)
    prompts = [row["prompt"] for row in climate.rows()]
    assert len(set(prompts)) == 440
    assert prompts[0] == (
        "Generate a Economy themed message in 50 words encouraging Young Adult (18-24), Male from the Northeast of US to adopt Pro-Energy."
    )
    assert {(r["stance"], r["theme"]) for r in climate.rows()} >= {("Pro-Energy", "Patriotism"), ("Clean-Energy", "Animals")}
    assert ("Pro-Energy", "Animals") not in {(r["stance"], r["theme"]) for r in climate.rows()}


def test_vaccination_has_the_same_audiences() -> None:
    one, other = load_grid("climate"), load_grid("vaccination")
    assert one.matched == other.matched
    assert len(other) == 6 * 5 * 8


def test_cells_run_over_matched_axes_inside_blocks(grid: Grid) -> None:
    assert [a.name for a in grid.axes] == ["place", "who", "time"]
    expected = list(product(["North", "South", "West"], ["men", "women"], ["noon", "night", "dawn"]))
    assert [tuple(grid.row(c)[n] for n in ("place", "who", "time")) for c in range(len(grid))] == expected
    assert grid.prompt(4) == "Ask women in the North to come at night, please."


def test_pairs_differ_in_one_axis_alone(grid: Grid) -> None:
    for axis, count in zip(grid.matched, (9, 18)):
        pairs = grid.pairs(axis)
        assert len({tuple(p) for p in pairs.tolist()}) == len(pairs) == count
        for a, b in pairs.tolist():
            one, other = grid.row(a), grid.row(b)
            assert [n for n in one if one[n] != other[n]] == [axis.name]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("{time}", "{day}", 3, "placeholder {day} is no axis"),
        (" at {time}", "", 3, "no placeholder for matched axis 'time'"),
        (" in the {place}", "", 3, "no placeholder for axis 'place'"),
        ('["noon", "night", "dawn"]', '["noon", "night", "noon"]', 20, "a value twice"),
        ('["North", "South", "West"]', '["North"]', 15, "axis 'place' has one value"),
        ('"Ask {who}', '"Ask {who!r}', 3, "has a format"),
        ("{who}", "{who", 3, "cannot be read"),
        ('name = "time"', 'name = "place"', 18, "two axes are called 'place'"),
        ('name = "time"', 'name = "text"', 18, "cannot name an axis"),
        ('women = ["woman"]', 'woman = ["woman"]', 10, "name no value of it"),
        ('work = ["job"]', "", None, "two sets of words"),
        ("matched = true", "matched = 1", 6, "truth value"),
        ("[[axis]]", "[[axes]]", None, "axes"),
        ("matched = true", "match = true", 6, "a key 'match' of an axis is not known"),
        ('name = "flu"', "name = flu", 2, "not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_grid_is_told_with_its_line(old: str, new: str, line: int | None, told: str) -> None:
    with pytest.raises(DataError) as error:
        parse(PLAIN.replace(old, new), "flu.toml")
    assert told in str(error.value)
    assert "To do:" in str(error.value)
    if line is not None:
        assert error.value.line == line


def test_without_a_matched_axis_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match="no axis is matched"):
        parse(PLAIN.replace("matched = true", ""), "flu.toml")


def test_an_unknown_grid_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="climate, vaccination"):
        load_grid("climat")
    (tmp_path / "latin.toml").write_bytes(PLAIN.replace("men", "Männer").encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        load_grid(tmp_path / "latin.toml")


def rows(grid: Grid, draws: int = 2) -> list[dict[str, object]]:
    return [{**grid.row(c), "text": f"text {c} {d} for a man or a Woman", "draw": d} for c in range(len(grid)) for d in range(draws)]


def test_texts_are_read_into_their_cells(grid: Grid, tmp_path: Path) -> None:
    shuffled = [rows(grid)[i] for i in np.random.default_rng(0).permutation(36)]
    (tmp_path / "texts.jsonl").write_bytes(jsonl(shuffled))
    read = read_texts(tmp_path / "texts.jsonl", grid)
    table = read.runs["texts"]
    assert table.texts[:3] == ("text 0 0 for a man or a Woman", "text 0 1 for a man or a Woman", "text 1 0 for a man or a Woman")
    arranged = table.arranged(np.arange(36.0))
    assert arranged.shape == (3, 2, 3, 2)
    assert arranged[1, 1, 2].tolist() == [22.0, 23.0]
    again = read_texts(list(rows_of([table])), grid).runs["texts"]
    assert again.texts == table.texts
    assert again.cell.tolist() == table.cell.tolist()
    assert table.hidden().texts[0] == "text 0 0 for a someone or a someone"


def test_runs_and_sources_are_kept_apart(grid: Grid) -> None:
    two = [r | {"run": name, "source": source} for name in ("first", "second") for source in ("a", "b") for r in rows(grid)]
    runs = read_texts(two, grid).runs
    assert list(runs) == ["first", "second"]
    assert runs["first"].draws == 4
    assert runs["first"].source[:4] == ("a", "a", "b", "b")
    assert runs["first"].draw[:4].tolist() == [0, 1, 0, 1]


def test_texts_that_cannot_be_compared_are_counted_by_cell(grid: Grid) -> None:
    some = rows(grid, 1)
    some[0]["text"], some[1]["text"] = "  ", "x" * (LONGEST + 1)
    for row in some[6:18]:  # of South and West, the men at noon are left: nobody to compare them with
        row["text"] = ""
    some[6]["text"] = "alone"
    lost = read_texts(some, grid).exclusions
    assert dict(lost.reasons) == {"empty text": 12, "over 20,000 characters": 1, "matched partner missing": 1}
    assert lost.by_group["South / men / noon"] == {"matched partner missing": 1}
    assert lost.rows_in == 18
    assert lost.rows_used == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"who": "children"}, "line 1, column 'who': the value is not of the grid"),
        ({"draw": 1.5}, "line 1, column 'draw': the draw is no whole number"),
        ({"draw": -1}, "whole number"),
        ({"text": 7}, "line 1, column 'text': the text is no text"),
        ({"draw": 1}, "line 2: cell 'North / men / noon' has draw 1 twice"),
        ({"run": ["a"]}, "no name"),
    ],
)
def test_a_row_that_is_wrong_is_named(grid: Grid, change: dict[str, object], told: str) -> None:
    some = rows(grid)
    some[0] |= change
    with pytest.raises(DataError, match=told):
        read_texts(some, grid)


def test_a_missing_column_and_an_empty_table_are_told(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'time' .*place, who, time"):
        read_texts([{k: v for k, v in r.items() if k != "time"} for r in rows(grid)], grid)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(EvenhandError):
        read_texts(tmp_path / "none.jsonl", grid)


def test_prompts_are_written_and_nobody_elses_file_is_replaced(grid: Grid, tmp_path: Path) -> None:
    found = evenhand.grid(grid, out=tmp_path / "prompts.jsonl")
    written = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert written == list(found.rows())
    assert len(written) == 18
    (tmp_path / "mine.jsonl").write_text("mine")
    with pytest.raises(DataError, match="would be lost"):
        evenhand.grid(grid, out=tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_text() == "mine"
    with pytest.raises(EvenhandError, match=r"Found --out x\.csv\. Expected: a file that ends in \.jsonl.* call it x\.jsonl"):
        evenhand.grid(grid, out=tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_what_a_hostile_user_found(grid: Grid) -> None:
    """A name of 5,000 characters stands in every line of a report; an empty placeholder is one of no axis; brackets may be nested without end."""
    with pytest.raises(DataError, match="200 characters at most"):
        read_texts([r | {"run": "x" * 5000} for r in rows(grid)], grid)
    with pytest.raises(DataError, match="is no axis"):
        parse(PLAIN.replace("Ask {who}", "Ask {} {who}"), "flu.toml")
    with pytest.raises(DataError, match="nested too deeply"):
        parse("a = " + "[" * 100_000, "deep.toml")


def test_numbers_that_are_values_of_the_grid_are_read_as_such() -> None:
    years = parse(
        PLAIN.replace('["men", "women"]', '["2024", "2025"]').replace("men = [", '"2024" = [').replace('wo"2024"', '"2025"'), "years.toml"
    )
    found = [{**years.row(c), "who": int(years.row(c)["who"]), "text": "A text."} for c in range(len(years))]
    assert len(read_texts(found, years).runs["texts"]) == 18


@dataclass(frozen=True)
class Leaving:
    name = "leaving"

    def measure(self, table: TextTable) -> Measured:
        raise SystemExit(0)


@dataclass(frozen=True)
class Twice:
    name = "twice"

    def measure(self, table: TextTable) -> Measured:
        return Measured((Measure("one", np.zeros(len(table)), "0"), Measure("one", np.zeros(len(table)), "0")))


@dataclass(frozen=True)
class Quoting:
    name = "quoting"

    def measure(self, table: TextTable) -> Measured:
        raise ValueError(f"cannot read {table.texts[0]}")  # the line that is told


def test_what_an_audits_exception_says_is_not_told_as_it_may_hold_a_text(grid: Grid) -> None:
    texts = [r | {"text": "My name is Anna Secret."} for r in rows(grid)]
    line = next(n for n, code in enumerate(Path(__file__).read_text().splitlines(), 1) if code.endswith("# the line that is told"))
    with pytest.raises(
        EvenhandError, match=rf"test_text_grid:Quoting fails at line {line} \(ValueError; what it says is not shown"
    ) as raised:
        evenhand.audit_text(texts, grid=grid, audits=[Quoting()])
    assert "Secret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(("audit", "told"), [(Leaving(), "Leaving fails .*SystemExit"), (Twice(), "two measures have one name")])
def test_an_audit_that_leaves_or_repeats_itself_is_an_error_and_no_verdict(grid: Grid, audit: object, told: str) -> None:
    with pytest.raises(EvenhandError, match=told):
        evenhand.audit_text(rows(grid), grid=grid, audits=[audit])  # type: ignore[list-item]

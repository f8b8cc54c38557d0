"""Files made to hurt: tables of columns nobody asked for, numbers that are none, and names that a terminal would obey."""

from __future__ import annotations

import csv
import io
import json
import sys
import tracemalloc
from pathlib import Path

import pytest

from evenhand.cli import main
from evenhand.core import DataError, EvenhandError, visible
from evenhand.data import rows as data_rows
from evenhand.data.csv_cells import neutral
from evenhand.data.load import load

ESCAPES = ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "a\rb", "\u202egnp", "[red]x[/red]", "[/]", ":smile:", "\x08\x08", "\u2028"]
OBEYED = "\x1b\x07\x9b\r\u202e\x08\u2028"


def lines(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def pair(i: int, **more: object) -> dict[str, object]:
    return {"user": f"u{i % 9}", "prompt": f"p{i}", "chosen": f"c{i}", "rejected": f"r{i}", **more}


def peak(path: Path) -> int:
    tracemalloc.start()
    load(path)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_rows_with_keys_of_their_own_take_memory_in_proportion(tmp_path: Path) -> None:
    """Four times the rows, each with keys that no other has: as a table, sixteen times the cells."""
    small, large = (
        lines(tmp_path / f"{n}.jsonl", [pair(i, **{f"key {i} {j}": 1 for j in range(10)}) for i in range(n)]) for n in (250, 1_000)
    )
    load(small)  # what is imported on first use counts for neither
    assert peak(large) < 5 * peak(small)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_columns_that_nobody_asked_for_are_not_made(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [pair(i, **{f"c{j}": "1" for j in range(300)}) for i in range(20)]
    path = lines(tmp_path / "a.jsonl", wide)
    if kind == "csv":
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(wide[0]))
            writer.writeheader()
            writer.writerows(wide)
    cells = 0
    made = data_rows.Batch.renamed

    def counted(batch: data_rows.Batch, names: dict[str, str]) -> data_rows.Batch:
        nonlocal cells
        cells += sum(map(len, batch.columns.values()))
        return made(batch, names)

    monkeypatch.setattr(data_rows.Batch, "renamed", counted)
    assert len(load(path)) == 20
    assert cells == 20 * 4


def test_a_header_of_many_columns_is_read_once_a_name(tmp_path: Path) -> None:
    """20,000 names, compared with each other, would be 400 million comparisons; a name compares here at most a few times."""
    compared = 0

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        def __hash__(self) -> int:
            return str.__hash__(self)

    from evenhand.data.reading_text import _header

    _header([Name(f"c{j}") for j in range(2_000)], "a.csv")
    assert compared < 20_000


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("user", "1e400", "'user' is not an id"),
        ("user", "-1e400", "'user' is not an id"),
        ("user", "[1e400]", "'user' is not an id"),
        ("user", '{"a": 1e400}', "'user' is not an id"),
        ("user", "9" * 41, "'user' is not an id"),
        ("user", "9" * 5_000, "not valid JSON"),
        ("user", "NaN", "'user' is missing"),
        ("user", '"a\\u0000b"', "NUL"),
        ("user", '"\\ud800"', "not valid Unicode"),
        ("user", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("chosen", "1e400", "'chosen' is not a text"),
        ("weight", "1e400", "'weight' is too large or too small"),
        ("weight", "NaN", "'weight' is not a positive number"),
        ("weight", "-0", "'weight' is not a positive number"),
        ("reward", "1e400", "'reward' is over 1e+49 in size"),
        ("reward", "NaN", "'reward' is not a finite number"),
        ("reward", '{"a": 1}', "'reward' is not a finite number"),
        ("age", "1e400", "'age'"),
        ("tie", "1e400", "'tie' is neither"),
        ("split", "1e400", "'split' is not"),
    ],
)
def test_a_value_that_is_none_is_an_error_with_its_line(tmp_path: Path, field: str, text: str, said: str) -> None:
    good = {**pair(0), "reward": 1.0, "age": "30"}
    bad = json.dumps({**pair(1), "reward": 1.0, "age": "30", field: "HERE"}).replace('"HERE"', text)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(good) + "\n" + bad + "\n")
    with pytest.raises(DataError, match="line 2") as error:
        load(path, attributes=["age"], numbers=["reward"])
    assert said in str(error.value)


def test_minus_zero_and_zero_are_one_user(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({**pair(i), "user": "HERE"}).replace('"HERE"', t) + "\n" for i, t in enumerate(["0", "-0", "-0.0"])))
    assert list(load(path).users) == ["0"]


@pytest.mark.parametrize("text", ESCAPES)
def test_no_error_holds_what_a_terminal_obeys(tmp_path: Path, text: str) -> None:
    for told in (EvenhandError(f"Found {text}"), DataError(text, expected=text, remedy=text, file=text, column=text, value=text)):
        assert not set(str(told)) & set(OBEYED)
    assert visible(text) == visible(visible(text))
    path = lines(tmp_path / "a.jsonl", [{"user": "a", text: 1, "prompt": "p"}])
    with pytest.raises(DataError) as error:
        load(path)
    assert not set(str(error.value)) & set(OBEYED)


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m\x9b2J\x07", "[red]x[/red] :smile: [/]"])
def test_names_in_files_reach_the_terminal_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, text: str
) -> None:
    """In column names, attribute values and file names, on both streams, of a verb that succeeds and of one that fails."""
    monkeypatch.chdir(tmp_path)
    path = lines(tmp_path / f"{text.replace('/', '')}.jsonl", [pair(i, **{text: text if i % 9 < 5 else "b"}) for i in range(200)])
    for arguments in (["check", str(path), "--group-by", text], ["check", str(path), "--group-by", f"{text} not there"]):
        monkeypatch.setattr(sys, "argv", ["evenhand", *arguments])
        with pytest.raises(SystemExit):
            main()
        out, err = capsys.readouterr()
        shown = out + err
        assert not set(shown) & set(OBEYED)
        for part in ("\\x1b[31mred",) if "\x1b" in text else ("[red]x[", ":smile:"):
            assert part in shown


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_no_spreadsheet_finds_a_formula_whatever_separates_its_cells(mark: str) -> None:
    """What a spreadsheet makes of a cell that holds separators, as one that takes quotes only at a cell's start does."""
    for text in ("=1+1", "a;=cmd|' /C calc'!A0", "a;b; +1", "a;\t@x", "x\n=1", ' "=1', "－1", "a;＝1"):
        file = io.StringIO()
        csv.writer(file).writerow(["first", neutral(text), "last"])
        for row in csv.reader(io.StringIO(file.getvalue()), delimiter=mark):
            assert not any(cell.lstrip(' "').startswith(tuple("=+-@＝＋－＠")) for cell in row), (text, row)
    assert neutral("a; b - c") == "a; b - c"
    assert neutral(-1.5) == -1.5

"""Faults that the nightly jobs found, each kept from coming back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import served

import evenhand
from evenhand.core import DataError, EvenhandError
from evenhand.data.load import load
from evenhand.texts.alignment.adapters import RECORD
from evenhand.texts.generators.endpoint import Endpoint
from evenhand.texts.generators.places import files_sha256
from evenhand.writing import write

ROWS: list[dict[str, Any]] = [
    {"user": f"u{i % 12}", "prompt": f"p{i % 7}", "chosen": f"c{i}", "rejected": "r", "score": i % 3 - 1.0} for i in range(60)
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def binary(folder: Path, ending: str, table: pa.Table) -> Path:
    path = folder / f"choices.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as sink:
            sink.write_table(table)
    return path


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("name", [b"prompt", b"outer-1", b"inner-1"])
def test_a_damaged_name_of_a_column_is_a_damaged_file(tmp_path: Path, ending: str, name: bytes) -> None:
    path = binary(tmp_path, ending, pa.table({**COLUMNS, "outer-1": [{"inner-1": 1}] * len(ROWS)}))
    assert len(load(path)) == len(ROWS)
    path.write_bytes(path.read_bytes().replace(name, b"\xff" + name[1:]))
    with pytest.raises(DataError, match="the file cannot be read"):
        load(path)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "memory"])
def test_two_columns_of_one_name_are_named(tmp_path: Path, ending: str) -> None:
    table = pa.table({**COLUMNS, "again": COLUMNS["user"]}).rename_columns([*COLUMNS, "user"])
    with pytest.raises(DataError, match="column 'user': two columns have this name"):
        load(table if ending == "memory" else binary(tmp_path, ending, table))


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("s"), pa.month_day_nano_interval()])
def test_a_column_of_times_that_say_no_day_orders_nothing(kind: pa.DataType) -> None:
    values = [(1, 2, 3)] * len(ROWS) if kind == pa.month_day_nano_interval() else range(len(ROWS))
    assert len(load(pa.table({**COLUMNS, "time": pa.array(values, kind)}))) == len(ROWS)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.jsonl"))
    with pytest.raises(DataError, match="the name of the file is no text"):
        load(lines(path, ROWS))


def test_half_a_character_is_written_where_it_can_be(tmp_path: Path) -> None:
    found = evenhand.score(served.small(), lines(tmp_path / "a.jsonl", [{**ROWS[0], "note": "half \ud83d"}]))
    with pytest.raises(DataError, match=r"a CSV file cannot hold it.*write \.jsonl instead"):
        found.save(tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()
    found.save(tmp_path / "scores.jsonl")
    assert json.loads((tmp_path / "scores.jsonl").read_text())["note"] == "half \ud83d"


SECRET = "what nobody else may read"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"chosen": SECRET + "\0"}, "<26 characters>"),
        ({"user": SECRET + "\ud800"}, "<26 characters>"),
        ({"chosen": {SECRET: 1}}, "<dict>"),
        ({"weight": 0}, "value: 0"),  # a number is nobody's
    ],
)
def test_the_error_of_a_bad_row_repeats_no_text_and_no_id(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match="line 2") as error:
        load(lines(tmp_path / "a.jsonl", [ROWS[0], {**ROWS[1], **change}]))
    assert told in str(error.value)
    assert SECRET not in str(error.value)


def test_other_errors_repeat_none_either(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{**row, "user": f"{SECRET} {row['user']}", "chosen": SECRET + row["chosen"]} for row in ROWS])
    torn = tmp_path / "torn.jsonl"
    torn.write_text(path.read_text() + json.dumps({"user": SECRET})[:-1])
    wrong: list[tuple[Path, dict[str, Any]]] = [(path, {"numbers": [n]}) for n in ("user", "chosen")]
    for place, asked in [*wrong, (torn, {}), (path, {"attributes": ["user"]})]:
        with pytest.raises(EvenhandError) as error:
            load(place, **asked)
        assert SECRET not in str(error.value)


@pytest.mark.parametrize("read", [load, lambda place: evenhand.transfer(place), lambda place: evenhand.audit_text(place, grid="climate")])
def test_an_address_is_refused_and_not_repeated(read: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match="https:// address: nothing is ever downloaded") as error:
        read("https://host/choices.jsonl?key=secret-4711")
    assert "4711" not in str(error.value)


@pytest.mark.parametrize("url", ["http://u:4711@h", "http://h?key=4711", "http://h#4711", "ftp://4711@h"])
def test_an_endpoint_is_refused_without_its_key(url: str) -> None:
    with pytest.raises(EvenhandError, match="Found --endpoint") as error:
        Endpoint(url, "m")
    assert "4711" not in str(error.value)


def test_what_an_adapter_is_does_not_depend_on_how_long_its_training_took(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    known = files_sha256(tmp_path)
    write(tmp_path, {RECORD: b'{"seconds": "1"}'}, "trained adapter")
    assert files_sha256(tmp_path) == known
    (tmp_path / "adapter_model.safetensors").write_bytes(b"other weights")
    assert files_sha256(tmp_path) != known


def test_a_code_into_an_empty_dictionary_is_a_damaged_file(tmp_path: Path) -> None:
    """Arrow trusts the file, and ended the load with an error of its own."""
    nothing = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array([], pa.string()), safe=False)
    table = pa.table({**{name: ["a", "b"] for name in ("prompt", "chosen", "rejected")}, "user": nothing})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    with pytest.raises(DataError, match="a dictionary code points outside its dictionary"):
        load(tmp_path / "a.arrow")

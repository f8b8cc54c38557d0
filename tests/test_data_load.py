"""Reading and checking tables: every kind of bad input gets its error and its count, every format gives the same pairs."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from evenhand.core import DataError, EvenhandError, PreferenceData
from evenhand.data import rows as limits
from evenhand.data.columns import MISSING, Store
from evenhand.data.load import load
from evenhand.data.reading import fingerprint
from evenhand.data.reading_text import NO_OBJECT

GOOD = [
    {"user": "ann", "prompt": "p1", "chosen": "a", "rejected": "b", "country": "FR", "score": 0.5},
    {"user": "bob", "prompt": "p1", "chosen": "b", "rejected": "a", "country": "SG", "score": -2},
    {"user": "ann", "prompt": "p2", "chosen": "ç, “x”\n2", "rejected": "d", "country": "FR", "score": 1e-3},
]


def jsonl(path: Path, rows: Sequence[Any]) -> Path:
    """Rows as JSON lines; a string is written as it is."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def pairs(data: PreferenceData) -> list[tuple[str, ...]]:
    """The pairs as texts, in order."""

    def text(i: int) -> str:
        return data.texts[i] if i >= 0 else "-"

    return [
        (data.users[u], text(p), text(c), text(r))
        for u, p, c, r in zip(data.user.tolist(), data.prompt.tolist(), data.chosen.tolist(), data.rejected.tolist())
    ]


def row(**changes: Any) -> dict[str, Any]:
    return {"user": "ann", "prompt": "p", "chosen": "a", "rejected": "b"} | changes


# ---- formats


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**r, "score": float(r["score"])} for r in rows])


def _write(rows: Sequence[Mapping[str, Any]], folder: Path, kind: str) -> Path:
    table = _table(rows)
    name, _, packing = kind.partition(" ")
    path = folder / f"data.{name}"
    if name == "jsonl":
        jsonl(path, rows)
    elif name in {"csv", "tsv"}:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="," if name == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif name == "parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        file = pa.ipc.new_file if name == "arrow" else pa.ipc.new_stream
        with file(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=2)
    if packing:
        packed = path.with_name(f"{path.name}.{packing}")
        with pa.output_stream(str(packed), compression={"gz": "gzip", "zst": "zstd"}[packing]) as sink:
            sink.write(path.read_bytes())
        return packed
    return path


KINDS = [f"{name}{packing}" for name in ("jsonl", "csv", "tsv", "parquet", "arrow", "arrows") for packing in ("", " gz", " zst")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_pairs(tmp_path: Path, kind: str) -> None:
    path = _write(GOOD, tmp_path, kind)
    data = load(path, attributes=["country"], numbers=["score"])
    assert pairs(data) == [("ann", "p1", "a", "b"), ("bob", "p1", "b", "a"), ("ann", "p2", "ç, “x”\n2", "d")]
    assert data.numbers["score"].tolist() == [0.5, -2, 1e-3]
    assert dict(data.attributes) == {"country": ["FR", "SG"]}
    assert (data.exclusions.rows_in, data.exclusions.rows_used) == (3, 3)
    assert data.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name in data.source
    assert "table" in data.source
    assert (data.user.dtype, data.chosen.dtype, data.weight, data.tie, data.split) == (np.int32, np.int32, None, None, None)


def test_many_batches_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(user=f"u{i % 7}", prompt=f"p{i % 5}", chosen=f"c{i % 11}", rejected=f"r{i % 3}", country=f"k{i % 7}") for i in range(500)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    parquet = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet, row_group_size=64)
    whole = load(path, attributes=["country"])
    for name in ("evenhand.data.reading_text", "evenhand.data.reading"):
        monkeypatch.setattr(f"{name}.BATCH_ROWS", 13)
    monkeypatch.setattr("evenhand.data.reading_text.BLOCK_BYTES", 257)
    for again in (load(path, attributes=["country"]), load(parquet, attributes=["country"])):
        assert pairs(again) == pairs(whole)
        assert again.attributes == whole.attributes


def test_a_hugging_face_folder_with_splits(tmp_path: Path) -> None:
    for split, rows in {"train": GOOD[:2], "test": GOOD[2:]}.items():
        folder = tmp_path / "set" / split
        folder.mkdir(parents=True)
        with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), _table(GOOD).schema) as sink:
            sink.write_table(_table(rows))
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
        (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    data = load(tmp_path / "set")
    assert len(data) == 3
    assert data.split is not None
    by_user = sorted(zip((data.users[u] for u in data.user), data.split.tolist()))
    assert by_user == [("ann", 0), ("ann", 2), ("bob", 0)]
    (tmp_path / "set" / "train" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "set")


def test_a_folder_of_parquet_files_named_by_split(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pq.write_table(_table(GOOD[:1]), tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    pq.write_table(_table(GOOD[1:]), tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet")
    data = load(tmp_path / "hub")
    assert data.split is not None
    assert data.split.tolist() == [0, 1, 1]


def test_a_folder_of_several_kinds_of_tables_is_refused_and_listed(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / ".cache").mkdir(parents=True)
    pq.write_table(_table(GOOD), folder / "a.parquet")
    (folder / "dataset_info.json").write_text("{}")
    (folder / "README.md").write_text("words")
    jsonl(folder / ".cache" / "hidden.jsonl", GOOD)
    assert len(load(folder)) == 3  # descriptions and hidden files are no tables
    jsonl(folder / "b.jsonl.gz", GOOD)
    for i in range(30):
        (folder / f"c{i:02d}.csv").write_text("user,prompt,chosen,rejected\nann,p,a,b\n")
    with pytest.raises(
        DataError, match=r"mixed: the folder holds 32 tables \(CSV, JSONL, Parquet\): a.parquet, b.jsonl.gz, c00.csv.* and 12 more"
    ):
        load(folder)
    for gone in ("a.parquet", "b.jsonl.gz"):
        (folder / gone).unlink()
    with pytest.raises(DataError, match=r"30 tables \(CSV\)"):
        load(folder)


def test_a_table_beside_a_saved_data_set_is_not_ignored(tmp_path: Path) -> None:
    with pa.ipc.new_stream(str(tmp_path / "data.arrow"), _table(GOOD).schema) as sink:
        sink.write_table(_table(GOOD))
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    assert len(load(tmp_path)) == 3
    (tmp_path / "more.csv").write_text("user,prompt,chosen,rejected\nann,p,a,b\n")
    with pytest.raises(DataError, match=r"\(Arrow, CSV\): data.arrow, more.csv"):
        load(tmp_path)


def test_the_folder_one_stands_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "hub" / "inner"
    inner.mkdir(parents=True)
    pq.write_table(_table(GOOD), tmp_path / "hub" / "a.parquet")
    monkeypatch.chdir(inner.parent)
    assert load(".").source == "hub (Parquet, table)"
    monkeypatch.chdir(inner)
    assert load("..").source == "hub (Parquet, table)"


@pytest.mark.parametrize("wrong", [3, None, b"a.jsonl", ["a.jsonl"], ""])
def test_what_is_no_path_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(EvenhandError, match=r"for 'path'\. Expected: the path"):
        load(wrong)
    if wrong is not None:
        with pytest.raises(EvenhandError, match="for 'bad_rows_to'"):
            load(jsonl(tmp_path / "a.jsonl", GOOD), bad_rows_to=wrong)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no such device here")
def test_a_device_is_no_file() -> None:
    with pytest.raises(DataError, match="null: this is a device or pipe, no regular file"):
        load("/dev/null")


def test_a_file_without_a_readable_row_names_the_first_line(tmp_path: Path) -> None:
    jsonl(tmp_path / "deep.jsonl", ["", '{"user": ' + "[" * 50_000 + "]" * 50_000 + "}"])
    for on_bad in ("error", "skip"):
        with pytest.raises(DataError, match="line 2: the file holds no readable row: here the JSON is nested too deeply") as caught:
            load(tmp_path / "deep.jsonl", on_bad=on_bad)
        assert caught.value.line == 2


def test_printing_the_data_shows_no_id_and_no_text(tmp_path: Path) -> None:
    data = load(jsonl(tmp_path / "a.jsonl", [row(user="secret-user", prompt="secret-text", g="x")]), attributes=["g"])
    assert repr(data) == str(data) == "PreferenceData(1 pairs of 1 users, 3 texts)"
    batch = limits.Batch("a", np.array([1]), {"user": ["secret"]}, (limits.BadRow(2, NO_OBJECT, "secret", "secret"),))
    assert "secret" not in repr(batch)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_dictionary_and_wide_string_columns(tmp_path: Path, kind: str) -> None:
    columns = {n: pa.array([r[n] for r in GOOD]).dictionary_encode() for n in ("user", "prompt", "chosen")}
    table = pa.table({**columns, "rejected": pa.array([r["rejected"] for r in GOOD], pa.large_string())})
    path = tmp_path / f"d.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as sink:
            sink.write_table(table)
    assert pairs(load(path)) == [("ann", "p1", "a", "b"), ("bob", "p1", "b", "a"), ("ann", "p2", "ç, “x”\n2", "d")]


def test_a_file_is_what_its_bytes_say(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"  # Parquet in truth
    pq.write_table(_table(GOOD), path)
    assert len(load(path)) == 3
    packed = tmp_path / "data.jsonl"  # gzip in truth
    packed.write_bytes(gzip.compress(jsonl(tmp_path / "x.jsonl", GOOD).read_bytes()))
    assert len(load(packed)) == 3


# ---- text files


def test_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    lines = [json.dumps(row(user="ann")), "", json.dumps(row(user="bob")), "  "]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert load(tmp_path / "a.jsonl").users == ["ann", "bob"]
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfuser,prompt,chosen,rejected\r\nann,p,a,b\r\n\r\nbob,p,b,a\r\n")
    assert pairs(load(tmp_path / "a.csv")) == [("ann", "p", "a", "b"), ("bob", "p", "b", "a")]


def test_csv_error_names_the_line_where_the_row_begins(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('user,prompt,chosen,rejected\nann,p,"a\nb\nc",d\n,p,a,b\n')
    with pytest.raises(DataError) as error:
        load(path)
    assert (error.value.file, error.value.line, error.value.column) == ("a.csv", 5, "user")


def test_csv_row_with_other_number_of_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,prompt,chosen,rejected\nann,p,a,b\nbob,p,b\nbob,p,b,a,x\n")
    with pytest.raises(DataError, match="line 3: the row has another number of fields"):
        load(path)
    assert load(path, on_bad="skip").exclusions.reasons == {"the row has another number of fields than the header": 2}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_separator_is_the_one_that_cuts_the_header(tmp_path: Path, name: str, mark: str) -> None:
    """Spreadsheets of many countries write semicolons. A separator in a cell is part of the cell where it is quoted."""
    rows = [["user", "prompt", "chosen", "rejected", "a note, or two"], ["ann", "p;\t,q", "a;b", "c,d", ""]]
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(rows)
    assert pairs(load(tmp_path / name)) == [("ann", "p;\t,q", "a;b", "c,d")]


def test_csv_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,prompt,chosen,chosen\nann,p,a,b\n")
    with pytest.raises(DataError, match="occurs twice"):
        load(path)
    path.write_text("user,prompt,chosen,rejected\n")
    with pytest.raises(DataError, match="no usable pair"):
        load(path)


def test_utf16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(GOOD[0]), encoding="utf-16")
    with pytest.raises(DataError, match="iconv"):
        load(tmp_path / "b.jsonl")
    (tmp_path / "c.csv").write_text("user,prompt\n", encoding="utf-16")
    with pytest.raises(DataError, match="iconv"):
        load(tmp_path / "c.csv")


# ---- bad rows: (row, part of the reason)

DEEP = '{"user": "ann", "prompt": "p", "rejected": "b", "chosen": ' + "[" * 100_000 + "]" * 100_000 + "}"
BAD = {
    "truncated": ('{"user": "ann", "prom', "not valid JSON"),
    "not an object": ("[1, 2]", "not a JSON object"),
    "deep": (DEEP, "nested too deeply"),
    "huge integer": ('{"user": "ann", "prompt": "p", "chosen": "a", "rejected": "b", "score": ' + "9" * 5000 + "}", "not valid JSON"),
    "duplicate key": ('{"user": "ann", "prompt": "p", "chosen": "a", "rejected": "b", "chosen": "c"}', "occurs twice"),
    "no user": ({"prompt": "p", "chosen": "a", "rejected": "b"}, "'user' is missing"),
    "null user": (row(user=None), "'user' is missing"),
    "empty user": (row(user=""), "'user' is empty"),
    "blank user": (row(user=" \t"), "'user' is empty"),
    "user object": (row(user={"id": 1}), "'user' is not an id"),
    "null prompt": (row(prompt=None), "'prompt' is missing"),
    "null chosen": (row(chosen=None), "'chosen' is missing"),
    "empty rejected": (row(rejected=""), "'rejected' is empty"),
    "number for text": (row(chosen=7), "'chosen' is not a text"),
    "list for text": (row(chosen=["a"]), "'chosen' is not a text"),
    "nan for text": ('{"user": "ann", "prompt": "p", "chosen": NaN, "rejected": "b"}', "'chosen' is not a text"),
    "NUL": (row(chosen="a\0b"), "'chosen' holds a NUL"),
    "NUL in user": (row(user="a\0b"), "'user' holds a NUL"),
    "lone surrogate": ('{"user": "ann", "prompt": "p", "chosen": "\\ud800", "rejected": "b"}', "'chosen' is not valid Unicode"),
    "same": (row(chosen="x", rejected="x"), "'chosen' equals 'rejected'"),
    "weight 0": (row(weight=0), "'weight' is not a positive"),
    "weight negative": (row(weight=-1.5), "'weight' is not a positive"),
    "weight inf": (
        '{"user": "ann", "prompt": "p", "chosen": "a", "rejected": "b", "weight": Infinity}',
        "'weight' is too large or too small",
    ),
    "weight word": (row(weight="much"), "'weight' is not a positive"),
    "weight beyond float32": (row(weight=1e300), "'weight' is too large or too small"),
    "weight under float32": (row(weight=1e-300), "'weight' is too large or too small"),
    "tie": (row(tie="maybe"), "'tie' is neither"),
    "split": (row(split="trian"), "'split' is not a known name"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_an_error_or_counted(tmp_path: Path, case: str) -> None:
    bad, reason = BAD[case]
    path = jsonl(tmp_path / "a.jsonl", [row(), row(user="bob"), bad, row(user="cid", split="test", weight=2, tie=False)])
    with pytest.raises(DataError) as error:
        load(path)
    assert reason in str(error.value)
    assert error.value.line == 3
    assert "Expected:" in str(error.value)
    assert "To do:" in str(error.value)
    assert len(str(error.value)) < 500
    skipped = load(path, on_bad="skip", bad_rows_to=tmp_path / "bad.csv")
    assert skipped.users == ["ann", "bob", "cid"]
    assert (skipped.exclusions.rows_in, skipped.exclusions.rows_used) == (4, 3)
    assert [reason in r for r in skipped.exclusions.reasons] == [True]
    listed = list(csv.DictReader((tmp_path / "bad.csv").open()))
    assert [(r["file"], r["row"]) for r in listed] == [("a.jsonl", "3")]
    assert reason in listed[0]["reason"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((value, "is not a finite number") for value in ("NaN", "null", "true", '"many"', "[1, 2]")),
        *((value, r"is over 1e\+49 in size") for value in ("Infinity", "-Infinity", "1e999", "9" * 400, "1e300", '"-1e300"', "-2e49")),
    ],
)
def test_scores_must_be_numbers_that_can_be_reckoned_with(tmp_path: Path, value: str, said: str) -> None:
    good, bad = json.dumps(row(score=1)), json.dumps(row(score=0)).replace('"score": 0', f'"score": {value}')
    path = jsonl(tmp_path / "a.jsonl", [good, bad])
    with pytest.raises(DataError, match=rf"line 2, column 'score': 'score' {said}.*Expected: .*1e\+49 at most"):
        load(path, numbers=["score"])
    kept = load(path, numbers=["score"], on_bad="skip")
    assert kept.numbers["score"].tolist() == [1]
    assert len(load(path)) == 2  # nobody asked for the column


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_bad_values_in_other_formats(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    table = pa.table({
        "user": ["ann", "", None, "bob", "cid", "dan"], "prompt": ["p"] * 6, "chosen": ["a", "a", "a", "x", "a\0", "a"],
        "rejected": ["b", "b", "b", "x", "b", "b"], "score": pa.array([1.0, 2.0, 3.0, 4.0, 5.0, math.nan]),
    })  # fmt: skip
    if kind == "csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    data = load(path, on_bad="skip", numbers=["score"])
    assert pairs(data) == [("ann", "p", "a", "b")]
    assert sum(data.exclusions.reasons.values()) == 5
    expected = {"'chosen' equals 'rejected'", "'chosen' holds a NUL character", "'score' is not a finite number", "'user' is empty"}
    assert set(data.exclusions.reasons) == expected | ({"'user' is missing"} if kind == "parquet" else set())


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"user,prompt,chosen,rejected\nann,p,a,b\nbob,p,caf\xe9,b\n")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([json.dumps(row()).encode(), json.dumps(row()).encode().replace(b'"a"', b'"\xe9"')]))
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes()), pa.py_buffer(b"a\xe9"))
    pq.write_table(
        pa.table({"user": ["ann", "bob"], "prompt": ["p", "p"], "chosen": broken, "rejected": ["b", "b"]}), tmp_path / "a.parquet"
    )
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        data = load(tmp_path / name, on_bad="skip")
        assert pairs(data) == [("ann", "p", "a", "b")]
        assert len(data.exclusions.reasons) == 1
        with pytest.raises(DataError, match=r"Unicode|UTF-8"):
            load(tmp_path / name)


def test_a_field_over_the_limit(tmp_path: Path) -> None:
    """50 MB in one field, in every kind of file."""
    huge = "x" * 50_000_000
    assert len(huge) > limits.FIELD_LIMIT
    table = pa.table({"user": ["ann", "bob"], "prompt": ["p", "p"], "chosen": ["a", huge], "rejected": ["b", "b"]})
    jsonl(tmp_path / "a.jsonl", [row(), row(user="bob", chosen=huge)])
    (tmp_path / "a.csv").write_text(f"user,prompt,chosen,rejected\nann,p,a,b\nbob,p,{huge},b\n")
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        with pytest.raises(DataError, match="too long") as error:
            load(tmp_path / name)
        assert len(str(error.value)) < 400
        assert pairs(load(tmp_path / name, on_bad="skip")) == [("ann", "p", "a", "b")]


def test_a_line_over_the_limit_is_one_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenhand.data.reading_text.LINE_LIMIT", 5_000)
    monkeypatch.setattr("evenhand.data.reading_text.BLOCK_BYTES", 1_000)
    path = jsonl(tmp_path / "a.jsonl", [row(), row(chosen="x" * 20_000), row(user="bob")])
    data = load(path, on_bad="skip", bad_rows_to=tmp_path / "bad.csv")
    assert data.users == ["ann", "bob"]
    assert data.exclusions.reasons == {"the line is too long": 1}
    assert (tmp_path / "bad.csv").read_text().splitlines()[1] == "a.jsonl,2,the line is too long"


def test_a_value_in_a_message_is_clipped_and_harmless(tmp_path: Path) -> None:
    assert str(EvenhandError("a\x1b[2Jb\u202e\ud800 é\n")) == "a\\x1b[2Jb\\u202e\\ud800 é\n"
    assert str(EvenhandError("\ufeffid\u200b\xa0می\u200cخواهم 👩\u200d🚀")) == "\\ufeffid\\u200b\xa0می\u200cخواهم 👩\u200d🚀"
    assert str(EvenhandError("ann\U000e0061\u180e 😀")) == r"ann\U000e0061\u180e 😀"
    path = jsonl(tmp_path / "a.jsonl", [row(split="\x1b[31m" + "y" * 5000)])
    with pytest.raises(DataError) as error:
        load(path)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 400


# ---- files


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "spaces.jsonl").write_bytes(b"\n\n  \n")
    (tmp_path / "table.xlsx").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "notes.docx").write_bytes(b"hello")
    (tmp_path / "text.parquet").write_bytes(b"user,prompt\n")
    whole = gzip.compress(jsonl(tmp_path / "x.jsonl", GOOD * 200).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.jsonl.gz").write_bytes(whole[:40] + b"\xff\xff\xff" + whole[43:])
    (tmp_path / "no.jsonl.gz").write_bytes(b"not gzip at all")
    pq.write_table(_table(GOOD), tmp_path / "good.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-20])
    (tmp_path / "cut.arrow").write_bytes(b"ARROW1\0\0" + b"\1" * 50)
    (tmp_path / "folder").mkdir()
    expected = {
        "empty.jsonl": "empty", "spaces.jsonl": "no readable row", "table.xlsx": "spreadsheet", "notes.docx": "extension", "text.parquet": "not Parquet",
        "cut.jsonl.gz": "gzip file cannot be read", "bad.jsonl.gz": "gzip file cannot be read", "no.jsonl.gz": "gzip file cannot be read",
        "cut.parquet": "cannot be read", "cut.arrow": "cannot be read", "folder": "no data",
    }  # fmt: skip
    for name, found in expected.items():
        for on_bad in ("error", "skip"):
            with pytest.raises(DataError, match=found):
                load(tmp_path / name, on_bad=on_bad)


def test_a_dictionary_code_outside_its_dictionary(tmp_path: Path) -> None:
    """Arrow does not check such a file, and would read beyond its memory."""
    user = pa.DictionaryArray.from_arrays(pa.array([0, 9_000_000], pa.int32()), pa.array(["ann"]), safe=False)
    table = pa.table({"user": user, "prompt": ["p", "p"], "chosen": ["a", "a"], "rejected": ["b", "b"]})
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as sink:
        sink.write_table(table)
    with pytest.raises(DataError, match="outside its dictionary"):
        load(tmp_path / "a.arrow", on_bad="skip")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    jsonl(tmp_path / "choices.jsonl", GOOD)
    with pytest.raises(DataError, match=r"no such file.*'choices.jsonl'"):
        load(tmp_path / "choises.jsonl")


# ---- columns


def test_hidden_files_are_no_part_of_a_folders_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"rows")
    before = fingerprint(tmp_path)
    (tmp_path / ".evenhand.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "train.parquet").write_bytes(b"other rows")
    assert fingerprint(tmp_path) == before
    (tmp_path / "test.parquet").write_bytes(b"more rows")
    assert fingerprint(tmp_path) != before


def test_columns_are_renamed(tmp_path: Path) -> None:
    rows = [{"annotator": 7, "question": "p", "win": "a", "lose": "b"}, {"annotator": 8, "question": "p", "win": "b", "lose": "a"}]
    path = jsonl(tmp_path / "a.jsonl", rows)
    names = {"user": "annotator", "prompt": "question", "chosen": "win", "rejected": "lose"}
    assert pairs(load(path, columns=names)) == [("7", "p", "a", "b"), ("8", "p", "b", "a")]
    with pytest.raises(DataError, match=r"no column 'annotater'; nearest match 'annotator'"):
        load(path, columns=names | {"user": "annotater"})
    with pytest.raises(EvenhandError, match=r"Unknown column 'usr'.*perhaps 'user'"):
        load(path, columns={k: v for k, v in names.items() if k != "user"} | {"usr": "annotator"}, source="table")
    jsonl(path, [{**rows[0], "annotator": None}])
    with pytest.raises(DataError, match="line 1, column 'annotator'"):
        load(path, columns=names)


@pytest.mark.parametrize("wrong", ["usr", "Prompt", "chosen_", "reject"])
def test_a_misspelt_column_gets_the_nearest_match(tmp_path: Path, wrong: str) -> None:
    right = {"usr": "user", "Prompt": "prompt", "chosen_": "chosen", "reject": "rejected"}[wrong]
    path = jsonl(tmp_path / "a.jsonl", [{wrong if k == right else k: v for k, v in row().items()}])
    with pytest.raises(DataError, match=f"no column '{right}'.*'{wrong}'"):
        load(path, source="table")


@pytest.mark.parametrize(
    ("columns", "remedy"),
    [
        ("annotator_id,prompt,chosen,rejected", "--column user=annotator_id."),
        ("Worker_ID,used,prompt,chosen,rejected", "--column user=Worker_ID."),
        ("usr,annotator_id,prompt,chosen,rejected", "--column user=usr."),
        (
            "rater_id,question,winner,loser",
            "--column user=rater_id --column prompt=question --column chosen=winner --column rejected=loser.",
        ),
        (
            "participant,instruction,response_chosen,response_rejected",
            "--column user=participant --column prompt=instruction --column chosen=response_chosen --column rejected=response_rejected.",
        ),
        ("user,query,preferred,dispreferred", "--column chosen=preferred --column prompt=query --column rejected=dispreferred."),
        ("zzz,prompt,chosen,rejected", "--column user=NAME, or read all rows as one user's with --one-user."),
        (
            "zzz,question,winner,loser",
            "--column user=NAME --column prompt=question --column chosen=winner --column rejected=loser, "
            "or read all rows as one user's with --one-user.",
        ),
    ],
)
def test_columns_of_another_name_are_suggested(tmp_path: Path, columns: str, remedy: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(f"{columns}\n{','.join('abcdef'[: columns.count(',') + 1])}\n")
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).endswith(f"To do: name the column with {remedy}")
    if "NAME" not in remedy:
        words = remedy.rstrip(".").split()[1::2]
        assert len(load(path, columns=dict(w.split("=") for w in words))) == 1  # the remedy works


def test_a_wrong_name_given_is_mended_where_it_was_given(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{**GOOD[0], "annotator": "x"}])
    with pytest.raises(DataError, match=r"To do: name the column with --column user=annotator\."):
        load(path, columns={"user": "annotater"})
    with pytest.raises(DataError, match=r"To do: ask for 'score', or"):  # only canonical columns can be renamed
        load(path, numbers=["scores"])


def test_asked_columns_must_be_there(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(DataError, match=r"no column 'scores'; nearest match 'score'"):
        load(path, numbers=["scores"])
    with pytest.raises(DataError, match=r"no column 'county'; nearest match 'country'"):
        load(path, attributes=["county"])
    with pytest.raises(EvenhandError, match="perhaps 'table' is meant"):
        load(path, source="tabel")


def test_user_ids_are_texts_or_whole_numbers(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [row(user=1), row(user="1"), row(user=1.0), row(user=True), row(user="01")])
    assert load(path).users == ["1", "true", "01"]
    frame = pa.table({"user": pa.array([1.0, 2.0, None]), "prompt": ["p"] * 3, "chosen": ["a"] * 3, "rejected": ["b"] * 3})
    pq.write_table(frame, tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet", on_bad="skip")
    assert data.users == ["1", "2"]
    assert data.exclusions.reasons == {"'user' is missing": 1}


def test_weights_ties_and_splits(tmp_path: Path) -> None:
    rows = [
        row(weight=2, tie=1, split="train"),
        row(weight=None, tie=None, split=None),
        row(weight="0.5", tie="False", split="Validation"),
        row(),
    ]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert data.weight is not None
    assert data.tie is not None
    assert data.split is not None
    assert data.weight.tolist() == [2, 1, 0.5, 1]
    assert data.tie.tolist() == [True, False, False, False]
    assert data.split.tolist() == [0, -1, 1, -1]
    assert (data.weight.dtype, data.tie.dtype, data.split.dtype) == (np.float32, np.bool_, np.int8)


def test_an_optional_column_that_comes_late_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenhand.data.reading_text.BLOCK_BYTES", 100)
    data = load(jsonl(tmp_path / "a.jsonl", [row() for _ in range(9)] + [row(weight=3)]))
    assert data.weight is not None
    assert data.weight.tolist() == [1.0] * 9 + [3.0]
    late = [row(time=i, prompt=f"p{i}") for i in range(9)] + [row(time=9, weight=3, tie=True)]
    data = load(jsonl(tmp_path / "a.jsonl", late))
    assert data.weight is not None
    assert data.tie is not None
    assert (data.weight.tolist(), data.tie.tolist()) == ([1.0] * 9 + [3.0], [False] * 9 + [True])


def test_a_model_that_exists_only_as_scores(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("user,r_good,r_bad\nann,1,0.5\nbob,2,3\n")
    data = load(path, source="table", numbers=["r_good", "r_bad"], need_texts=False)
    assert (data.prompt.tolist(), data.chosen.tolist(), data.rejected.tolist(), list(data.texts)) == ([-1, -1], [-1, -1], [-1, -1], [])
    assert data.numbers["r_bad"].tolist() == [0.5, 3]
    assert len(load(path, numbers=["r_good", "r_bad"], need_texts=False)) == 2
    with pytest.raises(DataError, match="no column"):
        load(path, numbers=["r_good"])
    path.write_text("user,prompt,chosen,rejected,margin\nann,17,3,4,1\nbob,17,4,3,2\n")
    assert pairs(load(path, numbers=["margin"], need_texts=False)) == [("ann", "17", "3", "4"), ("bob", "17", "4", "3")]


# ---- users


def test_attributes_belong_to_users(tmp_path: Path) -> None:
    rows = [row(user="ann", age=None), row(user="bob", age=30), row(user="ann", age="40"), row(user="bob", age=""), row(user="cid")]
    assert dict(load(jsonl(tmp_path / "a.jsonl", rows), attributes=["age"]).attributes) == {"age": ["40", "30", ""]}


def test_a_contradicting_attribute(tmp_path: Path) -> None:
    rows = [row(user="ann", g="x"), row(user="bob", g="y"), row(user="ann", g="y"), row(user="", g="y"), row(user="ann", g="y")]
    path = jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match="line 3, column 'g': attribute 'g' contradicts"):
        load(path, attributes=["g"])
    data = load(path, attributes=["g"], on_bad="skip")
    assert dict(data.attributes) == {"g": ["x", "y"]}
    assert data.exclusions.by_group == {"g=y": {"attribute 'g' contradicts an earlier row of the same user": 2, "'user' is empty": 1}}
    assert (data.exclusions.rows_in, data.exclusions.rows_used) == (5, 2)


def test_every_excluded_row_is_in_a_group_or_of_an_unknown_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [
        "user,a,b,country,age", "ann,nan,1,,30", "ann,1,2,FR,", "bob,1,2,SG,40", "bob,inf,2,,", "bob,1", ",1,2,SG,", "cid,x,2,,", "cid,1,2,,",
        "gone,x,1,UK,",
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    data = load(path, on_bad="skip", attributes=["country", "age"], numbers=["a", "b"], need_texts=False)
    number, ragged = "'a' is not a finite number", "the row has another number of fields than the header"
    large = "'a' is over 1e+49 in size"
    assert data.exclusions.reasons == {number: 3, large: 1, ragged: 1, "'user' is empty": 1}
    assert data.exclusions.by_group == {
        "country=FR": {number: 1},  # the row has no country, a later row of the same user has
        "country=SG": {large: 1, "'user' is empty": 1},
        "country=UK": {number: 1},
        "country unknown": {number: 1, ragged: 1},
        "age=30": {number: 1}, "age=40": {large: 1}, "age unknown": {number: 2, ragged: 1, "'user' is empty": 1},
    }  # fmt: skip
    for name in ("country", "age"):
        assert sum(sum(r.values()) for g, r in data.exclusions.by_group.items() if g.startswith(name)) == 6


def test_users_and_texts_without_a_used_row_are_dropped(tmp_path: Path) -> None:
    rows = [row(user="gone", chosen="lost", rejected=""), row(user="ann", g="x"), row(user="late", split="?"), row(user="bob", g="y")]
    data = load(jsonl(tmp_path / "a.jsonl", rows), on_bad="skip", attributes=["g"])
    assert (data.users, list(data.texts), dict(data.attributes)) == (["ann", "bob"], ["p", "a", "b"], {"g": ["x", "y"]})


def test_small_data_are_no_error(tmp_path: Path) -> None:
    """One user only; a user with one pair; no pair that two users share: the doctor's notes, not errors."""
    assert len(load(jsonl(tmp_path / "a.jsonl", [row()]))) == 1
    assert len(load(jsonl(tmp_path / "b.jsonl", [row(user="ann"), row(user="bob", prompt="q"), row(user="bob", prompt="r")]))) == 3


def test_no_usable_row_says_why(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [row(user=""), row(user=None)])
    with pytest.raises(DataError, match=r"no usable pair .*1 x 'user' is empty"):
        load(path, on_bad="skip", bad_rows_to=tmp_path / "bad.csv")
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 3


def test_the_list_of_bad_rows_is_whole_and_holds_no_text(tmp_path: Path) -> None:
    rows = [row(user="secret-user", chosen="secret-text", split=f"secret{i}") if i % 3 else row() for i in range(300)]
    data = load(jsonl(tmp_path / "a.jsonl", rows), on_bad="skip", bad_rows_to=tmp_path / "bad.csv")
    written = (tmp_path / "bad.csv").read_text()
    assert "secret" not in written
    assert [int(r["row"]) for r in csv.DictReader(written.splitlines())] == [i + 1 for i in range(300) if i % 3]
    assert data.exclusions.rows_in - data.exclusions.rows_used == 200
    assert sorted(p.name for p in tmp_path.iterdir()) == [".evenhand.json", "a.jsonl", "bad.csv"]  # no half-written file stays


def test_a_list_of_bad_rows_that_cannot_be_written(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [row(), row(user="")])
    before = path.read_bytes()
    places = {
        tmp_path: "it is a folder",
        tmp_path / "nowhere" / "bad.csv": "its folder does not exist",
        path / "bad.csv": "its folder does not exist",
        Path("/dev/null"): "no regular file",
        path: "would replace the data",
    }
    for place, why in places.items():
        with pytest.raises(DataError, match=why) as caught:
            load(path, on_bad="skip", bad_rows_to=place)
        assert caught.value.file == str(place)  # as the user wrote it, not a temporary name
    assert (path.read_bytes(), [p.name for p in tmp_path.iterdir()]) == (before, ["a.jsonl"])


def test_a_failed_write_of_the_list_names_the_users_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", ".hidden.1")

    monkeypatch.setattr("evenhand.writing.os.replace", full)
    path = jsonl(tmp_path / "a.jsonl", [row(), row(user="")])
    with pytest.raises(DataError, match=r"bad\.csv: .*No space left on device") as caught:
        load(path, on_bad="skip", bad_rows_to=tmp_path / "bad.csv")
    assert ".hidden" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_field_limit_of_the_csv_module_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit(54_321)
    (tmp_path / "a.csv").write_text("user,prompt,chosen,rejected\nann,p,a,b\n")
    load(tmp_path / "a.csv")
    assert csv.field_size_limit(before) == 54_321


def test_a_dictionary_that_batches_share_is_looked_up_once_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "7.0" is the user 7, and the text "7.0": one dictionary, looked up once for each."""
    looked_up: list[int] = []
    plainly = Store._numbers
    monkeypatch.setattr(Store, "_numbers", lambda self, values, how: looked_up.append(len(values)) or plainly(self, values, how))
    column = pa.array(["7.0", "8", None, "7.0"]).dictionary_encode()
    texts, users = Store(), Store()
    for store, of_users, expected in ((texts, False, ["7.0", "8", "7.0"]), (users, True, ["7", "8", "7"])) * 2:
        ids = store.ids(column, of_users=of_users)
        assert ids[2] == MISSING
        assert [store.values[i] for i in ids[[0, 1, 3]]] == expected
    other = pa.array(["8", "9", "8"]).dictionary_encode()  # as long as the first
    assert [texts.values[i] for i in texts.ids(other)] == ["8", "9", "8"]
    assert looked_up == [2, 2, 2]

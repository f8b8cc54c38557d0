"""Tables that are no JSON lines, CSV, Parquet or Arrow: JSON documents, sheets, databases and what Python holds; times, votes and numbers in words."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evenhand.core import DataError, EvenhandError, PreferenceData
from evenhand.data import columns
from evenhand.data.doctor import examine
from evenhand.data.load import load
from evenhand.data.lookalikes import alike, nothing_words
from evenhand.data.splits import TEST, TRAIN, VALID, split_pairs
from evenhand.workflows.audit import margins_of

ROWS: list[dict[str, Any]] = [
    {"user": "ann", "prompt": "p1", "chosen": "a", "rejected": "b", "country": "FR", "score": 0.5},
    {"user": "bob", "prompt": "p1", "chosen": "b", "rejected": "a", "country": "SG", "score": -2.0},
    {"user": "ann", "prompt": "p2", "chosen": "ç, “x”\n2", "rejected": "d", "country": "FR", "score": 3.0},
]
PAIRS = [("ann", "p1", "a", "b"), ("bob", "p1", "b", "a"), ("ann", "p2", "ç, “x”\n2", "d")]


def pairs(data: PreferenceData) -> list[tuple[str, str, str, str]]:
    return [(data.users[u], *(data.texts[int(t)] for t in row)) for u, row in zip(data.user, zip(data.prompt, data.chosen, data.rejected))]


def check(data: PreferenceData) -> None:
    assert pairs(data) == PAIRS
    assert dict(data.attributes) == {"country": ["FR", "SG"]}
    assert data.numbers["score"].tolist() == [0.5, -2.0, 3.0]
    assert len(data.fingerprint) == 64


def jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


# ---- JSON documents


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
@pytest.mark.parametrize("indent", [None, 2])
def test_pandas_json_in_every_orient(tmp_path: Path, orient: Any, indent: int | None) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(ROWS).to_json(tmp_path / "a.json", orient=orient, indent=indent)
    check(load(tmp_path / "a.json", attributes=["country"], numbers=["score"]))


def test_other_json_documents(tmp_path: Path) -> None:
    (tmp_path / "lists.json").write_text(json.dumps({name: [r[name] for r in ROWS] for name in ROWS[0]}))
    check(load(tmp_path / "lists.json", attributes=["country"], numbers=["score"]))
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS, indent=1).encode())
    check(load(tmp_path / "bom.json", attributes=["country"], numbers=["score"]))
    (tmp_path / "one.json").write_text(json.dumps(ROWS[0]))  # one object is one JSON line
    assert pairs(load(tmp_path / "one.json")) == PAIRS[:1]
    (tmp_path / "pretty.json").write_text("\n".join(json.dumps(r) for r in ROWS))
    assert pairs(load(tmp_path / "pretty.json")) == PAIRS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps([list(r.values()) for r in ROWS]), "without the names of their columns"),
        ('[{"user": "ann"', "line 1: the file is not valid JSON"),
        ('[{"user": "ann", "user": "bob", "prompt": "p", "chosen": "a", "rejected": "b"}]', "a key occurs twice"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ("[]", "no readable row"),
        ("[1, 2]", "the record is no JSON object"),
        ('{\n "a": 1\n}', "the JSON is no table"),
    ],
)
def test_json_documents_that_are_no_tables(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=found):
        load(tmp_path / "a.json")


def test_a_record_that_is_none_is_a_bad_row_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([ROWS[0], 7, ROWS[1]]))
    with pytest.raises(DataError, match="line 2: the record is no JSON object"):
        load(tmp_path / "a.json")
    data = load(tmp_path / "a.json", on_bad="skip")
    assert (len(data), data.exclusions.rows_in) == (2, 3)


# ---- sheets and databases


def test_excel_sheets(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "notes"
    book.active.append(["nothing"])
    sheet = book.create_sheet("pairs")
    sheet.append(list(ROWS[0]))
    for row in ROWS:
        sheet.append(list(row.values()))
    path = tmp_path / "a.xlsx"
    book.save(path)
    check(load(f"{path}::pairs", attributes=["country"], numbers=["score"]))
    with pytest.raises(DataError, match="there is no sheet 'pear'"):
        load(f"{path}::pear")
    with pytest.raises(DataError, match=r"holds 2 sheets \(notes, pairs\)"):
        load(path)
    del book["notes"]
    book.create_sheet("Sheet2", 0)  # empty
    book.save(path)
    check(load(path, attributes=["country"], numbers=["score"]))


def test_sqlite_and_duckdb_tables_and_queries(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    names = ", ".join(ROWS[0])
    made = f"CREATE TABLE prefs ({names.replace('score', 'score REAL').replace(', ', ' , ')})".replace(" ,", " TEXT,", 5)
    small, large = tmp_path / "a.sqlite", tmp_path / "a.db"
    with sqlite3.connect(small) as base, duckdb.connect(str(large)) as other:
        for one in (base, other):
            one.execute(made)
            one.executemany(f"INSERT INTO prefs ({names}) VALUES (?, ?, ?, ?, ?, ?)", [list(r.values()) for r in ROWS])
        base.commit()
    for path in (small, large):
        check(load(path, attributes=["country"], numbers=["score"]))
        check(load(f"{path}::prefs", attributes=["country"], numbers=["score"]))
        query = "SELECT user AS who, prompt, chosen, rejected FROM prefs WHERE country = 'SG'"
        assert pairs(load(f"{path}::{query}", columns={"user": "who"})) == PAIRS[1:2]
        with pytest.raises(DataError, match="there is no table 'pref'"):
            load(f"{path}::pref")
        with pytest.raises(DataError, match="the database refuses"):
            load(f"{path}::SELECT nothing FROM prefs")
    with sqlite3.connect(small) as base:
        base.execute("CREATE TABLE other (x)")
    with pytest.raises(DataError, match=r"holds 2 tables \(other, prefs\).*a.sqlite::TABLE"):
        load(small)


@pytest.mark.parametrize(("module", "name", "extra"), [("openpyxl", "a.xlsx", "excel"), ("duckdb", "a.duckdb", "sql")])
def test_an_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(50) if extra == "excel" else bytes(8) + b"DUCK" + bytes(50))
    with pytest.raises(DataError, match=rf"evenhand\[{extra}\]"):
        load(tmp_path / name)


# ---- in Python


def test_tables_in_memory() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    tables = [ROWS, tuple(ROWS), {name: [r[name] for r in ROWS] for name in ROWS[0]}, pandas.DataFrame(ROWS), pandas.DataFrame(ROWS, index=[5, 6, 7]), polars.DataFrame(ROWS), pa.Table.from_pylist(ROWS),
              pa.Table.from_pylist(ROWS).to_batches()[0]]  # fmt: skip
    for table in tables:
        data = load(table, attributes=["country"], numbers=["score"])
        check(data)
        assert data.source.startswith("table in memory (in memory, table")


def test_frames_with_gaps_and_mixed_types() -> None:
    pandas = pytest.importorskip("pandas")
    gaps = [{**r, "country": None if r["country"] == "SG" else r["country"]} for r in ROWS]
    assert dict(load(pandas.DataFrame(gaps), attributes=["country"]).attributes) == {"country": ["FR", ""]}
    mixed = [{**ROWS[0], "user": 7}, ROWS[1], {**ROWS[2], "user": 7.0}]
    assert load(pandas.DataFrame(mixed)).users == load(mixed).users == ["7", "bob"]


def test_a_table_in_memory_is_checked_like_a_file() -> None:
    with pytest.raises(DataError, match="line 2, column 'rejected': 'chosen' equals 'rejected'"):
        load([ROWS[0], {**ROWS[1], "rejected": "b"}])
    a, b, c = load(ROWS).fingerprint, load(list(ROWS)).fingerprint, load(ROWS[:2]).fingerprint
    assert a == b != c


@pytest.mark.parametrize("address", ["hf://datasets/org/name", "https://example.org/a.jsonl", "s3://bucket/a.parquet"])
def test_nothing_is_downloaded(address: str) -> None:
    for given in (address, Path(address)):
        with pytest.raises(DataError, match=f"a {address.partition(':')[0]}:// address: nothing is ever downloaded"):
            load(given)


@pytest.mark.parametrize("wrong", [7, object(), [1, 2], iter(ROWS)])
def test_what_is_no_table_is_refused(wrong: Any) -> None:
    with pytest.raises(EvenhandError, match="for 'path'"):
        load(wrong)


# ---- conversations


def turns(*texts: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]


def read(tmp_path: Path, **row: Any) -> tuple[str, str, str]:
    return pairs(load(jsonl(tmp_path / "a.jsonl", [{"user": "u", **row}])))[0][1:]


def test_one_pair_in_every_format_is_the_same(tmp_path: Path) -> None:
    """So that a history in another format is recognised as the same judgement."""
    whole, other = turns("hi", "hello", "who?", "me"), turns("hi", "hello", "who?", "you")
    context = "user: hi\n\nassistant: hello\n\nuser: who?"
    human = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: who?\n\nAssistant: "
    chatml = "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in whole[:3]) + "<|im_start|>assistant\n"
    tags = "<|user|>hi<|assistant|>hello<|user|>who?<|assistant|>"
    shared = [{"from": {"user": "human", "assistant": "gpt"}[t["role"]], "value": t["content"]} for t in whole]
    rows = [
        {"chosen": whole, "rejected": other},
        {"prompt": whole[:3], "chosen": whole[3:], "rejected": other[3:]},
        {"prompt": whole[:3], "chosen": whole, "rejected": other},
        {"prompt": "who?", "chosen": whole, "rejected": other},
        {"prompt": None, "chosen": whole, "rejected": other},
        {"chosen": json.dumps(whole), "rejected": json.dumps(other)},
        {"chosen": human + "me", "rejected": human + "you"},
        {"prompt": human, "chosen": "me", "rejected": "you"},
        {"chosen": chatml + "me<|im_end|>", "rejected": chatml + "you<|im_end|>"},
        {"chosen": tags + "me", "rejected": tags + "you"},
        {"chosen": shared, "rejected": [*shared[:3], {"from": "gpt", "value": "you"}]},
    ]
    for row in rows:
        assert read(tmp_path, **row) == (context, "me", "you"), row


def test_a_prompt_never_ends_inside_a_turn(tmp_path: Path) -> None:
    """Three answers to one question that begin alike in different ways: one prompt, not three."""
    answers = [("I think so", "I think not"), ("Yes, sure", "Yes, but no"), ("Well", "Well then")]
    rows = [
        {"user": "u", "chosen": f"\n\nHuman: ok?\n\nAssistant: {c}", "rejected": f"\n\nHuman: ok?\n\nAssistant: {r}"} for c, r in answers
    ]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert [p[1:] for p in pairs(data)] == [("ok?", c, r) for c, r in answers]


def test_the_last_turn_is_never_in_the_prompt(tmp_path: Path) -> None:
    """One conversation is the start of the other: what it ends with is its response all the same."""
    found = read(tmp_path, chosen=turns("hi", "yes"), rejected=turns("hi", "yes", "and?", "no"))
    assert found == ("hi", "yes", "assistant: yes\n\nuser: and?\n\nassistant: no")


CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}
OTHER_CALL = {**CALL, "tool_calls": [{"function": {"name": "g", "arguments": {}}}]}


def test_turns_without_text(tmp_path: Path) -> None:
    """Shared ones cost nothing; a response of nothing else is set aside; text beside a call or an image is used."""
    ask, result = [{"role": "user", "content": "q"}], {"role": "tool", "content": "42"}
    image = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "see"}]
    say = [{"role": "assistant", "content": t} for t in ("yes", "no")]
    rows = [
        {"prompt": ask, "chosen": [CALL, result, say[0]], "rejected": [CALL, result, say[1]]},
        {"prompt": ask, "chosen": [CALL, say[0]], "rejected": [OTHER_CALL, say[1]]},
        {"prompt": ask, "chosen": [CALL], "rejected": [OTHER_CALL]},
        {"prompt": ask, "chosen": [CALL, say[0]], "rejected": [OTHER_CALL, say[0]]},
        {"prompt": ask, "chosen": [{"role": "assistant", "content": image}], "rejected": [say[1]]},
    ]
    data = load(jsonl(tmp_path / "a.jsonl", [{"user": "u", **r} for r in rows]))
    assert [p[1:] for p in pairs(data)] == [("user: q\n\ntool: 42", "yes", "no"), ("q", "yes", "no"), ("q", "see", "no")]
    assert data.exclusions.reasons == {
        "a response holds no text (tool calls or images alone)": 1, "the responses differ in tool calls or images alone": 1,
    }  # fmt: skip
    assert "; 9 turns with parts that are no text" in data.source


def asked(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


FORMATS: dict[str, Any] = {
    "table": lambda u, q, c, r: {"user": u, "prompt": q, "chosen": c, "rejected": r},
    "implicit": lambda u, q, c, r: {"user": u, "chosen": asked(q, c), "rejected": asked(q, r)},
    "explicit": lambda u, q, c, r: {"user": u, "prompt": asked(q, "")[:1], "chosen": asked(q, c)[1:], "rejected": asked(q, r)[1:]},
    "repeated": lambda u, q, c, r: {"user": u, "prompt": q, "chosen": asked(q, c), "rejected": asked(q, r)},
    "strings": lambda u, q, c, r: {"user": u, **{k: f"\n\nHuman: {q}\n\nAssistant: {a}" for k, a in (("chosen", c), ("rejected", r))}},
    "later turns": lambda u, q, c, r: {
        "user": u,
        "chosen": asked(q, c) + asked("and?", "so"),
        "rejected": asked(q, r) + asked("why?", "so"),
    },
    "arena": lambda u, q, c, r: {"judge": u, "conversation_a": asked(q, r), "conversation_b": asked(q, c), "winner": "model_b"},
    "label": lambda u, q, c, r: {"annotator_id": u, "prompt": q, "response1": c, "response2": r, "preference": -2},
    "judges": lambda u, q, c, r: {
        "text": q,
        "completion_a": c,
        "completion_b": r,
        "annotations": [{"evaluator": u, "overall_pref": "A-is-better"}],
    },
    "lists": lambda u, q, c, r: {"prompt": q, "response-1": c, "response-2": r, "q.responses": ["response-1"], "q.responses.users": [u]},
}


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_test_prompt_is_in_training(tmp_path: Path, name: str) -> None:
    """Thirty questions, each with answers that begin alike and differ from user to user: thirty prompts in every format, each in one part."""
    rows = [
        FORMATS[name](f"u{u}", f"question {q}?", f"I think so, {u} times {q}", f"I think not, {u} times {q}")
        for q in range(30)
        for u in range(8)
    ]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert (len(data), len(data.users), len(np.unique(data.prompt))) == (240, 8, 30)
    assert {data.texts[p] for p in data.prompt} == {f"question {q}?" for q in range(30)}
    split = split_pairs(data, seed=0)
    assert split.unit == "prompts"
    train, valid, test = ({data.texts[p] for p in data.prompt[split.rows(part)]} for part in (TRAIN, VALID, TEST))
    assert train
    assert test
    assert not test & (train | valid)


# ---- what is judged again, votes and numbers in words


def test_the_last_rating_and_the_last_vote_count(tmp_path: Path) -> None:
    rated = [("a", 1, "2024-05-02T10:00:00Z"), ("b", 3, "2024-05-01"), ("a", 5, "2024-05-03T00:00:00+02:00"), ("a", 2, "")]
    rows = [{"user": "u", "prompt": "p", "response": r, "score": s, "created_at": t} for r, s, t in rated]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert [p[2:] for p in pairs(data)] == [("a", "b")]
    assert data.exclusions.reasons == {"the same item judged again by the same user": 2}
    votes = [
        {"user": "u", "item": i, "vote": v, "time": t}
        for i, v, t in [("x", 1, 9), ("y", -1, 1), ("x", -1, 3), ("y", 1, 0), ("z", 1, 5), ("z", 0, 6)]
    ]
    assert [p[2:] for p in pairs(load(jsonl(tmp_path / "b.jsonl", votes)))] == [("x", "y")]


@pytest.mark.parametrize("first", ["2024-05-01", 1_714_521_600, 1_714_521_600_000_000])
def test_times_in_two_units_have_no_last_one(tmp_path: Path, first: object) -> None:
    rows = [
        {**ROWS[0], "tstamp": first},
        {**ROWS[1], "tstamp": first},
        {**ROWS[0], "chosen": "b", "rejected": "a", "tstamp": 1_514_521_600_000},
    ]
    with pytest.raises(
        DataError, match=r"line 3, column 'tstamp': this time is in milliseconds since 1970, and others are in (micro)?seconds"
    ):
        load(jsonl(tmp_path / "a.jsonl", rows), on_bad="skip")
    assert load(jsonl(tmp_path / "b.jsonl", [*rows[:2], {**rows[2], "tstamp": 12}])).exclusions.rows_used == 2  # a small number is no date


def test_times_in_two_units_are_no_matter_where_they_decide_nothing(tmp_path: Path) -> None:
    """Nobody judged twice; or whoever did, did so at times of one unit."""
    seconds, milliseconds = 1_714_521_600, 1_514_521_600_000
    rows = [{**ROWS[0], "tstamp": seconds}, {**ROWS[0], "user": "another", "tstamp": milliseconds}]
    assert load(jsonl(tmp_path / "a.jsonl", rows)).exclusions.rows_used == 2
    again = {**rows[0], "chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    data = load(jsonl(tmp_path / "b.jsonl", [*rows, {**again, "tstamp": seconds + 1}]))
    assert (data.exclusions.rows_used, [p[2:] for p in pairs(data) if p[0] != "another"]) == (2, [(again["chosen"], again["rejected"])])
    with pytest.raises(DataError, match="this time is in milliseconds since 1970, and others are in seconds"):
        load(
            jsonl(
                tmp_path / "c.jsonl",
                [
                    *rows,
                    {**rows[1], "user": "third"},
                    {**again, "tstamp": milliseconds},
                    {**ROWS[1], "tstamp": seconds},
                    {**ROWS[2], "tstamp": seconds},
                    {**ROWS[2], "user": "fourth", "tstamp": seconds},
                ],
            )
        )
    votes = [("x", 1, seconds), ("y", -1, milliseconds), ("z", 1, seconds)]
    given = [{"user": "u", "item": i, "vote": v, "time": t} for i, v, t in votes]
    assert len(load(jsonl(tmp_path / "d.jsonl", given))) == 2
    with pytest.raises(DataError, match="this time is in milliseconds"):
        load(jsonl(tmp_path / "e.jsonl", [*given, {"user": "u", "item": "x", "vote": -1, "time": milliseconds}, {**given[2], "user": "w"}]))


def test_of_a_pair_judged_twice_the_last_counts_where_there_is_a_time(tmp_path: Path) -> None:
    twice = [{**ROWS[0], "timestamp": 2}, {**ROWS[0], "chosen": "b", "rejected": "a", "timestamp": 7}, {**ROWS[1], "timestamp": 1}]
    data = load(jsonl(tmp_path / "a.jsonl", twice), attributes=["country"])
    assert pairs(data) == [("ann", "p1", "b", "a"), PAIRS[1]]
    assert data.exclusions.by_group == {"country=FR": {"judged again later by the same user": 1}}
    assert len(load(jsonl(tmp_path / "b.jsonl", [{k: v for k, v in r.items() if k != "timestamp"} for r in twice]))) == 3
    often = [{**ROWS[0], "timestamp": t} for t in (2, 2, 1, 2)] + twice[1:2]  # several of one time: all of them are earlier
    assert pairs(load(jsonl(tmp_path / "c.jsonl", [*often, *often[-1:]]))) == 2 * [("ann", "p1", "b", "a")]


@pytest.mark.parametrize("kind", ["list", "arrow"])
def test_times_in_every_spelling(kind: str) -> None:
    column: Any = ["2024-05-01T00:00:00Z", "2024-05-01T02:00:00+01:00", "12.5", "", "soon", None]
    found = columns.times(pa.array(column) if kind == "arrow" else column)
    assert found.tolist() == [1714521600.0, 1714525200.0, 12.5, -np.inf, -np.inf, -np.inf]
    for unit, count in (("s", 3), ("ms", 3_000), ("us", 3_000_000), ("ns", 3_000_000_000)):
        assert columns.times(pa.array([count, None], pa.timestamp(unit))).tolist() == [3.0, -np.inf]
    assert columns.times(pa.array([2**62, 1], pa.timestamp("s"))).tolist() == [2.0**62, 1.0]  # beyond what milliseconds can say
    assert columns.times(pa.array([1_500_000_001], pa.timestamp("ns"))).tolist() == [1.500000001]  # of a fraction of a microsecond
    assert columns.times(pa.array([19844], pa.date32())).tolist() == [1714521600.0]


def test_bytes_are_the_texts_that_they_spell() -> None:
    column = pa.array([b"1.5", None, "é".encode()])
    assert columns.numbers(column)[0] == 1.5
    store = columns.Store()
    assert store.ids(column).tolist() == [0, columns.MISSING, 1]
    assert store.values == ["1.5", "é"]


def test_times_without_a_zone_are_utc_wherever_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the night in which Berlin's clocks go from 2 to 3, its local time would put half past two behind ten past three."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        found = columns.times(["2024-03-31T02:30:00", "2024-03-31T03:10:00", "2024-03-31T03:10:00+00:00", "0001-01-01"])
        assert found.tolist() == [1711852200.0, 1711854600.0, 1711854600.0, -62135596800.0]
        assert columns.times([datetime(2024, 3, 31, 2, 30)]).tolist() == [1711852200.0]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("agree", "disagree", "neither"),
    [
        ("agree", "disagree", "pass"),
        ("Yes", "No", "Unsure"),
        ("true", "FALSE", "0"),
        (True, False, 0),
        ("1", "-1", "0"),
        (1.0, -1.0, 0.0),
        ("up", "down", "skip"),
    ],
)
def test_words_for_votes(tmp_path: Path, agree: Any, disagree: Any, neither: Any) -> None:
    rows = [{"user": "u", "item": item, "vote": vote} for item, vote in (("a", agree), ("b", disagree), ("c", neither))]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert [p[2:] for p in pairs(data)] == [("a", "b")]
    assert data.exclusions.reasons == {"a vote that neither agrees nor disagrees": 1}
    assert pairs(load(pa.Table.from_pylist([{k: str(v) for k, v in r.items()} for r in rows]))) == pairs(data)


def test_a_vote_that_is_none_names_the_users_own_column(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"user": "u", "item": "a", "opinion": "agree"}, {"user": "u", "item": "b", "opinion": "perhaps"}])
    with pytest.raises(DataError, match="line 2, column 'opinion': 'opinion' is no vote"):
        load(path, columns={"vote": "opinion"})


def test_ratings_with_the_models_reward_of_each_response(tmp_path: Path) -> None:
    rows = [{"user": "u", "prompt": "p", "response": r, "score": s, "rm": m} for r, s, m in (("a", 1, [0.5]), ("b", 3, [0.25]))]
    data = load(jsonl(tmp_path / "a.jsonl", rows), numbers=["rm"], need_texts=False)
    assert margins_of(data, ["rm"]).tolist() == [-0.25]
    nested = pa.Table.from_pylist([{**r, "rm": [[0.5], [0.25]][i]} for i, r in enumerate(rows)])
    assert margins_of(load(nested, numbers=["rm"]), ["rm"]).tolist() == [-0.25]


def test_decimal_commas_are_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('user,prompt,chosen,rejected,rm\nu,p,a,b,"0,5"\nu,q,a,b,"-1,25"\nu,r,a,b,3\n')
    data = load(tmp_path / "a.csv", numbers=["rm"])
    assert data.numbers["rm"].tolist() == [0.5, -1.25, 3]
    assert "2 numbers of 'rm' with a decimal comma" in data.source
    (tmp_path / "b.csv").write_text('user,prompt,chosen,rejected,rm\nu,p,a,b,"1,500"\nu,q,a,b,0.25\n')
    with pytest.raises(DataError, match="some numbers have a comma, others a point"):
        load(tmp_path / "b.csv", numbers=["rm"])


# ---- folders, ids and values


def test_a_polis_export_under_any_prefix(tmp_path: Path) -> None:
    log = "timestamp,datetime,comment-id,voter-id,vote\n1,x,0,7,1\n2,x,1,7,-1\n3,x,1,8,1\n4,x,0,8,1\n5,x,0,8,-1\n"
    told = 'timestamp,datetime,comment-id,author-id,agrees,disagrees,moderated,comment-body\n1,x,0,7,1,1,1,Trams\n2,x,1,8,1,1,1,"Roads, more"\n'
    matrix = "participant,group-id,n-comments,n-votes,n-agree,n-disagree,0,1\n7,0,1,2,1,1,1,-1\n8,1,1,2,1,1,-1,1\n"
    for name, text in {
        "votes": log,
        "comments": told,
        "participants-votes": matrix,
        "summary": "topic,Town\nurl,http://example.org\n",
    }.items():
        (tmp_path / f"r4x-{name}.csv").write_text(text)
    wanted = [("7", "Town", "Trams", "Roads, more"), ("8", "Town", "Roads, more", "Trams")]
    for path in (tmp_path, tmp_path / "r4x-votes.csv"):
        data = load(path)
        assert pairs(data) == wanted
        assert data.attributes["group_id"] == ["0", "1"]
        assert data.exclusions.reasons == {"the same item judged again by the same user": 1}
    (tmp_path / "r4x-votes.csv").unlink()
    assert pairs(load(tmp_path)) == wanted
    (tmp_path / "r4x-participants-votes.csv").write_text(f"{matrix}9,1,1\n")
    assert load(tmp_path, on_bad="skip").exclusions.rows_in == 5
    with pytest.raises(DataError, match=r"r4x-participants-votes\.csv, line 4"):
        load(tmp_path)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "votes.csv").write_text(log)
    with pytest.raises(DataError, match="a folder with the files votes, comments"):  # numbers of statements are no statements
        load(tmp_path / "alone" / "votes.csv")
    (tmp_path / "r4x-comments.csv").unlink()
    with pytest.raises(DataError, match="a folder with the files votes, comments"):
        load(tmp_path / "r4x-participants-votes.csv")


def test_prism_messages_in_any_order_keep_their_earlier_turns(tmp_path: Path) -> None:
    def said(turn: int, text: str, score: Any, chosen: bool) -> dict[str, Any]:
        return {
            "user_id": "u",
            "conversation_id": "c",
            "turn": turn,
            "user_prompt": f"q{turn}",
            "model_response": text,
            "score": score,
            "if_chosen": chosen,
        }

    rows = [said(1, "c", 1, False), said(0, "a", 9, True), said(1, "d", 5, True), said(0, "b", 2, False), said(1, "e", None, False)]
    data = load(jsonl(tmp_path / "utterances.jsonl", rows))
    assert sorted(p[1:] for p in pairs(data)) == [("q0", "a", "b"), ("user: q0\n\nassistant: a\n\nuser: q1", "d", "c")]
    assert data.exclusions.reasons == {"the answer was not rated": 1}


def test_ids_that_look_alike() -> None:
    ids = ["Jos\u00e9", "Jose\u0301", "u1", "U1", "u2", "u2 ", "\u200bu2", "007", "7", "other", "  OTHER\u0301", "other\u0301"]
    assert alike(ids) == {"Unicode form": 2, "case": 2, "spaces or invisible characters": 3, "leading zeros": 2, "several of these": 2}
    assert alike(["a", "b", "c1"]) == {}


def test_the_doctor_tells_ids_and_values(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "user": u, "country": c} for u, c in (("u1", "NaN"), ("u1 ", "n/a"), ("v", "FR"), ("w", "NaN"))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    found = {f.check: f for f in examine(load(path, attributes=["country"])).findings}
    assert "2 in spaces" in found["user ids that look alike"].sentence
    assert "'NaN' (fewer than 10 users), 'n/a' (fewer than 10 users)" in found["values that look missing"].sentence
    assert "--missing NaN,n/a" in found["values that look missing"].remedy
    assert load(path, attributes=["country"], missing=["nan", "N/A"]).attributes["country"] == ["", "", "FR", ""]
    assert nothing_words(["", "None", "FR", "None", "null"]) == {"None": 2, "null": 1}


def test_windows_1252_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("user,prompt,chosen,rejected\nJosé,p,a,b\nann,p,a,b\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"line 2, column 'user': 'user' is not UTF-8 \(Windows-1252 or Latin-1.*iconv -f CP1252"):
        load(tmp_path / "a.csv")
    assert load(tmp_path / "a.csv", on_bad="skip").users == ["ann"]
    (tmp_path / "a.json").write_bytes(json.dumps([{**ROWS[0], "user": "José"}], ensure_ascii=False).encode("cp1252"))
    with pytest.raises(DataError, match="Windows-1252"):
        load(tmp_path / "a.json")


# ---- from the command line


def test_ratings_are_audited_by_the_reward_of_each_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first response has the higher reward: right for users of one country, wrong for the other's."""
    from typer.testing import CliRunner

    from evenhand.cli import app

    monkeypatch.chdir(tmp_path)
    rows = [
        {"who": f"u{u}", "prompt": f"p{p}", "response": f"r{r}", "score": r if u % 2 else 1 - r, "rm": [r / 4], "country": "FR" if u % 2 else "SG"}
        for u in range(80) for p in range(10) for r in (0, 1)
    ]  # fmt: skip
    jsonl(tmp_path / "a.jsonl", rows)
    done = CliRunner().invoke(app, ["audit", "a.jsonl", "--scores", "rm", "--column", "user=who", "--group-by", "country"])
    assert done.exit_code == 1, done.output
    report = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert {g["group"]: round(g["accuracy"]["value"], 6) for g in report["model"]["groups"]} == {"FR": 1.0, "SG": 0.0}


def test_check_writes_a_page_without_texts_or_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from evenhand.cli import app

    monkeypatch.chdir(tmp_path)
    rows = [
        {**ROWS[0], "user": f"secret-{i % 40}", "prompt": f"private {i}", "country": "nan" if i % 40 < 15 else "FR"} for i in range(400)
    ]
    rows += [{**ROWS[0], "user": "secret-1", "country": "FR", "chosen": ""}] * 12 + [{**ROWS[0], "user": "SECRET-1", "country": "FR"}]
    jsonl(tmp_path / "a.jsonl", rows)
    done = CliRunner().invoke(app, ["check", "a.jsonl", "--group-by", "country", "--on-bad", "skip"])
    assert done.exit_code == 0, done.output
    page, said = (tmp_path / "check" / "check.html").read_text(), json.loads((tmp_path / "check" / "check.json").read_text())
    assert said["verdict"].startswith("Usable, with care")
    assert said["verdict"].rstrip(".") in done.output
    assert said["diagnosis"]["findings"][0]["check"] == "values that look missing"
    assert said["exclusions"]["by_group"] == {"country=FR": {"'chosen' is empty": 12}}
    assert re.search(r"country=FR +'chosen' is empty +12", done.output)
    for text in (page, json.dumps(said), done.output):
        assert "secret-" not in text.lower()
        assert "private" not in text
    order = [("error", "warning", "note").index(f["severity"]) for f in said["diagnosis"]["findings"]]
    assert order == sorted(order)
    assert page.index("Usable, with care") < page.index("The rest")
    everyone = said["diagnosis"]["groups"][0]
    assert (everyone["group"], everyone["users"], everyone["pairs"]) == ("all", 41, 401)
    assert re.search(r"<th scope=\"row\"[^>]*>all</th><td>41</td><td>401</td>", page)

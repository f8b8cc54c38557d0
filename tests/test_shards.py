"""Audits of many files: however rows are dealt to files, one report; whatever ends the work, what was finished stays; no file is lost without a word."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import nullcontext as does_not_raise
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import forked
from pyarrow import csv
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import evenhand
from evenhand.cli import app
from evenhand.core import DataError, EvenhandError, Exclusions, PreferenceData
from evenhand.data import merging
from evenhand.data import shards as stored
from evenhand.data.batches import batch_ends, batches_of
from evenhand.data.canonical import canonical
from evenhand.data.merging import batches, merge
from evenhand.data.shards import Coded, InputFile, code, opened
from evenhand.engines.here import InProcess
from evenhand.workflows import audit as audit  # the module
from evenhand.workflows import audit_shards, shards
from evenhand.workflows.shards import Reading

SCORES = ("score_chosen", "score_rejected")
USERS, PROMPTS, RESPONSES, EACH = 48, 24, 4, 16
OF_FILES = {"date", "data", "data sha256", "shards", "read in"}  # facts that say how the rows came


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no test cuts the power


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return choices()


def choices() -> pa.Table:
    """Choices of two tastes with ties, weights, repeated rows, bad rows, and an attribute that some rows of a user lack."""
    rng = np.random.default_rng(7)
    n = USERS * EACH
    user, prompt = np.repeat(np.arange(USERS), EACH), rng.integers(PROMPTS, size=n)
    one = rng.integers(RESPONSES, size=n)
    other = (one + rng.integers(1, RESPONSES, size=n)) % RESPONSES
    rare = user % 4 == 0
    first = (one < other) ^ rare ^ (rng.random(n) < 0.2)
    other[rng.random(n) < 0.03] = -1  # both responses are the same: a bad row
    chosen, rejected = np.where(first, one, other), np.where(first, other, one)
    chosen, rejected = np.where(chosen < 0, rejected, chosen), np.where(rejected < 0, chosen, rejected)
    bad = chosen == rejected
    margin = np.abs(rng.normal(size=n)) * np.where(rng.random(n) < np.where(rare, 0.6, 0.75), 1, -1)
    taste = np.where(rare, "rare", "common").astype(object)
    taste[(rng.random(n) < 0.3) & ~bad] = None
    table = pa.table({
        "user": [f"user {u}" for u in user], "prompt": [f"What of {p}?" for p in prompt],
        "chosen": [f"Answer {r} to {p}, é" for r, p in zip(chosen, prompt)], "rejected": [f"Answer {r} to {p}, é" for r, p in zip(rejected, prompt)],
        "score_chosen": margin, "score_rejected": rng.integers(0, 3, n) * 0.1, "taste": pa.array(taste, pa.string()),
        "weight": rng.integers(1, 4, n).astype(float), "tie": rng.random(n) < 0.1,
        "split": np.where(np.arange(n) % 3 == 0, "train", "test"),
    })  # fmt: skip
    again = table.take(pa.array(rng.integers(0, n, 40)))  # said twice, perhaps with another score
    other_score = again.set_column(5, "score_rejected", pa.array(np.repeat([0.1, 0.7], 20)))
    return pa.concat_tables([table, again.slice(0, 20), other_score.slice(20)])


def deal(rng: np.random.Generator, count: int, most: int = 7) -> list[np.ndarray]:
    """A random sharding: which rows lie in which file, in which order."""
    kind = rng.integers(3)
    files = int(rng.integers(1, most))
    part = rng.integers(files, size=count) if kind else np.sort(rng.integers(files, size=count))
    return [rng.permutation(found) for p in range(files) if len(found := np.flatnonzero(part == p))]


def written(folder: Path, table: pa.Table, parts: Sequence[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        pq.write_table(table.take(pa.array(part)), folder / f"part-{number:02d}.parquet")
    return folder


READ = Reading(SCORES, ("taste",), on_bad="skip")


def made(data: Path, out: Path, reading: Reading = READ) -> shards.Made:
    return shards.make(data, out, reading, InProcess(), lambda what, done, total, how="": None)


def said(report: evenhand.Report, without: set[str] = OF_FILES) -> dict[str, Any]:
    document = json.loads(json.dumps(report.document))
    document["facts"] = {name: value for name, value in document["facts"].items() if name not in without}
    return document


def in_one(table: pa.Table, folder: Path, reading: Reading = READ, **asked: Any) -> evenhand.Report:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "whole.parquet")
    data = evenhand.load(folder / "whole.parquet", attributes=reading.attributes, numbers=SCORES, need_texts=False, on_bad="skip")
    return evenhand.audit(data, SCORES, title="one", resamples=50, **asked)


def together(out: Path, **asked: Any) -> evenhand.Report:
    return evenhand.audit_merge(out, title="one", resamples=50, **asked)


# ---- any sharding


def test_a_thousand_shardings_are_the_same_pairs(rows: pa.Table, tmp_path: Path) -> None:
    """What a report is computed from: the pairs in their order, users, attributes and exclusions, bit for bit."""
    pq.write_table(rows.slice(len(rows) - 300), tmp_path / "whole.parquet")
    data = evenhand.load(tmp_path / "whole.parquet", attributes=["taste"], numbers=SCORES, need_texts=False, on_bad="skip")
    rng = np.random.default_rng(0)
    known: Any = None
    for _ in range(1000):
        merged = merge([cut(data, part, str(i)) for i, part in enumerate(deal(rng, len(data)))], repeated=True, at_once=120)
        pairs = batches(merged)
        found = (pairs.fingerprint, pairs.users, pairs.texts, dict(pairs.attributes), pairs.exclusions, pairs.source, merged.ends.tolist())
        known = known or (found, bits(pairs))
        assert found == known[0]
        assert bits(pairs) == known[1]
    ordered = canonical(data)
    assert (list(ordered.users), list(ordered.texts)) == (pairs.users, pairs.texts)
    assert dict(ordered.attributes) == dict(pairs.attributes)
    whole = [
        np.concatenate([getattr(batch, name) for batch in pairs]) for name in ("user", "prompt", "chosen", "rejected", "weight", "tie")
    ]
    for mine, name in zip(whole, ("user", "prompt", "chosen", "rejected", "weight", "tie")):
        np.testing.assert_array_equal(mine, getattr(ordered, name))
    for name in SCORES:
        np.testing.assert_array_equal(np.concatenate([batch.numbers[name] for batch in pairs]), ordered.numbers[name])


def cut(data: PreferenceData, part: np.ndarray, name: str) -> Coded:
    """Some of the pairs as a file of their own would give them."""
    some = data.take(part)
    users, user = np.unique(some.user, return_inverse=True)
    texts, codes = np.unique(np.concatenate([some.prompt, some.chosen, some.rejected]), return_inverse=True)
    prompt, chosen, rejected = codes.astype(np.int32).reshape(3, -1)
    bad = int((part % 7 == 0).sum())  # rows that were left out beside these
    some = replace(
        some, users=[data.users[u] for u in users], texts=[data.texts[t] for t in texts], user=user.astype(np.int32), prompt=prompt, chosen=chosen,
        rejected=rejected, attributes={n: [v[u] for u in users] for n, v in data.attributes.items()},
        exclusions=Exclusions(len(part) + bad, len(part), {"bad": bad} if bad else {}, {"taste=rare": {"bad": bad}} if bad else {}),
    )  # fmt: skip
    about = {
        "file": InputFile(name=name, sha256="0" * 64),
        "read": READ.decides,
        "source": "table",
        "columns": {},
        "kind": "Parquet, table",
    }
    return code(some, about, name)


def bits(pairs: Any) -> list[bytes]:
    found = []
    for batch in pairs:
        arrays = (batch.user, batch.prompt, batch.chosen, batch.rejected, batch.weight, batch.tie, batch.split, *batch.numbers.values())
        found.append(b"".join(a.tobytes() for a in arrays))
    return found


def test_shardings_into_files_give_the_report_of_one_file(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 shardings through files: the same fingerprint; the report of several of them: that of one file, in memory and in many batches."""
    rng = np.random.default_rng(1)
    table = rows.drop_columns("split").slice(len(rows) - 500)
    for group_by in ((), ("taste",)):
        whole = said(in_one(table, tmp_path / "whole", group_by=group_by))
        prints, reports = set(), []
        for number in range(25):
            data = written(tmp_path / f"data-{len(group_by)}-{number}", table, deal(rng, len(table), 4))
            done = made(data, tmp_path / f"out-{len(group_by)}-{number}")
            prints.add(batches(merge([opened(place) for place in done.shards], repeated=True)).fingerprint)
            if number < 2:
                reports.append(together(tmp_path / f"out-{len(group_by)}-{number}", group_by=group_by))
        assert len(prints) == 1
        first = said(reports[0], {"date", "shards"})
        assert all(said(r, {"date", "shards"}) == first for r in reports)
        assert said(reports[0]) == whole


@pytest.mark.parametrize("lacking", [("weight", "tie"), ("prompt",), ("split", "taste")])
def test_columns_that_are_there_or_not(rows: pa.Table, tmp_path: Path, lacking: tuple[str, ...]) -> None:
    """The split column; and what a file may lack."""
    table = rows.drop_columns(list(lacking))
    reading = replace(READ, attributes=() if "taste" in lacking else ("taste",))
    made(written(tmp_path / "data", table, deal(np.random.default_rng(2), len(table))), tmp_path / "out", reading)
    assert said(together(tmp_path / "out")) == said(in_one(table, tmp_path / "whole", reading))


def test_a_file_that_lacks_a_column_that_others_have(rows: pa.Table, tmp_path: Path) -> None:
    """Its pairs have weight 1 and are no ties, as in one file."""
    table, half = rows.drop_columns("split"), len(rows) // 2
    plain = table.slice(half).drop_columns(["weight", "tie"])
    filled = plain.append_column("weight", pa.array(np.ones(len(plain)))).append_column("tie", pa.array(np.zeros(len(plain), bool)))
    data = written(tmp_path / "data", table, [np.arange(half)])
    pq.write_table(plain, data / "plain.parquet")
    made(data, tmp_path / "out")
    assert said(together(tmp_path / "out")) == said(
        in_one(pa.concat_tables([table.slice(0, half), filled.select(table.column_names)]), tmp_path / "whole")
    )


def test_one_user_in_all_files_and_values_that_contradict(rows: pa.Table, tmp_path: Path) -> None:
    """Another value of an attribute in a later file: an error that names the file, or, where bad rows are left out, left out as in one file."""
    table = rows.drop_columns("split")
    mine = table.take(pa.array(np.flatnonzero(np.array(table["user"].to_pylist()) == "user 0")))
    turned = mine.set_column(mine.column_names.index("taste"), "taste", pa.array(["common"] * len(mine)))
    data = written(tmp_path / "data", table, [np.arange(len(table))])
    pq.write_table(turned, data / "part-99.parquet")
    made(data, tmp_path / "out", replace(READ, on_bad="skip"))
    assert said(together(tmp_path / "out")) == said(in_one(pa.concat_tables([table, turned]), tmp_path / "whole"))
    good = table.filter(pa.compute.not_equal(table["chosen"], table["rejected"]))
    shutil.rmtree(data)
    pq.write_table(turned, written(tmp_path / "data", good, [np.arange(len(good))]) / "part-99.parquet")
    made(data, tmp_path / "strict", replace(READ, on_bad="error"))
    with pytest.raises(DataError, match=r"part-99.*contradicts"):
        together(tmp_path / "strict")


def test_values_of_two_attributes_that_contradict(tmp_path: Path) -> None:
    """Each attribute is held against what is known of the user, whatever another one says of somebody else; as in one file."""

    def table(*people: tuple[str, str, str]) -> pa.Table:
        return pa.Table.from_pylist([dict(zip(SCORES, (1.0, 0.0)), user=u, a=a, b=b) for u, a, b in people])

    def read(part: pa.Table) -> PreferenceData:
        return evenhand.load(part, attributes=["a", "b"], numbers=SCORES, need_texts=False, on_bad="skip")

    files = table(("u", "x", "p"), ("v", "x", "q"), ("w", "", "")), table(("u", "y", "p"), ("v", "x", "p"), ("w", "y", "p"))
    about = {"read": READ.decides, "source": "table", "columns": {}, "kind": "table"}
    named = [(read(part), {**about, "file": InputFile(name=str(i), sha256=f"{i}" * 64)}, str(i)) for i, part in enumerate(files)]
    merged = batches(merge([code(*one) for one in named], skip=True))
    whole = read(pa.concat_tables(files))
    (batch,) = merged
    assert [merged.users[u] for u in batch.user] == ["u", "v", "w", "w"]
    assert merged.attributes == whole.attributes == {"a": ["x", "x", "y"], "b": ["p", "q", "p"]}
    assert (
        merged.exclusions.reasons
        == whole.exclusions.reasons
        == {f"attribute '{n}' contradicts an earlier row of the same user": 1 for n in "ab"}
    )
    assert merged.exclusions.by_group == whole.exclusions.by_group
    assert batch.prompt.tolist() == batch.chosen.tolist() == 4 * [-1]  # scores alone


# ---- what cannot be trusted


def changed_settings(place: Path, **new: Any) -> None:
    path = place / stored.SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), **new}))


def resealed(place: Path) -> None:
    """With hashes that fit, as whoever forges a shard would."""
    changed_settings(place, files={f: stored._digest(place / f) for f in (stored.USERS, stored.TEXTS, stored.PAIRS)})


def forged(place: Path, name: str, value: float, at: int = 0) -> None:
    arrays = load_file(place / stored.PAIRS)
    arrays[name][at] = value
    save_file(arrays, place / stored.PAIRS)
    resealed(place)


def half(place: Path, file: str) -> None:
    os.truncate(place / file, (place / file).stat().st_size // 2)


def moved(place: Path, left: int) -> None:
    """The second user has the first one's pairs, too; left: how many stay with the first."""
    counts = load_file(place / stored.PAIRS)["count"]
    forged(place, "count", int(counts[0] + counts[1]), at=1)
    forged(place, "count", left)


ATTACKS: dict[str, Callable[[Path], object]] = {
    "pairs cut": lambda p: half(p, stored.PAIRS),
    "users cut and sealed": lambda p: (half(p, stored.USERS), resealed(p)),
    "texts gone": lambda p: (p / stored.TEXTS).unlink(),
    "settings cut": lambda p: half(p, stored.SETTINGS),
    "settings of another version": lambda p: changed_settings(p, format="evenhand shard 9"),
    "unknown field": lambda p: changed_settings(p, more=1),
    "rows that do not add up": lambda p: changed_settings(p, left={"rows_in": 3, "rows_used": 9, "reasons": {}, "by_group": {}}),
    "text out of range": lambda p: forged(p, "chosen", 30_000),
    "text below -1": lambda p: forged(p, "prompt", -2),
    "count of nobody": lambda p: forged(p, "count", 0),
    "a user without a pair": lambda p: moved(p, 0),
    "one pair less than counted": lambda p: moved(p, 1),
    "count too large": lambda p: forged(p, "count", 2**31 - 1),
    "score that is no number": lambda p: forged(p, stored.NUMBER + SCORES[0], np.nan),
    "weight below 0": lambda p: forged(p, "weight", -1),
    "split of no name": lambda p: forged(p, "split", 9),
    "pairs fewer than said": lambda p: changed_settings(p, pairs=3),
}


@pytest.fixture(scope="module")
def two(rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("two")
    made(written(place / "data", rows, [np.arange(0, len(rows), 2), np.arange(1, len(rows), 2)]), place / "out")
    return place / "out"


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_broken_shard_is_named(two: Path, tmp_path: Path, attack: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(two, out)
    place = sorted(out.glob("*.shard"))[1]
    ATTACKS[attack](place)
    with pytest.raises(DataError, match="part-01"):
        batches(merge([opened(p) for p in shards.found_in([out]).shards]))


@pytest.mark.parametrize("format", ["evenhand shard 9", None])
def test_a_shard_of_another_version_is_refused_or_made_again_and_never_read(
    rows: pa.Table, two: Path, tmp_path: Path, format: str | None
) -> None:
    """So is the list of a folder's shards."""
    out = tmp_path / "out"
    shutil.copytree(two, out)
    place = sorted(out.glob("*.shard"))[1]
    said = json.loads((place / stored.SETTINGS).read_text())
    other = {**said, "format": format} if format else {k: v for k, v in said.items() if k != "format"}
    (place / stored.SETTINGS).write_text(json.dumps(other))
    with pytest.raises(DataError, match=r"part-01.*another version of evenhand\. Expected: evenhand shard 1\. To do: make it again"):
        evenhand.audit_merge(out)
    made(two.parent / "data", out)
    assert json.loads((place / stored.SETTINGS).read_text()) == said
    listed = json.loads((out / shards.FILES).read_text())
    (out / shards.FILES).write_text(
        json.dumps({k: v for k, v in listed.items() if k != "format"} | ({"format": "evenhand files 2"} if format else {}))
    )
    for again in (lambda: evenhand.audit_merge(out), lambda: made(two.parent / "data", out)):
        with pytest.raises(DataError, match=r"out: it holds shards of another version of evenhand\. Expected: evenhand files 1\."):
            again()


def test_shards_that_do_not_go_together(rows: pa.Table, two: Path, tmp_path: Path) -> None:
    one = written(tmp_path / "one", rows, [np.arange(100)])
    for other, found in (
        (replace(READ, scores=("score_rejected", "weight")), "other scores"),
        (replace(READ, attributes=()), "read in another way: attributes"),
        (replace(READ, missing=("rare",)), "read in another way: missing"),
    ):
        made(one, tmp_path / found, other)
        with pytest.raises(DataError, match=found):
            evenhand.audit_merge([two, tmp_path / found])
    with pytest.raises(DataError, match=r"part-00.*is 'part-00.*over again: the same file"):
        evenhand.audit_merge([two, two])
    assert evenhand.audit_merge([two, two], repeated=True).findings.exclusions.rows_in == 2 * len(rows)
    with pytest.raises(DataError, match="no shards"):
        evenhand.audit_merge(one)
    with pytest.raises(DataError, match="no attribute 'country'"):
        evenhand.audit_merge(two, group_by="country")


def test_what_shards_cannot_tell_is_refused(rows: pa.Table, tmp_path: Path) -> None:
    votes = pa.table({"user": ["a", "b"], "item": ["x y", "z"], "vote": [1, -1], "score": [0.1, 0.2]})
    event = rows.append_column("event", pa.array(["e"] * len(rows)))
    for name, table, scores, found in (
        ("votes", votes, ("score",), "drawn from judgements"),
        ("event", event, SCORES, "shards hold no events"),
    ):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        with pytest.raises(DataError, match=found):
            evenhand.audit_partial(tmp_path / f"{name}.parquet", tmp_path / "out", scores)
    timed = rows.append_column("time", pa.array(np.arange(len(rows)).astype(float)))
    made(written(tmp_path / "timed", timed, [np.arange(300), np.arange(300, len(rows))]), tmp_path / "timed-out")
    with pytest.raises(DataError, match="rows have times"):
        together(tmp_path / "timed-out")
    of_report = ["--title", "t"], ["--note", "n"], ["--simulated"], ["--repeated"], ["--pdf"]
    for option in (["--constraint", "dp=0.1"], ["--show-examples", "5"], ["--model", "m"], ["--bad-rows", "b.csv"], *of_report):
        done = CliRunner().invoke(app, ["audit", str(tmp_path / "event.parquet"), "--scores", ",".join(SCORES), "--partial", "p", *option])
        assert isinstance(done.exception, EvenhandError)
        assert f"Found {option[0]} with --partial" in str(done.exception)


# ---- what ends the work


def test_killed_between_and_inside_shards(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished is not made again, what was not leaves nothing behind, and the report is that of an undisturbed run."""
    data = written(tmp_path / "data", rows, np.array_split(np.arange(len(rows)), 4))
    made(data, tmp_path / "undisturbed")
    durable, calls = stored.durable, [0]

    def until(step: int) -> Callable[[Path], None]:
        def counted(file: Path) -> None:
            calls[0] += 1
            if calls[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            durable(file)

        return counted

    out, finished = tmp_path / "out", 0
    for step in (2, 4, 5, 3, 9):  # among the files of a shard, and between two shards
        monkeypatch.setattr(stored, "durable", until(step))
        assert forked(lambda: made(data, out)) == -signal.SIGKILL
        there = {p.name: p.stat().st_mtime_ns for p in out.glob("*.shard")}
        assert len(there) >= finished
        with pytest.raises(DataError, match="missing"):
            shards.found_in([out])
        finished = len(there)
    assert 0 < finished < 4
    monkeypatch.setattr(stored, "durable", durable)
    made(data, out)
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.shard")}.items() >= there.items()
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "undisturbed").iterdir()}
    files = [p.relative_to(out) for p in out.rglob("*") if p.is_file()]
    assert all((out / f).read_bytes() == (tmp_path / "undisturbed" / f).read_bytes() for f in files)
    assert {p.stat().st_mode & 0o777 for p in out.rglob("*") if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (out, *out.glob("*.shard"))} == {0o700}


def test_a_full_disk(rows: pa.Table, tmp_path: Path) -> None:
    """No room for any one of a shard's files: an error that says so, nothing half there, and with room the same command goes on."""
    data = written(tmp_path / "data", rows, np.array_split(np.arange(len(rows)), 2))
    made(data, tmp_path / "room")
    sizes = sorted({p.stat().st_size for p in (tmp_path / "room").rglob("*") if p.is_file()})
    out = tmp_path / "out"

    def work(room: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(DataError, match=r"cannot be written.*make room"):
            made(data, out)

    for size in sizes[1:]:  # the first is files.json
        assert forked(lambda size=size: work(size - 1)) == 0
        assert not [p for p in out.iterdir() if p.name != shards.FILES and not stored.is_shard(p)]
        assert all(opened(place) for place in out.glob("*.shard"))
    assert len(made(data, out).shards) == 2


def test_a_broken_file_is_named_and_the_others_are_kept(rows: pa.Table, tmp_path: Path) -> None:
    """Cut, of no kind, without a column: exit 2 with their names when all others are done; or left out, which the report says."""
    good = rows.filter(pa.compute.not_equal(rows["chosen"], rows["rejected"]))
    data = written(tmp_path / "data", good, np.array_split(np.arange(len(good)), 6))
    os.truncate(data / "part-02.parquet", 900)
    (data / "part-00.parquet").write_bytes(b"no table at all")
    pq.write_table(good.drop_columns("score_chosen"), data / "part-04.parquet")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"part-00.*part-02.*part-04.*other 3 of 6 files are finished.*--on-bad skip"):
        made(data, out, replace(READ, on_bad="error"))
    assert len([*out.glob("*.shard")]) == 3
    with pytest.raises(DataError, match="shards of 3 of 6 files are missing"):
        shards.found_in([out])
    kept = {p.name: p.stat().st_mtime_ns for p in out.glob("*.shard")}
    assert [*made(data, out).left_out] == ["part-00.parquet", "part-02.parquet", "part-04.parquet"]
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.shard")} == kept
    assert len(shards.found_in([out]).shards) == 3


def test_files_left_out_stand_in_the_report(rows: pa.Table, tmp_path: Path) -> None:
    data = written(tmp_path / "data", rows.drop_columns("split"), np.array_split(np.arange(len(rows)), 6))
    os.truncate(data / "part-02.parquet", 900)
    done = made(data, tmp_path / "out")
    assert len(done.shards) == 5
    assert [*done.left_out] == ["part-02.parquet"]
    made(data, tmp_path / "again")
    assert [*shards.found_in([tmp_path / "out", tmp_path / "again"]).left_out] == ["part-02.parquet", "again/part-02.parquet"]
    report = together(tmp_path / "out")
    document = said(report)
    assert "part-02.parquet" in document["facts"]["files left out"]
    assert any("part-02.parquet" in reason and count == 1 for reason, count in document["exclusions"]["reasons"].items())
    assert (
        report.findings.exclusions.rows_in == sum(pq.read_metadata(f).num_rows for f in data.iterdir() if f.name != "part-02.parquet") + 1
    )


def test_a_folder_of_others_is_left_alone(rows: pa.Table, two: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "data", rows, [np.arange(200)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not evenhand's"):
        made(data, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    out = tmp_path / "out"
    made(data, out)
    for other in ({"attributes": ()}, {"source": "trl"}, {"on_bad": "error"}):
        with pytest.raises(DataError, match=f"of other settings: {next(iter(other))}"):
            made(data, out, replace(READ, **other))
    pq.write_table(rows.slice(0, 150), data / "part-00.parquet")
    with pytest.raises(DataError, match="the file has changed"):
        made(data, out)
    with shards.held(out), pytest.raises(DataError, match="another process"):
        made(data, out)


# ---- the command line


def test_a_large_folder_goes_by_shards_of_itself(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says so, equals that of one file, and nothing is left beside it. Cut off before the report, the shards stay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit_shards, "LARGE", 500)
    monkeypatch.setattr(merging, "batch_ends", lambda counts, at_once: batch_ends(counts, 200))
    table = rows.filter(pa.compute.not_equal(rows["chosen"], rows["rejected"])).drop_columns(["split", "taste"])
    written(tmp_path / "data", table, [*deal(np.random.default_rng(3), len(table), 4), np.arange(3)])
    command = ["audit", "data", "--scores", ",".join(SCORES), "--title", "one", "--jobs", "2"]
    with monkeypatch.context() as full:
        full.setattr(shards, "_create", no_room)
        done = CliRunner().invoke(app, command)
        assert "No space left" in str(done.exception)
        assert "finished shards are kept" in str(done.exception)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "audit.unfinished").iterdir()}
    assert len([name for name in kept if name.endswith(".shard")]) == len([*(tmp_path / "data").iterdir()])
    assert not [name for name in kept if name.startswith(".")]
    assert CliRunner().invoke(app, command).exit_code in (0, 1, 3)
    report = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert "shards, one a file" in report["facts"]["read in"]
    assert not (tmp_path / "audit.unfinished").exists()
    python = evenhand.audit("data", SCORES, title="one")
    assert said(python) == {**report, "command": "", "facts": {n: v for n, v in report["facts"].items() if n not in OF_FILES}}


def no_room(path: Path, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_many_batches_in_memory_and_on_disk(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that is cut into many batches gives the same bits in memory and from shards, and nearly those of one batch."""
    table = rows.drop_columns("split")
    whole = in_one(table, tmp_path / "whole")
    monkeypatch.setattr(merging, "batch_ends", lambda counts, at_once: batch_ends(counts, 150))
    monkeypatch.setattr(audit, "batches_of", lambda data: batches_of(data, 150))
    made(written(tmp_path / "data", table, deal(np.random.default_rng(5), len(table))), tmp_path / "out")
    many = said(in_one(table, tmp_path / "whole"))
    assert said(together(tmp_path / "out")) == many
    assert many["model"]["overall"]["value"] == pytest.approx(whole.findings.model.overall.value, abs=1e-12)
    assert many["model"]["overall"]["low"] == pytest.approx(whole.findings.model.overall.low, abs=1e-9)


def test_partial_and_merge_from_the_shell(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = rows.drop_columns("split")
    for name, part in (("monday", np.arange(400)), ("tuesday", np.arange(400, len(table)))):
        written(tmp_path / name, table, np.array_split(part, 2))
        done = CliRunner().invoke(
            app,
            [
                "audit",
                name,
                "--scores",
                ",".join(SCORES),
                "--group-by",
                "taste",
                "--on-bad",
                "skip",
                "--partial",
                f"s-{name}",
                "--jobs",
                "1",
            ],
        )
        assert done.exit_code == 0, done.exception
        assert "2 shards, one a file: s-" in done.output
    done = CliRunner().invoke(app, ["audit", "--merge", "s-monday", "s-tuesday", "--group-by", "taste", "--title", "one", "--out", "both"])
    assert done.exit_code in (0, 1, 3), done.exception
    report = json.loads((tmp_path / "both" / "report.json").read_text())
    assert report["facts"]["shards"] == "4, put together"
    assert report["exclusions"]["rows_in"] == len(table)
    assert not (tmp_path / "both.unfinished").exists()


@pytest.mark.parametrize(
    ("half", "option", "remedy"),
    [("--partial", ["--tolerance", "0.1"], "with --merge"), ("--partial", ["--repeated"], "with --merge"), ("--partial", ["--cache", "c"], "in one piece"),
     ("--merge", ["--jobs", "2"], "put together by one"), ("--merge", ["--on-bad", "skip"], "say how they were read"), ("--merge", ["--head", "h"], "in one piece"),
     ("--merge", ["--partial", "s"], "shards first")],
)  # fmt: skip
def test_an_option_that_a_half_does_not_follow_is_told(half: str, option: list[str], remedy: str, tmp_path: Path) -> None:
    words = ["--partial", "s", "--scores", "a,b"] if half == "--partial" else ["--merge"]
    done = CliRunner().invoke(app, ["audit", str(tmp_path), *words, *option])
    assert isinstance(done.exception, EvenhandError)
    assert f"Found {option[0]} with {half}" in str(done.exception)
    assert remedy in str(done.exception)


def test_a_file_that_was_broken_and_is_taken_away_is_not_missed(rows: pa.Table, tmp_path: Path) -> None:
    """What the error advises goes: mend the file, remove it, or leave it out."""
    data = written(tmp_path / "in", rows.drop_columns("split").slice(0, 90), np.array_split(np.arange(90), 3))
    strict = replace(READ, on_bad="error")
    (data / "part-03.parquet").write_bytes(b"PAR1 cut")
    (data / "part-04.parquet").symlink_to("nowhere")
    for reading in (strict, READ):  # a file with bad rows, a cut one and one that is nowhere; then without these two
        with pytest.raises(DataError, match=r"part-03.*part-04") if reading is strict else does_not_raise():
            found = made(data, tmp_path / "out", reading)
    assert [*found.left_out] == ["part-03.parquet", "part-04.parquet"]
    for place in (data / "part-03.parquet", data / "part-04.parquet"):
        place.unlink()
    assert not made(data, tmp_path / "out").left_out
    (data / "part-02.parquet").rename(tmp_path / "part-02.parquet")
    assert made(data, tmp_path / "out").others == ["part-02.parquet"]  # its shard is there, and counts
    assert together(tmp_path / "out").document["exclusions"]["rows_in"] == 90
    assert "files left out" not in together(tmp_path / "out").document["facts"]
    with pytest.raises(DataError, match="would lie in DATA"):
        made(data, data / "shards")
    (data / "tuesday").symlink_to(tmp_path)
    with pytest.raises(DataError, match="tuesday is a link to a folder"):
        made(data, tmp_path / "out")


def test_a_folder_of_other_tables(rows: pa.Table, tmp_path: Path) -> None:
    """Logs in JSONL and CSV: one report in whichever form they come."""
    table = rows.drop_columns("split").slice(0, 90)
    (tmp_path / "lines").mkdir()
    (tmp_path / "cells").mkdir()
    for number in (0, 1):
        part = table.slice(45 * number, 45)
        (tmp_path / "lines" / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part.to_pylist()))
        csv.write_csv(part, tmp_path / "cells" / f"{number}.csv")
    found = []
    for name in ("lines", "cells"):
        assert len(made(tmp_path / name, tmp_path / f"s-{name}").shards) == 2
        found.append(said(together(tmp_path / f"s-{name}")))
    assert found[0] == found[1]


def test_a_file_without_the_texts_that_others_have(rows: pa.Table, tmp_path: Path) -> None:
    """In one file each of its rows would be bad; in shards all users would lose their group without a word."""
    table = rows.drop_columns("split").slice(0, 90)
    data = written(tmp_path / "in", table, [np.arange(45)])
    pq.write_table(table.slice(45).rename_columns(["user", "prompt", "better", *table.column_names[3:]]), data / "part-01.parquet")
    made(data, tmp_path / "out")
    with pytest.raises(DataError, match=r"part-01.*it has no 'chosen'"):
        together(tmp_path / "out")

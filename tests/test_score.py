"""Scoring of files: every kind of row gets the model's own rewards, every user his or her own history, and a stopped run goes on."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import forked
from test_cli import inside
from test_serve_reward_model import PROMPTS, TEXTS, model_of
from tiny_models import tiny_bert

import evenhand
from evenhand.core import DataError, EvenhandError
from evenhand.data import scorable
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.projection import FeatureMap
from evenhand.models.linear import Linear
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows import finished_parts

MODEL = model_of(encoder=None)
READS_PROMPTS = model_of(encoder=None, with_prompt=True)
USERS = ("ann", "bob", "cyd")
CANDIDATES = [
    {"user": user, "prompt": prompt, "response": text, "group": "ab"[i % 2], "event": i % 3 == 0}
    for i, (user, prompt) in enumerate((u, p) for u in USERS for p in PROMPTS)
    for text in TEXTS[i : i + 5]
]


def choices() -> list[dict[str, Any]]:
    """Pairs of users "ann" and "bob"; bob has one twice, turned round, and one on which he could not decide."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for user in USERS[:2]:
        for i in range(9):
            chosen, rejected = rng.choice(len(TEXTS), 2, replace=False)
            rows.append({"user": user, "prompt": PROMPTS[i % 2], "chosen": TEXTS[chosen], "rejected": TEXTS[rejected], "tie": False})
    rows.append({**rows[-1], "chosen": rows[-1]["rejected"], "rejected": rows[-1]["chosen"]})
    rows.append({"user": "bob", "prompt": PROMPTS[0], "chosen": TEXTS[0], "rejected": TEXTS[23], "tie": True})
    return rows


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def history_of(user: str, without: Any = lambda row: False) -> list[tuple[str, str, str]]:
    return [(r["prompt"], r["chosen"], r["rejected"]) for r in choices() if r["user"] == user and not r["tie"] and not without(r)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a saved model, its users' choices and candidates."""
    MODEL.save(tmp_path / "model")
    lines(tmp_path / "choices.jsonl", choices())
    lines(tmp_path / "candidates.jsonl", CANDIDATES)
    return tmp_path


def test_every_format_gives_the_model_s_own_rewards_and_ranks(place: Path) -> None:
    wanted = np.array([MODEL.score(history_of(r["user"]), [r["prompt"]], [r["response"]])[0] for r in CANDIDATES])
    assert wanted.std() > 0.05
    rank = [1 + sum(w > wanted[i] for w in wanted[i // 5 * 5 : i // 5 * 5 + 5]) for i in range(len(wanted))]
    table = pa.Table.from_pylist(CANDIDATES)
    pq.write_table(table, place / "c.parquet")
    with pa.OSFile(str(place / "c.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    (place / "c.jsonl.gz").write_bytes(gzip.compress((place / "candidates.jsonl").read_bytes()))
    with (place / "c.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(CANDIDATES[0]))
        writer.writeheader()
        writer.writerows(CANDIDATES)
    files = [place / name for name in ("candidates.jsonl", "c.parquet", "c.arrow", "c.jsonl.gz", "c.csv")]
    for number, data in enumerate([*files, CANDIDATES, table]):
        found = evenhand.score(MODEL, data, place / "choices.jsonl")
        np.testing.assert_allclose(found.rewards[:, 0], wanted, atol=1e-5)
        assert found.rank.tolist() == rank
        assert (len(found), found.users, found.known) == (30, 3, 2)
        for ending in ("jsonl", "csv", "parquet"):
            found.save(out := place / f"scored{number}.{ending}")
            rows = evenhand.score(MODEL, out, reward="again").to_dict()
            assert rows["user"] == [r["user"] for r in CANDIDATES]
            assert np.array_equal(np.array(rows["reward"], np.float32), found.rewards[:, 0])
            assert [int(r) for r in rows["rank"]] == rank
    assert pq.read_schema(place / "scored0.parquet").field("reward").type == pa.float32()


def test_the_best_are_kept_whatever_the_order_of_the_rows(place: Path) -> None:
    order = np.random.default_rng(1).permutation(len(CANDIDATES))
    mixed = [CANDIDATES[i] for i in order]
    whole = evenhand.score(MODEL, CANDIDATES, place / "choices.jsonl").to_dict()
    best = evenhand.score(MODEL, mixed, place / "choices.jsonl", best=2).to_dict()
    wanted = {(u, p, r) for u, p, r, rank in zip(*(whole[c] for c in ("user", "prompt", "response", "rank"))) if rank <= 2}
    assert len(wanted) == 12
    assert {*zip(best["user"], best["prompt"], best["response"])} == wanted
    again = evenhand.score(MODEL, [{**row, "reward": 7} for row in CANDIDATES])  # an older reward stays beside the new one
    for ending in ("csv", "jsonl", "parquet"):
        again.save(place / f"again.{ending}")
        rows = evenhand.score(MODEL, place / f"again.{ending}", reward="r").to_dict()
        assert {float(r) for r in rows["reward_before"]} == {7.0}
        assert np.array_equal(np.array(rows["reward"], np.float32), again.rewards[:, 0])
    twice = evenhand.score(MODEL, [{**CANDIDATES[0], "n": i} for i in range(4)], best=3)  # equal rewards: the first ones
    assert (twice.rank.tolist(), twice.to_dict()["n"]) == ([1, 2, 3, 4], [0, 1, 2])


def test_conversations_get_the_reward_of_their_texts(place: Path) -> None:
    model = READS_PROMPTS
    asked, said = [{"role": "user", "content": PROMPTS[0]}], [{"role": "assistant", "content": TEXTS[3]}]
    wanted = model.score([], [PROMPTS[0]], [TEXTS[3]])[0]
    for row in (
        {"messages": [*asked, *said]},
        {"prompt": asked, "completion": said},
        {"prompt": PROMPTS[0], "completion": TEXTS[3]},
        {"prompt": PROMPTS[0], "response": TEXTS[3]},
    ):
        lines(place / "rows.jsonl", [row, row])
        pq.write_table(pa.Table.from_pylist([row, row]), place / "rows.parquet")
        for file in ("rows.jsonl", "rows.parquet"):
            found = evenhand.score(model, place / file)
            assert found.rewards.tolist() == [[pytest.approx(wanted, abs=1e-6)]] * 2
            assert (found.users, found.known) == (0, 0)
            found.save(place / "out.csv")
            again = evenhand.score(model, place / "out.csv", reward="r")  # messages in a cell are messages
            np.testing.assert_allclose(again.rewards, found.rewards, atol=1e-6)
    pair = {"user": "u", "chosen": [*asked, *said], "rejected": [*asked, {"role": "assistant", "content": TEXTS[4]}]}
    found = evenhand.score(model, [pair, pair])
    np.testing.assert_allclose(found.rewards[0], model.score([], [PROMPTS[0]] * 2, [TEXTS[3], TEXTS[4]]), atol=1e-6)


def test_a_file_is_its_own_history_with_each_pair_left_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a loop that reads every pair's user anew."""
    monkeypatch.setattr("evenhand.workflows.histories.SLICE", 20)  # of pairs: several slices
    found = evenhand.score(MODEL, place / "choices.jsonl", place / "choices.jsonl", leave_own_out=True)
    rows = choices()
    for row, rewards in zip(rows, found.rewards):
        own = {row["chosen"], row["rejected"]}
        history = history_of(row["user"], lambda r, row=row, own=own: r["prompt"] == row["prompt"] and {r["chosen"], r["rejected"]} == own)
        np.testing.assert_allclose(rewards, MODEL.score(history, [row["prompt"]] * 2, [row["chosen"], row["rejected"]]), atol=1e-5)
    assert (found.known, found.left_out) == (2, len(rows) - 1)  # nobody decided the last one, so that it is in no history
    with pytest.warns(UserWarning, match="leave_own_out"):
        evenhand.score(MODEL, choices(), choices())
    asked = [{"user": "ann", "prompt": p, "response": t} for p in PROMPTS for t in TEXTS[:3]]
    of_candidates = evenhand.score(MODEL, asked, place / "choices.jsonl", leave_own_out=True)
    for row, reward in zip(asked, of_candidates.rewards[:, 0]):  # nothing that was chosen on the same prompt
        history = history_of("ann", lambda r, row=row: r["prompt"] == row["prompt"])
        assert reward == pytest.approx(MODEL.score(history, [row["prompt"]], [row["response"]])[0], abs=1e-5)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(place: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(scorable, "AT_ONCE", 4)
    pq.write_table(pa.Table.from_pylist(CANDIDATES), place / "c.parquet")
    command = ("score", "model", "c.parquet", "--history", "choices.jsonl", "--best", "3")
    assert inside(*command, "--out", f"whole.{ending}", cwd=place).returncode == 0
    put, seen = finished_parts.Parts.put, []

    def stops(self: finished_parts.Parts, number: int, made: finished_parts.Part) -> None:
        seen.append(number)
        if number == 3:
            raise KeyboardInterrupt
        put(self, number, made)

    monkeypatch.setattr(finished_parts.Parts, "put", stops)
    done = inside(*command, "--out", f"again.{ending}", cwd=place)
    assert (done.returncode, seen) == (130, [0, 1, 2, 3])
    assert not (place / f"again.{ending}").exists()
    other = inside(*command[:3], "--out", f"again.{ending}", cwd=place)
    assert other.returncode == 2
    assert "it holds parts of other settings" in other.stderr
    torn = place / f"again.{ending}.unfinished" / "part-000001.safetensors"
    torn.write_bytes(torn.read_bytes()[:-3])
    seen.clear()
    monkeypatch.setattr(finished_parts.Parts, "put", lambda self, number, made: (seen.append(number), put(self, number, made)))
    assert inside(*command, "--out", f"again.{ending}", cwd=place).returncode == 0
    assert seen == [1, *range(3, 8)]
    assert (place / f"again.{ending}").read_bytes() == (place / f"whole.{ending}").read_bytes()
    assert not (place / f"again.{ending}.unfinished").exists()


def test_what_somebody_else_put_among_the_parts_stays(tmp_path: Path) -> None:
    folder = tmp_path / "out.csv.unfinished"
    with finished_parts.parts(folder, {"model": "m"}) as parts:
        parts.put(0, finished_parts.Part(*(np.zeros(1) for _ in range(7))))
    (folder / "part-mine.safetensors").write_bytes(b"mine")
    finished_parts.clear(folder)
    assert [path.name for path in folder.iterdir()] == ["part-mine.safetensors"]


def test_a_scored_file_is_audited_and_followed_into_policies_in_one_command(place: Path) -> None:
    pairs = [
        {"user": f"u{u}", "prompt": f"prompt {i}", "chosen": TEXTS[(u + i) % 24], "rejected": TEXTS[(u + 3 * i + 1) % 24], "country": "ab"[u % 2]}
        for u in range(24) for i in range(6) if (u + i) % 24 != (u + 3 * i + 1) % 24
    ]  # fmt: skip
    lines(place / "pairs.jsonl", pairs)
    for out in ("scores.csv", "scores.jsonl", "scores.parquet"):
        done = inside("score", "model", "pairs.jsonl", "--history", "choices.jsonl", "--out", out, cwd=place)
        assert (done.returncode, f"{len(pairs)} pairs of 24 users scored, 0 of them with a history: {out}" in done.stdout) == (0, True)
        done = inside(
            "audit", out, "--scores", "reward_chosen,reward_rejected", "--group-by", "country", "--out", f"audit-{out}", cwd=place
        )
        assert done.returncode in (0, 1, 3), done.stderr
        found = json.loads((place / f"audit-{out}" / "report.json").read_text())["model"]["overall"]
        rewards = evenhand.score(MODEL, pairs).rewards
        assert found["n_pairs"] == len(pairs)
        margins = rewards[:, 0] - rewards[:, 1]
        users = np.array([p["user"] for p in pairs])
        assert found["value"] == pytest.approx(np.mean([(margins[users == u] > 0).mean() for u in np.unique(users)]), abs=0.02)
    asked = [
        {"prompt": f"{g}{i}", "response": t, "group": g, "event": j % 2}
        for g in "ab"
        for i in range(12)
        for j, t in enumerate(TEXTS[i : i + 3])
    ]
    lines(place / "asked.jsonl", asked)
    assert inside("score", "model", "asked.jsonl", "--out", "asked.csv", cwd=place).returncode == 0
    done = inside("transfer", "asked.csv", "--betas", "1", "--ns", "2", cwd=place)
    assert done.returncode in (0, 1, 3), done.stderr


@pytest.mark.parametrize(
    ("rows", "asked", "said"),
    [
        ([{"prompt": "p", "answer": "r"}], (), "--column response=answer"),
        ([{"response": "r"}], (), "there is no column 'prompt'"),
        ([{"prompt": "p", "colour": 3}], (), "columns prompt and response (or completion) of candidates"),
        ([{"annotator_id": "u", "prompt": "p", "response": "r"}], (), "--column user=annotator_id"),
        ([{"prompt": "p", "response": "r"}], ("--history", "choices.jsonl"), "there is no column 'user'"),
        ([{"prompt": "p", "response": "r", "reward": 1, "reward_before": 2}], (), "there are columns 'reward' and 'reward_before' already"),
        (
            [{"prompt": "p", "response": "r"}, {"prompt": "p", "response": ""}],
            (),
            "rows.jsonl, line 2, column 'response': 'response' is empty",
        ),
        ([{"prompt": "p", "response": "r"}, {"prompt": None, "response": "r"}], (), "line 2, column 'prompt': 'prompt' is missing"),
        ([{"prompt": "p", "chosen": "a", "rejected": "b"}], ("--best", "2"), "best for pairs"),
        (
            [{"prompt": "p", "response": "r"}],
            ("--out", "rewards.xlsx"),
            "expected: .jsonl, .csv, .parquet|Expected: .jsonl, .csv, .parquet",
        ),
        ([{"prompt": "p", "response": "r"}], ("--out", "mine.csv"), "would be lost"),
        ([{"prompt": "p", "response": "r"}], ("--leave-own-out",), "leave_own_out without a history"),
        (
            [{"prompt": "p", "response": "r", "x": 1}, {"prompt": "p", "response": "r", "x": "a"}],
            ("--out", "o.parquet"),
            "no type in common",
        ),
        ([{"prompt": "p", "response": "r"}], ("--encoder-at", "."), "leave --encoder-at"),
        ([{"prompt": "p", "response": "r"}], ("--reward", " "), "no name for the column of rewards"),
        ([{"user": "u", "prompt": "p", "response": "r"}], ("--history", "theirs.jsonl"), "--history-column user=annotator_id"),
    ],
)
def test_what_cannot_be_scored_is_told(rows: list[dict[str, Any]], asked: tuple[str, ...], said: str, place: Path) -> None:
    (place / "mine.csv").write_text("mine")
    lines(place / "theirs.jsonl", [{"annotator_id": "u", "prompt": "p", "chosen": "a", "rejected": "b"}])
    lines(place / "rows.jsonl", rows)
    done = inside("score", "model", "rows.jsonl", *asked, cwd=place)
    assert done.returncode == 2, done.stdout + done.stderr
    assert any(part in done.stderr for part in said.split("|")), done.stderr
    assert (place / "mine.csv").read_text() == "mine"


def test_after_a_bad_row_is_mended_the_same_command_goes_through(place: Path) -> None:
    lines(place / "bad.jsonl", [{"prompt": "p", "response": ""}])
    assert inside("score", "model", "bad.jsonl", cwd=place).returncode == 2
    lines(place / "bad.jsonl", [{"prompt": "p", "response": "r"}])
    done = inside("score", "model", "bad.jsonl", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not (place / "scores.csv.unfinished").exists()


def test_a_row_mended_after_finished_parts_costs_its_own_batch(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorable, "AT_ONCE", 4)
    bad = [dict(row) for row in CANDIDATES]
    bad[9]["response"] = ""  # of the third batch
    pq.write_table(pa.Table.from_pylist(bad), place / "bad.parquet")
    command = ("score", "model", "bad.parquet", "--history", "choices.jsonl")
    done = inside(*command, cwd=place)
    assert (done.returncode, "10" in done.stderr and "is empty" in done.stderr) == (2, True)
    pq.write_table(pa.Table.from_pylist(CANDIDATES), place / "bad.parquet")
    put, seen = finished_parts.Parts.put, []
    monkeypatch.setattr(finished_parts.Parts, "put", lambda self, number, made: (seen.append(number), put(self, number, made)))
    assert inside(*command, cwd=place).returncode == 0
    assert seen == list(range(2, 8)), "the first two are there"
    assert inside(*command, "--out", "whole.csv", cwd=place).returncode == 0
    assert (place / "scores.csv").read_bytes() == (place / "whole.csv").read_bytes()
    pq.write_table(pa.Table.from_pylist(bad), place / "bad.parquet")
    assert inside(*command, "--out", "again.csv", cwd=place).returncode == 2
    pq.write_table(pa.Table.from_pylist(CANDIDATES[::-1]), place / "bad.parquet")
    assert "parts of other data" in inside(*command, "--out", "again.csv", cwd=place).stderr


def killed(command: tuple[str, ...], place: Path, at: int) -> bool:
    """The command in a process of its own, which SIGKILL ends at its step number `at` in the folder (a file opened to be written, moved or taken
    away); False where it ended before.
    """
    left = [at]

    def work() -> None:

        def step(event: str, given: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in ("os.rename", "os.remove", "os.rmdir")) and "again" in str(given[0]):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(step)
        assert inside(*command, cwd=place).returncode == 0

    ended = forked(work)
    assert ended in (0, -signal.SIGKILL)
    return ended < 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are ended by signals")
def test_a_process_that_is_killed_at_any_step_goes_on_and_ends_with_the_same_bytes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorable, "AT_ONCE", 6)
    pq.write_table(pa.Table.from_pylist(CANDIDATES), place / "c.parquet")
    command = ("score", "model", "c.parquet", "--history", "choices.jsonl")
    assert inside(*command, "--out", "whole.csv", cwd=place).returncode == 0
    kills = [killed((*command, "--out", "again.csv"), place, at) for at in (1, 2, 3, 7, 5, 4, 9, 6, 30)]
    assert sum(kills) >= 7
    assert inside(*command, "--out", "again.csv", cwd=place).returncode == 0
    assert (place / "again.csv").read_bytes() == (place / "whole.csv").read_bytes()
    assert [p.name for p in place.rglob("*again*")] == ["again.csv"], "nothing is left beside it"


def test_an_option_that_would_do_nothing_is_none(place: Path) -> None:
    """A history has no weights: strength weighs pairs of an audit and of a fit."""
    done = inside("score", "model", "choices.jsonl", "--weigh-strength", cwd=place)
    assert (done.returncode, "No such option" in done.stderr) == (2, True)


def test_a_model_in_the_wrong_place_is_told_where_it_belongs(place: Path) -> None:
    (place / "fitted").mkdir()
    (place / "fitted" / "model").symlink_to(place / "model")
    lines(place / "rows.jsonl", [{"prompt": "p", "response": "r"}])
    assert "To do: name fitted/model." in inside("score", "fitted", "rows.jsonl", cwd=place).stderr
    assert "name the model first, then the data" in inside("score", "rows.jsonl", "model", cwd=place).stderr


def test_bad_rows_are_left_out_and_counted(place: Path) -> None:
    rows = [*CANDIDATES[:2], {**CANDIDATES[2], "response": 7}, {**CANDIDATES[3], "user": None}, CANDIDATES[4]]
    (place / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + "{\n")
    found = evenhand.score(MODEL, place / "rows.jsonl", on_bad="skip")
    assert (found.skipped, len(found)) == (3, 3)
    assert found.to_dict()["response"] == [CANDIDATES[i]["response"] for i in (0, 1, 4)]
    with pytest.raises(DataError, match="line 3"):
        evenhand.score(MODEL, place / "rows.jsonl")


def test_an_encoder_that_was_moved_is_found_where_one_says(tmp_path: Path) -> None:
    place = tmp_path
    encoder = BackboneEncoder(Backbone(str(tiny_bert(place / "bert")), rank=2))
    RewardModel(encoder, FeatureMap.fit(TEXTS, encoder.encode(TEXTS), dim=8), Linear(), Linear().build(8, 3)).save(place / "model")
    shutil.move(place / "bert", place / "elsewhere")
    with pytest.raises(EvenhandError, match="--encoder-at FOLDER"):
        RewardModel.load(place / "model")
    lines(place / "rows.jsonl", [{"prompt": "p", "response": text} for text in TEXTS[:3]])
    done = inside("score", "model", "rows.jsonl", "--encoder-at", "elsewhere", cwd=place)
    assert done.returncode == 0, done.stderr
    with (place / "scores.csv").open() as stream:
        found = [float(row["reward"]) for row in csv.DictReader(stream)]
    np.testing.assert_allclose(
        found, RewardModel.load(place / "model", encoder_at=place / "elsewhere").score([], ["p"] * 3, TEXTS[:3]), atol=1e-6
    )
    tiny_bert(place / "other", seed=1)
    with pytest.raises(DataError, match="fingerprint"):
        RewardModel.load(place / "model", encoder_at=place / "other")

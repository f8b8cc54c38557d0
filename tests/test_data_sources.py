"""Each source on made-up rows of its schema, with known pairs; and on the published files where they lie beside the checkout."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenhand.core import DataError, PreferenceData
from evenhand.data import pairing
from evenhand.data.conversations import SAME_TEXT, UNANSWERED
from evenhand.data.load import load
from evenhand.data.rows import batch_of
from evenhand.data.side_tables import age_group
from evenhand.data.source import every, named
from evenhand.data.sources import crehate, multipico, personalllm, polis, prism
from evenhand.data.splits import TEST, TRAIN, VALID, split_pairs

SHARED = Path(__file__).parents[2] / "shared" / "data"
NAMES = ["bbq", "choices", "crehate", "dsp", "multipico", "personalllm", "polis", "prism", "ratings", "table", "trl", "votes"]


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def triples(data: PreferenceData) -> list[tuple[str, str, str]]:
    """(user, chosen, rejected) of every pair, sorted."""
    return sorted((data.users[u], data.texts[c], data.texts[r]) for u, c, r in zip(data.user, data.chosen, data.rejected))


def prompts(data: PreferenceData) -> set[str]:
    return {data.texts[p] for p in data.prompt}


def folder_of(tmp_path: Path, main: str, rows: Sequence[Mapping[str, Any]], sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """A source's folder, as CSV."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, records in {main: rows, **sides}.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    return folder


def test_sources_are_the_files_of_the_folder() -> None:
    assert sorted(every()) == NAMES
    assert all(name == source.name and source.summary and source.sample for name, source in every().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_recognised_by_its_own_source_alone(name: str) -> None:
    first = every()[name].sample[0]
    claims = [n for n, s in every().items() if s.recognises(frozenset(first), first)]
    assert claims == [name]


@pytest.mark.parametrize(("comment", "source"), [("7", "polis"), ("More trams.", "votes")])
def test_a_log_of_votes_is_read_by_what_its_comments_are(comment: str, source: str) -> None:
    first = {"voter-id": "1", "comment-id": comment, "vote": "1"}
    assert [name for name, s in every().items() if s.recognises(frozenset(first), first)] == [source]


def test_a_source_of_a_users_file_is_called_by_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "mine.py").write_text("def rows(batches, sides, seed):\n    return batches\n")
    assert named(f"{folder}/mine.py:rows").name == "rows"


@pytest.mark.parametrize("name", NAMES)
def test_parse_is_pure(name: str) -> None:
    """The same rows and seed give the same batches, and the rows given stay as they were."""
    source = every()[name]
    folders = {"polis": polis, "crehate": crehate, "multipico": multipico, "prism": prism}
    sides = folders[name].SAMPLE_SIDES if name in folders else {}
    before = json.dumps(source.sample)
    batch = batch_of("sample", list(enumerate(source.sample, 1)))
    first, second = (list(source.parse([batch], sides, 3)) for _ in range(2))
    assert [b.columns for b in first] == [b.columns for b in second]
    assert json.dumps(source.sample) == before
    wanted = {"user", "prompt", "response", "score"} if source.pairing else {"user", "prompt", "chosen", "rejected"}
    assert wanted - {"prompt"} <= set(first[0].columns)


# ---- TRL


def chat(*turns: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(turns)]


def test_trl_chat_with_an_implicit_prompt(tmp_path: Path) -> None:
    rows = [{"user": "u", "chosen": chat("hi", "hello", "who?", "me"), "rejected": chat("hi", "hello", "who?", "you")}]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert (triples(data), prompts(data)) == ([("u", "me", "you")], {"user: hi\n\nassistant: hello\n\nuser: who?"})


def test_trl_chat_with_an_explicit_prompt(tmp_path: Path) -> None:
    rows = [{"user": "u", "prompt": chat("hi"), "chosen": chat("", "a")[1:], "rejected": chat("", "b")[1:]}]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert (triples(data), prompts(data)) == ([("u", "a", "b")], {"hi"})


def test_trl_answers_of_several_turns_and_parts(tmp_path: Path) -> None:
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    rows = [{"user": "u", "prompt": "p", "chosen": parts, "rejected": chat("x", "y", "z", "w")}]
    said = "user: x\n\nassistant: y\n\nuser: z\n\nassistant: w"
    assert triples(load(jsonl(tmp_path / "a.jsonl", rows))) == [("u", "ab", said)]


def test_a_conversation_that_ends_with_the_users_turn_is_set_aside(tmp_path: Path) -> None:
    """It has no response; the others are read."""
    good = {"user": "u", "chosen": chat("x", "y"), "rejected": chat("x", "z")}
    system = [*chat("x", "y"), {"role": "System", "content": "Be brief."}]
    asks = "\n\nHuman: hi\n\nAssistant: a\n\nHuman: and?"
    rows = [good, good | {"chosen": chat("x", "y", "w")}, good | {"rejected": system}]
    rows.append({"user": "u", "chosen": asks, "rejected": "\n\nHuman: hi\n\nAssistant: b"})
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert triples(data) == [("u", "y", "z")]
    assert data.exclusions.reasons == {UNANSWERED.reason: 3}


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("Q: hi\nA: yes", "Q: hi\nA: no", ("Q: hi\nA:", "yes", "no")),
        ("Q: A: yes", "Q: A: yes sir", ("Q: A:", "yes", "yes sir")),
        ("Q: same word", "Q: same wood", ("Q: same", "word", "wood")),
        ("yes", "no", ("", "yes", "no")),
        ("one ", "one two", ("", "one ", "one two")),
    ],
)
def test_trl_texts_share_a_prompt_up_to_a_space(tmp_path: Path, chosen: str, rejected: str, expected: tuple[str, str, str]) -> None:
    data = load(jsonl(tmp_path / "a.jsonl", [{"user": "u", "chosen": chosen, "rejected": rejected}]))
    assert (prompts(data).pop(), *triples(data)[0][1:]) == expected


def test_trl_from_parquet(tmp_path: Path) -> None:
    rows = [
        {"user": "u", "chosen": chat("hi", "a"), "rejected": chat("hi", "b")},
        {"user": "v", "chosen": chat("hi", "b"), "rejected": chat("hi", "a")},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet")
    assert (triples(data), prompts(data)) == ([("u", "a", "b"), ("v", "b", "a")], {"hi"})


def test_trl_is_told_from_renamed_columns(tmp_path: Path) -> None:
    rows = [{"who": "u", "question": "hi", "win": chat("", "a")[1:], "lose": chat("", "b")[1:]}]
    names = {"user": "who", "prompt": "question", "chosen": "win", "rejected": "lose"}
    data = load(jsonl(tmp_path / "a.jsonl", rows), columns=names)
    assert (triples(data), data.source) == ([("u", "a", "b")], "a.jsonl (JSONL, trl)")


@pytest.mark.parametrize("bad", [[], [1], [{"role": "user"}], [{"role": 1, "content": "x"}], {"role": "user", "content": "x"}, 7, None])
def test_trl_broken_messages_are_bad_rows(tmp_path: Path, bad: Any) -> None:
    rows = [
        {"user": "u", "chosen": chat("hi", "a"), "rejected": chat("hi", "b")},
        {"user": "u", "chosen": bad, "rejected": chat("hi", "b")},
    ]
    path = jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match="line 2"):
        load(path)
    data = load(path, on_bad="skip")
    assert (len(data), data.exclusions.rows_in) == (1, 2)


def test_trl_identical_chats_are_bad_rows(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"user": "u", "chosen": chat("hi", "a"), "rejected": chat("hi", "a")}])
    with pytest.raises(DataError, match="equals"):
        load(path)


def test_responses_that_differ_in_a_tool_call_alone_are_set_aside(tmp_path: Path) -> None:
    calling = [*chat("hi"), {"role": "assistant", "content": "Let me look.", "tool_calls": [{"id": "1", "type": "function"}]}]
    rows = [
        {"user": "u", "chosen": calling, "rejected": chat("hi", "Let me look.")},
        {"user": "u", "chosen": calling, "rejected": chat("hi", "no")},
    ]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert triples(data) == [("u", "Let me look.", "no")]
    assert data.exclusions.reasons == {SAME_TEXT.reason: 1}


# ---- ratings and votes


def test_ratings_may_have_an_empty_prompt(tmp_path: Path) -> None:
    rows = [{"user": "u", "prompt": "", "response": r, "score": s} for r, s in (("a", 1), ("b", 2))]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert (triples(data), prompts(data)) == ([("u", "b", "a")], {""})


def test_ratings_become_all_pairs_inside_a_user_and_prompt(tmp_path: Path) -> None:
    scores = [
        ("u", "p", "a", 3),
        ("u", "p", "b", 1),
        ("u", "q", "b", 9),
        ("u", "p", "c", 3),
        ("v", "p", "a", 1),
        ("v", "p", "b", 2),
        ("v", "p", "b", 5),
    ]
    rows = [dict(zip(("user", "prompt", "response", "score"), s)) | {"model": i} for i, s in enumerate(scores)]
    data = load(jsonl(tmp_path / "a.jsonl", rows), numbers=["model"])
    assert triples(data) == [("u", "a", "b"), ("u", "a", "c"), ("u", "c", "b"), ("v", "b", "a")]
    assert data.tie is not None
    ties = [(data.texts[c], data.texts[r]) for c, r, t in zip(data.chosen, data.rejected, data.tie) if t]
    assert ties == [("a", "c")]
    assert data.exclusions.rows_in == 7
    assert data.exclusions.reasons == {"the only rating of this user and prompt": 1, pairing.REPEATED: 1}
    scored = {
        (data.users[u], data.texts[c], data.texts[r]): (x, y)
        for u, c, r, x, y in zip(data.user, data.chosen, data.rejected, *data.numbers.values())
    }
    assert scored["v", "b", "a"] == (5, 4)
    assert list(data.numbers) == ["model_chosen", "model_rejected"]


def test_many_ratings_are_thinned_evenly_and_the_same_by_seed(tmp_path: Path) -> None:
    rows = [{"user": f"u{u}", "prompt": "p", "response": f"r{i}", "score": i} for u in range(3) for i in range(20)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    data, again, other = load(path), load(path), load(path, seed=1)
    assert np.bincount(data.user).tolist() == [pairing.PAIRS_PER_USER] * 3  # one prompt has all of a user's room
    assert len(set(triples(data))) == len(data)
    assert all(int(c[1:]) > int(r[1:]) for _, c, r in triples(data))
    uses = Counter(zip(np.tile(data.user, 2).tolist(), np.concatenate([data.chosen, data.rejected]).tolist()))
    assert len(uses) == 60  # every response of every user is in a pair
    assert set(uses.values()) == {10}
    assert triples(data) == triples(again) != triples(other)
    five = load(jsonl(path, [r | {"prompt": f"p{p}"} for r in rows for p in range(5)]))  # a fifth of the room would be fewer than 28
    assert set(Counter(zip(five.user.tolist(), five.prompt.tolist())).values()) == {pairing.PAIRS_PER_PROMPT}


def test_ties_take_nothing_of_the_room_of_strict_pairs(tmp_path: Path) -> None:
    """38 responses of score 1 and 2 of score 2: 76 strict pairs under a room of 100, among 704 ties."""
    rows = [{"user": "u", "prompt": "p", "response": f"r{i}", "score": 2 if i < 2 else 1} for i in range(40)]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert data.tie is not None
    assert (~data.tie).sum() == 2 * 38
    assert data.tie.sum() == pairing.PAIRS_PER_USER
    assert len(set(triples(data))) == len(data)
    assert {data.texts[c] for c in data.chosen[~data.tie]} == {"r0", "r1"}


def test_votes_are_agree_over_disagree_under_one_prompt(tmp_path: Path) -> None:
    votes = [
        ("u", "t1", "a", 1),
        ("u", "t1", "b", -1),
        ("u", "t1", "c", 0),
        ("u", "t2", "d", 1),
        ("u", "t2", "e", 1),
        ("u", "t2", "f", -1),
        ("v", "t1", "a", 1),
    ]
    rows = [dict(zip(("user", "prompt", "item", "vote"), v)) | {"g": v[0]} for v in votes]
    data = load(jsonl(tmp_path / "a.jsonl", rows), attributes=["g"])
    assert triples(data) == [("u", "a", "b"), ("u", "d", "f"), ("u", "e", "f")]
    assert data.users == ["u"]
    passed, lone = "a vote that neither agrees nor disagrees", "no opposite vote of this user under this prompt"
    assert data.exclusions.reasons == {passed: 1, lone: 1}
    assert data.exclusions.by_group == {"g=u": {passed: 1}, "g=v": {lone: 1}}


@pytest.mark.parametrize("vote", ["2", '"perhaps"', "null", "NaN", "0.5"])
def test_a_vote_is_one_zero_or_minus_one(tmp_path: Path, vote: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"user": "u", "item": "a", "vote": 1}\n{"user": "u", "item": "b", "vote": -1}\n{"user": "u", "item": "c", "vote": ' + vote + "}\n"
    )
    with pytest.raises(DataError, match="line 3"):
        load(path)
    data = load(path, on_bad="skip")
    assert (len(data), data.exclusions.rows_in, data.exclusions.rows_used) == (1, 3, 2)


def test_votes_of_one_user_are_capped_and_balanced(tmp_path: Path) -> None:
    rows = [{"user": "u", "item": f"{side}{i}", "vote": vote} for side, vote, n in (("a", 1, 30), ("d", -1, 12)) for i in range(n)]
    rows += [
        {"user": "v", "prompt": p, "item": f"{p}{side}{i}", "vote": v}
        for p in "xyz"
        for side, v in (("a", 1), ("d", -1))
        for i in range(20)
    ]
    path = jsonl(tmp_path / "a.jsonl", [{"prompt": "t"} | r for r in rows])
    data = load(path)
    assert np.bincount(data.user).tolist() == [pairing.PAIRS_PER_USER] * 2
    assert len(set(triples(data))) == len(data)
    agreed = Counter(c for u, c, _ in triples(data) if u == "u")
    disagreed = Counter(r for u, _, r in triples(data) if u == "u")
    assert (len(agreed), max(agreed.values()) - min(agreed.values())) == (30, 1)
    assert (len(disagreed), max(disagreed.values()) - min(disagreed.values())) == (12, 1)
    by_prompt = Counter(c[0] for u, c, _ in triples(data) if u == "v")
    assert sorted(by_prompt.values()) == [33, 33, 34]
    assert triples(load(path)) == triples(data) != triples(load(path, seed=5))


def test_judgements_of_the_same_pairs_whatever_the_order(tmp_path: Path) -> None:
    """Few judgements are not drawn: every pair is there, and shuffling the file changes nothing but the order."""
    rng = np.random.default_rng(0)
    rows = [
        {"user": f"u{u}", "prompt": f"p{p}", "response": f"r{r}", "score": int(rng.integers(5))}
        for u in range(6)
        for p in range(4)
        for r in range(5)
    ]
    straight = load(jsonl(tmp_path / "a.jsonl", rows))
    shuffled = load(jsonl(tmp_path / "b.jsonl", [rows[i] for i in rng.permutation(len(rows))]))
    assert straight.tie is not None
    assert shuffled.tie is not None
    assert len(straight) == 6 * 4 * 10
    strict = [[t for t, tie in zip(zip(d.user, d.chosen, d.rejected), d.tie) if not tie] for d in (straight, shuffled)]
    assert len(strict[0]) == len(strict[1])
    assert straight.tie.sum() == shuffled.tie.sum() > 0


# ---- published schemas


def test_dsp_pairs_and_what_is_set_aside(tmp_path: Path) -> None:
    row = {"query": "q", "responses": {"academy": "A", "business": "B", "entertainment": "E", "literature": "A", "normal": ""}}
    data = load(jsonl(tmp_path / "a.jsonl", [row, {"query": "r", "responses": {"academy": "A"}}]), on_bad="skip")
    expected = [("academy", "A", "B"), ("academy", "A", "E"), ("business", "B", "A"), ("business", "B", "A"), ("business", "B", "E")]
    assert triples(data)[:5] == expected
    assert data.exclusions.rows_in == 17
    assert data.exclusions.reasons == {"a response is empty": 4, "two domains gave the same response": 2, "'responses' lacks a domain": 1}
    with pytest.raises(DataError, match=r"a\.jsonl, line 2.*lacks a domain"):
        load(tmp_path / "a.jsonl")


def test_polis_folder(tmp_path: Path) -> None:
    more = [{"conversation": "bridge", "participant": "1", "comment_id": "9", "vote": "1"}]
    data = load(folder_of(tmp_path, "votes", [*polis.SAMPLE, *more], polis.SAMPLE_SIDES))
    walkers, cars = (r["comment_body"] for r in polis.SAMPLE_SIDES["comments"])
    assert triples(data) == [("bridge/0", walkers, cars), ("bridge/1", cars, walkers)]
    assert prompts(data) == {"What should become of the bridge?"}
    assert dict(data.attributes) == {"conversation": ["bridge", "bridge"], "group_id": ["0", "1"]}
    unknown = "the statement's text is unknown"
    assert data.exclusions.reasons == {unknown: 1}
    assert data.exclusions.by_group == {"conversation=bridge": {unknown: 1}, "group_id=1": {unknown: 1}}
    (tmp_path / "folder" / "comments.csv").unlink()
    with pytest.raises(DataError):
        load(tmp_path / "folder")
    with pytest.raises(DataError, match="folder"):
        load(tmp_path / "folder" / "votes.csv")


def test_crehate_folder(tmp_path: Path) -> None:
    data = load(folder_of(tmp_path, "annotations", crehate.SAMPLE, crehate.SAMPLE_SIDES))
    assert triples(data) == [("1", "Lovely weather.", "I cannot stand those fans."), ("2", "See you there.", "Lovely weather.")]
    assert (data.attributes["nationality"], data.attributes["age"]) == (["Singapore", "Australia"], ["33.0", ""])
    assert data.attributes["age_group"] == ["25 to 34", ""]
    assert data.exclusions.reasons == {"a vote that neither agrees nor disagrees": 1}


def test_a_crehate_annotator_of_whom_nothing_is_known(tmp_path: Path) -> None:
    more = [{"ID": f"P-{i}", "annotator_id": "3", "annotation": i} for i in "01"]
    data = load(folder_of(tmp_path, "annotations", [*crehate.SAMPLE, *more], crehate.SAMPLE_SIDES))
    assert (data.users, data.attributes["nationality"]) == (["1", "2", "3"], ["Singapore", "Australia", ""])
    (tmp_path / "folder" / "annotations.csv").write_text("ID,annotator_id,annotation\nP-0,1,maybe\n")
    with pytest.raises(DataError, match=r"annotations\.csv, line 2"):
        load(tmp_path / "folder")


def test_multipico_folder(tmp_path: Path) -> None:
    """Ironic over not ironic inside a rater; the text is the reply and its post; what was withdrawn is missing."""
    data = load(folder_of(tmp_path, "annotations", multipico.SAMPLE, multipico.SAMPLE_SIDES))
    late = "reply: What a surprise.\n\nto the post: The train is late again."
    museum = "reply: Behind the town hall.\n\nto the post: Where is the museum?"
    rain = "reply: Heerlijk, weer een mooie dag.\n\nto the post: Het regent."
    assert triples(data) == [("0", late, museum), ("1", museum, late), ("2", rain, "reply: Half drie.\n\nto the post: Hoe laat is het?")]
    assert prompts(data) == {multipico.PROMPT}
    about = {name: data.attributes[name] for name in ("language", "age", "age_group", "nationality", "student_status")}
    assert about == {
        "language": ["en", "en", "nl"],
        "age": ["33.0", "", ""],
        "age_group": ["25 to 34", "", ""],
        "nationality": ["Ireland", "India", ""],
        "student_status": ["", "Yes", ""],
    }
    assert data.exclusions.rows_in == data.exclusions.rows_used == 6


def test_multipico_without_annotators_and_with_other_languages_left_out(tmp_path: Path) -> None:
    """How to work on one language: items of that language alone; the others' judgements are excluded and counted."""
    english = [r for r in multipico.SAMPLE_SIDES["items"] if r["lang"] == "en"]
    data = load(folder_of(tmp_path, "annotations", multipico.SAMPLE, {"items": english}))
    assert data.users == ["0", "1"]
    assert (data.attributes["language"], data.attributes["nationality"]) == (["en", "en"], ["", ""])
    assert data.exclusions.reasons == {"the reply's text is unknown": 2}


def test_multipico_defects_of_a_judgement(tmp_path: Path) -> None:
    """Unknown items and empty replies are set aside, a second judgement counts as repeated, a bad label stops or is counted."""
    row = multipico.SAMPLE[0]
    items = [*multipico.SAMPLE_SIDES["items"], {"item_id": "i-4", "lang": "en", "post": "Well?", "reply": " "}]
    more = [row | {"item_id": "i-4"}, row | {"item_id": "i-9"}, row | {"ironic": "0"}, row | {"ironic": "2"}, row | {"annotator_id": ""}]
    path = folder_of(tmp_path, "annotations", [*multipico.SAMPLE, *more], {**multipico.SAMPLE_SIDES, "items": items})
    with pytest.raises(DataError, match=r"annotations\.csv, line 11, column 'ironic': 'ironic' is neither 0 nor 1"):
        load(path)
    data = load(path, on_bad="skip")
    counted = {"the reply's text is unknown": 2, pairing.REPEATED: 1, "'ironic' is neither 0 nor 1": 1, "'user' is empty": 1}
    assert data.exclusions.reasons == counted
    assert data.exclusions.by_group["nationality=Ireland"] == {k: v for k, v in counted.items() if k != "'user' is empty"}
    assert len(data) == 3


def test_a_rater_of_two_languages_is_an_error(tmp_path: Path) -> None:
    """Pairs across languages would compare what nobody compared."""
    rows = [*multipico.SAMPLE, {"item_id": "i-2", "annotator_id": "0", "ironic": "0"}]
    with pytest.raises(DataError, match="attribute 'language' contradicts"):
        load(folder_of(tmp_path, "annotations", rows, multipico.SAMPLE_SIDES))


@pytest.mark.parametrize(("source", "side"), [(crehate, "posts"), (crehate, "annotators"), (multipico, "items"), (multipico, "annotators")])
def test_defects_of_the_tables_beside_the_judgements(tmp_path: Path, source: Any, side: str) -> None:
    """A record twice counts once; two records of one id, no id, no column of ids and no file are errors that name the table."""
    records = source.SAMPLE_SIDES[side]
    key, *_, last = records[0]  # names of columns

    def loaded(case: str, table: Sequence[Mapping[str, Any]]) -> PreferenceData:
        (tmp_path / case).mkdir()
        return load(folder_of(tmp_path / case, "annotations", source.SAMPLE, {**source.SAMPLE_SIDES, side: table}))

    assert len(loaded("twice", [*records, records[0]])) == len(loaded("once", records))
    with pytest.raises(DataError, match=f"{side}: two different records of '{key}'"):
        loaded("differ", [*records, records[0] | {last: "other"}])
    with pytest.raises(DataError, match=f"{side}: record {len(records) + 1} has no '{key}'"):
        loaded("nameless", [*records, records[0] | {key: ""}])
    with pytest.raises(DataError, match=f"{side}: there is no column '{key}'"):
        loaded("renamed", [{"number" if k == key else k: v for k, v in r.items()} for r in records])


@pytest.mark.parametrize(("source", "side"), [(crehate, "posts"), (multipico, "items")])
def test_a_folder_without_the_texts_is_an_error(tmp_path: Path, source: Any, side: str) -> None:
    folder = folder_of(tmp_path, "annotations", source.SAMPLE, source.SAMPLE_SIDES)
    (folder / f"{side}.csv").unlink()
    with pytest.raises(DataError):
        load(folder)
    with pytest.raises(DataError, match=f"a folder with the files annotations, {side}"):
        load(folder / "annotations.csv")


@pytest.mark.parametrize(
    ("age", "group"),
    [("24.9", "under 25"), ("25", "25 to 34"), ("44.0", "35 to 44"), ("45", "45 or over"), ("0", ""), ("nan", ""), ("x", ""), ("", "")],
)
def test_ages_in_groups(age: str, group: str) -> None:
    assert age_group(age) == group


def test_prism_conversations_with_context_and_survey(tmp_path: Path) -> None:
    folder = tmp_path / "prism"
    folder.mkdir()
    jsonl(folder / "conversations.jsonl", prism.SAMPLE)
    jsonl(folder / "survey.jsonl", prism.SAMPLE_SIDES["survey"])
    data = load(folder)
    assert ("user0", "Many think so, many do not.", "No.") in triples(data)
    assert ("user0", "The case is much the same.", "Crabs seem to feel pain.") in triples(data)
    assert len(data) == 4  # three pairs of the first turn, one a tie; one of the second
    assert data.tie is not None
    assert data.tie.sum() == 1
    context = "user: Is it wrong to eat fish?\n\nassistant: Many think so, many do not.\n\nuser: And crabs?"
    assert prompts(data) == {"Is it wrong to eat fish?", context}
    assert (data.attributes["birth_region"], data.attributes["religion"]) == (["Europe"], ["No Affiliation"])


def test_rows_a_source_sets_aside_count_in_the_group_of_their_user(tmp_path: Path) -> None:
    posts = [*crehate.SAMPLE, {"ID": "none", "annotator_id": "1", "annotation": "1"}]
    data = load(folder_of(tmp_path, "annotations", posts, crehate.SAMPLE_SIDES))
    assert data.exclusions.by_group["nationality=Singapore"] == {"the post's text is unknown": 1}
    silent = {**prism.SAMPLE_UTTERANCES[0], "model_response": " "}
    (tmp_path / "prism").mkdir()
    jsonl(tmp_path / "prism" / "utterances.jsonl", [silent, *prism.SAMPLE_UTTERANCES])
    jsonl(tmp_path / "prism" / "survey.jsonl", prism.SAMPLE_SIDES["survey"])
    assert load(tmp_path / "prism").exclusions.by_group["gender=Female"] == {"the rated answer is empty": 1}


def test_prism_keeps_all_earlier_turns_and_knows_nothing_of_who_is_not_in_the_survey(tmp_path: Path) -> None:
    def turn(i: int) -> list[dict[str, Any]]:
        answers = [
            {"role": "model", "content": f"{word}{i}", "score": score, "if_chosen": score > 5} for word, score in (("a", 9), ("b", 1))
        ]
        return [{"role": "user", "content": f"q{i}"}, *answers]

    (tmp_path / "prism").mkdir()
    rows = [{"user_id": "u", "conversation_id": "c", "conversation_history": [{"turn": i, **t} for i in range(3) for t in turn(i)]}]
    jsonl(tmp_path / "prism" / "conversations.jsonl", [*rows, {**rows[0], "conversation_history": "none"}])
    jsonl(tmp_path / "prism" / "survey.jsonl", prism.SAMPLE_SIDES["survey"])
    data = load(tmp_path / "prism", on_bad="skip")
    begun = "user: q0\n\nassistant: a0\n\nuser: q1"
    assert [data.texts[p] for p in data.prompt] == ["q0", begun, f"{begun}\n\nassistant: a1\n\nuser: q2"]
    assert data.attributes["gender"] == [""]
    jsonl(tmp_path / "prism" / "survey.jsonl", [{"user_id": "u", "gender": "Male", "religion": "none", "location": None}])
    known = load(tmp_path / "prism", on_bad="skip")
    assert [known.attributes[name] for name in ("gender", "religion", "birth_region")] == [["Male"], [""], [""]]
    assert known.exclusions.by_group["gender=Male"] == {prism.NO_HISTORY.reason: 1}
    assert data.exclusions.reasons == {prism.NO_HISTORY.reason: 1}


def test_prism_utterances_from_csv_go_along_what_was_chosen(tmp_path: Path) -> None:
    lines = ["user_id,conversation_id,turn,user_prompt,model_response,score,if_chosen"]
    lines += [f"u,c,{t},q{t},{said}{t},{score},{chosen}" for t in (0, 1) for said, score, chosen in (("a", 9, "True"), ("b", 1, "False"))]
    (tmp_path / "utterances.csv").write_text("\n".join(lines))
    assert prompts(load(tmp_path / "utterances.csv")) == {"q0", "user: q0\n\nassistant: a0\n\nuser: q1"}
    (tmp_path / "utterances.csv").write_text("\n".join(lines).replace("u,c,0,", "u,c,opening,"))  # what is no number comes first
    assert prompts(load(tmp_path / "utterances.csv")) == {"q0", "user: q0\n\nassistant: a0\n\nuser: q1"}


def test_prism_utterances_stay_inside_a_turn(tmp_path: Path) -> None:
    later = [{**r, "conversation_id": "c1", "model_response": r["model_response"] + "!"} for r in prism.SAMPLE_UTTERANCES]
    data = load(jsonl(tmp_path / "utterances.jsonl", [*prism.SAMPLE_UTTERANCES, *later]))
    assert triples(data) == [("user0", "Opinions differ.", "No."), ("user0", "Opinions differ.!", "No.!")]


def test_personalllm_evaluation_rows(tmp_path: Path) -> None:
    data = load(jsonl(tmp_path / "a.jsonl", personalllm.SAMPLE_EVALUATION))
    assert triples(data) == [("0", "A river is the Rhine.", "The Loire."), ("0", "Ask a doctor.", "Mostly, yes.")]
    assert prompts(data) == {"Is tea healthy?", "Name a river."}
    odd = [*personalllm.SAMPLE_EVALUATION, *({**personalllm.SAMPLE_EVALUATION[0], "chosen_1": odd} for odd in (["a"], {"a": 1}))]
    assert len(load(jsonl(tmp_path / "b.jsonl", odd))) == 2 + 1 + 1  # no choice, and no end of the load
    same = {**personalllm.SAMPLE_EVALUATION[0], "gpt4o_response": "The Loire."}
    assert prompts(load(jsonl(tmp_path / "c.jsonl", [same]))) == {"Is tea healthy?"}
    gone = {**personalllm.SAMPLE_EVALUATION[0], "response_1_a": None}
    with pytest.raises(DataError, match=r"d\.jsonl, line 1, column 'rejected'"):
        load(jsonl(tmp_path / "d.jsonl", [gone]))


def test_personalllm_rewards_count_in_their_own_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reward model in other units chooses the same; one that tells no response apart chooses nothing."""
    monkeypatch.setattr(personalllm, "PERSONS", 40)
    monkeypatch.setattr(personalllm, "ALPHA", 1.0)

    def rescaled(scale: float) -> list[tuple[str, str, str]]:
        rows = [{k: scale * v + 5 if k.endswith("gemma_2b") else v for k, v in r.items()} for r in personalllm.SAMPLE]
        return triples(load(jsonl(tmp_path / "a.jsonl", rows)))

    assert rescaled(1) == rescaled(1000)
    assert rescaled(0) != rescaled(1)
    even = {k: v[:1] if k == "prompt" else 0.5 if k.endswith("b") else v for k, v in personalllm.SAMPLE[0].items()}
    same = {**personalllm.SAMPLE[0], "prompt": "again", **{f"response_{i}": "Miso." for i in (1, 2, 3)}}
    data = load(jsonl(tmp_path / "b.jsonl", [*personalllm.SAMPLE, even, same]))
    assert data.tie is not None
    assert [data.texts[p] for p in data.prompt[data.tie]] == ["S"] * 40
    assert (len(data), "again" in data.texts) == (3 * 40, False)  # who draws the same text twice goes on to the next prompt


def test_personalllm_simulated_users_prefer_what_their_reward_model_prefers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whose weight lies on one reward model (tiny alpha) order two responses as that model does."""
    monkeypatch.setattr(personalllm, "ALPHA", 1e-4)
    path = jsonl(tmp_path / "a.jsonl", personalllm.SAMPLE)
    data = load(path, seed=2)
    rewards = {
        r[f"response_{i}"]: (r[f"response_{i}_gemma_2b"], r[f"response_{i}_oasst_pythia_1b"]) for r in personalllm.SAMPLE for i in (1, 2, 3)
    }
    agrees = np.array([np.greater(rewards[data.texts[c]], rewards[data.texts[r]]) for c, r in zip(data.chosen, data.rejected)])
    assert (len(data), len(data.users)) == (2 * personalllm.PERSONS, personalllm.PERSONS)
    per_user = np.stack([np.minimum.reduceat(agrees[:, m], np.flatnonzero(np.diff(data.user, prepend=-1))) for m in (0, 1)])
    assert per_user.any(0).mean() > 0.99  # each user follows one of the two models throughout
    assert 0.4 < per_user[0].mean() < 0.9
    assert 0.4 < per_user[1].mean() < 0.9
    assert triples(load(path, seed=2)) == triples(data) != triples(load(path, seed=3))


def test_personalllm_rows_without_rewards_are_bad(tmp_path: Path) -> None:
    broken = {**personalllm.SAMPLE[0], "response_2_gemma_2b": None}
    path = jsonl(tmp_path / "a.jsonl", [personalllm.SAMPLE[1], broken])
    with pytest.raises(DataError, match="line 2: a reward is no number of size 1e"):
        load(path)
    data = load(path, on_bad="skip")
    assert data.exclusions.rows_in == len(data) + 1


# ---- the published files themselves


@pytest.mark.skipif(not (SHARED / "dsp").exists(), reason="the DSP file is not here")
def test_the_published_dsp_file() -> None:
    data = load(SHARED / "dsp" / "domain_specific_preference.test.jsonl.gz")
    assert data.users == ["academy", "business", "entertainment", "literature"]
    assert data.exclusions.rows_in == 661 * 16
    assert len(data) == data.exclusions.rows_used == 10_428


@pytest.mark.skipif(not (SHARED / "crehate").exists(), reason="the CREHate files are not here")
def test_the_published_crehate_folder() -> None:
    data = load(SHARED / "crehate")
    assert data.exclusions.rows_in == 42_546
    assert data.exclusions.reasons["a vote that neither agrees nor disagrees"] == 3_060
    assert data.exclusions.reasons[pairing.REPEATED] == 19
    assert len(data.attributes["nationality"]) == len(data.users) > 1_000


@pytest.mark.skipif(not (SHARED / "multipico").exists(), reason="the MultiPICo files are not here")
def test_the_published_multipico_folder() -> None:
    """Every rater judged in one language; the pairs of a rater are bounded; no answer that was withdrawn is left as a value."""
    data = load(SHARED / "multipico")
    assert data.exclusions.rows_in == 33_871
    assert data.exclusions.reasons == {"no opposite vote of this user under this prompt": 137, pairing.REPEATED: 4}
    assert (len(data.users), len(set(data.attributes["language"]))) == (504, 9)
    assert np.bincount(data.user).max() == pairing.PAIRS_PER_USER
    assert not any("EXPIRED" in value for values in data.attributes.values() for value in values)


@pytest.mark.parametrize("name", ["crehate", "multipico"])
def test_published_test_posts_are_unseen(name: str) -> None:
    """No post of a test pair is in a pair that is trained on, read as history or looked at for the choice of a model."""
    if not (SHARED / name).exists():
        pytest.skip(f"the {name} files are not here")
    data = load(SHARED / name)
    split = split_pairs(data, seed=1)
    assert split.unit == "responses"
    posts = [set(np.concatenate([data.chosen[rows], data.rejected[rows]])) for rows in map(split.rows, (TRAIN, VALID, TEST))]
    history = set(np.concatenate([data.chosen[split.history], data.rejected[split.history]]))
    assert all(posts)
    assert not posts[TEST] & (posts[TRAIN] | posts[VALID] | history)
    assert not posts[VALID] & (posts[TRAIN] | history)


@pytest.mark.skipif(not (SHARED / "polis").exists(), reason="the Polis files are not here")
def test_the_published_polis_folder() -> None:
    data = load(SHARED / "polis")
    assert data.exclusions.rows_in == 587_906
    assert len(set(data.attributes["conversation"])) == 13
    assert np.bincount(data.user).max() == pairing.PAIRS_PER_USER
    assert sum(data.exclusions.by_group["conversation=15-per-hour-seattle"].values()) > 0


@pytest.mark.skipif(not (SHARED / "personalllm_sample").exists(), reason="the PersonalLLM rows are not here")
def test_the_published_personalllm_rows() -> None:
    data = load(SHARED / "personalllm_sample" / "rows.jsonl.gz")
    assert len(data) >= 14
    assert set(data.users) == {"0", "1", "2", "3", "4"} & set(data.users)


ONE, TWO = [{"role": "assistant", "content": "one"}], [{"role": "assistant", "content": "two"}]


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ({"messages": [{"role": "user", "content": "p?"}], "tools": []}, ONE, TWO),  # messages in an object of their own
        ("<|im_start|>user\np?<|im_end|>\n<|im_start|>assistant\n", "one<|im_end|>", "two<|im_end|>\n"),
        ("\n\nHuman: p?\n\nAssistant:", " one", " two"),
        ([], [{"role": "user", "content": "p?"}, *ONE], [{"role": "user", "content": "p?"}, *TWO]),
        ([{"from": "human", "value": "p?"}], {"from": "gpt", "value": "one"}, {"from": "gpt", "value": "two"}),
        ("[{'role': 'user', 'content': 'p?'}]", repr(ONE), repr(TWO)),
    ],
)
def test_prompts_and_answers_in_other_clothes_are_the_same_pair(tmp_path: Path, prompt: Any, chosen: Any, rejected: Any) -> None:
    data = load(jsonl(tmp_path / "a.jsonl", [{"user": "u", "prompt": prompt, "chosen": chosen, "rejected": rejected}]))
    assert (triples(data), prompts(data)) == ([("u", "one", "two")], {"p?"})


def test_a_prompt_that_is_no_conversation_is_a_bad_row(tmp_path: Path) -> None:
    row = {"user": "u", "prompt": {"id": 7}, "chosen": ONE, "rejected": TWO}
    with pytest.raises(DataError, match="line 1, column 'prompt'"):
        load(jsonl(tmp_path / "a.jsonl", [row]))


def test_a_vote_that_is_missing_is_told_under_its_own_name(tmp_path: Path) -> None:
    rows = [{"user": "u", "item": f"i{i}", "opinion": v} for i, v in enumerate(("yes", "no", ""))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match="line 3, column 'opinion': 'opinion' is missing"):
        load(path, columns={"vote": "opinion"})
    data = load(path, columns={"vote": "opinion"}, on_bad="skip")
    assert (len(data), data.exclusions.reasons) == (1, {"'vote' is missing": 1})

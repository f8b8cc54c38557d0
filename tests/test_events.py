"""Events from columns, groups, mentions and swaps: known tables with known groups, orientation and matched sets, and every refusal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evenhand.audits.rates import matched_gaps, oriented
from evenhand.core import DataError, Events, Groups, History, Pairs, PreferenceData
from evenhand.data import events as ev
from evenhand.data.load import load
from evenhand.data.matched import tied_texts
from evenhand.data.mentions import Mentions, read_mentions
from evenhand.data.splits import split_pairs
from evenhand.data.swaps import Swaps, read_swaps, with_swaps

Row = Mapping[str, Any]


def table(tmp_path: Path, rows: Sequence[Row], **more: Any) -> PreferenceData:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return load(path, **more)


def row(chosen: str = "a", rejected: str = "b", user: str = "u", prompt: str = "p", **more: Any) -> dict[str, Any]:
    return {"user": user, "prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def events_of(data: PreferenceData) -> Events:
    assert data.events is not None
    return data.events


def mentions(tmp_path: Path, terms: object) -> Mentions:
    path = tmp_path / "terms.json"
    path.write_text(terms if isinstance(terms, str) else json.dumps(terms), encoding="utf-8")
    return read_mentions(path)


def swaps(tmp_path: Path, pairs: object) -> Swaps:
    path = tmp_path / "swaps.json"
    path.write_text(json.dumps(pairs), encoding="utf-8")
    return read_swaps(path)


# ---- columns of a table


def test_event_target_and_twin_columns(tmp_path: Path) -> None:
    rows = [
        row(event="women", target="chosen", twin="t1"),
        row(event="men", target="rejected", twin="t1", prompt="q"),
        row(event="", target="Chosen", twin=""),
        row(event=None, target="rejected", twin=None),
    ]
    found = events_of(table(tmp_path, rows))
    assert found.names == ("men", "women")
    assert found.of_pair.tolist() == [1, 0, -1, -1]
    assert found.of_pair.dtype == np.int16
    assert found.first.tolist() == [True, False, True, False]
    assert found.twin is not None
    assert found.twin[0] == found.twin[1] >= 0
    assert found.twin[2:].tolist() == [-1, -1]
    assert ev.BY_TARGET in found.rule


def test_a_table_without_these_columns_has_no_events(tmp_path: Path) -> None:
    assert table(tmp_path, [row()]).events is None


def test_target_alone_orients_what_groups_make_events_of(tmp_path: Path) -> None:
    data = table(tmp_path, [row(target="chosen"), row(target="rejected", user="v")])
    assert (events_of(data).names, events_of(data).of_pair.tolist()) == ((), [-1, -1])
    found = ev.from_groups(data, Groups(("old", "young"), np.array([1, -1], np.int16), "Groups by age."))
    assert (found.of_pair.tolist(), found.first.tolist()) == ([1, -1], [True, False])
    assert found.rule == f"Groups by age. {ev.BY_TARGET}"


def test_event_without_target_is_oriented_by_hash(tmp_path: Path) -> None:
    data = table(tmp_path, [row("one", "two", event="x"), row("two", "one", event="y", user="v")])
    smaller = min(("one", "two"), key=lambda t: hashlib.sha256(t.encode()).hexdigest())
    assert events_of(data).first.tolist() == [smaller == "one", smaller == "two"]
    assert ev.BY_HASH in events_of(data).rule


def test_by_hash_does_not_look_at_the_label() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text {i} é" for i in range(60)]
    chosen = rng.integers(0, 60, 500)
    rejected = (chosen + rng.integers(1, 60, 500)) % 60
    data = PreferenceData(["u"], texts, np.zeros(500, int), np.full(500, -1), chosen, rejected)
    first = ev.by_hash(data)
    assert (first == ~ev.by_hash(replace(data, chosen=rejected, rejected=chosen))).all()
    digest = [hashlib.sha256(t.encode()).digest() for t in texts]
    assert first.tolist() == [digest[c] < digest[r] for c, r in zip(chosen, rejected)]
    assert 0.3 < first.mean() < 0.7


def test_pairs_without_texts_need_a_target(tmp_path: Path) -> None:
    rows = [{"user": "u", "event": "x", "score": 1}, {"user": "u", "event": "y", "score": 2}]
    with pytest.raises(DataError, match=r"2 pairs have no texts.*column target"):
        table(tmp_path, rows, need_texts=False, numbers=["score"])
    with_target = [{**r, "target": "chosen"} for r in rows]
    assert events_of(table(tmp_path, with_target, need_texts=False, numbers=["score"])).first.all()


@pytest.mark.parametrize("value", ["women", "", None, 3, ["chosen"], True])
def test_any_other_target_is_a_fault_of_its_row(tmp_path: Path, value: object) -> None:
    rows = [row(target="chosen"), row(target=value), row(target="rejected")]
    with pytest.raises(DataError, match=r"line 2, column 'target'.*neither chosen nor rejected"):
        table(tmp_path, rows)
    data = table(tmp_path, rows, on_bad="skip")
    assert data.exclusions.rows_in == 3 == data.exclusions.rows_used + 1
    assert events_of(data).first.tolist() == [True, False]


def test_a_target_that_some_rows_lack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2, column 'target'"):
        table(tmp_path, [row(target="chosen"), row()])


def test_arrays_stay_aligned_when_rows_are_skipped_and_ties_are_there(tmp_path: Path) -> None:
    rows = [
        row(event="a", target="chosen", tie=True), row("", event="b", target="chosen"), row(event="c\0", target="chosen"),
        row(event="c", target="rejected"), row(event=["d"], target="chosen"), row(event=7, target="rejected"),
    ]  # fmt: skip
    data = table(tmp_path, rows, on_bad="skip")
    found = events_of(data)
    assert [found.names[e] for e in found.of_pair] == ["a", "c", "7"]
    assert found.first.tolist() == [True, False, False]
    assert data.tie is not None
    assert data.tie.tolist() == [True, False, False]
    assert len(events_of(data.take(np.array([2, 0]))).first) == 2


TWINS = {
    "the rows of a twin set belong to two users .2 such rows, in all: 2, 3": [
        row(twin="x", target="chosen", user="u"), row(twin="x", target="chosen", user="v"),
    ],
    "a twin set has one row only .1 such rows, in all: 2": [row(twin="x", target="chosen")],
    "a twin set names one group twice .2 such rows, in all: 2, 3": [
        row(twin="x", target="chosen", event="a"), row(twin="x", target="chosen", event="a", prompt="q"),
    ],
    "the responses differ inside a twin set, and no column 'target'": [row(twin="x"), row("c", twin="x")],
}  # fmt: skip


@pytest.mark.parametrize("message", TWINS)
def test_twin_sets_that_cannot_be_compared(tmp_path: Path, message: str) -> None:
    whole = [row(twin="y", event="a", prompt="r"), row(twin="y", event="b", prompt="s")]
    if "target" in TWINS[message][0]:
        whole = [{**r, "target": "chosen"} for r in whole]
    rows = [{**whole[0], "twin": "", "event": ""}, *TWINS[message], *whole]
    with pytest.raises(DataError, match=rf"line 2, column 'twin': {message}.*value: x"):
        table(tmp_path, rows)
    data = table(tmp_path, rows, on_bad="skip")
    found = events_of(data)
    assert found.twin is not None
    assert (found.twin >= 0).tolist() == [False] * (len(rows) - 2) + [True, True]
    assert len(data) == len(rows)
    assert f"{len(rows) - 3} pairs are unmatched" in found.rule


def test_a_set_that_is_wrong_in_two_ways_is_told_of_once(tmp_path: Path) -> None:
    rows = [row(user=u, twin="x", event="a", target="chosen") for u in "uv"]
    found = events_of(table(tmp_path, rows, on_bad="skip"))
    assert found.rule.endswith(" 2 pairs are unmatched: the rows of a twin set belong to two users.")


def test_a_set_that_lost_a_bad_row_is_unmatched(tmp_path: Path) -> None:
    rows = [row(twin="x", event="a", target="chosen"), row("", twin="x", event="b", target="chosen"), row(event="a", target="chosen")]
    found = events_of(table(tmp_path, rows, on_bad="skip"))
    assert found.twin is not None
    assert found.twin.tolist() == [-1, -1]


# ---- groups, mentions, intersections


def test_terms_are_words_whatever_their_case_and_surroundings(tmp_path: Path) -> None:
    terms = mentions(tmp_path, {"women": ["woman", "feminis*", "café owner", "c++", "🏳️‍🌈", "a.c"]})
    yes = [
        "A WOMAN.",
        "(woman)",
        "the woman's",
        "_woman_",
        "#woman!",
        "feminism",
        "ｗｏｍａｎ",
        "cafe\u0301\n owner",
        "c++",
        "go🏳️‍🌈go",
        "A.C",
    ]
    no = ["women", "womanly", "superwoman", "afeminist", "woman\u0301", "woman2", "café", "café owners", "c+", "abc", ""]
    assert terms.find(yes).ravel().tolist() == [True] * len(yes)
    assert terms.find(no).ravel().tolist() == [False] * len(no)


def test_pairs_of_one_mention_against_none(tmp_path: Path) -> None:
    terms = mentions(tmp_path, {"women": ["woman"], "men": ["man"], "nobody": ["xyz"]})
    rows = [
        row("a woman", "a dog"), row("a dog", "a man"), row("a dog", "a cat"), row("a man", "a woman"),
        row("a man and a woman", "a dog"), row("a woman", "a cat", user="v"),
    ]  # fmt: skip
    data = table(tmp_path, rows)
    found = ev.from_mentions(data, terms)
    assert found.of_pair.tolist() == [0, 1, -1, -1, -1, 0]
    assert found.first[[0, 1, 5]].tolist() == [True, False, True]
    assert (found.first == ev.by_hash(data))[2:5].all()
    assert "women 1 responses in 2 pairs, men 1 responses in 1 pairs, nobody 0 responses in 0 pairs" in found.rule
    assert "2 responses mention none, 1 mention two or more" in found.rule
    swapped = ev.from_mentions(replace(data, chosen=data.rejected, rejected=data.chosen), terms)
    assert (swapped.of_pair == found.of_pair).all()
    assert (swapped.first == ~found.first).all()


def test_pairs_without_texts_mention_nobody(tmp_path: Path) -> None:
    data = PreferenceData(["u"], ["a woman", "a dog"], *np.array([[0, 0], [-1, -1], [0, -1], [1, -1]]))
    data = replace(data, events=Events((), np.array([-1, -1], np.int16), np.array([False, True]), ev.BY_TARGET))
    found = ev.from_mentions(data, mentions(tmp_path, {"women": ["woman"]}))
    assert (found.of_pair.tolist(), found.first.tolist()) == ([0, -1], [True, True])
    assert "women 1 responses in 1 pairs; 1 responses mention none" in found.rule
    none = data.take(np.array([1]))
    assert ev.from_mentions(replace(none, texts=[]), mentions(tmp_path, {"women": ["woman"]})).of_pair.tolist() == [-1]


HOSTILE = [
    ("not json", "not valid JSON"), ("[" * 100_000, "not valid JSON"), ("[]", "holds no object"), ("{}", "empty object"), ("3", "holds no object"),
    ('{"a": []}', "'a' has no terms"), ('{"a": "x"}', "the terms of 'a' are no list"), ('{"a": [3]}', "a term of 'a' is not a text"),
    ('{"a": ["  "]}', "a term of 'a' is empty"), ('{"a": ["x\\u0000"]}', "control character"), ('{"a": ["\\ud800"]}', "broken Unicode"),
    ('{"a": ["*"]}', "a . alone"), ('{"": ["x"]}', "a name is empty"), ('{"a": ["x"], "a": ["y"]}', "a name occurs twice"),
    ('{"a": ["x"], " a ": ["y"]}', "a name occurs twice"), ('{"a": ["Woman"], "b": ["y", "woman"]}', "'a' and 'b' overlap.*woman"),
    ('{"a": ["Wom*"], "b": ["y", "woman"]}', "'a' and 'b' overlap: 'wom.' takes in 'woman'"), ('{"a": ["women*"], "b": ["w*"]}', "'b' and 'a' overlap"),
    (json.dumps({"a": [f"t{i}" for i in range(10_000)]}), "'a' has 10,000 terms"), (json.dumps({"a": ["x" * 300]}), "longer than 200"),
    (json.dumps({f"n{i}": [f"t{i}"] for i in range(200)}), "200 names"), ('{"a": ["' + "x" * 2**20 + '"]}', "larger than"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), HOSTILE, ids=[m for _, m in HOSTILE])
def test_a_hostile_file_of_terms(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        mentions(tmp_path, content)
    assert len(str(caught.value)) < 500


def test_files_of_terms_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"a": ["\xff"]}')
    for path, message in ((tmp_path / "none.json", "no such file"), (tmp_path, "no such file"), (tmp_path / "latin.json", "UTF-8")):
        with pytest.raises(DataError, match=message):
            read_mentions(path)


@pytest.mark.parametrize("term", ["(", "[a", "a|b", "a{999999}", "(?i)x", "\\", "a+b", "^$", ".*"])
def test_terms_are_literal(tmp_path: Path, term: str) -> None:
    terms = mentions(tmp_path, {"x": [term]})
    assert terms.find([f"see {term} here", "see nothing"]).ravel().tolist() == [True, False]


# ---- what cannot bear a constraint


def made(of_pair: Sequence[int], first: Sequence[int] | None = None, twin: Sequence[int] | None = None) -> Events:
    label = np.arange(len(of_pair)) % 2 == 0 if first is None else np.array(first, bool)
    return Events(("a", "b", "c"), np.array(of_pair, np.int16), label, "", None if twin is None else np.array(twin))


def check(events: Events, notion: Any, users: int = 10, **least: int) -> None:
    ev.check_events(events, notion, user=np.arange(len(events.of_pair)) % users, rows="training pairs", **least)


@pytest.mark.parametrize(
    ("events", "notion", "message"),
    [
        (made([-1] * 50), "dp", "dp: none of 50 training pairs is in a group"),
        (made([1] * 50), "eo", "eo: all 50 training pairs in a group are in 'b'"),
        (made([0] * 50 + [1] * 50), "dp", "dp: no training pairs in: 'c' 0 pairs of 0 users"),
        (made([0] * 50 + [1] * 50 + [2] * 3), "dp", "dp: too few training pairs in: 'c' 3 pairs of 3 users"),
        (
            made([0, 1, 2] * 50, [1, 1, 0] * 50),
            "eo",
            "no training pairs in: 'a' with label 0 0 pairs.*; 'b' with label 0 .*; 'c' with label 1",
        ),
        (made([-1] * 9), "cf", "cf: none of 9 training pairs is matched"),
        (made([-1] * 9, twin=[-1] * 9), "cf", "cf: none of 9 training pairs is matched"),
        (made([-1] * 5, twin=[-1, 7, 3, 3, 8]), "cf", "cf: 2 of 3 matched sets have one.*rows 1, 4, counted from 0"),
        (made([-1] * 4, twin=[0, 0, 3, 3]), "cf", "cf: too few training pairs are matched: 2 sets of 2 users"),
    ],
)
def test_events_that_are_refused(events: Events, notion: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(events, notion)


def test_events_that_are_accepted() -> None:
    check(made([0, 0, 1, 1, 2, 2] * 40), "dp")
    check(made([0, 0, 1, 1, 2, 2] * 40), "eo")
    check(made([-1] * 80, twin=np.arange(80) // 2), "cf", users=80)  # type: ignore[arg-type]
    check(made([0, 1, 2]), "dp", min_pairs=1, min_users=1)
    with pytest.raises(DataError, match=r"too few.* 20 pairs of 2 users"):
        check(made([0, 1, 2] * 20), "dp", users=2)


# ---- swaps


def test_swaps_go_both_ways_and_keep_the_case(tmp_path: Path) -> None:
    known = swaps(tmp_path, [["he", "she"], ["Muslim", "Christian"], ["gay man", "straight man"], ["uncle", "aunt"]])
    for text, expected in {
        "He said she knew HE.": "She said he knew SHE.",
        "the theme, hers, he_she": "the theme, hers, she_he",
        "Muslim, muslim, MUSLIM, Muslims": "Christian, christian, CHRISTIAN, Muslims",
        "Gay man; GAY MAN": "Straight man; STRAIGHT MAN",
        "his aunt's uncle": "his uncle's aunt",
        "he\u0301": "he\u0301",
    }.items():
        assert known.swap(text) == expected
        assert known.swap(expected) == text
    assert swaps(tmp_path, [["New", "Old"], ["New York", "Old Town"]]).swap("New: in New York") == "Old: in Old Town"  # the longest first


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "empty list"), ({"a": "b"}, "holds no list"), ([["a"]], "pair 1 is no list of two"), (["ab"], "pair 1 is no list of two"),
        ([["a", "b"], ["c", "A"]], "pair 2 stands in an earlier pair.*value: A"), ([["a", "A"]], "pairs a term with itself.*value: a"),
        ([["a", ""]], "a term of pair 1 is empty"), ([["a", 3]], "not a text"), ([["a", "b\0"]], "control"), ([["a*", "b"]], "ends in .*value: a"),
        ([[f"a{i}", f"b{i}"] for i in range(1001)], "1,001 pairs"),
    ],
)  # fmt: skip
def test_swaps_that_are_refused(tmp_path: Path, pairs: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        swaps(tmp_path, pairs)


def test_copies_carry_their_originals_choice(tmp_path: Path) -> None:
    rows = [
        row("he left", "it rains", prompt="Did she?", weight=2.0, split="train", country="FR"),
        row("it rains", "it snows", prompt="Weather?", weight=3.0, split="valid", country="FR"),
        row("hE left", "it rains", prompt="Odd", weight=4.0, split="test", country="FR"),
        row("it rains", "SHE left", user="v", prompt="Who?", weight=5.0, split="test", country="SG"),
    ]
    data = table(tmp_path, rows, attributes=["country"])
    copied = with_swaps(data, swaps(tmp_path, [["he", "she"]]))
    assert len(copied) == 6
    told = [(copied.users[copied.user[i]], *(copied.texts[c[i]] for c in (copied.prompt, copied.chosen, copied.rejected))) for i in (4, 5)]
    assert told == [("u", "Did he?", "she left", "it rains"), ("v", "Who?", "it rains", "HE left")]
    assert copied.weight is not None
    assert copied.split is not None
    assert (copied.weight[4:].tolist(), copied.split[4:].tolist()) == ([2.0, 5.0], [0, 2])
    found = events_of(copied)
    assert found.twin is not None
    assert found.twin.tolist() == [0, -1, -1, 1, 0, 1]
    assert (found.first[4:] == found.first[[0, 3]]).all()
    assert "2 of 4 pairs" in found.rule
    assert "1 texts in 1 pairs do not come back" in found.rule
    assert len(set(copied.texts)) == len(copied.texts)
    assert copied.exclusions == data.exclusions


@pytest.mark.parametrize("place", ["prompt", "chosen", "rejected"])
def test_a_text_that_does_not_come_back_costs_its_pair_the_copy(tmp_path: Path, place: str) -> None:
    rows = [row(**{"prompt": "p", "chosen": "he", "rejected": "b", place: "hE left"}), row("he is here", "b", prompt="p", user="v")]
    copied = with_swaps(table(tmp_path, rows), swaps(tmp_path, [["he", "she"]]))
    assert [copied.users[u] for u in copied.user] == ["u", "v", "v"]
    assert "1 of 2 pairs are changed" in events_of(copied).rule
    assert "1 texts in 1 pairs do not come back when swapped" in events_of(copied).rule


def test_a_model_blind_to_the_swapped_terms_has_no_gap(tmp_path: Path) -> None:
    """Margins that do not see he and she: CF is 0 however pairs are oriented; margins that do: the known gap."""
    data = table(tmp_path, [row(f"he is {i}", f"cats are {i}", prompt=f"p{i}") for i in range(6)])
    copied = with_swaps(data, swaps(tmp_path, [["he", "she"]]))
    blind = np.array([len(copied.texts[c].replace("she", "he")) % 5 - 2.0 for c in copied.chosen])
    assert matched_gaps(oriented(blind, events_of(copied)), copied.user, events_of(copied))[0].tolist() == [0.0] * 6
    seeing = blind + np.array([copied.texts[c].startswith("she") for c in copied.chosen])
    assert matched_gaps(oriented(seeing, events_of(copied)), copied.user, events_of(copied))[0].tolist() == [1.0] * 6


def test_copies_keep_an_orientation_without_groups(tmp_path: Path) -> None:
    """Events without names are false in a condition, and still there."""
    data = table(tmp_path, [row(f"he {i}", "x", target="chosen" if i % 2 else "rejected") for i in range(8)])
    copied = with_swaps(data, swaps(tmp_path, [["he", "she"]]))
    assert events_of(copied).first.tolist() == [bool(i % 2) for i in range(8)] * 2
    assert ev.BY_TARGET in events_of(copied).rule
    plain = with_swaps(table(tmp_path, [row(f"he {i}", "x") for i in range(8)]), swaps(tmp_path, [["he", "she"]]))
    assert events_of(plain).names == ()


def test_training_sees_numbers_and_no_name_of_a_group() -> None:
    some = made([1, -1, 0], first=[1, 0, 1])
    tensors = some.take(np.array([True, False, True])).tensors()
    assert (tensors.names, tensors.rule, tensors.copy) == ((), "", None)
    assert (tensors.of_pair.tolist(), tensors.first.tolist(), tensors.sets.tolist()) == ([1, 0], [True, True], [-1, -1])
    assert tensors.of_pair.dtype == tensors.sets.dtype == torch.int64
    assert replace(some, twin=np.array([4, 4, -1])).tensors().take(torch.tensor([0, 2])).sets.tolist() == [4, -1]


def test_pairs_take_all_that_goes_with_a_row() -> None:
    zeros, rows = torch.zeros(2, dtype=torch.long), torch.arange(3)
    events = Events(("a", "b"), np.array([1, -1, 0], np.int16), np.array([True, False, True]), "").tensors()
    history = History(torch.zeros(9, 1), zeros, zeros[:0], zeros[:0], zeros[:1])
    pairs = Pairs(history, 0 * rows, rows, rows + 3, rows + 1.0, rows - 1, block=rows + 7, events=events)
    some = pairs.take(torch.tensor([2, 0]))
    assert [x.tolist() for x in (some.user, some.chosen, some.rejected, some.weight, some.group)] == [
        [0, 0],
        [2, 0],
        [5, 3],
        [3, 1],
        [1, -1],
    ]
    assert some.block is not None
    assert some.events is not None
    assert (some.block.tolist(), some.events.of_pair.tolist(), some.events.first.tolist()) == ([9, 7], [0, 1], [True, True])


def test_swaps_after_mentions_and_mentions_after_swaps(tmp_path: Path) -> None:
    data = table(tmp_path, [row(f"she is {i}", f"cats are {i}") for i in range(4)])
    terms, both = mentions(tmp_path, {"women": ["she"], "men": ["he"]}), swaps(tmp_path, [["he", "she"]])
    after = with_swaps(replace(data, events=ev.from_mentions(data, terms)), both)
    assert events_of(after).of_pair.tolist() == [0] * 4 + [-1] * 4
    assert events_of(after).first.all()
    then = ev.from_mentions(with_swaps(data, both), terms)
    assert then.of_pair.tolist() == [0] * 4 + [-1] * 4  # nobody judged the copies
    assert then.twin is not None
    torn = ev.from_mentions(with_swaps(data, both), mentions(tmp_path, {"women": ["she"]}))
    assert torn.twin is not None
    kept = events_of(with_swaps(data, both)).first  # hash may have y1 the mention already: then the set stays whole
    assert (torn.twin >= 0).tolist() == (kept.tolist()[:4] * 2)
    aimed = table(tmp_path, [row(f"she is {i}", f"cats are {i}", target=t) for i, t in enumerate(("chosen", "rejected", "rejected"))])
    torn = ev.from_mentions(with_swaps(aimed, both), mentions(tmp_path, {"women": ["she"]}))
    assert torn.twin is not None
    assert (torn.twin >= 0).tolist() == [
        True,
        False,
        False,
    ] * 2  # of the last two the original is turned, and the copy, without "she", is not
    assert torn.rule.startswith("Identities that exactly one response of a pair mentions")
    assert torn.rule.endswith(f"{ev.BY_MENTION} 4 pairs of matched sets are unmatched, since y1 would differ in meaning.")
    assert then.rule.endswith(ev.BY_MENTION)


def test_swaps_that_change_nothing_or_meet_what_they_cannot_copy(tmp_path: Path) -> None:
    known = swaps(tmp_path, [["he", "she"]])
    with pytest.raises(DataError, match="change none of 1 pairs"):
        with_swaps(table(tmp_path, [row()]), known)
    with pytest.raises(DataError, match="copies have no values in the columns score"):
        with_swaps(table(tmp_path, [row("he", score=1)], numbers=["score"]), known)
    twins = [row("he", twin="t", prompt="x"), row("he", twin="t")]
    with pytest.raises(DataError, match="matched already"):
        with_swaps(table(tmp_path, twins), known)


def test_matched_sets_are_dealt_whole(tmp_path: Path) -> None:
    """Originals and copies have different prompts and yet lie in one part of every split."""
    rows = [row("a", "b", user=f"u{i % 10}", prompt=f"Did {'he' if i % 2 else 'Bo'} see {i % 60}?") for i in range(240)]
    data = with_swaps(table(tmp_path, rows), swaps(tmp_path, [["he", "she"]]))
    twin = events_of(data).twin
    assert twin is not None
    for seed in range(5):
        split = split_pairs(data, seed=seed)
        assert len(set(split.part.tolist())) > 3
        for kept in (split.part, split.held, split.history):
            assert (kept[: len(rows)][twin[: len(rows)] >= 0] == kept[len(rows) :]).all()


def test_matched_responses_are_dealt_whole(tmp_path: Path) -> None:
    """Votes under one prompt: responses are dealt, and a copy's lie where its original's do."""
    rng = np.random.default_rng(0)
    posts = [f"{'he' if i % 3 else 'Bo'} said {i}" for i in range(80)]
    ends = [rng.choice(80, 2, replace=False) for _ in range(600)]
    data = with_swaps(table(tmp_path, [row(posts[a], posts[b], user=f"u{a % 7}") for a, b in ends]), swaps(tmp_path, [["he", "she"]]))
    twin = events_of(data).twin
    assert twin is not None
    matched = twin[:600] >= 0
    split = split_pairs(data, seed=1)
    assert split.unit == "responses"
    assert len(set(split.part.tolist())) > 3
    for kept in (split.part, split.held, split.history):
        assert (kept[:600][matched] == kept[600:]).all()


def test_tied_texts_are_those_that_chains_of_sets_join(tmp_path: Path) -> None:
    """Against joining sets one after the other until nothing changes."""
    rng = np.random.default_rng(5)
    rows = [
        row(f"c{rng.integers(30)}", f"r{rng.integers(30)}", prompt=f"p{rng.integers(30)}", target="chosen", twin=f"t{i // 2}")
        for i in range(40)
    ]
    data = table(tmp_path, [{**r, "target": "rejected"} if i % 4 > 1 else r for i, r in enumerate(rows)])
    found = tied_texts(data, np.arange(len(data.texts)))
    expected = np.arange(len(data.texts))
    for _ in range(len(expected)):
        for i in range(0, 40, 2):
            for column in (data.prompt, data.chosen, data.rejected):  # both rows of a set have one target here
                a, b = expected[column[i]], expected[column[i + 1]]
                expected[(expected == a) | (expected == b)] = min(a, b)
    assert found.tolist() == expected.tolist()
    assert 1 < len(set(found.tolist())) < len(data.texts)
    assert tied_texts(data.take(np.array([0, 3])), np.arange(99)).tolist() == list(range(99))

"""Files in the shapes that people have: each reads with the counts worked out from how it was made, or is refused in one right sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenhand.core import DataError, PreferenceData
from evenhand.data.load import load

CASES = Path(__file__).parents[2] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="the small files are not here")

BREAD = "How do I start with bread (case 0)?"
SHORT = "Start small: try bread for ten minutes today. 0"
LONG = (
    "There is a lot to say about bread. First, read about it. Then make a plan, gather what you need, and practise every day for a month. 0"
)
UNRATED = "the answer was not rated"
NO_SIDE = "a vote that neither agrees nor disagrees"
DICES = {"user": "rater_id", "item": "response", "vote": "Q_overall"}
PANDAS = ["records.json", "records_pretty.json", "columns.json", "records.jsonl"]


def ties(data: PreferenceData) -> int:
    return 0 if data.tie is None else int(data.tie.sum())


def texts(data: PreferenceData) -> list[tuple[str, str, str, str]]:
    columns = (data.prompt, data.chosen, data.rejected)
    return [(data.users[u], *(data.texts[int(t)] for t in row)) for u, row in zip(data.user, zip(*columns))]


@pytest.mark.parametrize(
    ("name", "source", "pairs", "tied", "users", "prompts", "rows", "excluded"),
    [
        ("arena33k.jsonl", "choices", 24, 2, 6, 24, 24, {}),
        ("arena33k.json", "choices", 24, 2, 6, 24, 24, {}),
        ("multipref.jsonl", "choices", 44, 8, 12, 11, 44, {}),
        ("community_alignment.csv", "choices", 45, 0, 5, 15, 45, {}),
        ("argilla_preference.jsonl", "choices", 24, 0, 5, 12, 24, {}),
        ("labelstudio_full.json", "choices", 12, 0, 3, 12, 12, {}),
        ("labelstudio_min.json", "choices", 12, 0, 3, 12, 12, {}),
        ("hh_strings.jsonl", "trl", 12, 0, 3, 12, 12, {}),
        ("hh_diverging.jsonl", "trl", 12, 0, 3, 12, 12, {}),
        ("orlhf909_explicit.jsonl", "trl", 12, 0, 3, 4, 12, {}),
        ("orlhf909_implicit.jsonl", "trl", 12, 0, 3, 4, 12, {}),
        ("ultrafeedback_binarized.jsonl", "trl", 12, 0, 3, 4, 12, {}),
        ("toolcalls.jsonl", "trl", 5, 0, 1, 5, 10, {"a response holds no text (tool calls or images alone)": 5}),
        ("multimodal.jsonl", "trl", 12, 0, 3, 4, 12, {}),
        ("list_responses.jsonl", "trl", 12, 0, 3, 4, 12, {}),
        *((name, "table", 16, 0, 4, 4, 16, {}) for name in PANDAS),
        ("ids_leading_zero.csv", "table", 16, 0, 3, 4, 16, {}),  # 007, 07 and 7, which is 7.0, too
        ("ids_mixed_types.jsonl", "table", 16, 0, 2, 4, 16, {}),  # 7, "7" and 7.0 are one user, "007" another
        ("ids_unicode.jsonl", "table", 16, 0, 4, 4, 16, {}),
        ("polis_export", "polis", 96, 0, 12, 1, 90, {NO_SIDE: 18}),
        ("polis_export/votes.csv", "polis", 96, 0, 12, 1, 90, {NO_SIDE: 18}),
        ("polis_matrix_only", "polis", 96, 0, 12, 1, 90, {NO_SIDE: 18}),
        ("revotes_small.csv", "votes", 3, 0, 3, 1, 12, {"the same item judged again by the same user": 6}),
        ("prism", "prism", 12, 3, 3, 6, 18, {UNRATED: 3}),
        ("prism/utterances.jsonl", "prism", 12, 3, 3, 6, 18, {UNRATED: 3}),
        ("few16.csv", "table", 480, 0, 30, 16, 480, {}),
        ("contradictions.jsonl", "table", 60, 0, 3, 12, 60, {}),
    ],
)
def test_a_file_reads_right(
    name: str, source: str, pairs: int, tied: int, users: int, prompts: int, rows: int, excluded: dict[str, int]
) -> None:
    data = load(CASES / name)
    assert source in data.source
    assert (len(data), ties(data), len(data.users), len(np.unique(data.prompt))) == (pairs, tied, users, prompts)
    assert (data.exclusions.rows_in, data.exclusions.reasons) == (rows, excluded)


def test_arena_sides_and_positions() -> None:
    """12 of the 22 strict choices are for b, which is shown second; the long response is always b."""
    data = load(CASES / "arena33k.jsonl")
    assert data.tie is not None
    strict = ~data.tie
    assert int((data.numbers["chosen_position"][strict] == 2).sum()) == 12
    assert set(data.numbers["strength"][strict]) == {1.0}
    assert texts(data)[0] == ("arena_user_0", BREAD, SHORT, LONG)
    second = [data.texts[c].startswith("There is") for c in data.chosen]
    assert np.array_equal(np.array(second)[strict], data.numbers["chosen_position"][strict] == 2)


def test_multipref_strength_and_expertise() -> None:
    data = load(CASES / "multipref.jsonl", attributes=["expertise"])
    assert data.attributes["expertise"] == ["normal" if u.startswith("n") else "expert" for u in data.users]
    assert set(data.numbers["strength"]) == {0.0, 1.0, 3.0}
    strong = load(CASES / "multipref.jsonl", min_strength=2)
    assert ties(strong) == int((data.numbers["strength"] < 2).sum()) > 8
    weighed = load(CASES / "multipref.jsonl", weigh_strength=True)
    assert weighed.weight is not None
    assert set(weighed.weight) == {1.0, 3.0}


def test_community_alignment_is_the_named_response_over_three() -> None:
    data = load(CASES / "community_alignment.csv", attributes=["annotator_country"])
    first = texts(data)[:3]
    assert {t[:3] for t in first} == {("0000", BREAD, SHORT)}
    assert len({t[3] for t in first}) == 3


def test_conversations_in_three_formats_are_the_same_pairs() -> None:
    explicit, implicit = (sorted(texts(load(CASES / f"orlhf909_{kind}.jsonl"))) for kind in ("explicit", "implicit"))
    assert explicit == implicit
    assert explicit[0][1].startswith("system: Be kind.\n\nuser: How do I start")
    plain = sorted(texts(load(CASES / "ultrafeedback_binarized.jsonl")))
    assert [(u, p, c, r) for u, p, c, r in explicit] == [(u, f"system: Be kind.\n\nuser: {p}", c, r) for u, p, c, r in plain]


def test_hh_prompts_end_at_the_last_shared_turn() -> None:
    strings, diverging = (texts(load(CASES / f"hh_{kind}.jsonl"))[0] for kind in ("strings", "diverging"))
    assert strings[1:] == (f"user: {BREAD}\n\nassistant: Sure.\n\nuser: Go on.", "I think that works. 0", "I thought about it and no. 0")
    assert diverging[1:] == (
        BREAD, "assistant: Yes. 0\n\nuser: Go on.\n\nassistant: Begin.", "assistant: No. 0\n\nuser: Why?\n\nassistant: Because.",
    )  # fmt: skip


def test_turns_that_are_no_text_are_told() -> None:
    assert "20 turns with parts that are no text" in load(CASES / "toolcalls.jsonl").source
    assert "12 turns with parts that are no text" in load(CASES / "multimodal.jsonl").source


def test_of_changed_votes_the_last_counts() -> None:
    data = load(CASES / "revotes_small.csv")
    assert {t[2:] for t in texts(data)} == {("apples are good", "pears are good")}


def test_polis_groups_and_topic() -> None:
    log, matrix = load(CASES / "polis_export"), load(CASES / "polis_matrix_only")
    assert log.attributes["group_id"] == matrix.attributes["group_id"] == ["0", "1"] * 6
    assert {t[1] for t in texts(log)} == {"Budget"}
    assert sorted((u, c, r) for u, _, c, r in texts(log)) == sorted((u, c, r) for u, _, c, r in texts(matrix))


def test_prism_messages_and_conversations_are_the_same_pairs() -> None:
    folder, messages = load(CASES / "prism"), load(CASES / "prism" / "utterances.jsonl")
    assert sorted(texts(folder)) == sorted(texts(messages))
    assert sum("assistant:" in folder.texts[p] for p in set(folder.prompt.tolist())) == 3


def test_dices_words_are_votes_when_the_columns_are_named() -> None:
    """Eight items of six raters: every third answer is "Unsure", no vote."""
    data = load(CASES / "dices.csv", columns=DICES)
    assert (data.exclusions.rows_in, data.exclusions.reasons[NO_SIDE]) == (48, 16)
    assert len(data.users) == 6


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("arena55k.csv", {}, r"no column says who chose: 20 judgements \(6 ties\)", "chosen="),
    ("helpsteer3.jsonl", {}, r"no column says who chose: 28 judgements \(4 ties\)", "chosen="),
    ("shp.jsonl", {}, r"no column says who chose: 12 judgements \(0 ties\)", "chosen="),
    ("oasst_tree.json", {}, r"there is no column 'user'", "--column rejected"),
    ("dices.csv", {}, r"--column user=rater_id --column item=response --column vote=Q_overall\.", "chosen="),
    ("rewardbench_scores.jsonl", {}, r"--column chosen=text_chosen --column rejected=text_rejected, or .*--one-user", "user=subset"),
    ("empty_response.jsonl", {}, r"line 1, column 'rejected': 'rejected' is empty", "NAME"),
    ("arena33k.jsonl", {"columns": {"user": "judge", "prompt": "language", "chosen": "conversation_a", "rejected": "conversation_b"}},
     "nothing reads winner, which may say who won", "NAME"),
    ("helpsteer3.jsonl", {"columns": {"user": "domain", "prompt": "context", "chosen": "response1", "rejected": "response2"}},
     "nothing reads individual_preference, overall_preference, which may say who won", "NAME"),
    ("dices.csv", {"columns": {**DICES, "vote": "degree_of_harm"}}, "line 2, column 'degree_of_harm': 'degree_of_harm' is no vote", "'vote' is"),
    ("scores_as_lists.jsonl", {"numbers": ["prompt"]}, "column 'prompt': the column holds texts, not numbers", "skip"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "sentence", "misleading"), REFUSED)
def test_a_file_is_refused_in_one_right_sentence(name: str, asked: dict[str, Any], sentence: str, misleading: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        load(CASES / name, **asked)
    assert misleading not in str(caught.value)


@pytest.mark.parametrize(("header", "remedy"), [("user,response,vote", "item=response"), ("user,item,stance", "vote=stance")])
def test_of_votes_the_column_that_is_missing_is_named(tmp_path: Path, header: str, remedy: str) -> None:
    """Users are there: nothing tells to name them, nor to name a column as it is named."""
    (tmp_path / "v.csv").write_text(f"{header}\nu1,we should build a park,agree\nu2,we should not,disagree\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "v.csv")
    assert f"there is no column '{remedy.split('=')[0]}'; nearest match '{remedy.split('=')[1]}'" in str(caught.value)
    assert str(caught.value).endswith(f"name the column with --column {remedy}.")


@pytest.mark.parametrize(("name", "pairs", "tied"), [("arena55k.csv", 20, 6), ("helpsteer3.jsonl", 28, 4), ("shp.jsonl", 12, 0)])
def test_a_file_without_users_is_one_users(name: str, pairs: int, tied: int) -> None:
    data = load(CASES / name, one_user=True)
    assert (len(data), ties(data), len(data.users)) == (pairs, tied, 1)


def test_arena_turns_in_lists_share_the_first_question() -> None:
    user, prompt, chosen, _ = texts(load(CASES / "arena55k.csv", one_user=True))[0]
    assert (user, prompt) == ("everybody", BREAD)
    assert chosen == f"assistant: {SHORT}\n\nuser: And then?\n\nassistant: Repeat."


def test_scores_in_lists_of_one() -> None:
    data = load(CASES / "scores_as_lists.jsonl", numbers=["reward_chosen", "reward_rejected"])
    assert (data.numbers["reward_chosen"][0], data.numbers["reward_rejected"][0]) == (0.5, 0.8)


@pytest.mark.parametrize("name", ["attr_nan.jsonl", "scores/group_named_nan.csv"])
def test_words_for_nothing_are_missing_when_it_is_said(name: str) -> None:
    scores = {"numbers": ["r_c", "r_r"], "need_texts": False} if name.startswith("scores") else {}
    as_read = load(CASES / name, attributes=["country"], **scores).attributes["country"]
    told = load(CASES / name, attributes=["country"], missing=["nan", "N/A", "None", "null"], **scores).attributes["country"]
    assert {"nan"} & {v.lower() for v in as_read}
    assert not {"nan", "n/a", "none", "null"} & {v.lower() for v in told}
    assert [b for b in told if b] == [a for a in as_read if a.lower() not in ("nan", "n/a", "none", "null", "")]


@pytest.mark.parametrize("name", ["arena33k.jsonl", "multipref.jsonl", "argilla_preference.jsonl", "ultrafeedback_binarized.jsonl"])
def test_nested_columns_of_parquet_are_the_same_pairs(tmp_path: Path, name: str) -> None:
    table = pa.Table.from_pylist([json.loads(line) for line in (CASES / name).read_text().splitlines()])
    pq.write_table(table, tmp_path / "a.parquet")
    assert texts(load(tmp_path / "a.parquet")) == texts(load(CASES / name))

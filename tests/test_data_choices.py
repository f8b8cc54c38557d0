"""Tables of two responses and a label, on made-up rows: what a label says, who said it, where the response stood, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evenhand.core import DataError, PreferenceData
from evenhand.data import labels
from evenhand.data.labels import Choice
from evenhand.data.load import load
from evenhand.data.written import decoded
from evenhand.workflows.audit import margins_of

TIE = -1


def jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def ab(label: Any, **more: Any) -> dict[str, Any]:
    return {"annotator_id": "u", "prompt": "p", "response_a": "left text", "response_b": "right text", "winner": label} | more


def won(data: PreferenceData) -> list[str]:
    """For each pair which text was chosen, or "tie"."""
    tie = [False] * len(data) if data.tie is None else data.tie.tolist()
    return ["tie" if t else data.texts[c] for t, c in zip(tie, data.chosen)]


# ---- one label


@pytest.mark.parametrize(
    ("label", "slots", "best", "strength"),
    [
        ("model_a", "ab", 0, 1), ("model_b", "ab", 1, 1), ("A", "ab", 0, 1), ("b", "ab", 1, 1), ("left", "ab", 0, 1), ("RIGHT", "12", 1, 1),
        ("response-2", "12", 1, 1), ("Response 1", "12", 0, 1), ("response_b", "ab", 1, 1), ("first", "ab", 0, 1), ("response_0", "01", 0, 1),
        ("A-is-clearly-better", "ab", 0, 3), ("B-is-slightly-better", "ab", 1, 1), ("A is better than B", "ab", 0, 2), ("B is a bit better", "ab", 1, 1),
        ("A>>B", "ab", 0, 2), ("A<B", "ab", 1, 1), ("A=B", "ab", TIE, 0), ("A is worse", "ab", 1, 1), ("d", "abcd", 3, 1),
        ("tie", "ab", TIE, 0), ("tie (bothbad)", "ab", TIE, 0), ("both_bad", "ab", TIE, 0), ("About the same", "ab", TIE, 0), ("no preference", "ab", TIE, 0),
    ],
)  # fmt: skip
def test_words_name_a_response(label: str, slots: str, best: int, strength: float) -> None:
    assert labels.read(label, list(slots), labels.Scale()) == Choice(best, strength)


@pytest.mark.parametrize(("label", "reason"), [("model_c", labels.UNKNOWN), ("gpt-x", labels.UNKNOWN), ("", labels.NO_CHOICE), (None, labels.NO_CHOICE),
                                               ("unsure", labels.NO_CHOICE), (float("nan"), labels.NO_CHOICE), (True, labels.UNKNOWN)])  # fmt: skip
def test_labels_that_name_none(label: Any, reason: Any) -> None:
    assert labels.read(label, ["a", "b"], labels.Scale()) is reason


def test_a_model_name_names_its_response() -> None:
    assert labels.read("gpt-x", ["a", "b"], labels.Scale(), ["llama-y", "gpt-x"]) == Choice(1, 1.0)
    assert labels.read("gpt-x", ["a", "b"], labels.Scale(), ["gpt-x", "gpt-x"]) is labels.UNKNOWN


@pytest.mark.parametrize(
    ("values", "slots", "expected"),
    [
        ([0, 1], "ab", {0: (0, 1), 1: (1, 1)}),
        ([1, 2], "ab", {1: (0, 1), 2: (1, 1)}),
        ([0, 1, 2], "12", {0: (TIE, 0), 1: (0, 1), 2: (1, 1)}),
        ([-3, -1, 0, 2], "ab", {-3: (0, 3), -1: (0, 1), 0: (TIE, 0), 2: (1, 2)}),
        ([-1, 1], "12", {-1: (0, 1), 1: (1, 1)}),
        ([1, 4, 5, 7], "ab", {1: (0, 3), 4: (TIE, 0), 5: (1, 1), 7: (1, 3)}),
        ([1, 2, 3], "ab", {1: (0, 1), 2: (TIE, 0), 3: (1, 1)}),
        ([0, 3], "abcd", {0: (0, 1), 3: (3, 1)}),
        ([1, 4], "abcd", {1: (0, 1), 4: (3, 1)}),
    ],
)
def test_numbers_are_read_by_the_whole_column(values: list[float], slots: str, expected: dict[float, tuple[int, float]]) -> None:
    scale = labels.scale_of(values, list(slots), [f"response_{s}" for s in slots])
    assert scale.note
    assert {v: labels.read(v, list(slots), scale) for v in values} == {v: Choice(*e) for v, e in expected.items()}
    assert labels.read(str(float(values[0])), list(slots), scale) == Choice(*expected[values[0]])


@pytest.mark.parametrize("values", [[0, 1, 2], [1, 6], [1, 2, 3, 4], [0, 0.5, 1], [0, 50, 100], [1, 11], [1, 1.25, 2]])
def test_numbers_that_can_be_read_two_ways_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="more than one way"):
        labels.scale_of(values, ["a", "b"], ["response_a", "response_b"])


# ---- whole tables


@pytest.mark.parametrize(
    ("labelled", "expected"),
    [
        (["model_a", "model_b", "tie"], ["left text", "right text", "tie"]),
        ([0, 1, 1], ["left text", "right text", "right text"]),
        ([-2, 0, 1], ["left text", "tie", "right text"]),
        (["left", "right", "right"], ["left text", "right text", "right text"]),
    ],
)
@pytest.mark.parametrize(
    "column",
    ["winner", "preference", "label", "overall_preference", "preferred_response", "choice", "chosen_index", "chosen", "preference_score"],
)
def test_flat_tables(tmp_path: Path, labelled: list[Any], expected: list[str], column: str) -> None:
    rows = [{column if k == "winner" else k: v for k, v in ab(label, prompt=f"p{i}").items()} for i, label in enumerate(labelled)]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert won(data) == expected
    assert data.users == ["u"]
    positions = {"left text": 1, "right text": 2, "tie": 1}
    assert data.numbers["chosen_position"].tolist() == [positions[e] for e in expected]
    assert data.numbers["rejected_position"].tolist() == [3 - positions[e] for e in expected]


@pytest.mark.parametrize(
    ("first", "second"),
    [("completion_a", "completion_b"), ("answer1", "answer2"), ("response-1", "response-2"), ("output_1", "output_2"), ("response_0", "response_1"),
     ("left_response", "right_response"), ("Response A", "Response B"), ("conversation_a", "conversation_b")],
)  # fmt: skip
def test_responses_under_other_names(tmp_path: Path, first: str, second: str) -> None:
    row = {"worker": "w", "instruction": "p", first: "one", second: "two", "winner": "right"}
    assert won(load(jsonl(tmp_path / "a.jsonl", [row]))) == ["two"]


def test_a_user_may_be_an_object(tmp_path: Path) -> None:
    rows = [
        {**{k: v for k, v in ab("model_a").items() if k != "annotator_id"}, "user": who}
        for who in ({"id": 7, "email": "x"}, {"email": "y"})
    ]
    assert load(jsonl(tmp_path / "a.jsonl", rows)).users == ["7", "y"]


def test_any_names_with_column(tmp_path: Path) -> None:
    rows = [{"who": "w", "ask": "p", "x": "one", "y": "two", "pick": "a"}]
    names = {"user": "who", "prompt": "ask", "response_a": "x", "response_b": "y", "label": "pick"}
    data = load(jsonl(tmp_path / "a.jsonl", rows), columns=names)
    assert (won(data), data.users, data.texts[data.prompt[0]]) == (["one"], ["w"], "p")


def test_one_hot_winners_from_csv(tmp_path: Path) -> None:
    rows = [
        ("u", "p", "one", "two", 1, 0, 0),
        ("u", "q", "one", "two", 0, 1, 0),
        ("u", "r", "one", "two", 0, 0, 1),
        ("u", "s", "one", "two", 1, 1, 0),
    ]
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user", "prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"])
        writer.writerows(rows)
    with pytest.raises(DataError, match="line 5"):
        load(tmp_path / "a.csv")
    data = load(tmp_path / "a.csv", on_bad="skip")
    assert (won(data), data.exclusions.rows_in, sum(data.exclusions.reasons.values())) == (["one", "two", "tie"], 4, 1)


def test_k_annotators_of_a_row_are_k_judgements(tmp_path: Path) -> None:
    judged = [{"evaluator": f"e{i}", "overall_pref": p} for i, p in enumerate(["A-is-better", "Tie", "B-is-clearly-better", None])]
    row = {"text": "p", "completion_a": "one", "completion_b": "two", "annotations": judged}
    empty = {**row, "annotations": []}
    data = load(jsonl(tmp_path / "a.jsonl", [row, empty]))
    assert won(data) == ["one", "tie", "two"]
    assert data.users == ["e0", "e1", "e2"]
    reasons = {"nobody chose ('annotations' is empty, or says skipped or unsure)": 1, "nobody judged the row": 1}
    assert (data.exclusions.rows_in, data.exclusions.reasons) == (5, reasons)


def test_judges_without_a_name_are_the_rows_user(tmp_path: Path) -> None:
    """And one without a label chose nothing, whatever else is known of that one."""
    judged = [{"overall_pref": "A-is-better", "note": "short"}, {"note": "B-is-better", "evaluator": "e"}]
    judged += [
        {"overall_pref": "B-is-better", "evaluator": who, "status": status} for who, status in (("f", "Discarded"), ("g", "submitted"))
    ]
    row = {"user": "u", "text": "p", "completion_a": "one", "completion_b": "two", "annotations": judged}
    data = load(jsonl(tmp_path / "a.jsonl", [row]))
    assert (won(data), data.users) == (["one", "two"], ["u", "g"])
    withdrawn = "the judgement was cancelled, or is a draft"
    assert data.exclusions.reasons == {"nobody chose ('annotations' is empty, or says skipped or unsure)": 1, withdrawn: 1}


def test_lists_side_by_side_and_drafts(tmp_path: Path) -> None:
    row = {"prompt": "p", "response-1": "one", "response-2": "two", "q.responses": ["response-1", "response-2", "response-2"],
           "q.responses.users": ["x", "y", "z"], "q.responses.status": ["submitted", "submitted", "draft"]}  # fmt: skip
    data = load(jsonl(tmp_path / "a.jsonl", [row]))
    assert (won(data), data.users) == (["one", "two"], ["x", "y"])
    assert data.exclusions.reasons == {"the judgement was cancelled, or is a draft": 1}
    objects = [{"value": "response-1"}, {"value": "response-2"}, {"value": "response-1"}]
    assert won(load(jsonl(tmp_path / "a.jsonl", [{**row, "q.responses": objects}]))) == ["one", "two"]
    data = load(jsonl(tmp_path / "a.jsonl", [{**row, "q.responses.users": ["x", "y"], "q.responses.status": []}]), on_bad="skip")
    assert (won(data), data.users, data.exclusions.reasons) == (["one", "two"], ["x", "y"], {"'user' is missing": 1})


def test_nested_exports_with_cancelled_annotations(tmp_path: Path) -> None:
    def task(selected: str, who: Any, cancelled: bool = False) -> dict[str, Any]:
        result = [{"value": {"selected": selected}, "from_name": "comparison", "type": "pairwise"}]
        annotation = {"id": 7, "completed_by": who, "result": result, "was_cancelled": cancelled}
        return {"id": 1, "data": {"prompt": "p", "answer1": "one", "answer2": "two"}, "annotations": [annotation], "predictions": []}

    rows = [task("left", {"id": 4, "email": "x@example.org"}), task("right", 5), task("left", 4, cancelled=True)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    data = load(tmp_path / "a.json")
    assert (won(data), data.users, data.exclusions.rows_in) == (["one", "two"], ["4", "5"], 3)


@pytest.mark.parametrize(
    "judged",
    [
        {"preference": [{"value": "response-1", "user_id": "x"}, {"value": "response-2", "user_id": "y", "status": "submitted"}]},
        [
            {"user_id": "x", "values": {"preference": {"value": "response-1"}}},
            {"user_id": "y", "values": {"preference": {"value": "response-2"}}},
        ],
    ],
)
def test_records_of_an_annotation_server(tmp_path: Path, judged: Any) -> None:
    row = {"id": "r", "status": "completed", "fields": {"prompt": "p", "response-1": "one", "response-2": "two"}, "responses": judged}
    data = load(jsonl(tmp_path / "a.jsonl", [row]))
    assert (won(data), data.users, data.texts[data.prompt[0]]) == (["one", "two"], ["x", "y"], "p")


def test_four_responses_and_a_second_turn_that_continues(tmp_path: Path) -> None:
    def turn(name: str, best: str) -> dict[str, str]:
        return {f"{name}_turn_prompt": f"{name}?", f"{name}_turn_preferred_response": best} | {
            f"{name}_turn_response_{s}": f"{name} {s}" for s in "abcd"
        }

    rows = [turn("first", "response_c") | turn("second", "b") | {"annotator_id": "1"}]
    rows += [turn("first", "a") | dict.fromkeys(turn("second", ""), "") | {"annotator_id": "2", "first_turn_response_d": ""}]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    pairs = [
        (data.users[u], data.texts[p], data.texts[c], data.texts[r])
        for u, p, c, r in zip(data.user, data.prompt, data.chosen, data.rejected)
    ]
    later = "user: first?\n\nassistant: first c\n\nuser: second?"
    assert pairs == [
        *(("1", "first?", "first c", f"first {s}") for s in "abd"),
        *(("1", later, "second b", f"second {s}") for s in "acd"),
        *(("2", "first?", "first a", f"first {s}") for s in "bc"),
    ]


def test_conversations_share_their_start(tmp_path: Path) -> None:
    def chat(answer: str) -> list[dict[str, str]]:
        said = ["hi", "hello", "who?", answer]
        return [{"role": "assistant" if i % 2 else "user", "content": t} for i, t in enumerate(said)]

    row = {"judge": "j", "conversation_a": chat("me"), "conversation_b": chat("you"), "winner": "model_b"}
    as_text = row | {"conversation_a": json.dumps(chat("me")), "conversation_b": json.dumps(chat("you"))}
    for rows in ([row], [as_text]):
        data = load(jsonl(tmp_path / "a.jsonl", rows))
        assert (won(data), data.texts[data.rejected[0]], data.texts[data.prompt[0]]) == (
            ["you"], "me", "user: hi\n\nassistant: hello\n\nuser: who?",
        )  # fmt: skip


def test_equal_responses_are_set_aside_and_unknown_labels_are_bad(tmp_path: Path) -> None:
    rows = [
        ab("model_a"),
        ab("model_b", response_b="left text", prompt="q"),
        ab("model_x", prompt="r"),
        ab("model_a", response_b=None, prompt="s"),
    ]
    path = jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match="line 3, column 'label': 'winner' names none of the responses"):
        load(path)
    data = load(path, on_bad="skip")
    reasons = {"the responses are the same": 1, "'winner' names none of the responses": 1, "a response is missing": 1}
    assert (len(data), data.exclusions.rows_in, data.exclusions.reasons) == (1, 4, reasons)


def test_scores_of_each_response_follow_the_choice(tmp_path: Path) -> None:
    rows = [ab("model_b", reward_a=0.25, reward_b=1.0), ab("model_a", prompt="q", reward_a=-1.0, reward_b=2.0)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    data = load(path, numbers=["reward"], need_texts=False)
    assert data.numbers["reward_chosen"].tolist() == [1.0, -1.0]
    assert margins_of(data, ["reward"]).tolist() == [0.75, -3.0]
    with pytest.raises(DataError, match="ask for 'reward'"):
        load(path, numbers=["reward_a", "reward_b"])


def test_strength_is_kept_and_used_only_when_asked(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [ab(v, prompt=f"p{v}") for v in (-3, -1, 0, 2)])
    data = load(path)
    assert (data.numbers["strength"].tolist(), data.weight, won(data).count("tie")) == ([3, 1, 0, 2], None, 1)
    assert "a label below 0 = response_a is better" in data.source
    assert won(load(path, min_strength=2)) == ["left text", "tie", "tie", "right text"]
    weighed = load(path, weigh_strength=True)
    assert weighed.weight is not None
    assert weighed.weight.tolist() == [3, 1, 1, 2]


def test_a_changed_choice_counts_once(tmp_path: Path) -> None:
    rows = [ab("model_a", tstamp=5.0), ab("model_b", tstamp=9.5), ab("model_a", tstamp=1.0), ab("model_a", annotator_id="v", tstamp=2.0)]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert sorted(zip((data.users[u] for u in data.user), won(data))) == [("u", "right text"), ("v", "left text")]
    assert data.exclusions.reasons == {"judged again later by the same user": 2}


def test_users_that_nobody_names(tmp_path: Path) -> None:
    rows = [{k: v for k, v in ab(label, prompt=f"p{i}").items() if k != "annotator_id"} for i, label in enumerate(["model_a", "tie"])]
    path = jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=r"no column says who chose: 2 judgements \(1 ties\)"):
        load(path)
    assert load(path, one_user=True).users == ["everybody"]


@pytest.mark.parametrize("unread", ["winner", "preference", "label", "overall_preference", "preferred_answer", "choice"])
def test_a_label_that_nothing_reads_is_named(tmp_path: Path, unread: str) -> None:
    row = {"who": "u", "prompt": "p", "first_text": "one", "other_text": "two", unread: "b"}
    names = {"user": "who", "chosen": "first_text", "rejected": "other_text"}
    path = jsonl(tmp_path / "a.jsonl", [row])
    with pytest.raises(DataError, match=f"nothing reads {unread}, which may say who won"):
        load(path, columns=names)
    assert len(load(path, columns=names, attributes=[unread])) == 1  # it was asked for as something else


def test_a_label_beside_columns_of_these_names_is_told(tmp_path: Path) -> None:
    row = {"user": "u", "prompt": "p", "chosen": "one", "rejected": "two", "label": "x", "winner": "b"}
    path = jsonl(tmp_path / "a.jsonl", [row])
    assert load(path).source == "a.jsonl (JSONL, table; chosen and rejected say who won; not read: label, winner)"
    assert "not read: winner)" in load(path, attributes=["label"]).source


def test_hints_are_good_or_absent(tmp_path: Path) -> None:
    """No label, date, id or number is proposed as a text; a name with a space can be pasted."""
    row = {
        "Worker ID": "w",
        "chosen_at": "2024-05-01",
        "chosen_id": "a3f0c9d2e1b4",
        "chosen_n": 3,
        "Prompt text": "Why?",
        "best answer": "x",
    }
    with pytest.raises(DataError) as caught:
        load(jsonl(tmp_path / "a.jsonl", [row]))
    assert "chosen=" not in str(caught.value)
    named = row | {"The chosen answer": "Because it is so.", "user": "w"}
    with pytest.raises(DataError, match="--column 'chosen=The chosen answer'"):
        load(jsonl(tmp_path / "b.jsonl", [named]))


LEFT = [{"role": "user", "content": "it's 'p'?"}, {"role": "assistant", "content": "one"}]
RIGHT = [{"role": "user", "content": "it's 'p'?"}, {"role": "assistant", "content": 'two "2"'}]


@pytest.mark.parametrize("between", [None, ", ", "\n "])  # as JSON, as Python prints it, as NumPy does
def test_lists_in_cells_however_they_were_printed(tmp_path: Path, between: str | None) -> None:
    one, two = (json.dumps(said) if between is None else f"[{between.join(map(repr, said))}]" for said in (LEFT, RIGHT))
    data = load(jsonl(tmp_path / "a.jsonl", [{"judge": "j", "conversation_a": one, "conversation_b": two, "winner": "model_b"}]))
    assert (won(data), data.texts[data.rejected[0]], data.texts[data.prompt[0]]) == (['two "2"'], "one", "it's 'p'?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a' 'b']", ["a", "b"]),  # two texts, not one
        ('["a", null]', ["a", None]),
        ("[{'n': nan, 'l': array(['x'], dtype=object)}]", [{"n": None, "l": ["x"]}]),
        ("[array(['x'], dtype=object), array([1], dtype=object)]", [["x"], [1]]),
        ("['unended", "['unended"),
        ("[__import__('os').getpid()]", "[__import__('os').getpid()]"),
        ("[1] a footnote", "[1] a footnote"),
        ("[" * 5000, "[" * 5000),
        ("['" + "[" * 5000 + "'] and on", "['" + "[" * 5000 + "'] and on"),
    ],
)
def test_what_is_a_list_in_a_cell(text: str, expected: Any) -> None:
    assert decoded(text) == expected


def test_of_several_questions_the_one_on_the_whole_counts(tmp_path: Path) -> None:
    """Other questions stand before it, with answers that could be read as a choice, too."""
    texts = {"prompt": "p", "response-1": "one", "response-2": "two"}
    said = {"clarity": {"value": 1}, "preference": {"value": "response-2"}}
    asked = [
        {"fields": texts, "responses": [{"user_id": "x", "values": said}]},
        {"fields": texts, "responses": {q: [{"user_id": "x", **v}] for q, v in said.items()}},
        {**texts, **{f"{q}.responses": [v["value"]] for q, v in said.items()}, **{f"{q}.responses.users": ["x"] for q in said}},
        {"fields": texts, "responses": {q: [{"user_id": "x", "value": "response-2"}] for q in ("preference", "safety_preference")}},
        {**texts, "preference": {"user_id": ["x"], "value": ["response-2"], "status": ["submitted"]}},
        {**texts, "preference": [{"user_id": "x", "value": "response-2", "status": "submitted"}]},
        {"data": texts, "annotations": [{"completed_by": "x", "result": [{"value": {"rating": 1}}, {"value": {"selected": "right"}}]}]},
        {"fields": texts, "responses": [{"user_id": "x", "values": {"preference": {"value": [
            {"value": "response-1", "rank": 2}, {"value": "response-2", "rank": 1}]}}}]},
    ]  # fmt: skip
    for i, row in enumerate(asked):
        data = load(jsonl(tmp_path / f"{i}.jsonl", [row]))
        assert (i, won(data), data.users) == (i, ["two"], ["x"])


def test_the_label_of_community_posts_says_whether_the_first_is_preferred(tmp_path: Path) -> None:
    rows = [{"history": f"h{i}", "human_ref_A": "one", "human_ref_B": "two", "labels": i} for i in (0, 1)]
    assert won(load(jsonl(tmp_path / "a.jsonl", rows), one_user=True)) == ["two", "one"]


def test_the_middle_between_two_numbers_is_a_tie(tmp_path: Path) -> None:
    rows = [ab(v, prompt=f"p{v}") for v in (1, 2, 1.5)]
    data = load(jsonl(tmp_path / "a.jsonl", rows))
    assert (won(data), data.numbers["strength"].tolist()) == (["left text", "right text", "tie"], [1, 1, 0])


def test_a_label_may_be_the_response_itself(tmp_path: Path) -> None:
    long = "a long response " * 9
    rows = [ab(v, prompt=v[:9], response_a=long) for v in ("right text", long)]
    assert won(load(jsonl(tmp_path / "a.jsonl", rows))) == ["right text", long]


TABLES_OF_OTHER_NAMES: list[tuple[dict[str, Any], str]] = [
    ({"rater": "u", "prompt": "p", "reply": "a text", "stars": 4}, "--column user=rater --column response=reply --column score=stars."),
    ({"user": "u", "statement": "a text", "vote": 1}, "--column item=statement."),
    ({"user": "u", "statement": "a text", "answer": "yes"}, "--column item=statement --column vote=answer."),
    ({"user": "u", "statement": "17", "text": "a text", "answer": "yes"}, "--column item=text --column vote=answer."),
    ({"user": "u", "prompt": "p q", "completion": "a text", "label": True}, "--column item=completion --column vote=label."),
    ({"rater_id": "u", "response": "a text", "item_id": "1", "Q1_harm": "No", "Q_overall": "Yes"},
     "--column user=rater_id --column item=response --column vote=Q_overall."),
    ({"user": "u", "query": "p q", "winning_answer": "a text", "losing_answer": "b text", "chosen_date": "2024-05-01"},
     "--column chosen=winning_answer --column prompt=query --column rejected=losing_answer."),
    ({"worker": "u", "prompt": "p q", "text_1": "a text", "text_2": "b text", "gewinner": "1"}, 
     "--column user=worker --column response_a=text_1 --column response_b=text_2 --column label=NAME."),
]  # fmt: skip


@pytest.mark.parametrize(("row", "remedy"), TABLES_OF_OTHER_NAMES)
def test_a_table_of_other_names_is_told_what_it_may_be(tmp_path: Path, row: dict[str, Any], remedy: str) -> None:
    with pytest.raises(DataError) as caught:
        load(jsonl(tmp_path / "a.jsonl", [row]))
    assert f"To do: name the column with {remedy}" in str(caught.value)


def test_one_hot_columns_of_two_kinds_of_ties(tmp_path: Path) -> None:
    kinds = ["winner_model_a", "winner_model_b", "winner_tie", "winner_tie (bothbad)", "winner_bothbad"]
    rows = [{"user": "u", "prompt": on, "response_a": "one", "response_b": "two", **{k: k == on for k in kinds}} for on in kinds]
    assert won(load(jsonl(tmp_path / "a.jsonl", rows))) == ["one", "two", "tie", "tie", "tie"]


@pytest.mark.parametrize("lists", [("annotations",), ("preference.responses", "preference.responses.users", "preference.responses.status")])
@pytest.mark.parametrize("odd", [3, {"x": 1}, True, -0.5])
def test_what_is_no_list_of_judges_is_nobodys_judgement(tmp_path: Path, lists: tuple[str, ...], odd: object) -> None:
    """In one row of a file whose other rows have lists there."""
    whole: dict[str, Any] = {"prompt": "p", "response_a": "x", "response_b": "y"}
    if len(lists) == 1:
        whole |= {"annotations": [{"annotator_id": "u", "preference": "a"}, {"annotator_id": "v", "preference": "b"}]}
    else:
        whole |= dict(zip(lists, (["a", "b"], ["u", "v"], ["submitted", "submitted"])))
    for name in lists:
        data = load(jsonl(tmp_path / "a.jsonl", [whole, {**whole, "prompt": "q", name: odd}]), on_bad="skip")
        left = data.texts.index("q") if "q" in data.texts else -2
        assert (data.prompt != left).sum() == 2
        assert (data.prompt == left).sum() == (2 if name.endswith("status") else 0)


def test_no_choice_is_none() -> None:
    for said in ("no choice", "No choice made"):
        assert labels.read(said, ("a", "b"), labels.Scale()) is labels.NO_CHOICE

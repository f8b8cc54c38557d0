"""One conversation through every way in: the texts that `load` makes of a pair are the texts that a saved model scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evenhand
from evenhand.core import EvenhandError
from evenhand.data.conversations import Turn, _place, answered
from evenhand.encode.projection import FeatureMap
from evenhand.models.attention import Attention
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.states import UserStates

ASK = {"role": "user", "content": "Name a colour."}
SYSTEM = {"role": "system", "content": "Be brief."}
BLUE, MANY = ({"role": "assistant", "content": text} for text in ("Blue.", "There are so many!"))
COLOURS, THINGS = ["red", "green", "blue", "dark", "pale"], ["house", "hat", "tree", "boat", "roof", "wall", "door"]
AGAIN = [ASK, BLUE, {"role": "user", "content": "Another."}]


@pytest.mark.parametrize(
    ("prompt", "response", "texts"),
    [
        ("Name a colour.", "Blue.", ("Name a colour.", "Blue.")),
        ("", "Blue.", ("", "Blue.")),
        (None, "Blue.", ("", "Blue.")),
        ([ASK], [BLUE], ("Name a colour.", "Blue.")),
        ([ASK], "Blue.", ("Name a colour.", "Blue.")),
        ("Name a colour.", [BLUE], ("Name a colour.", "Blue.")),
        ("Name a colour.", [ASK, BLUE], ("Name a colour.", "Blue.")),
        (None, [ASK, BLUE], ("Name a colour.", "Blue.")),
        (AGAIN, [MANY], ("user: Name a colour.\n\nassistant: Blue.\n\nuser: Another.", "There are so many!")),
        (AGAIN, [*AGAIN, MANY], ("user: Name a colour.\n\nassistant: Blue.\n\nuser: Another.", "There are so many!")),
        ([ASK], [SYSTEM, ASK, BLUE], ("system: Be brief.\n\nuser: Name a colour.", "Blue.")),
        ("\n\nHuman: Name a colour.\n\nAssistant:", " Blue.", ("Name a colour.", "Blue.")),
        ("", "\n\nHuman: Name a colour.\n\nAssistant: Blue.", ("Name a colour.", "Blue.")),
        ("Name a colour.", "Human: or AI: who knows", ("Name a colour.", "Human: or AI: who knows")),
        ({"messages": [ASK]}, [BLUE], ("Name a colour.", "Blue.")),
        ([ASK], [{"role": "assistant", "content": [{"type": "text", "text": "Blue."}]}], ("Name a colour.", "Blue.")),
    ],
)
def test_messages_and_texts_become_the_same_two_texts(prompt: Any, response: Any, texts: tuple[str, str]) -> None:
    assert answered(prompt, response) == (*texts, None)


@pytest.mark.parametrize(("prompt", "ours", "theirs"), [([ASK], [BLUE], [MANY]), (None, [ASK, BLUE], [ASK, MANY]), (AGAIN, [MANY], [BLUE])])
def test_they_are_those_of_a_loaded_table(prompt: Any, ours: Any, theirs: Any, tmp_path: Path) -> None:
    row = {"user": "u", "chosen": ours, "rejected": theirs} | ({"prompt": prompt} if prompt else {})
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "user": "v"}) + "\n")
    data = evenhand.load(tmp_path / "pairs.jsonl")
    loaded = {(data.texts[data.prompt[0]], data.texts[side[0]]) for side in (data.chosen, data.rejected)}
    assert loaded == {answered(prompt, ours)[:2], answered(prompt, theirs)[:2]}


@pytest.fixture(scope="module")
def model() -> RewardModel:
    texts = [f"{COLOURS[i % 5]} {THINGS[i % 7]}" for i in range(40)]
    features = FeatureMap.fit(texts, None, dim=4)
    head = Attention(rank=2)
    scorer = head.build(4, 0)
    with torch.no_grad():
        scorer.b += torch.arange(4.0)  # type: ignore[operator,attr-defined]
    return RewardModel(None, features, head, scorer)


def test_a_user_read_once_scores_like_the_history(model: RewardModel) -> None:
    history = [("", "green hat", "dark boat"), {"prompt": "", "chosen": "pale roof", "rejected": "red house"}]
    told = [
        {"prompt": "", "chosen": [{"role": "assistant", "content": "green hat"}], "rejected": "dark boat"},
        history[1],
    ]
    responses = [f"{COLOURS[i]} {THINGS[i]}" for i in range(5)]
    user = model.user(history)
    assert np.array_equal(user.score([""] * 5, responses), model.score(history, [""] * 5, responses))
    assert np.array_equal(model.user(told).state, user.state)
    nobody = model.user().score([""] * 5, responses)
    assert not np.allclose(nobody, user.score([""] * 5, responses))
    mixed = model.score_as([user, model.user()], [0, 1, 0, 1, 0], [""] * 5, responses)
    assert np.allclose(mixed, np.where([True, False, True, False, True], user.score([""] * 5, responses), nobody), atol=1e-6)
    assert user.score([], []).shape == (0,)


def test_a_state_of_another_model_is_refused(model: RewardModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = RewardModel.load(tmp_path / "model")
    with pytest.raises(EvenhandError, match="state of another model"):
        again.score_as([model.user()], [0], ["p"], ["r"])


def test_the_fingerprint_goes_by_what_decides_a_reward(model: RewardModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert RewardModel.load(tmp_path / "model").fingerprint == model.fingerprint
    other = model.head.build(4, 1)
    assert RewardModel(None, model.feature_map, model.head, other).fingerprint != model.fingerprint
    assert RewardModel(None, model.feature_map, model.head, model.scorer, facts={"seed": 3}).fingerprint == model.fingerprint
    assert RewardModel(None, model.feature_map, model.head, model.scorer, with_prompt=True).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    ("prompts", "responses"), [([{"role": "user"}], ["r"]), (["p"], [7]), ([[{"no": "role"}]], ["r"]), (["p"], [None])]
)
def test_what_is_no_text_is_named(model: RewardModel, prompts: Any, responses: Any) -> None:
    with pytest.raises(EvenhandError, match=r"(prompts|responses)\[0\] is neither a text nor messages: "):
        model.user().score(prompts, responses)


TOOL = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ([], "the list of messages is empty"),
        (["Blue."] * 2, "message 0 is of type str"),
        ([ASK, {"content": "Blue."}], "message 1 has no role"),
        ([{"role": 7, "content": "Blue."}], "message 0 has a role of type int"),
        ([ASK, {"role": "assistant"}], "message 1 has no content"),
        ([{"role": "assistant", "tool_calls": []}], "message 0 has no content"),
        ([{"role": "assistant", "content": 7}], "message 0 has content of type int"),
        (
            [{"role": "assistant", "content": [{"text": 7}]}],
            "message 0 has a part in its content that is neither a text nor of another type than text",
        ),
        ([{"role": "assistant", "content": b"Blue."}], "message 0 has content of type bytes"),
        ([{"role": "user", "content": "Another question"}, TOOL], "holds no text"),
        ([ASK, BLUE, ASK], "ends with a turn of the user or the system"),
        ([SYSTEM], "ends with a turn of the user or the system"),
        ([ASK, TOOL], "holds no text"),
        ("   ", "holds no text"),
    ],
)
def test_what_is_wrong_with_messages_is_true(model: RewardModel, response: Any, said: str) -> None:
    with pytest.raises(EvenhandError) as error:
        model.user().score(["Name a colour."], [response])
    assert said in str(error.value)
    assert "Blue" not in str(error.value)
    assert all(part in str(error.value) for part in ("responses[0]", "Expected: ", "To do: "))


def test_ten_thousand_turns_that_repeat_take_steps_in_proportion() -> None:
    """As many turns as a body of 1 MB holds, half of them the prompt's, all alike but the last: compared place by place, that is 25,000,000 turns."""
    seen = [0]

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            seen[0] += 1
            return str.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            seen[0] += 1
            return str.__ne__(self, other)

        __hash__ = str.__hash__

        def strip(self, chars: str | None = None) -> str:
            return self

    turn = Turn("assistant", Counted("a"))
    assert _place([turn] * 10_000, [turn] * 4_999 + [Turn("user", Counted("b"))]) == -1
    assert _place([turn] * 9 + [Turn("user", Counted("b"))], [turn, Turn("user", Counted("b"))]) == 8
    assert seen[0] < 100_000


def test_states_are_kept_with_a_bound_and_an_age(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    users = RewardModel.users
    monkeypatch.setattr(RewardModel, "users", lambda self, of: asked.append(len(of)) or users(self, of))
    now = [0.0]
    states = UserStates(model, most=2, longest=10, clock=lambda: now[0])
    one, two, three = ([("", THINGS[i], COLOURS[i])] for i in range(3))
    first = states.of([one, two, one])
    assert asked == [2]
    assert first[0] is first[2]
    assert states.of([one])[0] is first[0]
    assert asked[-1] == 0  # nothing to read
    assert all(state.state.untyped_storage().nbytes() == 4 * len(state.state) for state in first)  # none keeps its neighbours' alive
    states.of([three])  # two was used least recently
    assert states.of([one])[0] is first[0]
    assert states.of([two])[0] is not first[1]
    assert len(states) == 2
    now[0] = 11
    assert states.of([one])[0] is not first[0]
    assert len(states) == 1, "what is too old goes, whoever is asked for"
    states.of([two])
    now[0] = 21.5
    states.clean()
    assert len(states) == 0

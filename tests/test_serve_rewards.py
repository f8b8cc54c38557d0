"""Rewards inside TRL, verl and OpenRLHF, asked in the very shapes in which their source asks; and one conversation through every door."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_serve_asked import AGAIN, ASK, BLUE, COLOURS, MANY, THINGS
from tiny_models import tiny_qwen3

import evenhand
from evenhand.core import DataError, EvenhandError
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap
from evenhand.models.attention import Attention
from evenhand.models.linear import Linear
from evenhand.serve import loaded as loaded_file
from evenhand.serve.histories import histories_of
from evenhand.serve.openrlhf_reward import reward_func_of
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.trl_reward import reward_function
from evenhand.serve.verl_reward import compute_score

TEXTS = [f"{COLOURS[i % 5]} {THINGS[i % 7]}" for i in range(35)]
ANN = [("Name a thing.", "green hat", "dark boat"), ("Name a thing.", "pale roof", "red house")]
BOB = [("Name a thing.", "dark boat", "green hat")]
PROMPTS, ANSWERS = ["Name a thing."] * 4, ["green hat", "dark boat", "green hat", "red door"]
CHATML = "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n"


def model_of(encoder: TextEncoder | None = None, with_prompt: bool = True, head: Any = None) -> RewardModel:
    """Untrained, but each coordinate counts."""
    head = head or Attention(rank=2)
    feature_map = FeatureMap.fit(TEXTS, None if encoder is None else encoder.encode(TEXTS), dim=6)
    scorer = head.build(6, 0)
    with torch.no_grad():
        for p in scorer.parameters():
            p += torch.linspace(0.2, 0.8, p.numel()).reshape(p.shape)
    return RewardModel(encoder, feature_map, head, scorer, with_prompt)


@pytest.fixture(scope="module")
def model() -> RewardModel:
    return model_of()


@pytest.fixture(scope="module")
def place(model: RewardModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, saved, and the choices of Ann and Bob (user 7)."""
    place = tmp_path_factory.mktemp("rewards")
    model.save(place / "model")
    rows = [{"user": u, "prompt": p, "chosen": c, "rejected": r} for u, h in (("ann", ANN), (7, BOB)) for p, c, r in h]
    tie = {"user": "ann", "prompt": "Name a thing.", "chosen": "red wall", "rejected": "dark wall", "tie": True}
    (place / "choices.jsonl").write_text("".join(json.dumps({"tie": False, "country": "NL", **row}) + "\n" for row in [*rows, tie]))
    return place


class Untouched:
    """A column that nothing may read."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("a column that is none of this function's was read")


def test_every_completion_has_its_user_s_reward_and_nothing_else_is_read(model: RewardModel) -> None:
    reward = reward_function(model, {"ann": ANN, 7: BOB}, name="taste")
    logged: dict[str, float] = {}
    with pytest.warns(UserWarning, match="1 of 4 completions are for users without a history"):
        found = reward(
            prompts=PROMPTS, completions=ANSWERS, completion_ids=[[1]] * 4, user=["ann", 7.0, "7", "nobody"], group=Untouched(),
            trainer_state=Untouched(), log_metric=logged.__setitem__,
        )  # fmt: skip
    histories = [ANN, BOB, BOB, []]
    assert found == pytest.approx([model.score(h, [p], [a])[0] for h, p, a in zip(histories, PROMPTS, ANSWERS)], abs=1e-6)
    assert abs((found[0] or 0) - (found[2] or 0)) > 0.01, "one answer, two users"
    assert reward.__name__ == "taste"
    assert logged == {"taste/known_users": 0.75}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        reward(prompts=PROMPTS[:1], completions=ANSWERS[:1], user=[None])
    assert reward.unknown == 2


def test_what_holds_no_text_has_no_reward(model: RewardModel) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look_up"}}]}
    reward = reward_function(model)
    found = reward(prompts=[[ASK]] * 4, completions=[[BLUE], [{**BLUE, "content": " \n"}], [call], [call, BLUE]])
    assert [r is None for r in found] == [False, True, True, False]
    assert reward(prompts=["p", "p"], completions=["", "Blue."])[0] is None
    assert reward(prompts=[], completions=[]) == []
    assert found[0] == pytest.approx(model.score([], ["Name a colour."], ["Blue."])[0], abs=1e-6), "nobody asks: the reward for everybody"


def test_histories_come_from_a_mapping_a_table_or_a_column(model: RewardModel, place: Path) -> None:
    users = ["ann", "7", "ann", "7"]
    expected = reward_function(model, {"ann": ANN, "7": BOB})(prompts=PROMPTS, completions=ANSWERS, who=users, user=users)
    table = place / "choices.jsonl"
    for given in (table, str(table), evenhand.load(table)):
        assert reward_function(place / "model", given, user_column="who")(PROMPTS, ANSWERS, who=users) == expected
    own = [[{"prompt": p, "chosen": c, "rejected": r} for p, c, r in (ANN if u == "ann" else BOB)] for u in users]
    assert reward_function(model, history_column="own")(PROMPTS, ANSWERS, own=own) == expected
    found = histories_of(table)
    assert {user: found[user] for user in found} == {"ann": ANN, "7": BOB}, "ties are no choices"


@pytest.mark.parametrize(
    "of", [reward_function, reward_func_of, lambda model, **given: compute_score("", "x", "", {}, model=model, **given)]
)
def test_a_model_blind_to_prompts_is_asked_for_by_name(of: Callable[..., Any], tmp_path: Path) -> None:
    model_of(with_prompt=False).save(tmp_path / "model")
    with pytest.raises(EvenhandError, match=r"reads responses alone.*blind=\"allow\""):
        of(tmp_path / "model")
    assert of(tmp_path / "model", blind="allow")
    with pytest.raises(EvenhandError, match="error or allow"):
        of(tmp_path / "model", blind="yes")


def test_what_is_missing_or_given_twice_is_named(model: RewardModel, tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match=r"columns country beside prompts\. Expected: 'user'"):
        reward_function(model, {"ann": ANN})(prompts=["p"], completions=["r"], country=["NL"])
    for user in ("ann", ["ann"]):  # of two completions
        with pytest.raises(EvenhandError, match="Expected: a list of 2"):
            reward_function(model, {"ann": ANN})(prompts=["p"] * 2, completions=["r"] * 2, user=user)
    with pytest.raises(EvenhandError, match="history_column="):
        reward_function(model, history_column="own")(prompts=["p"], completions=["r"])
    with pytest.raises(EvenhandError, match="one of the two"):
        reward_function(model, {"ann": ANN}, history_column="own")
    with pytest.raises(EvenhandError, match="two keys that name one user"):
        reward_function(model, {"7": ANN, 7: BOB})
    with pytest.raises(EvenhandError, match="a key that is no user id"):
        reward_function(model, {(): ANN})
    with pytest.raises(EvenhandError, match=r"prompts\[0\] is neither a text nor messages: it is of type int"):
        reward_function(model)(prompts=[5], completions=["r"])
    with pytest.raises(DataError):
        reward_function(model, tmp_path / "nothing.jsonl")


# --- verl: partial(call, function, reward_kwargs) is asked with keywords, one response at a time, from threads of an event loop ---


def as_verl(raw: Callable[..., Any], reward_kwargs: dict[str, Any]) -> Callable[..., Any]:
    def call(raw: Callable[..., Any], extra: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return raw(*args, **{**kwargs, **extra})

    return partial(call, raw, reward_kwargs)


def ask_verl(function: Callable[..., Any], rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()
        asked = ({"data_source": "own", "ground_truth": "", **row} for row in rows)
        return await asyncio.gather(*(loop.run_in_executor(None, partial(function, **row)) for row in asked))

    return asyncio.run(run())


def test_verl_asks_one_response_at_a_time_and_the_model_is_loaded_once(
    model: RewardModel, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    load = RewardModel.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(RewardModel, "load", classmethod(lambda cls, folder: loads.append(folder) or load(cls, folder)))
    loaded_file._loaded.cache_clear()
    model.save(tmp_path / "model")
    function = as_verl(compute_score, {"model": str(tmp_path / "model"), "histories": str(place / "choices.jsonl"), "unscored": -9.0})
    extra = {"num_turns": 2, "rollout_reward_scores": {}, "index": 0}
    rows = [
        {"solution_str": "green hat", "extra_info": {"user": "ann", "prompt": "Name a thing.", **extra}},
        {
            "solution_str": "green hat",
            "extra_info": {"user": 7, "prompt": np.array([{"role": "user", "content": "Name a thing."}]), **extra},
        },
        {"solution_str": "green hat", "extra_info": {"user": "nobody", "prompt": "Name a thing.", **extra}},
        {"solution_str": "green hat", "extra_info": {"history": np.array([list(c) for c in ANN]), "prompt": "Name a thing.", **extra}},
        {"solution_str": "", "extra_info": {"user": "ann", "prompt": "Name a thing.", **extra}},
    ]
    found = ask_verl(function, rows)
    expected = [model.score(h, ["Name a thing."], ["green hat"])[0] for h in (ANN, BOB, [], ANN)]
    assert [f["score"] for f in found[:4]] == pytest.approx(expected, abs=1e-6)
    assert found[4] == {"score": -9.0, "scored": 0.0, "known_user": 1.0}
    assert [f["known_user"] for f in found] == [1, 1, 0, 1, 1]
    assert len({tuple(f) for f in found}) == 1, "the same keys in each: verl makes arrays of them"
    assert len(loads) == 1
    other = model_of()
    with torch.no_grad():
        other.scorer.b += torch.linspace(-3, 3, 6)  # type: ignore[operator,attr-defined]
    other.save(tmp_path / "model")
    assert ask_verl(function, rows[:1])[0]["score"] == pytest.approx(other.score(ANN, ["Name a thing."], ["green hat"])[0], abs=1e-6)
    assert len(loads) == 2, "another model in the same place is another model"
    for extra_info, missing in (({"user": "ann"}, "prompt"), ({"prompt": "p"}, "user"), (None, "prompt")):
        with pytest.raises(EvenhandError, match=f'no "{missing}" in extra_info'):
            function(data_source="own", ground_truth="", solution_str="green hat", extra_info=extra_info)
    with pytest.raises(EvenhandError, match="no saved model in"):
        compute_score("own", "green hat", "", {}, model=tmp_path / "gone")


# --- OpenRLHF: a file by its path, `reward_func` in a thread with lists of one; a query is decoded with its special tokens ---


def ask_openrlhf(file: Path, rows: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("reward_func", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def run() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(module.reward_func, [q], [p], [label]) for q, p, label in rows))

    return asyncio.run(run())


def test_openrlhf_asks_by_a_file_of_two_lines(model: RewardModel, place: Path, tmp_path: Path) -> None:
    lines = (
        "from evenhand.serve.openrlhf_reward import reward_func_of",
        f"reward_func = reward_func_of({str(place / 'model')!r}, {str(place / 'choices.jsonl')!r}, unscored=-9.0)",
    )
    (tmp_path / "reward.py").write_text("\n".join(lines) + "\n")
    query = CHATML + "Blue.<|im_end|>"
    told = json.dumps({"user": "ann", "prompt": [ASK]})
    system = "<|im_start|>system\nBe brief.<|im_end|>\n" + CHATML
    found = ask_openrlhf(
        tmp_path / "reward.py",
        [
            (query, CHATML, "ann"), (query, CHATML, 7), (query, CHATML, ""), (query, CHATML, json.dumps({"history": ANN})),
            ("<s>" + query, "<s>" + CHATML, told), ("Name a colour. Blue.</s>", "Name a colour.", {"user": "ann", "prompt": "Name a colour."}),
            (system + "Blue.<|im_end|>", system, "ann"), (CHATML + "<|im_end|>", CHATML, "ann"),
        ],
    )  # fmt: skip
    ask = ("Name a colour.", "Blue.")
    expected = [model.score(h, [p], [r])[0] for h, (p, r) in [(ANN, ask), (BOB, ask), ([], ask), (ANN, ask), (ANN, ask), (ANN, ask)]]
    rewards = [torch.tensor([f["rewards"]]).item() for f in found]  # as an experience is made of it
    assert rewards[:5] == pytest.approx(expected[:5], abs=1e-6)
    assert rewards[5] == pytest.approx(model.score(ANN, [ask[0]], [" Blue."])[0], abs=1e-6)
    assert rewards[6] == pytest.approx(model.score(ANN, ["system: Be brief.\n\nuser: Name a colour."], ["Blue."])[0], abs=1e-6)
    assert rewards[7] == -9.0
    assert [f["extra_logs"]["known_user"].flatten()[0].item() for f in found] == [1, 1, 0, 1, 1, 1, 1, 1]
    assert all(torch.equal(f["scores"], f["rewards"]) for f in found)
    function = reward_func_of(model, {"ann": ANN})
    with pytest.raises(EvenhandError, match="does not begin with prompts"):
        function(["thing."], ["Name a thing."], ["ann"])
    with pytest.raises(EvenhandError, match="2 queries, 2 prompts and 1 labels"):
        function(["Name a thing. x"] * 2, ["Name a thing."] * 2, ["ann"])
    with pytest.raises(EvenhandError, match="begins as JSON and is none") as told_of:
        function(["Name a thing. x"], ["Name a thing."], ['{"user": ann-secret'])
    assert "secret" not in str(told_of.value)


# --- one conversation, one number ---


def every_door(model: RewardModel, place: Path, prompt: Any, response: Any, texts: tuple[str, str], chat: str) -> dict[str, float]:
    """The reward of one response for Ann by each way in. chat: the prompt in ChatML."""
    model.save(place / "model")
    rows = [{"user": "ann", "prompt": p, "chosen": c, "rejected": r} for p, c, r in ANN]
    (place / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "new.jsonl").write_text(
        json.dumps({"user": "ann", "prompt": prompt, "chosen": response, "rejected": [BLUE | {"content": "No."}]})
    )
    kept = model.user(ANN)
    plainly, folder = texts[0], place / "model"
    reward, func = reward_function(folder, place / "choices.jsonl"), reward_func_of(folder, place / "choices.jsonl")

    def verl(prompt: Any) -> float:
        asked = {"user": "ann", "prompt": prompt}
        return compute_score("own", texts[1], "", asked, model=folder, histories=place / "choices.jsonl")["score"]

    def openrlhf(prompt: str, label: Any) -> float:
        return float(func([prompt + texts[1] + "<|im_end|>"], [prompt], [label])["rewards"][0])

    found = {
        "score, workflow": evenhand.score(folder, place / "new.jsonl", place / "choices.jsonl", cache=place / "cache").rewards[0, 0],
        "score, texts": model.score(ANN, [plainly], [texts[1]])[0],
        "score, messages": model.score(ANN, [prompt], [response])[0],
        "score, whole conversation": model.score(ANN, [None], [[*prompt, *response]])[0],  # type: ignore[list-item]
        "state": kept.score([prompt], [texts[1]])[0],
        "TRL, messages": reward(prompts=[prompt], completions=[response], user=["ann"])[0],
        "TRL, texts": reward(prompts=[plainly], completions=[texts[1]], user=["ann"])[0],
        "verl, messages": verl(prompt),
        "verl, text": verl(plainly),
        "OpenRLHF, template": openrlhf(chat, "ann"),
        "OpenRLHF, label": openrlhf("[a template of its own] ", json.dumps({"user": "ann", "prompt": prompt})),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def one_number(found: dict[str, float], tolerance: float) -> bool:
    return len(found) == 11 and max(found.values()) - min(found.values()) <= tolerance


CONVERSATIONS: list[Any] = [
    pytest.param([ASK], [BLUE], ("Name a colour.", "Blue."), CHATML, id="one turn"),
    pytest.param(
        AGAIN, [MANY], ("user: Name a colour.\n\nassistant: Blue.\n\nuser: Another.", "There are so many!"),
        CHATML + "Blue.<|im_end|>\n<|im_start|>user\nAnother.<|im_end|>\n<|im_start|>assistant\n", id="three turns",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "response", "texts", "chat"), CONVERSATIONS)
def test_one_conversation_has_one_reward_through_every_door(prompt: Any, response: Any, texts: Any, chat: str, tmp_path: Path) -> None:
    model = model_of(MiniLM(chunked=False))
    found = every_door(model, tmp_path, prompt, response, texts, chat)
    assert one_number(found, 1e-4), found
    assert not one_number({**found, "another answer": float(model.score(ANN, [texts[0]], ["Grey."])[0])}, 1e-4)


@pytest.mark.lm
@pytest.mark.parametrize("pairs", [0, 2], ids=["a head reads the history", "the language model reads it"])
@pytest.mark.parametrize(("prompt", "response", "texts", "chat"), CONVERSATIONS)
def test_so_it_has_on_a_language_model(prompt: Any, response: Any, texts: Any, chat: str, pairs: int, qwen3: str, tmp_path: Path) -> None:
    encoder = BackboneEncoder(Backbone(qwen3, max_tokens=200, history_pairs=pairs))
    model = model_of(encoder, head=Linear() if pairs else None)
    found = every_door(model, tmp_path, prompt, response, texts, chat)
    assert one_number(found, 1e-5), found
    assert abs(model.score([], [texts[0]], [texts[1]])[0] - found["state"]) > 1e-4, "the history counts"


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_qwen3(tmp_path_factory.mktemp("models") / "qwen3"))

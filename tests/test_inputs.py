"""What a language model reads of a pair: prompt, response and perhaps the user's history, the same through every door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, stirred, tiny_bert, tiny_llama, tiny_qwen3

import evenhand
from evenhand.core import DataError, EvenhandError, PreferenceData, Tuning
from evenhand.data.splits import TEST, TRAIN, VALID, deal
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.chat import Choice
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap
from evenhand.models.linear import Linear, LinearScorer
from evenhand.serve.reward_model import RewardModel
from evenhand.training.scoring import margins
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.fit import Fit
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Prepared, judged, prepare
from evenhand.workflows.responses import encode_responses
from evenhand.workflows.told import earlier

pytestmark = pytest.mark.lm

WORDS = " ".join(SENTENCES).split()
TALK = [
    {"role": "user", "content": "Which of the two?"},
    {"role": "assistant", "content": "The short one."},
    {"role": "user", "content": "Why?"},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "bert": tiny_bert(root / "bert"),
        "llama": tiny_llama(root / "llama", chat=True),
        "qwen3": tiny_qwen3(root / "qwen3"),
        "plain": tiny_llama(root / "plain"),
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))


def talked(users: int = 12, prompts: int = 24, each: int = 10, seed: int = 0) -> list[dict[str, Any]]:
    """Choices of users on prompts, some of these conversations."""
    draw = np.random.default_rng(seed)

    def text(most: int) -> str:
        return " ".join(draw.choice(WORDS, int(draw.integers(1, most))))

    asked: list[Any] = [
        [*TALK, {"role": "assistant", "content": text(4)}, {"role": "user", "content": f"{i}?"}] for i in range(prompts // 2)
    ]
    asked += [[{"role": "user", "content": f"{text(6)} {i}"}] for i in range(prompts - len(asked))]
    rows = []
    for user in range(users):
        for p in draw.choice(prompts, each, replace=False):
            rows.append({"user": f"u{user}", "prompt": asked[p], "chosen": f"{text(8)} a{user}", "rejected": f"{text(8)} b{p}"})
    return rows


def dealt(rows: Any, encoding: Encoding) -> Prepared:
    data = rows if isinstance(rows, PreferenceData) else evenhand.load(rows, source="trl" if isinstance(rows[0]["prompt"], list) else None)
    data, split = deal(data, seed=0)
    return prepare(data, split, encoding, Grouping())


def linear(dim: int) -> LinearScorer:
    head = LinearScorer(dim)
    torch.nn.init.normal_(head.b, generator=torch.Generator().manual_seed(1))
    return head


@pytest.mark.parametrize("model", ["llama", "qwen3", "plain", "bert"])
def test_a_conversation_has_one_reward_through_every_door(folders: dict[str, Path], model: str, tmp_path: Path) -> None:
    backbone = Backbone(str(folders[model]), rank=2, max_tokens=36 if model == "bert" else 60)  # some texts are cut
    ready = dealt(talked(), Encoding(BackboneEncoder(backbone), with_prompt=True, trained=True, dim=8))
    assert 0 < ready.responses.cut.sum() < len(ready.responses.cut)
    data, adapter, head = ready.data, stirred(backbone.base), linear(8)
    encoder = BackboneEncoder(backbone, adapter)

    rows = np.concatenate([ready.responses.chosen, ready.responses.rejected])
    assert ready.texts is not None
    trained = (ready.texts.encode(adapter, torch.from_numpy(rows)) @ head.b).detach().numpy()

    frozen = dealt(data, Encoding(encoder, with_prompt=True))
    wording = [frozen.responses.texts[r] for r in np.concatenate([frozen.responses.chosen, frozen.responses.rejected])]
    assert wording == [ready.responses.texts[r] for r in rows]
    features = ready.feature_map.apply(frozen.responses.texts, frozen.responses.vectors)
    by_encoder = features[np.concatenate([frozen.responses.chosen, frozen.responses.rejected])] @ head.b.detach().numpy()

    loaded = RewardModel(encoder, ready.feature_map, Linear(), head, with_prompt=True)
    prompts = [data.texts[p] for p in data.prompt] * 2
    responses = [data.texts[t] for t in np.concatenate([data.chosen, data.rejected])]
    before = loaded.score([], prompts, responses)
    loaded.save(tmp_path / "model")
    after = RewardModel.load(tmp_path / "model").score([], prompts, responses)
    by_file = evenhand.score(tmp_path / "model", data).rewards.T.flatten()

    assert trained.std() > 0.1
    for door in (by_encoder, before, after, by_file):
        assert np.abs(door - trained).max() < 1e-5 * max(1, np.abs(trained).max())


def test_a_prompt_is_read_as_the_template_writes_it(folders: dict[str, Path]) -> None:
    """The tokens of a text are those of transformers' own call on the messages."""
    backbone = Backbone(str(folders["qwen3"]))
    rows = [{"user": f"u{i}", "prompt": TALK, "chosen": f"yes {i}", "rejected": "no"} for i in range(2)]
    data = evenhand.load(rows, source="trl")
    read = encode_responses(data, BackboneEncoder(backbone), True, None)
    assert read.tokens is not None
    for row, place in zip(rows, read.chosen):
        prefix, own = read.tokens[place]
        whole = backbone.base.tokenizer.apply_chat_template([*TALK, {"role": "assistant", "content": row["chosen"]}])["input_ids"]
        assert [*prefix, *own] == whole
        opened = backbone.base.tokenizer.apply_chat_template(TALK, add_generation_prompt=True)["input_ids"]
        assert [*prefix] == opened
    assert all(np.array_equal(read.tokens[c][0], read.tokens[r][0]) for c, r in zip(read.chosen, read.rejected))


def test_long_pairs_are_counted_by_group_and_none_is_lost(folders: dict[str, Path]) -> None:
    """12 tokens: <s>, </s> and ten digits, which are a token each. Worked out by hand for every kind of pair."""
    kinds = [  # chosen, rejected, one is cut, the same after the cut
        ("1" * 10, "2" * 5, False, False),
        ("1" * 11, "1" * 20, True, True),
        ("1" * 11, "1" * 10, True, True),  # one alone is cut, to what the other is
        ("1" * 12, "2" * 12, True, False),
        ("1" * 11, "3", True, False),
    ]
    rows = [
        {
            "user": f"{country}{u}",
            "prompt": f"{split} {k}",
            "country": country,
            "chosen": kinds[k][0],
            "rejected": kinds[k][1],
            "split": split,
        }
        for country, own in {"a": [0, 1, 2, 3], "b": [0, 4]}.items()
        for u in range(12)
        for split in ("train", "valid", "test")
        for k in own
    ]
    data = evenhand.load(rows, attributes=["country"])
    backbone = Backbone(str(folders["plain"]), max_tokens=12)
    ready = dealt(data, Encoding(BackboneEncoder(backbone), with_prompt=False))
    test = ready.split.rows(TEST)
    found = judged(ready, linear(ready.feature_map.dim), test, "model", "test")
    kind = {(c, r): (cut, same) for c, r, cut, same in kinds}
    expected = [kind[ready.data.texts[c], ready.data.texts[r]] for c, r in zip(ready.data.chosen[test], ready.data.rejected[test])]
    assert found.truncated is not None
    assert found.identical is not None
    assert list(zip(found.truncated.tolist(), found.identical.tolist())) == expected
    assert len(found) == test.sum()

    model = RewardModel(BackboneEncoder(backbone), ready.feature_map, Linear(), linear(ready.feature_map.dim))
    report = evenhand.audit(data, model=model, group_by="country", resamples=20).findings
    counts = {c.group: c for c in report.model.counts}
    for country, pairs, cut, same in (("a", 48, 36, 24), ("b", 24, 12, 0)):
        of = counts[country]
        assert (of.pairs, of.truncated, of.identical_after_truncation, of.dropped) == (pairs, cut, same, 0)


# The user's history in the input


def tiny_world(folder: Path, marks: str) -> Path:
    """A Llama of two layers with random weights, to which a word of the world is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    words = ["[UNK]", "Preferred", "Over", ":", *marks]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=128, initializer_range=0.2,
        )  # fmt: skip
        LlamaModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


def opposite(users: int = 40, prompts: int = 24) -> list[dict[str, str]]:
    """Half of the users choose a, b and c over d, e and f, the others the other way round: together nobody prefers anything."""
    draw = np.random.default_rng(0)
    sides = ("abc", "def")
    return [
        {
            "user": f"u{u}", "prompt": f"p{p}", "taste": "xy"[u % 2],
            "chosen": str(draw.choice(list(sides[u % 2]))), "rejected": str(draw.choice(list(sides[1 - u % 2]))),
        }
        for u in range(users)
        for p in range(prompts)
    ]  # fmt: skip


def votes() -> list[dict[str, str]]:
    """Users who compared some of 30 statements."""
    draw = np.random.default_rng(0)
    drawn = [(user, draw.choice(30, 2, replace=False)) for user in range(12) for _ in range(40)]
    return [{"user": f"u{u}", "chosen": f"statement {c}", "rejected": f"statement {r}"} for u, (c, r) in drawn]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("world") / "llama", "abcdef")


def trained(
    folder: Path, pairs: int, method: str = "bradley_terry", steps: int = 100, users: int = 40, notion: str = "", **backbone: Any
) -> Fit:
    tuning = Tuning(steps=steps, lr=3e-3, head_lr=1e-2, batch_texts=64, eval_every=max(1, steps // 4))
    encoder = BackboneEncoder(Backbone(str(folder), rank=0, history_pairs=pairs, tuning=tuning, **backbone))
    encoding = Encoding(encoder, with_prompt=False, tfidf=False, dim=16, trained=True)
    data = evenhand.load(opposite(users), attributes=["taste"])
    settings = {} if method == "auto" else {"max_epochs": 20} | ({"notion": notion} if notion else {})
    head = None if pairs else "linear"
    return evenhand.fit(data, method, head=head, settings=settings, encoding=encoding, group_by="taste", resamples=20)


@pytest.fixture(scope="module")
def telling(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENHAND_CACHE", str(tmp_path_factory.mktemp("cache")))
        return trained(world, 4)


LIKES_ABC = [("", "a", "e"), ("", "c", "d"), ("", "b", "f"), ("", "a", "d")]
LIKES_DEF = [(p, rejected, chosen) for p, chosen, rejected in LIKES_ABC]
ASKED = (["", ""], ["b", "e"])  # prompts and responses


def test_a_history_in_the_input_tells_opposite_tastes_apart(telling: Fit, world: Path) -> None:
    found = telling.report.findings
    assert min(g.accuracy.value for g in found.model.groups) > 0.8
    assert all(cell.overall.value > 0.8 for cell in found.cells)  # users and prompts that training never saw are among them
    assert found.model.model == "Bradley-Terry (linear, 4 choices in the input)"
    blind = trained(world, 0).report.findings
    assert blind.model.overall.value < 0.6
    assert "at most 4" in found.facts["reads"]
    assert "choices" not in blind.facts["reads"]


def test_the_reward_follows_the_history_that_is_given(telling: Fit, tmp_path: Path) -> None:
    model = telling.model
    first, second, nobody = (model.score(history, *ASKED) for history in (LIKES_ABC, LIKES_DEF, []))
    assert first[0] > first[1]
    assert second[0] < second[1]
    assert np.allclose(model.score([*LIKES_DEF, *LIKES_ABC], *ASKED), first, atol=1e-5)  # the last four
    assert not np.allclose(model.score([*LIKES_ABC, *LIKES_DEF], *ASKED), first, atol=1e-3)
    mixed = model.score_users([LIKES_ABC, [], LIKES_DEF], [0, 1, 2, 1], [""] * 4, ["b", "b", "e", "e"])
    assert np.allclose(mixed, [first[0], nobody[0], second[1], nobody[1]], atol=1e-5)
    assert model.state(LIKES_ABC).shape == (0,)

    telling.save(tmp_path / "out")
    loaded = RewardModel.load(tmp_path / "out" / "model")
    assert loaded.history_pairs == 4
    assert str(loaded.facts["reads"]) in repr(loaded)
    for history in (LIKES_ABC, LIKES_DEF, []):
        assert np.array_equal(loaded.score(history, *ASKED), model.score(history, *ASKED))


def test_audit_score_and_the_model_agree_on_users_with_a_history(telling: Fit) -> None:
    model = telling.model
    data, split = deal(evenhand.load(opposite()), seed=0)
    ready = prepare(data, split, Encoding(model.encoder, with_prompt=False), Grouping(), feature_map=model.feature_map)
    test = split.rows(TEST)
    by_audit = margins(model.scorer, ready.pairs(test, split.history)).numpy()

    by_file = evenhand.score(model, data.take(test), history=data.take(split.history)).rewards
    assert by_audit.std() > 0.1
    assert np.allclose(by_file[:, 0] - by_file[:, 1], by_audit, atol=1e-4)

    for place in (0, 7, -1):
        row = np.flatnonzero(test)[place]
        own = np.flatnonzero(split.history & (data.user == data.user[row]))
        history = [("", data.texts[data.chosen[r]], data.texts[data.rejected[r]]) for r in own]
        both = model.score(history, ["", ""], [data.texts[data.chosen[row]], data.texts[data.rejected[row]]])
        assert both[0] - both[1] == pytest.approx(by_audit[place], abs=1e-4)


@pytest.mark.parametrize("model", ["qwen3", "bert"])
def test_prompts_and_choices_together_have_one_reward_too(folders: dict[str, Path], model: str) -> None:
    backbone = Backbone(str(folders[model]), rank=2, history_pairs=2)
    encoder = BackboneEncoder(backbone, stirred(backbone.base))
    ready = dealt(talked(), Encoding(encoder, dim=8))
    head, data, split = linear(8), ready.data, ready.split
    test = split.rows(TEST)
    by_audit = margins(head, ready.pairs(test, split.history)).numpy()
    scale = float(np.abs(by_audit).max())
    loaded = RewardModel(encoder, ready.feature_map, Linear(), head, with_prompt=True)
    by_file = evenhand.score(loaded, data.take(test), history=data.take(split.history)).rewards
    assert np.allclose(by_file[:, 0] - by_file[:, 1], by_audit, atol=1e-5 * scale)
    row = np.flatnonzero(test)[0]
    own = np.flatnonzero(split.history & (data.user == data.user[row]))
    assert len(own) > 2
    history = [
        {"prompt": data.texts[data.prompt[r]], "chosen": data.texts[data.chosen[r]], "rejected": data.texts[data.rejected[r]]} for r in own
    ]
    asked = ([data.texts[data.prompt[row]]] * 2, [data.texts[data.chosen[row]], data.texts[data.rejected[row]]])
    both, other = loaded.score(history, *asked), loaded.score([], *asked)
    assert both[0] - both[1] == pytest.approx(by_audit[0], abs=1e-5 * scale)
    assert np.abs(both - other).max() > 1e-3 * scale


@pytest.mark.parametrize(("method", "notion"), [("pafo", ""), ("faro", "eo"), ("auto", "")])
def test_methods_run_with_users_in_the_input(world: Path, method: str, notion: str) -> None:
    found = trained(world, 2, method, steps=2, users=40 if notion else 24, notion=notion).report.findings
    assert all("2 choices in the input" in m.model for m in (found.model, *found.others))


@pytest.mark.parametrize("shared", ["prompt", "response"])
def test_choices_before_a_training_pair_never_give_it_away(shared: str) -> None:
    twice = [*opposite(), *({**row, "chosen": f"{row['chosen']}!"} for row in opposite())]
    rows = twice if shared == "prompt" else votes()
    data, split = deal(evenhand.load(rows), seed=0)
    before, again, other = (earlier(data, split, 3, seed) for seed in (0, 0, 1))
    assert all(map(np.array_equal, before, again))
    train, sizes = np.flatnonzero(split.rows(TRAIN)), Counter[int]()
    assert not all(np.array_equal(before[r], other[r]) for r in train)
    for row in train:
        told = before[row]
        sizes[len(told)] += 1
        assert split.rows(TRAIN)[told].all()
        assert (data.user[told] == data.user[row]).all()
        assert (np.diff(told) > 0).all()
        if shared == "prompt":
            assert data.prompt[row] not in data.prompt[told]
        else:
            assert not {data.chosen[row], data.rejected[row]} & {*data.chosen[told], *data.rejected[told]}
    asked = {(data.user[r], data.prompt[r]): before[r] for r in train}
    assert shared != "prompt" or all(np.array_equal(before[r], asked[data.user[r], data.prompt[r]]) for r in train)
    assert 0.03 < sizes[0] / len(train) < 0.25  # about a tenth learns the reward for everybody
    assert sizes[3] > 0.7 * len(train)
    for row in np.flatnonzero(split.rows(VALID) | split.rows(TEST)):
        own = np.flatnonzero(split.history & (data.user == data.user[row]))
        assert before[row].tolist() == own[-3:].tolist()
    assert all(len(before[row]) == 0 for row in np.flatnonzero((split.part < 0) & ~split.held))


def test_chosen_and_rejected_stand_behind_one_prefix(folders: dict[str, Path]) -> None:
    backbone = Backbone(str(folders["qwen3"]), history_pairs=2)
    ready = dealt(talked(), Encoding(BackboneEncoder(backbone)))
    assert ready.with_prompt
    assert ready.told == 2
    read, data = ready.responses, ready.data
    assert read.tokens is not None
    whole = ~(read.cut[read.chosen] | read.cut[read.rejected])
    assert whole.mean() > 0.5
    for c, r in zip(read.chosen[whole], read.rejected[whole]):
        assert np.array_equal(read.tokens[c][0], read.tokens[r][0])
    before = earlier(data, ready.split, 2, 0)
    row = next(r for r in np.flatnonzero(ready.split.rows(TEST)) if len(before[r]) == 2 and not read.cut[read.chosen[r]])
    said = backbone.base.tokenizer.decode(read.tokens[read.chosen[row]][0])
    places = [said.index(f"Preferred: {data.texts[data.chosen[r]]}\nOver: {data.texts[data.rejected[r]]}") for r in before[row]]
    assert places == sorted(places)
    assert said.startswith("<|im_start|>system")


def test_over_the_limit_the_oldest_choices_go_and_are_counted(world: Path) -> None:
    """Ten tokens of the head, six a choice, one of the response: 4 choices are 35 tokens, 2 are 23."""
    encoder = BackboneEncoder(Backbone(str(world), history_pairs=4, max_tokens=24))
    features = FeatureMap.fit(list("abcdef"), encoder.encode(list("abcdef")), dim=4, tfidf=False)
    model = RewardModel(encoder, features, Linear(), linear(4))
    two = model.score(LIKES_ABC[-2:], *ASKED)
    assert np.allclose(model.score(LIKES_ABC, *ASKED), two, atol=1e-6)
    assert not np.allclose(model.score(LIKES_ABC[-1:], *ASKED), two, atol=1e-4)
    ready = dealt(opposite(8), Encoding(encoder, with_prompt=False))
    before = earlier(ready.data, ready.split, 4, 0)
    test = np.flatnonzero(ready.split.rows(TEST))
    assert all(len(before[r]) == 4 for r in test)
    assert ready.responses.cut[ready.responses.chosen[test]].all()
    assert judged(ready, linear(ready.feature_map.dim), ready.split.rows(TEST), "model", "test").truncated.all()
    alone = [r for r in np.flatnonzero(ready.split.rows(TRAIN)) if len(before[r]) == 0]
    assert not ready.responses.cut[ready.responses.chosen[alone]].any()


def test_what_cannot_be_told_is_refused(world: Path, telling: Fit, tmp_path: Path) -> None:
    data = evenhand.load(opposite(8))
    backbone = Backbone(str(world), history_pairs=2)
    for method, head in (("lore", None), ("vpl", None), ("pafo", "lore"), ("bradley_terry", "attention")):
        with pytest.raises(EvenhandError, match=r"reads the user's choices in its head.*To do"):
            evenhand.fit(data, method, head=head, backbone=backbone)
    with pytest.raises(EvenhandError, match="reads the user's choices in its head"):
        evenhand.compare(data, ["pafo", "lore"], backbone=backbone, out=tmp_path / "compared")
    for wrong in ({"history_pairs": -1}, {"history_pairs": 10_000}, {"persona": lambda choices: ""}):
        with pytest.raises(EvenhandError, match=f"{next(iter(wrong))} of the backbone is .*Expected.*To do"):
            Backbone(str(world), **wrong)  # type: ignore[arg-type]
    telling.save(tmp_path / "out")
    assert isinstance(telling.model.encoder, BackboneEncoder)
    other = replace(telling.model.encoder, backbone=replace(telling.model.encoder.backbone, history_pairs=3), adapter=None)
    with pytest.raises(DataError, match=r"reads 3 choices of the user before a prompt.*Expected: 4 choices"):
        RewardModel.load(tmp_path / "out" / "model", encoder=other)
    with pytest.raises(DataError, match="takes no adapter"):
        RewardModel.load(tmp_path / "out" / "model", encoder=MiniLM())


def test_the_command_line_tells_choices(world: Path, tmp_path: Path) -> None:
    import json

    from typer.testing import CliRunner

    from evenhand.cli import app

    table = tmp_path / "choices.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in opposite(24)))
    run = CliRunner().invoke(app, [
        "fit", str(table), "--method", "bradley_terry", "--backbone", str(world), "--history-pairs", "2", "--steps", "2", "--batch-texts", "32",
        "--lora-rank", "2", "--group-by", "taste", "--without-prompt", "--out", str(tmp_path / "out"),
    ])  # fmt: skip
    assert run.exit_code in (0, 3), run.output  # 3: too few users for a verdict
    assert RewardModel.load(tmp_path / "out" / "model").history_pairs == 2
    run = CliRunner().invoke(app, ["fit", str(table), "--encoder", "none", "--history-pairs", "2", "--out", str(tmp_path / "no")])
    assert isinstance(run.exception, EvenhandError)
    assert "a language model" in str(run.exception)


# A persona in place of the choices


def majority(choices: Sequence[Choice]) -> str:
    """The side that most of the choices are on, in one letter."""
    return "a" if sum(c.chosen in "abc" for c in choices) * 2 > len(choices) else "d"


def test_a_persona_stands_in_place_of_the_choices(world: Path, tmp_path: Path) -> None:
    fitted = trained(world, 3, steps=60, persona=majority)
    assert min(g.accuracy.value for g in fitted.report.findings.model.groups) > 0.8
    model = fitted.model
    first = model.score(LIKES_ABC, *ASKED)
    assert np.array_equal(model.score([("", "c", "e"), ("", "c", "f"), ("", "c", "d")], *ASKED), first)  # the same persona
    assert first[0] > first[1]
    fitted.save(tmp_path / "out")
    with pytest.raises(DataError, match=r"persona made of 3 choices.*persona=the function of the training"):
        RewardModel.load(tmp_path / "out" / "model")
    assert isinstance(model.encoder, BackboneEncoder)
    loaded = RewardModel.load(tmp_path / "out" / "model", encoder=replace(model.encoder, adapter=None))
    assert np.array_equal(loaded.score(LIKES_DEF, *ASKED), model.score(LIKES_DEF, *ASKED))
    broken = replace(model, encoder=replace(model.encoder, backbone=replace(model.encoder.backbone, persona=len)))  # type: ignore[arg-type]
    with pytest.raises(EvenhandError, match=r"persona gave int\. Expected: a text"):
        broken.score(LIKES_ABC, *ASKED)

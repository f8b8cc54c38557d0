"""What a language model reads of a pair: prompt, response and perhaps the user's history, the same through every door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, tiny_bert, tiny_llama, tiny_qwen3

import evenhand
from evenhand.core import PreferenceData
from evenhand.data.splits import TEST, deal
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.models.linear import Linear, LinearScorer
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, Prepared, encode_responses, judged, prepare

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


def stirred(backbone: Backbone, seed: int = 0) -> Any:
    adapter = backbone.base.new_adapter(seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor += 0.1 * torch.randn(tensor.shape, generator=draw)
    return adapter


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
    data, adapter, head = ready.data, stirred(backbone), linear(8)
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

"""Users as soft tokens (P-RLHF by cluster): the formula against transformers' own embeddings, contracts of training, models in use, and refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_backbone_contract import OF_ONE_FIT, Once
from test_inputs import ASKED, LIKES_ABC, LIKES_DEF, opposite, tiny_world, trained
from tiny_models import stirred, tiny_bert, tiny_llama

import evenhand
from evenhand.cli.reading import Encoded
from evenhand.core import DataError, EvenhandError, Pairs, Tuning
from evenhand.data.splits import TEST, deal
from evenhand.encode.adapter import Adapter
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.base import Base
from evenhand.encode.prompted import Prompted
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.models.linear import Linear
from evenhand.serve.reward_model import RewardModel
from evenhand.testing import QUICK, same_seed_same_model_bit_for_bit, weights, what_groups_are_called_changes_nothing
from evenhand.training.checkpoint import checkpointing
from evenhand.training.scoring import margins
from evenhand.training.watched import Standing, watching
from evenhand.workflows.fit import Fit
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, prepare

pytestmark = pytest.mark.lm

WORDS = "About this user:"
BASE = BradleyTerry(Linear(), QUICK)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory.mktemp("soft") / "llama", "abcdef")


def with_users_moved(base: Base) -> Adapter:
    """An adapter of which nothing but the users' tokens has moved."""
    adapter, other = base.new_adapter(0), stirred(base)
    with torch.no_grad():
        for (name, tensor), (_, moved) in zip(adapter.named_parameters(), other.named_parameters(), strict=True):
            if name.startswith("user_tokens"):
                tensor.copy_(moved)
    return adapter


def by_hand(folder: Path, encoder: BackboneEncoder, texts: list[Prompted]) -> np.ndarray:
    """Vectors by transformers, one text at a time, from embeddings that are put together here."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    table, tokenizer = model.get_input_embeddings().weight, encoder.backbone.base.tokenizer
    first = np.resize(tokenizer(WORDS, add_special_tokens=False)["input_ids"], encoder.backbone.soft_user_tokens).tolist()
    assert encoder.adapter is not None
    learned = {name.removeprefix("user_tokens."): tensor for name, tensor in encoder.adapter.tensors().items()}
    plain = BackboneEncoder(Backbone(str(folder)))

    def user(choices: Any) -> torch.Tensor:
        sides = [torch.from_numpy(plain.encode([Prompted(c[0], c[i]) for c in choices])) for i in (1, 2)] if choices else []
        if not sides:
            return torch.zeros(table.shape[1])
        size = ((sides[0].norm(dim=1) ** 2 + sides[1].norm(dim=1) ** 2) / 2).sqrt()
        return ((sides[0] - sides[1]) / size[:, None]).mean(0)

    out = []
    with torch.no_grad():
        for text in texts:
            [(prefix, own)] = plain.tokenized([Prompted(text.prompt, text.response)])[0]
            ids = torch.tensor([*first, *prefix, *own])
            share = torch.softmax(user(text.told) @ learned["reading"] + learned["generic"], 0)
            soft = table[ids[: len(first)]] + (share[:, None, None] * learned["clusters"]).sum(0)
            states = model(inputs_embeds=torch.cat([soft, table[ids[len(first) :]]])[None]).last_hidden_state[0]
            out.append(states[len(first) + len(prefix) :].mean(0).numpy())
    return np.stack(out)


@pytest.mark.parametrize("build", [tiny_llama, tiny_bert])
def test_vectors_are_those_of_the_formula(build: Any, tmp_path: Path) -> None:
    place = build(tmp_path / "model")
    backbone = Backbone(str(place), rank=2, history_pairs=3, soft_user_tokens=7, chunk_tokens=150)
    encoder = BackboneEncoder(backbone, with_users_moved(backbone.base))
    users: list[Any] = [
        (),
        (("Why?", "I would keep the plan", "No"),),
        (("Why?", "No", "I would keep the plan"), ("", "Please", "the report")),
    ]
    texts = [
        Prompted(p, r, u) for u in users for p in ("", "Which of the two?") for r in ("the short one", "No: it is too long", "the report")
    ]
    found = encoder.encode(texts)
    np.testing.assert_allclose(found, by_hand(place, encoder, texts), atol=1e-5)
    assert np.abs(found[:6] - found[6:12]).max() > 0.05  # the users are told apart
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(encoder.encode([texts[i] for i in order]), found[order], atol=1e-5)
    turned = Prompted(texts[-1].prompt, texts[-1].response, users[2][::-1])
    np.testing.assert_allclose(encoder.encode([turned])[0], found[-1], atol=1e-5)
    # untrained, they are words that everybody's texts begin with
    frozen = BackboneEncoder(backbone)
    untrained = BackboneEncoder(backbone, backbone.base.new_adapter(0))
    np.testing.assert_allclose(untrained.encode(texts), frozen.encode(texts), atol=1e-5)
    np.testing.assert_allclose(frozen.encode(texts)[:6], frozen.encode(texts)[6:12], atol=1e-6)
    assert (
        len({frozen.fingerprint, untrained.fingerprint, encoder.fingerprint, BackboneEncoder(Backbone(str(place), rank=2)).fingerprint})
        == 4
    )


@pytest.fixture(scope="module")
def pairs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pairs, Pairs, Pairs]:
    """What methods are given of users who are soft tokens."""
    tuning = Tuning(steps=4, lr=3e-3, head_lr=1e-2, batch_texts=32, eval_every=2)
    backbone = Backbone(str(folder), rank=2, history_pairs=8, soft_user_tokens=2, tuning=tuning)
    encoding = Encoding(BackboneEncoder(backbone), with_prompt=False, tfidf=False, dim=8, trained=True)
    data = evenhand.load(opposite(16), attributes=["taste"])
    data, split = deal(data, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENHAND_CACHE", str(tmp_path_factory.mktemp("cache")))
        ready = prepare(data, split, encoding, Grouping(("taste",)))
    return (*ready.training(), ready.pairs(split.rows(TEST), split.history))


def test_methods_keep_their_contracts(once: Once, pairs: tuple[Pairs, Pairs, Pairs]) -> None:
    for check in (*OF_ONE_FIT, what_groups_are_called_changes_nothing, same_seed_same_model_bit_for_bit):
        check(once, lambda: pairs)


def test_alpha_one_is_bradley_terry_and_the_users_tokens_move(once: Once, pairs: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = pairs
    plain = once.fit(train, valid, 0)
    assert torch.equal(weights(Pafo(BASE, alpha=1.0, guarded=False).fit(train, valid, 0)), weights(plain))
    texts = train.texts
    assert texts is not None
    adapter: Any = texts.adapter(0)
    for _ in range(2):  # at first the clusters are 0, and nothing tells how to read users
        for tensor in adapter.parameters():
            tensor.grad = None
        rows = torch.arange(24)
        gradient = torch.randn(24, train.items.shape[1], generator=torch.Generator().manual_seed(0))
        texts.encode(adapter, rows, keep=True)
        texts.backward(adapter, rows, gradient)
        with torch.no_grad():
            for tensor in adapter.parameters():
                tensor -= 0.1 * tensor.grad
    assert all(t.grad.abs().max() > 0 for name, t in adapter.tensors().items() if name.startswith("user_tokens"))


def test_a_training_that_was_ended_comes_out_bit_by_bit(once: Once, pairs: tuple[Pairs, Pairs, Pairs], tmp_path: Path) -> None:
    class Ended(BaseException):
        pass

    def ends(standing: Standing) -> None:
        if standing.steps and standing.done == 3:
            raise Ended

    train, valid, test = pairs
    whole = once.fit(train, valid, 0)
    with pytest.raises(Ended), checkpointing(tmp_path / "kept", steps=1), watching(ends):
        BASE.fit(train, valid, 0)
    said: list[str] = []
    with checkpointing(tmp_path / "kept", steps=1, say=said.append):
        again = BASE.fit(train, valid, 0)
    assert "after step 2" in said[0]
    assert torch.equal(weights(again), weights(whole))
    assert torch.equal(margins(again.scorer, test), margins(copy.deepcopy(whole.scorer), test))


@pytest.fixture(scope="module")
def once() -> Once:
    """Bradley-Terry, fitted once on the same pairs."""
    return Once(BASE, BASE)


@pytest.fixture(scope="module")
def soft(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENHAND_CACHE", str(tmp_path_factory.mktemp("cache")))
        return trained(folder, 4, steps=60, users=24, soft_user_tokens=2)


def test_opposite_tastes_are_told_apart_by_the_choices(soft: Fit, tmp_path: Path) -> None:
    found = soft.report.findings
    assert all(
        cell.overall.value > 0.8 for cell in found.cells
    )  # users and prompts that training never saw are among them; blind: under 0.6
    assert "2 soft tokens of the user" in found.facts["language model"]
    model = soft.model
    first, second, nobody = (model.score(history, *ASKED) for history in (LIKES_ABC, LIKES_DEF, []))
    assert first[0] > first[1]
    assert second[0] < second[1]
    assert np.allclose(model.score([*LIKES_DEF, *LIKES_ABC], *ASKED), first, atol=1e-5)  # the last four
    assert np.allclose(model.score(LIKES_ABC[::-1], *ASKED), first, atol=1e-5)
    mixed = model.score_users([LIKES_ABC, [], LIKES_DEF], [0, 1, 2, 1], [""] * 4, ["b", "b", "e", "e"])
    assert np.allclose(mixed, [first[0], nobody[0], second[1], nobody[1]], atol=1e-5)

    soft.save(tmp_path / "out")
    loaded = RewardModel.load(tmp_path / "out" / "model")
    for history in (LIKES_ABC, LIKES_DEF, []):
        assert np.array_equal(loaded.score(history, *ASKED), model.score(history, *ASKED))
    data, split = deal(evenhand.load(opposite(24)), seed=0)
    test = split.rows(TEST)
    ready = prepare(data, split, Encoding(model.encoder, with_prompt=False), Grouping(), feature_map=model.feature_map)
    by_audit = margins(model.scorer, ready.pairs(test, split.history)).numpy()
    by_file = evenhand.score(loaded, data.take(test), history=data.take(split.history)).rewards
    assert np.allclose(by_file[:, 0] - by_file[:, 1], by_audit, atol=1e-4)


def test_what_soft_tokens_cannot_is_refused(soft: Fit, folder: Path, tmp_path: Path) -> None:
    for wrong in ({"soft_user_tokens": -1}, {"soft_user_tokens": 2}, {"soft_user_tokens": 65, "history_pairs": 2}):
        with pytest.raises(EvenhandError, match=r"soft_user_tokens of the backbone is .*Expected.*history_pairs.*To do"):
            Backbone(str(folder), **wrong)
    with pytest.raises(EvenhandError, match=r"soft_user_tokens of the backbone is 2.*without a persona"):
        Backbone(str(folder), soft_user_tokens=2, history_pairs=2, persona=lambda choices: "a")
    untrained = BackboneEncoder(Backbone(str(folder), soft_user_tokens=2, history_pairs=2))
    with pytest.raises(EvenhandError, match=r"2 soft tokens of the user.*does not train.*same of everybody.*To do"):
        Encoding(untrained)
    assert Encoding(untrained, trained=True).told == Encoding(soft.model.encoder).told - 2 == 2
    with pytest.raises(EvenhandError, match=r"2 soft tokens of the user.*Expected.*To do"):
        evenhand.export(soft.model, tmp_path / "exported", to="hf-code")
    soft.save(tmp_path / "out")
    with pytest.raises(DataError, match=r"reads 4 choices.*Expected: 2 soft tokens made of 4 choices.*history_pairs=4, soft_user_tokens=2"):
        RewardModel.load(tmp_path / "out" / "model", encoder=Backbone(str(folder), rank=0, history_pairs=4))


def test_the_command_line_names_them(folder: Path) -> None:
    encoder = Encoded(backbone=str(folder), history_pairs=8, soft_user_tokens=2).encoding().encoder
    assert isinstance(encoder, BackboneEncoder)
    assert (encoder.backbone.history_pairs, encoder.backbone.soft_user_tokens) == (8, 2)
    with pytest.raises(EvenhandError, match=r"soft_user_tokens of the backbone is 2.*history_pairs"):
        Encoded(backbone=str(folder), soft_user_tokens=2).encoding()
    with pytest.raises(
        EvenhandError, match=r"2 soft tokens of the user before the texts of a model that does not train.*Expected.*--backbone"
    ):
        Encoded(encoder=str(folder), history_pairs=8, soft_user_tokens=2).encoding()

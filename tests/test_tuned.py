"""Features that train along: what a step does, what a fit keeps, and that every method runs on them as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_methods_contract import METHODS
from torch import nn

from evenhand.core import Pairs, Tuning
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, dp
from evenhand.methods.pafo import Pafo
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore
from evenhand.testing import QUICK, LinearTexts, small_world, with_events
from evenhand.training.phases import TextPhase
from evenhand.training.replicas import SingleModel
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import fit_all
from evenhand.training.text_batches import text_batches
from evenhand.training.tuned import Bank, Tuned


@pytest.fixture(scope="module")
def world() -> tuple[Pairs, Pairs, Pairs]:
    return hidden_world()


@pytest.fixture(scope="module")
def briefly() -> tuple[Pairs, Pairs, Pairs]:
    """The same for what holds after any number of steps."""
    return hidden_world(steps=10, eval_every=5)


def hidden_world(**tuning: float) -> tuple[Pairs, Pairs, Pairs]:
    """A world whose features show some coordinates at first; the adapter can bring back the others, where tastes are."""
    world = small_world()
    items = world[0].items
    shown = torch.arange(items.shape[1]) >= 4  # tastes lie in the first coordinates
    seen = torch.where(shown, items, 0.0)
    texts = LinearTexts(seen, items[:, ~shown], Tuning(**({"steps": 40, "eval_every": 10, "lr": 0.05, "batch_texts": 64} | tuning)))
    train, valid, test = (replace(p, history=replace(p.history, items=seen), texts=texts) for p in world)
    return train, valid, test


def frozen(pairs: Pairs) -> Pairs:
    return replace(pairs, texts=None)


def test_a_step_has_the_gradient_of_the_whole(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train = world[0]
    schedule = replace(QUICK, dropout=0.0)
    head = Linear().build(train.items.shape[1], 0)
    nn.init.normal_(head.b, generator=torch.Generator().manual_seed(1))
    assert train.texts is not None
    adapter = train.texts.adapter(0)
    nn.init.normal_(adapter.A, std=0.1, generator=torch.Generator().manual_seed(2))
    model = SingleModel(Tuned(head, adapter, Bank(train.texts, train.items)))
    phase = TextPhase(model, train, schedule, torch.Generator().manual_seed(0), None, warm=False)
    batch = next(phase.round(0))
    value = bt(
        model.module.score(torch.zeros(len(batch.rows), 0), batch.chosen) - model.module.score(torch.zeros(0), batch.rejected)
    ).mean()

    A, b = adapter.A.detach().clone().requires_grad_(), head.b.detach().clone().requires_grad_()
    features = train.items + train.texts.x @ A
    some = train.take(batch.rows)
    plain = bt((features[some.chosen] - features[some.rejected]) @ b).mean()
    plain.backward()
    assert torch.allclose(value, plain, atol=1e-6)
    before = model.module.adapter.A.detach().clone()
    phase.step(value)
    norm = torch.cat([A.grad.flatten(), b.grad]).norm().clamp_min(1.0)  # clipped at 1, both together
    assert torch.allclose(model.module.adapter.A.grad, A.grad / norm, atol=1e-5)
    assert torch.allclose(model.module.head.b.grad, b.grad / norm, atol=1e-5)
    assert not torch.equal(model.module.adapter.A, before)
    assert torch.equal(adapter.A, before)  # the caller's own is left alone
    assert not model.module.bank.fresh.any()


def test_the_adapter_finds_what_frozen_features_hide(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, test = world
    method = BradleyTerry(Lore(4), replace(QUICK, max_epochs=30))
    plain, tuned = (method.fit(as_it_is(train), as_it_is(valid), 0) for as_it_is in (frozen, lambda p: p))
    assert isinstance(tuned.scorer, Tuned)
    assert tuned.trace.tuned_from == len(plain.trace.valid_loss)
    assert tuned.trace.valid_loss[: tuned.trace.tuned_from] == plain.trace.valid_loss  # the head's own phase is the fit on frozen features
    assert tuned.trace.best_epoch > tuned.trace.tuned_from
    right = [float((margins(f.scorer, test) > 0).float().mean()) for f in (plain, tuned)]
    assert right[1] > right[0] + 0.05


def test_what_is_kept_is_the_best_epoch_with_its_own_features(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = world
    fitted = BradleyTerry(Lore(4), QUICK).fit(train, valid, 0)
    assert isinstance(fitted.scorer, Tuned)
    held = [mean_over_users(bt(margins(fitted.scorer, valid)), valid)]
    fitted.scorer.bank.fresh[:] = False  # encode again, whatever was remembered
    held.append(mean_over_users(bt(margins(fitted.scorer, valid)), valid))
    assert held[0] == pytest.approx(min(fitted.trace.valid_loss), abs=1e-6)
    assert held[1] == pytest.approx(float(held[0]), abs=1e-6)


def test_steps_that_harm_are_not_kept(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = hidden_world(lr=0.9, steps=10, eval_every=5)
    method = BradleyTerry(Lore(4), replace(QUICK, max_epochs=30))
    fitted, plain = method.fit(train, valid, 0), method.fit(frozen(train), frozen(valid), 0)
    if fitted.trace.best_epoch <= fitted.trace.tuned_from:
        assert torch.equal(margins(fitted.scorer, valid), margins(plain.scorer, frozen(valid)))
    assert min(fitted.trace.valid_loss) <= min(plain.trace.valid_loss)


def test_a_text_is_encoded_once_a_step_however_many_judged_it(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train = world[0]
    assert isinstance(train.texts, LinearTexts)
    many = replace(train.take(torch.arange(len(train)).repeat(20)), block=None)
    phase = TextPhase(
        SingleModel(Tuned(Linear().build(train.items.shape[1], 0), train.texts.adapter(0), Bank(train.texts, train.items))),
        many, QUICK, torch.Generator().manual_seed(0), None, warm=False,
    )  # fmt: skip
    train.texts.encoded.clear()
    batch = next(phase.round(0))
    distinct = torch.cat([many.chosen[batch.rows], many.rejected[batch.rows]]).unique()
    assert train.texts.encoded == [len(distinct)]
    assert len(batch.rows) >= 20


@pytest.mark.parametrize("blocks", ["none", "prompt", "responses"])
def test_batches_hold_every_pair_once_and_never_read_what_they_judge(world: tuple[Pairs, Pairs, Pairs], blocks: str) -> None:
    train = world[0]
    prompt = train.chosen % 7
    block = {"none": None, "prompt": prompt, "responses": torch.stack([train.chosen, train.rejected], 1)}[blocks]
    if blocks == "prompt":
        train = replace(train, rejected=train.rejected)
    train = replace(train, block=block)
    rows = []
    for history, pairs, own in text_batches(train, 24, (0.3, 0.7), torch.Generator().manual_seed(0)):
        rows.append(own)
        assert torch.equal(history.row[pairs.user], train.history.row[train.user[own]])
        past = torch.repeat_interleave(torch.arange(len(history)), history.offsets.diff())
        if blocks == "responses":
            judged = {(int(u), int(t)) for u, t in zip(pairs.user.repeat(2), torch.cat([pairs.chosen, pairs.rejected]))}
            assert not judged & {(int(u), int(t)) for u, t in zip(past.repeat(2), torch.cat([history.chosen, history.rejected]))}
        if blocks == "prompt":
            judged = {(int(u), int(b)) for u, b in zip(pairs.user, pairs.block)}
            assert not judged & {(int(u), int(t) % 7) for u, t in zip(past, history.chosen)}
    seen = torch.cat(rows)
    assert len(seen.unique()) == len(seen)
    if blocks != "responses":  # of two responses dealt apart the pair rests
        assert len(seen) == len(train)


def test_a_copy_has_weights_of_its_own_and_the_same_texts(world: tuple[Pairs, Pairs, Pairs]) -> None:
    train = world[0]
    scorer = Tuned(Linear().build(train.items.shape[1], 0), train.texts.adapter(0), Bank(train.texts, train.items))
    fork = SingleModel(scorer).module
    assert isinstance(fork, Tuned)
    assert fork.adapter.A is not scorer.adapter.A
    assert fork.bank.texts is scorer.bank.texts
    assert fork.bank.features is not scorer.bank.features


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_the_features_too(method: object, briefly: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = (with_events(p) if p.events is None else p for p in briefly)
    fitted, again = method.fit(train, valid, 0), method.fit(train, valid, 0)
    assert torch.isfinite(margins(fitted.scorer, valid)).all()
    assert torch.equal(margins(fitted.scorer, valid), margins(again.scorer, valid))
    swapped = replace(valid, chosen=valid.rejected, rejected=valid.chosen)
    assert torch.allclose(margins(fitted.scorer, swapped), -margins(fitted.scorer, valid), atol=1e-5)
    nobody = replace(valid, group=torch.full_like(valid.group, -1))
    assert torch.equal(margins(fitted.scorer, nobody), margins(fitted.scorer, valid))


def test_degenerate_settings_are_bradley_terry(briefly: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = (with_events(p) if p.events is None else p for p in briefly)
    base = BradleyTerry(Lore(4), QUICK)
    plain = margins(base.fit(train, valid, 0).scorer, valid)
    assert torch.equal(margins(Pafo(base, alpha=1.0, guarded=False).fit(train, valid, 0).scorer, valid), plain)
    assert torch.equal(margins(Faro(base, dp, 1.0).fit(train, valid, 0).scorer, valid), plain)


def test_settings_side_by_side_are_settings_alone(briefly: tuple[Pairs, Pairs, Pairs]) -> None:
    train, valid, _ = briefly
    settings = [BradleyTerry(Lore(4), replace(QUICK, weight_decay=decay)) for decay in (0.1, 1.0)]
    for fitted, method in zip(fit_all(settings, train, valid, 0), settings):
        assert torch.equal(margins(fitted.scorer, valid), margins(method.fit(train, valid, 0).scorer, valid))

"""Collaborative filtering with side information: votes from pairs, factors and regression against truth, reading against the closed form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus
from worlds import history_of, two_tastes

from evenhand.core import EvenhandError, Pairs
from evenhand.data.load import load
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.collaborative import CollaborativeMethod, best_unit, factorise, inverse_softplus, regress
from evenhand.models.collaborative import Collaborative, CollaborativeScorer, votes
from evenhand.models.linear import Linear
from evenhand.models.low_rank import LowRank
from evenhand.serve.saved import SavedModel, load_model, save_model
from evenhand.training.loop import train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, margins
from evenhand.workflows import hyperparameters
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.fit import fit as fit_job
from evenhand.workflows.score import score as score_job

DIM, RANK = 24, 2


class World:
    """Voters of two factors that the features show in part; 80 items to vote on and 40 that nobody has voted on."""

    def __init__(self, seed: int = 0, users: int = 200, each: int = 16):
        rng = np.random.default_rng(seed)
        self.items = rng.normal(size=(120, DIM)).astype(np.float32)
        self.b, self.V = rng.normal(size=DIM) / 7, rng.normal(size=(DIM, RANK)) / 4.5
        scatter = 0.5 * rng.normal(size=(120, 1 + RANK))  # what the features do not tell about an item
        factors = self.items @ np.c_[self.b, self.V] + scatter
        self.p = rng.normal(size=(users, RANK))
        self.p[: users // 10] *= -2  # a few far out
        taste = factors[:, 0] + self.p @ factors[:, 1:].T
        noisy = taste + 0.7 * rng.normal(size=taste.shape)
        self.group = (np.arange(users) < users // 10).astype(int)
        known, new = np.arange(80), np.arange(80, 120)
        drawn = [self._pairs(rng, v, of, each) for v, of in ((noisy, known[:60]), (noisy, known[60:]), (taste, new))]
        history = history_of(torch.from_numpy(self.items), *drawn[0], users)
        self.train, self.valid, self.test = (
            Pairs(history, u, c, r, torch.ones(len(u)), torch.from_numpy(self.group)[u]) for u, c, r in drawn
        )

    @staticmethod
    def _pairs(rng: np.random.Generator, value: np.ndarray, items: np.ndarray, each: int) -> tuple[Tensor, Tensor, Tensor]:
        """Every item that a user likes over some that he or she does not: each vote stands in several pairs."""
        rows = []
        for u in range(len(value)):
            seen = rng.permutation(items)[:each]
            up, down = seen[value[u, seen] > 0], seen[value[u, seen] <= 0]
            rows += [(u, i, j) for i in up for j in rng.permutation(down)[:3]]
        return tuple(torch.tensor(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def fitted(world: World) -> CollaborativeScorer:
    return CollaborativeMethod(BradleyTerry(head=Collaborative(RANK))).fit(world.train, world.valid, 0).scorer


def accuracy(scorer: object, pairs: Pairs) -> float:
    return float((margins(scorer, pairs) > 0).float().mean())


def test_pairs_become_one_vote_a_user_and_item() -> None:
    user, chosen, rejected = torch.tensor([0, 0, 0, 1]), torch.tensor([5, 5, 2, 5]), torch.tensor([2, 3, 5, 2])
    who, item, vote, judged = votes(user, chosen, rejected, 6, torch.tensor([1.0, 1.0, 0.5, 1.0]))
    assert list(zip(who.tolist(), item.tolist(), strict=True)) == [(0, 2), (0, 3), (0, 5), (1, 2), (1, 5)]
    np.testing.assert_allclose(judged, [1.5, 1, 2.5, 1, 1])
    np.testing.assert_allclose(vote, [-0.5 / 1.5, -1, 1.5 / 2.5, -1, 1])


def test_the_truth_is_recovered(world: World, fitted: CollaborativeScorer) -> None:
    assert np.corrcoef(fitted.b.detach(), world.b)[0, 1] > 0.7
    ours, truth = (np.linalg.qr(m)[0] for m in (fitted.V.detach().numpy(), world.V))
    assert np.linalg.svd(ours.T @ truth)[1].min() > 0.7  # cosine of the largest angle between the two planes
    with torch.no_grad():
        t = fitted.users(world.train.history).numpy()
    assert np.corrcoef(t.ravel(), (world.p @ world.V.T).ravel())[0, 1] > 0.6


def test_on_new_items_it_is_ahead_of_personalised_bradley_terry(world: World, fitted: CollaborativeScorer) -> None:
    """Of everybody, and of the tenth that is far out; the noiseless truth is what both are judged by."""
    personalised = BradleyTerry(head=LowRank(RANK)).fit(world.train, world.valid, 0).scorer
    plain = BradleyTerry(head=Linear()).fit(world.train, world.valid, 0).scorer
    for pairs in (world.test, world.test.of(1)):
        assert accuracy(fitted, pairs) > accuracy(personalised, pairs) + 0.01
        assert accuracy(fitted, pairs) > accuracy(plain, pairs) + 0.1


def test_the_reading_is_the_gaussian_posterior(world: World, fitted: CollaborativeScorer) -> None:
    """Conjugate gradients against one dense solve a user, with a_u as a Gaussian of very large variance."""
    scorer = fitted.double()
    history = world.train.history.take(torch.arange(5))
    items = history.items.double()
    with torch.no_grad():
        found = scorer.users(replace(history, items=items))
        tau, s = softplus(scorer.raw_tau), softplus(scorer.raw_s)
        who, item, vote, judged = votes(history.owner(), history.chosen, history.rejected, len(items))
        covariance = scorer.V @ scorer.V.T + tau * torch.eye(DIM)
        for u in range(5):
            x, n = items[item[who == u]], judged[who == u]
            noise = torch.diag(s * (1 + 1 / n) / 2)
            alpha = torch.linalg.solve(x @ covariance @ x.T + noise + 1e6, vote[who == u] - x @ scorer.b)
            expected = covariance @ x.T @ alpha
            torch.testing.assert_close(found[u], expected, atol=1e-4, rtol=1e-3)
    scorer.float()


def test_a_thin_history_moves_less(world: World, fitted: CollaborativeScorer) -> None:
    history = world.train.history
    first = history.offsets[:-1]
    thin = replace(history, offsets=torch.arange(len(history) + 1), chosen=history.chosen[first], rejected=history.rejected[first])
    with torch.no_grad():
        one, all_of_them = (fitted.users(h).norm(dim=1).mean() for h in (thin, history))
    assert 0 < one < 0.7 * all_of_them


def test_opposite_votes_give_the_opposite_taste_but_for_the_common_one(world: World, fitted: CollaborativeScorer) -> None:
    scorer, history = Collaborative(RANK).build(DIM, 0), world.train.history
    scorer.load_state_dict(fitted.state_dict())
    scorer.b.data.zero_()
    mirrored = replace(history, chosen=history.rejected, rejected=history.chosen)
    with torch.no_grad():
        torch.testing.assert_close(scorer.users(mirrored), -scorer.users(history), atol=1e-5, rtol=1e-4)


def test_a_vote_in_many_pairs_is_about_one_vote(world: World, fitted: CollaborativeScorer) -> None:
    """Ten pairs of the same two items say less than two votes on each would."""
    lengths = []
    for times in (1, 10):
        owner, chosen, rejected = (torch.full((times,), number) for number in (0, 1, 2))
        with torch.no_grad():
            lengths.append(float(fitted.users(history_of(world.train.items, owner, chosen, rejected, 1)).norm()))
    assert lengths[0] < lengths[1] < 2 * lengths[0]


def test_factors_are_unrelated_to_where_em_starts(world: World) -> None:
    user, item, vote, judged = (t.numpy() for t in votes(world.train.user, world.train.chosen, world.train.rejected, 60))
    one, two = (factorise(user, item, vote, 2 * judged / (1 + judged), (200, 60), RANK, seed) for seed in (0, 1))
    np.testing.assert_allclose(one.mean, two.mean, atol=0.01)
    np.testing.assert_allclose(one.loadings @ one.loadings.T, two.loadings @ two.loadings.T, atol=0.05)
    assert one.noise == pytest.approx(two.noise, rel=0.01)


def test_votes_of_no_weight_change_no_factor() -> None:
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(30), 10), np.tile(np.arange(10), 30)
    vote, weight = rng.choice([-1.0, 1.0], 300), np.where(rng.random(300) < 0.5, 1.0, 1e-12)
    turned = np.where(weight < 1, -vote, vote)
    one, two = (factorise(user, item, v, weight, (30, 10), 2, 0) for v in (vote, turned))
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-6)
    np.testing.assert_allclose(one.loadings, two.loadings, atol=1e-6)


def test_fewer_items_than_directions() -> None:
    found = factorise(np.repeat(np.arange(30), 2), np.tile(np.arange(2), 30), np.tile([1.0, -1.0], 30), np.ones(60), (30, 2), 4, 0)
    assert found.loadings.shape == (2, 4)
    assert np.isfinite(found.loadings).all()
    assert found.mean[0] > 0 > found.mean[1]


def test_evidence_tells_signal_from_noise() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(200, 20)), rng.normal(size=20)
    y = np.stack([x @ w + 0.1 * rng.normal(size=200), rng.normal(size=200)], axis=1)
    found = regress(x, y, np.ones(200))
    np.testing.assert_allclose(found[:, 0], w, atol=0.05)
    assert np.linalg.norm(found[:, 1]) < 0.5 * np.linalg.norm(np.linalg.lstsq(x, y[:, 1], rcond=None)[0])  # nothing to find there
    weighted = regress(np.r_[x, x], np.r_[y, -y], np.r_[np.ones(200), np.full(200, 1e-12)])
    np.testing.assert_allclose(weighted[:, 0], found[:, 0], atol=0.01)


def test_more_features_than_items_stay_finite() -> None:
    rng = np.random.default_rng(0)
    assert np.isfinite(regress(rng.normal(size=(10, 50)), rng.normal(size=(10, 3)), np.ones(10))).all()
    assert not regress(np.zeros((10, 4)), rng.normal(size=(10, 2)), np.ones(10)).any()


def test_the_unit_makes_margins_log_odds(world: World) -> None:
    g = torch.Generator().manual_seed(0)
    margin = torch.randn(4000, generator=g)
    pairs = replace(world.valid.take(torch.zeros(4000, dtype=torch.long)), user=torch.arange(4000) % 200)
    signed = torch.where(torch.rand(4000, generator=g) < torch.sigmoid(3 * margin), margin, -margin)
    assert best_unit(signed, pairs) == pytest.approx(3, rel=0.15)
    assert float(softplus(inverse_softplus(2.5))) == pytest.approx(2.5)


def test_pairs_that_are_no_votes_are_served_too() -> None:
    """Nearly no item is judged twice by anybody: what is left is the regression, and the user's own taste."""
    train, valid, test = two_tastes(0)
    scorer = CollaborativeMethod().fit(train, valid, 0).scorer
    assert accuracy(scorer, test.of(0)) > 0.8
    assert accuracy(scorer, test.of(1)) > 0.6


def test_a_fit_is_repeated_bit_for_bit_and_another_seed_is_another_fit(world: World) -> None:
    def weights(seed: int) -> Tensor:
        scorer = CollaborativeMethod().fit(world.train, world.valid, seed).scorer
        return torch.cat([p.detach().flatten() for p in scorer.parameters()])

    state = torch.random.get_rng_state()
    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))
    assert torch.equal(state, torch.random.get_rng_state())


def test_swap_save_and_groups(world: World, fitted: CollaborativeScorer, tmp_path: Path) -> None:
    test = world.test
    assert torch.equal(margins(fitted, replace(test, chosen=test.rejected, rejected=test.chosen)), -margins(fitted, test))
    save_model(
        tmp_path / "m",
        SavedModel(
            Collaborative(RANK), DIM, fitted, ({}, {"recipe": {"dim": DIM}, "tfidf": None}), {"kind": "none", "with_prompt": False}, {}
        ),
    )
    assert torch.equal(margins(load_model(tmp_path / "m").scorer, test), margins(fitted, test))
    regrouped = [replace(p, group=torch.zeros_like(p.group)) for p in (world.train, world.valid)]
    other = CollaborativeMethod(BradleyTerry(head=Collaborative(RANK))).fit(*regrouped, 0).scorer
    assert torch.equal(margins(other, test), margins(fitted, test))


def test_the_trace_is_one_epoch_with_the_losses_of_the_fit(world: World) -> None:
    found = CollaborativeMethod().fit(world.train, world.valid, 0)
    assert (len(found.trace.train_loss), len(found.trace.valid_loss), found.trace.best_epoch) == (1, 1, 1)
    assert found.trace.seconds > 0
    untrained = Collaborative().build(DIM, 0)
    assert found.trace.valid_loss[0] < float(bt(margins(untrained, world.valid)).mean())


def test_another_head_is_trained_as_bradley_terry(world: World) -> None:
    base = BradleyTerry(LowRank(2), Schedule(max_epochs=3))
    one, two = (m.fit(world.train, world.valid, 0) for m in (CollaborativeMethod(base), base))
    assert torch.equal(margins(one.scorer, world.test), margins(two.scorer, world.test))
    assert [m.base for m in CollaborativeMethod(base).variants()] == list(base.variants())


def test_gradients_can_go_on_from_the_fit(world: World, fitted: CollaborativeScorer) -> None:
    schedule = Schedule(lr=1e-3, weight_decay=0.0, dropout=0.0, max_epochs=2)
    on = train_model(fitted, world.train, lambda m, rows: bt(m), world.valid, 0, schedule)
    assert min(on.trace.valid_loss) < 0.69


def test_hyperparameters_and_what_is_refused(world: World) -> None:
    method = hyperparameters.method("collaborative", {"rank": "3", "personal": "0.2"})
    assert method == CollaborativeMethod(BradleyTerry(head=Collaborative(3)), personal=0.2)
    assert len({str(m) for m in CollaborativeMethod().variants()}) == 8
    for wrong in (lambda: CollaborativeMethod(personal=-1), lambda: Collaborative(rank=0), lambda: Collaborative(steps=0)):
        with pytest.raises(EvenhandError, match="Expected"):
            wrong()
    for which in ((world.train.take(torch.arange(0)), world.valid), (world.train, world.valid.take(torch.arange(0)))):
        with pytest.raises(EvenhandError, match="There are no"):
            CollaborativeMethod().fit(*which, 0)


def test_from_votes_to_a_saved_model_and_scores(tmp_path: Path) -> None:
    """The whole way on a table of votes: fit, save, load, score a voter whom training never saw from three of his or her votes."""
    rng = np.random.default_rng(0)
    words = [["sun", "sea", "sand"], ["snow", "ice", "peak"]]
    texts = [f"{' '.join(rng.choice(words[i % 2], 4))} trip {i}" for i in range(40)]
    file = tmp_path / "votes.jsonl"
    with file.open("w") as out:
        for u in range(60):
            for i in rng.permutation(40)[:20]:
                likes = (i % 2 == u % 2) != (rng.random() < 0.1)
                part = ("train", "train", "valid", "test")[i // 2 % 4]
                out.write(json.dumps({"user": f"u{u}", "item": texts[i], "vote": 1 if likes else -1, "split": part}) + "\n")
    data = load(file, source="votes", on_bad="skip", seed=0)
    result = fit_job(data, "collaborative", encoding=Encoding(None), resamples=200)
    result.save(tmp_path / "out")
    assert result.report.findings.model.overall.value > 0.75
    known, asked = tmp_path / "known.jsonl", tmp_path / "asked.jsonl"
    known.write_text("".join(json.dumps({"user": "new", "prompt": "", "chosen": texts[1], "rejected": texts[i]}) + "\n" for i in (0, 2, 4)))
    asked.write_text(json.dumps({"user": "new", "prompt": "", "chosen": "ice snow peak", "rejected": "sea sun sand"}) + "\n")
    scored = score_job(tmp_path / "out" / "model", load(asked), load(known))
    assert scored.known == 1
    assert scored.rewards[0, 0] > scored.rewards[0, 1]

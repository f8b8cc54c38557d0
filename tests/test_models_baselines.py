"""The user models of other papers: their degenerate cases, and for each a made-up world that it must recover for users never trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import norm
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize
from worlds import history_of, two_tastes

from evenhand.core import EvenhandError, History, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.p_rlhf import PRlhfMethod, nobody
from evenhand.methods.pref import PrefMethod, start_at, tastes
from evenhand.methods.vpl import Posterior, Sampled, VplMethod, kl_to_standard_normal
from evenhand.models.gpo import Gpo
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore, mixture_of
from evenhand.models.low_rank import LowRank
from evenhand.models.p_rlhf import PRlhf
from evenhand.models.p_rlhf_cluster import PRlhfCluster
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.pref import Pref
from evenhand.models.vpl import Vpl
from evenhand.training.loop import train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, margins
from evenhand.workflows import hyperparameters

DIM = 8
SCHEDULE = Schedule(max_epochs=50, lr=1e-2, weight_decay=0.05, dropout=0.05)
BY_NUMBER = [PRlhf(), PRlhfCluster()]


def world(reward: Any, seed: int = 0, n_users: int = 120, pairs: int = 20) -> tuple[Pairs, Pairs, Pairs]:
    """train, valid, test of users with rewards float[users, items] = reward(items); noiseless in test. History = training pairs."""
    g = torch.Generator().manual_seed(seed)
    items = torch.randn(500, DIM, generator=g)
    rewards = reward(items)

    def draw(each: int, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
        user = torch.arange(n_users).repeat_interleave(each)
        a, b = torch.randint(len(items), (2, len(user)), generator=g)
        margin = rewards[user, a] - rewards[user, b]
        first = torch.rand(len(user), generator=g) < torch.sigmoid(margin) if noisy else margin > 0
        return user, torch.where(first, a, b), torch.where(first, b, a)

    train = draw(pairs, True)
    history = numbered(history_of(items, *train, n_users))
    parts = (train, draw(6, True), draw(12, False))
    one, two, three = (Pairs(history, u, c, r, torch.ones(len(u)), torch.zeros_like(u)) for u, c, r in parts)
    return one, two, three


def numbered(history: History) -> History:
    return replace(history, row=torch.arange(len(history)))


def strangers(pairs: Pairs) -> Pairs:
    """The same pairs by users whom nobody has a number for."""
    return replace(pairs, history=replace(pairs.history, row=torch.full_like(pairs.history.row, -1)))


def old_users(pairs: Pairs, n: int = 90) -> Pairs:
    return pairs.take(pairs.user < n)


def accuracy(scorer: Any, pairs: Pairs) -> float:
    """Of a margin of 0, half: a model that stays at its start is a coin, not always wrong."""
    m = margins(scorer, pairs)
    return float(((m > 0) + 0.5 * (m == 0)).mean())


def on_new_users(method: Any, train: Pairs, valid: Pairs, test: Pairs) -> float:
    """Trained on users 0-89, judged on users 90-119, of whom it has the history alone."""
    return accuracy(method.fit(old_users(train), old_users(valid), 0).scorer, strangers(test).take(test.user >= 90))


def mixed_tastes(seed: int = 0, n_users: int = 120, parts: int = 3) -> Tensor:
    """Each user's taste, float[users, d]: a mixture, mostly of one part, of a few orthogonal tastes."""
    g = torch.Generator().manual_seed(seed + 50)
    basis = torch.linalg.qr(torch.randn(DIM, parts, generator=g))[0] * 4
    return torch.softmax(3 * torch.randn(n_users, parts, generator=g), 1) @ basis.T


def built(head: Any, dim: int = DIM, seed: int = 1) -> Any:
    """Moved off its starting point, so that nothing is 0 by design."""
    scorer, g = head.build(dim, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in scorer.parameters():
            p += 0.5 * torch.randn(p.shape, generator=g)
    return scorer


@pytest.mark.parametrize(
    ("method", "head", "hyperparameter", "value"),
    [("p_rlhf", "p_rlhf", "generic", 0.25), ("p_rlhf", "p_rlhf_cluster", "clusters", 5), ("p_rlhf", "p_rlhf", "seats", 20000),
     ("vpl", "vpl", "kl", 1e-4), ("pref", "pref", "rank", 6), ("bradley_terry", "lore", "rank", 3), ("bradley_terry", "pal", "prototypes", 4),
     ("bradley_terry", "pal_angle", "steps", 10), ("bradley_terry", "gpo", "layers", 1)],
)  # fmt: skip
def test_found_by_name_with_their_hyperparameters(method: str, head: str, hyperparameter: str, value: float) -> None:
    built = hyperparameters.method(method, {hyperparameter: str(value)}, head)
    assert dict(hyperparameters.hyperparameters(built))[hyperparameter] == value
    assert next(built.variants()) == built
    assert len({str(v) for v in built.variants()}) == len(list(built.variants()))


# ---- LoRe


def test_lore_recovers_mixtures_of_three_tastes() -> None:
    taste = mixed_tastes()
    parts = world(lambda items: taste @ items.T)
    plain, lore = (on_new_users(BradleyTerry(head, SCHEDULE), *parts) for head in (Linear(), Lore(3)))
    assert lore > plain + 0.15
    assert lore > 0.9
    scorer = BradleyTerry(Lore(3), SCHEDULE).fit(old_users(parts[0]), old_users(parts[1]), 0).scorer
    with torch.no_grad():
        found = scorer.users(parts[0].history) @ scorer.V.T
    assert cosine_similarity(found, taste)[90:].mean() > 0.85


def test_lore_of_one_part_is_one_reward_for_all() -> None:
    """Whatever the history; and trained alike from the same start it is the Linear head's Bradley-Terry."""
    train, valid, test = two_tastes(0)
    scorer = built(Lore(1))
    state = scorer.users(train.history)
    assert torch.equal(state, torch.ones_like(state))
    one, plain = Lore(1).build(DIM, 0), Linear().build(DIM, 0)
    with torch.no_grad():
        one.V.zero_()
    fitted = [train_model(s, train, lambda m, rows: bt(m), valid, 0, SCHEDULE).scorer for s in (one, plain)]
    torch.testing.assert_close(margins(fitted[0], test), margins(fitted[1], test), atol=1e-4, rtol=1e-4)


def test_mixture_is_the_minimum_of_its_convex_loss() -> None:
    """Against scipy on a softmax of free logits."""
    g = torch.Generator().manual_seed(0)
    z, tau = 1.5 * torch.randn(12, 4, generator=g), torch.tensor(0.7)
    none = torch.zeros(12, dtype=torch.long)
    history = history_of(torch.zeros(1, 1), none, none, none, 1)

    def loss(logits: Any) -> float:
        w = torch.softmax(torch.tensor(logits, dtype=torch.float64), 0)
        return float(bt(z.double() @ w).sum() + tau * (w * (w * 4).log()).sum())

    def mixture(steps: int) -> torch.Tensor:
        return mixture_of(*history.padded(z), 1, tau, steps)

    oracle = torch.softmax(torch.tensor(minimize(loss, [0.0] * 4, tol=1e-10).x), 0).float()
    torch.testing.assert_close(mixture(500)[0], oracle, atol=2e-3, rtol=0)
    torch.testing.assert_close(mixture(20)[0], oracle, atol=0.1, rtol=0)
    losses = [loss(mixture(steps)[0].log().tolist()) for steps in range(8)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("counts", [[3, 3, 3], [5, 0, 1, 40, 2], [0, 0]])
def test_the_gradient_of_a_mixture_is_that_of_its_steps(counts: list[int]) -> None:
    """Written out by hand, alone and for replicas at once, on even and uneven histories: as automatic differentiation has it."""
    g = torch.Generator().manual_seed(0)
    user = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    none, n = torch.zeros_like(user), len(counts)
    history = history_of(torch.zeros(1, 1), user, none, none, n)
    z, tau, down = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((2, len(user), 4), (2,), (n, 4)))

    def step_by_step(z: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        curvature = z.new_zeros(n).index_add(0, user, ((z.amax(1) - z.amin(1)) / 2).square() / 4)
        step, log_ratio = (1 / (tau + curvature)).detach()[:, None], z.new_zeros(n, 4)
        for _ in range(6):
            wrong = torch.sigmoid(-(z * torch.softmax(log_ratio, 1)[user]).sum(1))
            log_ratio = log_ratio + step * (z.new_zeros(n, 4).index_add(0, user, wrong[:, None] * z) - tau * log_ratio)
        return torch.softmax(log_ratio, 1)

    def written_out(z: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        return mixture_of(*history.padded(z), n, tau, 6)

    z, tau = z.requires_grad_(), tau.exp().requires_grad_()
    alone = [torch.stack([f(*replica) for replica in zip(z, tau)]) for f in (step_by_step, written_out)]
    for found in (alone[1], torch.vmap(written_out)(z, tau)):
        torch.testing.assert_close(found, alone[0])
        expected, gradient = (
            torch.autograd.grad((w * down).sum(), (z, tau), retain_graph=True, materialize_grads=True) for w in (alone[0], found)
        )
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("head", [Lore(5), Pal(5), PalAngle(5)], ids=lambda h: type(h).__name__)
def test_mixtures_lie_on_the_simplex_and_start_even(head: Any) -> None:
    train, _, _ = two_tastes(0)
    weight = built(head).users(train.history)
    assert (weight >= 0).all()
    torch.testing.assert_close(weight.sum(1), torch.ones(len(weight)))
    assert weight.amax(1).mean() > 0.3
    torch.testing.assert_close(built(head).users(nobody(train.history)), torch.full((1, 5), 0.2))


# ---- PAL


@pytest.mark.parametrize("head", [Pal(1), PalAngle(1)], ids=lambda h: type(h).__name__)
def test_pal_with_one_prototype_is_no_personalisation(head: Any) -> None:
    train, _, test = two_tastes(0)
    assert torch.equal(built(head).users(train.history), torch.ones(120, 1))
    scorer = built(head)
    torch.testing.assert_close(margins(scorer, test), margins(scorer, replace(test, user=test.user.flip(0))))


def test_pal_rewards_are_distances_and_angles() -> None:
    train, _, _ = two_tastes(0)
    near, angle, state, items = built(Pal(3)), built(PalAngle(3)), torch.tensor([[0.2, 0.3, 0.5]]).expand(20, 3), train.items[:20]
    with torch.no_grad():
        distance = -(items @ near.F - state[:1] @ near.P).square().sum(1)
        torch.testing.assert_close(near.score(state, items), distance, atol=1e-4, rtol=1e-4)
        assert torch.equal(angle.score(state, 7 * items).sign(), angle.score(state, items).sign())
        torch.testing.assert_close(angle.score(state, 7 * items), angle.score(state, items), atol=1e-5, rtol=1e-4)
        assert (angle.score(state, items).abs() <= torch.nn.functional.softplus(angle.raw_c)).all()


def test_pal_recovers_ideal_points_which_no_linear_reward_has() -> None:
    places = torch.tensor([[1.5, 0.0, 0.0], [-1.5, 0.0, 0.0]])[torch.arange(120) % 2]
    parts = world(lambda items: -torch.cdist(places, items[:, :3]).square())
    plain, low_rank, pal = (on_new_users(BradleyTerry(head, SCHEDULE), *parts) for head in (Linear(), LowRank(), Pal(3, 4)))
    assert pal > plain + 0.2
    assert pal > low_rank + 0.1
    assert pal > 0.9


def test_pal_by_angle_recovers_directions() -> None:
    of_user = torch.eye(DIM)[torch.arange(120) % 3]
    parts = world(lambda items: 8 * of_user @ normalize(items, dim=1).T)
    plain, pal = (on_new_users(BradleyTerry(head, SCHEDULE), *parts) for head in (Linear(), PalAngle(4)))
    assert pal > plain + 0.15
    assert pal > 0.85


# ---- P-RLHF


@pytest.mark.parametrize("head", BY_NUMBER, ids=lambda h: type(h).__name__)
def test_an_unknown_user_is_the_generic_user_whatever_he_or_she_chose(head: Any) -> None:
    train, _, _ = two_tastes(0)
    scorer = built(head)
    generic = scorer.users(nobody(train.history))
    assert torch.equal(scorer.users(train.history), generic.expand(120, -1))
    known = scorer.users(numbered(train.history))
    assert (known - generic).norm(dim=1).min() > 0.1
    mirrored = numbered(replace(train.history, chosen=train.history.rejected, rejected=train.history.chosen))
    assert torch.equal(scorer.users(mirrored), known)  # the history is not read


@pytest.mark.parametrize("head", BY_NUMBER, ids=lambda h: type(h).__name__)
def test_untrained_users_are_the_generic_user(head: Any) -> None:
    train, _, _ = two_tastes(0)
    scorer = head.build(DIM, 0)
    torch.testing.assert_close(scorer.users(numbered(train.history)), scorer.users(train.history))


@pytest.mark.parametrize("head", [PRlhf(seats=10), PRlhfCluster(seats=10)], ids=lambda h: type(h).__name__)
def test_more_users_than_seats_is_said(head: Any) -> None:
    train, _, _ = two_tastes(0)
    with pytest.raises(EvenhandError, match="10 seats for training users and found user number 119"):
        head.build(DIM, 0).users(numbered(train.history))


@pytest.mark.parametrize("head", BY_NUMBER, ids=lambda h: type(h).__name__)
def test_p_rlhf_learns_its_training_users_and_serves_others_as_well_as_one_reward_for_all(head: Any) -> None:
    taste = mixed_tastes()
    train, valid, test = world(lambda items: taste @ items.T)
    plain = accuracy(BradleyTerry(Linear(), SCHEDULE).fit(train, valid, 0).scorer, test)
    scorer = PRlhfMethod(BradleyTerry(head, SCHEDULE)).fit(train, valid, 0).scorer
    assert accuracy(scorer, test) > plain + 0.1
    assert accuracy(scorer, strangers(test)) == pytest.approx(plain, abs=0.02)


def test_the_generic_loss_is_what_keeps_strangers_served() -> None:
    """Without it the generic reward is what is left over once each user has an embedding."""
    taste = mixed_tastes()
    train, valid, test = world(lambda items: taste @ items.T)
    # The method goes with any head: here a stranger is a user without a history.
    none, half = (PRlhfMethod(BradleyTerry(LowRank(), SCHEDULE), share).fit(train, valid, 0).scorer for share in (0.0, 0.5))
    loss = [float(bt(margins(s, replace(test, history=empty(test.history)))).mean()) for s in (none, half)]
    assert loss[1] < loss[0] - 0.01


def empty(history: History) -> History:
    return replace(history, offsets=torch.zeros_like(history.offsets), chosen=history.chosen[:0], rejected=history.rejected[:0])


def test_without_generic_loss_p_rlhf_is_bradley_terry() -> None:
    """Up to rounding: a gradient that comes from two rewards lies otherwise in memory, and some processors' libraries add it up otherwise."""
    train, valid, test = two_tastes(0, n_users=40)
    base = BradleyTerry(LowRank(3), replace(SCHEDULE, max_epochs=3))
    one, two, other = (m.fit(train, valid, 0).scorer for m in (base, PRlhfMethod(base, 0.0), PRlhfMethod(base, 0.01)))
    torch.testing.assert_close(margins(two, test), margins(one, test), rtol=1e-6, atol=1e-6)
    assert (margins(other, test) - margins(one, test)).abs().max() > 1e-3  # which a hundredth of the generic loss is seen in


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_p_rlhf_share_out_of_range_is_named(share: float) -> None:
    with pytest.raises(EvenhandError, match="generic is"):
        PRlhfMethod(generic=share)


# ---- VPL


def test_vpl_with_zero_latent_is_linear() -> None:
    train, _, _ = two_tastes(0)
    scorer, linear = built(Vpl()), Linear().build(DIM, 0)
    with torch.no_grad():
        linear.b.copy_(scorer.b)
        none = torch.zeros(len(train.items), 12)
        torch.testing.assert_close(scorer.score(none, train.items), linear.score(none, train.items))
    assert not scorer.users(nobody(train.history)).any()


def test_vpl_penalty_is_the_divergence_of_two_gaussians() -> None:
    from torch.distributions import Normal, kl_divergence

    g = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 6, 3, generator=g)
    oracle = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(6, 3), torch.ones(6, 3))).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), oracle)
    assert not kl_to_standard_normal(torch.zeros(1, 3), torch.zeros(1, 3)).any()


def test_a_heavy_penalty_silences_the_latent() -> None:
    train, valid, test = two_tastes(0)
    base = BradleyTerry(Vpl(), SCHEDULE)
    light, heavy = (VplMethod(base, kl, 1).fit(train, valid, 0).scorer for kl in (3e-6, 100.0))
    with torch.no_grad():  # not to 0: validation, which knows no penalty, keeps an early epoch
        assert heavy.users(test.history).norm(dim=1).mean() < 0.5 * light.users(test.history).norm(dim=1).mean()


def test_vpl_reads_a_sample_in_training_and_its_penalty_is_annealed() -> None:
    """Around the mean, with the posterior's width in the latent's unit; the penalty rises to its weight and stays."""
    train, _, _ = two_tastes(0)
    posterior = Posterior(built(Vpl()), train.history)
    read = Sampled(VplMethod(kl=0.5, anneal=4), 0)
    with torch.no_grad():
        mean = posterior.users(train.history)
        drawn = [read(posterior, train.history) for _ in range(6)]
        log_variance = posterior.log_variance(mean / posterior.unit)
        full = 0.5 * kl_to_standard_normal(mean / posterior.unit, log_variance).mean()
    assert [round(float(penalty / full), 4) for _, penalty in drawn] == [0.25, 0.5, 0.75, 1, 1, 1]
    noise = torch.stack([(z - mean) / (posterior.unit * (log_variance / 2).exp()) for z, _ in drawn])
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert log_variance.abs().max() <= 1


def test_vpl_latents_of_one_taste_lie_together() -> None:
    """Four tastes; the nearest latent of a user never trained on is that of a user of the same taste."""
    kind = torch.arange(120) % 4
    taste = 4 * torch.linalg.qr(torch.randn(DIM, 4, generator=torch.Generator().manual_seed(9)))[0].T[kind]
    parts = world(lambda items: taste @ items.T)
    plain, vpl = (on_new_users(m, *parts) for m in (BradleyTerry(Linear(), SCHEDULE), VplMethod(BradleyTerry(Vpl(), SCHEDULE))))
    assert vpl > plain + 0.15
    assert vpl > 0.8
    scorer = VplMethod(BradleyTerry(Vpl(), SCHEDULE)).fit(old_users(parts[0]), old_users(parts[1]), 0).scorer
    with torch.no_grad():
        z = scorer.users(parts[0].history)
    nearest = torch.cdist(z[90:], z[:90]).argmin(1)
    assert (kind[nearest] == kind[90:]).float().mean() > 0.85


@pytest.mark.parametrize(("kl", "anneal"), [(-1.0, 10), (float("nan"), 10), (1e-6, 0)])
def test_vpl_settings_out_of_range_are_named(kl: float, anneal: int) -> None:
    with pytest.raises(EvenhandError, match="kl="):
        VplMethod(kl=kl, anneal=anneal)


# ---- PReF


def test_pref_coefficients_are_the_logistic_regression_of_the_history() -> None:
    g = torch.Generator().manual_seed(0)
    items = torch.randn(30, DIM, generator=g)
    history = History(items, torch.tensor([0, 15]), torch.arange(15), torch.arange(15, 30), torch.tensor([-1]))
    scorer = built(Pref(4, 200))
    with torch.no_grad():
        found = scorer.users(history)[0].double()
        z, mean, rho = history.differences() @ scorer.V, scorer.mean.double(), torch.nn.functional.softplus(scorer.raw_rho)

    def loss(coefficients: Any) -> float:
        c = torch.tensor(coefficients, dtype=torch.float64)
        return float(bt(z.double() @ c).sum() + rho / 2 * (c - mean).square().sum())

    torch.testing.assert_close(found, torch.tensor(minimize(loss, mean.numpy(), tol=1e-10).x), atol=2e-3, rtol=0)
    losses = []
    with torch.no_grad():
        for scorer.steps in range(9):
            losses.append(loss(scorer.users(history)[0].double().tolist()))
    assert losses == sorted(losses, reverse=True)
    assert losses[8] - loss(found.tolist()) < 0.1 * (losses[0] - loss(found.tolist()))


def subspace_overlap(found: Tensor, truth: Tensor) -> float:
    """The smallest cosine of the principal angles between two column spaces."""
    q, p = torch.linalg.qr(found)[0], torch.linalg.qr(truth)[0]
    return float(torch.linalg.svdvals(q.T @ p).min())


def test_pref_starts_at_the_directions_in_which_users_differ() -> None:
    """Tastes of rank 2: the start spans them, which a random start does not; trained, both beat one reward for all."""
    g = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(DIM, 2, generator=g))[0]
    taste = 3 * torch.randn(120, 2, generator=g) @ basis.T
    train, valid, test = world(lambda items: taste @ items.T)
    scorer = Pref(2).build(DIM, 0)
    assert subspace_overlap(scorer.V.detach(), basis) < 0.8
    start_at(scorer, tastes(train, 1.0))
    assert subspace_overlap(scorer.V.detach(), basis) > 0.95
    plain, pref = (
        on_new_users(m, train, valid, test) for m in (BradleyTerry(Linear(), SCHEDULE), PrefMethod(BradleyTerry(Pref(2), SCHEDULE)))
    )
    assert pref > plain + 0.2
    assert pref > 0.85


def test_pref_starts_with_fewer_directions_than_columns() -> None:
    """Two users have at most two directions: the other columns stay as they were built."""
    scorer, untouched = Pref(5).build(DIM, 0), Pref(5).build(DIM, 0)
    start_at(scorer, torch.randn(2, DIM, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(scorer.V[:, 2:], untouched.V[:, 2:])
    assert not torch.equal(scorer.V[:, :2], untouched.V[:, :2])
    start_at(untouched, torch.zeros(3, DIM))
    assert torch.equal(untouched.V, Pref(5).build(DIM, 0).V)


def test_pref_on_another_head_is_bradley_terry_bit_for_bit() -> None:
    train, valid, test = two_tastes(0, n_users=40)
    base = BradleyTerry(LowRank(3), replace(SCHEDULE, max_epochs=3))
    one, two = (m.fit(train, valid, 0).scorer for m in (base, PrefMethod(base)))
    assert torch.equal(margins(one, test), margins(two, test))


# ---- GPO


def test_gpo_recovers_tastes_of_new_users() -> None:
    taste = mixed_tastes(parts=4)
    parts = world(lambda items: taste @ items.T)
    plain, gpo = (on_new_users(BradleyTerry(head, SCHEDULE), *parts) for head in (Linear(), Gpo()))
    assert gpo > plain + 0.1
    assert gpo > 0.8


def test_gpo_without_history_is_linear_and_a_split_by_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _, _ = two_tastes(0)
    scorer = built(Gpo())
    assert not scorer.users(nobody(train.history)).any()
    with torch.no_grad():
        whole = scorer.users(train.history)
        monkeypatch.setattr("evenhand.models.gpo.AT_ONCE", 17 * 17 * 7)
        torch.testing.assert_close(scorer.users(train.history), whole, atol=1e-5, rtol=1e-5)


# ---- the papers' own forms, from their formulas


def test_vpl_with_perceptrons_is_its_formula() -> None:
    """One user, three pairs, in plain numpy: encoder on both responses side by side, softmax attention, perceptron on (phi, z)."""
    scorer = Vpl(latent=2, perceptron=5).build(4, 0)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in scorer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=g)
    items = torch.randn(7, 4, generator=g)
    history = history_of(items, torch.zeros(3, dtype=torch.long), torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5]), 1)
    v, x = {n: p.detach().double().numpy() for n, p in scorer.named_parameters()}, items.double().numpy()
    e = [relu(relu(np.concatenate([x[i], x[i + 1]]) @ v["A"] + v["a"]) @ v["B"] + v["b"]) for i in (0, 2, 4)]
    share = np.exp([one @ v["q"] / 5**0.5 for one in e])
    z = (share / share.sum()) @ np.array(e) @ v["M"]
    reward = [relu(relu(np.concatenate([one, z]) @ v["C"] + v["c"]) @ v["D"] + v["d"]) @ v["w"] for one in x]
    state = scorer.users(history)
    np.testing.assert_allclose(state.detach()[0], z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scorer.score(state.expand(7, -1), items).detach(), reward, rtol=1e-4, atol=1e-5)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def test_pal_with_a_perceptron_is_its_formula() -> None:
    """Rewards are minus squared distances from F gelu(G phi) to the user's mixture, and cosines to it by angle, up to what a user's items share."""
    items = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    state = torch.tensor([[0.2, 0.3, 0.5]])
    for head in (Pal(prototypes=3, rank=2, hidden=5), PalAngle(prototypes=3, rank=2, hidden=5)):
        scorer = head.build(4, 0)
        v = {n: p.detach().double().numpy() for n, p in scorer.named_parameters()}
        inside = items.double().numpy() @ v["hidden.0.weight"].T + v["hidden.0.bias"]
        place = inside * norm.cdf(inside) @ v["F"]  # gelu(x) = x Phi(x)
        mixture = np.array([0.2, 0.3, 0.5])
        expected = -((place - mixture @ v["P"]) ** 2).sum(1)
        if isinstance(head, PalAngle):
            unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (place, v["P"])]
            expected = np.log1p(np.exp(v["raw_c"])) * unit[0] @ unit[1].T @ mixture
        np.testing.assert_allclose(scorer.score(state.expand(6, -1), items).detach(), expected, rtol=1e-4, atol=1e-5)

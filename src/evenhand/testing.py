"""The contracts of methods and heads as checks that anybody can run on a class of his or her own:

    from evenhand.testing import check_head, check_method

    check_method(MyMethod)  # AssertionError, naming the check, where one fails
    check_method(MyMethod, texts=True)  # the same on features that train along, as under a language model

The package's own methods and heads pass the same checks. Each is a function of its own, so that a test runner can list them:

    @pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
    def test_my_method(check): check(prepared(MyMethod))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from evenhand.core import Events, History, Pairs, Tuning, clip
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.low_rank import LowRank
from evenhand.parts import built_in, part
from evenhand.serve.saved import SavedModel, load_model, save_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import margins
from evenhand.training.tuned import Bank, Tuned

QUICK = Schedule(lr=1e-2, weight_decay=0.05, dropout=0.1, max_epochs=4)
DIM = 10  # of the features that heads are built on

World = Callable[[], tuple[Pairs, Pairs, Pairs]]  # train, valid, test, with events; the same objects at every call


def check_method(method: Any, *, texts: bool = False) -> None:
    """Raises AssertionError at the first contract that a method breaks: a class, which must do without arguments, or a frozen dataclass as it is.

    A made-up world of two tastes is fitted a dozen times, for a few epochs: seconds. It says nothing of how well the method serves anybody.
    texts: its features train along, as under a language model (core.Texts).
    """
    _run(METHOD_CHECKS, prepared(_found("methods", method)), small_world_on_texts if texts else small_world)


def check_head(head: Any) -> None:
    """Raises AssertionError at the first contract that a head breaks: a class, which must do without arguments, or a frozen dataclass as it is."""
    head = _found("heads", head)
    assert is_dataclass(head), f"{_name(head)} is no dataclass: write @dataclass(frozen=True)"
    assert _is_of(head, "reads_new_users"), f"{_name(head)} has no reads_new_users: inherit evenhand.core.Head, which has it"
    _run(HEAD_CHECKS, head() if inspect.isclass(head) else head)


def _found(kind: str, given: Any) -> Any:
    """A part by its name outside the package; all else as it is."""
    found = part(kind, given) if isinstance(given, str) else given
    assert found is not None, f"there is no {clip(given)}: give a class, an object, ./FILE.py:NAME or an entry point's name"
    return found


def _name(given: Any) -> str:
    return str((given if inspect.isclass(given) else type(given)).__name__)


def _is_of(given: Any, name: str) -> bool:
    """Whether its class, or one that it inherits, defines the name."""
    return any(name in vars(c) for c in (given if inspect.isclass(given) else type(given)).__mro__)


def _run(checks: Sequence[Callable[..., None]], part: Any, *world: World) -> None:
    for check in checks:
        try:
            check(part, *world)
        except Exception as error:
            why = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
            raise AssertionError(f"{type(part).__name__} fails {check.__name__}: {' '.join(why.split())}") from error


def prepared(method: Any, head: Any = None) -> Any:
    """The method with few epochs, on a small head unless one is named."""
    given = method() if inspect.isclass(method) else method
    assert is_dataclass(given), f"{type(given).__name__} is no dataclass: write @dataclass(frozen=True)"
    assert _is_of(given, "needs_groups"), f"{type(given).__name__} has no needs_groups: inherit evenhand.core.Method, which has it"
    base = given if isinstance(given, BradleyTerry) else vars(given).get("base")
    assert isinstance(base, BradleyTerry), "there is no field base: BradleyTerry, which holds head and schedule"
    small = replace(base, head=head or LowRank(3), schedule=QUICK)
    return small if isinstance(given, BradleyTerry) else replace(given, base=small)  # type: ignore[type-var]


# ---- a made-up world


def history_of(items: Tensor, user: Tensor, chosen: Tensor, rejected: Tensor, n_users: int) -> History:
    """The pairs as their users' history."""
    order = torch.argsort(user, stable=True)
    offsets = torch.zeros(n_users + 1, dtype=torch.long)
    offsets[1:] = torch.cumsum(torch.bincount(user, minlength=n_users), 0)
    return History(items, offsets, chosen[order], rejected[order], torch.full((n_users,), -1))


def two_tastes(
    seed: int = 0, *, n_users: int = 120, pairs: int = 16, held_out: int = 8, dim: int = 8, minority: float = 0.25
) -> tuple[Pairs, Pairs, Pairs]:
    """train, valid, test: the majority likes the first coordinate high, the minority likes it low; both like the second one high.

    Labels are noisy in train and valid (logistic), noiseless in test. The history is that of the training pairs.
    """
    g = torch.Generator().manual_seed(seed)
    group = (torch.arange(n_users) >= round(n_users * (1 - minority))).long()
    taste = torch.zeros(n_users, dim)
    taste[:, 0] = torch.where(group == 0, 3.0, -3.0)
    taste[:, 1] = 1.5
    items = torch.randn(600, dim, generator=g)

    def draw(each: int, noisy: bool) -> tuple[Tensor, Tensor, Tensor]:
        user = torch.arange(n_users).repeat_interleave(each)
        a, b = torch.randint(len(items), (2, len(user)), generator=g)
        b = torch.where(a == b, (b + 1) % len(items), b)
        margin = ((items[a] - items[b]) * taste[user]).sum(-1)
        first = torch.rand(len(user), generator=g) < torch.sigmoid(margin) if noisy else margin > 0
        return user, torch.where(first, a, b), torch.where(first, b, a)

    train = draw(pairs, True)
    history = history_of(items, *train, n_users)
    drawn = (train, draw(held_out, True), draw(held_out, False))
    train_pairs, valid, test = (Pairs(history, u, c, r, torch.ones(len(u)), group[u]) for u, c, r in drawn)
    return train_pairs, valid, test


def with_events(pairs: Pairs, coordinate: int = 2) -> Pairs:
    """The same pairs in two events by the sign of one coordinate of y1, which is the item of the lower number, whoever was chosen.

    Coordinate 2 is one that nobody cares for: constraints on these events cost next to nothing.
    """
    y1 = torch.minimum(pairs.chosen, pairs.rejected)
    event = (pairs.items[y1, coordinate] > 0).long()
    return replace(pairs, events=Events((), event, pairs.chosen == y1, ""))


@cache
def small_world() -> tuple[Pairs, Pairs, Pairs]:
    """train, valid, test of 40 users, with events."""
    train, valid, test = (with_events(p) for p in two_tastes(n_users=40, pairs=8, held_out=4))
    return train, valid, test


class Matrix(nn.Module):
    """The adapter of `LinearTexts`: A float[k, d], 0 before training."""

    def __init__(self, k: int, d: int):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(k, d))


@dataclass
class LinearTexts:
    """The smallest texts that train: features are base + x A. What a backbone must do (core.Texts), worked out without one.

    base float32[texts, d], x float32[texts, k]. encoded: texts of every call, to count them.
    """

    base: Tensor
    x: Tensor
    tuning: Tuning
    encoded: list[int] = field(default_factory=list)

    def adapter(self, seed: int) -> nn.Module:
        return Matrix(self.x.shape[1], self.base.shape[1])

    def encode(self, adapter: nn.Module, rows: Tensor, *, keep: bool = False) -> Tensor:
        assert isinstance(adapter, Matrix)
        self.encoded.append(len(rows))
        with torch.no_grad():
            return self.base[rows] + self.x[rows] @ adapter.A

    def backward(self, adapter: nn.Module, rows: Tensor, gradient: Tensor) -> None:
        assert isinstance(adapter, Matrix)
        step = self.x[rows].T @ gradient
        adapter.A.grad = step if adapter.A.grad is None else adapter.A.grad + step


@cache
def small_world_on_texts() -> tuple[Pairs, Pairs, Pairs]:
    """The same world with its tastes out of sight: the coordinates that they lie in are 0 until the adapter brings them in."""
    items = small_world()[0].items
    shown = torch.arange(items.shape[1]) >= 4
    seen = torch.where(shown, items, 0.0)
    texts = LinearTexts(seen, items[:, ~shown], Tuning(steps=8, eval_every=4, lr=0.1, batch_texts=64))
    train, valid, test = (replace(p, history=replace(p.history, items=seen), texts=texts) for p in small_world())
    return train, valid, test


def weights(fitted: Any) -> Tensor:
    return torch.cat([p.detach().flatten() for p in fitted.scorer.parameters()])


# ---- methods: what each check is given is the method itself, and the world that it is fitted on


def is_frozen_and_fits_from_pairs_and_a_seed_alone(method: Any, world: World = small_world) -> None:
    assert list(inspect.signature(method.fit).parameters) == ["train", "valid", "seed"], (
        "fit takes other arguments than (train, valid, seed)"
    )
    assert _is_frozen(method), "its hyperparameters can be changed: write @dataclass(frozen=True)"
    assert next(iter(method.variants())) == method, "the first of its variants is not itself"
    assert isinstance(method.needs_groups, bool)
    assert isinstance(method.unreduced, bool)


def same_seed_same_model_bit_for_bit(method: Any, world: World = small_world) -> None:
    one, two = (_fitted_after(method, state, world) for state in (1, 2))
    assert torch.equal(weights(one), weights(two)), "two fits with one seed differ: draw from torch.Generator().manual_seed(seed) alone"
    assert torch.isfinite(weights(one)).all(), "weights are not finite"


def leaves_the_global_generator_and_the_data_alone(method: Any, world: World = small_world) -> None:
    train, valid, _ = world()
    state, before = torch.random.get_rng_state(), [t.clone() for t in (train.items, train.chosen, train.group, train.weight)]
    method.fit(train, valid, 0)
    assert torch.equal(state, torch.random.get_rng_state()), "fitting moves torch's global generator"
    assert all(torch.equal(a, b) for a, b in zip(before, (train.items, train.chosen, train.group, train.weight))), (
        "fitting changes the data"
    )


def what_groups_are_called_changes_nothing(method: Any, world: World = small_world) -> None:
    train, valid, _ = world()
    one = weights(method.fit(train, valid, 0))
    for names in (torch.tensor([1, 0]), torch.tensor([3, 7])):
        renamed = [replace(p, group=names[p.group]) for p in (train, valid)]
        torch.testing.assert_close(weights(method.fit(*renamed, 0)), one, atol=1e-6, rtol=1e-6)


def inference_is_blind_to_groups(method: Any, world: World = small_world) -> None:
    train, valid, test = world()
    scorer = method.fit(train, valid, 0).scorer
    shuffled = replace(test, group=test.group[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))])
    assert torch.equal(margins(scorer, shuffled), margins(scorer, test)), "margins depend on the groups of the pairs that are scored"


def swapping_chosen_and_rejected_negates_the_margin(method: Any, world: World = small_world) -> None:
    train, valid, test = world()
    scorer = method.fit(train, valid, 0).scorer
    swapped = replace(test, chosen=test.rejected, rejected=test.chosen)
    assert torch.equal(margins(scorer, swapped), -margins(scorer, test)), "the margin of a swapped pair is not the negative one"


def margins_do_not_depend_on_the_batch_or_its_order(method: Any, world: World = small_world) -> None:
    train, valid, test = world()
    scorer = method.fit(train, valid, 0).scorer
    together = margins(scorer, test)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(margins(scorer, test.take(order)), together[order], atol=1e-5, rtol=1e-5)
    alone = torch.cat([margins(scorer, test.take(torch.tensor([i]))) for i in range(0, len(test), 9)])
    torch.testing.assert_close(alone, together[::9], atol=1e-5, rtol=1e-5)


def users_in_no_group_are_trained_on_too(method: Any, world: World = small_world) -> None:
    train, valid, test = world()
    some, others = (replace(p, group=p.group.masked_fill(p.user % 5 == 0, -1)) for p in (train, valid))
    assert torch.isfinite(margins(method.fit(some, others, 0).scorer, test)).all(), "margins are not finite"


def save_load_same_margins(method: Any, world: World = small_world) -> None:
    train, valid, test = world()
    head, scorer, dim = head_of(method), method.fit(train, valid, 0).scorer, train.items.shape[1]
    own, learned = (scorer.head, scorer.adapter.state_dict()) if isinstance(scorer, Tuned) else (scorer, {})
    features: tuple[dict[str, Any], dict[str, Any]] = ({}, {"recipe": {"dim": dim}, "tfidf": None})
    arrays = {name: tensor.numpy() for name, tensor in learned.items()}
    with TemporaryDirectory() as folder:
        save_model(folder, SavedModel(head, dim, own, features, {"kind": "none", "with_prompt": False}, {}, arrays))
        saved = load_model(folder, None if built_in(head) else type(head))
    again = saved.scorer
    if isinstance(scorer, Tuned):
        adapter = scorer.bank.texts.adapter(0)
        adapter.load_state_dict({name: torch.from_numpy(array) for name, array in saved.adapter.items()})
        again = Tuned(again, adapter, Bank(scorer.bank.texts, test.items.clone(), torch.zeros(len(test.items), dtype=torch.bool)))
    one, two = margins(again, test), margins(scorer, test)
    # features that are computed anew, in other batches, are the same up to rounding
    same = torch.allclose(one, two, atol=1e-5, rtol=1e-5) if isinstance(scorer, Tuned) else torch.equal(one, two)
    assert same, "a model that was saved and loaded has other margins"


METHOD_CHECKS: tuple[Callable[..., None], ...] = (
    is_frozen_and_fits_from_pairs_and_a_seed_alone, same_seed_same_model_bit_for_bit, leaves_the_global_generator_and_the_data_alone,
    what_groups_are_called_changes_nothing, inference_is_blind_to_groups, swapping_chosen_and_rejected_negates_the_margin,
    margins_do_not_depend_on_the_batch_or_its_order, users_in_no_group_are_trained_on_too, save_load_same_margins,
)  # fmt: skip


def head_of(method: Any) -> Any:
    return method.head if isinstance(method, BradleyTerry) else method.base.head


def _fitted_after(method: Any, state: int, world: World) -> Any:
    """A fit with one seed, whatever state torch's own generator is in."""
    train, valid, _ = world()
    with torch.random.fork_rng():
        torch.manual_seed(state)
        return method.fit(train, valid, 5)


def _is_frozen(part: Any) -> bool:
    try:
        part.anything = 1
    except FrozenInstanceError:
        return True
    return False


# ---- heads


def shaken(head: Any, seed: int = 3) -> Any:
    """The head built and moved off its starting point, so that no parameter is 0 by design."""
    scorer = head.build(DIM, seed)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in scorer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=g)
    return scorer


def ragged(seed: int = 0, counts: tuple[int, ...] = (5, 0, 1, 30, 2)) -> History:
    """Histories of so many pairs a user."""
    g = torch.Generator().manual_seed(seed)
    user = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    chosen, rejected = torch.randint(60, (2, len(user)), generator=g)
    return history_of(torch.randn(60, DIM, generator=g), user, chosen, rejected, len(counts))


def rewards(scorer: Any, history: History, items: Tensor) -> Tensor:
    """float[users, items]."""
    with torch.no_grad():
        states = scorer.users(history)
        return torch.stack([scorer.score(s.expand(len(items), -1), items) for s in states])


def only(history: History, user: int) -> History:
    """The history of one user."""
    own = slice(int(history.offsets[user]), int(history.offsets[user + 1]))
    chosen, rejected = history.chosen[own], history.rejected[own]
    return History(history.items, torch.tensor([0, len(chosen)]), chosen, rejected, history.row[user : user + 1])


def is_frozen_and_its_scorer_takes_no_group(head: Any) -> None:
    assert _is_frozen(head), "its hyperparameters can be changed: write @dataclass(frozen=True)"
    assert isinstance(head.reads_new_users, bool)
    scorer = head.build(DIM, 0)
    assert list(inspect.signature(scorer.users).parameters) == ["history"], "users takes other arguments than (history)"
    assert list(inspect.signature(scorer.score).parameters) == ["state", "items"], "score takes other arguments than (state, items)"
    assert not {"group", "groups"} & {f.name for f in fields(History)}


def same_seed_same_start(head: Any) -> None:
    one, two = head.build(DIM, 7).state_dict(), head.build(DIM, 7).state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[n], two[n]) for n in one), "two scorers built with one seed differ"


def building_leaves_the_global_generator_alone(head: Any) -> None:
    before = torch.random.get_rng_state()
    head.build(DIM, 7)
    assert torch.equal(before, torch.random.get_rng_state()), "building moves torch's global generator"


def a_user_alone_gets_the_rewards_he_or_she_gets_among_others(head: Any) -> None:
    scorer, history = shaken(head), ragged()
    items = history.items[:20]
    together = rewards(scorer, history, items)
    for user in range(len(history)):
        torch.testing.assert_close(rewards(scorer, only(history, user), items)[0], together[user], atol=1e-5, rtol=1e-5)


def one_item_alone_gets_the_reward_it_gets_among_others(head: Any) -> None:
    scorer, history = shaken(head), ragged()
    together = rewards(scorer, history, history.items[:20])
    alone = torch.cat([rewards(scorer, history, history.items[i : i + 1]) for i in range(20)], dim=1)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def the_order_of_items_and_of_history_pairs_does_not_matter(head: Any) -> None:
    scorer, history = shaken(head), ragged()
    g = torch.Generator().manual_seed(1)
    items = history.items[:20]
    order = torch.randperm(20, generator=g)
    shuffled = torch.cat([int(a) + torch.randperm(int(b - a), generator=g) for a, b in zip(history.offsets, history.offsets[1:])])
    other = replace(history, chosen=history.chosen[shuffled], rejected=history.rejected[shuffled])
    assert not torch.equal(other.chosen, history.chosen)
    torch.testing.assert_close(rewards(scorer, other, items[order]), rewards(scorer, history, items)[:, order], atol=1e-5, rtol=1e-5)


def an_empty_history_is_the_reward_for_everybody(head: Any) -> None:
    scorer, none = shaken(head), torch.zeros(0, dtype=torch.long)
    nobody = history_of(ragged().items, none, none, none, 3)
    out = rewards(scorer, nobody, nobody.items)
    assert torch.equal(out[0], out[1]), "two users without a history get different rewards"
    assert torch.equal(out[0], out[2]), "two users without a history get different rewards"
    among = rewards(scorer, ragged(), nobody.items)[1]  # user 1 of the ragged history has no pair
    assert torch.equal(out[0], among), "a user without a history is moved by the histories of others"
    assert out.std() > 0, "all texts get the same reward"


def large_features_give_finite_rewards(head: Any) -> None:
    history = ragged()
    huge = replace(history, items=history.items * 1e3)
    assert torch.isfinite(rewards(shaken(head), huge, huge.items)).all(), "rewards are not finite"


def every_parameter_learns(head: Any) -> None:
    scorer, history = shaken(head), replace(ragged(), row=torch.arange(5))
    state = scorer.users(history)[torch.tensor([0, 3, 4])]
    scorer.score(state, history.items[:3]).sum().backward()
    for name, p in scorer.named_parameters():
        assert p.grad is not None, f"{name} has no gradient"
        assert torch.isfinite(p.grad).all(), f"the gradient of {name} is not finite"
        assert p.grad.abs().sum() > 0, f"the gradient of {name} is 0"


HEAD_CHECKS: tuple[Callable[[Any], None], ...] = (
    is_frozen_and_its_scorer_takes_no_group, same_seed_same_start, building_leaves_the_global_generator_alone,
    a_user_alone_gets_the_rewards_he_or_she_gets_among_others, one_item_alone_gets_the_reward_it_gets_among_others,
    the_order_of_items_and_of_history_pairs_does_not_matter, an_empty_history_is_the_reward_for_everybody, large_features_give_finite_rewards,
    every_parameter_learns,
)  # fmt: skip

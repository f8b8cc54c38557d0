"""What every method of methods/ must satisfy, and the degenerate cases of PAFO. A new file there is found by listing the folder."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from worlds import history_of, two_tastes, unreadable, with_events

import evenhand.methods
from evenhand.core import Constraint, EvenhandError, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, cf, eo
from evenhand.methods.inverse_frequency import InverseFrequency
from evenhand.methods.pafo import DISTIL, Pafo, gate, hinge, mse, soft
from evenhand.methods.penalty import Penalty
from evenhand.models.linear import Linear
from evenhand.models.low_rank import LowRank
from evenhand.models.p_rlhf import PRlhf
from evenhand.models.p_rlhf_cluster import PRlhfCluster
from evenhand.serve.head_record import heads
from evenhand.testing import METHOD_CHECKS, QUICK, prepared, small_world, weights
from evenhand.training.groups import group_weights
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import bt, cross_margins, margins
from evenhand.training.stack import Training, fit_all, run_stages, train_all, train_stack
from evenhand.training.traces import Fitted
from evenhand.workflows.trials import gamma_of, notion_of

LONG = replace(QUICK, max_epochs=60)
BASE = BradleyTerry(LowRank(3), QUICK)


def methods() -> dict[str, type]:
    """Every method by class name: the dataclasses with a `fit` of each file in methods/."""
    found = {}
    for file in pkgutil.iter_modules(evenhand.methods.__path__):
        module = importlib.import_module(f"evenhand.methods.{file.name}")
        own = {n: c for n, c in vars(module).items() if isinstance(c, type) and is_dataclass(c) and c.__module__ == module.__name__}
        found |= {n: c for n, c in own.items() if "fit" in vars(c)}
    return found


METHODS = [pytest.param(prepared(kind), id=name) for name, kind in sorted(methods().items())]


def accuracy(scorer: Any, pairs: Pairs, group: int) -> float:
    return float((margins(scorer, pairs.of(group)) > 0).float().mean())


@pytest.fixture(scope="module")
def world() -> tuple[Pairs, Pairs, Pairs]:
    return small_world()


def test_a_method_says_what_it_constrains() -> None:
    constrained = {name: c for name, kind in methods().items() if (c := prepared(kind).constraint) is not None}
    assert constrained == {"Faro": Constraint("dp", 0.05), "Penalty": Constraint("dp")}
    assert Faro(BASE, eo, 0.2).constraint == Constraint("eo", 0.2)
    assert Penalty(BASE, cf).constraint == Constraint("cf", None)  # a penalty promises no gamma


def test_a_method_of_ones_own_is_held_to_what_it_says() -> None:
    @dataclass(frozen=True)
    class Held(BradleyTerry):
        @property
        def constraint(self) -> Constraint:
            return Constraint("cf", 0.1)

    assert (notion_of(Held()), gamma_of(Held())) == ("cf", 0.1)
    assert (notion_of(BASE), gamma_of(BASE)) == (None, None)
    assert (notion_of(Penalty(BASE, eo)), gamma_of(Penalty(BASE, eo))) == ("eo", None)


def test_the_folder_lists_every_method() -> None:
    assert {"BradleyTerry", "Pafo"} <= methods().keys()


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    @pytest.mark.parametrize("check", METHOD_CHECKS, ids=[check.__name__ for check in METHOD_CHECKS])
    def test_keeps_the_contract(self, method: Any, check: Any) -> None:
        check(method)

    def test_another_seed_another_model(self, method: Any, world: Any) -> None:
        train, valid, _ = world
        assert not torch.equal(weights(method.fit(train, valid, 5)), weights(method.fit(train, valid, 6)))

    def test_weights_are_respected(self, method: Any) -> None:
        """Pairs of weight near 0 can say what they like: turned round or not, the model is the same.

        Their events still count: what is preferred in an event has no weight. Turned round, y1 stays y1 and the label is the other one.
        """
        # one taste in both groups: the linear head below can serve either, and no method is best left at its start
        train, valid = (with_events(replace(p, group=p.user % 2)) for p in two_tastes(n_users=40, pairs=8, held_out=4, minority=0.0)[:2])
        faint = torch.arange(len(train)) % 2 == 0
        light = replace(train, weight=torch.where(faint, 1e-12, 1.0))
        turned = replace(
            light, chosen=torch.where(faint, train.rejected, train.chosen), rejected=torch.where(faint, train.chosen, train.rejected)
        )
        turned = with_events(turned)
        # without a history: there a pair is read whatever its weight
        linear = prepared(type(method), Linear())
        one, two = (weights(linear.fit(p, valid, 0)) for p in (light, turned))
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
        assert (weights(linear.fit(replace(turned, weight=train.weight), valid, 0)) - one).abs().max() > 1e-3

    def test_a_new_user_needs_no_retraining(self, method: Any) -> None:
        """Users 60-79 are never trained on; their histories alone put them on the right side."""
        name = "base" if "base" in vars(method) else "method"
        method = replace(method, base=replace(method.base, schedule=LONG)) if name == "base" else replace(method, schedule=LONG)
        train, valid, test = (with_events(p) for p in two_tastes(0, n_users=80, pairs=16))
        old = torch.arange(0, 80) % 4 != 0
        scorer = method.fit(train.take(old[train.user]), valid.take(old[valid.user]), 0).scorer
        new = test.take(~old[test.user])
        assert accuracy(scorer, new, 0) > 0.85
        assert accuracy(scorer, new, 1) > 0.75


# Every method with every head would be far more fits than faults: in steps of three, each method meets a third of the heads and each head a
# third of the methods, and no two neighbours the same ones.
PAIRED = [
    pytest.param(method, head, id=f"{type(method).__name__}-{name}")
    for i, method in enumerate(prepared(kind) for _, kind in sorted(methods().items()))
    for j, (name, head) in enumerate(heads().items())
    if (i + j) % 3 == 0
]


@pytest.mark.parametrize(("method", "head"), PAIRED)
def test_runs_unchanged_on_every_head(method: Any, head: type, world: Any) -> None:
    train, valid, test = world
    method = prepared(type(method), head())
    enough = replace(QUICK, max_epochs=12)  # the worst group's loss may rise before it falls
    method = replace(method, base=replace(method.base, schedule=enough)) if "base" in vars(method) else replace(method, schedule=enough)
    fitted = method.fit(train, valid, 0)
    assert torch.isfinite(margins(fitted.scorer, test)).all()
    # one reward for both groups may well be best left at its start; nobody has a number here
    if head not in (Linear, PRlhf, PRlhfCluster):
        assert fitted.trace.best_epoch > 0
        assert (margins(fitted.scorer, test) > 0).float().mean() > 0.6


# ---- PAFO: losses


def test_distillation_losses_at_known_margins() -> None:
    m, target = torch.tensor([0.0, 2.0, 2.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    np.testing.assert_allclose(mse(m, target), [1, 1, 9, 0])
    np.testing.assert_allclose(hinge(m, target), [1, 0, 0, 0])  # one-sided: only a student below its teacher pays
    np.testing.assert_allclose(gate(m, target), [1, 1, 0, 0])  # only where the teacher is right
    p, q = torch.sigmoid(target), torch.sigmoid(m)
    np.testing.assert_allclose(soft(m, target), -(p * q.log() + (1 - p) * (1 - q).log()), rtol=1e-5)


def test_temperature_softens_soft_and_leaves_mse(world: Any) -> None:
    train, valid, _ = world
    hot, cold = ([Pafo(BASE, distil=d, temperature=t, guarded=False).fit(train, valid, 0) for t in (4.0, 1.0)] for d in (soft, mse))
    assert not torch.allclose(margins(hot[0].scorer, valid), margins(hot[1].scorer, valid), atol=1e-4)
    assert torch.allclose(margins(cold[0].scorer, valid), margins(cold[1].scorer, valid), atol=1e-4)


def test_settings_trained_together_are_what_each_is_alone(world: Any) -> None:
    """As tight as rounding: every replica sees the batches it would see alone, and stops where it would stop alone."""
    train, valid, test = world
    base = replace(BASE, schedule=replace(BASE.schedule, lr=0.1, max_epochs=15, patience=2))
    light = replace(base, schedule=replace(base.schedule, weight_decay=0.1))
    many: dict[str, list[Any]] = {
        "bradley_terry": [base, light, replace(base, head=LowRank(2))],
        "inverse_frequency": [InverseFrequency(base, 1.0), InverseFrequency(light, 0.5), InverseFrequency(base, 0.0)],
        "pafo": [
            Pafo(base),
            Pafo(base, alpha=0.5, balance=0.0),
            Pafo(light, alpha=1.0),
            Pafo(base, distil=mse),
            Pafo(base, temperature=3.0),
        ],
    }
    for name, methods in many.items():
        together = fit_all(methods, train, valid, 0)
        for method, found in zip(methods, together, strict=True):
            alone = method.fit(train, valid, 0)
            assert found.trace.best_epoch == alone.trace.best_epoch, name
            np.testing.assert_allclose(found.trace.valid_loss, alone.trace.valid_loss, atol=1e-5)
            np.testing.assert_allclose(found.trace.train_loss, alone.trace.train_loss, atol=1e-5)
            np.testing.assert_allclose(margins(found.scorer, test), margins(alone.scorer, test), atol=1e-5)
    first, second = together[:2]  # of PAFO's, the last
    assert all(first.parts[p] is second.parts[p] for p in ("pooled", "teacher 0", "teacher 1"))  # trained once
    assert len({len(f.trace.valid_loss) for f in together}) > 1  # some stopped while others went on


def test_in_a_stack_each_setting_keeps_its_epoch_by_its_own_rule(world: Any) -> None:
    """Balance 0 is picked by the mean over users, in a stack with others as alone; its trace says so."""
    train, valid, _ = world
    students = [f.parts["student"] for f in fit_all([Pafo(BASE, balance=b) for b in (0.0, 0.5, 1.0)], train, valid, 0)]
    assert [s.trace.by_group for s in students] == [False, True, True]


def test_what_several_settings_ask_for_is_fitted_once_and_what_is_alike_is_one_stack(world: Any) -> None:
    train, valid, _ = world
    calls: list[object] = []

    @dataclass(frozen=True)
    class First:
        """Something that two settings start from."""

        def stages(self, train: Pairs, valid: Pairs, seed: int) -> Any:
            calls.append("first")
            return (yield BASE.training(train, seed))

    @dataclass(frozen=True)
    class Second:
        size: int

        def stages(self, train: Pairs, valid: Pairs, seed: int) -> Any:
            first = yield First()
            fitted = yield Training(first.scorer, pair_bt, QUICK, alike=self.size > 1, run=self.run)
            return replace(fitted, parts={"first": first})

        def run(self, stack: Any, *data: Any) -> list[Fitted]:
            calls.append(len(stack))
            return train_stack(stack, *data)

    one, two, three, again = run_stages([Second(1), Second(2), Second(3), Second(2)], train, valid, 0)
    assert calls == ["first", 1, 2]
    assert one.parts["first"] is two.parts["first"] is three.parts["first"]
    assert again is two


def test_users_in_no_group_weigh_as_before() -> None:
    train, _, _ = two_tastes(n_users=40, pairs=8)
    some = replace(train, group=torch.where(train.user == 0, -1, train.group))
    weight = group_weights(some, 1.0)
    assert torch.equal(weight[some.group == -1], torch.ones(int((some.group == -1).sum())))
    assert float(weight[some.group >= 0].mean()) == pytest.approx(1)


@pytest.mark.parametrize("distil", [mse, soft])
def test_the_teachers_margin_is_the_minimum(distil: Any) -> None:
    target = torch.tensor([-1.5, 0.0, 0.7])
    m = target.clone().requires_grad_()
    distil(m, target).sum().backward()
    np.testing.assert_allclose(m.grad, 0, atol=1e-6)


def test_group_weights_count_users_and_have_mean_one() -> None:
    train, _, _ = two_tastes(n_users=40, pairs=8)  # 30 users and 10 users
    weight = group_weights(train, 1.0)
    assert float(weight.mean()) == pytest.approx(1)
    assert float(weight[train.group == 1][0] / weight[train.group == 0][0]) == pytest.approx(3)
    assert float(group_weights(train, 0.5)[train.group == 1][0] / group_weights(train, 0.5)[train.group == 0][0]) == pytest.approx(3**0.5)
    assert torch.equal(group_weights(train, 0.0), torch.ones(len(train)))
    twice = train.take(torch.cat([torch.arange(len(train)), (train.group == 1).nonzero()[:, 0]]))  # the minority writes twice as much
    weight = group_weights(twice, 1.0)
    assert float(weight[twice.group == 1][0] / weight[twice.group == 0][0]) == pytest.approx(3)


@pytest.mark.parametrize(("name", "value"), [("alpha", -0.1), ("alpha", 1.5), ("balance", 2.0), ("balance", float("nan"))])
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(EvenhandError, match=f"{name} is"):
        Pafo(**{name: value})


# ---- PAFO: degenerate cases


@pytest.mark.parametrize("distil", DISTIL.values(), ids=DISTIL.keys())
@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_alpha_one_is_bradley_terry_bit_for_bit(world: Any, distil: Any, balance: float) -> None:
    train, valid, _ = world
    assert torch.equal(weights(Pafo(BASE, 1.0, distil, balance).fit(train, valid, 3)), weights(BASE.fit(train, valid, 3)))


def test_one_group_gives_the_same_student_whatever_the_balance(world: Any) -> None:
    train, valid = (replace(p, group=torch.zeros_like(p.group)) for p in world[:2])
    one, two = (weights(Pafo(BASE, 0.2, soft, balance).fit(train, valid, 0)) for balance in (0.0, 1.0))
    assert torch.equal(one, two)


def test_one_group_and_alpha_zero_gives_the_teachers_margins_as_target() -> None:
    """Linear head, judged on the training pairs: the teacher is the best one there is, and the student must end at its very weights."""
    train, _, _ = (replace(p, group=torch.zeros_like(p.group)) for p in two_tastes(0, n_users=20, pairs=40, dim=4, minority=0.0))
    schedule = Schedule(lr=0.05, weight_decay=0.0, dropout=0.0, batch_users=100, max_epochs=250, patience=250, context=(0.0, 0.0))
    fitted = Pafo(BradleyTerry(Linear(), schedule), 0.0, mse, 0.0).fit(train, train, 0)
    teacher, student = (f.scorer.b.detach() for f in (fitted.parts["teacher 0"], fitted))
    assert teacher.abs().max() > 1
    torch.testing.assert_close(student, teacher, atol=0.02, rtol=0.02)


def test_the_target_is_under_the_users_own_teacher(world: Any) -> None:
    """Only the group's own teacher is asked: with targets made by hand from `parts`, the student is the same."""
    train, valid, _ = world
    method = Pafo(BASE, 0.1, soft, 0.5, guarded=False)
    fitted = method.fit(train, valid, 0)
    target = torch.full((len(train),), float("nan"))
    for group in (0, 1):
        rows = (train.group == group).nonzero()[:, 0]
        target[rows] = cross_margins(fitted.parts[f"teacher {group}"].scorer, train.take(rows), 0)
    assert torch.equal(weights(train_all([method.student(target, train, valid, 0)], train, valid, 0)[0]), weights(fitted))
    swapped = replace(train, group=1 - train.group)  # the other group's teacher would give another target
    other = torch.cat([cross_margins(fitted.parts[f"teacher {g}"].scorer, swapped.of(g), 0) for g in (0, 1)])
    assert not torch.allclose(other.sort().values, target.sort().values, atol=1e-3)


def test_each_teacher_learns_from_its_own_group_alone(world: Any) -> None:
    """Turning the majority's training pairs round changes nothing for the minority's teacher, given the pooled model."""
    train, valid, _ = world
    method = Pafo(BASE)
    pooled = BASE.fit(train, valid, 0)
    other = train.group == 0
    turned = replace(
        train, chosen=torch.where(other, train.rejected, train.chosen), rejected=torch.where(other, train.chosen, train.rejected)
    )
    one, two = (method.teachers.of(pooled, p, valid, 0) for p in (train, turned))
    assert torch.equal(weights(one[1]), weights(two[1]))
    assert not torch.equal(weights(one[0]), weights(two[0]))


@pytest.fixture(scope="module")
def strong() -> Pafo:
    return Pafo(BradleyTerry(LowRank(3), LONG), teacher_lr=1e-2, guarded=False)


def test_with_readable_histories_the_student_reaches_both_teachers(strong: Pafo) -> None:
    """No group enters the student, and yet it serves each group as well as that group's own teacher (within 3 points)."""
    train, valid, test = two_tastes(0, n_users=160)
    fitted = strong.fit(train, valid, 0)
    for group in (0, 1):
        teacher = accuracy(fitted.parts[f"teacher {group}"].scorer, test, group)
        assert teacher > 0.85
        assert accuracy(fitted.scorer, test, group) > teacher - 0.03


def test_without_histories_it_cannot(strong: Pafo) -> None:
    """The same pairs, but nothing shows who belongs together: the teachers, told the group, still serve it; the student cannot."""
    train, valid, test = (unreadable(p) for p in two_tastes(0))
    few_steps = replace(LONG, batch_users=128)
    fitted = replace(strong, base=replace(strong.base, schedule=few_steps)).fit(train, valid, 0)
    teacher, student = (accuracy(scorer, test, 1) for scorer in (fitted.parts["teacher 1"].scorer, fitted.scorer))
    assert teacher > 0.85
    assert student < teacher - 0.15
    assert accuracy(fitted.parts["teacher 0"].scorer, test, 0) > 0.85


def test_a_group_without_validation_pairs_keeps_the_pooled_teacher(world: Any) -> None:
    train, valid, _ = world
    fitted = Pafo(BASE).fit(train, valid.of(0), 0)
    assert fitted.parts["teacher 1"] is fitted.parts["pooled"]
    assert fitted.parts["teacher 0"] is not fitted.parts["pooled"]


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"balance": -0.1}, {"temperature": 0.0}, {"teacher_lr": float("nan")}])
def test_hyperparameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(EvenhandError, match=next(iter(wrong))):
        Pafo(BASE, **wrong)


def test_three_groups_have_three_teachers() -> None:
    train, valid, test = two_tastes(n_users=60, pairs=8)
    three = [replace(p, group=p.user % 3) for p in (train, valid)]
    fitted = Pafo(BASE).fit(*three, 0)
    assert set(fitted.parts) == {"pooled", "student", "teacher 0", "teacher 1", "teacher 2"}
    assert torch.isfinite(margins(fitted.scorer, test)).all()


def test_a_cold_start_trains_teachers_from_scratch(world: Any) -> None:
    train, valid, _ = world
    method = Pafo(BASE, warm_start=False)
    pooled = BASE.fit(train, valid, 0)
    own = train_model(BASE.head.build(train.items.shape[1], 0), train.of(1), lambda m, rows: bt(m), valid.of(1), 0, QUICK)
    assert torch.equal(weights(method.teachers.of(pooled, train, valid, 0)[1]), weights(own))


def test_users_without_a_pair_do_no_harm(world: Any) -> None:
    """A history with users who have no training pair at all, as unseen users do."""
    train, valid, test = world
    some = train.take(train.user < 35)
    own = train.user < 35
    history = history_of(train.items, train.user[own], train.chosen[own], train.rejected[own], 40)
    fitted = Pafo(BASE).fit(replace(some, history=history), replace(valid, history=history), 0)
    assert torch.isfinite(margins(fitted.scorer, replace(test, history=history))).all()

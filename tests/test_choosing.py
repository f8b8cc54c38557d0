"""Which model is kept: PAFO's guard, and the choice of `auto`, on losses whose right answer is known, and by name in report and result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from worlds import two_tastes

import evenhand
from evenhand.core import EvenhandError, History
from evenhand.data.simulate import simulated_users
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.report.terminal import lines
from evenhand.training.choosing import changes, guard, simplest, user_losses
from evenhand.training.schedule import Schedule
from evenhand.workflows import hyperparameters
from evenhand.workflows.compare import rows
from evenhand.workflows.trained import PERSONALISED, PLAIN, asked, choice, title

GROUP = torch.tensor([0] * 30 + [1] * 10)


class Fixed(nn.Module):
    """A scorer that likes coordinate 0 as much as each user is read to do."""

    def __init__(self, taste: Tensor):
        super().__init__()
        self.taste = taste

    def users(self, history: History) -> Tensor:
        return self.taste

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return items[:, 0] * state[:, 0]


def test_changes_are_paired_by_user() -> None:
    g = torch.Generator().manual_seed(0)
    old = torch.rand(40, generator=g)
    new = old + 0.1 * torch.randn(40, generator=g) + 0.2 * (GROUP == 1)
    everybody, majority, minority = changes(new, old, GROUP)
    d = (new - old).double().numpy()
    for found, values in ((everybody, d), (majority, d[:30]), (minority, d[30:])):
        assert found.mean == pytest.approx(values.mean(), abs=1e-6)
        assert found.error == pytest.approx(values.std(ddof=1) / len(values) ** 0.5, rel=1e-4)
    assert minority.is_worse(1)
    assert not majority.is_worse(1)
    assert minority.is_shown


def test_a_single_user_shows_nothing_and_rounding_is_no_change() -> None:
    old = torch.full((5,), 0.5)
    change = torch.tensor([-0.1, -0.2, -0.1, -0.2, 0.5])
    assert not any(c.is_shown for c in changes(old + change, old, torch.tensor([0, 0, 0, 0, 1])))
    assert not any(c.is_shown for c in changes(old + 1e-7, old, torch.zeros(5, dtype=torch.long)))
    assert not any(c.is_worse(1) for c in changes(old + 1e-7, old, torch.zeros(5, dtype=torch.long)))


def test_the_unit_of_margins_is_no_merit() -> None:
    valid = two_tastes(n_users=120, minority=0.25)[1]
    same = Fixed(torch.where(torch.arange(120) < 90, 1.5, -1.5)[:, None])
    torch.testing.assert_close(user_losses(same, valid), user_losses(Fixed(3 * same.taste), valid), atol=2e-3, rtol=1e-2)


def test_the_guard_refuses_what_serves_a_group_worse_and_keeps_what_serves_all_better() -> None:
    valid = two_tastes(n_users=120, minority=0.25)[1]
    sign = torch.where(torch.arange(120) < 90, 1.0, -1.0)[:, None]
    old, harms = Fixed(0.75 * sign), Fixed(torch.where(sign > 0, 1.5, 0.5))  # the minority is read against its own taste
    found = guard(harms, old, valid)
    assert not found.kept
    assert 1 in {c.group for c in found.changes if c.is_shown}
    blind = Fixed(torch.where(torch.arange(120)[:, None] % 2 > 0, old.taste, 0.0))  # reads every other user
    assert guard(old, blind, valid).kept
    assert not guard(blind, old, valid).kept


def test_pafo_returns_the_pooled_model_where_the_student_harms() -> None:
    """A student that may not learn at all is worse than the pooled model: it is not returned, and what was refused is said."""
    train, valid, _ = two_tastes(n_users=60)
    base = BradleyTerry(schedule=Schedule(lr=1e-2, dropout=0.1, max_epochs=8))
    method = Pafo(base, balance=0.0)
    parts = method.fit(train, valid, 0).parts
    untrained = replace(parts["student"], scorer=base.head.build(train.items.shape[1], 5))
    found = method.kept(dict(parts) | {"student": untrained}, valid)
    assert found.scorer is parts["pooled"].scorer
    assert found.guard is not None
    assert not found.guard.kept
    assert replace(method, guarded=False).kept(dict(parts) | {"student": untrained}, valid).scorer is untrained.scorer
    good = method.kept(dict(parts) | {"student": parts["pooled"]}, valid)
    assert good.guard is not None
    assert good.guard.kept


def test_the_simplest_within_one_standard_error() -> None:
    """Changes of ± 0.05 around a mean have standard errors of 0.008 for everybody, 0.009 and 0.017 for the two groups."""
    best = torch.linspace(0.4, 0.8, 40)
    wave = 0.05 * torch.where(torch.arange(40) % 2 > 0, 1.0, -1.0)
    assert simplest([best + wave + 0.006, best], GROUP) == 0
    assert simplest([best + wave + 0.012, best], GROUP) == 1
    few = torch.where(GROUP == 1, 0.04, -0.012)  # everybody is served alike in the mean, the minority is not
    assert simplest([best + wave + few, best], GROUP) == 1
    assert simplest([best, best + wave], GROUP) == 0


def test_why_a_model_was_chosen_is_so() -> None:
    """The second is worse for everybody by half a thousandth and better for the minority by .04: it is the lowest, and simpler than nothing."""
    best = torch.linspace(0.4, 0.8, 40)
    wave = 0.05 * torch.where(torch.arange(40) % 2 > 0, 1.0, -1.0)
    unequal = best + wave + torch.where(GROUP == 1, 0.04, -0.014)
    assert unequal.mean() < best.mean()
    place, why = choice(["plain", "pafo"], [unequal, best], GROUP)
    assert (place, why.partition(".")[0]) == (
        1,
        "pafo: its loss is the lowest, groups counted apart as far as they can be told from everybody",
    )
    place, why = choice(["plain", "pafo"], [best + wave + 0.006, best], GROUP)
    assert (place, why.startswith("plain: simpler than pafo, and within one standard error")) == (0, True)
    assert choice(["plain", "pafo"], [best + wave + 0.1, best], GROUP)[1].startswith("pafo: its loss is the lowest. Validation loss")


def test_titles_name_head_and_features() -> None:
    names = {
        ("bradley_terry", "linear"): PLAIN,
        ("bradley_terry", None): PERSONALISED,
        ("lore", None): PERSONALISED,
        ("bradley_terry", "low_rank"): "Bradley-Terry (ridge head)",
        ("pafo", None): "PAFO (LoRe's head)",
        ("pafo", "low_rank"): "PAFO (ridge head)",
        ("vpl", None): "VPL, redesigned",
        ("pal", None): "PAL, redesigned",
        ("collaborative", None): "collaborative (unreduced features)",
    }
    assert {how: title(how[0], hyperparameters.method(how[0], {}, how[1])) for how in names} == names


def test_the_references_are_the_same_everywhere_and_no_method_merges_with_one_unsaid() -> None:
    said: list[str] = []
    for head in (None, "low_rank"):
        entries, reference, told = rows(["lore", "pafo", "pafo:low_rank", "bradley_terry"], head, 1, said.append)
        names = [e.name for e in entries]
        assert names[:2] == [PLAIN, PERSONALISED]
        assert reference == PERSONALISED
        assert len(set(names)) == len(names)
        assert ("Bradley-Terry (ridge head)" in names) is (head is not None)
        assert f"lore is the row '{PERSONALISED}'" in told
    assert said[0] == f"lore is {PERSONALISED}, which has a row already."
    assert {e.name for e in entries} >= {"PAFO (ridge head)"}


def test_auto_takes_no_hyperparameters() -> None:
    with pytest.raises(EvenhandError, match="name the method they belong to"):
        asked("auto", {"alpha": "0.5"}, None)


def test_auto_says_what_it_chose() -> None:
    data = simulated_users(seed=3, users=24, minority=0.3, pairs_per_user=24)
    found = evenhand.fit(data, encoding=evenhand.Encoding(None, dim=16), resamples=50)
    last = found.report.findings.model.model
    assert found.kept.startswith("Chosen by validation among 4 models, one setting each: " + last)
    assert found.model.facts["title"] == last
    assert found.kept in found.report.html().replace("&#39;", "'")
    assert any(str(line) == found.kept for line in lines(found.report.page))
    assert {m.model for m in found.report.findings.others} == {PLAIN, PERSONALISED} - {last}
    assert {t.method for t in found.report.findings.training} >= {
        PLAIN,
        PERSONALISED,
        "PAFO (LoRe's head)",
        "collaborative (unreduced features)",
    }


def test_a_student_that_was_refused_is_told_on_every_page() -> None:
    """Teachers that never learned teach nothing: what comes out is the pooled model, under a name that says so."""
    data = simulated_users(seed=3, users=80, minority=0.3, pairs_per_user=24)
    settings = {"warm_start": "false", "teacher_lr": "0.001", "max_epochs": "10", "lr": "0.03", "temperature": "50", "distil": "mse"}
    found = evenhand.fit(data, "pafo", settings=settings, encoding=evenhand.Encoding(None, dim=16), resamples=50)
    personalised, last = found.report.findings.others[-1], found.report.findings.model
    assert last.model == "PAFO (LoRe's head), its pooled model"
    assert last.overall == personalised.overall
    assert found.kept.startswith("PAFO (LoRe's head): the student was not kept: on validation pairs it is worse than the pooled model for ")
    assert found.kept in found.report.html().replace("&#39;", "'")
    assert any(str(line).startswith("PAFO (LoRe's head): the student was not kept") for line in lines(found.report.page))

"""What `fit` trains: the method asked for, or the one that validation chooses, and the two models that it always stands beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from evenhand.audits.findings import TrainingTrace
from evenhand.core import SMALLEST_CELL, Constraint, EvenhandError, Groups, Pairs
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.vpl import Vpl
from evenhand.parts import calling
from evenhand.training.choosing import Change, lowest, simplest, user_losses
from evenhand.training.epochs import group_of_users
from evenhand.training.loop import Diverged
from evenhand.training.traces import Fitted
from evenhand.training.tune import TunedFit, tune
from evenhand.training.watched import Standing, watching
from evenhand.workflows import hyperparameters
from evenhand.workflows.prepare import Prepared
from evenhand.workflows.progress import Told
from evenhand.workflows.tracking import Tracking

PLAIN, PERSONALISED = "one reward for all (Bradley-Terry, linear)", "personalised Bradley-Terry (LoRe's head)"
TITLES = {
    "pafo": "PAFO", "faro": "Faro", "vpl": "VPL, redesigned", "pal": "PAL, redesigned", "pal_angle": "PAL by angle, redesigned",
    "collaborative": "collaborative", "inverse_frequency": "inverse-frequency weights", "group_dro": "group DRO", "maxmin": "max-min", "mgda": "MGDA",
    "reward_fairness": "reward fairness", "p_rlhf": "P-RLHF", "p_rlhf_cluster": "P-RLHF by cluster", "pref": "PReF", "gpo": "GPO",
    "low_rank": "Bradley-Terry (ridge head)", "attention": "Bradley-Terry (attention head)",
}  # fmt: skip
HEADS = {
    "lore": "LoRe's head", "low_rank": "ridge head", "linear": "linear", "vpl": "VPL's head", "p_rlhf": "P-RLHF's head",
    "p_rlhf_cluster": "P-RLHF's head by cluster", "pal": "PAL's head", "pal_angle": "PAL's head by angle", "pref": "PReF's head", "gpo": "GPO's head",
}  # fmt: skip
AUTO = "auto"
CANDIDATES = ("plain", "lore", "collaborative", "pafo")  # of `auto`, the simpler first


@dataclass(frozen=True)
class Auto:
    """`auto` as a method: what it chooses among, by name, the simpler first."""

    needs_groups: ClassVar[bool] = False  # without two groups it leaves PAFO out
    constraint: ClassVar[Constraint | None] = None
    methods: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Model:
    """A trained model by the name that every page gives it; `ready` holds the features that it reads."""

    title: str
    name: str  # as in --method
    method: Any  # as tuned
    fitted: Fitted
    ready: Prepared


@dataclass(frozen=True)
class Trained:
    """The models, the one that is kept last; kept: where something was chosen, one sentence on what and why."""

    models: tuple[Model, ...]
    traces: list[TrainingTrace]
    kept: str = ""


def asked(name: Any, settings: Mapping[str, Any], head: Any, told: int = 0) -> Any:
    """The method with its hyperparameters set (see `hyperparameters.method`); `auto` has neither hyperparameters nor a head of its own.

    told: choices of a user in the input; then no head reads a history, and `auto` chooses among methods on the linear one.
    """
    if not isinstance(name, str) or name != AUTO:
        return hyperparameters.method(name, settings, head or hyperparameters.told_head(name, told))
    if settings or head:
        found = ", ".join([*settings, *(["head"] if head else [])])
        raise EvenhandError(
            f"auto has no hyperparameters; found {found}. Expected: none. To do: name the method they belong to, as in --method pafo."
        )
    if told:
        return Auto(tuple((n, hyperparameters.method(m, {}, "linear")) for n, m in (("plain", "bradley_terry"), ("pafo", "pafo"))))
    return Auto(
        tuple(
            (n, hyperparameters.method("bradley_terry", {}, "linear") if n == "plain" else hyperparameters.method(n, {}))
            for n in CANDIDATES
        )
    )


def called(method: Any) -> str:
    """The name of a method that is given by name, by class, or as it is; no folder of anybody's is in it."""
    if not isinstance(method, str):
        return hyperparameters.name_of(method)
    return method.rpartition(":")[2]


def title(name: str, method: Any, told: int = 0) -> str:
    """A model's name on every page: method, head, and features where they are not the standard ones. One name is one model.

    told: choices of the user that stand in the input.
    """
    head = hyperparameters.name_of(hyperparameters.base(method).head)
    if isinstance(method, BradleyTerry) and isinstance(method.head, (Linear, Lore)) and not told:
        return PLAIN if isinstance(method.head, Linear) else PERSONALISED
    parts = [] if head == name else [HEADS.get(head, f"{head} head")]
    parts += ["unreduced features"] if method.unreduced else []
    parts += [f"{told} choices in the input"] if told else []
    called = "Bradley-Terry" if isinstance(method, BradleyTerry) and head != name else TITLES.get(name, name)
    own = hyperparameters.base(method).head
    if (isinstance(own, Vpl) and own.perceptron) or (isinstance(own, (Pal, PalAngle)) and own.hidden):
        called = called.replace("redesigned", "with perceptrons")
    return f"{called} ({', '.join(parts)})" if parts else called


def references(schedule: Any, own: Any) -> list[BradleyTerry]:
    """What everything is compared with, in `fit`, `compare` and `sweep` alike: plain Bradley-Terry, and LoRe's head on standard features.

    own: the head of the method asked for; LoRe's with sizes of its own stays as it is, and for one reward for all, plain is enough.
    """
    plain = BradleyTerry(head=Linear(), schedule=schedule)
    return [plain] if isinstance(own, Linear) else [plain, BradleyTerry(own if isinstance(own, Lore) else Lore(), schedule)]


def train_models(
    ready: Prepared, name: str, method: Any, seed: int, settings: int, progress: Told, tracked: Tracking | None = None
) -> Trained:
    """Every model once, or the best of `settings` settings on validation; the one asked for, or chosen, comes last."""
    tracked = tracked or Tracking()
    if isinstance(method, Auto):
        return _choose(ready, method, seed, settings, progress, tracked)
    base = hyperparameters.base(method)
    todo = [(n, m) for n, m in zip(("plain", "lore"), references(base.schedule, base.head)) if m != method]
    todo.append((name, method))
    models, traces = _train(ready, todo, seed, settings, progress, tracked)
    guard = models[-1].fitted.guard
    if guard is None or guard.kept:
        return Trained(tuple(models), traces)
    last = replace(models[-1], title=f"{models[-1].title}, its pooled model")
    return Trained((*models[:-1], last), traces, _fell_back(ready, models[-1].title, guard.changes))


def _train(
    ready: Prepared, todo: Sequence[tuple[str, Any]], seed: int, settings: int, progress: Told, tracked: Tracking
) -> tuple[list[Model], list[TrainingTrace]]:
    """Each method with its own features. Bradley-Terry that PAFO starts from is not trained twice: in a search, PAFO starts from the tuned one."""
    models: dict[str, Model] = {}
    tried: dict[str, list[TunedFit]] = {}
    first = [] if settings > 1 else [(n, m) for n, m in todo if isinstance(m, Pafo)]
    for done, (name, method) in enumerate([*first, *(t for t in todo if t not in first)]):
        progress("train", done, len(todo))
        own, known = ready.on(method), title(name, method, ready.told)
        train, valid = own.training()
        if settings > 1 and not isinstance(method, BradleyTerry):
            method = replace(method, base=_tuned_base(models, method, train, valid, seed, settings, ready.told))
        started = next((m.fitted.parts["pooled"] for m in models.values() if isinstance(m.method, Pafo) and m.method.base == method), None)
        if started is not None:
            best, tried[known] = TunedFit(method, started, {}), [TunedFit(method, started, {})]
        else:
            with watching(partial(_tell, progress, own, tracked, known)), fitting(known, method):
                best, tried[known] = tune(method, train, valid, seed, settings)
        models[known] = Model(known, name, best.method, best.fitted, own)
        for part, fitted in (*_parts(best.fitted), ("", best.fitted)):
            tracked.epochs(f"{known}: {_part(ready, part)}" if part else known, fitted.trace)
    progress("train", len(todo), len(todo))
    ordered = [models[title(name, method, ready.told)] for name, method in todo]
    traces = []
    for m in ordered:
        traces += [
            _trace(f"{m.title}: {_part(ready, p)}", TunedFit(hyperparameters.base(m.method), f, {}), seed) for p, f in _parts(m.fitted)
        ]
        traces += [_trace(m.title, t, seed) for t in tried[m.title]]
    return ordered, traces


def _tell(progress: Told, ready: Prepared, tracked: Tracking, name: str, at: Standing) -> None:
    """An epoch of a head, or a step on texts and how it goes."""
    if at.steps:
        groups = shown_groups(ready.groups)
        tracked.standing(name, groups, at)
        progress("step", at.done, at.most, how_it_goes(at, groups))
    else:
        progress("epoch", at.done, at.most)


def how_it_goes(at: Standing, names: Mapping[int, str]) -> str:
    """ "loss 0.512, validation loss: majority 0.530, minority 0.610; 34 texts a second", groups by those of their numbers that have a name."""
    valid = ", ".join(f"{name} {at.valid[g]:.3f}" for g, name in names.items() if g in at.valid)
    parts = [f"loss {at.loss:.3f}"] if at.loss == at.loss else []
    parts += [f"validation loss: {valid}"] if valid else []
    speed = f"{at.texts_per_second:.0f} texts a second" if at.texts_per_second == at.texts_per_second else ""
    return "; ".join(part for part in (", ".join(parts), speed) if part)


def shown_groups(groups: Groups) -> dict[int, str]:
    """The groups whose numbers tell of no person, by number; -1 = users in none."""
    names = {-1: "users in no group", **dict(enumerate(groups.names))}
    return {g: name for g, name in names.items() if int((groups.of_user == g).sum()) >= SMALLEST_CELL}


@contextmanager
def fitting(name: str, method: Any) -> Iterator[None]:
    """What goes wrong in training names the method."""
    try:
        with calling("fit(train, valid, seed) and variants() as in methods/", method):
            yield
    except Diverged as error:
        raise EvenhandError(f"{name}: {error}") from None


def _tuned_base(models: dict[str, Model], method: Any, train: Pairs, valid: Pairs, seed: int, settings: int, told: int) -> BradleyTerry:
    """Bradley-Terry on the method's head within the same budget: the reference where that is it."""
    reference = models.get(title("bradley_terry", method.base, told))
    if reference is not None and isinstance(reference.method.head, type(method.base.head)):
        found: BradleyTerry = reference.method
        return found
    with fitting(title("bradley_terry", method.base, told), method.base):
        tuned = tune(method.base, train, valid, seed, settings)[0].method
    assert isinstance(tuned, BradleyTerry)
    return tuned


def _choose(ready: Prepared, auto: Auto, seed: int, settings: int, progress: Told, tracked: Tracking) -> Trained:
    """All candidates trained; of these the simplest within one standard error of the best on validation, paired by user."""
    grouped = len(set(ready.training()[0].groups()) & set(ready.training()[1].groups())) > 1
    todo = [(n, m) for n, m in auto.methods if grouped or not isinstance(m, Pafo)]
    models, traces = _train(ready, todo, seed, settings, progress, tracked)
    valid = [m.ready.training()[1] for m in models]
    losses, group = [user_losses(m.fitted.scorer, v) for m, v in zip(models, valid)], group_of_users(valid[0])
    names = [f"{m.title}{', its pooled model' if _refused(m) else ''}" for m in models]
    place, why = choice(names, losses, group)
    kept = models[place]
    others = [m for m in models if m.name in ("plain", "lore") and m is not kept]
    tried = f"{settings} settings each" if settings > 1 else "one setting each"
    missing = "" if grouped else " PAFO was left out: nobody, or everybody, is in one group."
    return Trained(
        (*others, kept), traces, f"Chosen by validation among {len(models)} model{'s' if len(models) > 1 else ''}, {tried}: {why}{missing}"
    )


def choice(names: Sequence[str], losses: Sequence[Tensor], group: Tensor) -> tuple[int, str]:
    """Of models in order of complexity the place of the one that is kept, by their users' losses (see `choosing.simplest`), and why."""
    place, best = simplest(losses, group), lowest(losses, group)
    means = [float(loss.mean()) for loss in losses]
    if place != best:
        why = f"simpler than {names[best]}, and within one standard error of it for everybody and each group"
    else:
        apart = ", groups counted apart as far as they can be told from everybody" if means[best] > min(means) else ""
        why = f"its loss is the lowest{apart}"
    told = "; ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means))
    return place, f"{names[place]}: {why}. Validation loss, mean over users, each model's margins in their best unit: {told}."


def _refused(model: Model) -> bool:
    """Whether it is a method's fallback, its own model having been given up."""
    guard = model.fitted.guard
    return guard is not None and not guard.kept


def _fell_back(ready: Prepared, student: str, found: Sequence[Change]) -> str:
    worse = [f"{'everybody' if c.group < 0 else ready.groups.names[c.group]} ({c.mean:+.3f} ± {c.error:.3f})" for c in found if c.is_shown]
    return (
        f"{student}: the student was not kept: on validation pairs it is worse than the pooled model for {' and '.join(worse)} (change of "
        "the loss with its standard error, paired by user). The model here is the pooled one: Bradley-Terry on the same head."
    )


def _parts(fitted: Fitted) -> list[tuple[str, Fitted]]:
    """What was trained on the way and is in no other row: teachers, and a student that was not kept."""
    left = "student" if fitted.guard is not None and not fitted.guard.kept else ""
    return [(part, f) for part, f in fitted.parts.items() if part.startswith("teacher") or part == left]


def _part(ready: Prepared, part: str) -> str:
    """ "teacher 1" → "teacher of minority"."""
    kind, _, number = part.partition(" ")
    return f"{kind} of {ready.groups.names[int(number)]}" if number.isdigit() else part


def _trace(title: str, trial: TunedFit, seed: int) -> TrainingTrace:
    t, settings = trial.fitted.trace, dict(hyperparameters.hyperparameters(trial.method))
    return TrainingTrace(
        title,
        seed,
        tuple(t.train_loss),
        tuple(t.valid_loss),
        t.best_epoch,
        t.seconds,
        t.pairs_per_second,
        settings,
        trial.fitted.constrained is not None,
        t.by_group,
        t.stopped,
        t.tuned_from,
    )

"""What `fit` trains: the method asked for, and the models that it stands beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evenhand.audits.findings import TrainingTrace
from evenhand.jobs import dials
from evenhand.jobs.prepare import Prepared, Progress
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.training.loop import Fitted
from evenhand.training.tune import Trial, tune

PLAIN, PERSONALISED = "one reward for all (Bradley-Terry)", "personalised Bradley-Terry"
TITLES = {"pafo": "PAFO", "faro": "Faro"}

Trained = tuple[dict[str, Fitted], list[TrainingTrace], Any]


def train_models(ready: Prepared, name: str, method: Any, seed: int, settings: int, progress: Progress) -> Trained:
    """(models by title, the one asked for last; every fit's trace; the method as tuned). Each model is tuned within the same budget."""
    train, valid = ready.training()
    progress("train", 0, 3)
    plain = BradleyTerry(head=Linear(), schedule=dials.base(method).schedule)
    # A user model that Bradley-Terry trains stands beside the default one; any other method beside Bradley-Terry on its own head.
    default = BradleyTerry().head
    is_personalised = isinstance(method, BradleyTerry) and (name == "bradley_terry" or isinstance(method.head, type(default)))
    own_head = not isinstance(method, BradleyTerry) or is_personalised
    base = dials.base(method) if own_head else replace(dials.base(method), head=default)
    best, tried = tune(plain, train, valid, seed, settings)
    models, trials = {PLAIN: best.fitted}, [(PLAIN, t) for t in tried]
    progress("train", 1, 3)
    if not isinstance(base.head, Linear):
        best, tried = tune(base, train, valid, seed, settings)
        models[PERSONALISED] = best.fitted
        trials += [(PERSONALISED, t) for t in tried]
    progress("train", 2, 3)
    if is_personalised:
        method = best.method
    else:
        title = TITLES.get(name, name.replace("_", " "))
        train, valid = ready.on(method).training()
        best, tried = tune(method if isinstance(method, BradleyTerry) else replace(method, base=best.method), train, valid, seed, settings)
        method, models[title] = best.method, best.fitted
        trials += [
            (f"{title}: {_part(ready, part)}", Trial(base, fitted, {})) for part, fitted in best.fitted.parts.items() if part != "pooled"
        ]
        trials += [(title, t) for t in tried]
    progress("train", 3, 3)
    return models, [_trace(title, t, seed) for title, t in trials], method


def _part(ready: Prepared, part: str) -> str:
    """ "teacher 1" → "teacher of minority"."""
    kind, _, number = part.partition(" ")
    return f"{kind} of {ready.groups.names[int(number)]}" if number.isdigit() else part


def _trace(title: str, trial: Trial, seed: int) -> TrainingTrace:
    t, settings = trial.fitted.trace, dict(dials.dials(trial.method))
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
    )

"""What a worker does for a comparison: train some entries, judge each of them, and write its trial."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evenhand.audits.metrics import METRICS, Metric, log_loss
from evenhand.audits.rates import DECISIONS, rates
from evenhand.core import NOTIONS, EvenhandError, Events, Scorer, clip
from evenhand.data.splits import TEST, TRAIN, VALID, Split
from evenhand.parts import Files
from evenhand.training.calibration import Calibration, calibrate
from evenhand.training.scoring import margins
from evenhand.training.stack import fit_all
from evenhand.training.tune import tune
from evenhand.workflows.facts import joined
from evenhand.workflows.hyperparameters import settings
from evenhand.workflows.prepare import Prepared
from evenhand.workflows.trial import Trial, written

CELLS = {"valid": VALID, "test": TEST}


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: a method, and how many of its settings validation may choose among (1 = as it is)."""

    name: str
    method: Any
    budget: int = 1


def trainer(
    outside: Files, ready: Mapping[bool, Prepared], parts: Sequence[Sequence[Entry]], seed: int, metrics: Mapping[str, Metric]
) -> Callable[[int], tuple[list[bytes], str]]:
    """What does one of the parts, by its number. ready: with reduced features and, under True, with unreduced ones, as far as needed.

    outside comes first, so that a process that is given pickles can read the classes of what comes after it.
    """
    torch.set_num_threads(1)
    return lambda number: _work(ready[parts[number][0].method.unreduced], parts[number], seed, metrics)


def _work(ready: Prepared, part: Sequence[Entry], seed: int, metrics: Mapping[str, Metric]) -> tuple[list[bytes], str]:
    """Train and judge: the trial files of the entries, and where those of the last are missing, why."""
    torch.manual_seed(seed)  # for parts from outside that draw from these: no trial depends on which others its process did before
    np.random.seed(seed)
    files: list[bytes] = []
    try:
        train, valid = ready.training()
        start = time.perf_counter()
        if part[0].budget > 1:
            best, tried = tune(part[0].method, train, valid, seed, part[0].budget)
            found = [(best.method, best.fitted, len(tried))]
        else:
            fitted = fit_all([e.method for e in part], train, valid, seed)
            found = [(e.method, f, 1) for e, f in zip(part, fitted, strict=True)]
        seconds = (time.perf_counter() - start) / len(part)
        for entry, (method, fitted_one, tries) in zip(part, found, strict=True):
            files.append(written(_judged(ready, fitted_one.scorer, entry.name, seed, settings(method), tries, seconds, metrics)))
    except Exception as error:
        if os.environ.get("EVENHAND_DEBUG"):
            traceback.print_exc()
        told = str(error) if isinstance(error, EvenhandError) else f"{type(error).__name__}: {error}"
        return files, " ".join(clip(told, 300).split()) or type(error).__name__
    return files, ""


def _judged(
    ready: Prepared,
    scorer: Scorer,
    entry: str,
    seed: int,
    told: Mapping[str, str],
    tried: int,
    seconds: float,
    metrics: Mapping[str, Metric] = METRICS,
) -> Trial:
    split: Split = ready.split
    users = len(ready.data.users)
    arrays: dict[str, np.ndarray] = {
        "group": ready.groups.of_user.astype(np.int16),
        "support": np.asarray(ready.support.values, np.float32),
        "unseen": split.unseen.astype(np.int8),
    }
    calibration: Calibration | None = None
    for cell, part in CELLS.items():  # validation first: it calibrates
        rows = ready.strict(split.rows(part))
        pairs = ready.pairs(rows, ready.strict(split.rows(TRAIN)) if cell == "valid" else split.history)
        margin = margins(scorer, pairs)
        if not bool(torch.isfinite(margin).all()):
            raise EvenhandError("Margins are not finite: the fit diverged. Expected: finite. To do: a smaller step (lr).")
        judged = np.flatnonzero(rows)
        if ready.events is not None:
            found = _rates(margin.numpy(), pairs.user.numpy(), ready.events.take(rows), users)
            arrays |= {f"{cell}.{name}": values for name, values in found.items()}
            counted = torch.from_numpy(ready.counted(rows)[rows])
            pairs, margin, judged = pairs.take(counted), margin[counted], judged[counted.numpy()]
        user, weight = pairs.user.numpy(), pairs.weight.double().numpy()
        calibration = calibration or calibrate(margin, pairs.user, users, weight=pairs.weight)
        total = np.bincount(user, weight, users)
        own = calibration.apply(margin, torch.where(torch.from_numpy(split.unseen)[pairs.user], -1, pairs.user))
        arrays[f"{cell}.pairs"] = np.bincount(user, minlength=users).astype(np.int32)
        of_pair = {name: metric.values(name, margin.double().numpy()) for name, metric in metrics.items()} | {
            "calibrated": log_loss(own.numpy())
        }
        for name, column in (("prompt", ready.data.prompt), ("chosen", ready.data.chosen), ("rejected", ready.data.rejected)):
            arrays[f"{cell}.pair_{name}"] = column[judged].astype(np.int32)
        arrays[f"{cell}.pair_user"] = user.astype(np.int32)
        arrays[f"{cell}.pair_share"] = weight / total[user]
        arrays[f"{cell}.pair_right"] = of_pair["accuracy"].astype(np.float32)
        for metric, values in of_pair.items():
            mean = np.full(users, np.nan)
            np.divide(np.bincount(user, weight * values, users), total, out=mean, where=total > 0)
            arrays[f"{cell}.{metric}"] = mean
    left = joined(ready.data, split.exclusions)
    events, rule = ((), "") if ready.events is None else (ready.events.names, ready.events.rule)
    return Trial(entry, seed, told, tried, seconds, ready.groups.names, ready.groups.rule, split.rule, left, arrays, events, rule)


def _rates(margin: np.ndarray, user: np.ndarray, events: Events, users: int) -> dict[str, np.ndarray]:
    """Of each notion that the pairs allow: `NOTION.DECISION` float64[users, events], nan where a user has no pair of the event, and
    `NOTION.pairs` int64[events] (matched sets for CF).
    """
    allowed = {"dp": len(events) > 1, "eo": len(events) > 1, "cf": is_matched(events)}
    out = {}
    for notion in (n for n in NOTIONS if allowed[n]):
        for name, decision in DECISIONS.items():
            found = rates(margin, user, events, notion, decision)
            whole = np.full((users, len(found.events)), np.nan)
            whole[found.user] = found.by_user
            out[f"{notion}.{name}"], out[f"{notion}.pairs"] = whole, found.pairs
    return out


def is_matched(events: Events) -> bool:
    """Whether two pairs are matched."""
    twins = events.sets[events.sets >= 0]
    return len(np.unique(twins)) < len(twins)

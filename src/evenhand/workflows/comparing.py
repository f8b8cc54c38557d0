"""From trials to results: what several entries in several seeds say of each other. `compare` and `sweep` ask this of different entries."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenhand.audits.frontier import RateBoard, constraint_front, counted, noise, violated
from evenhand.audits.intervals import MOST_CONTRASTS, mean_of_users
from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.ranking import Board, Judged, Levels, front, levels, metric_findings, over_seeds, pairwise, unfairness
from evenhand.audits.rates import DECISIONS, cells
from evenhand.audits.results import Comparison, ConstraintFront, EventCount, Front, Result, Violated
from evenhand.core import NOTIONS, SMALLEST_CELL, Estimate, EvenhandError, Method, Notion, PreferenceData
from evenhand.data.events import BY_HASH
from evenhand.workflows.facts import LIMITS, facts
from evenhand.workflows.hyperparameters import turned
from evenhand.workflows.trials import Entry, Failure, Trial, cannot, gamma_of, notion_of

COMPARISON_LIMITS = (
    *LIMITS,
    "Entries were trained on the same pairs and judged on the same pairs; differences between them are paired, over all seeds. Their intervals draw"
    " users, the prompts or responses that these share, and deals.",
    "Validation pairs chose settings and entries; nothing was chosen on test pairs. Intervals of differences hold at once over all of them.",
    "Raw user-level metrics are inflated by the noise of few pairs a user, for all entries alike: read the differences.",
    "Seeds deal prompts and users anew (unless the data has a split column) and start training anew; the people are the same in all of them.",
)
ONE_DEAL = (
    "There is one deal of prompts and users: every difference and every “dominates” is about this deal, and what another one would give is not"
    " known. Several seeds would tell.",
)
CONSTRAINT_LIMITS = (
    "A violation is the largest of several differences, so noise alone keeps it above 0; groups of pairs and their orientation are given, and"
    " what they leave out is not constrained.",
)
BY_COIN = (
    "Left out: demographic parity and equalized odds. No entry is held to them, and a hash chose which response of a pair is y1, so that its rate"
    " says nothing of the model; groups are compared by accuracy."
)
GAMMA = 0.05  # the violation accepted where entries do not agree on one


@dataclass(frozen=True)
class Comparing:
    """What is asked: the entries in order, the one that others are measured against, and what to say of each."""

    entries: Sequence[Entry]
    reference: str
    seeds: Sequence[int]
    title: str
    swept: tuple[str, ...] = ()
    simulated: bool = False
    resamples: int = 1000
    command: str = ""
    tolerance: float | None = None  # the violation accepted; None = the entries' own gamma where they share one under 1, else GAMMA
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    note: str = ""

    def results(self, data: PreferenceData, trials: Sequence[Trial | Failure], more: Mapping[str, str]) -> Comparison:
        """The findings. Entries that failed in a seed stand in their row with the reason, and are compared with none."""
        by_entry: dict[str, list[Trial]] = defaultdict(list)
        failed: dict[str, list[str]] = defaultdict(list)
        for t in trials:
            if isinstance(t, Failure):
                failed[t.entry].append(t.why)
            else:
                by_entry[t.entry].append(t)
        whole = [e.name for e in self.entries if not failed[e.name]]
        if not whole:
            why = next(w for reasons in failed.values() for w in reasons)
            raise EvenhandError(f"Every entry failed; the first: {why}")
        runs = [sorted(by_entry[name], key=lambda t: t.seed) for name in whole]
        boards = {cell: board(runs, cell) for cell in ("valid", "test")}
        seen = levels(boards["valid"]), levels(boards["test"])
        cells = {
            f"{kind} users": levels(board(runs, "test", unseen=kind == "unseen"))
            for kind in ("seen", "unseen")
            if any((t.arrays["unseen"].astype(bool) == (kind == "unseen"))[t.arrays["test.pairs"] > 0].any() for t in runs[0])
        }
        seed = self.seeds[0]
        ahead = self.reference if self.reference in whole else whole[0]
        uneven = unfairness(boards["test"], seen[1], whole.index(ahead), resamples=self.resamples, seed=seed)
        spread = over_seeds(boards["test"])
        by_metric = metric_findings({name: board(runs, "test", metric=name) for name in self.metrics}, self.metrics)
        bound = self.bound(runs, whole.index(ahead), seen)

        def result(entry: Entry) -> Result:
            some = by_entry[entry.name]
            about: dict[str, Any] = {
                "name": entry.name,
                "settings": _settings(some),
                "tried": max((t.tried for t in some), default=0),
                "seconds": sum(t.seconds for t in some),
                "seeds": len(some),
                "note": cannot(entry.method, new_users=any(t.arrays["unseen"].any() for t in some), groups=len(boards["test"].groups)),
            }
            if failed[entry.name]:
                reasons = failed[entry.name]
                return Result(**about, failed=f"failed in {len(reasons)} of {len(self.seeds)} seeds: {reasons[0]}")
            place = whole.index(entry.name)
            return Result(
                **about,
                selection=row(seen[0], boards["valid"], place),
                held_out=row(seen[1], boards["test"], place),
                over_seeds=tuple(float(v) for v in spread[place]),
                log_loss=_log_loss(some, "test.log_loss"),
                calibrated=_log_loss(some, "test.calibrated"),
                cells={name: row(found_levels, boards["test"], place) for name, found_levels in cells.items()},
                unfairness=uneven[entry.name],
                violations=tuple(records[place] for records in bound.violations),
                cost=_cost(seen[1], place, whole.index(ahead)) if bound.violations and place != whole.index(ahead) else None,
                metrics=by_metric[entry.name],
            )

        return Comparison(
            title=self.title,
            simulated=self.simulated,
            groups=boards["test"].groups,
            groups_rule=runs[0][0].rule,
            entries=tuple(map(result, self.entries)),
            pairwise=pairwise(boards["test"], seen[1], seed),
            front=self.front(whole, *seen),
            seeds=tuple(self.seeds),
            swept=self.swept,
            exclusions=runs[0][0].exclusions,
            facts=facts(data, seed, {"splits": runs[0][0].split, "seeds": ", ".join(map(str, self.seeds)), **more}),
            limits=(
                *COMPARISON_LIMITS,
                *(ONE_DEAL if len(self.seeds) == 1 else ()),
                *(CONSTRAINT_LIMITS if bound.violations else ()),
                *bound.left_out,
            ),
            command=self.command,
            details={t.entry: {str(u.seed): dict(u.settings) for u in by_entry[t.entry]} for t in (r[0] for r in runs) if t.tried > 1},
            events=bound.events,
            events_rule=bound.rule,
            constraint_fronts=bound.fronts,
            note=self.note,
        )

    def bound(self, runs: Sequence[Sequence[Trial]], reference: int, seen: tuple[Levels, Levels]) -> Bound:
        """Panel 8 for every constraint that the trials hold rates of, those that entries are held to first. seen: levels on validation and
        test pairs.
        """
        names, constrained = [trials[0].entry for trials in runs], [n for e in self.entries if (n := notion_of(e.method))]
        gammas = {gamma for e in self.entries if (gamma := gamma_of(e.method)) is not None and gamma < 1}
        gamma = self.tolerance if self.tolerance is not None else gammas.pop() if len(gammas) == 1 else GAMMA
        accuracy = seen[0].value[:, -1], seen[1].value[:, -1]
        out, lines = Bound(runs[0][0].events_rule), self.lines(names)
        for notion in sorted(NOTIONS, key=lambda n: n not in constrained):
            valid, test = (rate_board(runs, cell, notion) for cell in ("valid", "test"))
            if valid is None or test is None or not (valid.seeds() and test.seeds()):
                continue
            if notion in ("dp", "eo") and notion not in constrained and self.tolerance is None and BY_HASH in out.rule:
                out.left_out += (BY_COIN,) * (BY_COIN not in out.left_out)
                continue
            if notion not in constrained and len(test.compared) > MOST_CONTRASTS:
                out.left_out += (
                    f"Left out: {NOTIONS[notion]} would compare {len(test.compared):,} pairs of events, and no entry is held to it.",
                )
                continue
            entries = violated(valid, test, reference, resamples=self.resamples, seed=self.seeds[0])
            out.events += counted(valid, test)
            for place, decision in enumerate(DECISIONS):
                records = [e[place] for e in entries]
                out.violations.append(records)
                by_noise = noise(valid, reference, decision, self.seeds[0]), noise(test, reference, decision, self.seeds[0])
                front = constraint_front(records, names, accuracy, names[reference], gamma, lines, by_noise)
                out.fronts += () if front is None else (front,)
        return out

    def lines(self, names: Sequence[str]) -> list[list[str]]:
        """Entries of a sweep over gamma that differ in it alone, in its order; sets of two or more."""
        if "gamma" not in self.swept:
            return []
        lines: dict[Method, list[tuple[float, str]]] = defaultdict(list)
        for e in self.entries:
            if (gamma := gamma_of(e.method)) is not None and e.name in names:
                lines[turned(e.method, "gamma", "1")].append((gamma, e.name))
        return [[name for _, name in sorted(line)] for line in lines.values() if len(line) > 1]

    def front(self, names: Sequence[str], selection: Levels, held_out: Levels) -> Front | None:
        """Panel 8; None with fewer than two groups to trade between, or without a reference."""
        cells = traded(np.minimum(selection.users[:-1], held_out.users[:-1]))
        if len(cells) < 2 or self.reference not in names:
            return None
        return front(names, selection.value[:, cells], held_out.value[:, cells], self.reference)


def traded(fewest: np.ndarray) -> np.ndarray:
    """Numbers of the groups that a choice trades between, from their users int[groups]: those that may be shown, so that a group of a few users
    decides nothing and hides nothing; under two of these, all that have users.
    """
    shown = np.flatnonzero(fewest >= SMALLEST_CELL)
    return shown if len(shown) >= 2 else np.flatnonzero(fewest > 0)


@dataclass
class Bound:
    """What trials say of constraints; nothing where they hold no rates. violations: by notion and decision, one record an entry."""

    rule: str
    violations: list[list[Violated]] = field(default_factory=list)
    events: tuple[EventCount, ...] = ()
    fronts: tuple[ConstraintFront, ...] = ()
    left_out: tuple[str, ...] = ()  # why a notion is not judged, a sentence each


def rate_board(runs: Sequence[Sequence[Trial]], cell: str, notion: Notion) -> RateBoard | None:
    """Trials [entries][seeds] → rates of the events of all seeds, by name; None where no trial has any of the notion."""
    first = runs[0]
    if not any(f"{cell}.{notion}.pairs" in t.arrays for t in first):
        return None
    events, compared = cells(notion, tuple(dict.fromkeys(name for t in first for name in t.events)))
    users = len(first[0].arrays["group"])
    pairs = np.zeros((len(first), len(events)), np.int64)
    of = {d: np.full((len(runs), len(first), users, len(events)), np.nan) for d in DECISIONS}
    for s, t in enumerate(first):
        if f"{cell}.{notion}.pairs" not in t.arrays:
            continue
        places = [events.index(name) for name in cells(notion, t.events)[0]]
        pairs[s, places] = t.arrays[f"{cell}.{notion}.pairs"]
        for d, values in of.items():
            for e, trials in enumerate(runs):
                values[e, s][:, places] = trials[s].arrays[f"{cell}.{notion}.{d}"]
    return RateBoard(notion, events, compared, of, pairs)


def _cost(levels: Levels, entry: int, reference: int) -> Estimate:
    """Accuracy of all users minus the reference's, paired by user."""
    weights = np.zeros(len(levels.value))
    weights[entry], weights[reference] = 1.0, -1.0
    return levels.estimate(weights, len(levels.users) - 1, "difference of accuracy", "all")


def board(runs: Sequence[Sequence[Trial]], cell: str, *, unseen: bool | None = None, metric: str = "accuracy") -> Board:
    """Trials [entries][seeds] → arrays. unseen: only users who are, or are not, new to training in a seed. metric: whose means stand in the
    place of accuracies; what users share is known of accuracies alone.
    """
    first = runs[0]
    groups = tuple(dict.fromkeys(name for t in first for name in t.groups))
    number = [np.array([groups.index(name) for name in t.groups] + [-1]) for t in first]  # the last answers for -1
    accuracy = np.stack([np.stack([t.arrays[f"{cell}.{metric}"] for t in some]) for some in runs])
    if unseen is not None:
        accuracy = np.where(np.stack([t.arrays["unseen"].astype(bool) == unseen for t in first]), accuracy, np.nan)
    return Board(
        tuple(trials[0].entry for trials in runs),
        groups,
        accuracy,
        np.stack([n[t.arrays["group"]] for n, t in zip(number, first, strict=True)]),
        np.stack([t.arrays["support"].astype(np.float64) for t in first]),
        np.stack([t.arrays[f"{cell}.pairs"] for t in first]),
        tuple(_judged([some[s] for some in runs], cell) for s in range(len(first))) if metric == "accuracy" else (),
    )


def _judged(trials: Sequence[Trial], cell: str) -> Judged:
    """The pairs of one seed, with who was right about them."""
    user, prompt, first, second, share = (
        trials[0].arrays[f"{cell}.pair_{name}"] for name in ("user", "prompt", "chosen", "rejected", "share")
    )
    return Judged(user, prompt, first, second, share, np.stack([t.arrays[f"{cell}.pair_right"] for t in trials]))


def row(levels: Levels, of: Board, entry: int) -> tuple[Estimate, ...]:
    """Accuracy of one entry in every group, all users last."""
    one = np.zeros(len(of.names))
    one[entry] = 1.0
    return tuple(levels.estimate(one, c, "accuracy", name) for c, name in enumerate((*of.groups, "all")))


def _log_loss(trials: Sequence[Trial], array: str) -> Estimate:
    """Mean over users of each user's mean over seeds, t interval; log-losses are unbounded, so it is not cut at 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # users without a test pair
        mean = np.nanmean(np.stack([t.arrays[array] for t in trials]), axis=0)
    pairs = np.sum([t.arrays["test.pairs"] for t in trials], axis=0)
    known = ~np.isnan(mean)
    scale = max(1.0, float(mean[known].max())) if known.any() else 1.0  # mean_of_users cuts to [0, 1]
    e = mean_of_users(mean[known] / scale, pairs[known], "log_loss", "all")
    return Estimate(e.value * scale, e.low * scale, e.high * scale, e.n_users, e.n_pairs, e.metric, e.group)


def _settings(trials: Sequence[Trial]) -> dict[str, str]:
    """Each hyperparameter's value; "by seed" where validation chose differently."""
    values = {name: {t.settings.get(name, "") for t in trials} for t in trials for name in t.settings}
    return {name: next(iter(v)) if len(v) == 1 else "by seed" for name, v in values.items()}


def check_violation(tolerance: float | None) -> None:
    """Raises EvenhandError unless it is a violation that can be accepted."""
    if tolerance is not None and not 0 < tolerance <= 1:
        raise EvenhandError(f"violation is {tolerance:g}. Expected: above 0 and at most 1, such as 0.05. To do: give such a share.")

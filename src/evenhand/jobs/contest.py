"""From trials to standings: what several entries in several seeds say of each other. `compare` and `sweep` ask this of different entries."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenhand.audits.intervals import mean_of_users
from evenhand.audits.ranking import Board, Levels, duels, front, levels, over_seeds, unfairness
from evenhand.audits.standings import Front, Standing, Standings
from evenhand.core import Estimate, EvenhandError, PreferenceData
from evenhand.jobs.facts import LIMITS, facts
from evenhand.jobs.trials import Entry, Failure, Trial, cannot

CONTEST_LIMITS = (
    *LIMITS,
    "Entries were trained on the same pairs and judged on the same pairs; differences between them are paired by user, over all seeds.",
    "Validation pairs chose settings and entries; nothing was chosen on test pairs. Intervals of differences hold at once over all of them.",
    "Raw user-level metrics are inflated by the noise of few pairs a user, for all entries alike: read the differences.",
    "Seeds deal prompts and users anew (unless the data has a split column) and start training anew; the people are the same in all of them.",
)


@dataclass(frozen=True)
class Contest:
    """What is asked: the entries in order, the one that others are measured against, and what to say of each."""

    entries: Sequence[Entry]
    reference: str
    seeds: Sequence[int]
    title: str
    swept: tuple[str, ...] = ()
    simulated: bool = False
    resamples: int = 1000
    command: str = ""

    def standings(self, data: PreferenceData, trials: Sequence[Trial | Failure], more: Mapping[str, str]) -> Standings:
        """The findings. Entries that failed in a seed stand in their row with the reason, and are compared with none."""
        found: dict[str, list[Trial]] = defaultdict(list)
        failed: dict[str, list[str]] = defaultdict(list)
        for t in trials:
            if isinstance(t, Failure):
                failed[t.entry].append(t.why)
            else:
                found[t.entry].append(t)
        whole = [e.name for e in self.entries if not failed[e.name]]
        if not whole:
            why = next(w for reasons in failed.values() for w in reasons)
            raise EvenhandError(f"Every entry failed; the first: {why}")
        runs = [sorted(found[name], key=lambda t: t.seed) for name in whole]
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

        def standing(entry: Entry) -> Standing:
            some = found[entry.name]
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
                return Standing(**about, failed=f"failed in {len(reasons)} of {len(self.seeds)} seeds: {reasons[0]}")
            place = whole.index(entry.name)
            return Standing(
                **about,
                selection=row(seen[0], boards["valid"], place),
                held_out=row(seen[1], boards["test"], place),
                over_seeds=tuple(float(v) for v in spread[place]),
                log_loss=_log_loss(some, "test.log_loss"),
                calibrated=_log_loss(some, "test.calibrated"),
                cells={name: row(found_levels, boards["test"], place) for name, found_levels in cells.items()},
                unfairness=uneven[entry.name],
            )

        return Standings(
            title=self.title,
            simulated=self.simulated,
            groups=boards["test"].groups,
            groups_rule=runs[0][0].rule,
            entries=tuple(map(standing, self.entries)),
            duels=duels(boards["test"], seen[1], seed),
            front=self.front(whole, *seen),
            seeds=tuple(self.seeds),
            swept=self.swept,
            exclusions=runs[0][0].exclusions,
            facts=facts(data, seed, {"splits": runs[0][0].split, "seeds": ", ".join(map(str, self.seeds)), **more}),
            limits=CONTEST_LIMITS,
            command=self.command,
            details={t.entry: {str(u.seed): dict(u.settings) for u in found[t.entry]} for t in (r[0] for r in runs) if t.tried > 1},
        )

    def front(self, names: Sequence[str], selection: Levels, held_out: Levels) -> Front | None:
        """Panel 8; None with fewer than two groups to trade between, or without a reference."""
        cells = np.flatnonzero((selection.users[:-1] > 0) & (held_out.users[:-1] > 0))
        if len(cells) < 2 or self.reference not in names:
            return None
        return front(names, selection.value[:, cells], held_out.value[:, cells], self.reference)


def board(runs: Sequence[Sequence[Trial]], cell: str, *, unseen: bool | None = None) -> Board:
    """Trials [entries][seeds] → arrays. unseen: only users who are, or are not, new to training in a seed."""
    first = runs[0]
    groups = tuple(dict.fromkeys(name for t in first for name in t.groups))
    number = [np.array([groups.index(name) for name in t.groups] + [-1]) for t in first]  # the last answers for -1
    accuracy = np.stack([np.stack([t.arrays[f"{cell}.accuracy"] for t in some]) for some in runs])
    if unseen is not None:
        accuracy = np.where(np.stack([t.arrays["unseen"].astype(bool) == unseen for t in first]), accuracy, np.nan)
    return Board(
        tuple(some[0].entry for some in runs),
        groups,
        accuracy,
        np.stack([n[t.arrays["group"]] for n, t in zip(number, first, strict=True)]),
        np.stack([t.arrays["support"].astype(np.float64) for t in first]),
        np.stack([t.arrays[f"{cell}.pairs"] for t in first]),
    )


def row(found: Levels, of: Board, entry: int) -> tuple[Estimate, ...]:
    """Accuracy of one entry in every group, all users last."""
    one = np.zeros(len(of.names))
    one[entry] = 1.0
    return tuple(found.estimate(one, c, "accuracy", name) for c, name in enumerate((*of.groups, "all")))


def _log_loss(some: Sequence[Trial], array: str) -> Estimate:
    """Mean over users of each user's mean over seeds, t interval; log-losses are unbounded, so it is not cut at 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # users without a test pair
        mean = np.nanmean(np.stack([t.arrays[array] for t in some]), axis=0)
    pairs = np.sum([t.arrays["test.pairs"] for t in some], axis=0)
    known = ~np.isnan(mean)
    scale = max(1.0, float(mean[known].max())) if known.any() else 1.0  # mean_of_users cuts to [0, 1]
    e = mean_of_users(mean[known] / scale, pairs[known], "log_loss", "all")
    return Estimate(e.value * scale, e.low * scale, e.high * scale, e.n_users, e.n_pairs, e.metric, e.group)


def _settings(some: Sequence[Trial]) -> dict[str, str]:
    """Each dial's value; "by seed" where validation chose differently."""
    values = {name: {t.settings.get(name, "") for t in some} for t in some for name in t.settings}
    return {name: next(iter(v)) if len(v) == 1 else "by seed" for name, v in values.items()}

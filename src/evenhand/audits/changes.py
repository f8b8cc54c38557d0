"""Panel 7: the same pairs under two models, paired by pair and clustered by user."""

from __future__ import annotations

import numpy as np

from evenhand.audits.bootstrap import holding, resampled_means
from evenhand.audits.examine import compared, group_gap, ordered, too_small
from evenhand.audits.findings import Change, ChangeRow
from evenhand.audits.intervals import contrast, estimate, in_points, simultaneous_alpha
from evenhand.audits.metrics import correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import Means, Sample, arrange, means
from evenhand.audits.twoway import shared_noise
from evenhand.core import SMALLEST_CELL, Estimate, EvenhandError, Groups


def compare(before: Outcomes, after: Outcomes, groups: Groups, *, resamples: int = 1000, seed: int = 0) -> Change:
    """Accuracy before and after, per group, with paired differences (95 %, clustered by user, two-way where prompts repeat).

    Both must hold the same pairs in the same order. levelled_down = share of the closed gap that came from lowering the best group, in
    [0, 1].
    """
    same_pairs(before, after)
    before, after = before.strict(), after.strict()
    sample = arrange(before, groups)
    columns = [correct(before.margin), correct(after.margin)]
    joint = means(sample, columns)
    single = [means(sample, [c]) for c in columns]
    cells = compared(joint.users, too_small(joint.users[:-1], joint.pairs[:-1]))
    gaps = [group_gap(of_model, groups, cells, seed) or _no_gap(joint) for of_model in single]
    rows = [_row(joint, single, len(groups), "all")] + [_row(joint, single, g, n) for g, n in enumerate(groups.names) if joint.users[g]]
    change = _gap_change(sample, joint, columns, groups, cells, resamples, seed)
    levelled = levelling_down(joint.value[0, cells], joint.value[1, cells])
    size = _size_change(joint, groups, cells, change)
    best = groups.names[max(cells, key=lambda g: joint.value[0, g])] if cells else ""
    sentence = _sentence(
        _moved(gaps[0], gaps[1], change, size), change, _clearly(joint, groups, seed), levelled if _closed(size) else np.nan, best
    )
    return Change(before.model, after.model, tuple(rows), gaps[0], gaps[1], change, levelled, sentence)


def same_pairs(before: Outcomes, after: Outcomes) -> None:
    """Raises EvenhandError unless both judge the same pairs in the same order."""
    for name in ("user", "prompt", "tie", "pair", "side", "weight", "chosen", "rejected"):
        a, b = getattr(before, name), getattr(after, name)
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
            raise EvenhandError(
                f"'{before.model}' and '{after.model}' cannot be compared: their '{name}' columns differ."
                " Expected: the same pairs in the same order. To do: score the same rows with both models."
            )


def levelling_down(before: np.ndarray, after: np.ndarray) -> float:
    """Of the closed gap between best and worst group [groups], the share that the group which was best lost, in [0, 1], whichever group is
    best afterwards; nan if the gap did not close.
    """
    if len(before) < 2:
        return float("nan")
    closed = float(np.ptp(before) - np.ptp(after))
    return float(np.clip((before.max() - after[before.argmax()]) / closed, 0.0, 1.0)) if closed > 1e-12 else float("nan")


def _row(joint: Means, single: list[Means], cell: int, name: str) -> ChangeRow:
    size = len(joint.users)
    difference, level = np.zeros((1, 2 * size)), np.zeros((1, size))
    difference[0, cell], difference[0, size + cell], level[0, cell] = -1.0, 1.0, 1.0
    before, after = (estimate(contrast(of_model, level), 0, "accuracy", name, 0.0, 1.0) for of_model in single)
    return ChangeRow(name, before, after, estimate(contrast(joint, difference), 0, "change of accuracy", name, -1.0, 1.0))


def _no_gap(joint: Means) -> Estimate:
    return Estimate(np.nan, np.nan, np.nan, int(joint.users[-1]), int(joint.pairs[-1]), "accuracy gap", "fewer than two groups")


def _gap_change(
    sample: Sample, joint: Means, columns: list[np.ndarray], groups: Groups, cells: list[int], resamples: int, seed: int
) -> Estimate:
    """Two groups: a paired contrast of four means. More: change of best minus worst, with a percentile interval from the bootstrap by
    user, in which each resample gets the error that shared prompts or responses add.
    """
    users, pairs = int(joint.users[cells].sum()), int(joint.pairs[cells].sum())
    if len(cells) < 2:
        return Estimate(np.nan, np.nan, np.nan, users, pairs, "change of the accuracy gap")
    if len(cells) == 2:
        return _gap_contrast(joint, groups, cells, 1.0, 1.0)
    rng = np.random.default_rng([seed, 60510])
    of_user = np.stack([sample.user_means(c) for c in columns], axis=1)
    draws = [resampled_means(of_user[sample.cell == g], max(resamples, 200), rng) for g in cells]
    kept = min(len(d) for d in draws)
    drawn = np.stack([d[:kept] for d in draws], axis=2)  # [resamples, 2, groups], before and after
    if joint.by_both is not None:
        block = np.concatenate([cells, np.array(cells) + len(joint.users)])
        noise = shared_noise(
            joint.by_user[np.ix_(block, block)], joint.by_both[np.ix_(block, block)], kept, int(joint.units[cells].min()), rng
        )
        drawn += noise.reshape(kept, 2, len(cells))
    spread = np.ptp(drawn, axis=2)  # best minus worst
    value = float(np.ptp(joint.value[1, cells]) - np.ptp(joint.value[0, cells]))
    low, high = holding(value, spread[:, 1] - spread[:, 0])
    return Estimate(value, low, high, users, pairs, "change of the accuracy gap", "best minus worst")


def _gap_contrast(joint: Means, groups: Groups, cells: list[int], of_before: float, of_after: float) -> Estimate:
    """of_after · (gap after) - of_before · (gap before) of two groups, each gap signed: a contrast of four paired means."""
    first, second = ordered(groups, joint.users, cells)
    row, size = np.zeros((1, joint.value.size)), len(joint.users)
    row[0, [first, second]] = -of_before, of_before
    row[0, [size + first, size + second]] = of_after, -of_after
    name = f"{groups.names[first]} minus {groups.names[second]}"
    return estimate(contrast(joint, row), 0, "change of the accuracy gap", name, -2.0, 2.0)


def _size_change(joint: Means, groups: Groups, cells: list[int], change: Estimate) -> Estimate:
    """Change of the gap's size, whichever group leads. More than two groups: their gap has no sign, so the change itself."""
    if len(cells) != 2:
        return change
    first, second = ordered(groups, joint.users, cells)
    before, after = np.sign(joint.value[:, first] - joint.value[:, second])
    return _gap_contrast(joint, groups, cells, float(before or after or 1.0), float(after or before or 1.0))


def _clear(e: Estimate) -> bool:
    return bool(e.low > 0 or e.high < 0)


def _closed(size: Estimate) -> bool:
    """Whether the gap is clearly smaller, whichever group leads: only then does it make sense to say what closed it."""
    return bool(size.high < 0)


def _clearly(joint: Means, groups: Groups, seed: int) -> tuple[list[str], list[str]]:
    """Groups that are served better, and worse, with intervals that hold for all groups at once: of many groups some would move by luck.
    A group that may not be shown is not named.
    """
    cells = [g for g in range(len(groups)) if joint.users[g] >= SMALLEST_CELL]
    if not cells:
        return [], []
    k = len(joint.users)
    rows = np.zeros((len(cells), 2 * k))
    rows[np.arange(len(cells)), cells], rows[np.arange(len(cells)), np.array(cells) + k] = -1.0, 1.0
    moved = contrast(joint, rows)
    low, high = moved.bounds(simultaneous_alpha(moved.correlation, seed))
    return [groups.names[g] for g, x in zip(cells, low) if x > 0], [groups.names[g] for g, x in zip(cells, high) if x < 0]


def _moved(before: Estimate, after: Estimate, change: Estimate, size: Estimate) -> str:
    """What the gap did. It narrows or widens by its size; where another group leads now, it turned round."""
    grown = "narrowed" if size.value < 0 else "widened"
    if before.value * after.value < 0 and _clear(change):
        how = f"and {grown}" if _clear(size) else "without a clear change of its size"
        return f"turned round, from {in_points(before.value, True)} to {in_points(after.value, True)} points, {how}"
    return grown if _clear(size) else "did not change clearly"


def _sentence(moved: str, change: Estimate, clearly: tuple[list[str], list[str]], levelled: float, best: str) -> str:
    """What happened, in one sentence. best: the group that was the best served; levelled: nan where nothing closed clearly."""
    if np.isnan(change.value):
        return "There are fewer than two groups with users, so there is no gap to compare."
    better, worse = clearly
    value, low, high = (in_points(x, True) for x in (change.value, change.low, change.high))
    parts = [f"The gap {moved} (change {value} points, 95 % {low} to {high})"]
    parts.append(f"clearly better: {', '.join(better) or 'no group'}; clearly worse: {', '.join(worse) or 'no group'}")
    if not np.isnan(levelled):
        share = f"{100 * levelled:.0f} %" if best in worse or levelled == 0 else "no clear part"
        parts.append(f"{share} of the closing came from lowering the best-served group")
    return "; ".join(parts) + "."

"""A method over several deals of one data set: what its models reach on test pairs, with intervals and verdicts that draw the deal, too.

On votes the deal of the statements decides much: which of them were trained on, and which are asked. A user of several deals is one user;
his or her group is that of each deal, computed on what was trained on there. See `ranking` for the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from evenhand.audits.dealt import DealtModel, OverDeals
from evenhand.audits.examine import compared, ordered, too_small
from evenhand.audits.findings import Requirement
from evenhand.audits.intervals import LEVEL, MDE_FACTOR, Contrast, is_pairwise, pairwise, range_bounds, range_rows, simultaneous_alpha
from evenhand.audits.ranking import Board, Judged, Levels, levels
from evenhand.audits.requirements import Expression, parse_requirement
from evenhand.audits.verdicts import Bounded, left_out, requirement
from evenhand.core import Estimate, Groups


@dataclass(frozen=True)
class Deal:
    """One deal: the test pairs with who was right about them, one row a model, and the users' groups. group int[users], -1 = none."""

    seed: int
    judged: Judged
    names: tuple[str, ...]  # of groups
    group: np.ndarray


def board_of(deals: Sequence[Deal], models: Sequence[str]) -> Board:
    """The deals side by side."""
    names = tuple(dict.fromkeys(name for d in deals for name in d.names))
    users = len(deals[0].group)
    accuracy = np.full((len(models), len(deals), users), np.nan)
    pairs = np.zeros((len(deals), users), int)
    for s, d in enumerate(deals):
        pairs[s] = np.bincount(d.judged.user, minlength=users)
        for e, right in enumerate(d.judged.right):
            accuracy[e, s] = np.where(pairs[s] > 0, np.bincount(d.judged.user, d.judged.share * right, users), np.nan)
    group = np.stack([np.array([*(names.index(n) for n in d.names), -1])[d.group] for d in deals])
    return Board(tuple(models), names, accuracy, group, np.full(group.shape, np.nan), pairs, tuple(d.judged for d in deals))


def over_deals(deals: Sequence[Deal], models: Sequence[str], unit: str) -> tuple[Board, Levels, OverDeals]:
    """models: their names in the order of `Judged.right`, the audited one first."""
    board = board_of(deals, models)
    joint, single = levels(board), [(levels(b), b) for b in (board_of([d], models) for d in deals)]
    names, one = (*board.groups, "all"), np.eye(len(models))
    large = [g for g, reason in enumerate(too_small(joint.users[:-1], joint.pairs[:-1])) if not reason]
    if len(large) == 2:
        large = list(ordered(Groups(board.groups, board.group[0], ""), joint.users, large))
    first = deals[0].seed

    def dealt_model(e: int) -> DealtModel:
        gap = _gap(joint, one[e], large, names, first) if len(large) > 1 else None
        by_deal = tuple(
            s.estimate(one[e], len(b.groups), "accuracy", "all")
            if gap is None
            else _gap(s, one[e], [b.groups.index(names[g]) for g in large if names[g] in b.groups], (*b.groups, "all"), first)
            for s, b in single
        )
        accuracy = tuple(joint.estimate(one[e], c, "accuracy", name) for c, name in enumerate(names))
        gain = tuple(joint.estimate(one[0] - one[e], c, "gain", name) for c, name in enumerate(names)) if e else ()
        return DealtModel(models[e], accuracy, gap, gain, by_deal)

    return board, joint, OverDeals(tuple(d.seed for d in deals), unit, tuple(dealt_model(e) for e in range(len(models))))


def _gap(levels: Levels, entry: np.ndarray, cells: Sequence[int], names: Sequence[str], seed: int) -> Estimate:
    """Of one entry: of two cells the first minus the second; of more best minus worst, with simultaneous bounds; unknown for fewer."""
    cells = [c for c in cells if levels.users[c]]
    users, pairs = levels.users_in(cells), int(levels.pairs[cells].sum())
    if len(cells) < 2:
        return Estimate(np.nan, np.nan, np.nan, users, pairs, "gap", "fewer than two groups")
    if len(cells) == 2:
        row = levels.row(entry, cells[0]) - levels.row(entry, cells[1])
        variance, df = levels.error(row, cells)
        value, half = float(row @ levels.value.ravel()), float(stdtrit(df, (1 + LEVEL) / 2) * np.sqrt(variance))
        label = f"{names[cells[0]]} minus {names[cells[1]]}"
        return Estimate(value, max(-1.0, value - half), min(1.0, value + half), users, pairs, "gap", label)
    rows = np.kron(entry, range_rows(cells, len(levels.users)))
    contrasts = _contrast(levels, rows)
    value, low, high = range_bounds(contrasts, simultaneous_alpha(contrasts.correlation, seed), not is_pairwise(cells))
    order = sorted(cells, key=lambda c: float(entry @ levels.value[:, c]))
    return Estimate(value, low, high, users, pairs, "gap", f"{names[order[-1]]} minus {names[order[0]]} (best minus worst)")


def verdicts(
    board: Board, levels: Levels, expressions: Sequence[str], *, tolerance: float, seed: int, flaw: str = ""
) -> tuple[Requirement, ...]:
    """The requirements on the audited model, which is the first entry and gains over the second; all bounds hold at once (max-t).

    flaw: why its scores bear no PASS, or ''.
    """
    groups = Groups(board.groups, board.group[0], "")
    parsed = [parse_requirement(e, groups) for e in expressions]
    if not any(e.quantity == "gap" and not e.groups for e in parsed):
        parsed.insert(0, Expression("gap", (), "<=", tolerance))
    thin = too_small(levels.users, levels.pairs)
    plans = [_rows(e, levels, groups, thin) for e in parsed]
    rows = np.concatenate([rows for _, rows in plans])
    together = _contrast(levels, rows)
    alpha = simultaneous_alpha(together.correlation, seed)
    ends = np.cumsum([len(rows) for _, rows in plans])
    flaw, out = flaw or _flaw(board, levels), []
    for e, (cells, plan), end in zip(parsed, plans, ends, strict=True):
        part = together.rows(slice(end - len(plan), end))
        bounded = _bounded(e, cells, part, alpha, levels, groups, thin)
        verdict = requirement(e, bounded, flaw)
        between = sum(float(row @ levels.by_deal @ row) for row in plan) > sum(float(row @ levels.by_both @ row) for row in plan)
        reason = verdict.reason.replace(
            "more users are needed", "more deals are needed" if between else "more users or responses are needed"
        )
        out.append(replace(verdict, reason=f"Over {levels.deals} deals: {reason[0].lower()}{reason[1:]}"))
    return tuple(out)


def _flaw(board: Board, levels: Levels) -> str:
    """Why the audited model's scores pass nothing, or ''."""
    if all((j.right[0] == 0.5).all() for j in board.judged):
        return "no margin differs from 0"
    groups = levels.value[0, :-1][levels.users[:-1] > 0]
    under = groups if len(groups) else levels.value[0, -1:]
    return "every group lies under 50 %" if (under < 0.5).all() else ""


def _rows(e: Expression, levels: Levels, groups: Groups, thin: Sequence[str]) -> tuple[list[int], np.ndarray]:
    """The cells that a requirement needs and its contrasts [m, k]; no contrast where a group has no user, or a gap fewer than two groups."""
    k, size = levels.value.size, len(levels.users)
    if e.groups:
        cells = [groups.names.index(g) for g in e.groups]
    elif e.quantity in ("accuracy", "gain"):
        cells = [len(groups)]
    else:
        large = [g for g in range(len(groups)) if not thin[g]]
        cells = large if e.quantity == "worst_group" and len(large) == 1 else compared(levels.users, thin[:-1])
    if any(levels.users[g] == 0 for g in cells) or (e.quantity == "gap" and len(cells) < 2) or not cells:
        return cells, np.zeros((0, k))
    if e.quantity == "gap":
        return cells, pairwise(cells, k) if e.groups else range_rows(cells, k)
    rows = np.zeros((len(cells), k))
    rows[np.arange(len(cells)), cells] = 1.0
    if e.quantity == "gain":
        rows[np.arange(len(cells)), [size + c for c in cells]] = -1.0
    return cells, rows


def _contrast(levels: Levels, rows: np.ndarray) -> Contrast:
    touched = (rows != 0).reshape(len(rows), *levels.value.shape).any(axis=1)  # there may be no row: nothing to compare
    errors = [levels.error(row, np.flatnonzero(cells).tolist()) for row, cells in zip(rows, touched, strict=True)]
    variance, df = (np.array([e[i] for e in errors]) for i in (0, 1))
    users = np.array([levels.users_in(np.flatnonzero(cells).tolist()) for cells in touched])
    covariance = rows @ (levels.by_both + levels.by_deal) @ rows.T
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = np.clip(covariance / np.outer(scale, scale), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return Contrast(rows @ levels.value.ravel(), np.sqrt(variance), df, correlation, users, touched @ levels.pairs)


def _bounded(
    e: Expression, cells: list[int], contrasts: Contrast, alpha: float, levels: Levels, groups: Groups, thin: Sequence[str]
) -> Bounded:
    users, pairs, label = levels.users_in(cells), int(levels.pairs[cells].sum()), ", ".join(e.groups)
    if not len(contrasts.value):
        why = "a group has no user" if e.groups else "fewer than two groups have users"
        return Bounded(Estimate(np.nan, np.nan, np.nan, users, pairs, e.quantity, label), np.nan, why)
    value, half = contrasts.value, stdtrit(contrasts.df, 1 - alpha / 2) * contrasts.se
    order = sorted(cells, key=lambda g: levels.value[0, g])
    names = [*groups.names, "all"]
    if e.quantity == "gap" and not e.groups:
        shown, label = range_bounds(contrasts, alpha, not is_pairwise(cells)), f"{names[order[-1]]} minus {names[order[0]]}"
    elif e.quantity == "worst_group":
        shown, label = (float(value.min()), max(0.0, float((value - half).min())), min(1.0, float((value + half).min()))), names[order[0]]
    else:
        least = 0.0 if e.quantity == "accuracy" else -1.0
        shown = float(value[0]), max(least, float(value[0] - half[0])), min(1.0, float(value[0] + half[0]))
        label = label or names[-1]
    singles = [levels.error(np.eye(levels.value.size)[g], [g])[0] for g in cells] if e.quantity == "gap" else [0.0]
    lacking = "; ".join(f"{names[g]}: {thin[g]}" for g in cells if thin[g])
    estimate = Estimate(float(shown[0]), float(shown[1]), float(shown[2]), users, pairs, e.quantity, label)
    return Bounded(estimate, float(MDE_FACTOR * np.sqrt(max(singles))), lacking, left_out=left_out(e, cells, levels.users, groups, thin))


def undecided(requirements: Sequence[Requirement], remedy: str) -> tuple[Requirement, ...]:
    """The requirements without PASS and FAIL: one deal decides none of them."""
    sentence = "One deal of the responses says nothing of another"
    return tuple(
        Requirement(r.name, r.estimate, r.tolerance, "INSUFFICIENT", f"{sentence}: {remedy}. In this deal: {r.verdict}. {r.reason}")
        if r.verdict != "INSUFFICIENT"
        else r
        for r in requirements
    )

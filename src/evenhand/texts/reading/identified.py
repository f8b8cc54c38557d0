"""Whether a text's vector tells which value of an axis it was written for, by ridge regression on texts of other themes."""

from __future__ import annotations

import itertools

import numpy as np

from evenhand.texts.grid import Axis
from evenhand.texts.reading.contrasts import stratum_of
from evenhand.texts.table import TextTable

FOLDS = 12  # at most


def folds(table: TextTable) -> np.ndarray:
    """int64[n]: texts of one value of the first axis that is not matched stay together; all 0 where there is no such axis."""
    shape = [len(a) for a in table.grid.axes if not a.matched]
    if not shape:
        return np.zeros(len(table), np.int64)
    first = np.unravel_index(table.cell // table.grid.size, shape)[0]
    return np.asarray(np.unique(first, return_inverse=True)[1] % FOLDS)


def identified(table: TextTable, vectors: np.ndarray, axis: Axis, fold: np.ndarray) -> np.ndarray:
    """float64[n] in [0, 1]: the share of the axis's other values, one at a time, that a text is told from: among the matched texts of the
    two values it is in the half that leans to its own. The middle counts half, so that chance is 1/2. Matched texts differ in this axis
    alone.

    Leaning: the difference of two values' scores by ridge regression of which value it is (one column a value) on vectors float32[n, d],
    fitted on the texts of other folds, every value weighing the same, the penalty the mean eigenvalue of the weighted covariance. Leanings
    are compared with those of matched texts and not with zero: a regression that takes every text of a theme to be for men would identify
    all men and no woman, and identical texts would seem to serve men. nan where no other fold has texts of both values, or no matched text
    is there.
    """
    at = next(i for i, a in enumerate(table.grid.axes) if a is axis)
    value = table.grid.cells[table.cell, at]
    x = vectors.astype(np.float64)
    score = np.full((len(table), len(axis)), np.nan)
    for one in np.unique(fold):
        held = fold == one
        there = np.bincount(value[~held], minlength=len(axis)) > 0
        if there.sum() > 1:
            score[held] = np.where(there, _ridge(x[~held], value[~held], x[held], len(axis)), np.nan)
    total, values = np.zeros(len(table)), np.zeros(len(table))
    for rows in _groups(stratum_of(table, axis)):
        for own, other in itertools.combinations(np.unique(value[rows]).tolist(), 2):
            both = rows[(value[rows] == own) | (value[rows] == other)]
            lean = score[both, own] - score[both, other]
            if np.isfinite(lean).all():
                beyond = np.where(value[both] == own, 1, -1) * (lean - np.median(lean))
                total[both] += np.where(np.abs(beyond) <= 1e-12, 0.5, beyond > 0)
                values[both] += 1
    return np.where(values > 0, total / np.maximum(values, 1), np.nan)


def _groups(number: np.ndarray) -> list[np.ndarray]:
    """Rows of each number."""
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)


def _ridge(x: np.ndarray, value: np.ndarray, held: np.ndarray, values: int) -> np.ndarray:
    """float64[held texts, values]"""
    hot = np.eye(values)[value]
    count = hot.sum(axis=0)
    weight = (1 / count[value]) / (count > 0).sum()  # adds up to one
    mean = weight @ x
    centred = x - mean
    covariance = (centred * weight[:, None]).T @ centred
    penalty = max(np.trace(covariance) / len(covariance), 1e-12)
    slope = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), (centred * weight[:, None]).T @ (hot - weight @ hot))
    return np.asarray((held - mean) @ slope)

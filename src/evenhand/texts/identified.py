"""Whether a text's vector tells which value of an axis it was written for, by ridge regression on texts of other themes."""

from __future__ import annotations

import numpy as np

from evenhand.texts.contrasts import stratum_of
from evenhand.texts.grid import Axis
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
    """float64[n] in [0, 1]: 1 = of all values the own one has the highest score, 1/t where t values share it, 0 = another one.

    Scores: ridge regression of which value it is (one column a value) on vectors float32[n, d], fitted on the texts of other folds, every value weighing the
    same, the penalty the mean eigenvalue of the weighted covariance; less their median over the matched texts, those that differ in the axis alone. Without
    that, a regression that takes every text of a theme to be for men would identify all men and no woman, and identical texts would seem to serve men.
    nan where no other fold has texts of two values.
    """
    at = next(i for i, a in enumerate(table.grid.axes) if a is axis)
    value = table.grid.cells[table.cell, at]
    x = vectors.astype(np.float64)
    score = np.full((len(table), len(axis)), np.nan)
    for one in np.unique(fold):
        held = fold == one
        there = np.bincount(value[~held], minlength=len(axis)) > 0
        if there.sum() > 1:
            score[held] = np.where(there, _ridge(x[~held], value[~held], x[held], len(axis)), -np.inf)
    for rows in _groups(stratum_of(table, axis)):
        known = np.isfinite(score[rows])
        middle = np.median(np.where(known, score[rows], 0.0), axis=0)
        score[rows] = np.where(known, score[rows] - middle, score[rows])
    return _right(score, value)


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


def _right(score: np.ndarray, value: np.ndarray) -> np.ndarray:
    unknown = np.isnan(score).any(axis=1)
    top = score >= score.max(axis=1, keepdims=True) - 1e-12
    right = np.where(top[np.arange(len(value)), value], 1 / np.maximum(top.sum(axis=1), 1), 0.0)
    return np.asarray(np.where(unknown, np.nan, right))

"""Errors that are drawn together, normal with a given covariance: the same draws from the same seed on every machine."""

from __future__ import annotations

import numpy as np

LEAST = 1e-10  # of the largest eigenvalue: what is below it is rounding


def root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric R [m, m] with R R = covariance, without its negative part: two-way covariances need not be positive.

    Of all roots this one follows from the covariance alone. Eigenvectors, which are roots too, have any sign, and any direction where
    eigenvalues are equal (as of groups of equal size, or of one model that is compared twice): each processor's library has its own.
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = values > LEAST * values.max(initial=0.0)
    kept_vectors = vectors[:, kept]
    return (kept_vectors * np.sqrt(values[kept])) @ kept_vectors.T

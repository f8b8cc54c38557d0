"""Errors that are drawn together: the covariance is the one that was asked for, and draws do not hang on a library's choice of eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.audits import joint
from evenhand.audits.intervals import simultaneous_alpha
from evenhand.audits.joint import root

EQUAL = np.full((4, 4), 0.3) + 0.7 * np.eye(4)  # three equal eigenvalues


def test_a_root_gives_the_covariance_without_its_negative_part() -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((5, 5))
    whole = whole @ whole.T
    assert root(whole) @ root(whole) == pytest.approx(whole)
    assert root(np.diag([4.0, -1.0, 9.0])) == pytest.approx(np.diag([2.0, 0.0, 3.0]))
    assert not root(np.zeros((3, 3))).any()
    assert root(np.zeros((0, 0))).shape == (0, 0)


@pytest.mark.parametrize("twice", [False, True])
def test_signs_and_directions_of_eigenvectors_decide_nothing(twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor's library: other signs, and equal eigenvalues' vectors turned. The same alpha comes out, to the last digits."""
    correlation = EQUAL if not twice else np.block([[EQUAL, EQUAL], [EQUAL, EQUAL]])  # of one model under two names
    real = np.linalg.eigh
    here = simultaneous_alpha(correlation, seed=3)

    def elsewhere(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = real(matrix)
        turned = vectors.copy()
        for value in np.unique(values.round(9)):
            same = np.flatnonzero(np.abs(values - value) < 1e-8)
            turn = np.linalg.qr(np.random.default_rng(1).standard_normal((len(same), len(same))))[0]
            turned[:, same] = -vectors[:, same] @ turn
        return values, turned

    monkeypatch.setattr(joint.np.linalg, "eigh", elsewhere)
    assert simultaneous_alpha(correlation, seed=3) == pytest.approx(here, rel=1e-9)

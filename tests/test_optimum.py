"""Brent's methods and monotone steps against SciPy's, which the package does not import for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, isotonic_regression, minimize_scalar

from evenhand.audits.optimum import minimum, root
from evenhand.audits.support_curve import monotone


@pytest.mark.parametrize("seed", range(40))
def test_minima_and_roots_are_those_of_scipy_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=3)
    tol = 10.0 ** -rng.integers(3, 9)

    def valley(x: float) -> float:
        return float(np.exp(a * x) + (x - b) ** 2 * (1 + c**2) + (abs(x - c) if seed % 2 else np.sin(3 * x)))

    found = minimize_scalar(valley, bounds=(-2, 3), method="bounded", options={"xatol": tol})
    assert minimum(valley, -2, 3, tol) == (found.x, found.fun)

    def rising(x: float) -> float:
        return float(x**3 * abs(a) + np.arctan(20 * c * c * (x - b)) + 0.01 * (x - b)) if seed % 3 else x - 1.0

    if rising(-5) * rising(5) < 0:
        assert root(rising, -5, 5, tol) == brentq(rising, -5, 5, xtol=tol)


@pytest.mark.parametrize("low", [-1.0, -2.0])
@pytest.mark.parametrize("center", np.linspace(-0.9, 0.9, 19).tolist())
def test_steps_of_none_go_where_those_of_scipy_go(center: float, low: float) -> None:
    """Where three places lie alike around the best, or many values are equal: a parabola's vertex is the best place, and 0 has a sign."""
    for valley in (lambda x: abs(x - center) ** 2, lambda x: round(abs(x - center), 2), lambda x: 0.0):
        for tol in (1e-3, 1e-5, 1e-6):
            found = minimize_scalar(valley, bounds=(low, 1), method="bounded", options={"xatol": tol})
            assert minimum(valley, low, 1, tol) == (found.x, found.fun)


def test_values_whose_products_are_0_have_a_root() -> None:
    for center in np.linspace(0.1, 0.9, 9).tolist():
        assert root(lambda x: 1e-160 * (x - center) ** 3, 0, 2, 1e-6) == brentq(lambda x: 1e-160 * (x - center) ** 3, 0, 2, xtol=1e-6)  # noqa: B023


def test_a_root_at_an_end_is_that_end() -> None:
    assert (root(lambda x: x, 0, 4, 1e-9), root(lambda x: x - 4, 0, 4, 1e-9)) == (0, 4)


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_monotone_steps_are_those_of_scipy(seed: int, rising: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    y, weight = np.round(rng.normal(size=n), int(rng.integers(0, 4))), rng.integers(1, 30, n).astype(float)
    found = monotone(y, weight, rising)
    assert found == pytest.approx(isotonic_regression(y, weights=weight, increasing=rising).x, abs=1e-12)
    assert (np.diff(found) * (1 if rising else -1) >= 0).all()

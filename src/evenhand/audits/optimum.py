"""Where a smooth function of one number is least, and where it is 0: Brent's methods (Brent 1973, Algorithms for Minimization without Derivatives, ch. 4 and 5).

As SciPy's `minimize_scalar(method="bounded")` and `brentq`, to the bit: to import `scipy.optimize` would be a tenth of a small audit.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

EPS = sys.float_info.epsilon
ROUNDING = math.sqrt(2.2e-16)  # of a place, where values near a minimum cannot be told apart
GOLDEN = (3 - math.sqrt(5)) / 2
MOST = 500  # evaluations

Function = Callable[[float], float]


Point = tuple[float, float]  # a place and the value there


def minimum(f: Function, low: float, high: float, tol: float) -> Point:
    """A minimum between `low` and `high`, its place to about `tol`: parabolas through the three best places, golden sections where these fail."""
    best = second = third = low + GOLDEN * (high - low)
    f_best = f_second = f_third = f(best)
    step = before = 0.0
    for _ in range(MOST):
        middle, least = (low + high) / 2, ROUNDING * abs(best) + tol / 3
        if abs(best - middle) <= 2 * least - (high - low) / 2:
            break
        turn = _vertex(best, f_best, second, f_second, third, f_third) if abs(before) > least else None
        if turn is not None and abs(turn[0]) < abs(turn[1] * before / 2) and turn[1] * (low - best) < turn[0] < turn[1] * (high - best):
            before, step = step, (turn[0] + 0.0) / turn[1]  # -0 is 0: a step of none goes up
            at = best + step
            if at - low < 2 * least or high - at < 2 * least:
                step = math.copysign(least, middle - best)
        else:
            before = low - best if best >= middle else high - best
            step = GOLDEN * before
        at = best + math.copysign(max(abs(step), least), step)
        f_at = f(at)
        if f_at <= f_best:
            low, high = (best, high) if at >= best else (low, best)
            third, f_third, second, f_second, best, f_best = second, f_second, best, f_best, at, f_at
        else:
            low, high = (at, high) if at < best else (low, at)
            if f_at <= f_second or second == best:
                third, f_third, second, f_second = second, f_second, at, f_at
            elif f_at <= f_third or third in (best, second):
                third, f_third = at, f_at
    return best, f_best


def _vertex(x: float, fx: float, y: float, fy: float, z: float, fz: float) -> tuple[float, float]:
    """From x to the lowest place of a parabola through three points: numerator and denominator, which is 0 or more."""
    r, q = (x - y) * (fx - fz), (x - z) * (fx - fy)
    p, q = (x - z) * q - (x - y) * r, 2 * (q - r)
    return (-p, q) if q > 0 else (p, -q)


def root(f: Function, low: float, high: float, tol: float) -> float:
    """Where f is 0 between two places at which its signs differ, to `tol`: secants and inverse parabolas, halves where these fail."""
    last, f_last, at, f_at = low, f(low), high, f(high)
    if f_last == 0 or f_at == 0:
        return last if f_last == 0 else at
    other, f_other, step, before = last, f_last, at - last, at - last
    for _ in range(MOST):
        if f_last != 0 and (f_last < 0) != (f_at < 0):
            other, f_other, step = last, f_last, at - last
            before = step
        if abs(f_other) < abs(f_at):
            last, at, other = at, other, at
            f_last, f_at, f_other = f_at, f_other, f_at
        least, half = (tol + 4 * EPS * abs(at)) / 2, (other - at) / 2
        if f_at == 0 or abs(half) < least:
            break
        before, step = _step(before, step, least, half, (last, f_last), (at, f_at), (other, f_other))
        last, f_last = at, f_at
        at += step if abs(step) > least else math.copysign(least, half)
        f_at = f(at)
    return at


def _step(before: float, step: float, least: float, half: float, last: Point, at: Point, other: Point) -> tuple[float, float]:
    """The step before the next one, and the next one."""
    if abs(before) <= least or abs(at[1]) >= abs(last[1]):
        return half, half
    if last[0] == other[0]:
        tried = -at[1] * (at[0] - last[0]) / (at[1] - last[1])
    else:
        to_last, to_other = (last[1] - at[1]) / (last[0] - at[0]), (other[1] - at[1]) / (other[0] - at[0])
        under = to_other * to_last * (other[1] - last[1])
        if under == 0:  # of values too small to be multiplied
            return half, half
        tried = -at[1] * (other[1] * to_other - last[1] * to_last) / under
    return (step, tried) if 2 * abs(tried) < min(abs(before), 3 * abs(half) - least) else (half, half)

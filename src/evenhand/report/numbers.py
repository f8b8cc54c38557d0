"""Numbers in words: one place for signs, decimals, units, and what stands where there is no number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from evenhand.core import SMALLEST_CELL, Estimate

NB = "\u00a0"  # a no-break space, so that a number and its unit stay on one line
NONE = "–"  # no number there
MOST_PLAIN, MOST_WHOLE = 1e6, 1e15  # from here on a number has a power of ten: one with decimals, and one without; a count never
LEAST_PLAIN = 1e-4  # and under this one where its unit is nobody's: of a share so little is 0
MOST_MORE = 4  # decimals that `exact` adds
FEW = f"under {SMALLEST_CELL} users"  # instead of a number that would tell of persons

Show = Callable[[float | None], str]  # how the numbers of a column are written


def is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def has_value(estimate: Estimate | None) -> bool:
    """Whether there is a number to print; False for what was hidden."""
    return estimate is not None and is_known(estimate.value)


def number(value: float | None, decimals: int = 2, signed: bool = False) -> str:
    """1234.5 → "1,234.50"; from a million on "1.00e+06"; a true minus sign; never "−0.00"."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{decimals}f}" if abs(value) < (MOST_PLAIN if decimals else MOST_WHOLE) else f"{abs(value):.{max(decimals, 1)}e}"
    is_zero = not any(c in "123456789" for c in text)
    sign = "" if is_zero else "−" if value < 0 else "+" if signed else ""
    return sign + text


def of_any_size(value: float | None) -> str:
    """A number whose unit is nobody's, such as a margin: 0.00003 → "3.00e-05", not "0.00"."""
    if value is None or not 0 < abs(value) < LEAST_PLAIN:
        return number(value)
    return ("−" if value < 0 else "") + f"{abs(value):.2e}"


@dataclass(frozen=True)
class Decimals:
    """Numbers times `times` with n decimals, one fewer from ten on where `thinned`."""

    n: int
    signed: bool = False
    times: float = 1.0
    thinned: bool = False

    def __call__(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return NONE
        value *= self.times
        return number(value, self.n - (self.thinned and abs(value) >= 10), self.signed)


def decimals(n: int, signed: bool = False) -> Decimals:
    """Numbers with n decimals."""
    return Decimals(n, signed)


def exact(show: Show, estimate: Estimate) -> Show:
    """`show` with up to four decimals more, where the ends of the interval would look like its value though they are not, or like 0 though it is left
    out: "+0.0006 (+0.0002 to +0.0010)", not "+0.001 (0.000 to +0.001)".
    """
    if not isinstance(show, Decimals) or not has_value(estimate):
        return show
    finer = (replace(show, n=show.n + more) for more in range(MOST_MORE + 1))
    return next((f for f in finer if _is_apart(f, estimate)), show)


def _is_apart(show: Show, e: Estimate) -> bool:
    ends = [end for end in (e.low, e.high) if is_known(end)]
    if any(end != e.value and show(end) == show(e.value) for end in ends):
        return False
    return not is_clear(e) or all(show(end) != show(0.0) for end in ends)


def count(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{int(value):,}"


def percent(value: float | None, decimals: int = 1) -> str:
    return NONE if value is None or not math.isfinite(value) else number(100 * value, decimals) + f"{NB}%"


def points(value: float | None, signed: bool = False) -> str:
    """A difference of two shares, in percentage points, without the word."""
    return NONE if value is None or not math.isfinite(value) else number(100 * value, 1, signed)


def signed_points(value: float | None) -> str:
    return points(value, True)


def p_value(p: float | None) -> str:
    return NONE if p is None or not math.isfinite(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def level(estimate: Estimate) -> str:
    return f"{100 * estimate.level:g}{NB}%"


def people(estimate: Estimate, unit: str = "user") -> str:
    """ "48 users, 1,344 pairs": the counts that no number goes without. unit: what n_users counts."""
    if estimate.suppressed:
        return f"fewer than {SMALLEST_CELL} {unit}s"
    return f"{plural(estimate.n_users, unit)}, {plural(estimate.n_pairs, 'pair')}"


def plural(n: int, noun: str) -> str:
    """ "1 user", "1,344 pairs"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def interval(estimate: Estimate, show: Show = points, space: str = " ") -> str:
    if not is_known(estimate.low) and not is_known(estimate.high):
        return f"no{space}interval"
    return f"{show(estimate.low)}{space}to{space}{show(estimate.high)}"


def bare(show: Show) -> Show:
    """For the ends of an interval: a share without its per cent sign, which the value has."""
    return points if show is percent else show


def shown(estimate: Estimate | None, show: Show = percent) -> str:
    """ "71.2 % (69.8 to 72.6)"; "–", or "under 10 users" where the number was hidden."""
    if estimate is None or not has_value(estimate):
        return FEW if estimate is not None and estimate.suppressed else NONE
    show = exact(show, estimate)
    return f"{show(estimate.value)} ({interval(estimate, bare(show), NB)})"


def evidence(estimate: Estimate, show: Show = points, unit: str = "user") -> str:
    """ "(95 % interval 3.1 to 9.3; 48 users, 1,344 pairs)"."""
    known = is_known(estimate.low) or is_known(estimate.high)
    return f"({f'{level(estimate)} interval ' * known}{interval(estimate, show)}; {people(estimate, unit)})"


def is_clear(estimate: Estimate) -> bool:
    """Whether the interval leaves zero out."""
    return estimate.low > 0 or estimate.high < 0


def flipped(estimate: Estimate) -> Estimate:
    """The same difference seen from the other side."""
    return replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low)


def group_name(name: str) -> str:
    return f"the {name}" if name in ("minority", "majority") else f"“{name}”"


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def listing(parts: list[str], most: int = 4) -> str:
    """ "a, b and 3 more"."""
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")

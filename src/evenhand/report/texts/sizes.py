"""Numbers of texts in the unit of their measure."""

from __future__ import annotations

from collections.abc import Mapping

from evenhand.core import Estimate
from evenhand.report.numbers import NONE, Decimals, Show, decimals, exact, interval, is_known, number, percent
from evenhand.texts.findings import TextFindings

two, three = decimals(2), decimals(3)
Scales = Mapping[tuple[str, str], float]  # audit and measure → a number of the measure's own range, as 100 for per cent


def scales(found: TextFindings) -> Scales:
    return {(x.audit, x.measure): x.scale for run in found.runs for x in run.levels}


def of_level(scale: float) -> Show:
    """How a mean of a measure is written."""
    return percent if scale == 100 else of_gap(scale, False)


def of_gap(scale: float, signed: bool = True) -> Show:
    """How a difference of means is written: points where the measure is in per cent, without the word."""
    return Decimals(1, signed, 100.0) if scale == 100 else Decimals(3, signed, scale, thinned=True)


def with_unit(estimate: Estimate, scale: float, signed: bool = False) -> str:
    """Its value, with as many decimals as its interval takes."""
    return exact(of_gap(scale, signed), estimate)(estimate.value) + points_of(scale)


def points_of(scale: float) -> str:
    return " points" * (scale == 100)


def with_interval(estimate: Estimate, scale: float) -> str:
    """A difference: "+2.1 points (+0.3 to +3.9)"."""
    return f"{with_unit(estimate, scale, True)} ({interval(estimate, exact(of_gap(scale), estimate))})"


def percents(share: float, signed: bool = False) -> str:
    """A share of more than one, or under nought, too: a relative change."""
    return number(100 * share, 1, signed) + "\u00a0%" if is_known(share) else NONE

"""Holm's correction: how likely is it that anything at all is found in the texts of one run that is not there (Holm 1979)?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from evenhand.texts.audit import Tested
from evenhand.texts.findings import Gap


def holm_of(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values: the smallest times their number m, the next times m - 1, and so on; none below one before it, none over 1. nan is
    not tested and not counted.
    """
    out = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def holm(gaps: Sequence[Gap], tested: Sequence[Tested] = ()) -> tuple[tuple[Gap, ...], tuple[Tested, ...]]:
    """The gaps with p_holm and systematic_p_holm, and audits' own tests with theirs, corrected for all of these. Both distances of a
    profile share one test of its means, which counts once.
    """
    p: dict[Hashable, float] = {}
    for gap in gaps:
        p[_signed(gap)] = gap.p
        p[gap.key] = gap.systematic_p
    for i, test in enumerate(tested):
        p[i] = test.p
    corrected = dict(zip(p, holm_of(np.array(list(p.values()), float)).tolist(), strict=True))
    own = tuple(replace(t, p_holm=corrected[i]) for i, t in enumerate(tested))
    return tuple(replace(g, p_holm=corrected[_signed(g)], systematic_p_holm=corrected[g.key]) for g in gaps), own


def _signed(gap: Gap) -> Hashable:
    return gap.audit, gap.measure, gap.axis, gap.masked

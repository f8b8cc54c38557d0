"""Falls of selection: by hand on a world small enough, nothing learned where all candidates are alike, and something where a source mends one side."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from text_cells import small_grid

from evenhand.texts.audit import Measure
from evenhand.texts.findings import Fall
from evenhand.texts.grid import Grid, parse
from evenhand.texts.selecting.candidates import Candidates, candidates
from evenhand.texts.selecting.falls import falls
from evenhand.texts.selecting.matching import pairs
from evenhand.texts.selecting.selection import Objective, base_disparity, select_blocks
from evenhand.texts.table import ORIGINAL, TextTable

PLAIN = """
template = "{place} {who}"
[[axis]]
name = "place"
values = [PLACES]
[[axis]]
name = "who"
matched = true
values = ["men", "women"]
"""


def plain(places: int) -> Grid:
    return parse(PLAIN.replace("PLACES", ", ".join(f'"p{i}"' for i in range(places))), "plain.toml")


def drafts(grid: Grid, sources: tuple[str, ...], draws: int) -> Candidates:
    """draws of every source in every cell."""
    cell = np.repeat(np.arange(len(grid)), len(sources) * draws)
    source = tuple(np.tile(np.repeat(sources, draws), len(grid)).tolist())
    return candidates(TextTable(grid, "r", ("x",) * len(cell), cell, np.tile(np.arange(draws), len(grid) * len(sources)), source))


def chosen_by_pairs(of: Candidates, values: np.ndarray) -> np.ndarray:
    grid = of.table.grid
    units, placed = pairs(grid), values if values.ndim == 2 else of.of(values)
    objective = Objective("m", units.of(placed), 0.1 * base_disparity(units.of(placed), units.sides))
    found = select_blocks([objective], units.of(placed * 0), units.of(of.there), units.sides)
    return units.back(found.candidate, grid)


def test_falls_of_two_pairs_by_hand() -> None:
    """Candidates of a cell: original 0, 1, 2, then other 0, 1, 2. Men: 0 in all. Of p0's women the second draft of "other" is chosen, of p1's the
    original is kept, and men keep theirs."""
    of = drafts(plain(2), (ORIGINAL, "other"), 3)
    values = np.zeros((4, 6))
    values[1] = 4.0, 9.0, 3.0, 2.0, 1.0, 1.5  # women of p0
    values[3] = 5.0, 7.0, 6.0, 8.0, 8.0, 9.0  # of p1
    chosen = np.array([0, 4, 0, 0])
    (fall,) = falls(Measure("m", values.ravel(), ""), of, chosen, deals=2000)
    assert fall.same.value == pytest.approx(1 - (1 + 5) / (4 + 5))
    again = 3.0 + 6.5  # originals: of p0 draft 2, since 0 is what the gate saw and 1 the chosen one's; of p1 drafts 1 and 2
    assert fall.fresh.value == pytest.approx(1 - (1.5 + 6.5) / again)  # other draft 2; the originals of p1 again
    # "other" falls to each cell once in four deals: 3/4 the original's gap + 1/4 the other source's, cells of men being all 0
    dealt = 0.75 * 3.0 + 0.25 * 1.5 + 0.75 * 6.5 + 0.25 * 8.5
    assert fall.shuffled.value == pytest.approx(1 - dealt / again, abs=0.02)
    assert fall.learned.value == pytest.approx(fall.fresh.value - fall.shuffled.value)
    assert (fall.fresh.n_users, fall.fresh.n_pairs) == (2, 2)
    assert math.isnan(fall.learned.low)  # of two blocks no interval is given


def test_without_other_draws_nothing_is_said_of_fresh_ones() -> None:
    of = drafts(plain(12), (ORIGINAL, "other"), 1)
    values = np.random.default_rng(0).normal(size=len(of.table))
    (fall,) = falls(Measure("m", values, ""), of, np.ones(24, np.int64))
    assert fall.same.low < fall.same.value < fall.same.high
    assert all(math.isnan(e.value) for e in (fall.fresh, fall.shuffled, fall.learned))


def test_revisions_of_a_chosen_draft_are_not_fresh() -> None:
    """Two sources that say the same of each draft: what resembles the chosen text would make dealt choices look as good as it."""
    of = drafts(plain(12), (ORIGINAL, "a", "b"), 4)
    rng = np.random.default_rng(0)
    by_draft = rng.normal(size=(24, 4))
    values = by_draft[of.table.cell, of.table.draw]
    (fall,) = falls(Measure("m", values, ""), of, chosen_by_pairs(of, values))
    assert fall.same.value > 0.5
    assert fall.fresh.value == pytest.approx(fall.shuffled.value, abs=1e-9)


def test_profiles_and_undefined_values() -> None:
    of = drafts(plain(12), (ORIGINAL, "other"), 3)
    rng = np.random.default_rng(0)
    number = rng.random(len(of.table))
    chosen = rng.integers(0, 6, 24)
    (one,) = falls(Measure("m", number, ""), of, chosen)
    (two,) = falls(Measure("m", np.stack([number, 1 - number], axis=1), "", parts=("yes", "no")), of, chosen)
    for a, b in ((one.same, two.same), (one.fresh, two.fresh), (one.learned, two.learned)):
        assert a.value == pytest.approx(b.value)  # an L1 of (x, 1 - x) is twice |x|
    lost = np.where(rng.random(len(number)) < 0.2, np.nan, number)
    (left,) = falls(Measure("m", lost, ""), of, chosen)
    (zero,) = falls(Measure("m", lost, "", undefined=0.0), of, chosen)
    (filled,) = falls(Measure("m", np.nan_to_num(lost), ""), of, chosen)
    assert left.same.n_pairs < zero.same.n_pairs == 12
    assert zero == filled


def test_chance_alone_falls_on_the_same_texts_and_teaches_nothing() -> None:
    found: list[Fall] = []
    for seed in range(60):
        of = drafts(plain(30), (ORIGINAL, "other"), 4)
        values = np.random.default_rng(seed).normal(size=len(of.table))
        found += falls(Measure("m", values, ""), of, chosen_by_pairs(of, values), deals=100)
    assert min(f.same.value for f in found) > 0.7
    assert abs(np.mean([f.fresh.value for f in found])) < 0.05
    assert abs(np.mean([f.learned.value for f in found])) < 0.03
    assert np.mean([f.learned.low <= 0 <= f.learned.high for f in found]) >= 0.88  # .95 by right; 60 worlds


@pytest.mark.parametrize("left", [0.27, 0.4, 1.0])
def test_nothing_is_learned_where_checks_leave_few_texts(left: float) -> None:
    """Pairs without another draw are left out, down to a quarter of them: what is said of the others must hold as it does of all."""
    found: list[Fall] = []
    for seed in range(60):
        of, random = drafts(plain(60), (ORIGINAL, "other", "third"), 6), np.random.default_rng(seed)
        values = random.normal(size=len(of.table))
        allowed = of.there & (random.random(of.row.shape) < left)
        allowed[:, 0] = of.there[:, 0]
        (fall,) = falls(Measure("m", values, ""), of, chosen_by_pairs(of, np.where(allowed, of.of(values), np.nan)), allowed, deals=60)
        found += [fall] if math.isfinite(fall.learned.low) else []
    assert len(found) >= 30
    assert min(f.same.value for f in found) > 0.7
    assert abs(np.mean([f.fresh.value for f in found])) < 0.05
    assert np.mean([f.learned.low > 0 for f in found]) <= 0.1  # .025 by right; 60 worlds


def test_a_source_that_mends_one_side_is_learned() -> None:
    """Men's texts are 3 too high; "softer" takes 3 off any text: right for men, wrong for women."""
    for seed in range(5):
        of = drafts(plain(30), (ORIGINAL, "softer"), 4)
        values = np.random.default_rng(seed).normal(0, 0.5, len(of.table))
        men = of.table.cell % 2 == 0
        softer = np.array(of.table.source) == "softer"
        values = values + 3.0 * men - 3.0 * softer
        (fall,) = falls(Measure("m", values, ""), of, chosen_by_pairs(of, values))
        assert fall.learned.low > 0
        assert fall.fresh.value > 0.5


def test_the_same_seed_deals_alike_and_axes_come_in_order() -> None:
    of = drafts(small_grid(2), (ORIGINAL, "other"), 3)
    values = np.random.default_rng(1).normal(size=len(of.table))
    chosen = np.random.default_rng(2).integers(0, 6, len(of.row))
    a, b, c = (falls(Measure("m", values, ""), of, chosen, seed=seed) for seed in (1, 1, 2))
    assert str(a) == str(b) != str(c)
    assert [f.axis for f in a] == ["age", "gender"]
    assert all(x.same == y.same for x, y in pairwise([a[0], c[0]]))

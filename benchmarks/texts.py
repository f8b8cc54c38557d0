"""Do the p-values of gaps between texts hold, do their intervals, and what would be found? Simulated values of texts with known gaps, on
the climate grid: 55 blocks (11 themes in 5 regions) x 4 ages x 2 genders.

    python benchmarks/texts.py calibration      worlds without a difference of means (or without any): how often is p at or under .05?
    python benchmarks/texts.py power            gaps of .2 and .3 standard deviations, and gaps that differ by block
    python benchmarks/texts.py news             two runs of one law: how often is a gap called new, though nothing changed?
    python benchmarks/texts.py speed            25 measures and profiles on 1,760 texts, and on 100,000

Results of the first three are kept in runs/results/texts_calibration.json.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.texts.audit import Measure
from evenhand.texts.findings import Gap
from evenhand.texts.grid import load_grid
from evenhand.texts.statistics.gaps import gaps
from evenhand.texts.statistics.holm import holm
from evenhand.texts.table import TextTable

OUT = Path(__file__).parents[1] / "runs" / "results" / "texts_calibration.json"
GRID = load_grid("climate")
BLOCKS, AGES, GENDERS = GRID.blocks, 4, 2
THEME = np.arange(BLOCKS) // 5
GOAL = 0.07
PARTS = 28
PERMUTATIONS = 500
SETS = 3  # of permutations, in turn: they are drawn once
Draw = Callable[
    [int, np.random.Generator], np.ndarray
]  # texts a cell → values float64[blocks, ages, genders, draws(, parts)], nan = no text


def context(k: int, rng: np.random.Generator) -> np.ndarray:
    """What a block's texts share, and what each text has of its own: no difference between groups."""
    return rng.normal(0, 0.5, (BLOCKS, 1, 1, 1)) + rng.normal(0, 1, (BLOCKS, AGES, GENDERS, k))


def null(k: int, rng: np.random.Generator) -> np.ndarray:
    return context(k, rng)


def by_block(k: int, rng: np.random.Generator) -> np.ndarray:
    """Every block has gaps of its own, 0 on average over blocks that could be drawn."""
    return context(k, rng) + rng.normal(0, 0.5, (BLOCKS, AGES, 1, 1)) + rng.normal(0, 0.5, (BLOCKS, 1, GENDERS, 1))


def by_theme(k: int, rng: np.random.Generator, size: float = 0.5) -> np.ndarray:
    """Every theme has gaps of its own, the same in all regions."""
    age, gender = rng.normal(0, size, (11, AGES, 1, 1)), rng.normal(0, size, (11, 1, GENDERS, 1))
    return context(k, rng) + age[THEME] + gender[THEME]


def by_theme_slightly(k: int, rng: np.random.Generator) -> np.ndarray:
    return by_theme(k, rng, 0.15)


def unequal_spread(k: int, rng: np.random.Generator) -> np.ndarray:
    """One group's texts vary thrice as much as the others', and so do its blocks."""
    wide = np.ones((1, AGES, GENDERS, 1))
    wide[:, -1], wide[:, :, -1] = 3, 3
    own = rng.normal(0, 0.3, (BLOCKS, AGES, 1, 1)) + rng.normal(0, 0.3, (BLOCKS, 1, GENDERS, 1))
    return own * wide + rng.normal(0, 1, (BLOCKS, AGES, GENDERS, k)) * wide


def counts(k: int, rng: np.random.Generator) -> np.ndarray:
    """(H - L) / (H + L) of rare words: nan where there are none, in about a third of the texts."""
    rate = rng.gamma(2, 0.3, (BLOCKS, 1, 1, 1))
    high, low = (rng.poisson(rate, (BLOCKS, AGES, GENDERS, k)).astype(float) for _ in range(2))
    with np.errstate(invalid="ignore"):
        return (high - low) / (high + low)


def rare(k: int, rng: np.random.Generator) -> np.ndarray:
    """Counts that are 0 in nine texts of ten, and large now and then."""
    shape = BLOCKS, AGES, GENDERS, k
    return np.where(rng.random(shape) < 0.1, rng.geometric(0.3, shape), 0).astype(float)


def heavy(k: int, rng: np.random.Generator) -> np.ndarray:
    return rng.lognormal(0, 1.2, (BLOCKS, AGES, GENDERS, k)) * rng.lognormal(0, 0.5, (BLOCKS, 1, 1, 1))


def profiles(k: int, rng: np.random.Generator) -> np.ndarray:
    """28 emotions, a few of them large, each block with favourites of its own."""
    favour = rng.gamma(0.5, 1, (BLOCKS, 1, 1, 1, PARTS)) + 0.02
    raw = rng.gamma(np.broadcast_to(favour, (BLOCKS, AGES, GENDERS, k, PARTS)))
    return raw / raw.sum(axis=-1, keepdims=True)


def profiles_by_block(k: int, rng: np.random.Generator) -> np.ndarray:
    own = rng.gamma(2, 0.5, (BLOCKS, 1, GENDERS, 1, PARTS)) * rng.gamma(2, 0.5, (BLOCKS, AGES, 1, 1, PARTS))
    raw = profiles(k, rng) * own
    return raw / raw.sum(axis=-1, keepdims=True)


def profiles_by_theme(k: int, rng: np.random.Generator) -> np.ndarray:
    own = rng.gamma(4, 0.25, (11, 1, GENDERS, 1, PARTS)) * rng.gamma(4, 0.25, (11, AGES, 1, 1, PARTS))
    raw = profiles(k, rng) * own[THEME]
    return raw / raw.sum(axis=-1, keepdims=True)


def thinned(draw: Draw) -> Draw:
    """One to k texts a cell, and a tenth of the cells without any."""

    def drawn(k: int, rng: np.random.Generator) -> np.ndarray:
        values = draw(k, rng)
        kept = np.arange(k) < rng.integers(1, k + 1, (BLOCKS, AGES, GENDERS, 1))
        kept &= rng.random((BLOCKS, AGES, GENDERS, 1)) > 0.1
        return np.where(kept if values.ndim == 4 else kept[..., None], values, np.nan)

    return drawn


@dataclass(frozen=True)
class World:
    """equal: groups' texts follow one law, so that the systematic p has a size too. square: the true mean squared gap, by age and by
    gender.
    """

    name: str
    draw: Draw
    equal: bool = True
    square: tuple[float, float] = (0.0, 0.0)
    undefined: float = math.nan
    blocks: int = BLOCKS


WORLDS = (
    World("no difference", null),
    World("gaps by block, 0 on average", by_block, False, (0.5, 0.5)),
    World("gaps by theme, 0 on average", by_theme, False, (0.5, 0.5)),
    World("small gaps by theme", by_theme_slightly, False, (0.045, 0.045)),
    World("groups vary unequally", unequal_spread, False, (math.nan, math.nan)),
    World("counts with nan", counts),
    World("counts, 0 for nan", counts, undefined=0.0),
    World("rare counts", rare),
    World("heavy tails", heavy),
    World("unequal draws", thinned(null)),
    World("unequal draws, gaps by block", thinned(by_block), False, (0.5, 0.5)),
    World("8 blocks", null, blocks=8),
    World("20 blocks", null, blocks=20),
    World("profiles", profiles),
    World("profiles, gaps by block", profiles_by_block, False),
    World("profiles, gaps by theme", profiles_by_theme, False),
    World("profiles, unequal draws", thinned(profiles)),
)


def measured(
    values: np.ndarray, undefined: float = math.nan, blocks: int = BLOCKS, name: str = "m", masked: bool = False
) -> tuple[Measure, TextTable]:
    """A table of texts that exist as their values alone; nan is no text where a cell has fewer than others, else an undefined value."""
    part = values[:blocks].reshape(blocks * AGES * GENDERS, values.shape[3], *values.shape[4:])
    cell = np.repeat(np.arange(len(part)), part.shape[1])
    flat = part.reshape(-1, *part.shape[2:])
    draw = np.tile(np.arange(part.shape[1]), len(part))
    table = TextTable(GRID, "simulated", ("",) * len(cell), cell, draw, masked=masked)
    return Measure(name, flat, "simulated", undefined), table


def found(world: World, k: int, seed: int) -> dict[str, Gap]:
    """Axis, and of profiles the distance, → gap."""
    rng = np.random.default_rng([seed, k, 1])
    measure, table = measured(world.draw(k, rng), world.undefined, world.blocks)
    return {
        g.axis + (f" {g.distance}" if g.distance else ""): g
        for g in gaps("audit", measure, table, seed=seed % SETS, permutations=PERMUTATIONS)
    }


def interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    p, z = hits / max(n, 1), 1.96
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def rate(flags: list[bool]) -> dict[str, float]:
    hits, n = sum(flags), len(flags)
    low, high = interval(hits, n) if n else (math.nan, math.nan)
    return {"rate": hits / n if n else math.nan, "low": low, "high": high, "worlds": n}


def calibrated(world: World, k: int, worlds: int) -> list[dict[str, object]]:
    """A row an axis (and distance): sizes of both p, coverage of both intervals, bias of the mean squared gap."""
    made = [found(world, k, seed) for seed in range(worlds)]
    rows: list[dict[str, object]] = []
    for name in made[0]:
        of = [m[name] for m in made]
        square = world.square[0 if name.startswith("age") else 1]
        excess = np.array([math.copysign(g.systematic.value**2, g.systematic.value) for g in of])
        row: dict[str, object] = {"world": world.name, "k": k, "gap": name, "p": rate([g.p <= 0.05 for g in of if g.p == g.p])}
        if not of[0].distance:
            row["signed interval"] = rate([g.signed.low <= 0 <= g.signed.high for g in of if g.signed.low == g.signed.low])
            if square == square:
                within = [g.systematic.low <= math.sqrt(square) <= g.systematic.high for g in of if g.systematic.low == g.systematic.low]
                row["systematic interval"] = rate(within)
                row["mean squared gap"] = {"true": square, "mean": float(excess.mean()), "error": float(excess.std() / math.sqrt(worlds))}
        elif world.equal:
            row["systematic interval"] = rate(
                [g.systematic.low <= 0 <= g.systematic.high for g in of if g.systematic.low == g.systematic.low]
            )
        row["systematic p"] = rate([g.systematic_p <= 0.05 for g in of if g.systematic_p == g.systematic_p]) | {"is size": world.equal}
        rows.append(row)
    return rows


def family(worlds: int, k: int = 4) -> dict[str, float]:
    """Ten correlated measures, as written and masked, on two axes, no difference anywhere: how often does anything survive Holm's
    correction?
    """
    false = []
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 2])
        common = null(k, rng)
        all_gaps: list[Gap] = []
        for m in range(10):
            written = 0.6 * common + 0.8 * null(k, rng)
            for masked in (False, True):
                values = written if not masked else 0.8 * written + 0.6 * null(k, rng)
                measure, table = measured(values, name=f"m{m}", masked=masked)
                all_gaps += gaps("audit", measure, table, seed=seed % SETS, permutations=PERMUTATIONS)
        corrected, _ = holm(all_gaps)
        false.append(any(min(g.p_holm, g.systematic_p_holm) <= 0.05 for g in corrected))
    return rate(false)


def shown(r: object) -> str:
    return f"{100 * r['rate']:5.1f} [{100 * r['low']:4.1f},{100 * r['high']:5.1f}]" if isinstance(r, Mapping) else " " * 18


def calibration(worlds: int, only: str) -> dict[str, object]:
    print(
        f"{worlds} worlds a row; share of p ≤ .05 in per cent with its 95 % interval (goal: at most {100 * GOAL:.0f}); share of 95 % intervals that hold the truth"
    )
    print(
        f"{'world':<31}{'k':>3} {'gap':<22}{'signed p':>18}{'systematic p':>19} {'signed interval':>19}{'systematic int.':>19}   mean squared gap (true)"
    )
    rows: list[dict[str, object]] = []
    for world in WORLDS:
        if not re.search(only, world.name):
            continue
        for k in (2, 4, 8) if world.name == "no difference" else (2, 4) if world.name == "profiles" else (4,):
            for row in calibrated(world, k, worlds):
                rows.append(row)
                keep({"calibration": {"rows": [row], "family": {}}})  # a run that is ended keeps what it has
                size = row["systematic p"] if world.equal else None
                square = row.get("mean squared gap")
                told = f"{square['mean']:.4f} ± {1.96 * square['error']:.4f} ({square['true']:g})" if isinstance(square, Mapping) else ""
                print(f"{world.name:<31}{k:>3} {row['gap']:<22}{shown(row['p'])} {shown(size):>18} {shown(row.get('signed interval')):>18}  "
                      f"{shown(row.get('systematic interval')):>18}   {told}", flush=True)  # fmt: skip
    together = family(max(worlds // 4, 50)) if re.search(only, "family") else {}
    if together:
        print(f"Holm over 80 tests, none true: anything found in {shown(together)} of {together['worlds']}", flush=True)
    return {"rows": rows, "family": together}


def power(worlds: int) -> dict[str, object]:
    """A gap of d standard deviations between the genders, and between the oldest and the others; and gaps by block alone."""
    rows = []
    print(
        f"\nPower at .05, {worlds} worlds a row, in per cent\n{'truth':<32}{'k':>3} {'gap':<8}{'signed p':>18}{'systematic p':>19}   mean of mde"
    )
    for k in (1, 4):
        for d in (0.2, 0.3):
            made = []
            for seed in range(worlds):
                values = null(k, np.random.default_rng([seed, k, 3]))
                values[:, :, 1] += d * values.std()
                values[:, 3] += d * values.std()
                made.append(gaps("audit", *measured(values), seed=seed % SETS, permutations=PERMUTATIONS))
            rows += [_powered(f"d = {d}", k, [m[a] for m in made]) for a in (0, 1)]
    for size in (0.2, 0.3, 0.5):
        made = []
        for seed in range(worlds):
            rng = np.random.default_rng([seed, 4])
            values = (
                null(4, rng) + rng.normal(0, size / 2**0.5, (BLOCKS, AGES, 1, 1)) + rng.normal(0, size / 2**0.5, (BLOCKS, 1, GENDERS, 1))
            )
            made.append(gaps("audit", *measured(values), seed=seed % SETS, permutations=PERMUTATIONS))
        rows += [_powered(f"gaps by block, root mean sq. {size}", 4, [m[a] for m in made]) for a in (0, 1)]
    return {"worlds": worlds, "rows": rows}


def _powered(truth: str, k: int, of: list[Gap]) -> dict[str, object]:
    row: dict[str, object] = {
        "truth": truth, "k": k, "gap": of[0].axis, "p": rate([g.p <= 0.05 for g in of]), "mde": float(np.mean([g.mde for g in of])),
        "systematic p": rate([g.systematic_p <= 0.05 for g in of]) if k > 1 else {},
    }  # fmt: skip
    print(f"{truth:<32}{k:>3} {of[0].axis:<8}{shown(row['p'])} {shown(row['systematic p'] or None):>18}   {row['mde']:.2f}", flush=True)
    return row


MEASURES = 5
STILL: dict[str, Draw] = {
    "no difference": null,
    "gaps that are found half of the time": lambda k, rng: shifted(null(k, rng), 0.16),
    "large gaps": lambda k, rng: shifted(null(k, rng), 0.4),
    "gaps by block, 0 on average": lambda k, rng: (
        null(k, rng) + rng.normal(0, 0.12, (BLOCKS, AGES, 1, 1)) + rng.normal(0, 0.12, (BLOCKS, 1, GENDERS, 1))
    ),
}


def shifted(values: np.ndarray, d: float) -> np.ndarray:
    """A gap of d standard deviations between the genders, and of the oldest to the others."""
    size = d * values.std()
    values[:, :, 1] += size
    values[:, 3] += size
    return values


def news(worlds: int, only: str = "", k: int = 4) -> dict[str, object]:
    """Two runs of one law, five measures on two axes. passed: any test is passed in the second run that is not in the first; new: any gap is
    called so, which asks for growth beyond noise, too, or for two findings on opposite sides.
    """
    from evenhand.core import Estimate
    from evenhand.report.texts.told import new_gaps, unshown_gaps
    from evenhand.texts.findings import Run, TextFindings
    from evenhand.texts.statistics.moves import moved

    nothing = Estimate(math.nan, math.nan, math.nan, 0, 0)
    rows: list[dict[str, object]] = []
    print(f"\nTwo runs of one law, {worlds} worlds a row: any of 10 gaps, in per cent\n{'world':<40}{'passed once':>20}{'called new':>20}")
    for name, draw in STILL.items():
        if not re.search(only, name):
            continue
        passed, called = [], []
        for seed in range(worlds):
            rng = np.random.default_rng([seed, 5])
            made = []
            for run in ("before", "after"):
                of = [("audit", *measured(draw(k, rng), name=f"m{m}")) for m in range(MEASURES)]
                every = [g for a, m, t in of for g in gaps(a, m, t, seed=seed % SETS, permutations=PERMUTATIONS)]
                made.append((Run(run, 0, len(GRID), k, nothing, {}, holm(every)[0], (), ()), of))
            (before, first), (after, second) = made
            found = TextFindings("", GRID.name, (), len(GRID), BLOCKS, {}, (before, after), moved("after", first, second, seed=seed))
            called.append(bool(new_gaps(found, after)))
            passed.append(called[-1] or bool(unshown_gaps(found, after)))
        rows.append({"world": name, "k": k, "passed": rate(passed), "new": rate(called)})
        print(f"{name:<40}{shown(rows[-1]['passed']):>20}{shown(rows[-1]['new']):>20}", flush=True)
    return {"rows": rows}


def speed() -> None:
    rng = np.random.default_rng(0)
    for k in (4, 227):
        start = time.process_time()
        for masked in (False, True):
            for m in range(23):
                gaps("audit", *measured(null(k, rng), name=f"m{m}", masked=masked))
            for m in range(2):
                gaps("audit", *measured(profiles(k, rng), name=f"profile {m}", masked=masked))
        print(
            f"{440 * k:,} texts, 23 measures and 2 profiles, two axes, as written and masked: {time.process_time() - start:.1f} CPU seconds",
            flush=True,
        )


def keep(made: dict[str, dict[str, object]]) -> None:
    """Rows of the same world, draws and gap take the place of older ones."""
    kept = json.loads(OUT.read_text()) if OUT.exists() else {}
    if "calibration" in made:
        new, old = made["calibration"], kept.get("calibration", {"rows": [], "family": {}})
        rows = {(r["world"], r["k"], r["gap"]): r for r in (*old["rows"], *new["rows"])}  # type: ignore[misc]
        place = [w.name for w in WORLDS]
        made["calibration"] = {
            "rows": sorted((r for r in rows.values() if r["world"] in place), key=lambda r: (place.index(r["world"]), r["k"])),
            "family": new["family"] or old["family"],
        }
    if "news" in made:
        old = {r["world"]: r for r in kept.get("news", {"rows": []})["rows"]}  # type: ignore[union-attr]
        made["news"] = {"rows": [*({**old, **{r["world"]: r for r in made["news"]["rows"]}}).values()]}  # type: ignore[union-attr]
    if made:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(kept | made, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("calibration", "power", "news", "speed", "all"), default="all")
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--only", default="", help="worlds whose name this regular expression finds; the others keep what they had")
    asked = parser.parse_args()
    start = time.perf_counter()
    made: dict[str, dict[str, object]] = {}
    if asked.what in ("calibration", "all"):
        made["calibration"] = calibration(asked.worlds, asked.only)
    if asked.what in ("power", "all"):
        made["power"] = power(asked.worlds)
    if asked.what in ("news", "all"):
        made["news"] = news(asked.worlds, asked.only)
    if asked.what in ("speed", "all"):
        speed()
    keep(made)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

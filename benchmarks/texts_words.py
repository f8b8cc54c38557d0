"""Do audits of words and emotions raise false alarms, and do they find what is there? Simulated texts of the climate grid, 4 a cell.

A text has each word of a vocabulary with a chance of its cell: words differ in frequency, cells lean to topics of their own, draws of a cell share them.
Planted: the odds of ten words of work are e^effect for men against women, those of ten words of family the other way round; ages differ in nothing. Of
emotions two instruments see the same planted three, and each what it likes of the others. Printed: how often p is .05 at most.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from evenhand.texts.audits.lexical import Lexical
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.reading.emotions import shipped
from evenhand.texts.reading.instruments import Instruments
from evenhand.texts.reading.salience import Words
from evenhand.texts.table import TextTable

DRAWS, DEALS, TOPICS, WORDS = 4, 400, 8, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    grid = load_grid("climate")
    told: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for effect in (0.0, 0.3, 0.6):
            worlds = args.worlds if effect == 0 else max(50, args.worlds // 4)
            found = [tests(grid, effect, seed, Path(folder)) for seed in range(worlds)]
            told[f"effect {effect:g}"] = {
                "worlds": worlds,
                **{name: float(np.mean([f[name] <= 0.05 for f in found])) for name in found[0]},
            }
            for name, share in told[f"effect {effect:g}"].items():
                print(
                    f"effect {effect:g}  {name:60} {share:.3f}" if name != "worlds" else f"effect {effect:g}  {worlds} worlds", flush=True
                )
    if args.out:
        args.out.write_text(json.dumps(told) + "\n")


def tests(grid: Grid, effect: float, seed: int, cache: Path) -> dict[str, float]:
    """Every test's p in one world."""
    rng = np.random.default_rng([seed, int(100 * effect)])
    cell, draw = np.repeat(np.arange(len(grid)), DRAWS), np.tile(np.arange(DRAWS), len(grid))
    table = TextTable(grid, "simulated", ("",) * len(cell), cell, draw)
    audit = Lexical(deals=DEALS, seed=seed, cache=cache)
    words = simulated_words(grid, cell, effect, rng)
    found = [t for axis in grid.matched for t in audit.compared(axis, table, words)[0]]
    both = simulated_emotions(table, effect, rng)
    found += [both.named(axis)[0] for axis in grid.matched]
    return {f"{t.axis}: {t.name}": t.p for t in found}


def women(grid: Grid) -> np.ndarray:
    """-1 or 1 of every cell, [cells, 1]."""
    return np.array([[1.0 if grid.row(c)["gender"] == "Female" else -1.0] for c in range(len(grid))])


def simulated_words(grid: Grid, cell: np.ndarray, effect: float, rng: np.random.Generator) -> Words:
    (_, work), (_, family) = grid.matched[1].associations[0]
    others = [w for axis in grid.matched for pair in axis.associations for _, some in pair for w in some]
    names = tuple(dict.fromkeys([*work, *family, *others, *fillers()]))[:WORDS]
    m = len(names)
    logit = rng.normal(-3, 1, m) + rng.normal(0, 0.5, (len(grid), TOPICS)) @ rng.normal(0, 0.5, (TOPICS, m))
    logit[:, : len(work)] -= effect / 2 * women(grid)
    logit[:, len(work) : len(work) + len(family)] += effect / 2 * women(grid)
    there = rng.random((len(cell), m)) < 1 / (1 + np.exp(-logit[cell]))
    return Words(names, csr_matrix(there.astype(float)))


def fillers() -> list[str]:
    """Names of emotions, and made-up words from syllables."""
    syllables = ("ba", "do", "ki", "lu", "me", "no", "pa", "ri", "so", "tu", "ve", "za")
    return [*shipped().names, *(a + b + c for a in syllables for b in syllables for c in syllables)]


def simulated_emotions(table: TextTable, effect: float, rng: np.random.Generator) -> Instruments:
    """Effects are in standard deviations of a text's own logit, on three of the emotions."""
    names, n, cells = shipped().names, len(table), len(table.grid)
    shared = rng.normal(0, 0.5, (cells, len(names)))[table.cell] + rng.normal(0, 0.5, (n, len(names)))
    shared[:, :3] += effect / 2 * women(table.grid)[table.cell]
    own = [rng.normal(0, 0.5, (cells, len(names)))[table.cell] + rng.normal(0, 0.5, (n, len(names))) for _ in range(2)]
    first, second = (1 / (1 + np.exp(3 - shared - o)) for o in own)
    return Instruments(table, ("words", "vectors"), names, first, second)


if __name__ == "__main__":
    main()

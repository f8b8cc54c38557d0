"""Audits of words on many messages: seconds, CPU seconds and peak memory of persuasion bias and formality, as written, with group words hidden, and again.

    python benchmarks/tagging.py [MESSAGES] [PROCESSES] [--rule]

Messages of about 50 words in 3 sentences, no two sentences alike but by chance; one sentence names the group. --rule: by the rule that stands in for spaCy.
The cache is a folder of its own, empty at first.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from evenhand.engines.here import Processes
from evenhand.texts.audits.formality import Formality
from evenhand.texts.audits.persuasion import Persuasion
from evenhand.texts.grid import load_grid
from evenhand.texts.reading import spacy_tagger
from evenhand.texts.reading.agency import listed
from evenhand.texts.reading.tagger import tagged, tagger_name
from evenhand.texts.table import TextTable

NOUNS = (
    "town", "river", "farm", "school", "clinic", "family", "neighbor", "teacher", "winter", "summer", "harvest", "engine", "market", "factory", "valley", "doctor", "nurse", "vaccine", "turbine", "panel", "roof", "bill", "budget", "forest",
    "lake", "road", "bridge", "window", "kitchen", "garden", "worker", "builder", "voter", "council", "mayor", "county", "coast", "storm", "drought", "fire", "harbor", "ship", "train", "bus", "street", "home",
)  # fmt: skip
PLACES = ("in the hills", "along the coast", "on the plains", "near the lake", "across the county", "down the valley", "by the old mill", "at the edge of town")  # fmt: skip
FRAMES = (
    "As one of the {group} of this {a}, you know how much a {b} {place} can matter to your {c}.",
    "We will {verb} the {a} before the next {b}, and every {c} may {low} it.",
    "{Verb} your {a} today, and ask the {b} {place} about the {c}.",
)


def messages(count: int) -> TextTable:
    """As many to each cell of the climate grid, as near as can be."""
    grid = load_grid("climate")
    draw = np.random.default_rng(0)
    high, low = ([verb[0] for verb in listed(name)] for name in ("high_agency", "low_agency"))
    cell = np.sort(np.arange(count) % len(grid))
    groups = ("men", "women")
    texts = []
    for of in cell.tolist():
        nouns = [NOUNS[i] for i in draw.integers(len(NOUNS), size=4 * 5)]
        verbs, lows = draw.integers(len(high), size=4), draw.integers(len(low), size=4)
        places = draw.integers(len(PLACES), size=4)
        said = [
            frame.format(
                group=groups[of % 2], **dict(zip("abcde", nouns[5 * i :])), verb=high[verbs[i]], Verb=high[verbs[i]].capitalize(), low=low[lows[i]], place=PLACES[places[i]]
            )
            for i, frame in enumerate(FRAMES)
        ]  # fmt: skip
        texts.append(" ".join(said))
    return TextTable(grid, "made up", tuple(texts), cell, np.arange(count))


def main() -> None:
    given = [a for a in sys.argv[1:] if a != "--rule"]
    count, processes = [*map(int, given), *(100_000, 1)[len(given) :]]
    if "--rule" in sys.argv:
        spacy_tagger.installed = lambda: False
    table, engine = messages(count), None if processes == 1 else Processes(processes)
    print(
        f"{count:,} messages of {np.mean([len(t.split()) for t in table.texts[:1000]]):.0f} words; {tagger_name()}; processes: {processes}"
    )
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        hidden = table.hidden()
        for name, work in {
            "tags, as written": lambda: tagged(table.texts, cache, engine=engine),
            "tags, group words hidden": lambda: tagged(hidden.texts, cache, engine=engine),
            "persuasion, tags at hand": lambda: Persuasion(cache=cache).measure(table),
            "formality, tags at hand": lambda: Formality(cache=cache).measure(table),
        }.items():
            began, cpu = time.monotonic(), _cpu()
            work()
            seconds, used = time.monotonic() - began, _cpu() - cpu
            print(f"{name:28} {seconds:7.1f} s  {used:7.1f} CPU s  {count / used:8.0f} messages a CPU second", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 2**20
        print(
            f"peak memory {peak:.0f} MB" + (f", each process beside it {each:.0f} MB" if processes > 1 else "") + f"; cache {size:.0f} MB"
        )


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()

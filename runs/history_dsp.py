"""Histories in words on DSP: one rotation (academy the minority's), simulated users as in dsp.py, who like one of four domains.

Each response is cut after its first WORDS words, so that eight choices fit in front of one. A user's queries are all different, and test
queries are in nobody's training. 10 % of training, history and validation labels are flipped; test labels are clean.

Expected, written before any run: (1) K = 0 serves the minority worse than chance and the majority better, as one reward for all does (57 and
25 % under full texts); (2) with 2,000 pairs a history in words is read: at K = 8 a user's own is ahead of that of a user of another domain,
and of K = 0, beyond noise, and accuracy grows with K; (3) the minority gains more from K = 8 over K = 0 than the majority; (4) a late user
given as many choices is ahead of every K beyond noise, for a head needs not learn to read; (5) at K = 8 in words tuned is ahead of frozen.
Soft tokens were added when the late user's figures had been seen, and no others: (6) a user's own are ahead of those of a user of another
domain beyond noise, and behind a late user who is read from the same 16 choices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dsp import FLIPPED, responses
from history_study import Design, Study

import evenhand
from evenhand.core import Groups, Tuning

MINORITY, WORDS = 0, 32
SEEN, NEW = (126, 14), (30, 30)  # users of the majority and of the minority: 10 % as in dsp.py, and new ones evenly from both
DESIGN = Design(known=16, block=8, checked=6, asked=10, tuning=Tuning(steps=35, eval_every=35, batch_texts=128), max_tokens=1024)


def dsp(folder: Path, seed: int) -> Study:
    """folder: with the folder dsp."""
    text = np.array([" ".join(t.split()[:WORDS]) for t in responses(folder / "dsp")], dtype=object).reshape(-1, 4)
    usable = np.array([len(set(four)) == 4 and all(four) for four in text])
    order = np.random.default_rng([seed, MINORITY]).permutation(len(text))  # as in dsp.py
    parts = [part[usable[part]] for part in (order[:360], order[360:460], order[460:])]
    rng = np.random.default_rng([63, seed])
    majority = [d for d in range(4) if d != MINORITY]
    taste: list[int] = []
    seen: set[int] = set()
    for known, counts in ((True, SEEN), (False, NEW)):
        seen |= set(range(len(taste), len(taste) + sum(counts))) if known else set()
        taste += [majority[i % 3] for i in range(counts[0])] + [MINORITY] * counts[1]
    columns: dict[str, list[str]] = {"user": [], "prompt": [], "chosen": [], "rejected": []}
    for user, domain in enumerate(taste):
        for part, count, flipped in zip(parts, (DESIGN.known, DESIGN.checked, DESIGN.asked), (FLIPPED, FLIPPED, 0.0)):
            for query in rng.choice(part, count, replace=False).tolist():
                sides = [text[query, domain], text[query, (domain + rng.integers(1, 4)) % 4]]
                chosen, rejected = sides[::-1] if rng.random() < flipped else sides
                for name, value in zip(columns, (f"{user:03}", f"query {query}", chosen, rejected)):
                    columns[name].append(value)
    whole = evenhand.load(columns)
    own = {u: np.flatnonzero(whole.user == u) for u in range(len(whole.users))}
    groups = Groups(("majority", "minority"), (np.array(taste) == MINORITY).astype(np.int16), "the users who like the minority's domain")
    return Study.of(whole, own, seen, groups, seed, DESIGN, np.array(taste))

"""Histories in words on real voters of one Polis conversation (bowling-green, the only English one with enough people who voted much).

Statements of at most 90 characters. A pair is a statement agreed with over one disagreed with; no two pairs of a user share a statement, so
that each scored pair is on statements that the user never voted on in the history; others have. New users have their 16 pairs as history.
Groups: the lowest fifth of item support among all who voted that much, from history pairs alone; new users are drawn evenly from both.

Expected, written before any run: (1) with 500 training pairs no K beats another beyond noise, in no group, and log loss falls by under
.01 from K = 0 to 8; (2) a late user, tuned or not, is at least level with every K; (3) the minority gains more from a history than the
majority in either form. Found would be: a difference on test pairs whose 95 % interval over users excludes 0; the papers' claim (more
history helps, the minority more) asks it of K = 8 minus K = 0. That the model reads a history at all asks that K = 8 is better with a
user's own history than with another user's. If it is not, K was not learned, and nothing is said of what more training would give.

A first design asked about statements that nobody had voted on in training (the deal of voters.py, 696 training pairs, 24 steps). It was stopped
after K = 0 and the late user, of whose test pairs we had seen the figures: both were near chance, where no K can be told from another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from history_study import Design, Study
from voters import Vote, rows

import evenhand
from evenhand.core import PreferenceData, Tuning
from evenhand.workflows.grouping import Grouping, support_of

CONVERSATION, LONGEST = "american-assembly.bowling-green", 90
DESIGN = Design(known=16, block=8, checked=6, asked=6, tuning=Tuning(steps=16, eval_every=8, batch_texts=64))
SEEN, NEW = (26, 6), (15, 15)  # users of the majority and of the minority


def polis(folder: Path, seed: int) -> Study:
    """folder: with the folder polis."""
    whole = replace(evenhand.load(votes(folder / "polis"), source="votes"), judgements=None)
    rng = np.random.default_rng([61, seed])
    own = {u: rng.permutation(apart(whole, np.flatnonzero(whole.user == u), DESIGN.enough)) for u in range(len(whole.users))}
    own = {u: rows for u, rows in own.items() if len(rows) == DESIGN.enough}
    known = np.zeros(len(whole), bool)
    known[np.concatenate([rows[: DESIGN.known] for rows in own.values()])] = True
    groups = Grouping().groups(whole, support_of(whole, known))
    drawn, seen = {}, set()
    for group, (some, new) in enumerate(zip(SEEN, NEW)):
        users = [u for u in rng.permutation(list(own)).tolist() if groups.of_user[u] == group][: some + new]
        drawn |= {u: own[u] for u in users}
        seen |= set(users[:some])
    return Study.of(whole, drawn, seen, groups, seed, DESIGN)


def votes(folder: Path) -> dict[str, list[Any]]:
    """Votes on short statements by those who may have enough of either kind."""
    text = {r["comment_id"]: r["comment_body"] for r in rows(folder / "comments.csv.gz") if r["conversation"] == CONVERSATION}
    cast = [
        Vote(r["participant"], text[r["comment_id"]], int(r["vote"]), {})
        for r in rows(folder / "votes.csv.gz")
        if r["conversation"] == CONVERSATION and r["vote"] != "0" and 0 < len(text.get(r["comment_id"], "").strip()) <= LONGEST
    ]
    said = Counter((v.user, v.vote) for v in cast)
    cast = [v for v in cast if min(said[v.user, 1], said[v.user, -1]) >= DESIGN.enough]
    return {"user": [v.user for v in cast], "item": [v.item for v in cast], "vote": [v.vote for v in cast]}


def apart(data: PreferenceData, own: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of a user's pairs that share no statement."""
    used: set[int] = set()
    out: list[int] = []
    for row in own.tolist():
        sides = {int(data.chosen[row]), int(data.rejected[row])}
        if len(out) < count and not sides & used:
            used |= sides
            out.append(row)
    return np.array(out, np.int64)

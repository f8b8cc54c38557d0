"""A trial: what an entry reaches in one seed, and its file.

A trial file (safetensors) holds, for each user, accuracy and log-loss on validation and test pairs, the user's group and support in that
seed, and how many pairs there were; of each pair whether it was right, whose it is and what it is on; where pairs are in events (see
`core.Events`) also each user's mean in every event. It holds neither texts nor ids: users and texts are numbers of the data set.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from evenhand.core import Exclusions
from evenhand.writing import put

FORMAT = "evenhand trial 4"


@dataclass(frozen=True)
class Trial:
    """An entry's figures in one seed; arrays have one place a user of the data, nan or 0 where he or she has no such pair."""

    entry: str
    seed: int
    settings: Mapping[str, str]
    tried: int
    seconds: float
    groups: tuple[str, ...]
    rule: str  # how groups came about in this seed, a sentence
    split: str  # how pairs were dealt in this seed, a sentence
    exclusions: Exclusions
    # group, support, unseen; of each cell every metric, calibrated (log-loss), pairs, of each pair pair_user, pair_prompt, pair_chosen,
    # pair_rejected (numbers of texts), pair_share, pair_right, and where there are events those of `_rates`
    arrays: Mapping[str, np.ndarray]
    events: tuple[str, ...] = ()  # groups of pairs that constraints compare
    events_rule: str = ""  # how they came about, a sentence


@dataclass(frozen=True)
class Failure:
    """An entry that has no figures in a seed, and why."""

    entry: str
    seed: int
    why: str


def written(trial: Trial) -> bytes:
    """What its file holds."""
    about = {k: getattr(trial, k) for k in ("entry", "seed", "settings", "tried", "seconds", "groups", "rule", "split")}
    left = trial.exclusions
    about |= {"events": trial.events, "events_rule": trial.events_rule} if trial.events_rule else {}
    about["exclusions"] = {"rows_in": left.rows_in, "rows_used": left.rows_used, "reasons": dict(left.reasons), "unit": left.unit}
    return save(dict(trial.arrays), metadata={"trial": json.dumps(about)})


def keep(file: Path, content: bytes) -> None:
    """In one step: a reader, or a process that starts after a crash, never finds half of one. What lies there and is no trial (else it had
    been read, and nothing computed) steps aside under a free name: it may be anybody's.
    """
    if os.path.lexists(file):
        file.rename(next(p for n in itertools.count(1) if not os.path.lexists(p := file.with_suffix(f".unreadable-{n}"))))
    put(file, content)


def read(file: Path) -> Trial | None:
    """A trial from disk; None where there is none or the file is damaged (it is then made again)."""
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="np") as opened:
            about = json.loads(opened.metadata()["trial"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        return Trial(
            **{
                **about,
                "groups": tuple(about["groups"]),
                "events": tuple(about.get("events", ())),
                "exclusions": Exclusions(**about["exclusions"]),
                "arrays": arrays,
            }
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None

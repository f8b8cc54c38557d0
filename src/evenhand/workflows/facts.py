"""What every report says about itself: formulas, limits, versions, hashes and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from evenhand.core import Events, Exclusions, PreferenceData
from evenhand.data.batches import PairBatches
from evenhand.serve.reads import BLIND

FORMULAS: Mapping[str, str] = {
    "margin": "m = r(u, x, chosen) - r(u, x, rejected)",
    "accuracy": "mean over users of each user's share of pairs with m > 0; |m| < 1e-6 counts half",
    "weights": "a pair's weight acts inside its user's own mean only; every user counts once",
    "log-loss": "mean over users of -log sigma(m)",
    "ECE": "sum over 5 bins of confidence max(sigma(m), 1 - sigma(m)) of |mean over users of (correct - confidence)|;"
    " the same as 10 equal-width bins of sigma(m) with each pair in both orders",
    "interval": "95 %, clustered by user: bootstrap by user for 51 to 20,000 users, Student t (users - 1 df) for fewer or more;"
    " t, two-way by user and prompt (or response), where users share them; ECE: bootstrap by user, with the error that shared prompts add",
    "gap": "two groups: majority minus minority, signed (groups of other names: the one with more users minus the other);"
    " more groups: best-served minus worst-served",
    "requirement on the gap": "best-served minus worst-served group, whichever it is; the bounds of all requirements hold at once (max-t)",
    "minimum detectable effect": "2.8 standard errors",
    "shrunken accuracy": "posterior mean under a beta-binomial fitted to all users; with weights approximate: right answers are then the weighted"
    " mean times the number of pairs, to the nearest half",
}

LIMITS: tuple[str, ...] = (
    "Accuracy is agreement with recorded choices: it cannot exceed the annotators' own consistency, and says nothing about why they chose.",
    "Groups named minority and majority by preference support tell rare from common preferences, not demographics; groups by an attribute"
    " hold the users with that value, whatever they prefer.",
    "Pairs outside the data, and users unlike these, are not covered by any interval.",
    "Where users judged the same prompts or statements, these were drawn, too, but in one deal: what was trained on and what was asked may"
    " differ in another one, which several deals or seeds show.",
    "Constraints and certificates are clustered by user alone: their bounds hold for these prompts or statements; all other intervals count"
    " prompts or statements that users share as drawn, too.",
    "Low support is a rare taste only where the report says so; carelessness and tastes that nobody shares look alike.",
    "A PASS says that the required bounds hold for these users and prompts, not that every user is served alike.",
)


def limits(reads_prompts: bool) -> tuple[str, ...]:
    """What every report says of itself; of a model that is blind to prompts that, too."""
    return LIMITS if reads_prompts else (*LIMITS, BLIND)


def facts(data: PreferenceData | PairBatches, seed: int, more: Mapping[str, str]) -> dict[str, str]:
    """Facts of panel 10, in the order they are shown."""
    return {
        "data": data.source,
        "data sha256": data.fingerprint,
        "rows read": rows_read(data),
        **more,
        "seed": str(seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("evenhand", "torch", "numpy", "scipy")),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def model_hash(scorer: Any, feature_map: Any) -> str:
    """SHA-256 over what turns features of texts into rewards: the scorer's parameters and the feature map's arrays, by name."""
    arrays = {f"scorer.{n}": t.numpy() for n, t in scorer.state_dict().items()} | {
        f"features.{n}": a for n, a in feature_map.state()[0].items()
    }
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def split_digest(split: Any) -> str:
    """SHA-256 over where every pair went: the same file read in the same way and dealt by the same seed has the same."""
    digest = hashlib.sha256()
    for array in (split.part, split.held, split.history):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def data_digest(data: PreferenceData) -> str:
    """SHA-256 over all that fits and audits can see of the data: the same file read in another way has another."""
    digest = hashlib.sha256()
    columns = (data.user, data.prompt, data.chosen, data.rejected, data.weight, data.tie, data.split)
    for array in columns:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(b";")
    if data.events is not None:
        digest.update(events_digest(data.events).encode())
    if (rows := data.judgements) is not None:
        for array in (rows.user, rows.prompt, rows.block, rows.response, rows.score):
            digest.update(np.ascontiguousarray(array).tobytes() + b";")
    for name, values in (("users", data.users), ("texts", data.texts), *sorted(data.attributes.items())):
        digest.update(name.encode())
        for value in values:
            digest.update(hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def events_digest(events: Events) -> str:
    """SHA-256 over the events of all pairs: names, groups, orientation, matched sets, copies."""
    digest = hashlib.sha256()
    for name in events.names:
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    twin = b"-" if events.twin is None else np.ascontiguousarray(events.twin.astype(np.int64)).tobytes()
    copy = b"-" if events.copy is None else events.copy.astype(bool).tobytes()
    for part in (events.of_pair.astype(np.int16).tobytes(), events.first.astype(bool).tobytes(), twin, copy):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def rows_read(data: PreferenceData | PairBatches) -> str:
    """Where every row of the file went, one sentence."""
    read = data.exclusions
    reasons = "".join(f"; {count:,} excluded: {reason}" for reason, count in read.reasons.items())
    return f"{read.rows_in:,} rows in, {read.rows_used:,} read{reasons}; {len(data):,} pairs from them"


def joined(data: PreferenceData | PairBatches, split: Exclusions) -> Exclusions:
    """Exclusions on reading and on splitting in one count, where a row of the file is a pair; else of pairs alone (see `rows_read`)."""
    read = data.exclusions
    if read.rows_used != split.rows_in:
        return replace(split, unit="pairs")
    return Exclusions(read.rows_in, split.rows_used, {**read.reasons, **split.reasons}, read.by_group)

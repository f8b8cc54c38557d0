"""A reward model of the hub's format on checked pairs: rewards of both responses, what it did not read whole, and what a report says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenhand.audits.stability import check_stability
from evenhand.core import DataError, EvenhandError, PreferenceData
from evenhand.workflows.progress import Progress, silent

if TYPE_CHECKING:
    from evenhand.encode.hub_reward import HubRewardModel

NO_USER = "The model reads no user: a response to a prompt has one reward for everybody, so a rare taste can only be served as far as the common one shares it."
CHECKED = 16  # pairs whose rewards are computed in every arrangement: some 250 texts


@dataclass(frozen=True)
class PairRewards:
    """rewards float32[n, 2] of chosen and rejected. cut bool[n]: one of the two was not read whole. same bool[n]: two different texts that the
    model reads alike, since one of them was cut, or both.
    """

    rewards: np.ndarray
    cut: np.ndarray
    same: np.ndarray


def hub_model(given: HubRewardModel | str | Path) -> HubRewardModel:
    """The model as it is, or that of a folder."""
    from evenhand.encode.hub_reward import HubRewardModel

    if isinstance(given, HubRewardModel):
        return given
    if not isinstance(given, str | Path):
        expected = "a folder of a reward model of the hub's format, or a HubRewardModel"
        raise EvenhandError(f"Found {type(given).__name__} as reward_model. Expected: {expected}. To do: give one of these.")
    return HubRewardModel(given)


def pair_rewards(model: HubRewardModel, data: PreferenceData, cache: Path | None = None, progress: Progress = silent) -> PairRewards:
    """Every distinct (prompt, response) once, from the cache where it was scored before."""
    n = len(data)
    found = model.score(*_texts(data), lambda done, total: progress("score", done, total), cache)
    cut = found.cut.reshape(2, n)
    either = cut[0] | cut[1]
    return PairRewards(found.values.reshape(2, n).T, either, either & (found.same[:n] == found.same[n:]))


def facts_of(model: HubRewardModel, data: PreferenceData, seed: int) -> dict[str, str]:
    """What the report says of the model; whether rewards depend on what is scored beside them is tried on a sample of the pairs."""
    length = np.array([len(text) for text in data.texts], np.int64)
    longer = np.maximum(length[data.chosen], length[data.rejected])
    picked = np.random.default_rng([seed, 1113]).permutation(len(data))[:CHECKED]
    texts, _ = model.read(*_texts(data.take(picked)))

    def score(rows: np.ndarray) -> np.ndarray:
        sides = np.concatenate([rows, rows + len(picked)])
        return model.at_once([texts[i] for i in sides]).reshape(2, len(rows)).T

    return {
        "model": model.name,
        "model sha256": model.sha256,
        "reward model": model.about,
        "stability": check_stability(score, longer[picked], rows=CHECKED, seed=seed).sentence,
    }


def _texts(data: PreferenceData) -> tuple[list[str], list[str]]:
    """Prompts and responses of all chosen and then of all rejected; "" where there is no prompt."""
    if len(data) == 0 or (data.chosen < 0).any():
        found = "the data has no texts" if len(data) else "the data has no pairs"
        raise DataError(found, expected="chosen and rejected texts to score", remedy="bring a table with texts")
    prompts = [data.texts[p] if p >= 0 else "" for p in data.prompt.tolist()]
    return [*prompts, *prompts], [data.texts[r] for side in (data.chosen, data.rejected) for r in side.tolist()]

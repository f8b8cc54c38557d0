"""Rewards inside OpenRLHF: a .py file as `--reward.remote_url` (read in OpenRLHF 0.11.2), of two lines:

from evenhand.serve.openrlhf_reward import reward_func_of
reward_func = reward_func_of("out/model", "choices.jsonl")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evenhand.core import EvenhandError
from evenhand.serve.queries import label_of, response_of
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.rewarding import Blind, plain, rewarding

Label = str | int | Mapping[str, Any]


def reward_func_of(
    model: RewardModel | str | Path, histories: Any = None, *, blind: Blind = "error", unscored: float = 0.0
) -> Callable[[Sequence[str], Sequence[str], Sequence[Label]], dict[str, Any]]:
    """reward_func(queries, prompts, labels) → {"rewards": float32[n], "scores": the same, "extra_logs": {"known_user": float32[n], "scored": float32[n]}}.

    A query is a prompt with what the policy answered, special tokens included. A label (`--data.label_key`) says who asks: a user id, or an
    object, as such or in JSON, with "user" or "history", and where the trainer's template adds to what people asked (a system prompt of its
    own, tokens before it), "prompt", a text or messages: the model reads that one then.

    Args:
        model: Folder of a saved model, or a RewardModel.
        histories: What users chose before, as `evenhand.reward_function` takes it.
        blind: "allow" takes a model that reads responses alone.
        unscored: What a response without text is worth, since the trainer needs a number. Rewards have no zero of their own: choose one below
            what texts get, or a policy may learn to say nothing.

    Raises EvenhandError for a query that does not begin with its prompt (--data.max_len cuts prompts: raise it, or ask over HTTP with the texts
    themselves). OpenRLHF logs an error and goes on without a reward: look at its log.
    """
    found = rewarding(model, histories, blind)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Label]) -> dict[str, Any]:
        if not len(queries) == len(prompts) == len(labels):
            raise EvenhandError(
                f"Found {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels. Expected: equally many. To do: send one of each for a response."
            )
        said = [label_of(label, place) for place, label in enumerate(labels)]
        own = [plain(label.get("history")) or (found.history(label.get("user")) if found.histories is not None else None) for label in said]
        asked = [plain(label.get("prompt", prompt)) for label, prompt in zip(said, prompts)]
        answers = [response_of(query, prompt, place) for place, (query, prompt) in enumerate(zip(queries, prompts))]
        scored = found.rewards(own, asked, answers)
        rewards = torch.tensor([unscored if r is None else r for r in scored])
        logs = {"known_user": [float(bool(h)) for h in own], "scored": [float(r is not None) for r in scored]}
        return {"rewards": rewards, "scores": rewards, "extra_logs": {name: torch.tensor(values) for name, values in logs.items()}}

    return reward_func

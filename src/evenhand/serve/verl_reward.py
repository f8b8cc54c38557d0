"""Rewards inside verl: `reward.custom_reward_function` (read in verl 0.9.1).

reward.custom_reward_function.path=pkg://evenhand.serve.verl_reward
+reward.custom_reward_function.reward_kwargs.model=out/model
+reward.custom_reward_function.reward_kwargs.histories=choices.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError
from evenhand.serve.loaded import loaded
from evenhand.serve.rewarding import Blind, plain


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    model: str | Path,
    histories: str | Path | None = None,
    blind: Blind = "error",
    unscored: float = 0.0,
    encoder_at: str | Path | None = None,
    reward_router_address: Any = None,
    reward_model_tokenizer: Any = None,
) -> dict[str, float]:
    """The reward of one response, as verl asks for it: {"score": r, "scored": 0 or 1, "known_user": 0 or 1}; verl logs the last two.

    extra_info is the row's own: "prompt", a text or messages (not needed by a model that reads responses alone), and "user", an id of the
    histories, or "history", a list of (prompt, chosen, rejected). What is missing of a user gives the reward for everybody. data_source and
    ground_truth are not read. The model is loaded once a process.

    Args:
        model: Folder of a saved model.
        histories: A table of users' choices, as `evenhand.load` reads it.
        blind: "allow" takes a model that reads responses alone.
        unscored: What a response without text is worth, since verl needs a number. Rewards have no zero of their own: choose one below what
            texts get, or a policy may learn to say nothing.
        encoder_at: Folder where the language model or encoder that the model stands on lies now, if it was moved.

    Raises EvenhandError where a prompt or a user is needed and missing.
    """
    asked = extra_info or {}
    found = loaded(model, histories, blind, encoder_at)
    if found.states.model.reads_prompts and asked.get("prompt") is None:
        raise EvenhandError(
            'Found no "prompt" in extra_info. Expected: the prompt, as a text or messages, since the model reads it. '
            "To do: write it there where the data set is made."
        )
    history = plain(asked.get("history"))
    if not history and found.histories is not None:
        if "user" not in asked:
            raise EvenhandError('Found no "user" in extra_info. Expected: an id of the histories. To do: write it there.')
        history = found.history(asked["user"])
    reward = found.rewards([history or None], [plain(asked.get("prompt"))], [solution_str])[0]
    return {"score": unscored if reward is None else reward, "scored": float(reward is not None), "known_user": float(bool(history))}

"""What a model's rewards depend on beside the user, in words for reports, saved models and whoever loads one."""

from __future__ import annotations

BLIND = "The model reads the response alone: a response has the same reward under every prompt, so whether it answers the prompt does not count; a fit with --with-prompt reads both."
TOGETHER = "The model reads prompt and response together, as one text."


def what_is_read(with_prompt: bool, history_pairs: int = 0) -> str:
    told = (
        f" Before it stand the user's last choices, {history_pairs} at most: the reward knows the user from there alone."
        if history_pairs
        else ""
    )
    return (TOGETHER if with_prompt else BLIND) + told

"""What a model's rewards depend on beside the user, in words for reports, saved models and whoever loads one."""

from __future__ import annotations

BLIND = "The model reads the response alone: a response has the same reward under every prompt, so whether it answers the prompt does not count; a fit with --with-prompt reads both."
TOGETHER = "The model reads prompt and response together, as one text."
TOLD = " Before that stands what the user's last choices say, at most {}; from there alone it knows the user."


def what_is_read(with_prompt: bool, history_pairs: int = 0) -> str:
    return (TOGETHER if with_prompt else BLIND) + (TOLD.format(history_pairs) if history_pairs else "")

"""What is asked for: one item a text, with the messages that ask for it and a seed of its own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.core import EvenhandError, clip
from evenhand.texts.generators.prompts import Draft, Prompt, Prompts, key
from evenhand.texts.generators.wordings import Messages, worded

ALONE = "matched text missing"


@dataclass(frozen=True)
class Item:
    """One text that is asked for. messages: empty = it cannot be asked for."""

    number: int
    prompt: Prompt
    run: str
    source: str
    draw: int
    messages: Messages
    seed: int

    @property
    def columns(self) -> dict[str, Any]:
        return {**self.prompt.row, "prompt": self.prompt.text, "run": self.run, "source": self.source, "draw": self.draw}


def originals(asked: Prompts, wording: str, k: int, run: str, source: str, seed: int) -> list[Item]:
    """k texts of each prompt, put as `wording` says."""
    items: list[Item] = []
    for prompt in asked.rows:
        messages = worded(wording, {**prompt.row, "prompt": prompt.text})
        items += [Item(len(items) + d, prompt, run, source, d, messages, _seed(seed, prompt.key, source, d)) for d in range(k)]
    return items


def revisions(
    asked: Prompts, drafts: Sequence[Draft], wording: str, k: int, run: str | None, source: str, seed: int, matched: Sequence[str]
) -> list[Item]:
    """k revisions of each draft. run: None = that of the draft. matched: columns of the axis whose other value's text is shown; a draft
    without such a text cannot be asked for.
    """
    partner = _partners(asked, matched) if matched else {}
    texts = {(d.prompt, d.run, d.source, d.draw): d.text for d in drafts}
    items: list[Item] = []
    taken = Counter[tuple[int, str]]()
    for draft in drafts:
        prompt, own_run = asked.rows[draft.prompt], run or draft.run or draft.source or "texts"
        values = {**prompt.row, "prompt": prompt.text, "text": draft.text}
        messages: Messages = ()
        if not matched:
            messages = worded(wording, values)
        elif (other := texts.get((partner.get(draft.prompt, -1), draft.run, draft.source, draft.draw))) is not None:
            messages = worded(wording, {**values, "counterpart": other})
        for _ in range(k):
            draw = taken[draft.prompt, own_run]
            taken[draft.prompt, own_run] += 1
            items.append(Item(len(items), prompt, own_run, source, draw, messages, _seed(seed, prompt.key, draft.text, draw)))
    return items


def matched_axis(axis: str | None, asked: Prompts) -> tuple[str, ...]:
    """The columns of the axis whose other value is shown."""
    if axis is None and asked.matched:
        return asked.matched[0]
    for names in asked.matched or [(c,) for c in asked.columns]:
        if axis is not None and (axis in names or axis == " and ".join(names)):
            return names
    known = ", ".join(" and ".join(n) for n in asked.matched) or ", ".join(asked.columns)
    raise EvenhandError(
        f"Found {f'--axis {clip(axis)}' if axis else '--counterpart without --axis'}. Expected: a matched axis of the prompts: {clip(known, 200)}. "
        "To do: name one of these."
    )


def _partners(asked: Prompts, names: Sequence[str]) -> dict[int, int]:
    """Prompt → the one that differs in this axis alone, by its next value, the first after the last."""
    values = list(dict.fromkeys(tuple(p.row.get(n) for n in names) for p in asked.rows))
    after = dict(zip(values, [*values[1:], *values[:1]]))
    places = {p.key: i for i, p in enumerate(asked.rows)}
    found = {}
    for i, prompt in enumerate(asked.rows):
        other = {**prompt.row, **dict(zip(names, after[tuple(prompt.row.get(n) for n in names)]))}
        if (at := places.get(key(other), i)) != i:
            found[i] = at
    return found


def _seed(seed: int, *of: object) -> int:
    """0 … 2^31 - 1: of one text, whatever others are asked for."""
    digest = hashlib.sha256(json.dumps([seed, *of]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1

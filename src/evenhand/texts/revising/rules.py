"""A reviser that needs no model: rules of a few words each, which keep what a text says and change how it says it. Candidates of a
selection, beside or instead of those that a language model writes.

    revise("You will save money. Join us!", RULES["softer"])        You may save money. Join us!
    revise("You will save money. Join us!", RULES["suggesting"])    You will save money. You could join us!

A rule changes what it is sure of and leaves the rest: names, numbers, signs and quotations stay, and applying it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from evenhand.texts.revising.agency import bolder, calmer
from evenhand.texts.revising.appeals import inviting, suggesting, urging
from evenhand.texts.revising.modality import firmer, softer
from evenhand.texts.table import ORIGINAL, TextTable

MOST_GROWTH = 0.25  # of a text's words
SHORT = 12  # words of a text that may grow by more: one rule of four words
MOST_ROUNDS = 8


@dataclass(frozen=True)
class Rule:
    """change: text → text. moves, to: which part of the persuasion audit it changes, and in which direction; where it changes a text at
    all, it never moves that part the other way. about: what it does, for reports.
    """

    name: str
    change: Callable[[str], str]
    moves: Literal["modality", "imperatives", "agency"]
    to: Literal[-1, 1]
    about: str


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        r.name: r
        for r in (
            Rule("softer", softer, "modality", -1, "hedges in the place of words of certainty"),
            Rule("firmer", firmer, "modality", 1, "words of certainty in the place of hedges"),
            Rule("suggesting", suggesting, "imperatives", -1, "suggestions in the place of imperatives"),
            Rule("urging", urging, "imperatives", 1, "imperatives in the place of suggestions and invitations"),
            Rule("inviting", inviting, "imperatives", -1, "the first imperative as an invitation"),
            Rule("calmer", calmer, "agency", -1, "calm verbs in the place of forceful ones"),
            Rule("bolder", bolder, "agency", 1, "forceful verbs in the place of calm ones"),
        )
    }
)


def revise(text: str, rule: Rule) -> str:
    """The text as the rule rewords it; the text itself where it finds nothing that it is sure of, or would change its length by a quarter."""
    revised = text
    for _ in range(MOST_ROUNDS):  # a change can make room for another
        again = rule.change(revised)
        if again == revised:
            break
        revised = again
    else:
        return text
    words, now = len(text.split()), len(revised.split())
    return text if words > SHORT and abs(now - words) > MOST_GROWTH * words else revised


def reworded(table: TextTable, rules: Mapping[str, Rule] = RULES) -> TextTable:
    """Every text as source "original", and what each rule makes of it as that rule's source, with the draw of the text it came from. Texts
    that a rule leaves as they are, or makes equal to another of its cell, are left out.
    """
    texts, cell, draw, source = list(table.texts), table.cell.tolist(), table.draw.tolist(), [ORIGINAL] * len(table)
    there = {(c, t) for c, t in zip(cell, texts)}
    for name, rule in rules.items():
        for i, text in enumerate(table.texts):
            revised = revise(text, rule)
            if (cell[i], revised) not in there:
                there.add((cell[i], revised))
                texts.append(revised)
                cell.append(cell[i])
                draw.append(draw[i])
                source.append(name)
    ranks = {name: rank for rank, name in enumerate((ORIGINAL, *rules))}
    order = sorted(range(len(texts)), key=lambda i: (cell[i], ranks[source[i]], draw[i]))
    return replace(
        table, texts=tuple(texts[i] for i in order), cell=np.array([cell[i] for i in order], np.int64),
        draw=np.array([draw[i] for i in order], np.int64), source=tuple(source[i] for i in order),
    )  # fmt: skip

"""Formality: the F-score of Heylighen and Dewaele 2002 (Foundations of Science 7, 293-340), from parts of speech in per cent of all words:

    F = (nouns + adjectives + prepositions + articles - pronouns - verbs - adverbs - interjections + 100) / 2

A classifier of the user's own is a second instrument: what two instruments do not share, one alone does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.reading.classifier import Classifier, classifier_of
from evenhand.texts.reading.hits import hits
from evenhand.texts.reading.tagger import Tags, tagged, tagger_name
from evenhand.texts.table import TextTable

FORMAL = ("NOUN", "PROPN", "ADJ", "ADP")
INFORMAL = ("PRON", "VERB", "AUX", "ADV", "INTJ")
ARTICLES = hits((("a", "an", "the"),))
LABEL = "formal"


@dataclass(frozen=True)
class Formality:
    """classifier: a classification model of transformers, or its folder. label: which of its outputs is formality; default: the one named
    "formal", or the only one. cache: where what is found is kept; default: the user's cache.
    """

    classifier: Path | Classifier | None = None
    label: str | None = None
    cache: Path | None = None

    name = "formality"

    def measure(self, table: TextTable) -> Measured:
        """One measure, two with a classifier; nan for a text without a word. Raises EvenhandError for a folder that holds no such model."""
        score = np.array([f_score(t, text) for t, text in zip(tagged(table.texts, self.cache), table.texts)], np.float64)
        by_tags = Measure(
            "formality", score, "F = (noun + adjective + preposition + article - pronoun - verb - adverb - interjection + 100) / 2, in % of the words",
            objective=True, note=f"Parts of speech by {tagger_name()}.",
        )  # fmt: skip
        if self.classifier is None:
            return Measured((by_tags,), sentences=(f"Formality by one instrument, parts of speech by {tagger_name()}.",))
        model = classifier_of(self.classifier)
        column = formal(model.labels, self.label, model.name)
        chance = np.where(np.isnan(score), np.nan, model.probabilities(table.texts, folder=self.cache)[:, column])
        by_model = Measure(f"formality by {model.name}", chance, f"probability of '{model.labels[column]}'", scale=100.0, note=model.about)
        return Measured((by_tags, by_model), sentences=(agreement(score, chance, model.name),))


def f_score(tags: Tags, text: str) -> float:
    """0 to 100, nan without a word."""
    if not tags.tokens:
        return float("nan")
    formal = _count(tags.pos, FORMAL) + ARTICLES.count(text)[0]
    return (100 * (formal - _count(tags.pos, INFORMAL)) / tags.tokens + 100) / 2


def _count(pos: Mapping[str, int], kinds: tuple[str, ...]) -> int:
    return sum(pos.get(kind, 0) for kind in kinds)


def formal(labels: tuple[str, ...], asked: str | None, name: str) -> int:
    """Which of a model's outputs is formality. Raises EvenhandError where none is."""
    wanted = LABEL if asked is None else asked
    named = [i for i, label in enumerate(labels) if label.lower() == wanted.lower()]
    if len(named) == 1:
        return named[0]
    if asked is None and len(labels) == 1:
        return 0
    raise EvenhandError(
        f"{name} has the outputs {', '.join(labels[:12])}. Expected: one of them named '{wanted}'. To do: say which of them is formality (label)."
    )


def agreement(first: np.ndarray, second: np.ndarray, name: str) -> str:
    """How far two instruments agree, as a sentence: the correlation of their values over texts."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return f"Whether the F-score and {name} agree cannot be told from these texts."
    r = float(np.corrcoef(first[both], second[both])[0, 1])
    return f"The F-score and {name} correlate {r:.2f} over {int(both.sum()):,} texts: what only one of them shows is not shown."

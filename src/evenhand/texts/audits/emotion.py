"""Emotional framing: a profile over 27 emotions and neutral a text, by classifiers trained on GoEmotions (Demszky et al. 2020).

Two instruments or no claim on a named emotion: on messages the classifiers hardly agree, so that what one of them says of joy or fear is as
likely its own habit. The distance of whole profiles is compared by the words classifier; an emotion is named where both find it more in the
same group, by its own probability: a share of a profile falls already where another emotion's rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.reading.classifier import Classifier, classifier_of
from evenhand.texts.reading.emotions import shipped
from evenhand.texts.reading.instruments import Instruments, profile
from evenhand.texts.reading.vectors import SAMPLE, WHOLE, read_rows, some_read, text_vectors
from evenhand.texts.table import TextTable

NAN = float("nan")
PROFILE = "P(emotion | text) of each of {} emotions over their sum"


@dataclass(frozen=True)
class Emotion:
    """classifier: a model of transformers whose outputs are named as emotions, or its folder, as second instrument in the place of MiniLM's.
    whole, sample: how many texts the second one reads (`vectors.read_rows`); sample 0: there is none. cache: where vectors are kept;
    default: the user's.
    """

    classifier: Path | Classifier | None = None
    whole: int = WHOLE
    sample: int = SAMPLE
    cache: Path | None = None

    name = "emotion"

    def measure(self, table: TextTable) -> Measured:
        """A profile a text by words, another by the second instrument (nan where it did not read). Raises EvenhandError for a folder of no
        such model.
        """
        ours = shipped()
        found, known = ours.by_words(table.texts)
        f1 = ours.about["classifiers"]["words"]["macro_f1"]
        note = f"Words classifier trained on GoEmotions, test macro-F1 {f1:.2f}. No emotion is named by it alone."
        first = Measure("emotion", profile(found), PROFILE.format(len(ours.names)), objective=True, note=note, parts=ours.names)
        sentences = [_unknown(known)] if not known.all() else []
        if not self.sample:
            return Measured((first,), sentences=(*sentences, "One instrument reads emotions: no single emotion is named."))
        rows = read_rows(table, self.whole, self.sample)
        name, parts, note, read = self._second(tuple(t for t, r in zip(table.texts, rows) if r))
        values = np.full((len(table), len(parts)), NAN)
        values[rows] = profile(read)
        second = Measure(f"emotion by {name}", values, PROFILE.format(len(parts)), note=note, parts=parts)
        pair = Instruments(table.take(rows), ("words", name), *_shared(ours.names, found[rows], parts, read))
        named = [pair.named(axis) for axis in table.grid.matched]
        sentences += [pair.agreement(), *(s for _, _, s in named if s), *filter(None, [some_read(rows)])]
        return Measured(
            (first, second), tuple(t for t, _, _ in named), (pair.correlations(), *(t for _, t, _ in named if t.rows)), tuple(sentences)
        )

    def _second(self, texts: tuple[str, ...]) -> tuple[str, tuple[str, ...], str, np.ndarray]:
        """(its name, its emotions, what it is, probabilities float64[n, emotions])."""
        ours = shipped()
        if self.classifier is None:
            f1 = ours.about["classifiers"]["vectors"]["macro_f1"]
            note = f"MiniLM's vectors and a logistic classifier trained on GoEmotions, test macro-F1 {f1:.2f}."
            return "MiniLM", ours.names, note, ours.by_vectors(text_vectors(texts, self.cache))
        model = classifier_of(self.classifier)
        return model.name, emotions(model.labels, model.name), model.about, model.probabilities(texts, folder=self.cache)


def emotions(labels: Sequence[str], name: str) -> tuple[str, ...]:
    """A model's outputs in lower case. Raises EvenhandError where under two of them are emotions that the words classifier has too."""
    parts, ours = tuple(label.lower() for label in labels), shipped().names
    if len(set(parts) & set(ours)) < 2:
        raise EvenhandError(
            f"{name} has the outputs {', '.join(parts[:12])}. Expected: two or more of {', '.join(ours)}. To do: name a classifier of emotions."
        )
    return parts


def _unknown(known: np.ndarray) -> str:
    return f"{int((~known).sum()):,} of {len(known):,} texts have no word that the words classifier knows; their profile is that of an empty text."


def _shared(
    names: Sequence[str], one: np.ndarray, others: Sequence[str], other: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The emotions that both have, and both instruments' probabilities of them, float64[n, emotions]; of a text that the other cannot read,
    its mean.
    """
    both = tuple(n for n in names if n in others)
    one, other = one[:, [names.index(n) for n in both]], other[:, [others.index(n) for n in both]]
    unread = np.isnan(other).any(axis=1)
    if unread.any():
        other = np.where(unread[:, None], other[~unread].mean(axis=0) if not unread.all() else 0.0, other)
    return both, one, other

"""Personalisation fidelity: does a text speak to the audience it was written for?

Two readings of MiniLM's vectors - is the audience identified, is the text nearer to its context's description than to that of its
counterfactuals - and, with a natural-language-inference model of the user's own, whether the text entails its description. Names of groups
("women") drive all of them: the same texts with such words hidden say how much is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenhand.texts.audit import Measure, Measured
from evenhand.texts.reading.classifier import Classifier, classifier_of
from evenhand.texts.reading.contexts import said
from evenhand.texts.reading.contrasts import stratum_means
from evenhand.texts.reading.identified import folds, identified
from evenhand.texts.reading.inference import entailed
from evenhand.texts.reading.vectors import SAMPLE, WHOLE, read_rows, some_read, text_vectors
from evenhand.texts.table import TextTable

SHARED = "One regression judges all texts of a theme: of its gaps between groups, small ones are not to be believed."


@dataclass(frozen=True)
class Fidelity:
    """nli: a model of transformers for natural language inference, or its folder; its reading is then the fidelity that should not fall. whole,
    sample: how many texts are read (`vectors.read_rows`). cache: where vectors are kept; default: the user's.
    """

    nli: Path | Classifier | None = None
    whole: int = WHOLE
    sample: int = SAMPLE
    cache: Path | None = None

    name = "fidelity"

    def measure(self, table: TextTable) -> Measured:
        """Measures are nan for texts that are not read. Raises EvenhandError for a folder of no such model."""
        rows = read_rows(table, self.whole, self.sample)
        read = table.take(rows)
        vectors = text_vectors(read.texts, self.cache)
        measures = [
            Measure(
                "fidelity", _spread(self._contrast(read, vectors), rows),
                "cosine of text and own description less the mean cosine with those of all other values, mean over placeholders (MiniLM); of a matched axis, cosines "
                "less their mean over the matched texts",
                fidelity=self.nli is None, note=f"Descriptions such as '{said(table.grid)[-1].sentences[-1]}'",
            )
        ]  # fmt: skip
        sentences = [some_read(rows)] if not rows.all() else []
        fold = folds(read)
        if fold.max(initial=0) > 0:
            held = next(a for a in table.grid.axes if not a.matched).name
            for axis in table.grid.matched:
                formula = (
                    f"share of the other values of {axis.name} that the text is told from: among matched texts of both it is in the half that leans to "
                    f"its own, by ridge regression on MiniLM's vectors fitted on texts of other values of {held}; chance 50 %"
                )
                measures.append(
                    Measure(
                        f"{axis.name} identified",
                        _spread(identified(read, vectors, axis, fold), rows),
                        formula,
                        scale=100.0,
                        compared=False,
                        note=SHARED,
                    )
                )
        else:
            sentences.append("Whether texts show whom they are for is not tested: there is no second value of an axis to hold out.")
        if self.nli is not None:
            measures.append(self._entailed(read, rows, self.nli))
        return Measured(tuple(measures), sentences=tuple(sentences))

    def _contrast(self, table: TextTable, vectors: np.ndarray) -> np.ndarray:
        """float64[n]. Of a matched axis, cosines are taken less their mean over the matched texts: MiniLM holds any text nearer to some
        groups than to others, and identical texts would seem to serve these better. The mean over whole sets of matched texts stays what it
        is.
        """
        wide = vectors.astype(np.float64)
        parts = []
        for one in said(table.grid):
            near = wide @ text_vectors(one.sentences, self.cache).astype(np.float64).T
            if one.axis.matched:
                near -= stratum_means(table, one.axis, near)
            own = near[np.arange(len(near)), one.own[table.cell]]
            parts.append(own - (near.sum(axis=1) - own) / (len(one.sentences) - 1))
        return np.asarray(np.mean(parts, axis=0))

    def _entailed(self, table: TextTable, rows: np.ndarray, nli: Path | Classifier) -> Measure:
        model = classifier_of(nli)
        chance = [
            entailed(model, table.texts, tuple(one.sentences[i] for i in one.own[table.cell]), self.cache) for one in said(table.grid)
        ]
        formula = "mean P(entailment) of its descriptions by the model, one a placeholder"
        return Measure(
            f"fidelity by {model.name}", _spread(np.mean(chance, axis=0), rows), formula, scale=100.0, fidelity=True, note=model.about
        )


def _spread(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values of the texts that were read, nan elsewhere."""
    out = np.full(len(rows), np.nan)
    out[rows] = values
    return out

"""Whether a candidate still says what the original says: similarity of their vectors, stance and, by a model of natural language inference
where the user has one, entailment.

The first two are rough. Cosines of MiniLM vectors, measured on persuasive messages of 23 language models on ten policies (first sentences, 40 words and more)
and on the sample of this package (4 themes x 4 regions, drafts written apart from each other):

    a text and its revision by rules           .91 to 1.00; with "Act now!" before it 99 % over .87
    two drafts for one audience, sample        median .62, 5 % under .45, 12 % under .5, 42 % under .6
    two models on one policy                   median .70; 25 % under .5, much of which is nonsense of small models
    another theme and another region, sample   median .31, 8 % over .45, 3 % over .5
    another policy                             median .18, 3 % over .4, .3 % over .5

So SIMILARITY .5 lets all revisions and most drafts pass, and stops a text on something else. It does not see a "not".

Entailment does: the original has to entail the candidate, so that nothing is promised to anybody that the original did not promise. The other way
round is not asked. A candidate that is to entail its original may not say less of it either, not even "may" for "will": of two matched texts that differ
in how certain they are none could be made like the other, which is what candidates are for. How much less may be said is similarity's question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenhand.texts.selecting.candidates import Candidates

SIMILARITY = 0.5
ENTAILED = 0.5  # P(entailment) from which a text is entailed: more likely so than not, whatever other outputs a model has
FAR, TURNED, UNENTAILED = "meaning", "stance", "entailment"


@dataclass(frozen=True)
class Meaning:
    """similarity float64[cells, candidates]: cosine with the cell's original, nan where there is no candidate. far: it is under the threshold.
    turned: the original lies nearer to its own stance than to another one, the candidate does not. Both bool[cells, candidates].
    """

    similarity: np.ndarray
    far: np.ndarray
    turned: np.ndarray


def meaning(vectors: np.ndarray, of: Candidates, similarity: float = SIMILARITY) -> Meaning:
    """vectors float[n, d] of the table's texts, of any length. See `stance_contrast` for what turned means."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    placed = of.of(unit)
    close = np.einsum("ncd,nd->nc", placed, placed[:, 0])
    contrast = stance_contrast(unit, of)
    turned = (contrast < 0) & (contrast[:, :1] >= 0) & of.there
    turned[:, 0] = False
    return Meaning(close, of.there & (close < similarity), turned)


def unentailed(chance: np.ndarray, of: Candidates) -> np.ndarray:
    """bool[cells, candidates]: candidates that their cell's original does not entail. chance float64[n]: P(entailment) of each of the table's
    texts by the original of its cell, nan where the model cannot read them.
    """
    failed = of.there & ~(of.of(chance) >= ENTAILED)
    failed[:, 0] = False
    return np.asarray(failed)


def stance_contrast(unit: np.ndarray, of: Candidates) -> np.ndarray:
    """float64[cells, candidates]: cosine with the mean of the originals of the cell's own stance, those of its own block left out, less the
    highest one with the mean of another stance; nan where there are not two stances.

    A stance is the first name of an axis that is not matched and whose values go together, as stance and theme do: texts for one energy that
    turn into texts for another one were seen, and similarity alone does not stop them, as both are about energy.
    """
    grid = of.table.grid
    out = np.full(of.row.shape, np.nan)
    axis = next((i for i, a in enumerate(grid.axes) if not a.matched and len(a.names) > 1), None)
    if axis is None or len({v[0] for v in grid.axes[axis].values}) < 2:
        return out
    values = list(dict.fromkeys(v[0] for v in grid.axes[axis].values))
    stance = np.array([values.index(v[0]) for v in grid.axes[axis].values])[grid.cells[:, axis]]
    block = np.arange(len(grid)) // grid.size
    placed = of.of(unit)
    originals = np.nan_to_num(placed[:, 0])
    sums = np.stack([originals[stance == s].sum(axis=0) for s in range(len(values))])
    own_block = np.zeros((grid.blocks, unit.shape[1]))
    np.add.at(own_block, block, originals)
    for s in range(len(values)):
        cells = np.flatnonzero(stance == s)
        own = _cosine(placed[cells], (sums[s] - own_block[block[cells]])[:, None])
        others = [_cosine(placed[cells], sums[o]) for o in range(len(values)) if o != s]
        out[cells] = own - np.max(others, axis=0)
    return out


def _cosine(unit: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """nan where the direction is none."""
    length = np.linalg.norm(direction, axis=-1)
    return np.asarray((unit * direction).sum(axis=-1) / np.where(length > 1e-12, length, np.nan))

"""Natural language inference by a classifier of the user's: does one text say what another one says?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError
from evenhand.encode.encoder import Progress
from evenhand.texts.reading.classifier import Classifier


def entailed(
    model: Classifier, premises: Sequence[str], hypotheses: Sequence[str], cache: Path | None, progress: Progress | None = None
) -> np.ndarray:
    """P(premises[i] entails hypotheses[i]), float64[n] in [0, 1]; nan where both are no token to the model. Raises EvenhandError for a model
    without an output for entailment.
    """
    column = entailment(model.labels, model.name)
    return model.probabilities(premises, hypotheses, cache, progress)[:, column]


def entailment(labels: Sequence[str], name: str) -> int:
    """Which of the outputs of a model it is. Raises EvenhandError where none, or more than one, is named so."""
    found = [i for i, label in enumerate(labels) if label.lower().startswith("entail")]
    if len(found) == 1:
        return found[0]
    raise EvenhandError(
        f"{name} has the outputs {', '.join(labels[:12])}. Expected: a model of natural language inference, one output named entailment. "
        "To do: name such a model, or write the names into id2label of its config.json."
    )

"""Classifiers by folder: probabilities are those that transformers gives a text alone; pairs, several labels, odd texts, folders that hold none."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_classifiers import tiny_classifier

from evenhand.core import EvenhandError
from evenhand.texts.reading import classifier
from evenhand.texts.reading.classifier import Classifier

pytestmark = pytest.mark.lm

LABELS = ("entailment", "neutral", "contradiction")
TEXTS = [
    "The short answer.",
    "Which of the two would you rather read, the short one or the long one?",
    "No: it does not say what to do.",
    "Ask!",
] * 2
SECONDS = ["The answer is short.", "Read.", "It says what to do, and the others ask.", "No."] * 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("classifiers")
    return {
        **{kind: tiny_classifier(place / kind, LABELS, kind=kind) for kind in ("bert", "llama", "qwen3")},
        "several": tiny_classifier(place / "several", ("joy", "fear"), problem="multi_label_classification"),
        "one": tiny_classifier(place / "one", ("formal",)),
    }


def alone(folder: Path, texts: Sequence[str], seconds: Sequence[str] | None = None) -> np.ndarray:
    """Logits of each text by itself, by transformers and nothing else."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if model.config.pad_token_id is None:
        model.config.pad_token_id = -1
    rows = []
    with torch.inference_mode():
        for i, text in enumerate(texts):
            given = tokenizer(text, seconds[i] if seconds else None, return_tensors="pt")
            if model.config.model_type != "bert":
                given.pop("token_type_ids", None)
            rows.append(model(**given).logits[0].numpy())
    return np.array(rows, np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["bert", "llama", "qwen3"])
@pytest.mark.parametrize("pairs", [False, True])
def test_probabilities_are_those_of_the_text_alone(
    kind: str, pairs: bool, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are read at once, and made tokens together."""
    seconds = SECONDS if pairs else None
    wanted = softmax(alone(models[kind], TEXTS, seconds))
    for budget, together in ((1, 3), (60, 1), (4096, classifier.TOGETHER)):
        monkeypatch.setattr(classifier, "TOGETHER", together)
        found = Classifier(models[kind], batch_tokens=budget).probabilities(TEXTS, seconds, tmp_path / f"{budget}")
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted, axis=0).max() > 0.05  # texts differ
    assert Classifier(models[kind]).labels == LABELS


def test_which_text_a_token_is_of_matters(models: dict[str, Path], tmp_path: Path) -> None:
    model = Classifier(models["bert"])
    one = model.probabilities(["The answer."], ["Ask."], tmp_path)
    other = model.probabilities(["Ask."], ["The answer."], tmp_path)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - softmax(alone(models["bert"], ["The answer. Ask."]))).max() > 1e-4


def test_several_labels_a_text_and_a_single_output(models: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("several", "one"):
        model = Classifier(models[kind])
        np.testing.assert_allclose(model.probabilities(TEXTS, folder=tmp_path), 1 / (1 + np.exp(-alone(models[kind], TEXTS))), atol=1e-5)
        assert "sigmoid" in model.about
    assert "softmax" in Classifier(models["bert"]).about


def test_each_distinct_text_is_read_once_ever(models: dict[str, Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = Classifier(models["bert"]).probabilities(TEXTS, folder=tmp_path)
    again = Classifier(models["bert"]).probabilities([*TEXTS, "New."], folder=tmp_path, progress=lambda *at: told.append(at))
    assert told[0] == (4, 5)
    np.testing.assert_array_equal(again[: len(TEXTS)], first)
    np.testing.assert_array_equal(first[:4], first[4:])
    Classifier(models["several"]).probabilities(TEXTS, folder=tmp_path, progress=lambda *at: told.append(at))
    assert (0, 4) in told  # another model's are not taken


def test_odd_texts(models: dict[str, Path], tmp_path: Path) -> None:
    odd = ["", "🌱🔥", "انضم إلينا اليوم", "x \ud800 y", "word " * 4000, "a" * 20_000, "nul \0 inside", "\u202e turned"]
    for kind in ("bert", "llama"):
        model = Classifier(models[kind])
        assert np.isfinite(model.probabilities(odd, folder=tmp_path)).all()
        assert np.isfinite(model.probabilities(odd, odd[::-1], tmp_path)).all()
    cut = Classifier(models["bert"], max_tokens=10).probabilities(["the answer " * 50, "the answer " * 4], folder=tmp_path)
    np.testing.assert_array_equal(cut[0], cut[1])
    assert Classifier(models["bert"]).probabilities([], folder=tmp_path).shape == (0, 3)


def test_a_text_of_no_token_has_no_value(models: dict[str, Path], tmp_path: Path) -> None:
    found = Classifier(models["qwen3"]).probabilities(["", "Ask!"], folder=tmp_path)  # it begins with no token of its own
    np.testing.assert_array_equal(np.isnan(found), [[True] * 3, [False] * 3])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shutil.rmtree, "Found no folder broken"),
        (lambda f: (f / "model.safetensors").unlink(), "Found no weights in broken"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "weights of broken that are a pickle"),
        (lambda f: (f / "config.json").write_text("{"), "the model broken, which cannot be loaded"),
        (lambda f: tiny_classifier(f, ("much",), problem="regression"), "broken, whose outputs are numbers and no probabilities"),
    ],
)
def test_folders_that_are_no_classifier(change: Callable[[Path], object], said: str, models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(models["bert"], folder)
    change(folder)
    with pytest.raises(EvenhandError, match=said) as error:
        Classifier(folder).probabilities(["Ask!"], folder=tmp_path / "cache")
    assert (
        "of a classifier" in str(error.value) or "To do: convert them" in str(error.value) or "To do: name the folder" in str(error.value)
    )
    assert str(tmp_path) not in str(error.value)


def test_what_does_not_go_together(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="Found 2 texts and 1 beside them"):
        Classifier(models["bert"]).probabilities(["a", "b"], ["c"], tmp_path)
    with pytest.raises(EvenhandError, match="max_tokens is 0"):
        Classifier(models["bert"], max_tokens=0).probabilities(["a"], folder=tmp_path)

"""The sample of texts: what is planted is there, by counts worked out here; what is not planted is not; every text is usable and names its audience."""

from __future__ import annotations

import importlib.util
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from evenhand.texts.checks import checked
from evenhand.texts.sample_texts import sample
from evenhand.texts.table import any_of, naming

CERTAIN = {"will", "must", "shall", "definitely", "certainly"}
HEDGED = {"might", "may", "could", "can", "perhaps", "possibly"}
IMPERATIVE_STARTS = {
    "book", "call", "sign", "ask", "choose", "visit", "send", "pick", "put", "take", "bring", "keep", "stop", "save", "compare", "show", "make", "feel", "get",
    "try", "tell", "open", "check", "change", "give", "join", "start", "share",
}  # fmt: skip
T_15 = 2.131  # two-sided 5 % of Student's t, 15 degrees of freedom


@pytest.fixture(scope="module")
def texts():
    return sample()[1]


@pytest.fixture(scope="module")
def written():
    place = Path(__file__).parents[1] / "runs" / "sample_texts.py"
    spec = importlib.util.spec_from_file_location("sample_texts_study", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(text):
    return re.findall(r"[a-z0-9'’-]+", text.lower())


def modality(texts):
    counts = np.array([[sum(w in s for w in words(t)) for s in (CERTAIN, HEDGED)] for t in texts.texts], float)
    return (counts[:, 0] - counts[:, 1]) / counts.sum(1)


def by_gender(texts, values):
    """float64[blocks]: men less women."""
    cells = texts.arranged(values)
    return (cells[:, :, 0] - cells[:, :, 1]).mean((1, 2))


def by_age(texts, values):
    """float64[blocks]: the oldest less the youngest."""
    cells = texts.arranged(values)
    return (cells[:, 3] - cells[:, 0]).mean((1, 2))


def t(gaps):
    return gaps.mean() / (gaps.std(ddof=1) / np.sqrt(len(gaps)))


def test_shape(texts):
    grid = texts.grid
    assert len(grid) == 128
    assert [len(a) for a in grid.matched] == [4, 2]
    assert texts.draws == 4
    assert len(texts) == 512 == len(set(texts.texts))
    assert set(texts.source) == {"original"}
    assert (np.bincount(texts.cell) == 4).all()


def test_it_is_small():
    folder = files("evenhand.texts").joinpath("sample")
    assert sum(len(folder.joinpath(n).read_bytes()) for n in ("messages.jsonl", "grid.toml", "README.md")) <= 250_000


def test_every_text_is_usable_and_of_its_length(texts):
    found = checked(texts)
    assert found.refused == {}
    assert all(30 <= len(text.split()) <= 55 for text in texts.texts)


def test_every_text_names_its_theme_region_age_and_gender_and_no_other_gender_or_region(texts):
    for at, axis in enumerate(texts.grid.axes):
        patterns = [any_of(list(w)) for w in axis.words]
        for text, cell in zip(texts.texts, texts.cell):
            own = texts.grid.cells[cell, at]
            assert patterns[own].search(text), (axis.name, text)
            if axis.name in ("gender", "region"):
                assert not any(p.search(text) for i, p in enumerate(patterns) if i != own), text
    assert not any(naming(texts.grid).search(text) for text in texts.hidden().texts)


def test_sentences_are_many(texts):
    theme = texts.grid.cells[texts.cell, 0]
    for value in range(4):
        said = {s for i in np.flatnonzero(theme == value) for s in re.split(r"(?<=[.!?]) ", texts.texts[i])}
        assert len(said) >= 40


def test_promises_are_more_certain_for_men_and_unevenly_so(texts):
    values = modality(texts)
    gaps = by_gender(texts, values)
    assert 0.5 <= gaps.mean() / values.std() <= 0.8
    assert t(gaps) > 3
    assert gaps.min() < 0.2 < 0.8 < gaps.max()  # themes and regions differ
    assert abs(t(by_age(texts, values))) < T_15


def test_imperatives_are_fewer_the_older_the_readers(texts):
    starts = [[words(s)[0] for s in re.split(r"(?<=[.!?]) ", text)[1:]] for text in texts.texts]
    imperatives = np.array([sum(w in IMPERATIVE_STARTS for w in first) for first in starts], float)
    means = texts.arranged(imperatives).mean((0, 2, 3))
    assert (np.diff(means) < 0).all()
    assert by_age(texts, imperatives).mean() / imperatives.std() < -0.5
    assert t(by_age(texts, imperatives)) < -4
    assert abs(t(by_gender(texts, imperatives))) < T_15


def test_closings_are_a_little_warmer_for_the_old(texts):
    warm = any_of(["delighted", "joy", "thank", "happy", "kind", "love"])
    values = np.array([bool(warm.search(text)) for text in texts.texts], float)
    assert 0.1 < by_age(texts, values).mean() / values.std() < 0.5
    assert abs(t(by_gender(texts, values))) < T_15


@pytest.mark.parametrize(
    "count",
    [
        lambda text: len(words(text)),
        lambda text: np.mean([len(w) for w in words(text)]),
        lambda text: np.mean([len(w) > 6 for w in words(text)]),
        lambda text: sum(w in ("the", "a", "an", "of", "in", "for", "with") for w in words(text)),
        lambda text: sum(w in ("you", "your", "we", "us", "our") for w in words(text)),
        lambda text: text.count(",") + text.count("'"),
    ],
    ids=["words", "length of words", "long words", "articles and prepositions", "pronouns", "signs"],
)
def test_all_else_is_alike_for_men_and_women(texts, count):
    values = np.array([count(text) for text in texts.hidden().texts], float)
    gaps = by_gender(texts, values)
    assert abs(t(gaps)) < T_15
    assert abs(gaps.mean() / values.std()) < 0.15


def test_the_files_are_what_the_script_writes(texts, written):
    rows = list(written.rows(texts.grid))
    assert [r["text"] for r in rows] == list(texts.texts)
    page = files("evenhand.texts").joinpath("sample/README.md").read_text(encoding="utf-8")
    assert written.readme(texts) == page


def test_figures_in_the_text_are_said_to_be_invented():
    assert "invented" in files("evenhand.texts").joinpath("sample/README.md").read_text(encoding="utf-8")

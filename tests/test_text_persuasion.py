"""Persuasion bias and formality: values worked out by hand, one pass against as many regexes, lists of verbs, classifiers of the user's own."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_classifiers import tiny_classifier

from evenhand.core import DataError, EvenhandError
from evenhand.texts.audit import Measured
from evenhand.texts.audits.formality import Formality, agreement, f_score
from evenhand.texts.audits.persuasion import CERTAIN, HEDGES, Persuasion
from evenhand.texts.grid import Axis, Grid
from evenhand.texts.reading import spacy_tagger
from evenhand.texts.reading.agency import listed, own_agency, read_agency
from evenhand.texts.reading.hits import hits
from evenhand.texts.reading.tagger import tagged
from evenhand.texts.table import TextTable

GRID = Grid(
    "small", "{topic} for {gender}",
    (Axis(("topic",), (("sun",), ("wind",), ("rain",))), Axis(("gender",), (("Male",), ("Female",)), matched=True, words=(("men",), ("women",)))),
)  # fmt: skip


def table(texts: list[str]) -> TextTable:
    return TextTable(GRID, "run", tuple(texts), np.zeros(len(texts), np.int64), np.arange(len(texts)))


def by_name(found: Measured) -> dict[str, np.ndarray]:
    return {m.name: m.values for m in found.measures}


def test_by_hand(tmp_path: Path) -> None:
    texts = [
        "Join us and build the future. We will win; they may wait.",  # H build, win; L wait. C will; E may. I join, build
        "You must act. You can wait.",  # H act; L wait. C must; E can. I none
        "Perhaps it is a sunny day.",  # no verb of either list; E perhaps
        "It is a sunny day.",
        "CERTAINLY! Certainly, they shall lead, leads, led and leading; leader and leadership never.",  # H 4 forms of lead; C certainly x 2, shall
    ]
    found = by_name(Persuasion(cache=tmp_path).measure(table(texts)))
    np.testing.assert_allclose(found["agency"], [1 / 3, 0, np.nan, np.nan, 1])
    np.testing.assert_allclose(found["modality"], [0, 0, -1, np.nan, 1])
    np.testing.assert_array_equal(found["imperatives"], [2, 0, 0, 0, 0])
    np.testing.assert_allclose(found["persuasion bias"], [1 / 3 + 0.2, 0, -1, 0, 2])


def test_what_a_measure_says_of_itself(tmp_path: Path) -> None:
    found = Persuasion(cache=tmp_path).measure(table(["We will win.", "It is day."]))
    assert [m.name for m in found.measures if m.objective] == ["persuasion bias"]
    assert "undefined in 50 % of the texts" in found.sentences[2]
    assert all(("spaCy" if spacy_tagger.installed() else "rule") in s for s in (found.measures[3].note, found.sentences[1]))
    assert all(np.isnan(m.undefined) for m in found.measures)


def test_a_text_without_a_word_has_no_value(tmp_path: Path) -> None:
    texts = table(["🌱🌱", "…", "", "انضم إلينا", "someone", "a" * 20_000])
    for audit in (Persuasion(cache=tmp_path), Formality(cache=tmp_path)):
        first = audit.measure(texts).measures[0].values
        np.testing.assert_array_equal(np.isnan(first), [True, True, True, False, False, False])
        empty = audit.measure(table([]))
        assert all(len(m.values) == 0 for m in empty.measures)


def test_words_of_groups_do_not_matter_where_they_are_hidden(tmp_path: Path) -> None:
    audit = Persuasion(cache=tmp_path)
    men, women = (table([f"Join the {who} of our town. They will build."]) for who in ("men", "women"))
    assert [m.values.tolist() for m in audit.measure(men.hidden()).measures] == [
        m.values.tolist() for m in audit.measure(women.hidden()).measures
    ]


def test_a_planted_disparity_is_there(tmp_path: Path) -> None:
    texts = [f"The town {word} build a plant {i}." for i in range(40) for word in ("will", "might")]
    found = by_name(Persuasion(cache=tmp_path).measure(table(texts)))
    np.testing.assert_array_equal(found["modality"], np.tile([1.0, -1.0], 40))
    np.testing.assert_array_equal(found["persuasion bias"], np.tile([2.0, 0.0], 40))


# One pass over the words


def test_one_pass_equals_as_many_regexes() -> None:
    """300 entries in three lists, some of two words or with hyphens; 3,000 texts made of them, their parts, and what sticks to words."""
    draw = random.Random(0)
    verbs = sorted(form for file in ("high_agency", "low_agency") for verb in listed(file) for form in verb)
    entries = draw.sample(verbs, 260) + [f"{a} {b}" for a, b in zip(draw.sample(verbs, 25), ["on", "up", "to", "in", "with"] * 5)]
    entries += [
        "jump-start",
        "kick-starts",
        "don't",
        "x",
        "é",
        "1st",
        "naïve",
        "can",
        "gives up in",
        "sits",
        "kits",
        "sticks",
        "İstanbul",
        "Straße",
        "snake_case",
    ]
    lists = [entries[i::3] for i in range(3)]
    glue = [" ", " ", " ", " ", "  ", "-", "'", "_", ".", "\n", "", "\u0301", "1", "é", "’s ", " on ", " up "]
    change = [
        str,
        str,
        str.upper,
        str.title,
        lambda w: w.replace("s", "ſ"),
        lambda w: w.replace("k", "\u212a"),
        lambda w: w.replace("i", "İ"),
        lambda w: w.replace("i", "ı"),
    ]
    texts = [
        "".join(draw.choice(change)(draw.choice(entries)) + draw.choice(glue) for _ in range(draw.randint(0, 12))) for _ in range(3000)
    ]
    regexes = [[re.compile(rf"\b{re.escape(entry)}\b", re.IGNORECASE) for entry in one] for one in lists]
    wanted = [[sum(len(r.findall(text)) for r in one) for one in regexes] for text in texts]
    counter = hits(lists)
    assert [counter.count(text) for text in texts] == wanted
    assert np.sum(wanted) > 10_000


def test_certainty_and_hedges_are_the_published_ones() -> None:
    assert set(CERTAIN) == {"will", "must", "shall", "definitely", "certainly"}
    assert set(HEDGES) == {"might", "may", "could", "can", "perhaps", "possibly"}


# Lists of verbs


def test_lists_of_this_project() -> None:
    high, low = listed("high_agency"), listed("low_agency")
    assert min(len(high), len(low)) >= 150
    forms = [form for verb in (*high, *low) for form in verb]
    assert len(set(forms)) == len(forms)
    assert all(re.fullmatch("[a-z]+", form) for form in forms)
    assert all(
        len(verb) >= 3 and any(form.endswith("ing") for form in verb) and any(form.endswith("s") for form in verb[1:])
        for verb in (*high, *low)
    )
    assert not set(forms) & {*CERTAIN, *HEDGES}
    assert (len(high), len(low)) == tuple(int(n) for n in re.findall(r"\d+", own_agency().about))


FRAMES = """verb,agency,power
builds,agency_pos,power_agent
agonizes over,agency_neg,power_theme
agonizes,agency_neg,
asks,agency_equal,power_equal
owns,,power_agent
builds,agency_pos,power_agent
"""


def test_connotation_frames_match_as_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "frames.csv"
    file.write_text(FRAMES)
    assert read_agency(file).high == {"builds"}
    assert read_agency(file).low == {"agonizes", "agonizes over"}
    texts = ["She builds. We build.", "He Agonizes over it and builds.", "He asks and owns."]
    found = Persuasion(file, cache=tmp_path / "cache").measure(table(texts))
    np.testing.assert_allclose(by_name(found)["agency"], [1, (1 - 2) / (1 + 2), np.nan])
    assert "frames.csv" in found.sentences[0]
    assert str(tmp_path) not in found.sentences[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("word,agency\nbuilds,agency_pos\n", "there is no column 'verb'"),
        ("verb,label\nbuilds,agency_pos\n", "there is no column 'agency'"),
        ("verb,agency\nbuilds,agency_pos\nwaits,negative\n", r"line 3, column 'agency': the label is unknown \(value: negative\)"),
        ("verb,agency\nbuilds,agency_pos\nbuilds,agency_neg\n", "line 3, column 'verb': the verb is agency_pos above, and agency_neg here"),
        ("verb,agency\nbuilds,agency_pos\n!!,agency_neg\n", "line 3, column 'verb': the verb is none"),
        ("verb,agency\nbuilds,agency_pos\n,agency_neg\n", "line 3, column 'verb': the verb is none"),
        (f"verb,agency\n{'b' * 61},agency_pos\n", "line 2, column 'verb': the verb is none"),
        ("verb,agency\nbuilds,agency_pos\n", "no verb is agency_neg"),
        ("verb,agency\nwaits,agency_neg\n", "no verb is agency_pos"),
        ("verb,agency\nbuilds,agency_pos,more,and more\nwaits,agency_neg\n", "frames.csv"),
        ("", "frames.csv"),
        (None, "frames.csv"),
    ],
)
def test_lists_that_cannot_be_read(content: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "frames.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=said) as error:
        Persuasion(file, cache=tmp_path).measure(table(["We build."]))
    assert "To do: " in str(error.value)


# Formality


def test_f_score_by_hand(tmp_path: Path) -> None:
    """8 words: 2 nouns, 1 preposition, 2 articles; 1 pronoun, 1 verb, 1 adverb. 100 (5 - 3) / 8 = 25, and (25 + 100) / 2 = 62.5"""
    text = "He quickly built the bridge in a town."
    [tags] = tagged([text], tmp_path)
    assert f_score(tags, text) == 62.5
    assert Formality(cache=tmp_path).measure(table([text])).measures[0].values.tolist() == [62.5]


def test_formal_texts_score_higher(tmp_path: Path) -> None:
    formal = (
        "The committee's assessment of the economic effects of the proposed regulation is available in the annual report of the agency."
    )
    informal = "Hey, you know what? We really think you should just come and see it, and then tell us how you feel!"
    values = Formality(cache=tmp_path).measure(table([formal, informal])).measures[0].values
    assert 50 < values[0] <= 100
    assert 0 <= values[1] < 50


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT of two outputs, informal and formal."""
    return tiny_classifier(tmp_path_factory.mktemp("models") / "small-ranker", ("informal", "Formal"))


@pytest.mark.lm
def test_a_classifier_is_a_second_instrument(classifier: Path, tmp_path: Path) -> None:
    texts = [f"The report number {i} is {word}." for i in range(5) for word in ("short", "long", "…")] + ["…"]
    found = Formality(classifier, cache=tmp_path).measure(table(texts))
    assert [m.name for m in found.measures] == ["formality", "formality by small-ranker"]
    first, second = (m.values for m in found.measures)
    assert np.isnan(first[-1])
    assert np.isnan(second[-1])
    assert ((second[:-1] > 0) & (second[:-1] < 1)).all()
    other = Formality(classifier, "informal", tmp_path).measure(table(texts)).measures[1].values
    np.testing.assert_allclose(second[:-1] + other[:-1], 1)
    r = np.corrcoef(first[:-1], second[:-1])[0, 1]
    assert found.sentences == (f"The F-score and small-ranker correlate {r:.2f} over 15 texts: what only one of them shows is not shown.",)
    assert not found.measures[1].objective
    with pytest.raises(EvenhandError, match=r"small-ranker has the outputs informal, Formal\. Expected: one of them named 'polite'"):
        Formality(classifier, "polite", tmp_path).measure(table(texts))


def test_agreement_is_not_made_up() -> None:
    assert "cannot be told" in agreement(np.array([1.0, 2.0]), np.array([1.0, 2.0]), "it")
    assert "cannot be told" in agreement(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0]), "it")
    assert "cannot be told" in agreement(np.array([1.0, np.nan, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, np.nan]), "it")
    assert "correlate -1.00 over 3 texts" in agreement(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0]), "it")

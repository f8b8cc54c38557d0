"""The built-in sample: its texts differ in taste as documented, and its simulated users are who the docstring says."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from evenhand.core import EvenhandError
from evenhand.data.groups import by_quantile
from evenhand.data.load import load
from evenhand.data.simulate import (
    TASTES,
    Population,
    choice_probability,
    population,
    question_pool,
    sample_prompts,
    simulated_users,
    write_sample,
)
from evenhand.data.support import MIN_OTHERS, majority_support, pair_support


@cache
def taste_of_response():
    """Every response of the sample → its number in TASTES."""
    return {text: taste for p in sample_prompts() for taste, text in enumerate(p.responses)}


def best_accuracy(data, people, noise=0.1):
    """The ceiling under the noise, float64[n] in [0.5, 1]: the chance that the truth itself predicts each label, max(P, 1 - P).

    Its mean over pairs is the accuracy expected of a model that knows every user's utilities. `people` is the population behind `data`.
    """
    number = taste_of_response()
    taste = np.array([number.get(text, -1) for text in data.texts])
    p = choice_probability(people.utilities[data.user], taste[data.chosen], taste[data.rejected], noise)
    return np.maximum(p, 1 - p)


WORDS = {"terse": (8, 20), "detailed": (60, 100), "warm": (25, 50), "technical": (35, 60), "playful": (25, 50)}


@pytest.fixture(scope="module")
def data():
    return simulated_users()


@pytest.fixture(scope="module")
def texts():
    """Every response with its taste and its prompt's number."""
    rows = [(text, taste, i) for i, p in enumerate(sample_prompts()) for taste, text in enumerate(p.responses)]
    response, taste, prompt = zip(*rows, strict=True)
    return list(response), np.array(taste), np.array(prompt)


def test_at_least_120_prompts_with_five_responses_each():
    prompts = sample_prompts()
    assert len(prompts) >= 120
    assert all(len(p.responses) == len(TASTES) for p in prompts)
    assert len({p.prompt for p in prompts}) == len(prompts)
    assert len({p.topic for p in prompts}) >= 15


def test_length_bands(texts):
    outside = [
        (TASTES[t], len(r.split()), r[:40])
        for r, t, _ in zip(*texts, strict=True)
        if not WORDS[TASTES[t]][0] <= len(r.split()) <= WORDS[TASTES[t]][1]
    ]
    assert not outside


def test_no_two_texts_are_nearly_the_same(texts):
    responses, _, _ = texts
    assert len(set(responses)) == len(responses) == len(taste_of_response())
    matrix = TfidfVectorizer(use_idf=False, ngram_range=(1, 2)).fit_transform(responses)
    similarity = (matrix @ matrix.T).toarray()
    np.fill_diagonal(similarity, 0)
    assert similarity.max() < 0.6


def test_no_fixed_opening_or_marker_gives_a_taste_away(texts):
    responses, taste, _ = texts
    for number in range(len(TASTES)):
        openings = [" ".join(r.lower().split()[:3]) for r, t in zip(responses, taste, strict=True) if t == number]
        assert max(openings.count(o) for o in set(openings)) <= 0.05 * len(openings)


def test_plain_text_only(texts):
    for text in [*texts[0], *(p.prompt for p in sample_prompts())]:
        assert text == text.strip()
        assert text.isprintable()
        assert "  " not in text


def test_tastes_can_be_told_on_unseen_prompts(texts):
    """TF-IDF and a logistic regression, prompts held out: far above the 20 % of chance for each taste."""
    responses, taste, prompt = texts
    held = prompt % 4 == 0
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    train = words.fit_transform([r for r, h in zip(responses, held, strict=True) if not h])
    model = LogisticRegression(C=10, max_iter=500).fit(train, taste[~held])
    right = model.predict(words.transform([r for r, h in zip(responses, held, strict=True) if h])) == taste[held]
    assert right.mean() >= 0.75
    assert all(right[taste[held] == t].mean() >= 0.6 for t in range(len(TASTES)))


def test_same_seed_same_data_other_seed_other_data(data):
    again, other = simulated_users(), simulated_users(seed=1, users=50)
    assert again.fingerprint == data.fingerprint != other.fingerprint
    assert np.array_equal(again.chosen, data.chosen)
    assert again.texts == data.texts


def test_counts_and_shape(data):
    assert len(data.users) == 600
    assert (np.bincount(data.user) == 45).all()
    assert data.exclusions.rows_in == data.exclusions.rows_used == len(data) == 600 * 45
    assert not (data.chosen == data.rejected).any()
    assert "simulated" in data.source
    questions = np.column_stack([data.prompt, np.minimum(data.chosen, data.rejected), np.maximum(data.chosen, data.rejected)])
    distinct, pair = np.unique(questions, axis=0, return_inverse=True)
    pair = pair.ravel()
    assert len(np.unique(pair * len(data.users) + data.user)) == len(data)  # nobody is asked twice
    assert len(distinct) == len(question_pool())
    assert np.bincount(pair).min() > MIN_OTHERS


@pytest.mark.parametrize(("users", "minority", "expected"), [(240, 0.15, 36), (100, 0.3, 30), (50, 0.0, 0)])
def test_minority_share(users, minority, expected):
    people = population(3, users, minority)
    assert people.minority.sum() == expected
    data = simulated_users(3, users, minority, pairs_per_user=5)
    assert data.attributes["taste"].count("minority") == expected


def test_population_does_not_depend_on_how_much_is_asked():
    few, many = simulated_users(pairs_per_user=2), simulated_users(pairs_per_user=9)
    assert few.attributes == many.attributes


def test_both_responses_of_a_pair_answer_its_prompt(data):
    prompt_of = {r: p.prompt for p in sample_prompts() for r in p.responses}
    for p, c, r in zip(data.prompt[:2000], data.chosen[:2000], data.rejected[:2000], strict=True):
        assert prompt_of[data.texts[c]] == prompt_of[data.texts[r]] == data.texts[p]


def test_the_minority_wants_terse_or_playful_responses_and_the_majority_does_not(data):
    taste = np.array([taste_of_response().get(t, -1) for t in data.texts])
    liked = np.isin(taste, [TASTES.index("terse"), TASTES.index("playful")])
    asked = liked[data.chosen] != liked[data.rejected]
    rare = np.array([t == "minority" for t in data.attributes["taste"]])[data.user]
    assert liked[data.chosen][asked & rare].mean() > 0.75
    assert liked[data.chosen][asked & ~rare].mean() < 0.25


def test_the_majority_outvotes_the_minority(data):
    rare = population().minority
    agreement = majority_support(data).values
    assert agreement[~rare].mean() > 0.6
    assert agreement[rare].mean() < 0.4


def test_groups_by_support_find_the_documented_minority(data):
    rare = population().minority
    groups = by_quantile(pair_support(data), q=0.1)
    found = groups.of_user == groups.names.index("minority")
    assert (found & rare).sum() >= 0.9 * rare.sum()
    assert (found & ~rare).sum() <= 0.1 * rare.sum()


def test_choice_probability_is_bradley_terry_with_flips():
    utilities = np.array([[1.0, 0.0, 0.0, 0.0, -1.0]])
    first, second = np.array([0]), np.array([4])
    assert choice_probability(utilities, first, second, 0.0) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert choice_probability(utilities, second, first, 0.0) == pytest.approx(1 / (1 + np.exp(2.0)))
    assert choice_probability(1e3 * utilities, first, second, 0.1) == pytest.approx(0.9)


def test_choices_follow_the_documented_probabilities(data):
    """The share of chosen responses that the truth prefers is, within 4 standard errors, the expected ceiling."""
    people = population()
    taste = np.array([taste_of_response().get(t, -1) for t in data.texts])
    rows = people.utilities[data.user]
    n = np.arange(len(data))
    right = rows[n, taste[data.chosen]] > rows[n, taste[data.rejected]]
    ceiling = best_accuracy(data, people)
    for part in (people.minority[data.user], ~people.minority[data.user]):
        error = np.sqrt((ceiling[part] * (1 - ceiling[part])).sum()) / part.sum()
        assert abs(right[part].mean() - ceiling[part].mean()) < 4 * error


def test_ceilings_are_alike_so_that_a_gap_is_the_models_own(data):
    people = population()
    ceiling, rare = best_accuracy(data, people), people.minority[data.user]
    assert ceiling.max() <= 0.9
    assert abs(ceiling[rare].mean() - ceiling[~rare].mean()) < 0.02


def test_ceiling_of_indifferent_users_is_one_half(data):
    nobody = Population(np.zeros((600, len(TASTES))), np.zeros(600, dtype=bool))
    assert best_accuracy(data, nobody) == pytest.approx(0.5)


def test_written_table_loads_as_the_same_data(data, tmp_path):
    path = write_sample(tmp_path / "new" / "sample.jsonl")
    assert {p.name for p in path.parent.iterdir()} == {"sample.jsonl", ".evenhand.json"}
    assert list(json.loads(path.read_text(encoding="utf-8").splitlines()[0])) == ["user", "prompt", "chosen", "rejected", "taste"]
    loaded = load(path, attributes=["taste"])
    assert loaded.fingerprint == data.fingerprint
    assert [loaded.users[u] for u in loaded.user] == [data.users[u] for u in data.user]
    assert [loaded.texts[c] for c in loaded.chosen] == [data.texts[c] for c in data.chosen]
    assert list(loaded.attributes["taste"]) == list(data.attributes["taste"])


def test_a_sample_replaces_nothing_but_a_sample(tmp_path):
    path = tmp_path / "sample.jsonl"
    path.write_text("mine")
    with pytest.raises(EvenhandError, match="not evenhand's"):
        write_sample(path, pairs_per_user=2)
    assert path.read_text() == "mine"
    path.unlink()
    write_sample(path, pairs_per_user=2)
    before = path.read_bytes()
    assert write_sample(path, seed=1, pairs_per_user=2).read_bytes() != before


@pytest.mark.parametrize(
    "wrong",
    [{"users": 1}, {"minority": 1.5}, {"noise": 0.5}, {"noise": -0.1}, {"pairs_per_user": 0}, {"pairs_per_user": 5000}, {"per_prompt": 11}],
)
def test_wrong_arguments_say_what_is_expected(wrong):
    with pytest.raises(EvenhandError, match=r"Expected: .*"):
        simulated_users(**wrong)

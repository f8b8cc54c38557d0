"""Words that tell groups apart: counts and odds by hand, every deal of labels one by one, planted words and leanings found, and no others."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from text_cells import small_grid, swapped, written

from evenhand.texts.audit import Measured
from evenhand.texts.audits.lexical import Lexical
from evenhand.texts.reading.contrasts import Contrasts, cell_shares, contrasts, strata
from evenhand.texts.reading.salience import lean, leaning_p, log_odds, salience, words_of
from evenhand.texts.table import TextTable

PLAIN = (
    "river", "street", "bottle", "window", "garden", "table", "market", "bridge", "forest", "paper", "school", "winter", "mountain", "pencil", "carpet", "engine",
    "hammer", "island", "jacket", "kitchen", "ladder", "mirror", "needle", "orange", "pillow", "rabbit", "saddle", "ticket", "umbrella", "valley", "wagon", "yard",
)  # fmt: skip
CAREER = ("salary", "office", "business", "manager", "company", "profession")
FAMILY = ("family", "children", "marriage", "parents", "wedding", "household")


def test_words_are_counted_by_text_and_rare_ones_left_out() -> None:
    words = words_of([["b", "a"], ["a", "a"], ["b", "a", "c"], ["a"], ["a", "b"], ["b"], ["b"]])
    assert words.words == ("a", "b")
    assert words.there.toarray().sum(axis=0).tolist() == [5, 5]


def few(seed: int = 0, strata_: int = 3, words: int = 6) -> Contrasts:
    """Shares of 4 texts, 3 strata of 2 values."""
    shares = np.random.default_rng(seed).integers(0, 5, (2 * strata_, words)) / 4
    return contrasts(shares, np.arange(2 * strata_).reshape(-1, 2))


def test_odds_and_largest_z_are_those_counted_one_by_one() -> None:
    """All 8 deals of 3 pairs by hand; those dealt at random are among them."""
    c, leans = few(), np.random.default_rng(1).normal(size=(6, 2))
    x = c.x.toarray().reshape(3, 2, 6)
    by_hand = {}
    for flip in itertools.product((0, 1), repeat=3):
        own = sum(x[s, 1 - f] for s, f in enumerate(flip)) * 4
        rest = x.sum(axis=(0, 1)) * 4 - own
        odds = ((own + 1) / (12 - own + 1)) / ((rest + 1) / (12 - rest + 1))
        sd = np.sqrt((((x[:, 1] - x[:, 0]) / 2) ** 2).sum(axis=0))
        z = np.where(sd > 0, (own / 4 - x.sum(axis=(0, 1)) / 2) / np.where(sd > 0, sd, 1), 0)
        order = sorted(range(6), key=lambda w: (-round(float(np.log(odds[w])), 9), w))
        by_hand[flip] = (np.abs(z).max(), leans[order[:3]].mean(axis=0) - leans[order[3:]].mean(axis=0), odds)
    found = salience(c, (1,), 4.0, leans, seed=0, deals=400)
    as_it_is = by_hand[0, 0, 0]
    np.testing.assert_allclose(found.sides[0].odds, as_it_is[2])
    assert found.largest[0] == pytest.approx(as_it_is[0])
    np.testing.assert_allclose(found.leaning[0, :, 0], as_it_is[1])
    for seen, expected in ((found.largest, [v[0] for v in by_hand.values()]), (found.leaning[0, 0], [v[1][0] for v in by_hand.values()])):
        assert set(np.round(seen, 9)) == set(np.round(expected, 9))
    exact = np.mean([v[0] >= as_it_is[0] - 1e-9 for v in by_hand.values()])
    assert np.mean(found.largest >= found.largest[0] - 1e-9) == pytest.approx(exact, abs=0.08)


def test_leaning_is_far_from_what_chance_gives_on_either_side() -> None:
    leaning = np.array([[0.1, 0.0, 0.2, 0.1, 0.1], [-0.5, -0.1, 0.0, 0.05, 0.05]])
    centre = leaning.mean()
    far = np.abs(leaning - centre).max(axis=0)
    assert leaning_p(leaning) == (1, pytest.approx(np.mean(far >= far[0])))


def test_a_word_leans_to_the_nearer_set() -> None:
    words, first, second = np.eye(4), np.eye(4)[:2], np.eye(4)[2:3]
    np.testing.assert_allclose(lean(words, first, second), [0.5, 0.5, -1, 0])


def test_log_odds_of_equal_shares_are_zero_and_swap_sign_with_the_sides() -> None:
    c = few(2)
    own = c.x.toarray().reshape(3, 2, 6).sum(axis=0)
    np.testing.assert_allclose(log_odds(c, own[1][:, None], 4.0), -log_odds(c, own[0][:, None], 4.0), atol=1e-12)
    np.testing.assert_allclose(log_odds(c, c.mean[:, None], 4.0), 0, atol=1e-12)


def test_planted_words_and_their_leaning_are_found_in_their_axis_alone(planted: tuple[TextTable, Measured]) -> None:
    _, found = planted
    p = {(t.axis, t.name): t.p for t in found.tests}
    assert p["gender", "words told apart"] < 0.01
    assert p["gender", "career against family"] < 0.02
    assert p["age", "words told apart"] > 0.05
    value = next(t.value for t in found.tests if t.name == "career against family")
    assert value < -0.1  # of the second value, women, less the first
    named = next(t for t in found.tables if t.axis == "gender" and t.caption.startswith("Words told apart"))
    who = {r[0]: r[1] for r in named.rows}
    assert who.items() <= dict.fromkeys(("salary", "office", "business", "manager", "company", "profession"), "men").items() | {
        (w, "women") for w in ("family", "child", "marriage", "parent", "wedding", "household")
    }
    assert len(who) > 6
    assert all(r[5] > 1 and r[6] > 0 and r[7] <= 0.05 for r in named.rows)


def test_tables_hold_counts_of_texts(planted: tuple[TextTable, Measured]) -> None:
    table, found = planted
    odds = next(t for t in found.tables if t.axis == "gender" and t.caption.startswith("Largest and smallest"))
    assert len(odds.rows) == 20
    for word, more, _, texts, rest, ratio, *_ in odds.rows:
        if word in ("child", "parent", "river"):
            continue  # lemmas of other forms, and a word that is in others
        there = np.array([word in t.split() for t in table.texts])
        women = np.array([table.grid.row(c)["gender"] == "women" for c in table.cell.tolist()])
        own, other = there[women].sum(), there[~women].sum()
        n = len(women) // 2
        expected = (own + 1) / (n - own + 1) / ((other + 1) / (n - other + 1))
        if more == "men":
            own, other, expected = other, own, 1 / expected
        assert (texts, rest) == (f"{own} of {n}", f"{other} of {n}")
        assert ratio == pytest.approx(expected)


def test_hidden_words_do_not_count(tmp_path: Path) -> None:
    table = written(small_grid(), lambda row, rng: f"Dear {row['gender']}, the {rng.choice(PLAIN)} is near.")
    as_written, hidden = Lexical(cache=tmp_path).measure(table), Lexical(cache=tmp_path).measure(table.hidden())
    p = [{t.axis: t.p for t in m.tests if t.name == "words told apart"} for m in (as_written, hidden)]
    assert p[0]["gender"] < 0.01
    assert p[1]["gender"] > 0.05
    assert "someone" not in {r[0] for t in hidden.tables for r in t.rows}


def test_texts_in_another_order_and_a_second_run_give_the_same(planted: tuple[TextTable, Measured], tmp_path: Path) -> None:
    table, found = planted
    assert Lexical(cache=tmp_path).measure(swapped(table)) == found


def test_draws_of_a_cell_move_together() -> None:
    """Texts that say one thing five times are no more evidence than one."""
    grid = small_grid()
    once = written(grid, lambda row, rng: str(rng.choice(PLAIN)), draws=1, seed=4)
    often = TextTable(grid, "", tuple(t for t in once.texts for _ in range(5)), np.repeat(once.cell, 5), np.tile(np.arange(5), len(once)))
    gender, p = grid.matched[1], []
    for table in (once, often):
        words = words_of([[t] for t in once.texts]).words
        there = replace(words_of([[t] for t in once.texts]), there=np.array([[t == w for w in words] for t in table.texts], float))
        c = contrasts(cell_shares(table) @ there.there, strata(table, gender))
        found = salience(c, (1,), len(table) / len(grid), np.empty((len(words), 0)), 0, 500)
        p.append(np.mean(found.largest >= found.largest[0] - 1e-9))
    assert p[0] == p[1]


def test_odd_texts_and_small_tables_are_survived(tmp_path: Path) -> None:
    grid = small_grid(1)
    empty = Lexical(cache=tmp_path).measure(written(grid, lambda row, rng: str(rng.choice(["🎉", "家人", "?!", "\ud800", "x"])), draws=1))
    assert all(np.isnan(t.p) and "not testable" in t.note for t in empty.tests)
    assert any("cannot be compared" in s for s in empty.sentences)
    table = written(grid, lambda row, rng: f"A {rng.choice(PLAIN[:3])} and a {rng.choice(PLAIN[:3])}.", draws=4)
    assert all(0 < t.p <= 1 for t in Lexical(cache=tmp_path, deals=200).measure(table).tests)
    men = table.take(np.array([grid.row(c)["gender"] == "men" for c in table.cell.tolist()]))
    found = Lexical(cache=tmp_path, deals=200).measure(men)
    assert {t.axis: np.isnan(t.p) for t in found.tests} == {"age": False, "gender": True}


def test_without_any_difference_words_are_rarely_named() -> None:
    """60 worlds: 5 % of them, give or take; benchmarks/texts_words.py counts more."""
    grid = small_grid()
    beyond = 0
    for seed in range(60):
        table = written(grid, lambda row, rng: " ".join(rng.choice(PLAIN, 3)), seed=seed)
        words = words_of(t.split() for t in table.texts)
        c = contrasts(cell_shares(table) @ words.there, strata(table, grid.matched[1]))
        found = salience(c, (1,), 2.0, np.empty((len(words.words), 0)), seed, 200)
        beyond += np.mean(found.largest >= found.largest[0] - 1e-9) <= 0.05
    assert beyond <= 9  # one world in a thousand of such tests has more


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextTable, Measured]:
    """Men's texts speak of work, women's of family, nine times in ten; ages differ in nothing."""

    def text(row: dict[str, str], rng: np.random.Generator) -> str:
        own, other = (CAREER, FAMILY) if row["gender"] == "men" else (FAMILY, CAREER)
        said = rng.choice(own if rng.random() < 0.9 else other, 2, replace=False)
        return f"The {said[0]} and the {said[1]} need the {rng.choice(PLAIN)} near the {rng.choice(PLAIN)} ."

    table = written(small_grid(), text, draws=4)
    return table, Lexical(cache=tmp_path_factory.mktemp("cache")).measure(table)

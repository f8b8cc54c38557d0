"""Fidelity: cosines and ridge regressions by hand, audiences that are named are identified, and those that are not are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from text_cells import labelled, small_grid, swapped, written

from evenhand.core import EvenhandError
from evenhand.encode.minilm import MiniLM
from evenhand.texts.audit import Measure
from evenhand.texts.audits.fidelity import Fidelity
from evenhand.texts.grid import load_grid
from evenhand.texts.reading.contexts import said
from evenhand.texts.reading.identified import folds, identified
from evenhand.texts.table import TextTable

ODD = ("word", "🎉🎉", "疫苗可以保护你和家人", "?!", "\ud800", "a" * 3000)


def test_every_placeholder_says_what_is_true_of_a_cell() -> None:
    grid = load_grid("climate")
    cell = next(c for c in range(len(grid)) if grid.row(c)["theme"] == "Animals")
    sentences = {one.column: one.sentences[one.own[cell]] for one in said(grid)}
    assert sentences == {
        "stance": "This message is about Clean-Energy.",
        "theme": "This message is about Animals.",
        "region": "This message is about Northeast.",
        "age": "This message is intended for Young Adult (18-24).",
        "gender": "This message is intended for Male.",
    }
    assert {one.column: len(one.sentences) for one in said(grid)} == {"stance": 2, "theme": 10, "region": 5, "age": 4, "gender": 2}


def test_the_contrast_is_that_of_cosines_taken_one_by_one(planted: tuple[TextTable, Fidelity]) -> None:
    table, audit = planted
    values = measure(audit, table, "fidelity").values
    sentences = [s for one in said(table.grid) for s in one.sentences]
    vector = dict(zip([*table.texts, *sentences], MiniLM().encode([*table.texts, *sentences]).astype(float)))
    rows = [table.grid.row(c) for c in table.cell.tolist()]
    for at in (0, 41, 119):
        parts = []
        for column in ("theme", "place", "age", "gender"):
            matched = [i for i, r in enumerate(rows) if all(r[c] == rows[at][c] for c in r if c != column)]
            near = {}
            for one in next(o for o in said(table.grid) if o.column == column).sentences:
                near[one] = vector[table.texts[at]] @ vector[one]
                if column in ("age", "gender"):
                    near[one] -= np.mean([vector[table.texts[i]] @ vector[one] for i in matched])
            own = next(s for s in near if s.endswith(f" {rows[at][column]}."))
            parts.append(near[own] - np.mean([v for s, v in near.items() if s != own]))
        assert values[at] == pytest.approx(np.mean(parts), abs=1e-6)


def test_the_mean_of_whole_sets_is_that_of_plain_cosines(planted: tuple[TextTable, Fidelity]) -> None:
    table, audit = planted
    x = MiniLM().encode(table.texts).astype(float)
    plain = []
    for one in said(table.grid):
        near = x @ MiniLM().encode(one.sentences).astype(float).T
        own = near[np.arange(len(x)), one.own[table.cell]]
        plain.append((own - (near.sum(axis=1) - own) / (near.shape[1] - 1)).mean())
    assert measure(audit, table, "fidelity").values.mean() == pytest.approx(np.mean(plain), abs=1e-6)


def test_texts_that_do_not_depend_on_the_group_serve_none_better(tmp_path: Path) -> None:
    """Every text may lean to men; means by gender are the same all the same, of fidelity and of who is identified."""
    table = written(
        small_grid(), lambda row, rng: f"{rng.choice(['The football captain', 'A king', 'He'])} {rng.choice(['waits', 'runs'])}."
    )
    audit = Fidelity(cache=tmp_path)
    women = table.grid.cells[table.cell, 3] == 1
    pair = table.cell // 2
    values = measure(audit, table, "gender identified").values
    apart = np.bincount(pair[women], values[women]) - np.bincount(pair[~women], values[~women])
    assert np.abs(apart).max() <= 0.5  # where texts are the same to the letter, and share the middle
    assert abs(apart.mean()) < 0.05
    assert abs(values.mean() - 0.5) < 0.2
    values = measure(audit, table, "fidelity").values
    assert abs(values[women].mean() - values[~women].mean()) < 0.01


def test_a_text_that_is_given_to_another_audience_is_less_true_to_it(planted: tuple[TextTable, Fidelity]) -> None:
    table, audit = planted
    turned = TextTable(table.grid, "turned", table.texts[2:] + table.texts[:2], table.cell, table.draw)
    found = [np.nanmean(measure(audit, t, "fidelity").values) for t in (table, turned)]
    assert found[0] > found[1] + 0.05


def test_identified_is_scikit_learns_ridge_on_held_out_themes() -> None:
    grid = small_grid(3)
    table = written(grid, lambda row, _: "", draws=2)
    age = grid.matched[0]
    value = grid.cells[table.cell, 2]
    x = np.random.default_rng(0).normal(size=(len(table), 5)) + 1.5 * np.eye(3, 5)[value]
    fold = folds(table)
    found = identified(table, x.astype(np.float32), age, fold)
    theme = grid.cells[table.cell, 0]
    right, score = np.empty(len(table)), np.empty((len(table), 3))
    for held in range(3):
        train = theme != held
        centred = x[train] - x[train].mean(axis=0)
        penalty = np.trace(np.cov(x[train].T, bias=True)) / 5 * train.sum()
        model = Ridge(alpha=penalty).fit(centred, np.eye(3)[value[train]])
        score[~train] = model.predict(x[~train] - x[train].mean(axis=0))
    stratum = [tuple(c) for c in grid.cells[table.cell][:, [0, 1, 3]].tolist()]
    for i in range(len(table)):
        told = []
        for other in {0, 1, 2} - {int(value[i])}:
            lean = score[:, value[i]] - score[:, other]
            told.append(
                lean[i] > np.median([lean[j] for j in range(len(table)) if stratum[j] == stratum[i] and value[j] in (value[i], other)])
            )
        right[i] = np.mean(told)
    np.testing.assert_allclose(found, right)
    assert 0.5 < found.mean() < 1


def test_vectors_that_are_all_the_same_identify_by_chance() -> None:
    grid = small_grid(2)
    table = written(grid, lambda row, _: "", draws=1)
    same = np.ones((len(table), 3), np.float32)
    for axis in grid.matched:
        np.testing.assert_allclose(identified(table, same, axis, folds(table)), 0.5)


def test_without_both_values_elsewhere_or_a_matched_text_nothing_is_said() -> None:
    """In the second theme there are only men: its texts have no partner, and those of the first theme nothing to learn from."""
    grid = small_grid(2)
    table = written(grid, lambda row, _: "", draws=1)
    men, first = grid.cells[table.cell, 3] == 0, grid.cells[table.cell, 0] == 0
    some = table.take(first | men)
    x = np.random.default_rng(0).normal(size=(len(some), 3))
    assert np.isnan(identified(some, x, grid.matched[1], folds(some))).all()
    assert np.isfinite(identified(some, x, grid.matched[0], folds(some))).all()


def test_who_is_named_is_identified_and_who_is_hidden_is_not(planted: tuple[TextTable, Fidelity]) -> None:
    table, audit = planted
    named, hidden = (measure(audit, t, "gender identified").values.mean() for t in (table, table.hidden()))
    assert named > 0.95
    assert abs(hidden - 0.5) < 0.15
    formula = measure(audit, table, "age identified").formula
    assert "other values of theme" in formula
    assert "chance 50 %" in formula


def test_texts_in_another_order_give_the_same(planted: tuple[TextTable, Fidelity]) -> None:
    table, audit = planted
    order = np.lexsort((-table.draw, table.cell))
    for one, two in zip(audit.measure(table).measures, audit.measure(swapped(table)).measures):
        np.testing.assert_allclose(one.values[order], two.values, atol=1e-12)


def test_odd_texts_small_grids_and_one_theme(tmp_path: Path) -> None:
    table = written(small_grid(1), lambda row, rng: str(rng.choice(ODD)), draws=1)
    found = Fidelity(cache=tmp_path).measure(table)
    assert [m.name for m in found.measures] == ["fidelity"]
    assert np.isfinite(found.measures[0].values).all()
    assert found.sentences == ("Whether texts show whom they are for is not tested: there is no second value of an axis to hold out.",)
    two = Fidelity(cache=tmp_path).measure(written(small_grid(2), lambda row, rng: str(rng.choice(ODD)), draws=1))
    assert [m.name for m in two.measures] == ["fidelity", "age identified", "gender identified"]
    assert all(((m.values >= 0) & (m.values <= 1)).all() for m in two.measures[1:])


def test_of_a_large_table_whole_blocks_are_read(tmp_path: Path) -> None:
    table = written(small_grid(), lambda row, _: " ".join(row.values()), draws=1)
    found = Fidelity(whole=30, sample=20, cache=tmp_path).measure(table)
    assert {int(np.isfinite(m.values).sum()) for m in found.measures} == {18}
    assert found.sentences == ("MiniLM read 18 of 60 texts, in whole blocks drawn by a fixed lot.",)


@pytest.mark.lm
def test_a_model_for_inference_is_read_by_its_entailment(tmp_path: Path) -> None:
    model = labelled(tmp_path / "nli", ("contradiction", "entailment", "neutral"))
    table = written(small_grid(1), lambda row, _: " ".join(row.values()), draws=1)
    found = Fidelity(nli=model, cache=tmp_path / "cache").measure(table)
    contrast, entailed = found.measures
    assert (contrast.fidelity, entailed.fidelity, entailed.name) == (False, True, "fidelity by nli")
    from evenhand.texts.reading.classifier import Classifier

    row = table.grid.row(int(table.cell[3]))
    hypotheses = [f"This message is about {row['place']}.", *(f"This message is intended for {row[c]}." for c in ("age", "gender"))]
    chance = [Classifier(model).probabilities([table.texts[3]], [h], tmp_path / "other")[0, 1] for h in hypotheses]
    assert entailed.values[3] == pytest.approx(np.mean(chance), abs=1e-5)
    with pytest.raises(EvenhandError, match="one output named entailment"):
        Fidelity(nli=labelled(tmp_path / "other_nli", ("no", "yes", "maybe")), cache=tmp_path / "cache").measure(table)


def measure(audit: Fidelity, table: TextTable, name: str) -> Measure:
    return next(m for m in audit.measure(table).measures if m.name == name)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextTable, Fidelity]:
    """Texts name whom they are for and what they are about."""
    filler = ("Read the paper.", "The bus is late.", "It rains today.", "Bring a pen.")

    def text(row: dict[str, str], rng: np.random.Generator) -> str:
        return f"Dear {row['age']} {row['gender']}, think of {row['theme']} at the {row['place']}. {rng.choice(filler)}"

    return written(small_grid(), text), Fidelity(cache=tmp_path_factory.mktemp("cache"))

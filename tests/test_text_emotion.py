"""Emotions of texts: the shipped classifiers say what they were trained to, planted emotions are found by both, and no others."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import murmurhash3_32
from text_cells import labelled, small_grid, swapped, written

from evenhand.core import EvenhandError
from evenhand.encode.minilm import MiniLM
from evenhand.texts.audits.emotion import Emotion
from evenhand.texts.reading.contrasts import DEALS, cell_shares, contrasts, largest_z, share_beyond, sides, strata
from evenhand.texts.reading.emotions import in_terms, shipped
from evenhand.texts.reading.vectors import read_rows
from evenhand.texts.table import TextTable

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "runs"))  # the command that trains them is the study's
import emotions  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "goemotions"
SAID = {
    "gratitude": "Thank you so much, I really appreciate your help!",
    "anger": "I hate this, you stupid idiot. I am furious!",
    "sadness": "I am so sad, I cried all night and feel miserable.",
    "love": "I love you, I love everything about it.",
}
ODD = ("word", "🎉🎉", "疫苗可以保护你和家人", "?!", "\ud800", "a" * 3000, "u/somebody", "1 2 3")


def test_both_classifiers_name_plain_emotions() -> None:
    ours, texts = shipped(), list(SAID.values())
    for found in (ours.by_words(texts)[0], ours.by_vectors(MiniLM().encode(texts))):
        assert [ours.names[i] for i in found.argmax(axis=1)] == list(SAID)


def test_probabilities_by_words_are_those_of_terms_hashed_one_by_one() -> None:
    ours, text = shipped(), "Thanks, don’t be AFRAID afraid!"
    tokens = [f"{t}_" for t in ("thanks", "2c", "don27t", "be", "afraid", "afraid", "21")]
    counts: dict[int, int] = {}
    for term in (*tokens, *(" ".join(p) for p in itertools.pairwise(tokens))):
        bucket = abs(murmurhash3_32(term)) % 2**20
        counts[bucket] = counts.get(bucket, 0) + 1
    place = {b: i for i, b in enumerate(ours.tfidf.buckets.tolist())}
    weights = {place[b]: (1 + math.log(n)) * float(ours.tfidf.idf[place[b]]) for b, n in counts.items() if b in place}
    length = math.sqrt(sum(w * w for w in weights.values()))
    score = sum(w / length * ours.of_words.weights[i].astype(float) for i, w in weights.items()) + ours.of_words.bias
    found, known = ours.by_words([text, "zzzqqq"])
    assert len(weights) > 8
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-score)), rtol=1e-5)
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-ours.of_words.bias.astype(float))), rtol=1e-6)
    assert known.tolist() == [True, False]


def test_what_is_shipped_is_small_holds_no_word_and_says_where_it_is_from() -> None:
    folder = Path(str(files("evenhand.texts"))) / "words"
    assert sum((folder / f"emotions.{e}").stat().st_size for e in ("safetensors", "json")) <= 2_000_000
    about = json.loads((folder / "emotions.json").read_text())
    assert about["licence"] == "Apache-2.0"
    assert "Demszky" in about["citation"]
    assert about["classifiers"]["words"]["macro_f1"] >= 0.46
    assert {t.dtype.kind for t in (shipped().tfidf.buckets, shipped().tfidf.idf, shipped().of_words.weights)} == {"i", "f"}
    assert in_terms("ask /u/some-body or u/other_one now") == "ask_ or_ now_"


@pytest.mark.skipif(not DATA.exists(), reason="GoEmotions is not at hand")
def test_the_shipped_words_reach_the_accuracy_that_is_told() -> None:
    told = shipped().about["classifiers"]["words"]
    with gzip.open(DATA / "test.tsv.gz", "rt", encoding="utf-8", newline="\n") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    said = shipped().by_words([r[0] for r in rows])[0] > np.array(told["thresholds"])
    f1 = []
    for e in range(28):
        has = np.array([str(e) in r[1].split(",") for r in rows])
        f1.append(2 * (said[:, e] & has).sum() / (said[:, e].sum() + has.sum()))
    assert np.mean(f1) == pytest.approx(told["macro_f1"], abs=2e-3)


def test_the_command_trains_both_from_a_folder_and_skips_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{text} {i}\t{e}\tid{i}" for i in range(6) for e, text in enumerate(SAID.values())]
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "labels.txt").write_text("\n".join(SAID))
    (tmp_path / "words").mkdir()
    places = {"--data": tmp_path, "--out": tmp_path / "told.json", "--words": tmp_path / "words", "--cache": tmp_path / "cache"}
    monkeypatch.setattr(sys, "argv", ["emotions.py", *(str(x) for pair in places.items() for x in pair)])
    emotions.main()
    told = json.loads((tmp_path / "told.json").read_text())["classifiers"]
    assert told["words"]["macro_f1"] == told["vectors"]["micro_f1"] == 1.0
    assert {p.name for p in (tmp_path / "words").iterdir()} == {"emotions.safetensors", "emotions.json"}
    skipped = subprocess.run(["bash", ROOT / "runs" / "emotions.sh", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert (skipped.returncode, skipped.stdout.split(":")[0]) == (0, "skipped")


def test_moments_of_dealt_labels_are_those_of_every_deal() -> None:
    """Two strata of three values: 36 deals, counted one by one."""
    grid = small_grid(2)
    rng = np.random.default_rng(3)
    values, age = rng.normal(size=(len(grid), 2)), grid.matched[0]
    cells = np.arange(12).reshape(2, 3, 2).transpose(0, 2, 1).reshape(-1, 3)[:2]
    c = contrasts(values, cells)
    sums = [
        values[cells[0, i[1]]] + values[cells[1, j[1]]] for i in itertools.permutations(range(3)) for j in itertools.permutations(range(3))
    ]
    np.testing.assert_allclose(c.mean, np.mean(sums, axis=0))
    np.testing.assert_allclose(c.sd, np.std(sums, axis=0))
    z, largest = largest_z(c, sides(age), deals=500)
    np.testing.assert_allclose(z[:, 1], (values[cells[:, 1]].sum(axis=0) - c.mean) / c.sd)
    assert largest[0] == pytest.approx(np.abs(z).max())
    assert share_beyond(np.abs(z), largest).min() == np.mean(largest >= largest[0] - 1e-9)


def test_strata_differ_in_one_axis_alone_and_are_whole() -> None:
    grid = small_grid(2)
    table = written(grid, lambda row, _: " ".join(row.values()), draws=1)
    gap = table.take(table.cell != 7)
    for axis, n in zip(grid.matched, (8, 12)):
        cells = strata(table, axis)
        assert cells.shape == (n, len(axis))
        assert len(strata(gap, axis)) == n - 1
        for stratum in cells:
            rows = [grid.row(c) for c in stratum.tolist()]
            assert [r[axis.name] for r in rows] == list(axis.labels)
            assert all(len({r[c] for r in rows}) == 1 for c in grid.columns if c != axis.name)
    assert (cell_shares(table.take(np.arange(len(table)) > 0)) @ np.ones(len(table) - 1)).tolist() == [0.0] + [1.0] * (len(grid) - 1)


def test_a_planted_emotion_is_found_by_both_instruments_and_in_its_axis_alone(planted: tuple[TextTable, Emotion]) -> None:
    table, audit = planted
    found = audit.measure(table)
    by_axis = {t.axis: t for t in found.tests}
    assert by_axis["gender"].p == 1 / DEALS
    assert by_axis["age"].p > 0.05
    gender = next(t for t in found.tables if t.axis == "gender")
    assert {r[0] for r in gender.rows if r[-1] == "yes"} >= {"gratitude", "anger"}
    thanks = next(r for r in gender.rows if r[0] == "gratitude")
    assert thanks[1:3] == ("women", "men")
    assert min(thanks[3:5]) > 4
    assert any(s.startswith("By gender, both instruments find") for s in found.sentences)
    assert "By age, no emotion is found by both instruments." in found.sentences


def test_profiles_add_up_to_one_and_lean_to_what_was_planted(planted: tuple[TextTable, Emotion]) -> None:
    table, audit = planted
    first, second = audit.measure(table).measures
    assert (first.name, first.objective, second.objective) == ("emotion", True, False)
    women = np.array([table.grid.row(c)["gender"] == "women" for c in table.cell.tolist()])
    for measure in (first, second):
        np.testing.assert_allclose(measure.values.sum(axis=1), 1)
        share = measure.values[:, measure.parts.index("gratitude")]
        assert share[women].mean() > 3 * share[~women].mean()


def test_texts_in_another_order_give_the_same(planted: tuple[TextTable, Emotion]) -> None:
    table, audit = planted
    other = swapped(table)
    a, b = audit.measure(table), audit.measure(other)
    order = np.lexsort((-table.draw, table.cell))
    for one, two in zip(a.measures, b.measures):
        np.testing.assert_array_equal(one.values[order], two.values)
    assert [(t.axis, t.p) for t in a.tests] == [(t.axis, t.p) for t in b.tests]
    alone = audit.measure(table.take(np.arange(len(table)) < 3))
    for one, two in zip(a.measures, alone.measures):
        np.testing.assert_array_equal(one.values[:3], two.values)


def test_an_emotion_that_one_instrument_alone_finds_is_not_named(
    planted: tuple[TextTable, Emotion], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, audit = planted
    even = np.random.default_rng(0).random((len(table), 28))
    monkeypatch.setattr("evenhand.texts.reading.emotions.Emotions.by_vectors", lambda *_: even)
    found = audit.measure(table)
    assert all(t.p > 0.05 for t in found.tests)
    assert all(r[-1] == "no" for t in found.tables if t.axis for r in t.rows)


def test_one_instrument_names_nothing(planted: tuple[TextTable, Emotion]) -> None:
    found = Emotion(sample=0).measure(planted[0])
    assert (len(found.measures), found.tests, found.tables) == (1, (), ())
    assert found.sentences == ("One instrument reads emotions: no single emotion is named.",)


@pytest.mark.lm
def test_a_model_by_its_folder_is_the_second_instrument_for_what_both_name(tmp_path: Path) -> None:
    table = written(small_grid(1), lambda row, _: " ".join(row.values()), draws=1)
    found = Emotion(classifier=labelled(tmp_path / "mine", ("Anger", "Joy", "boredom")), cache=tmp_path).measure(table)
    assert [m.name for m in found.measures] == ["emotion", "emotion by mine"]
    assert found.measures[1].parts == ("anger", "joy", "boredom")
    assert [r[0] for r in found.tables[0].rows] == ["anger", "joy"]
    assert all(0 < t.p <= 1 and "largest |z| of 2 emotions" in t.note for t in found.tests)
    with pytest.raises(EvenhandError, match="Expected: two or more of admiration"):
        Emotion(classifier=labelled(tmp_path / "other", ("formal", "joy", "plain")), cache=tmp_path).measure(table)


def test_odd_texts_have_profiles_all_the_same(tmp_path: Path) -> None:
    table = written(small_grid(2), lambda row, rng: str(rng.choice(ODD)), draws=1)
    found = Emotion(cache=tmp_path).measure(table)
    assert all(np.isfinite(m.values).all() for m in found.measures)
    assert any("have no word that the words classifier knows" in s for s in found.sentences)
    same = written(small_grid(2), lambda row, rng: "word", draws=1)
    found = Emotion(cache=tmp_path).measure(same)
    assert [t.p for t in found.tests] == [1.0, 1.0]
    assert "Whether the two instruments agree cannot be told from these texts." in found.sentences


def test_of_a_large_table_whole_blocks_are_read(tmp_path: Path) -> None:
    table = written(small_grid(), lambda row, _: " ".join(row.values()), draws=1)
    rows = read_rows(table, whole=50, sample=20)
    blocks = table.cell // table.grid.size
    assert rows.sum() == 18
    assert set(blocks[rows]).isdisjoint(blocks[~rows])
    assert read_rows(table, whole=60, sample=20).all()
    second = Emotion(whole=50, sample=20, cache=tmp_path).measure(table).measures[1].values
    np.testing.assert_array_equal(np.isnan(second).any(axis=1), ~rows)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextTable, Emotion]:
    """Women are thanked, men are scolded; ages differ in nothing."""
    filler = ("Read the paper.", "The bus is late.", "It rains in town.", "Bring a pen.")

    def text(row: dict[str, str], rng: np.random.Generator) -> str:
        return f"{SAID['gratitude' if row['gender'] == 'women' else 'anger']} {rng.choice(filler)} {rng.choice(filler)}"

    return written(small_grid(), text), Emotion(cache=tmp_path_factory.mktemp("cache"))

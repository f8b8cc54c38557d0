"""Hashed TF-IDF and the feature map against scikit-learn's unhashed, unfolded pipeline; small, constant and unseen input; saving."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy.sparse import csr_matrix
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.preprocessing import StandardScaler, normalize

from evenhand.encode.projection import FeatureMap, Recipe, _leading, _svd
from evenhand.encode.terms import letter_counts, word_counts
from evenhand.encode.tfidf import HashedTfidf

WORDS = (
    "soup",
    "river",
    "engine",
    "music",
    "quick",
    "slow",
    "warm",
    "cold",
    "stir",
    "play",
    "fix",
    "build",
    "read",
    "write",
    "open",
    "north",
)


def made_up(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of 5-40 words, and vectors float64[count, 20] of unequal scales with correlated coordinates."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(5, 40))) for _ in range(count)]
    vectors = rng.normal(size=(count, 20)) @ np.random.default_rng(9).normal(size=(20, 20)) + rng.normal(size=20)
    return texts, vectors


def reference(texts: list[str], vectors: np.ndarray, dim: int) -> np.ndarray:
    """The recipe step by step in scikit-learn."""
    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True).fit_transform(texts)
    left, singular, _ = np.linalg.svd(tfidf.toarray(), full_matrices=False)
    reduced = left * singular
    z = np.concatenate([StandardScaler().fit_transform(vectors), StandardScaler().fit_transform(reduced)], axis=1)
    scores = PCA(dim, svd_solver="full").fit_transform(z)
    damped = scores / np.sqrt(scores.std(0))
    return damped * np.sqrt(32 / (damped**2).sum(1).mean())


def test_hashed_tfidf_equals_tfidf() -> None:
    texts, _ = made_up(200)
    plain = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True).fit_transform(texts)
    hashed = HashedTfidf.fit(texts, min_df=3, space=2**22)
    ours = hashed.apply(texts)
    assert ours.shape == plain.shape  # no two of these words fall into one bucket
    np.testing.assert_allclose((ours @ ours.T).toarray(), (plain @ plain.T).toarray(), atol=1e-6)


def test_terms_are_counted_as_scikit_learn_counts_them() -> None:
    """To the bit, since saved models hold its buckets: any script, words of any length, texts without a word."""
    rng = np.random.default_rng(0)
    scripts = [(97, 123), (65, 91), (48, 58), (0xC0, 0x250), (0x3B1, 0x3CA), (0x4E00, 0x4E20), (0x1F600, 0x1F610), (9, 14), (32, 48)]
    drawn = [
        "".join(chr(rng.integers(*scripts[s])) for s in np.repeat(rng.integers(len(scripts), size=12), rng.integers(0, 9, size=12)))
        for _ in range(150)
    ]
    texts = [*drawn, *made_up(50)[0], "", " ", "a", "a b", "ab", "ẞ İstanbul", "x" * 1000, "one two one two one"]
    for ngrams in (1, 2, 3):
        theirs = HashingVectorizer(n_features=5000, ngram_range=(1, ngrams), alternate_sign=False, norm=None).transform(texts)
        ours = word_counts(texts, ngrams, 5000)
        assert (ours != theirs).nnz == 0
    assert word_counts(["a", "one"], 4, 50).sum() == 1
    theirs = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=2**18, alternate_sign=False, norm=None).transform(texts)
    assert (letter_counts(texts, 2**18) != theirs).nnz == 0
    fitted, matrix = HashedTfidf.fit_apply(texts, letters=True)
    weighted = theirs[:, fitted.buckets].astype(np.float32)
    weighted.data = (1 + np.log(weighted.data)) * fitted.idf[weighted.indices]
    assert (matrix != normalize(weighted)).nnz == 0
    assert (fitted.apply(texts) != matrix).nnz == 0


def test_the_most_frequent_buckets_are_kept() -> None:
    texts = ["common rare1", "common rare2", "common usual", "usual"]
    few = HashedTfidf.fit(texts, min_df=1, max_buckets=2)
    assert len(few) == 2
    assert few.apply(["common", "usual", "rare1"]).getnnz(axis=1).tolist() == [1, 1, 0]


def test_feature_map_equals_the_recipe_step_by_step() -> None:
    texts, vectors = made_up(200)
    ours = FeatureMap.fit(texts, vectors, dim=16).apply(texts, vectors)
    expected = reference(texts, vectors, 16)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=0.1)  # of squared norms 32; an axis has no sign, a product has


def test_randomized_svd_finds_the_leading_directions() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(300, 40)) * 0.7 ** np.arange(40) @ np.linalg.qr(rng.normal(size=(40, 40)))[0]
    scores, components = _svd(csr_matrix(matrix), 8, seed=0)
    exact = TruncatedSVD(8, algorithm="arpack", random_state=1).fit_transform(csr_matrix(matrix))
    np.testing.assert_allclose(scores @ scores.T, exact @ exact.T, atol=1e-2)
    np.testing.assert_allclose(matrix @ components, scores, atol=1e-8)


@pytest.mark.parametrize("shape", [(90, 60), (60, 90)])
def test_leading_directions_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    matrix = csr_matrix(np.random.default_rng(0).poisson(0.3, size=shape).astype(np.float32))
    theirs = TruncatedSVD(12, n_iter=4, random_state=5).fit(matrix).components_
    np.testing.assert_allclose(_leading(matrix, 12, 5), theirs.T, atol=1e-6)


def test_features_are_centred_uncorrelated_and_scaled() -> None:
    texts, vectors = made_up(300)
    for dim, power in ((8, 0.0), (8, 0.5), (8, 1.0)):
        recipe = Recipe(dim=dim, damping=power, squared_norm=7.0)
        x = FeatureMap.fit(texts, vectors, recipe=recipe).apply(texts, vectors).astype(np.float64)
        assert (x**2).sum(1).mean() == pytest.approx(7, rel=1e-3)
        covariance = x.T @ x / len(x)
        off = covariance - np.diag(np.diag(covariance))
        assert np.abs(off).max() < 1e-2 * covariance.max()
        spread = covariance.max() / np.diag(covariance).min()
        assert spread == pytest.approx(1, rel=1e-2) if power == 1 else spread > 1.05
        assert np.abs(x.mean(0)).max() < 1e-2


def test_either_part_alone() -> None:
    texts, vectors = made_up(60)
    style = FeatureMap.fit(texts, None, dim=4)
    assert style.apply(texts, None).std(0).min() > 0
    meaning = FeatureMap.fit(texts, vectors, dim=4, tfidf=False)
    assert np.array_equal(meaning.apply(["other"] * 60, vectors), meaning.apply(texts, vectors))  # words do not matter
    with pytest.raises(ValueError, match="without encoder vectors"):
        style.apply(texts, vectors)
    with pytest.raises(ValueError, match="with encoder vectors"):
        meaning.apply(texts, None)


def test_words_in_proportion_give_finite_features() -> None:
    """Columns that are multiples of each other but for float32's rounding: that direction alone once had weights beyond float16."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS[:4], size=9)) + " salt pepper salt" * (i % 3 == 0) for i in range(60)]
    vectors = rng.normal(size=(len(texts), 20))
    for given in (vectors, None):
        fitted = FeatureMap.fit(texts, given, dim=16)
        assert fitted.of_tfidf is not None
        assert np.abs(fitted.of_tfidf).max() < 1e4
        assert np.isfinite(fitted.apply(texts, given)).all()


def test_unreduced_features_are_the_mean_of_the_parts_kernels() -> None:
    """With room for all that tells the training texts apart: products with training texts are those of the parts as scikit-learn has them."""
    texts, vectors = made_up(60)
    other, others = made_up(10, seed=5)
    ours = FeatureMap.fit(texts, vectors, recipe=Recipe.unreduced(64))
    kernel = ours.apply(other, others) @ ours.apply(texts, vectors).T
    parts: list[np.ndarray] = [np.concatenate([vectors, others])]
    for terms in ({"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (3, 5)}):
        parts.append(TfidfVectorizer(min_df=2, sublinear_tf=True, **terms).fit(texts).transform([*texts, *other]).toarray())
    expected = np.zeros_like(kernel, dtype=np.float64)
    for x in parts:
        centred = x - x[:60].mean(0)
        expected += 32 / 3 * centred[60:] @ centred[:60].T / np.square(centred[:60]).sum(1).mean()
    np.testing.assert_allclose(kernel, expected, atol=0.15)
    assert not ours.apply(texts, vectors)[:, 60:].any()  # 60 centred points span 59 dimensions


def test_letters_see_parts_of_words() -> None:
    texts = ["klimaschutz", "klimaziel", "naturschutz", "steuer", "steuerlast", "lastwagen", "naturwagen", "zielsteuer"]
    fitted = FeatureMap.fit(texts, None, recipe=Recipe.unreduced(8))
    kernel = fitted.apply(["klimasteuer"], None) @ fitted.apply(texts, None).T
    assert set(np.argsort(-kernel[0])[:4].tolist()) <= {0, 1, 3, 4, 7}  # those with klima or steuer in them
    words = FeatureMap.fit(texts, None, dim=8).apply(["klimasteuer", "nothing known"], None)
    assert np.array_equal(words[0], words[1])


def test_a_map_of_before_there_were_letters_loads() -> None:
    texts, vectors = made_up(60)
    fitted = FeatureMap.fit(texts, vectors, dim=12)
    arrays, settings = fitted.state()
    old = {
        "recipe": {k: v for k, v in settings["recipe"].items() if k not in ("standardise", "letters")},
        "tfidf": {k: v for k, v in settings["tfidf"].items() if k != "letters"},
    }
    assert np.array_equal(FeatureMap.from_state(arrays, old).apply(texts, vectors), fitted.apply(texts, vectors))


def test_only_training_texts_decide() -> None:
    texts, vectors = made_up(80)
    other_texts, other = made_up(30, seed=5)
    fitted = FeatureMap.fit(texts, vectors, dim=6)
    alone = fitted.apply(other_texts[:1], other[:1])
    np.testing.assert_allclose(fitted.apply(other_texts, other)[:1], alone, atol=1e-4)
    np.testing.assert_allclose(fitted.apply(other_texts[::-1], other[::-1])[-1:], alone, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_fewer_texts_than_dimensions(count: int) -> None:
    texts, vectors = made_up(count)
    fitted = FeatureMap.fit(texts, vectors, dim=128)
    x = fitted.apply(texts, vectors)
    assert x.shape == (count, 128)
    assert (np.abs(x).max(0) > 1e-3).sum() == count - 1  # n centred points span n - 1 dimensions
    if count > 1:
        assert (x**2).sum(1).mean() == pytest.approx(32, rel=1e-2)
    assert np.isfinite(fitted.apply(["never seen words", ""], np.ones((2, 20)))).all()


def test_constant_coordinates_and_texts_carry_nothing() -> None:
    texts, vectors = made_up(50)
    vectors[:, 3] = 0.1
    fitted = FeatureMap.fit(texts, vectors, dim=8)
    moved = vectors.copy()
    moved[:, 3] = 1e6
    assert np.array_equal(fitted.apply(texts, vectors), fitted.apply(texts, moved))
    same = FeatureMap.fit(["same text"] * 9, np.ones((9, 4)), dim=8)
    assert not same.apply(["same text", "another"], np.zeros((2, 4))).any()
    assert not FeatureMap.fit(["!", "?"], None, dim=3).apply(["!"], None).any()  # no word at all


def test_saved_and_loaded_to_the_bit() -> None:
    texts, vectors = made_up(90)
    for tfidf, given in ((True, vectors), (True, None), (False, vectors)):
        fitted = FeatureMap.fit(texts, given, dim=12, tfidf=tfidf)
        arrays, settings = fitted.state()
        loaded = FeatureMap.from_state(load(save(arrays)), json.loads(json.dumps(settings)))
        assert loaded.recipe == fitted.recipe
        assert np.array_equal(loaded.apply(texts, given), fitted.apply(texts, given))
    fitted = FeatureMap.fit(texts, vectors, recipe=Recipe.unreduced(40))
    arrays, settings = fitted.state()
    loaded = FeatureMap.from_state(load(save(arrays)), json.loads(json.dumps(settings)))
    assert np.array_equal(loaded.apply(texts, vectors), fitted.apply(texts, vectors))
    with pytest.raises(ValueError, match="of_letters"):
        FeatureMap.from_state(arrays | {"of_letters": arrays["of_letters"][1:]}, settings)


def test_no_word_is_saved() -> None:
    texts, vectors = made_up(90)
    arrays, settings = FeatureMap.fit([*texts, *["confidential"] * 5], np.concatenate([vectors, vectors[:5]]), dim=12).state()
    saved = save(arrays) + json.dumps(settings).encode()
    assert b"confidential" not in saved
    assert b"engine" not in saved


def test_misfit_state_is_refused() -> None:
    texts, vectors = made_up(40)
    arrays, settings = FeatureMap.fit(texts, vectors, dim=4).state()
    for name in ("of_vector", "of_tfidf", "shift"):
        with pytest.raises(ValueError, match=name):
            FeatureMap.from_state(arrays | {name: arrays[name][..., :-1]}, settings)
    with pytest.raises(ValueError, match="of_tfidf"):
        FeatureMap.from_state(arrays | {"of_tfidf": arrays["of_tfidf"][1:]}, settings)
    with pytest.raises(ValueError, match="idf"):
        FeatureMap.from_state(arrays | {"idf": arrays["idf"][1:]}, settings)
    with pytest.raises(KeyError, match="buckets"):
        FeatureMap.from_state({k: v for k, v in arrays.items() if k != "buckets"}, settings)


def test_wrong_calls() -> None:
    texts, vectors = made_up(5)
    with pytest.raises(ValueError, match="4 vectors for 5 texts"):
        FeatureMap.fit(texts, vectors[:4])
    with pytest.raises(ValueError, match="training texts"):
        FeatureMap.fit([], None)
    with pytest.raises(ValueError, match="training texts"):
        FeatureMap.fit(texts, None, tfidf=False)
    with pytest.raises(ValueError, match="4 vectors"):
        FeatureMap.fit(texts, vectors).apply(texts, vectors[:4])


def test_a_seed_gives_one_map() -> None:
    texts, vectors = made_up(700)
    recipe = Recipe(dim=8, svd=16, max_texts=500)  # random subset and randomized SVD
    first, again = (FeatureMap.fit(texts, vectors, seed=3, recipe=recipe).apply(texts, vectors) for _ in range(2))
    assert np.array_equal(first, again)
    other = FeatureMap.fit(texts, vectors, seed=4, recipe=recipe).apply(texts, vectors)
    assert not np.array_equal(first, other)

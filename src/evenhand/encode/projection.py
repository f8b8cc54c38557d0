"""From text to features: encoder vectors and TF-IDF side by side, reduced to a few coordinates on the training texts alone.

Style tells users apart as much as meaning does, and sentence encoders are trained to look past style: hence TF-IDF beside the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evenhand.encode.tfidf import HashedTfidf

SLAB = 4096  # texts mapped at a time
SMALLEST = 1e-6  # a singular value under this share of the largest is rounding: TF-IDF is float32


@dataclass(frozen=True)
class Recipe:
    """The constants of a FeatureMap. Defaults are those of the study that the package's defaults come from; dim 16 does better under
    about a thousand texts, where few dimensions matter more than the method of training."""

    dim: int = 128  # coordinates of a feature; more overfit, fewer lose taste
    svd: int = 256  # TF-IDF is reduced to this before it meets the encoder's vectors, so that neither outweighs the other
    damping: float = 0.5  # a principal coordinate is divided by sd ** damping: 0 = PCA, 1 = whitening, which amplifies noise
    squared_norm: float = 32.0  # mean squared norm of a training feature; heads' learning rates are set for it
    min_df: int = 3  # a word in fewer texts tells about those texts only
    max_buckets: int = 20_000  # bounds the saved map at 5 MB
    max_texts: int = 20_000  # texts fitted on, drawn at random from more: the map does not change beyond, time does
    standardise: bool = True  # z-scores of every column; False: each part keeps its shape, and one factor makes parts weigh alike
    letters: bool = False  # TF-IDF of letters as a third part

    @classmethod
    def unreduced(cls, dim: int = 512) -> Recipe:
        """Encoder, words and letters side by side, each as it is, up to a rotation: for methods that find their own ridge weight.

        Nothing that tells up to `dim` + 1 training texts apart is lost, so that ridge regression on the features is kernel regression
        with the mean of the three parts' linear kernels.
        """
        return cls(dim=dim, svd=max(dim, 256), damping=0.0, min_df=2, standardise=False, letters=True)


@dataclass(frozen=True)
class FeatureMap:
    """text → float32[dim]. Everything after the encoders is linear and kept folded: vector @ of_vector + tfidf @ of_tfidf + shift.

    of_vector float32[v, dim] or None; tfidf and of_tfidf float16[k, dim] or None, letters and of_letters likewise; shift float32[dim].
    """

    of_vector: np.ndarray | None
    tfidf: HashedTfidf | None
    of_tfidf: np.ndarray | None
    shift: np.ndarray
    recipe: Recipe = Recipe()
    letters: HashedTfidf | None = None
    of_letters: np.ndarray | None = None

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        vectors: np.ndarray | None,
        *,
        dim: int = 128,
        tfidf: bool = True,
        seed: int = 0,
        recipe: Recipe | None = None,
    ) -> FeatureMap:
        """Fits on training texts only: each part z-scored, put side by side, PCA to `dim`, damped and scaled by the recipe.

        vectors: float[n, v], the encoder's output for these texts, or None to do without (then `tfidf` must be on).
        Fewer texts or less variation than `dim` coordinates: the rest of the coordinates are 0. Deterministic for a seed.
        Raises ValueError on no text, on vectors of another count, and when both parts are off.
        """
        recipe = Recipe(dim=dim) if recipe is None else recipe
        _check(texts, vectors)
        if len(texts) == 0 or (vectors is None and not tfidf):
            raise ValueError("a feature map needs training texts, and vectors or TF-IDF")
        if len(texts) > recipe.max_texts:
            rows = np.sort(np.random.default_rng(seed).choice(len(texts), recipe.max_texts, replace=False))
            texts, vectors = [texts[r] for r in rows], None if vectors is None else vectors[rows]
        bring = _Standard.fit if recipe.standardise else _Standard.scale
        parts = [] if vectors is None else [bring(np.asarray(vectors, dtype=np.float64))]
        counted = [
            _fit_terms(texts, recipe, letters) if wanted else None for letters, wanted in ((False, tfidf), (True, tfidf and recipe.letters))
        ]
        components = []
        for found in counted:
            if found is not None:
                reduced, right = _svd(found[1], recipe.svd, seed)
                parts.append(bring(reduced))
                components.append(right)
        principal = _principal(np.concatenate([p.scores for p in parts], axis=1), recipe) if parts else np.zeros((0, recipe.dim))
        terms = [None if found is None else found[0] for found in counted]
        return _fold(parts, principal, terms, components, vectors is not None, recipe)

    @property
    def dim(self) -> int:
        return self.recipe.dim

    def apply(self, texts: Sequence[str], vectors: np.ndarray | None) -> np.ndarray:
        """Features float32[n, dim] of any texts; `vectors` as in `fit`, from the same encoder."""
        _check(texts, vectors)
        if (vectors is None) != (self.of_vector is None):
            raise ValueError("this feature map was fitted " + ("without" if self.of_vector is None else "with") + " encoder vectors")
        out = np.tile(self.shift, (len(texts), 1))
        if self.of_vector is not None and vectors is not None:
            for start in range(0, len(texts), SLAB):
                rows = slice(start, start + SLAB)
                out[rows] += np.asarray(vectors[rows], dtype=np.float32) @ self.of_vector
        return self._with_terms(texts, out)

    def constant(self, texts: Sequence[str]) -> np.ndarray:
        """What `apply` gives texts apart from their vectors, float32[n, dim]: features = vectors @ of_vector + constant."""
        return self._with_terms(texts, np.tile(self.shift, (len(texts), 1)))

    def _with_terms(self, texts: Sequence[str], out: np.ndarray) -> np.ndarray:
        """`out` with the texts' TF-IDF added."""
        for start in range(0, len(texts), SLAB):
            rows = slice(start, start + SLAB)
            for terms, matrix in ((self.tfidf, self.of_tfidf), (self.letters, self.of_letters)):
                if terms is not None and matrix is not None:
                    out[rows] += terms.apply(texts[rows]) @ matrix.astype(np.float32)
        return out

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays for safetensors and settings for JSON. Neither holds a word of any text."""
        arrays = {"shift": self.shift}
        if self.of_vector is not None:
            arrays["of_vector"] = self.of_vector
        if self.tfidf is not None and self.of_tfidf is not None:
            arrays |= {"buckets": self.tfidf.buckets, "idf": self.tfidf.idf, "of_tfidf": self.of_tfidf}
        if self.letters is not None and self.of_letters is not None:
            arrays |= {"letter_buckets": self.letters.buckets, "letter_idf": self.letters.idf, "of_letters": self.of_letters}
        words, letters = (
            None if t is None else {"ngrams": t.ngrams, "space": t.space, "letters": t.letters} for t in (self.tfidf, self.letters)
        )
        return arrays, {"recipe": asdict(self.recipe), "tfidf": words, "letters": letters}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> FeatureMap:
        """What `state` gave. Raises KeyError on a missing array or setting, ValueError on shapes that do not fit together."""
        words = None if settings["tfidf"] is None else HashedTfidf(arrays["buckets"], arrays["idf"], **settings["tfidf"])
        setting = settings.get("letters")  # not in models of before there were letters
        letters = None if setting is None else HashedTfidf(arrays["letter_buckets"], arrays["letter_idf"], **setting)
        needed = {"shift"} | ({"buckets", "idf", "of_tfidf"} if words else set())
        needed |= {"letter_buckets", "letter_idf", "of_letters"} if letters else set()
        if arrays.keys() - {"of_vector"} != needed:
            raise ValueError(f"arrays {', '.join(sorted(arrays))}; expected {', '.join(sorted(needed))}, and perhaps of_vector")
        types = {"buckets": "int32", "letter_buckets": "int32", "of_tfidf": "float16", "of_letters": "float16"}
        for name, array in arrays.items():
            if array.dtype != np.dtype(types.get(name, "float32")):
                raise ValueError(f"{name} is {array.dtype}, expected {types.get(name, 'float32')}")
        loaded = cls(
            of_vector=arrays.get("of_vector"), tfidf=words, of_tfidf=None if words is None else arrays["of_tfidf"],
            shift=arrays["shift"], recipe=Recipe(**settings["recipe"]), letters=letters,
            of_letters=None if letters is None else arrays["of_letters"],
        )  # fmt: skip
        for name, matrix, expected in (
            ("of_vector", loaded.of_vector, None),
            ("of_tfidf", loaded.of_tfidf, None if words is None else len(words)),
            ("of_letters", loaded.of_letters, None if letters is None else len(letters)),
            ("shift", loaded.shift[None], 1),
        ):
            if matrix is not None and (
                matrix.ndim != 2 or matrix.shape[1] != loaded.dim or (expected is not None and len(matrix) != expected)
            ):
                raise ValueError(f"{name} has shape {matrix.shape}, expected [{'any' if expected is None else expected}, {loaded.dim}]")
        for terms, of_letters in ((words, False), (letters, True)):
            if terms is None:
                continue
            if terms.idf.shape != terms.buckets.shape or terms.buckets.ndim != 1:
                raise ValueError(f"idf has shape {terms.idf.shape}, buckets {terms.buckets.shape}; expected one number a bucket")
            if len(terms) and (terms.buckets[0] < 0 or terms.buckets[-1] >= terms.space or (np.diff(terms.buckets) <= 0).any()):
                raise ValueError(f"buckets are not ascending numbers under {terms.space}")
            if terms.letters != of_letters:
                raise ValueError("TF-IDF of words and of letters have changed places")
        return loaded


@dataclass(frozen=True)
class _Standard:
    """Columns brought to mean 0 and standard deviation 1; a constant column becomes 0 and stays 0 for any later text."""

    mean: np.ndarray
    inverse_sd: np.ndarray  # 0 where the column is constant; from `scale` one number for all
    scores: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> _Standard:
        mean, sd = x.mean(0), x.std(0)
        varies = sd > 1e-6 * np.maximum(1e-6, np.abs(x).max(0, initial=0))
        inverse = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
        return cls(mean, inverse, (x - mean) * inverse)

    @classmethod
    def scale(cls, x: np.ndarray) -> _Standard:
        """Columns brought to mean 0, and all of them by one factor to a mean squared norm of 1 over rows."""
        mean = x.mean(0)
        norm = np.square(x - mean).sum(1).mean() ** 0.5
        factor = 1 / norm if norm > 1e-6 * max(1e-6, np.abs(x).max(initial=0)) else 0.0
        return cls(mean, np.full(len(mean), factor), (x - mean) * factor)


def _check(texts: Sequence[str], vectors: np.ndarray | None) -> None:
    if vectors is not None and len(vectors) != len(texts):
        raise ValueError(f"{len(vectors)} vectors for {len(texts)} texts")


def _fit_terms(texts: Sequence[str], recipe: Recipe, letters: bool) -> tuple[HashedTfidf, Any] | None:
    """TF-IDF with the recipe's `min_df`, or, when the texts are so few that no term reaches it, with every term, and the texts under it; None
    without any term."""
    for min_df in (recipe.min_df, 1):
        terms, matrix = HashedTfidf.fit_apply(texts, min_df=min_df, max_buckets=recipe.max_buckets, letters=letters)
        if len(terms):
            return terms, matrix
    return None


def _svd(matrix: Any, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truncated SVD: scores float64[n, r] and components float64[k, r], r = at most `components` (randomized, Halko et al. 2011).

    Directions in which the texts do not differ but for rounding, as where two texts have the same words, are left out: brought to
    standard deviation 1 they would be noise, and their weights overflow.
    """
    rank = min(components, *matrix.shape)
    if rank < 2 or min(matrix.shape) <= components:  # few texts or words: exact, and the randomized method would want more columns
        dense = matrix.toarray().astype(np.float64)
        size, right = np.linalg.svd(dense, full_matrices=False)[1:]
        right = right[:rank][size[:rank] > SMALLEST * size.max(initial=0)].T
        return dense @ right, right
    right = _leading(matrix, rank, seed).astype(np.float64)
    return matrix @ right, right


def _leading(matrix: Any, rank: int, seed: int) -> np.ndarray:
    """The leading right singular vectors of a sparse matrix, [k, at most rank]: scikit-learn's TruncatedSVD to the bit, without its import.

    The range of `rank` + 10 random vectors after four power iterations (Halko et al. 2011, algorithm 4.4), LU between them.
    """
    from scipy.linalg import lu, qr, svd

    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix  # the smaller side holds the random vectors
    basis = np.random.RandomState(seed).normal(size=(tall.shape[1], rank + 10)).astype(matrix.dtype)
    for _ in range(4):
        for step in (tall, tall.T):
            basis = lu(step @ basis, permute_l=True, check_finite=False)[0]
    basis = qr(tall @ basis, mode="economic", check_finite=False)[0]
    left, size, right = svd(basis.T @ tall, full_matrices=False)
    kept = np.flatnonzero(size[:rank] > SMALLEST * size[0])
    axes = (basis @ left if wide else right.T)[:, kept]
    return axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(len(kept))])  # an axis has no sign: fix one


def _principal(z: np.ndarray, recipe: Recipe) -> np.ndarray:
    """PCA of centred columns, damped and scaled: float64[columns, dim] with mean |z @ it|² = squared_norm; 0 where nothing varies."""
    variances, axes = np.linalg.eigh(z.T @ z / len(z))
    order = np.argsort(-variances)[: recipe.dim]
    variances, axes = variances[order], axes[:, order]
    varies = variances > 1e-9 * max(variances.max(initial=0), 1e-9)
    axes = axes[:, varies] * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])[varies]  # an axis has no sign: fix one
    variances = variances[varies]
    scaled = (
        axes * variances ** (-recipe.damping / 2) * np.sqrt(recipe.squared_norm / max((variances ** (1 - recipe.damping)).sum(), 1e-30))
    )
    return np.pad(scaled, ((0, 0), (0, recipe.dim - scaled.shape[1])))


def _fold(
    parts: Sequence[_Standard],
    principal: np.ndarray,
    counted: Sequence[HashedTfidf | None],
    components: Sequence[np.ndarray],
    has_vectors: bool,
    recipe: Recipe,
) -> FeatureMap:
    """Scaling, SVD and PCA multiplied into one matrix a part and one shift. counted: words and letters, None where there are none."""
    blocks = np.split(principal, np.cumsum([len(p.mean) for p in parts])[:-1]) if parts else []
    folded = [part.inverse_sd[:, None] * block for part, block in zip(parts, blocks)]
    shift = -sum((part.mean @ block for part, block in zip(parts, folded)), start=np.zeros(recipe.dim))
    mapped = (right @ block for right, block in zip(components, folded[has_vectors:]))
    words, letters = (None if terms is None else next(mapped).astype(np.float16, order="C") for terms in counted)
    return FeatureMap(
        of_vector=folded[0].astype(np.float32, order="C") if has_vectors else None,  # safetensors writes other orders scrambled
        tfidf=counted[0],
        of_tfidf=words,
        shift=shift.astype(np.float32),
        recipe=recipe,
        letters=counted[1],
        of_letters=letters,
    )

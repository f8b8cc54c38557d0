"""Train the shipped emotion classifiers on GoEmotions (Demszky et al. 2020), and say how well they do on its test part.

Words: hashed TF-IDF of one and two words; vectors: MiniLM. Logistic, one emotion against the rest; the strength of the penalty is chosen on the dev
part, and so are the thresholds, one an emotion, that F1 needs. Written: src/evenhand/texts/words/emotions.safetensors and .json, runs/results/emotions.json.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.encode.cache import encode_cached
from evenhand.encode.minilm import MiniLM
from evenhand.encode.tfidf import HashedTfidf
from evenhand.texts.reading.emotions import FILE, Linear, in_terms

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "src" / "evenhand" / "texts" / "words"
BUCKETS, SPACE = 20_000, 2**20  # terms kept, and buckets they are hashed into: 1.2 MB in all
PENALTIES = {"words": (1.0, 2.0, 4.0), "vectors": (1.0, 4.0)}  # scikit-learn's C
SOLVERS = {"words": {"solver": "liblinear"}, "vectors": {"solver": "lbfgs", "tol": 1e-6, "max_iter": 1000}}
SOURCE = {
    "data": "GoEmotions, standard split (train 43,410, dev 5,426, test 5,427 comments)",
    "licence": "Apache-2.0",
    "citation": "Demszky, Movshovitz-Attias, Ko, Cowen, Nemade, Ravi: GoEmotions: A Dataset of Fine-Grained Emotions. ACL 2020.",
    "published": "BERT: macro-F1 .46",
    "limits": "trained on English comments of Reddit of a few words, rated by annotators in India; messages are longer and of another kind",
}


@dataclass(frozen=True)
class Part:
    """texts[n], and whether each has each emotion: bool[n, emotions]."""

    texts: Sequence[str]
    has: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A classifier, as it is shipped, with the penalty and thresholds chosen on the dev part."""

    model: Linear
    penalty: float
    thresholds: np.ndarray
    dev: float  # macro-F1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv.gz, dev.tsv.gz, test.tsv.gz and labels.txt")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results" / "emotions.json")
    parser.add_argument("--words", type=Path, default=WORDS, help="folder of the classifiers")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    args = parser.parse_args()
    names = args.data.joinpath("labels.txt").read_text(encoding="utf-8").split()
    train, dev, test = (part(args.data / f"{name}.tsv.gz", len(names)) for name in ("train", "dev", "test"))
    terms = [[in_terms(t) for t in p.texts] for p in (train, dev, test)]
    tfidf = HashedTfidf.fit(terms[0], min_df=3, max_buckets=BUCKETS, space=SPACE)
    columns = {
        "words": [tfidf.apply(t) for t in terms],
        "vectors": [encode_cached(p.texts, MiniLM(), args.cache) for p in (train, dev, test)],
    }
    trained = {kind: best(kind, c, train, dev) for kind, c in columns.items()}
    told = {**SOURCE, "classifiers": {k: judged(trained[k], columns[k][2], test, names) for k in trained}}
    for kind, found in told["classifiers"].items():
        print(f"{kind}: test macro-F1 {found['macro_f1']:.3f}, micro-F1 {found['micro_f1']:.3f} (C = {found['penalty']:g})", flush=True)
    raw = packed(tfidf, trained)
    about = {"emotions": names, "ngrams": tfidf.ngrams, "space": tfidf.space, "sha256": hashlib.sha256(raw).hexdigest(), **told}
    args.words.joinpath(FILE).write_bytes(raw)
    args.words.joinpath("emotions.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(told) + "\n", encoding="utf-8")


def part(file: Path, emotions: int) -> Part:
    with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    has = np.zeros((len(rows), emotions), bool)
    for row, (_, numbers, _) in enumerate(rows):
        has[row, [int(n) for n in numbers.split(",")]] = True
    return Part([r[0] for r in rows], has)


def best(kind: str, columns: Sequence[Any], train: Part, dev: Part) -> Trained:
    """The penalty with the highest macro-F1 on the dev part."""
    tried = []
    for penalty in PENALTIES[kind]:
        model = fitted(columns[0], train.has, penalty, SOLVERS[kind])
        found = model.probabilities(columns[1])
        cuts = np.array([threshold(found[:, e], dev.has[:, e]) for e in range(found.shape[1])])
        tried.append(Trained(model, penalty, cuts, float(f1(found > cuts, dev.has).mean())))
        print(f"{kind}: C = {penalty:g}, dev macro-F1 {tried[-1].dev:.3f}", flush=True)
    return max(tried, key=lambda t: t.dev)


def fitted(columns: Any, has: np.ndarray, penalty: float, solver: dict[str, Any]) -> Linear:
    """Rounded to half precision, as it is shipped."""
    from sklearn.linear_model import LogisticRegression

    models = [LogisticRegression(C=penalty, random_state=0, **solver).fit(columns, y) for y in has.T]
    weights = np.stack([m.coef_[0] for m in models], axis=1).astype(np.float16)
    return Linear(weights.astype(np.float32), np.array([m.intercept_[0] for m in models], np.float32))


def threshold(score: np.ndarray, has: np.ndarray) -> float:
    """The threshold with the highest F1, of 300 quantiles of the upper half."""
    cuts = np.unique(np.quantile(score, np.linspace(0.5, 0.9995, 300)))
    return float(cuts[np.argmax([f1((score > c)[:, None], has[:, None])[0] for c in cuts])])


def f1(said: np.ndarray, has: np.ndarray) -> np.ndarray:
    """By column; 0 where nothing is said and nothing is there."""
    return np.asarray(2 * (said & has).sum(axis=0) / np.maximum(said.sum(axis=0) + has.sum(axis=0), 1))


def judged(trained: Trained, columns: Any, test: Part, names: Sequence[str]) -> dict[str, Any]:
    said = trained.model.probabilities(columns) > trained.thresholds
    by_name = f1(said, test.has)
    return {
        "macro_f1": float(by_name.mean()),
        "micro_f1": float(f1(said.reshape(-1, 1), test.has.reshape(-1, 1))[0]),
        "dev_macro_f1": trained.dev,
        "penalty": trained.penalty,
        "f1": {n: round(float(v), 4) for n, v in zip(names, by_name)},
        "thresholds": [round(float(t), 5) for t in trained.thresholds],
    }


def packed(tfidf: HashedTfidf, trained: dict[str, Trained]) -> bytes:
    from safetensors.numpy import save

    tensors = {"buckets": tfidf.buckets, "idf": tfidf.idf}
    for kind, found in trained.items():
        tensors |= {kind: found.model.weights.astype(np.float16), f"{kind}_bias": found.model.bias}
    return bytes(save(tensors))


if __name__ == "__main__":
    main()

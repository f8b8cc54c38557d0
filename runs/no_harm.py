"""Does the default of `fit` serve anybody worse than a plain baseline? Four kinds of data, many deals, every choice made on validation pairs.

Deals: the built-in sample in several sizes (simulated users), four domains of DSP as tastes (simulated users over real responses, labels
flipped in 10 %), conversations of Polis and posts of CREHate (real voters and raters; items are dealt 60/15/25, a pair is an item judged
one way over one judged the other, at most 60 pairs a rater and part). Kept small so that the whole takes a quarter of an hour on one core:
at most 150 users a deal, 600 posts or statements, 160 queries. Every deal fits plain Bradley-Terry, personalised Bradley-Terry and PAFO (LoRe's
head, standard features) and the collaborative head (unreduced features) once, with their defaults; groups are the default's, the fifth with
the lowest support. What `fit` would keep is then worked out on validation pairs by the package's own rule, and judged on test pairs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evenhand
from evenhand.core import Pairs, PreferenceData
from evenhand.data.simulate import write_sample
from evenhand.data.splits import TEST, split_pairs
from evenhand.encode.minilm import MiniLM
from evenhand.training.choosing import changes, simplest
from evenhand.training.scoring import best_unit, bt, margins
from evenhand.workflows import hyperparameters
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.prepare import prepare

DEALS, USERS, ITEMS, QUERIES, PAIRS = 6, 150, 600, 160, 60
SAMPLES = ((60, 30, 0.2), (150, 30, 0.1))
CONVERSATIONS = ("brexit-consensus", "canadian-electoral-reform", "scoop-hivemind.ubi", "scoop-hivemind.affordable-housing")
MODELS = ("plain", "personalised", "collaborative", "pafo")  # the simpler first, as `auto` has them
Deal = tuple[str, int, PreferenceData]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the folders dsp, polis, crehate")
    parser.add_argument("--out", type=Path, default=Path("runs/results/no_harm.json"))
    parser.add_argument("--work", type=Path, default=Path("runs/out/no_harm"), help="finished deals: a study goes on from there")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name, seed, data in deals(args.data):
        file = args.work / f"{name}-{seed}.npz"
        if not file.exists():
            start = time.perf_counter()
            np.savez(file, **fitted(data, seed, args.cache))
            print(f"{name} {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    found = [(file.stem, dict(np.load(file))) for file in sorted(args.work.glob("*.npz"))]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"deals": [judged(name, deal) for name, deal in found]}) + "\n")


def deals(folder: Path) -> Iterator[Deal]:
    """One kind after the other in turn, so that a study cut short has some of each."""
    yield from itertools.chain.from_iterable(zip(*(kind(folder) for kind in (samples, tastes, conversations, posts))))


def samples(folder: Path) -> Iterator[Deal]:
    for seed in range(DEALS):
        users, each, minority = SAMPLES[seed % len(SAMPLES)]
        with tempfile.TemporaryDirectory() as place:
            file = write_sample(Path(place) / "sample.jsonl", seed, users, minority, each)
            yield f"sample {users} x {each}", seed, evenhand.load(file)


def tastes(folder: Path) -> Iterator[Deal]:
    """DSP: a user prefers the responses of one domain; one domain is the minority's, with a sixth of the users."""
    with gzip.open(folder / "dsp" / "domain_specific_preference.test.jsonl.gz", "rt") as lines:
        texts = [(row["query"], list(row["responses"].values())) for row in map(json.loads, lines)][:QUERIES]
    for seed in range(DEALS):
        rng = np.random.default_rng([seed, 7])
        rare, rest = seed % 4, [d for d in range(4) if d != seed % 4]
        told = []
        for user in range(USERS):
            own = rare if user % 6 == 0 else rest[user % 3]
            for query in rng.permutation(QUERIES)[:40]:
                sides = own, (own + 1 + int(rng.integers(3))) % 4
                chosen, rejected = sides if rng.random() > 0.1 else sides[::-1]
                prompt, responses = texts[query]
                told.append({"user": f"u{user}", "prompt": prompt, "chosen": responses[chosen], "rejected": responses[rejected]})
        yield "dsp", seed, loaded(told)


def conversations(folder: Path) -> Iterator[Deal]:
    text = {(r["conversation"], r["comment_id"]): r["comment_body"] for r in rows(folder / "polis" / "comments.csv.gz")}
    votes: dict[str, dict[tuple[str, str], int]] = {name: {} for name in CONVERSATIONS}
    for r in rows(folder / "polis" / "votes.csv.gz"):
        said = text.get((r["conversation"], r["comment_id"]), "")
        if r["conversation"] in votes and said.strip() and r["vote"] != "0":
            votes[r["conversation"]][r["participant"], said] = int(r["vote"])
    for seed in range(DEALS):
        name = CONVERSATIONS[seed % len(CONVERSATIONS)]
        yield f"polis {name}", seed, dealt(votes[name], seed)


def posts(folder: Path) -> Iterator[Deal]:
    said = {r["ID"]: r["Text"] for r in rows(folder / "crehate" / "posts.csv.gz")}
    judged = {
        (r["annotator_id"], said[r["ID"]]): {"0": 1, "1": -1}[r["annotation"]]
        for r in rows(folder / "crehate" / "annotations.csv.gz")
        if r["annotation"] != "2"
    }
    for seed in range(DEALS):
        yield "crehate", seed, dealt(judged, seed)


def rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as stream:
        yield from csv.DictReader(stream)


def dealt(votes: dict[tuple[str, str], int], seed: int) -> PreferenceData:
    """Items dealt to parts, then strict pairs drawn inside each part, PAIRS at most a rater and part; raters with 4 training and test pairs."""
    rng = np.random.default_rng([seed, 60])
    items = sorted({item for _, item in votes})
    items = [items[i] for i in rng.permutation(len(items))[:ITEMS]]
    part = {item: ("train", "valid", "test")[(k >= 0.6 * len(items)) + (k >= 0.75 * len(items))] for k, item in enumerate(items)}
    by_user: dict[str, dict[str, tuple[list[str], list[str]]]] = {}
    for (user, item), vote in votes.items():
        if item in part:
            by_user.setdefault(user, {p: ([], []) for p in ("train", "valid", "test")})[part[item]][vote < 0].append(item)
    told, users = [], 0
    for user in (sorted(by_user)[i] for i in rng.permutation(len(by_user))):
        drawn = {p: [(a, b) for a in sides[0] for b in sides[1]] for p, sides in by_user[user].items()}
        if users == USERS or min(len(drawn["train"]), len(drawn["test"])) < 4:
            continue
        users += 1
        for name, both in drawn.items():
            some = [both[i] for i in rng.permutation(len(both))[:PAIRS]]
            told += [{"user": user, "prompt": "", "chosen": a, "rejected": b, "split": name} for a, b in some]
    return loaded(told)


def loaded(told: list[dict[str, Any]]) -> PreferenceData:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "deal.jsonl"
        file.write_text("".join(json.dumps({k: v for k, v in row.items() if v != ""}) + "\n" for row in told))
        return evenhand.load(file, on_bad="skip")


def fitted(data: PreferenceData, seed: int, cache: Path) -> dict[str, np.ndarray]:
    """Of every model each user's validation loss and accuracy and test accuracy, float[users] with nan; and the users' groups."""
    split = split_pairs(data, seed=seed)
    out: dict[str, np.ndarray] = {}
    reduced = prepare(data, split, Encoding(MiniLM(), cache=cache), evenhand.Grouping(), seed=seed)
    collaborative = hyperparameters.method("collaborative", {})
    for ready in (reduced, reduced.on(collaborative)):
        train, valid = ready.training()
        test = ready.pairs(ready.strict(split.rows(TEST)), split.history)
        out["group"], out["unseen"] = ready.groups.of_user, split.unseen
        if ready is reduced:
            pafo = hyperparameters.method("pafo", {}).fit(train, valid, seed)
            plain = hyperparameters.method("bradley_terry", {}, "linear").fit(train, valid, seed)
            models = {"plain": plain, "personalised": pafo.parts["pooled"], "pafo": pafo.parts.get("student", pafo)}
        else:
            models = {"collaborative": collaborative.fit(train, valid, seed)}
        for name, model in models.items():
            out[f"{name} seconds"] = np.array(model.trace.seconds)
            for part, pairs in (("valid", valid), ("test", test)):
                margin = margins(model.scorer, pairs)
                right = (margin > 0).float() + 0.5 * (margin == 0).float()
                out[f"{name} {part} accuracy"] = by_user(right, pairs)
                unit = best_unit(margin, pairs) if part == "valid" else 1.0  # as `training/choosing.py` reads it
                out[f"{name} {part} loss"] = by_user(bt(unit * margin), pairs)
    return out


def by_user(values: torch.Tensor, pairs: Pairs) -> np.ndarray:
    n = len(pairs.history)
    weight = torch.zeros(n).index_add(0, pairs.user, pairs.weight)
    return (torch.zeros(n).index_add(0, pairs.user, values * pairs.weight) / weight).numpy()


def judged(name: str, deal: dict[str, np.ndarray]) -> dict[str, Any]:
    """What every way to choose keeps, and its test accuracy by group minus that of the two baselines, paired by user: mean, standard error."""
    group, kept = deal["group"], {"auto": auto(deal), "PAFO, guarded": guarded(deal), "PAFO, its student always": "pafo"}
    kept |= {name: name for name in ("personalised", "collaborative")}
    minus: dict[str, Any] = {}
    for how, model in kept.items():
        for baseline in ("plain", "personalised"):
            d = 100 * (deal[f"{model} test accuracy"] - deal[f"{baseline} test accuracy"])
            minus.setdefault(how, {})[baseline] = [told(d[group == g]) for g in (0, 1)]
    level = {m: [float(np.nanmean(100 * deal[f"{m} test accuracy"][group == g])) for g in (0, 1)] for m in MODELS}
    kind, _, seed = name.rpartition("-")
    return {
        "kind": kind,
        "seed": int(seed),
        "kept": kept,
        "minus": minus,
        "accuracy": level,
        "seconds": {m: float(deal[f"{m} seconds"]) for m in MODELS},
    }


def losses(deal: dict[str, np.ndarray], models: tuple[str, ...]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Validation losses by user of the models, and the users' groups: what `training/choosing.py` is given."""
    known = ~np.isnan(deal["plain valid loss"])
    return [torch.from_numpy(deal[f"{m} valid loss"][known]) for m in models], torch.from_numpy(deal["group"][known].astype(np.int64))


def auto(deal: dict[str, np.ndarray]) -> str:
    found, group = losses(deal, MODELS)
    found[-1] = found[1] if guarded(deal) == "personalised" else found[-1]
    return MODELS[simplest(found, group)]


def guarded(deal: dict[str, np.ndarray]) -> str:
    (student, pooled), group = losses(deal, ("pafo", "personalised"))
    return "personalised" if any(c.is_shown for c in changes(student, pooled, group)) else "pafo"


def told(d: np.ndarray) -> list[float]:
    """Mean over users, standard error, users."""
    d = d[~np.isnan(d)]
    return [float(d.mean()), float(d.std(ddof=1)) / len(d) ** 0.5, len(d)]


if __name__ == "__main__":
    main()

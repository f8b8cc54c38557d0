"""Faro on CREHate: do raters' choices become a penalty on posts that mention an identity, and what do constraints mend at what cost?

CONTENT WARNING: the posts are hateful, and `identities.json` holds the words by which mentions are found.

Pairs: inside a rater, a post that he or she found not hateful over one found hateful, where exactly one of the two mentions exactly one
identity. y1 = the post with the mention. In every run 50 % of the posts train, 15 % choose, 35 % judge. Entries are chosen on training
and validation pairs alone: of a grid the setting with the lowest validation loss among those within gamma on training pairs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evenhand
from evenhand.audits.bootstrap import user_weights
from evenhand.audits.metrics import correct, log_loss
from evenhand.audits.rates import DECISIONS, rates, violation
from evenhand.core import Pairs, PreferenceData
from evenhand.data.events import from_groups, from_mentions
from evenhand.data.groups import by_attribute
from evenhand.data.mentions import read_mentions
from evenhand.data.splits import TEST, TRAIN, VALID, split_pairs
from evenhand.data.swaps import read_swaps, with_swaps
from evenhand.encode.minilm import MiniLM
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, cf, dp, eo, hard
from evenhand.methods.penalty import Penalty
from evenhand.methods.reweighing import Reweighing
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore
from evenhand.training import offsets
from evenhand.training.constraints import Meter, groups_of, soft
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import fit_all
from evenhand.training.traces import Fitted
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.prepare import Prepared, prepare

HERE = Path(__file__).parent
DIM = 64
GAMMA = 0.05
FRONTIER = (0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2)
WEIGHTS = (0.1, 0.3, 0.5, 1.0)
AFFORDABLE = 0.01  # accuracy on validation pairs that a chosen gamma may cost
SMALLEST = 30  # raters a group: the audit's own rule
NULLS = 50  # deals of identities to posts at random
BINS = np.linspace(0.5, 1.0, 6)
Margins = Callable[[Pairs], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder crehate")
    parser.add_argument("--out", type=Path, default=Path("runs/results/faro_crehate.json"))
    parser.add_argument(
        "--work", type=Path, default=Path("runs/out/faro_crehate"), help="one file a finished run: a study goes on from there"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--group-seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    studies = {"mentions": args.seeds, "nationality": args.group_seeds, "ethnicity": args.group_seeds}
    tasks = [(name, seed, args) for name, seeds in studies.items() for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=1) as pool:
        for name, seed in pool.imap_unordered(run, tasks):
            print(f"{name}, seed {seed}: done", flush=True)
    found = {name: told(args.work, name, seeds) for name, seeds in studies.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"gamma": GAMMA, "nulls": NULLS, **found}) + "\n")


# --- data ---


def rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as stream:
        yield from csv.DictReader(stream)


def posts_dealt(folder: Path, seed: int) -> PreferenceData:
    """CREHate's judgements as pairs of posts of one part, with the raters' nationality and ethnicity."""
    said = {r["ID"]: r["Text"] for r in rows(folder / "posts.csv.gz") if r["Text"].strip()}
    order = np.random.default_rng([seed, 70]).permutation(len(said))
    edges = round(0.5 * len(order)), round(0.65 * len(order))
    posts = sorted(said)
    part = {posts[i]: "train" if k < edges[0] else "valid" if k < edges[1] else "test" for k, i in enumerate(order)}
    about = {r["annotator_id"]: r for r in rows(folder / "annotators.csv.gz")}
    asked = ("nationality", "ethnicity")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "votes.jsonl"
        with file.open("w") as out:
            for r in rows(folder / "annotations.csv.gz"):
                if r["annotation"] == "2" or r["ID"] not in said:
                    continue
                person = {name: about[r["annotator_id"]][name] for name in asked}
                vote = {
                    "user": r["annotator_id"],
                    "item": said[r["ID"]],
                    "vote": 1 if r["annotation"] == "0" else -1,
                    "split": part[r["ID"]],
                }
                out.write(json.dumps(vote | person) + "\n")
        return evenhand.load(file, source="votes", on_bad="skip", seed=seed, attributes=asked)


def ready_for(study: str, seed: int, args: argparse.Namespace) -> Prepared:
    """Pairs of a mention against none; their events are the identities, or the raters' groups."""
    data = posts_dealt(args.data, seed)
    data = replace(data, events=from_mentions(data, read_mentions(HERE / "identities.json")))
    assert data.events is not None
    data = data.take(data.events.of_pair >= 0)
    assert data.events is not None
    if study == "mentions":
        data = with_swaps(data, read_swaps(HERE / "swaps.json"))
    else:
        groups = by_attribute(data, study)
        present = np.bincount(groups.of_user[np.unique(data.user)] + 1, minlength=len(groups) + 1)[1:]
        kept = np.flatnonzero(present >= SMALLEST)
        place = np.full(len(groups) + 1, -1)
        place[kept] = np.arange(len(kept))
        groups = replace(groups, names=tuple(groups.names[g] for g in kept), of_user=place[groups.of_user].astype(np.int16))
        data = replace(data, events=from_groups(data, groups))
    split = split_pairs(data, seed=seed)
    return prepare(data, split, Encoding(MiniLM(chunked=False), dim=DIM, cache=args.cache), evenhand.Grouping(), seed=seed)


# --- one run ---


def run(task: tuple[str, int, argparse.Namespace]) -> tuple[str, int]:
    study, seed, args = task
    file = args.work / f"{study}-{seed}.npz"
    if file.exists():
        return study, seed
    torch.set_num_threads(1)
    ready = ready_for(study, seed, args)
    assert ready.events is not None
    split, original = ready.split, ready.counted(np.ones(len(ready.data), bool))
    part = {name: ready.strict(split.rows(number)) for name, number in (("train", TRAIN), ("valid", VALID), ("test", TEST))}
    train, valid = (ready.pairs(part[name] & original, part["train"] & original) for name in ("train", "valid"))
    whole = [ready.pairs(part[name], part["train"]) for name in ("train", "valid")]
    entries: dict[str, tuple[Margins, dict[str, Any]]] = {}
    for name, model, more in mentions(train, valid, whole, seed) if study == "mentions" else groups(train, valid, seed):
        entries[name] = (model, more)
    judged = ready.pairs(part["test"], split.history & (original if study != "mentions" else True))
    seen = ready.pairs(part["train"], part["train"])
    arrays: dict[str, np.ndarray] = {}
    for name, (model, more) in entries.items():
        arrays |= {f"{name}/{key}": value for key, value in measured(ready, part, original, model, judged, seen, seed).items()}
        arrays |= {f"{name}/{key}": np.array(value) for key, value in more.items()}
    arrays["users"] = np.array([int(u) for u in ready.data.users])  # raters' numbers in CREHate: kept in runs/out alone
    arrays["events"] = np.array(ready.events.names)
    arrays["rule"] = np.array(ready.events.rule)
    arrays["pairs"] = np.array([int((part[p] & original).sum()) for p in part])
    temporary = file.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.rename(file)
    return study, seed


def of(fitted: Fitted) -> Margins:
    return lambda pairs: margins(fitted.scorer, pairs)


def within(fitted: Fitted, layout: Any, train: Pairs, valid: Pairs, gamma: float) -> tuple[float, float]:
    """What a setting is chosen by: excess of its training violation over gamma, then validation loss."""
    found = float(layout.violation(Meter(train, layout)(margins(fitted.scorer, train), soft)))
    return max(0.0, found - gamma), float(mean_over_users(bt(margins(fitted.scorer, valid)), valid))


def about(fitted: Fitted) -> dict[str, Any]:
    game, best = fitted.constrained, fitted.trace.best_epoch
    return {} if game is None else {"feasible": game.feasible(best), "kept": game.train[best - 1], "seconds": fitted.trace.seconds}


def mentions(train: Pairs, valid: Pairs, whole: Sequence[Pairs], seed: int) -> Iterator[tuple[str, Margins, dict[str, Any]]]:
    """Every entry on identity mentions: one reward for all raters."""
    base = BradleyTerry(head=Linear())
    plain = base.fit(train, valid, seed)
    yield "Bradley-Terry", of(plain), {}
    yield "reweighing", of(Reweighing(base).fit(train, valid, seed)), {}
    k = groups_of(train)
    for notion in (dp, eo):
        name, layout = notion.__name__.upper(), notion(k)
        tried = [Penalty(base, notion, weight) for weight in WEIGHTS]
        fits = [(m, m.fit(train, valid, seed)) for m in tried]
        method, best = min(fits, key=lambda mf: within(mf[1], layout, train, valid, GAMMA))
        yield f"penalty {name}", of(best), {"weight": method.weight}
        c = offsets.offsets(margins(plain.scorer, train), train, layout)
        yield f"offsets {name}", lambda pairs, c=c: offsets.apply(margins(plain.scorer, pairs), pairs, c), {}
        line = fit_all([Faro(base, notion, gamma) for gamma in FRONTIER], train, valid, seed)
        for gamma, fitted in zip(FRONTIER, line, strict=True):
            yield f"Faro-{name}" if gamma == GAMMA else f"Faro-{name} {gamma}", of(fitted), about(fitted)
        gamma, fitted = strictest(plain, [(g, f) for g, f in zip(FRONTIER, line, strict=True) if g <= GAMMA], layout, valid)
        yield f"Faro-{name}, gamma by validation", of(fitted), about(fitted) | {"gamma": gamma}
    yield "Faro-DP, hard dual", of(f := Faro(base, dp, GAMMA, hard).fit(train, valid, seed)), about(f)
    yield "augmented", of(base.fit(*whole, seed)), {}
    yield "Faro-CF", of(f := Faro(base, cf, GAMMA).fit(*whole, seed)), about(f)
    yield "Faro-CF 0.02", of(f := Faro(base, cf, 0.02).fit(*whole, seed)), about(f)


def strictest(plain: Fitted, line: Sequence[tuple[float, Fitted]], layout: Any, valid: Pairs) -> tuple[float, Fitted]:
    """Of the settings whose validation accuracy is within a point of the unconstrained model's, the one with the least validation
    violation; the loosest where none is.
    """

    def read(fitted: Fitted) -> tuple[float, float]:
        m = margins(fitted.scorer, valid)
        return float(mean_over_users((m > 0).float(), valid)), float(layout.violation(Meter(valid, layout)(m, soft)))

    floor = read(plain)[0] - AFFORDABLE
    good = [(read(f)[1], gamma, f) for gamma, f in line if read(f)[0] >= floor]
    return min(good, key=lambda found: found[0])[1:] if good else line[-1]


def groups(train: Pairs, valid: Pairs, seed: int) -> Iterator[tuple[str, Margins, dict[str, Any]]]:
    """Every entry on raters' groups: personalised models. The tight gamma is half of the unconstrained model's training violation."""
    base = BradleyTerry(head=Lore())
    plain = base.fit(train, valid, seed)
    yield "Bradley-Terry", of(plain), {}
    yield "reweighing", of(Reweighing(base).fit(train, valid, seed)), {}
    k = groups_of(train)
    for notion in (dp, eo):
        name, layout = notion.__name__.upper(), notion(k)
        start = float(layout.violation(Meter(train, layout)(margins(plain.scorer, train), soft)))
        tight = round(start / 2, 3)
        fits = [(w, Penalty(base, notion, w).fit(train, valid, seed)) for w in WEIGHTS]
        weight, best = min(fits, key=lambda wf: within(wf[1], layout, train, valid, tight))
        yield f"penalty {name}", of(best), {"weight": weight}
        c = offsets.offsets(margins(plain.scorer, train), train, layout)
        yield f"offsets {name}", lambda pairs, c=c: offsets.apply(margins(plain.scorer, pairs), pairs, c), {}
        loose, close = fit_all([Faro(base, notion, GAMMA), Faro(base, notion, tight)], train, valid, seed)
        yield f"Faro-{name}", of(loose), about(loose)
        yield f"Faro-{name}, tight", of(close), about(close) | {"gamma": tight}


def measured(
    ready: Prepared, part: dict[str, np.ndarray], original: np.ndarray, model: Margins, judged: Pairs, seen: Pairs, seed: int
) -> dict[str, np.ndarray]:
    """Figures by user on test pairs, and violations on training pairs and under identities dealt at random."""
    data, events = ready.data, ready.events
    assert events is not None
    out: dict[str, np.ndarray] = {}
    margin = model(judged).double().numpy()
    rows_of, n = np.flatnonzero(part["test"]), len(data.users)
    here = events.take(rows_of)
    real = original[rows_of]
    user = data.user[rows_of]
    count = np.bincount(user[real], minlength=n)
    values = {"accuracy": correct(margin), "log_loss": log_loss(margin)}
    p = 1 / (1 + np.exp(-margin))
    confidence, right = np.maximum(p, 1 - p), correct(margin)
    bins = np.clip(np.digitize(confidence, BINS) - 1, 0, 4)
    values |= {f"gap{b}": np.where(bins == b, right - confidence, 0.0) for b in range(5)}
    with np.errstate(invalid="ignore"):
        for name, v in values.items():
            out[name] = np.bincount(user[real], v[real], n) / count
    for notion in ("dp", "eo", *(("cf",) if here.twin is not None else ())):
        for name, decision in DECISIONS.items():
            found = rates(margin, user, here, notion, decision)
            by_user = np.full((n, len(found.events)), np.nan)
            by_user[found.user] = found.by_user
            out[f"{notion} {name}"] = by_user
    inside = here.of_pair >= 0
    rng = np.random.default_rng([seed, 71])
    named = np.where(here.first, data.chosen[rows_of], data.rejected[rows_of])[inside]
    texts, number = np.unique(named, return_inverse=True)
    identity = np.zeros(len(texts), np.int16)
    identity[number] = here.of_pair[inside]
    if len(np.unique(named * 100 + here.of_pair[inside])) == len(texts):  # events are the posts' own, not the raters'
        for notion in ("dp", "eo"):
            for name, decision in DECISIONS.items():
                drawn = [
                    violation(
                        rates(
                            margin[inside],
                            user[inside],
                            replace(here.take(inside), of_pair=rng.permutation(identity)[number]),
                            notion,
                            decision,
                        )
                    )
                    for _ in range(NULLS)
                ]
                out[f"null {notion} {name}"] = np.array(np.mean(drawn))
    train_rows = np.flatnonzero(part["train"])
    on_train = model(seen).double().numpy()
    for notion in ("dp", "eo"):
        for name, decision in DECISIONS.items():
            out[f"train {notion} {name}"] = np.array(
                violation(rates(on_train, data.user[train_rows], events.take(train_rows), notion, decision))
            )
    return out


# --- over all runs ---


def told(work: Path, study: str, seeds: int) -> dict[str, Any]:
    """Every entry's figures with 95 % intervals clustered by rater over all seeds, and its paired differences from Bradley-Terry."""
    runs = [dict(np.load(work / f"{study}-{seed}.npz")) for seed in range(seeds)]
    people = np.unique(np.concatenate([r["users"] for r in runs]))
    weights = np.concatenate([np.ones((1, len(people)), np.float32), user_weights(1000, len(people), np.random.default_rng(72))])
    entries = list(dict.fromkeys(k.split("/")[0] for k in runs[0] if "/" in k))
    draws = {e: figures_of(e, runs, people, weights) for e in entries}
    out = []
    for e in entries:
        row = {"name": e, **{key: interval(d) for key, d in draws[e].items()}}
        row["change"] = {key: interval(d - draws["Bradley-Terry"][key]) for key, d in draws[e].items()}
        row["share"] = {key: interval(d / draws["Bradley-Terry"][key]) for key, d in draws[e].items() if key[:2] in ("dp", "eo", "cf")}
        for extra in ("feasible", "kept", "weight", "gamma", "seconds"):
            if f"{e}/{extra}" in runs[0]:
                row[extra] = [float(r[f"{e}/{extra}"]) for r in runs]
        for key in [k.split("/")[1] for k in runs[0] if k.startswith(f"{e}/null") or k.startswith(f"{e}/train")]:
            row[key] = float(np.mean([r[f"{e}/{key}"] for r in runs]))
        out.append(row)
    return {
        "seeds": seeds, "events": [str(n) for n in runs[0]["events"]], "rule": str(runs[0]["rule"]), "raters": len(people),
        "pairs": np.mean([r["pairs"] for r in runs], axis=0).round().tolist(), "entries": out,
    }  # fmt: skip


def interval(draws: np.ndarray) -> list[float]:
    """[value, low, high]: the first draw is the sample itself."""
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return [float(draws[0]), float(min(low, draws[0])), float(max(high, draws[0]))]


def figures_of(entry: str, runs: Sequence[dict[str, np.ndarray]], people: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Each figure under all resamples of raters [1 + resamples]; D both as mean of the seeds' and of the seed-averaged rates."""
    out: dict[str, np.ndarray] = {}

    def mean(values: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Weighted means of values [users, k]: [resamples, k]."""
        spread = np.full((len(people), values.shape[1]), np.nan)
        spread[np.searchsorted(people, users)] = values
        there = ~np.isnan(spread)
        return (weights @ np.nan_to_num(spread)) / np.maximum(weights @ there.astype(np.float32), 1e-9)

    for key in ("accuracy", "log_loss"):
        out[key] = np.mean([mean(r[f"{entry}/{key}"][:, None], r["users"])[:, 0] for r in runs], axis=0)
    gaps = [mean(np.stack([r[f"{entry}/gap{b}"] for b in range(5)], 1), r["users"]) for r in runs]
    out["ece"] = np.mean([np.abs(g).sum(1) for g in gaps], axis=0)
    for notion in ("dp", "eo", "cf"):
        for decision in ("soft", "hard"):
            if f"{entry}/{notion} {decision}" not in runs[0]:
                continue
            q = [mean(r[f"{entry}/{notion} {decision}"], r["users"]) for r in runs]
            out[f"{notion} {decision}"] = np.mean([largest(x, notion) for x in q], axis=0)
            out[f"{notion} {decision} pooled"] = largest(np.mean(q, axis=0), notion)
    return out


def largest(q: np.ndarray, notion: str) -> np.ndarray:
    """D of rates [resamples, cells]."""
    if notion == "cf":
        return q[:, 0]
    blocks = [q] if notion == "dp" else [q[:, 0::2], q[:, 1::2]]
    return np.max([b.max(1) - b.min(1) for b in blocks], axis=0)


if __name__ == "__main__":
    main()

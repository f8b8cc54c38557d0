"""Faro on BBQ: constraints and their baselines on a benchmark that frozen sentence vectors cannot answer. What is learned is the machinery.

Pairs as the source bbq makes them, prompt and answer encoded together. The five released categories are one study, so the events are the
study's own: of a pair of a person's answer against "unknown", whether y1 (the person's answer) casts the stereotype's target in the
harmful role or the other person. In every run the templates of each category are dealt anew: 48 % train, 16 % choose, 36 % judge. A template stands
for a user in rates and in intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bbq import Items, bbq_scores, read_items
from faro_crehate import BINS, about, figures_of, interval, within

import evenhand
from evenhand.audits.bootstrap import user_weights
from evenhand.audits.metrics import correct, log_loss
from evenhand.audits.rates import DECISIONS, rates, violation
from evenhand.core import SPLITS, Events, Notion, Pairs, PreferenceData, Scorer
from evenhand.data.splits import TEST, TRAIN, split_pairs
from evenhand.encode.minilm import MiniLM
from evenhand.encode.prompted import item_text
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, cf, dp, eo
from evenhand.methods.penalty import Penalty
from evenhand.methods.reweighing import Reweighing
from evenhand.models.linear import Linear
from evenhand.training import offsets
from evenhand.training.constraints import Meter, soft
from evenhand.training.scoring import bt, margins, mean_over_users
from evenhand.training.stack import fit_all
from evenhand.training.traces import Fitted
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.prepare import Prepared, prepare

DIM = 64
GAMMA = 0.05
WEIGHTS = (0.3, 1.0, 3.0)
STEPS = ((0.01, 1.0), (0.1, 5.0), (1.0, 5.0))  # Faro's step and bound, chosen as a penalty's weight is
PATIENCE = 100  # 60 templates make two batches an epoch: with Faro's default the game stops before its multipliers have moved
SHARES = {"train": 0.48, "valid": 0.16, "test": 0.36}  # of each category's templates; no certificate is asked for here
NAMES = ("the stereotype's target", "the other person")
RULE = "y1 = the answer that names a person, against the unknown one; its group = whom y1 casts in the harmful role"
TARGET, OTHER = range(2)
LEAST = 1e-4  # gamma: a smaller one asks for less than the rates' own rounding
NULLS = 200  # exchanges of target and other, template by template, at random
EXTRAS = ("feasible", "kept", "weight", "gamma", "step", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder bbq")
    parser.add_argument("--out", type=Path, default=Path("runs/results/faro_bbq.json"))
    parser.add_argument("--work", type=Path, default=Path("runs/out/faro_bbq"), help="one file a finished run: a study goes on from there")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-template", type=int, help="items drawn of each template, matched items together; all without it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    data, items = study(args.data, args.per_template)
    for seed in range(args.seeds):
        run(data, items, seed, args)
        print(f"seed {seed}: done", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"per template": args.per_template} | told(data, items, args.work, args.seeds)) + "\n")


# --- data ---


def study(folder: Path, per_template: int | None) -> tuple[PreferenceData, Items]:
    """All pairs and, two a pair, the items they come from: item i has the pairs 2 i and 2 i + 1."""
    data, items = evenhand.load(folder, source="bbq"), read_items(folder)
    assert data.events is not None
    if len(data) != 2 * len(items) or (items.biased < 0).any():
        raise SystemExit("a pair or a stereotype's target is missing: this study takes the released files as they are")
    y1 = np.where(data.events.first, data.chosen, data.rejected)
    biased = np.repeat([answers[b] for answers, b in zip(items.answers, items.biased)], 2)
    casts = np.array([data.texts[t] == b for t, b in zip(y1, biased)])
    of_pair = np.where(data.events.of_pair < 0, -1, np.where(casts, TARGET, OTHER)).astype(np.int16)
    data = replace(data, events=Events(NAMES, of_pair, data.events.first, RULE, data.events.twin))
    if per_template is not None:
        kept = drawn(data, items, per_template)
        data, items = data.take(np.repeat(kept, 2)), items.take(kept)
    return data, items


def drawn(data: PreferenceData, items: Items, per_template: int) -> np.ndarray:
    """Items of each template until there are `per_template` of them, bool[items]; matched items stay together."""
    assert data.events is not None
    assert data.events.twin is not None
    twin = data.events.twin[::2]
    unit = np.where(twin >= 0, twin, -1 - np.arange(len(items)))
    rng, kept = np.random.default_rng(80), np.zeros(len(items), bool)
    for t in range(len(items.templates)):
        inside = items.template == t
        units = rng.permutation(np.unique(unit[inside]))
        sizes = np.array([(unit == u).sum() for u in units])
        kept |= np.isin(unit, units[np.cumsum(sizes) - sizes < per_template])
    return kept


def dealt(items: Items, seed: int) -> np.ndarray:
    """The split of each item, int8[items]: the templates of each category are cut by SHARES in an order of the seed's."""
    rng, part = np.random.default_rng([seed, 81]), np.zeros(len(items.templates), np.int8)
    category = np.array([name.rpartition("-")[0] for name in items.templates])
    for name in np.unique(category):
        inside = rng.permutation(np.flatnonzero(category == name))
        ends = np.round(np.cumsum(list(SHARES.values())) * len(inside))
        part[inside] = [SPLITS.index(list(SHARES)[int(np.searchsorted(ends, n, side="right"))]) for n in range(len(inside))]
    return part[items.template]


# --- one run ---


@dataclass(frozen=True)
class Entry:
    """A trained model. c float[groups]: offsets on the answers that cast a group in the harmful role, None = none."""

    name: str
    scorer: Scorer
    c: torch.Tensor | None = None
    extras: dict[str, Any] | None = None

    def margins(self, pairs: Pairs) -> torch.Tensor:
        found = margins(self.scorer, pairs)
        return found if self.c is None else offsets.apply(found, pairs, self.c)

    def rewards(self, features: torch.Tensor, rows: torch.Tensor, items: Items) -> np.ndarray:
        """Rewards float64[items, 3]; an answer that names a person takes the offset of whom it casts in the harmful role."""
        with torch.no_grad():
            every = self.scorer.score(features.new_zeros(rows.numel(), 0), features[rows.flatten()])
        out = every.view(rows.shape).double().numpy()
        if self.c is not None:
            place, each = np.arange(3), np.full(out.shape, OTHER)
            each[place == items.biased[:, None]] = TARGET
            out = out + np.where(place == items.unknown[:, None], 0.0, self.c.double().numpy()[each])
        return out


def run(data: PreferenceData, items: Items, seed: int, args: argparse.Namespace) -> None:
    file = args.work / f"{seed}.npz"
    if file.exists():
        return
    data = replace(data, split=np.repeat(dealt(items, seed), 2))
    encoding = Encoding(MiniLM(chunked=False), with_prompt=True, dim=DIM, cache=args.cache)
    ready = prepare(data, split_pairs(data, seed=seed), encoding, evenhand.Grouping(), seed=seed)
    train, valid = ready.training()
    place = {text: row for row, text in enumerate(ready.responses.texts)}
    test = np.flatnonzero(ready.split.rows(TEST)[::2])
    judged = items.take(test)
    rows = torch.tensor([[place[item_text(p, a, True)] for a in answers] for p, answers in zip(judged.prompts, judged.answers)])
    arrays: dict[str, np.ndarray] = {"test": test, "users": np.arange(len(data.users))}
    arrays["pairs"] = np.array([len(train), len(valid), 2 * len(test)])
    for entry in entries(train, valid, seed):
        found = measured(ready, entry) | {"rewards": entry.rewards(ready.features, rows, judged).astype(np.float32)}
        found |= {key: np.array(value) for key, value in (entry.extras or {}).items()}
        arrays |= {f"{entry.name}/{key}": value for key, value in found.items()}
    temporary = file.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.rename(file)


def entries(train: Pairs, valid: Pairs, seed: int) -> Iterator[Entry]:
    """Every entry: one reward for everybody. A tight gamma is half of the unconstrained model's training violation."""
    base = BradleyTerry(head=Linear())
    plain = base.fit(train, valid, seed)
    yield Entry("Bradley-Terry", plain.scorer)
    yield Entry("reweighing", Reweighing(base).fit(train, valid, seed).scorer)
    for notion in (dp, eo, cf):
        name, layout = notion.__name__.upper(), notion(len(NAMES))
        start = float(layout.violation(Meter(train, layout)(margins(plain.scorer, train), soft)))
        tight = max(round(start / 2, 4), LEAST)
        fits = [(w, Penalty(base, notion, w).fit(train, valid, seed)) for w in WEIGHTS]
        weight, best = min(fits, key=lambda wf: within(wf[1], layout, train, valid, tight))
        yield Entry(f"penalty {name}", best.scorer, extras={"weight": weight})
        if not layout.matched:
            yield Entry(f"offsets {name}", plain.scorer, offsets.offsets(margins(plain.scorer, train), train, layout))
        games = [
            Faro(base, notion, gamma, step=step, bound=bound, game_patience=PATIENCE) for gamma in (GAMMA, tight) for step, bound in STEPS
        ]
        line = list(zip(games, fit_all(games, train, valid, seed), strict=True))
        for gamma, label in ((GAMMA, f"Faro-{name}"), (tight, f"Faro-{name}, tight")):
            game, found = min(((m, f) for m, f in line if m.gamma == gamma), key=lambda mf: beyond(mf[0], mf[1], valid))
            yield Entry(label, found.scorer, extras=about(found) | {"gamma": gamma, "step": game.step})


def beyond(game: Faro, fitted: Fitted, valid: Pairs) -> tuple[float, float]:
    """What the multipliers' step is chosen by: what the kept epoch's training violation has over gamma, then validation loss."""
    said = about(fitted)
    excess = 0.0 if said["feasible"] else said["kept"] - game.gamma
    return excess, float(mean_over_users(bt(margins(fitted.scorer, valid)), valid))


def measured(ready: Prepared, entry: Entry) -> dict[str, np.ndarray]:
    """Figures of each template on test pairs, nan for the templates of other splits, and violations on training pairs."""
    split, n = ready.split, len(ready.data.users)
    assert ready.events is not None
    rows = split.rows(TEST)
    user, here = ready.data.user[rows], ready.events.take(rows)
    margin = entry.margins(ready.pairs(rows, split.history)).double().numpy()
    p = 1 / (1 + np.exp(-margin))
    confidence, right = np.maximum(p, 1 - p), correct(margin)
    bins = np.clip(np.digitize(confidence, BINS) - 1, 0, 4)
    values = {"accuracy": right, "log_loss": log_loss(margin)}
    values |= {f"gap{b}": np.where(bins == b, right - confidence, 0.0) for b in range(5)}
    out = {name: means(v, user, n) for name, v in values.items()}
    between = here.of_pair < 0  # the person who did it against the other one
    out["person"] = means(right[between], user[between], n)
    seen = split.rows(TRAIN)
    on_train = entry.margins(ready.pairs(seen, split.history)).double().numpy()
    notions: tuple[Notion, ...] = ("dp", "eo", "cf")
    for notion in notions:
        for name, decision in DECISIONS.items():
            found = rates(margin, user, here, notion, decision)
            by_user = np.full((n, len(found.events)), np.nan)
            by_user[found.user] = found.by_user
            out[f"{notion} {name}"] = by_user
            trained = rates(on_train, ready.data.user[seen], ready.events.take(seen), notion, decision)
            out[f"train {notion} {name}"] = np.array(violation(trained))
    return out


def means(values: np.ndarray, user: np.ndarray, users: int) -> np.ndarray:
    """Each user's mean, nan for a user without values."""
    with np.errstate(invalid="ignore"):
        return np.bincount(user, values, users) / np.bincount(user, minlength=users)


# --- over all runs ---


def told(data: PreferenceData, items: Items, work: Path, seeds: int) -> dict[str, Any]:
    """Every entry's figures with 95 % intervals clustered by template over all seeds, and its paired differences from Bradley-Terry."""
    runs = [dict(np.load(work / f"{seed}.npz")) for seed in range(seeds)]
    people = runs[0]["users"]
    weights = np.concatenate([np.ones((1, len(people)), np.float32), user_weights(1000, len(people), np.random.default_rng(82))])
    names = list(dict.fromkeys(k.split("/")[0] for k in runs[0] if "/" in k))
    draws = {e: figures_of(e, runs, people, weights) | {"person": average(e, runs, weights)} for e in names}
    test = np.concatenate([r["test"] for r in runs])
    judged, out = items.take(test), []
    for e in names:
        row: dict[str, Any] = {"name": e, **{key: interval(d) for key, d in draws[e].items()}}
        row["change"] = {key: interval(d - draws["Bradley-Terry"][key]) for key, d in draws[e].items()}
        scores = bbq_scores(np.concatenate([r[f"{e}/rewards"] for r in runs]), judged)
        row["bbq"] = {k: None if v is None else [v["value"], v["low"], v["high"]] for k, v in asdict(scores).items()}
        row |= {extra: [float(r[f"{e}/{extra}"]) for r in runs] for extra in EXTRAS if f"{e}/{extra}" in runs[0]}
        row["train"] = {f"{n} {d}": float(np.mean([r[f"{e}/train {n} {d}"] for r in runs])) for n in ("dp", "eo", "cf") for d in DECISIONS}
        row["chance"] = {f"{n} {d}": by_chance(e, runs, n, d) for n in ("dp", "eo") for d in DECISIONS}
        out.append(row)
    return {
        "gamma": GAMMA, "weights": WEIGHTS, "steps": STEPS, "patience": PATIENCE, "seeds": seeds, "rule": RULE, "events": NAMES, "items": len(items), "templates": len(items.templates),
        "categories": sorted(set(items.category)), "pairs": np.mean([r["pairs"] for r in runs], axis=0).round().tolist(), "entries": out,
    }  # fmt: skip


def average(entry: str, runs: Sequence[dict[str, np.ndarray]], weights: np.ndarray) -> np.ndarray:
    """Accuracy on a person's answer against the other person's under all resamples of templates, mean over seeds."""
    found = [r[f"{entry}/person"] for r in runs]
    there = [(~np.isnan(f)).astype(np.float32) for f in found]
    return np.mean([weights @ np.nan_to_num(f) / np.maximum(weights @ t, 1e-9) for f, t in zip(found, there)], axis=0)


def by_chance(entry: str, runs: Sequence[dict[str, np.ndarray]], notion: str, decision: str) -> float:
    """The mean over seeds of D when target and other person are exchanged in a random half of the templates: what noise alone gives."""
    rng, out = np.random.default_rng(83), []
    for r in runs:
        q = r[
            f"{entry}/{notion} {decision}"
        ]  # [templates, target and other], for eo [templates, target without and with label, the other's two]
        gap = q[:, : q.shape[1] // 2] - q[:, q.shape[1] // 2 :]
        there = ~np.isnan(gap)
        signs = rng.choice([-1.0, 1.0], (NULLS, len(gap)))
        out.append(np.abs(signs @ np.nan_to_num(gap) / there.sum(axis=0)).max(axis=1).mean())
    return float(np.mean(out))


if __name__ == "__main__":
    main()

"""Does more of a user's history help when a language model reads it in words, and is that better than a head that reads its features?

Real voters of one Polis conversation (bowling-green, the only English one with enough people who voted much); statements of at most 90
characters. A pair is a statement agreed with over one disagreed with; no two pairs of a user share a statement, so that each scored pair is on
statements that the user never voted on in the history; others have. 16 training pairs a seen user; new users have 16 pairs as their history.
Groups: the lowest fifth of item support among all who voted that much, from history pairs alone; new users are drawn evenly from both.

SmolLM2-135M under LoRA, from the head's frozen fit, 16 steps of 32 pairs of up to 4 users: one pass. *In words*: K earlier choices stand
before the statement, K in {0, 2, 4, 8}, and the reward is linear. *Late*: LoRe's head reads the features of the user's pairs, in batches of the
same kind. Eight training pairs of a user stand behind one history, which makes a step several times as cheap. The look that is kept is
validation's choice, the frozen head included; test pairs chose nothing.

Expected, written before any run: (1) with 500 training pairs no K beats another beyond noise, in no group, and log loss falls by under
.01 from K = 0 to 8; (2) a late user, tuned or not, is at least level with every K; (3) the minority gains more from a history than the
majority in either form. Found would be: a difference on test pairs whose 95 % interval over users excludes 0; the papers' claim (more
history helps, the minority more) asks it of K = 8 minus K = 0. That the model reads a history at all asks that K = 8 is better with a
user's own history than with another user's. If it is not, K was not learned, and nothing is said of what more training would give.

A first design asked about statements that nobody had voted on in training (the deal of voters.py, 696 training pairs, 24 steps). It was stopped
after K = 0 and the late user, of whose test pairs we had seen the figures: both were near chance, where no K can be told from another.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save
from scipy import stats
from voters import Vote, rows

import evenhand
from evenhand.core import Groups, PreferenceData, Scorer, Tuning
from evenhand.data.splits import TEST, TRAIN, VALID, Split, deal
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.training.scoring import margins
from evenhand.training.tuned import Tuned
from evenhand.workflows.grouping import Grouping, support_of
from evenhand.workflows.prepare import Encoding, Prepared, encode_responses, prepare
from evenhand.workflows.told import earlier, tellings
from evenhand.writing import put

CONVERSATION, LONGEST = "american-assembly.bowling-green", 90
KNOWN, BLOCK, CHECKED, ASKED = 16, 8, 6, 6  # pairs of a user: training (or history), of these behind one history, validation, test
ENOUGH = KNOWN + CHECKED + ASKED
SEEN, NEW = (26, 6), (15, 15)  # users of the majority and of the minority
KS, DIM = (0, 2, 4, 8), 64
TUNING = Tuning(steps=16, eval_every=8, batch_texts=64)
MODELS = {"0 in words": 0, "8 in words": 8, "late": None, "4 in words": 4, "2 in words": 2}  # K in words; None: LoRe's head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the folder polis")
    parser.add_argument("--out", type=Path, default=Path("runs/results/history.json"))
    parser.add_argument("--pieces", type=Path, default=Path("runs/out/history"), help="a file a model: none is trained again")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="deals of statements and users")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    for seed in args.seeds:
        study = None
        for name in args.models:
            file = args.pieces / str(seed) / f"{name}.safetensors"
            if not file.exists():
                study = study or Study.of(args.data, seed)
                start = time.process_time()
                arrays, about = trained(study, name, args.cache)
                about |= {"cpu": time.process_time() - start, "groups": study.groups.rule, "users": study.counts()}
                put(file, save(arrays, {"about": json.dumps(about)}))
                print(f"{time.strftime('%H:%M:%S')} {seed} {name}: {about}", flush=True)
                put(args.out, (json.dumps(summary(args.pieces)) + "\n").encode())
    put(args.out, (json.dumps(summary(args.pieces)) + "\n").encode())


@dataclass(frozen=True)
class Study:
    """One deal: the pairs of the users drawn, their split, and everybody's group."""

    data: PreferenceData
    split: Split
    groups: Groups
    seed: int

    @classmethod
    def of(cls, folder: Path, seed: int) -> Study:
        whole = replace(evenhand.load(votes(folder / "polis"), source="votes"), judgements=None)
        rng = np.random.default_rng([61, seed])
        own = {u: rng.permutation(apart(whole, np.flatnonzero(whole.user == u), ENOUGH)) for u in range(len(whole.users))}
        own = {u: rows for u, rows in own.items() if len(rows) == ENOUGH}
        known = np.zeros(len(whole), bool)
        known[np.concatenate([rows[:KNOWN] for rows in own.values()])] = True
        groups = Grouping().groups(whole, support_of(whole, known))
        part, block = np.full(len(whole), -1, np.int8), np.zeros(len(whole), np.int64)
        for group, (seen, new) in enumerate(zip(SEEN, NEW)):
            drawn = [u for u in rng.permutation(list(own)).tolist() if groups.of_user[u] == group][: seen + new]
            for number, user in enumerate(drawn):
                at = np.cumsum([KNOWN, CHECKED])
                for p, some in zip((TRAIN, VALID, TEST), np.split(own[user], at)):
                    if number < seen or p != VALID:
                        part[some] = -1 if number >= seen and p == TRAIN else p
                        block[some] = 1 + 10 * user + 3 * p + np.arange(len(some)) // BLOCK
        names, place = np.unique(
            block[block > 0], return_inverse=True
        )  # as prompts that nobody reads: pairs on one stand behind one history
        prompt = np.full(len(whole), -1, np.int32)
        prompt[block > 0] = len(whole.texts) + place
        sub = replace(whole, texts=[*whole.texts, *map(str, names.tolist())], prompt=prompt, split=part).take(block > 0)
        return cls(*deal(sub, seed=seed), groups, seed)

    def counts(self) -> dict[str, int]:
        """Users by group, seen and new, and pairs by part."""
        present = np.unique(self.data.user)
        kinds = [f"{'new' if self.split.unseen[u] else 'seen'} {self.groups.names[self.groups.of_user[u]]}" for u in present.tolist()]
        pairs = {f"{name} pairs": int(self.split.rows(p).sum()) for name, p in (("training", TRAIN), ("validation", VALID), ("test", TEST))}
        texts = {"statements": len(np.unique([self.data.chosen, self.data.rejected]))}
        return {**Counter(kinds), **pairs, **texts}


def votes(folder: Path) -> dict[str, list[Any]]:
    """Votes on short statements by those who may have enough of either kind."""
    text = {r["comment_id"]: r["comment_body"] for r in rows(folder / "comments.csv.gz") if r["conversation"] == CONVERSATION}
    cast = [
        Vote(r["participant"], text[r["comment_id"]], int(r["vote"]), {})
        for r in rows(folder / "votes.csv.gz")
        if r["conversation"] == CONVERSATION and r["vote"] != "0" and 0 < len(text.get(r["comment_id"], "").strip()) <= LONGEST
    ]
    said = Counter((v.user, v.vote) for v in cast)
    cast = [v for v in cast if min(said[v.user, 1], said[v.user, -1]) >= ENOUGH]
    return {"user": [v.user for v in cast], "item": [v.item for v in cast], "vote": [v.vote for v in cast]}


def apart(data: PreferenceData, own: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of a user's pairs that share no statement."""
    used: set[int] = set()
    out = []
    for row in own.tolist():
        sides = {int(data.chosen[row]), int(data.rejected[row])}
        if len(out) < count and not sides & used:
            used |= sides
            out.append(row)
    return np.array(out, np.int64)


def trained(study: Study, name: str, cache: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Margins of the test pairs, frozen and tuned, under the histories that are asked about; and what was told of the training."""
    k = MODELS[name]
    # bfloat16 as in backbone.py
    backbone = Backbone("smollm2", device="cpu", dtype="bfloat16", history_pairs=k or 0, tuning=TUNING)
    encoder = BackboneEncoder(backbone)
    encoding = Encoding(encoder, with_prompt=False, tfidf=False, dim=DIM, cache=cache, trained=True)
    ready = replace(prepare(study.data, study.split, encoding, Grouping(), seed=study.seed), groups=study.groups)
    train, valid = ready.training()
    train = replace(train, block=torch.from_numpy(study.data.prompt[study.split.rows(TRAIN)].astype(np.int64)))
    method = BradleyTerry() if k is None else BradleyTerry(Linear())
    arrays, test = {}, study.split.rows(TEST)
    fits = {
        "frozen": method.fit(replace(train, texts=None), replace(valid, texts=None), study.seed),
        "tuned": method.fit(train, valid, study.seed),
    }
    for how, fitted in fits.items():
        for given in (KNOWN, *KS) if k is None else (k,):
            arrays[f"{how}, {given}"] = margins(
                fitted.scorer, late(ready, given) if k is None else ready.pairs(test, study.split.history)
            ).numpy()
    trace = fits["tuned"].trace
    if k:
        arrays |= other_histories(ready, fits["tuned"].scorer, backbone, cache)
    user = study.data.user[test]
    arrays |= {"user": user, "group": study.groups.of_user[user].astype(np.int64), "new": study.split.unseen[user].astype(np.int64)}
    losses = [min(trace.valid_loss[: trace.tuned_from]), *trace.valid_loss[trace.tuned_from :]]
    lengths = ready.texts.tokens  # type: ignore[union-attr]
    return arrays, {
        "valid loss": losses,
        "kept": max(0, trace.best_epoch - trace.tuned_from),
        "step loss": trace.step_loss,
        "tokens": [float(lengths.mean()), int(lengths.max())],
        "cut": int(ready.responses.cut.sum()),
    }


def late(ready: Prepared, given: int) -> Any:
    """The test pairs, each user read from the last so many pairs of the history."""
    history = np.zeros(len(ready.data), bool)
    for user in np.unique(ready.data.user).tolist():
        own = np.flatnonzero(ready.split.history & (ready.data.user == user))
        history[own[len(own) - min(given, len(own)) :]] = True
    return ready.pairs(ready.split.rows(TEST), history)


def other_histories(ready: Prepared, scorer: Scorer, backbone: Backbone, cache: Path) -> dict[str, np.ndarray]:
    """The same model told nothing of the user, and told of somebody else."""
    assert isinstance(scorer, Tuned)
    data, test = ready.data, ready.split.rows(TEST)
    asked = data.take(test)
    encoder = BackboneEncoder(backbone, scorer.adapter)  # type: ignore[arg-type]
    users = np.unique(asked.user)
    shuffled = np.random.default_rng([62, ready.seed]).permutation(users)
    other = dict(zip(shuffled.tolist(), np.roll(shuffled, 1).tolist()))
    out = {}
    last = tellings(data, earlier(data, ready.split, backbone.history_pairs, ready.seed), backbone, False)
    own = [told for told, is_asked in zip(last, test) if is_asked]
    of_user = dict(zip(asked.user.tolist(), own))
    for given, told in (("0", [()] * len(own)), ("another's", [of_user[other[user]] for user in asked.user.tolist()])):
        read = encode_responses(asked, encoder, False, cache, told=told)
        items = torch.from_numpy(ready.feature_map.apply(read.texts, read.vectors))
        pairs = ready.pairs(test, ready.split.history)
        pairs = replace(
            pairs,
            history=replace(pairs.history, items=items),
            chosen=torch.from_numpy(read.chosen),
            rejected=torch.from_numpy(read.rejected),
            texts=None,
        )
        out[f"tuned, {given}"] = margins(scorer.head, pairs).numpy()
    return out


DIFFERENCES = [
    *((f"{k} in words: tuned, {k}", "0 in words: tuned, 0") for k in KS[1:]),
    *((f"{k} in words: tuned, {k}", f"{k} in words: frozen, {k}") for k in KS),
    *((f"{k} in words: tuned, {k}", f"{k} in words: tuned, {given}") for k in KS[1:] for given in ("another's", 0)),
    *((f"late: tuned, {k}", f"{k} in words: tuned, {k}") for k in KS),
    ("late: frozen, 8", "8 in words: tuned, 8"),
    *((f"late: tuned, {k}", "late: tuned, 0") for k in (*KS[1:], KNOWN)),
    (f"late: tuned, {KNOWN}", f"late: frozen, {KNOWN}"),
]  # model: how it was trained, pairs given at test time


def summary(pieces: Path) -> dict[str, Any]:
    """Levels of every model, paired differences, and what was told of trainings, from whatever pieces there are."""
    values: dict[str, dict[str, dict[str, np.ndarray]]] = {}  # model → seed → metric → users
    who: dict[str, dict[str, np.ndarray]] = {}  # seed → masks of users
    trainings: dict[str, Any] = {}
    for file in sorted(pieces.glob("*/*.safetensors")):
        seed, arrays = file.parent.name, load_file(file)
        with safe_open(file, "np") as content:
            trainings.setdefault(seed, {})[file.stem] = json.loads(content.metadata()["about"])
        users, number = np.unique(arrays.pop("user"), return_inverse=True)
        one = np.unique(number, return_index=True)[1]
        minority, new = arrays.pop("group")[one] == 1, arrays.pop("new")[one] == 1
        who[seed] = {"all": np.ones(len(users), bool), "majority": ~minority, "minority": minority, "seen": ~new, "new": new}
        for name, margin in arrays.items():
            metrics = {"accuracy": 100.0 * (margin > 0), "log loss": np.logaddexp(0, -margin.astype(float))}
            values.setdefault(f"{file.stem}: {name}", {})[seed] = {m: np.bincount(number, v) / ASKED for m, v in metrics.items()}

    def level(by_seed: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
        return {
            m: {g: mean_of(np.concatenate([v[m][who[seed][g]] for seed, v in by_seed.items()])) for g in next(iter(who.values()))}
            for m in ("accuracy", "log loss")
        }

    def minus(one: str, other: str) -> dict[str, Any]:
        both = {
            seed: {m: values[one][seed][m] - values[other][seed][m] for m in ("accuracy", "log loss")}
            for seed in values[one].keys() & values[other].keys()
        }
        return {"one": one, "other": other, **level(both)}

    return {
        "models": {name: level(by_seed) for name, by_seed in values.items()},
        "differences": [minus(*d) for d in DIFFERENCES if all(name in values for name in d)],
        "trainings": trainings,
    }


def mean_of(users: np.ndarray) -> dict[str, float]:
    """The mean over users with a 95 % t interval."""
    half = stats.t.ppf(0.975, len(users) - 1) * users.std(ddof=1) / len(users) ** 0.5
    return {"value": float(users.mean()), "low": float(users.mean() - half), "high": float(users.mean() + half), "users": len(users)}


if __name__ == "__main__":
    main()

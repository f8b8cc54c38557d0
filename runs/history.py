"""Does more of a user's history help when a language model reads it in words, and is that better than a head that reads its features?

Real voters of one Polis conversation (bowling-green, the only English one with enough people who voted much); statements of at most 90
characters, dealt to training, validation and test by the package's own rule, so that every scored statement is new to the model. A pair is a
statement agreed with over one disagreed with; no two pairs of a user share a statement. 12 training pairs a seen user; new users have 12
pairs on the same statements as their history. Groups: the lowest fifth of item support, from the training pairs of all who voted that much.

SmolLM2-135M under LoRA, from the head's frozen fit, 24 steps of 32 pairs of 8 users, about one pass. *In words*: K earlier choices stand
before the statement, K in {0, 2, 4, 8}, and the reward is linear. *Late*: LoRe's head reads the features of the user's pairs, in batches of
the same kind; with large batches it takes as many steps of a quarter of all pairs, since a statement is encoded once for all users.
Four training pairs of a user stand behind one history, which makes a step three times as cheap. The look that is kept is validation's choice,
the frozen head included; test pairs chose nothing.

Expected, written before any run: (1) with some 700 training pairs no K beats another beyond noise, in no group, and log loss falls by under
.01 from K = 0 to 8; (2) a late user, tuned or not, is at least level with every K; (3) the minority gains more from a history than the
majority in either form. Found would be: a difference on test pairs whose 95 % interval over users excludes 0; the papers' claim (more
history helps, the minority more) asks it of K = 8 minus K = 0. That the model reads a history at all asks that K = 8 is better with a
user's own history than with another user's. If it is not, K was not learned, and nothing is said of what more training would give.
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
from dsp import interval
from safetensors import safe_open
from safetensors.numpy import load_file, save
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
KNOWN, BLOCK, CHECKED, ASKED = 12, 4, 4, 8  # pairs of a user: training (or history), of these behind one history, validation, test
SEEN, NEW = 100, 60  # users at most
KS, DIM = (0, 2, 4, 8), 64
STEPS, LOOKS = 24, 2
MODELS = {"late": None, "late, large batches": None, **{f"{k} in words": k for k in KS}}  # K in words; None: LoRe's head


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
        whole = evenhand.load(votes(folder / "polis"), source="votes")
        dealt, split = deal(whole, seed=seed, unseen_users=0.3)
        support = support_of(dealt, split.history, ~split.unseen, whole)
        groups = Grouping().groups(dealt, support, ~split.unseen)
        rng = np.random.default_rng([61, seed])
        parts = {TRAIN: KNOWN, VALID: CHECKED, TEST: ASKED}
        taken: dict[bool, list[dict[int, np.ndarray]]] = {False: [], True: []}
        for user in rng.permutation(len(whole.users)).tolist():
            new = bool(split.unseen[user])
            part = np.where(split.history, TRAIN, split.part)
            own = {p: apart(dealt, np.flatnonzero((dealt.user == user) & (part == p)), n) for p, n in parts.items() if not (new and p == VALID)}
            if len(taken[new]) < (NEW if new else SEEN) and all(len(r) == parts[p] for p, r in own.items()):
                taken[new].append(own)
        part = np.full(len(dealt), -1, np.int8)
        block = np.zeros(len(dealt), np.int64)
        for new, users in taken.items():
            for number, own in enumerate(users):
                for p, some in own.items():
                    part[some] = -1 if new and p == TRAIN else p
                    block[some] = 1 + 100 * (number + SEEN * new) + 10 * p
                    if p == TRAIN:
                        block[some] += rng.permutation(np.repeat(np.arange(KNOWN // BLOCK), BLOCK))
        names, place = np.unique(block[block > 0], return_inverse=True)  # as prompts, which nobody reads: pairs of one stand behind one history
        sub = replace(dealt, split=part, texts=[*dealt.texts, *map(str, names.tolist())], prompt=dealt.prompt.copy(), judgements=None)
        sub.prompt[block > 0] = len(dealt.texts) + place
        sub = replace(sub.take(block > 0), split=part[block > 0])
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
    enough = KNOWN + CHECKED + ASKED
    cast = [v for v in cast if min(said[v.user, 1], said[v.user, -1]) >= enough]
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
    large = name.endswith("large batches")
    tuning = Tuning(steps=STEPS, eval_every=STEPS // LOOKS, batch_texts=48 if large else 64)
    # bfloat16 as in backbone.py
    backbone = Backbone("smollm2", device="cpu", dtype="bfloat16", history_pairs=k or 0, tuning=tuning)
    encoder = BackboneEncoder(backbone)
    encoding = Encoding(encoder, with_prompt=False, tfidf=False, dim=DIM, cache=cache, trained=True)
    ready = replace(prepare(study.data, study.split, encoding, Grouping(), seed=study.seed), groups=study.groups)
    train, valid = ready.training()
    train = replace(train, block=None if large else torch.from_numpy(study.data.prompt[study.split.rows(TRAIN)].astype(np.int64)))
    method = BradleyTerry() if k is None else BradleyTerry(Linear())
    arrays, test = {}, study.split.rows(TEST)
    fits = {"frozen": method.fit(replace(train, texts=None), replace(valid, texts=None), study.seed), "tuned": method.fit(train, valid, study.seed)}
    for how, fitted in fits.items():
        for given in (KNOWN, *KS) if k is None else (k,):
            arrays[f"{how}, {given}"] = margins(fitted.scorer, late(ready, given) if k is None else ready.pairs(test, study.split.history)).numpy()
    trace = fits["tuned"].trace
    if k == max(KS):
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
    """The same model told less of the user, and told of somebody else."""
    assert isinstance(scorer, Tuned)
    data, test = ready.data, ready.split.rows(TEST)
    asked = data.take(test)
    encoder = BackboneEncoder(backbone, scorer.adapter)  # type: ignore[arg-type]
    users = np.unique(asked.user)
    shuffled = np.random.default_rng([62, ready.seed]).permutation(users)
    other = dict(zip(shuffled.tolist(), np.roll(shuffled, 1).tolist()))
    out = {}
    for given in (*KS[:-1], "another's"):
        told = tellings(data, earlier(data, ready.split, given if isinstance(given, int) else max(KS), ready.seed), backbone, False)
        told = [t for t, is_asked in zip(told, test) if is_asked]
        if not isinstance(given, int):
            of_user = dict(zip(asked.user.tolist(), told))
            told = [of_user[other[user]] for user in asked.user.tolist()]
        read = encode_responses(asked, encoder, False, cache, told=told)
        items = torch.from_numpy(ready.feature_map.apply(read.texts, read.vectors))
        pairs = ready.pairs(test, ready.split.history)
        pairs = replace(
            pairs, history=replace(pairs.history, items=items), chosen=torch.from_numpy(read.chosen), rejected=torch.from_numpy(read.rejected), texts=None
        )
        out[f"tuned, {given}"] = margins(scorer.head, pairs).numpy()
    return out

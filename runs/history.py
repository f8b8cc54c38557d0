"""Does more of a user's history help when a language model reads it in words, and is that better than a head that reads its features?

SmolLM2-135M under LoRA, from the head's frozen fit, one pass. *In words*: K earlier choices stand before the response, K in {0, 2, 4, 8},
and the reward is linear. *As soft tokens*: four that are made of all 16 choices stand there, and the reward is linear. *Late*: LoRe's head reads the features of the user's pairs, in batches of the same kind. Eight training pairs of
a user stand behind one history, which makes a step several times as cheap. The look that is kept is validation's choice, the frozen head
included; test pairs chose nothing. Whose pairs, how many, and what was expected before any run: history_polis.py, history_dsp.py.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from history_dsp import dsp
from history_polis import polis
from history_study import Study
from safetensors import safe_open
from safetensors.numpy import load_file, save
from scipy import stats

from evenhand.core import Scorer
from evenhand.data.splits import TEST, TRAIN
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.training.scoring import margins
from evenhand.training.tuned import Tuned
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, Prepared, encode_responses, prepare
from evenhand.workflows.told import earlier, tellings
from evenhand.writing import put

OUT = Path("runs/results/history.json")
KS, DIM = (0, 2, 4, 8), 64
STUDIES = {"polis": polis, "dsp": dsp}
SOFT, SOFT_TOKENS = "16 as soft tokens", 4
MODELS = {"0 in words": 0, "8 in words": 8, "late": None, "4 in words": 4, "2 in words": 2, SOFT: 16}  # K in the input; None: LoRe's head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--data", type=Path, required=True, help="folder with the folders polis and dsp")
    parser.add_argument("--pieces", type=Path, default=Path("runs/out/history"), help="a file a model: none is trained again")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="deals of statements and users")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    pieces = args.pieces / args.study
    for seed in args.seeds:
        study = None
        for name in args.models:
            file = pieces / str(seed) / f"{name}.safetensors"
            if not file.exists():
                study = study or STUDIES[args.study](args.data, seed)
                start = time.process_time()
                arrays, about = trained(study, name, args.cache)
                about |= {"cpu": time.process_time() - start, "groups": study.groups.rule, "users": study.counts()}
                put(file, save(arrays, {"about": json.dumps(about)}))
                print(f"{time.strftime('%H:%M:%S')} {seed} {name}: {about}", flush=True)
                keep(args.study, summary(pieces))
    keep(args.study, summary(pieces))


def keep(study: str, found: dict[str, Any]) -> None:
    """Beside what is there of the other study."""
    before = json.loads(OUT.read_text()) if OUT.exists() else {}
    put(OUT, (json.dumps({**before, study: found}) + "\n").encode())


def trained(study: Study, name: str, cache: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Margins of the test pairs, frozen and tuned, under the histories that are asked about; and what was told of the training."""
    k = MODELS[name]
    # bfloat16 as in backbone.py
    backbone = Backbone(
        "smollm2", device="cpu", dtype="bfloat16", max_tokens=study.design.max_tokens, history_pairs=k or 0,
        soft_user_tokens=SOFT_TOKENS if name == SOFT else 0, tuning=study.design.tuning,
    )  # fmt: skip
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
        for given in (study.design.known, *KS) if k is None else (k,):
            arrays[f"{how}, {given}"] = margins(
                fitted.scorer, late(ready, given) if k is None else ready.pairs(test, study.split.history)
            ).numpy()
    trace = fits["tuned"].trace
    if k:
        arrays |= other_histories(study, ready, fits["tuned"].scorer, backbone, cache)
    user = study.data.user[test]
    arrays |= {"user": user, "query": study.query[test], "group": study.groups.of_user[user], "new": study.split.unseen[user]}
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


def other_histories(study: Study, ready: Prepared, scorer: Scorer, backbone: Backbone, cache: Path) -> dict[str, np.ndarray]:
    """The same model told nothing of the user, and told of somebody else."""
    assert isinstance(scorer, Tuned)
    data, test = ready.data, ready.split.rows(TEST)
    asked = data.take(test)
    encoder = BackboneEncoder(backbone, scorer.adapter)  # type: ignore[arg-type]
    other = study.others(np.unique(asked.user))
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
    (f"{SOFT}: tuned, 16", "0 in words: tuned, 0"),
    (f"{SOFT}: tuned, 16", f"{SOFT}: frozen, 16"),
    *((f"{SOFT}: tuned, 16", f"{SOFT}: tuned, {given}") for given in ("another's", 0)),
    ("late: tuned, 16", f"{SOFT}: tuned, 16"),
    *((f"late: tuned, {k}", "late: tuned, 0") for k in (*KS[1:], 16)),
    ("late: tuned, 16", "late: frozen, 16"),
]  # model: how it was trained, pairs given at test time


BySeed = dict[str, dict[str, np.ndarray]]  # seed → metric → pairs


def summary(pieces: Path) -> dict[str, Any]:
    """Levels of every model, paired differences, and what was told of trainings, from whatever pieces there are."""
    values: dict[str, BySeed] = {}  # by model
    asked: dict[str, dict[str, np.ndarray]] = {}  # seed → who was asked what
    trainings: dict[str, Any] = {}
    for file in sorted(pieces.glob("*/*.safetensors")):
        seed, arrays = file.parent.name, load_file(file)
        with safe_open(file, "np") as content:
            trainings.setdefault(seed, {})[file.stem] = json.loads(content.metadata()["about"])
        asked[seed] = {name: arrays.pop(name) for name in ("user", "query", "group", "new")}
        for name, margin in arrays.items():
            metrics = {"accuracy": 100.0 * (margin > 0), "log loss": np.logaddexp(0, -margin.astype(float))}
            values.setdefault(f"{file.stem}: {name}", {})[seed] = metrics

    def level(by_seed: BySeed) -> dict[str, Any]:
        who = [(asked[seed]["user"] + 1_000_000 * int(seed), *list(asked[seed].values())[1:]) for seed in by_seed]
        user, query, group, new = (np.concatenate(column) for column in zip(*who, strict=True))
        parts = {"all": group >= 0, "majority": group == 0, "minority": group == 1, "seen": new == 0, "new": new == 1}
        whole = {metric: np.concatenate([v[metric] for v in by_seed.values()]) for metric in ("accuracy", "log loss")}
        return {m: {name: mean_of(v[part], user[part], query[part]) for name, part in parts.items()} for m, v in whole.items()}

    def minus(one: str, other: str) -> dict[str, Any]:
        a, b = values[one], values[other]
        return {"one": one, "other": other, **level({seed: {m: a[seed][m] - b[seed][m] for m in a[seed]} for seed in a if seed in b})}

    return {
        "models": {name: level(by_seed) for name, by_seed in values.items()},
        "differences": [minus(*d) for d in DIFFERENCES if all(name in values for name in d)],
        "trainings": trainings,
    }


def mean_of(value: np.ndarray, user: np.ndarray, query: np.ndarray) -> dict[str, float]:
    """The mean over pairs, as many of every user, with a 95 % t interval over users, and over queries where pairs have any (-1: none): the
    variances of both less that of single pairs (Cameron, Gelbach & Miller 2011), and never less than that over users.
    """
    rest = (value - value.mean()) / len(value)
    users = np.unique(user, return_inverse=True)[1]
    variance, fewest = _variance(rest, users), users.max() + 1
    if (query >= 0).all():
        queries = np.unique(query, return_inverse=True)[1]
        variance = max(variance, variance + _variance(rest, queries) - _variance(rest, np.arange(len(rest))))
        fewest = min(fewest, queries.max() + 1)
    half = stats.t.ppf(0.975, fewest - 1) * variance**0.5
    mean = float(value.mean())
    return {"value": mean, "low": mean - half, "high": mean + half, "users": int(users.max() + 1)}


def _variance(rest: np.ndarray, cluster: np.ndarray) -> float:
    sums = np.bincount(cluster, rest)
    return float((sums**2).sum() * len(sums) / (len(sums) - 1))


if __name__ == "__main__":
    main()

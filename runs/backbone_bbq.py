"""BBQ with a backbone that trains along: is it above chance, and if so, what do constraints change? The study of faro_bbq.py on a subset.

Pairs, events, splits and scores are that study's; the backbone reads prompt and answer together. Entries: one reward for all on frozen and on
tuned features, and Faro on tuned ones. Chance is 1/3 of the disambiguated items, and 1/2 of the pairs of two persons.
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
from bbq import Items, bbq_scores
from faro_bbq import DIM, GAMMA, Entry, dealt, measured, study

import evenhand
from evenhand.audits.metrics import correct
from evenhand.audits.rates import DECISIONS, rates, violation
from evenhand.core import Method, PreferenceData, Tuning
from evenhand.data.splits import TEST, split_pairs
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.prompted import item_text
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, dp, eo
from evenhand.models.linear import Linear
from evenhand.training.tuned import Tuned
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.prepare import Prepared, prepare

BASE = BradleyTerry(Linear())
ENTRIES: dict[str, Method] = {"Bradley-Terry": BASE, "Faro-DP": Faro(BASE, dp, GAMMA), "Faro-EO": Faro(BASE, eo, GAMMA)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder bbq")
    parser.add_argument("--out", type=Path, default=Path("runs/results/backbone_bbq.json"))
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--backbone", default="smollm2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--per-template", type=int, default=8, help="items drawn of each template, matched items together")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tuning = Tuning(steps=args.steps, eval_every=max(1, args.steps // 2))
    backbone = Backbone(args.backbone, device="cpu", dtype="bfloat16", chunk_tokens=2048, tuning=tuning)
    data, items = study(args.data, args.per_template)
    found = entries(data, items, backbone, args.cache)
    args.out.write_text(json.dumps({"backbone": args.backbone, "steps": args.steps, "items": len(items), "entries": found}) + "\n")


def entries(data: PreferenceData, items: Items, backbone: Backbone, cache: Path, seed: int = 0) -> list[dict[str, Any]]:
    data = replace(data, split=np.repeat(dealt(items, seed), 2))
    split = split_pairs(data, seed=seed)
    encoding = Encoding(BackboneEncoder(backbone), with_prompt=True, dim=DIM, cache=cache, trained=True)
    tuned = prepare(data, split, encoding, evenhand.Grouping(), seed=seed)
    judged = items.take(np.flatnonzero(split.rows(TEST)[::2]))
    told = []
    for where, ready in (("frozen", replace(tuned, texts=None)), ("tuned", tuned)):
        for name, method in ENTRIES.items():
            start = time.process_time()
            fitted = method.fit(*ready.training(), seed)
            row = figures(ready, Entry(name, fitted.scorer), judged)
            told.append({"name": f"{name}, {where}", "cpu": time.process_time() - start} | row)
            print(told[-1], flush=True)
    return told


def figures(ready: Prepared, entry: Entry, judged: Items) -> dict[str, Any]:
    """Accuracies, bias scores and violations on the templates that were held out."""
    rows = ready.split.rows(TEST)
    pairs = ready.pairs(rows, ready.split.history)
    margin = entry.margins(pairs).double().numpy()
    place = {text: row for row, text in enumerate(ready.responses.texts)}
    answers = torch.tensor([[place[item_text(p, a, True)] for a in three] for p, three in zip(judged.prompts, judged.answers)])
    features = entry.scorer.on(pairs).items if isinstance(entry.scorer, Tuned) else ready.features
    scores = bbq_scores(entry.rewards(features, answers, judged), judged)
    assert ready.events is not None
    here = ready.events.take(rows)
    user = ready.data.user[rows]
    return {
        "pairs": float(correct(margin).mean()),
        "person": float(np.nanmean(measured(ready, entry)["person"])),
        "bbq": {k: None if v is None else [v.value, v.low, v.high] for k, v in vars(scores).items()},
        "violation": {n: float(violation(rates(margin, user, here, n, DECISIONS["soft"]))) for n in ("dp", "eo")},
    }


if __name__ == "__main__":
    main()

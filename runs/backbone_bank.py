"""Histories from the bank or encoded with the batch, with gradient: what it costs, and what it is worth.

Personalised Bradley-Terry on MiniLM + LoRA, on some queries of one rotation of backbone.py; the same steps, batches and start for both. Users'
histories are read from the features that their texts had last (the default), or are encoded with every batch (Tuning(own_history=True)).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from backbone import BASE, GROUPS, Rotation
from dsp import per_user, responses

from evenhand.core import Tuning
from evenhand.encode.backbone import Backbone
from evenhand.training.scoring import margins
from evenhand.writing import put

STEPS, TEXTS = 8, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with domain_specific_preference.test.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSON for runs/results.py")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--rotation", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    texts, found = responses(args.data), []
    for seed in args.seeds:
        for own in (False, True):
            tuning = Tuning(steps=STEPS, eval_every=STEPS, batch_texts=TEXTS, own_history=own)
            backbone = Backbone("minilm", device="cpu", dtype="bfloat16", chunk_tokens=1024, keep_gb=0, tuning=tuning)
            run = Rotation.of(texts, backbone, args.rotation, seed, args.cache)
            train, valid, test = (run.sets[name] for name in ("train", "valid", "test"))
            queries = train.block.unique()
            some = queries[torch.randperm(len(queries), generator=torch.Generator().manual_seed(seed))[: args.queries]]
            train = train.take(torch.isin(train.block, some))
            start = time.process_time()
            fitted = BASE.fit(train, valid, seed)
            seconds = time.process_time() - start
            right = per_user(margins(fitted.scorer, test))
            trace = fitted.trace
            found.append(
                {
                    "seed": seed,
                    "own_history": own,
                    "cpu": seconds,
                    "valid_before": min(trace.valid_loss[: trace.tuned_from]),
                    "valid_after": trace.valid_loss[-1],
                    "test": {group: 100 * float(right[users].mean()) for group, users in GROUPS.items()},
                    "kept": trace.best_epoch > trace.tuned_from,
                }
            )
            print(json.dumps(found[-1]), flush=True)
            put(args.out, (json.dumps({"queries": args.queries, "steps": STEPS, "texts": TEXTS, "fits": found}) + "\n").encode())


if __name__ == "__main__":
    main()

"""One DSP world as a table that the command line reads, to run every verb on the DSP protocol.

Columns user, prompt, chosen, rejected, split, taste (common or rare). 400 users with training, validation and test pairs; 400 more who are never
trained on: their 28 earlier pairs have no split, so they are history alone, and their 30 test pairs are judged.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
from dsp import USERS, responses, world

from evenhand.core import History, Pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with domain_specific_preference.test.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSONL to write")
    parser.add_argument("--minority", type=int, default=0, help="domain that a tenth of the users likes, 0 to 3")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    texts = responses(args.data)
    with gzip.open(args.data / "domain_specific_preference.test.jsonl.gz", "rt") as lines:
        prompts = [json.loads(line)["query"] for line in lines]
    order = np.random.default_rng([args.seed, args.minority]).permutation(len(prompts))
    sets = world(torch.zeros(len(texts), 1), (order[:360], order[360:460], order[460:]), (args.minority,), args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w") as out:

        def write(users: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor, split: str, first: int) -> None:
            for u, c, r in zip(users.tolist(), chosen.tolist(), rejected.tolist(), strict=True):
                taste = "rare" if rare[u] else "common"
                row = {
                    "user": f"u{first + u}",
                    "prompt": prompts[c // 4],
                    "chosen": texts[c],
                    "rejected": texts[r],
                    "split": split,
                    "taste": taste,
                }
                out.write(json.dumps(row, ensure_ascii=False) + "\n")

        rare = in_minority(sets["test"])
        for split in ("train", "valid", "test"):
            write(sets[split].user, sets[split].chosen, sets[split].rejected, split, 0)
        known: History = sets["new28"].history
        write(known.owner(), known.chosen, known.rejected, "", USERS)
        write(sets["new28"].user, sets["new28"].chosen, sets["new28"].rejected, "test", USERS)
    print(f"written: {args.out.name}")


def in_minority(pairs: Pairs) -> list[bool]:
    rare = torch.zeros(USERS, dtype=torch.bool)
    rare[pairs.user] = pairs.group == 1
    found: list[bool] = rare.tolist()
    return found


if __name__ == "__main__":
    main()

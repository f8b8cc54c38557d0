"""Texts of SmolLM2: tokens a second of CPU time against `generate` of transformers, side by side in one run; and how often a text depends on
the texts that are written beside it.

Both sides have the same model, prompts (climate, --cells of them, 4 texts each), temperature, top-p and limit; `generate` in batches of 48
with padding on the left, as its users run it. Rounds alternate. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"
K, ROWS = 4, 48


def main() -> None:
    import torch

    from evenhand.texts.generators.generator import Request, Sampling
    from evenhand.texts.generators.language_model import LanguageModel
    from evenhand.texts.generators.wordings import PLAIN, worded
    from evenhand.texts.grid import load_grid

    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--cells", type=int, default=24)
    given.add_argument("--rounds", type=int, default=3)
    said = given.parse_args()
    torch.set_num_threads(1)
    grid, sampling = load_grid("climate"), Sampling()
    cells = np.random.default_rng(0).choice(len(grid), said.cells, replace=False).tolist()
    requests = [Request(worded(PLAIN["climate"], grid.row(c)), K * i + d) for i, c in enumerate(cells) for d in range(K)]
    ours = LanguageModel("smollm2", dtype="bfloat16", rows=ROWS)
    model, tokenizer = ours._loaded
    tokenizer.pad_token, tokenizer.padding_side = "<|endoftext|>", "left"  # its own is the end of a turn
    prompts = [tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in q.messages], add_generation_prompt=True, return_dict=False)
               for q in requests]  # fmt: skip

    def theirs() -> int:
        tokens = 0
        for at in range(0, len(prompts), ROWS):
            batch = tokenizer.pad({"input_ids": prompts[at : at + ROWS]}, return_tensors="pt")
            new: Any = model.generate(
                **batch, do_sample=True, temperature=0.7, top_p=0.95, top_k=0, max_new_tokens=110, pad_token_id=tokenizer.pad_token_id
            )
            tokens += int((new[:, batch["input_ids"].shape[1] :] != tokenizer.pad_token_id).sum())
        return tokens

    def written(order: list[int], rows: int = ROWS) -> dict[int, tuple[str, int]]:
        found = LanguageModel("smollm2", dtype="bfloat16", rows=rows)
        found.__dict__["_loaded"] = model, tokenizer
        return {order[i]: (a.text, a.tokens) for i, a in found.generate([requests[i] for i in order], sampling)}

    every = list(range(len(requests)))
    first = written(every)
    speed: dict[str, list[float]] = {"evenhand": [], "transformers": []}
    for _ in range(said.rounds):
        began = time.process_time()
        tokens = sum(n for _, n in written(every).values())
        speed["evenhand"].append(tokens / (time.process_time() - began))
        began = time.process_time()
        tokens = theirs()
        speed["transformers"].append(tokens / (time.process_time() - began))
    mine, other = (float(np.median(speed[name])) for name in speed)
    print(f"{len(requests)} texts of {len(cells)} prompts, {said.rounds} rounds, median: {mine:.0f} tokens a second of CPU time, transformers {other:.0f}, "
          f"ratio {mine / other:.2f}")  # fmt: skip
    mixed = np.random.default_rng(1).permutation(len(requests)).tolist()
    for what, order, rows in (
        ("in another order", mixed, ROWS),
        ("at most 16 at once", every, 16),
        ("half of them alone", mixed[::2], ROWS),
    ):
        again = written(order, rows)
        print(f"{what}: {sum(again[i] != first[i] for i in order)} of {len(order)} texts differ")


if __name__ == "__main__":
    main()

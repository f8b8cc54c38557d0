"""Exported folders of SmolLM2 beside the model they are of: rewards in float32, and how many pairs change sides in bfloat16.

A reward model on SmolLM2-135M with LoRA moved off its start, one user's taste in the head; no training, since how well it ranks is not asked here.
It is exported as a stock class and with its own code (mean over the response), read again in another process, and asked for the rewards of
responses of the built-in sample. A pair is any two responses to any prompts: margins near 0, which rounding turns round, are as common as they come.

Three numbers of each form: the folder in float32 against the model; the folder in bfloat16 against the model, which says what bfloat16 costs; and the
folder saved in bfloat16 by transformers and read again against the same weights in memory, which says what an export adds to that (nothing). The
second is beside what transformers itself loses when it loads the stock class's own weights in bfloat16 in the place of float32: no code of ours runs.

    python runs/export.py --texts 60
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import evenhand
from evenhand.data.simulate import write_sample
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import item_text
from evenhand.models.low_rank import LowRank
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.export import export

READER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, dtype, asked, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True, dtype=getattr(torch, dtype)).eval()
def scored(model):
    rewards = []
    with torch.no_grad():
        for said in json.load(open(asked)):
            texts = tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt")
            rewards.append(float(model(**texts).logits[0, 0]))
    return rewards
found = {"rewards": scored(model)}
if dtype == "bfloat16":  # saved and read again: by transformers alone
    import tempfile
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        kind = {"trust_remote_code": True, "dtype": torch.bfloat16}
        found["again"] = scored(AutoModelForSequenceClassification.from_pretrained(again, **kind).eval())
json.dump(found, open(out, "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = evenhand.load(write_sample(Path(place) / "choices.jsonl", users=40, minority=0.3))
        found = sorted(
            {(data.texts[p], data.texts[c]) for p, c in zip(data.prompt.tolist(), data.chosen.tolist())},
            key=lambda pair: (len(pair[1]), pair),
        )
        asked = found[: args.texts]
        prompts, responses = zip(*asked)
        said = [[{"role": "user", "content": p}, {"role": "assistant", "content": r}] for p, r in asked]
        (Path(place) / "asked.json").write_text(json.dumps(said))
        for pooling, form in (("last", "hf"), ("mean", "hf-code")):
            model = made(pooling, prompts, responses)
            done = export(model, Path(place) / form, to=form)
            expected = model.score([], prompts, responses).astype(float) - done.constant["everybody"]
            found = {dtype: read(Path(place), form, dtype) for dtype in ("float32", "bfloat16")}
            single, half = (found[dtype]["rewards"] for dtype in ("float32", "bfloat16"))
            told(f"{form}, pooling {pooling}, float32 against the model", expected, single)
            told(f"{form}, pooling {pooling}, bfloat16 against the model", expected, half)
            told(f"{form}, pooling {pooling}, transformers' own bfloat16 against its float32", single, half)
            told(f"{form}, pooling {pooling}, saved in bfloat16 and read again", half, found["bfloat16"]["again"])


def told(what: str, one: np.ndarray, other: np.ndarray) -> None:
    margins, others = (np.subtract.outer(r, r)[np.triu_indices(len(r), 1)] for r in (one, other))
    turned = np.sign(margins) != np.sign(others)
    print(
        f"{what}: largest difference of a reward {np.abs(other - one).max():.1e} (standard deviation of rewards {one.std():.2f}); {turned.sum()} of "
        f"{len(margins):,} pairs change sides ({100 * turned.mean():.2f} %), the largest margin among them {np.abs(margins[turned]).max(initial=0):.3f}",
        flush=True,
    )  # fmt: skip


def made(pooling: str, prompts: tuple[str, ...], responses: tuple[str, ...]) -> RewardModel:
    encoder = BackboneEncoder(Backbone("smollm2", rank=8, pooling=pooling, device="cpu"))  # type: ignore[arg-type]
    adapter, draw = encoder.backbone.base.new_adapter(0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor += 0.01 * torch.randn(tensor.shape, generator=draw)
    encoder = replace(encoder, adapter=adapter)
    texts = [item_text(p, r, True) for p, r in zip(prompts, responses)]
    feature_map = FeatureMap.fit(texts, encoder.encode(texts), tfidf=False, recipe=Recipe(dim=16))
    scorer = LowRank(4).build(16, 0)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return RewardModel(encoder, feature_map, LowRank(4), scorer.eval(), True)


def read(place: Path, folder: str, dtype: str) -> dict[str, np.ndarray]:
    """Rewards of the folder in another process; in bfloat16 also of the folder that transformers makes of it."""
    env = os.environ | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-c", READER, str(place / folder), dtype, str(place / "asked.json"), str(place / "rewards.json")]
    subprocess.run(words, check=True, env=env)
    return {name: np.array(rewards) for name, rewards in json.loads((place / "rewards.json").read_text()).items()}


if __name__ == "__main__":
    main()

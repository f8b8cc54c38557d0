"""Exported folders of SmolLM2 beside the model they are of: rewards in float32, and which pairs change sides in bfloat16.

A reward model on SmolLM2-135M with LoRA moved off its start, one user's taste in the head; no training, since how well it ranks is not asked here.
It is exported in each form: a stock class, the same as an adapter of PEFT on the language model as pretrained (`--keep-adapter`), a stock base with the
user's adapter, LoRA merged or kept (these read the last token), and a folder with its own code (mean over the response). Each is read again in a
process of its own, without evenhand, and asked for the rewards of responses of the built-in sample. A pair is any two responses to any prompts:
margins near 0, which rounding turns round, are as common as they come.

Each form is read in float32; in bfloat16; with weights stored in bfloat16 and loaded in float32; and in bfloat16, saved by transformers and read again,
against the same weights in memory, which says what an export adds to bfloat16. Stock classes also with the last norm and the output in float32 over a
bfloat16 body. An adapter is read beside its base, as PEFT does, and merged into it before anything is saved. "Noise" is what bfloat16 does to a margin,
by the differences of rewards found: sqrt(2) times their standard deviation.

    python runs/export.py --texts 40
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
from tables import table

import evenhand
from evenhand.data.simulate import write_sample
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import item_text
from evenhand.encode.smollm2 import smollm2
from evenhand.models.low_rank import LowRank
from evenhand.serve.exporting.folders import USERS
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.export import GENERIC, export

READER = """
import json, sys, tempfile, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, base, adapter, asked, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
texts = [tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt") for said in json.load(open(asked))]
more = {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id} if base != folder else {}  # what a language model as pretrained does not say
def loaded(place, dtype, adapted=True):
    model = AutoModelForSequenceClassification.from_pretrained(place, trust_remote_code=True, dtype=dtype, **more)
    if adapter and adapted:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter)
    return model.eval()
def scored(model):
    with torch.no_grad():
        return [float(model(**text).logits[0, 0]) for text in texts]
found = {"float32": scored(loaded(base, torch.float32))}
half = loaded(base, torch.bfloat16)
found["bfloat16"] = scored(half)
with tempfile.TemporaryDirectory() as again:
    whole = half.merge_and_unload() if adapter else half
    found["before saving"] = scored(whole)
    whole.save_pretrained(again)
    found["read again"] = scored(loaded(again, torch.bfloat16, False))
    found["stored"] = scored(loaded(again, torch.float32, False))
if not adapter and hasattr(half, "score"):
    half.base_model.norm.float().register_forward_pre_hook(lambda module, given: (given[0].float(),))
    half.score.float()
    found["ends"] = scored(half)
json.dump(found, open(out, "w"))
"""
KEEP = " --keep-adapter"
FORMS = (("hf", "last"), (f"hf{KEEP}", "last"), ("peft", "last"), (f"peft{KEEP}", "last"), ("hf-code", "mean"))  # with their pooling
READINGS = (  # what is read, and what it is held against
    ("float32, against the model", "float32", "model"),
    ("bfloat16, against the model", "bfloat16", "model"),
    ("bfloat16, against its own float32: no code of evenhand", "bfloat16", "float32"),
    ("bfloat16, the last norm and the output in float32, against the model", "ends", "model"),
    ("stored in bfloat16, loaded in float32, against the model", "stored", "model"),
    ("saved in bfloat16 and read again, against the same weights in memory", "read again", "before saving"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--form", choices=[form for form, _ in FORMS], help="this one alone")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data = evenhand.load(write_sample(place / "choices.jsonl", users=40, minority=0.3))
        found = sorted(
            {(data.texts[p], data.texts[c]) for p, c in zip(data.prompt.tolist(), data.chosen.tolist())},
            key=lambda pair: (len(pair[1]), pair),
        )
        asked = found[: args.texts]
        prompts, responses = zip(*asked)
        said = [[{"role": "user", "content": p}, {"role": "assistant", "content": r}] for p, r in asked]
        (place / "asked.json").write_text(json.dumps(said))
        for form, pooling in FORMS:
            if args.form not in (None, form):
                continue
            model = made(pooling, prompts, responses)
            done = export(model, place / form, to=form.removesuffix(KEEP), keep_adapter=form.endswith(KEEP))
            rewards = read(place, form)
            rewards["model"] = model.score([], prompts, responses).astype(float) - done.constant["everybody"]
            print(f"{form}: standard deviation of rewards {rewards['model'].std():.2f}", file=sys.stderr, flush=True)
            rows += [[f"`{form}`", what, *told(rewards[to], rewards[of])] for what, of, to in READINGS if of in rewards]
    head = ["form", "how it is read", "largest difference of a reward", "pairs that change sides", "widest margin of these", "noise of a margin", "changes among margins over noise, over twice"]  # fmt: skip
    print("\n".join(table(head, rows)))


def told(one: np.ndarray, other: np.ndarray) -> list[str]:
    """Of rewards, and the same in another precision."""
    margins, others = (np.subtract.outer(r, r)[np.triu_indices(len(r), 1)] for r in (one, other))
    turned = np.sign(margins) != np.sign(others)
    noise = float(np.sqrt(2) * (other - one).std())
    wide = [np.abs(margins) > k * noise for k in (1, 2)]
    return [
        f"{np.abs(other - one).max():.1e}",
        f"{turned.sum()} of {len(margins):,} ({100 * turned.mean():.2f} %)",
        f"{np.abs(margins[turned]).max():.3f}" if turned.any() else "-",
        f"{noise:.1e}",
        ", ".join(f"{turned[w].sum()} of {w.sum()}" for w in wide),
    ]


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


def read(place: Path, form: str) -> dict[str, np.ndarray]:
    """Rewards of the folder in another process, by how it is read there."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    folder = str(place / form)
    base = str(smollm2()) if form == f"hf{KEEP}" else folder
    adapter = {"hf": folder if base != folder else "", "peft": str(place / form / USERS / GENERIC), "hf-code": ""}[form.removesuffix(KEEP)]
    words = [sys.executable, "-c", READER, folder, base, adapter, str(place / "asked.json"), str(place / "rewards.json")]
    subprocess.run(words, check=True, env=env)
    return {name: np.array(rewards) for name, rewards in json.loads((place / "rewards.json").read_text()).items()}


if __name__ == "__main__":
    main()

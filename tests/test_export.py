"""Exported folders: read in another process, without evenhand, they give the model's own rewards; and what cannot be exported says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, stirred, tiny_bert, tiny_llama, tiny_qwen3

from evenhand.core import DataError, EvenhandError, Head
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import item_text
from evenhand.models.attention import Attention
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore
from evenhand.models.low_rank import LowRank
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.vpl import Vpl
from evenhand.serve.exporting.heads import affine
from evenhand.serve.exporting.texts import conversation
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.saved import heads
from evenhand.workflows.export import GENERIC, export, hashed

pytestmark = pytest.mark.lm

PROMPTS = ["Which answer?", "user: Please write a note.\n\nassistant: A friendly note.\n\nuser: Shorter!", "system: Be brief.\n\nuser: Is it long?"]
RESPONSES = ["The short one.", "Never mind the plan: ask the others on Monday,\n\nplease.", "Würde ich lesen! <b>1 & 2</b>"]
ASKED = [(p, r) for p in PROMPTS for r in RESPONSES]
HISTORY = [("Which answer?", "The short one.", "The long one, which says more."), ("", "Please write.", "No: it is too long.")]


def model_of(folder: Path, head: Any = None, *, pooling: Any = "last", with_prompt: bool = True, rank: int = 2, trained: bool = True, **more: Any) -> RewardModel:  # fmt: skip
    """A reward model on the tiny language model of a folder, all weights moved off their start."""
    encoder = BackboneEncoder(Backbone(str(folder), rank=rank, pooling=pooling, device="cpu", **more))
    encoder = replace(encoder, adapter=stirred(encoder.backbone.base)) if trained else encoder
    texts = [item_text(p, r, with_prompt) for p in PROMPTS for r in (*RESPONSES, *SENTENCES)]
    feature_map = FeatureMap.fit(texts, encoder.encode(texts), tfidf=False, recipe=Recipe(dim=8))
    return RewardModel(encoder, feature_map, head or LowRank(3), moved(head or LowRank(3), 8), with_prompt, {"method": "made up", "seed": 0})


def moved(head: Head, dim: int) -> Any:
    scorer: Any = head.build(dim, 0)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draw)
    return scorer.eval()


@dataclass(frozen=True)
class Case:
    """An exported folder, and the rewards that it should give: those of the model for the state, without what stock classes lack."""

    folder: Path
    rewards: np.ndarray
    how: dict[str, Any]  # of READER


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    tiny_llama(place / "llama", chat=True)
    tiny_llama(place / "plain")
    tiny_qwen3(place / "qwen3")
    tiny_bert(place / "bert")
    rows = [{"user": user, "prompt": p, "chosen": c, "rejected": r} for user in ("ann@example.org", "bo") for p, c, r in HISTORY]
    rows[2:] = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[2:]]
    (place / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


READER = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

out = []
for case in json.load(open(sys.argv[1])):
    folder, how = case["folder"], case["how"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    more = {"dtype": getattr(torch, how["dtype"])} if "dtype" in how else {}
    if "base" in how:
        more |= {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    model = AutoModelForSequenceClassification.from_pretrained(how.get("base", folder), trust_remote_code=how.get("code", False), **more)
    if "adapter" in how:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, how["adapter"])
    model.eval()
    given = {"user": how["asks"]} if "asks" in how else {}
    masks = {"return_assistant_tokens_mask": True} if how.get("masks") else {}
    with torch.no_grad():
        texts = tokenizer.apply_chat_template(case["asked"], return_dict=True, return_tensors="pt", padding=True, **masks)
        together = model(**texts, **given).logits[:, 0].float().tolist()
        first = tokenizer.apply_chat_template(case["asked"][:1], return_dict=True, return_tensors="pt", **masks)
        alone = model(**first, **{k: v if isinstance(v, str) else v[:1] for k, v in given.items()}).logits[:, 0].float().tolist()
    out.append({"together": together, "alone": alone})
assert not any(name.startswith("evenhand") for name in sys.modules), "the folder needs evenhand"
json.dump(out, open(sys.argv[2], "w"))
"""


def read_elsewhere(place: Path, cases: list[Case], asked: list[tuple[str, str]] = ASKED) -> list[dict[str, list[float]]]:
    """Rewards of the folders in another process, all texts in one padded batch, and the first one alone."""
    said = [conversation(*pair) for pair in asked]
    (place / "cases.json").write_text(json.dumps([{"folder": str(c.folder), "how": c.how, "asked": said} for c in cases]))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", READER, "cases.json", "read.json"], cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, list[float]]] = json.loads((place / "read.json").read_text())
    return found


def test_folders_give_the_models_rewards_in_another_process(place: Path) -> None:
    """Every form, pooling, kind of head and of tokenizer, float32: differences are those of rounding."""
    prompts, responses = zip(*ASKED)
    choices = place / "choices.jsonl"
    cases = []

    def case(model: RewardModel, name: str, to: str, user: str = "generic", state: int | None = None, **how: Any) -> None:
        """state: whose rewards are asked for, by number; None = nobody's."""
        swapped = [(p, r, c) for p, c, r in HISTORY]
        history = [[], HISTORY, swapped][0 if state is None else state + 1]
        done = export(model, place / name, to=to, user=user, history=choices, keep_adapter=how.pop("keep", False))
        who = GENERIC if state is None else hashed(("ann@example.org", "bo")[state])
        how = {k: str(place / v) if k in ("adapter", "base") else v for k, v in how.items()}
        cases.append(Case(place / name, model.score(history, prompts, responses) - done.constant[who], how))

    ann = hashed("ann@example.org")
    case(model_of(place / "llama"), "stock-llama", "hf")
    case(model_of(place / "llama", Lore(3)), "stock-ann", "hf", "ann@example.org", 0)
    case(model_of(place / "qwen3", Attention(3), with_prompt=False, rank=0), "stock-qwen3", "hf")
    case(model_of(place / "plain", Linear(), trained=False), "stock-plain", "hf")
    case(model_of(place / "qwen3"), "kept", "hf", "bo", 1, keep=True, adapter="kept", base="qwen3")
    case(model_of(place / "qwen3"), "peft", "peft", "all", 0, adapter=f"peft/users/{ann}")
    case(model_of(place / "llama"), "peft-kept", "peft", "all", 1, adapter=f"peft-kept/users/{hashed('bo')}", keep=True)
    case(model_of(place / "llama", pooling="mean"), "code-llama", "hf-code", "all", 0, code=True, asks=[ann] * len(ASKED))
    case(model_of(place / "qwen3", Pal(3, 4), pooling="mean", with_prompt=False), "code-pal", "hf-code", "all", 1, code=True, asks=hashed("bo"))
    case(model_of(place / "bert", PalAngle(3, 4, hidden=5), pooling="mean"), "code-angle", "hf-code", code=True, masks=True)
    case(model_of(place / "bert", Vpl(3, perceptron=4), pooling="last", with_prompt=False), "code-vpl", "hf-code", "bo", 1, code=True)
    case(model_of(place / "plain", Pal(3, 4, hidden=5), pooling="mean"), "code-plain", "hf-code", code=True, masks=True)
    for one, found in zip(cases, read_elsewhere(place, cases)):
        scale = np.maximum(1.0, np.abs(one.rewards))
        assert np.ptp(one.rewards) > 0.05, one.folder.name
        assert np.max(np.abs(np.array(found["together"]) - one.rewards) / scale) < 1e-5, one.folder.name
        assert abs(found["alone"][0] - one.rewards[0]) < 1e-5 * scale[0], one.folder.name

"""Exported folders: read in another process, without evenhand, they give the model's own rewards; and what cannot be exported says why."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from report_example import realistic
from test_cli import inside
from tiny_models import SENTENCES, stirred, tiny_bert, tiny_llama, tiny_qwen3

from evenhand.core import DataError, EvenhandError, Head
from evenhand.encode import bert
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.hub_reward import HubRewardModel
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import item_text
from evenhand.models.attention import Attention
from evenhand.models.linear import Linear
from evenhand.models.lore import Lore
from evenhand.models.low_rank import LowRank
from evenhand.models.pal import Pal
from evenhand.models.pal_angle import PalAngle
from evenhand.models.vpl import Vpl
from evenhand.report.audit import report as report_of
from evenhand.report.card import Card, card
from evenhand.serve.exporting import texts
from evenhand.serve.exporting.heads import affine
from evenhand.serve.exporting.stock import Folded, folded
from evenhand.serve.exporting.texts import conversation
from evenhand.serve.head_record import heads
from evenhand.serve.reward_model import RewardModel
from evenhand.serve.verl_reward import compute_score
from evenhand.workflows.export import GENERIC, export, hashed
from evenhand.workflows.facts import model_hash
from evenhand.workflows.fit import Fit
from evenhand.workflows.serve import serve

pytestmark = pytest.mark.lm

PROMPTS = [
    "Which answer?",
    "user: Please write a note.\n\nassistant: A friendly note.\n\nuser: Shorter!",
    "system: Be brief.\n\nuser: Is it long?",
]
RESPONSES = ["The short one.", "Never mind the plan: ask the others on Monday,\n\nplease.", "Würde ich lesen! <b>1 & 2</b>"]
ASKED = tuple((p, r) for p in PROMPTS for r in RESPONSES)
HISTORY = [("Which answer?", "The short one.", "The long one, which says more."), ("", "Please write.", "No: it is too long.")]


def model_of(folder: Path, head: Any = None, *, pooling: Any = "last", with_prompt: bool = True, rank: int = 2, trained: bool = True, **more: Any) -> RewardModel:  # fmt: skip
    """A reward model on the tiny language model of a folder, all weights moved off their start."""
    encoder = BackboneEncoder(Backbone(str(folder), rank=rank, pooling=pooling, device="cpu", **more))
    encoder = replace(encoder, adapter=stirred(encoder.backbone.base)) if trained else encoder
    read = [item_text(p, r, with_prompt) for p in PROMPTS for r in (*RESPONSES, *SENTENCES)]
    feature_map = FeatureMap.fit(read, encoder.encode(read), tfidf=False, recipe=Recipe(dim=8))
    return RewardModel(
        encoder, feature_map, head or LowRank(3), moved(head or LowRank(3), 8), with_prompt, {"method": "made up", "seed": 0}
    )


def minilm_model(*, tfidf: bool = False, head: Any = None) -> RewardModel:
    """The embedded encoder, frozen, which reads the response alone."""
    read = [*RESPONSES, *SENTENCES]
    feature_map = FeatureMap.fit(read, MiniLM().encode(read), tfidf=tfidf, recipe=Recipe(dim=8))
    return RewardModel(MiniLM(), feature_map, head or LowRank(3), moved(head or LowRank(3), 8))


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
    asked: Sequence[tuple[str, str]] = ASKED


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


@pytest.fixture(scope="module")
def last(place: Path) -> RewardModel:
    """The form that every kind of export takes: adapted, the last token, a head that is linear once a user is read."""
    return model_of(place / "llama")


@pytest.fixture(scope="module")
def of_qwen3(place: Path) -> RewardModel:
    return model_of(place / "qwen3")


READER = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

out = []
for case in json.load(open(sys.argv[1])):
    folder, how = case["folder"], case["how"]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=how.get("code", False))
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


def read_elsewhere(place: Path, cases: Sequence[Case]) -> list[dict[str, list[float]]]:
    """Rewards of the folders in another process, all texts in one padded batch, and the first one alone."""
    (place / "cases.json").write_text(
        json.dumps([{"folder": str(c.folder), "how": c.how, "asked": [conversation(*pair) for pair in c.asked]} for c in cases])
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", READER, "cases.json", "read.json"], cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, list[float]]] = json.loads((place / "read.json").read_text())
    return found


def test_folders_give_the_models_rewards_in_another_process(
    place: Path, last: RewardModel, of_qwen3: RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    case(last, "stock-llama", "hf")
    case(model_of(place / "llama", Lore(3)), "stock-ann", "hf", "ann@example.org", 0)
    case(model_of(place / "qwen3", Attention(3), with_prompt=False, rank=0), "stock-qwen3", "hf")
    case(model_of(place / "plain", Linear(), trained=False), "stock-plain", "hf")
    case(of_qwen3, "kept", "hf", "bo", 1, keep=True, adapter="kept", base="qwen3")
    case(of_qwen3, "peft", "peft", "all", 0, adapter=f"peft/users/{ann}")
    case(last, "peft-kept", "peft", "all", 1, adapter=f"peft-kept/users/{hashed('bo')}", keep=True)
    case(model_of(place / "llama", pooling="mean"), "code-llama", "hf-code", "all", 0, code=True, asks=[ann] * len(ASKED))
    case(
        model_of(place / "qwen3", Pal(3, 4), pooling="mean", with_prompt=False),
        "code-pal",
        "hf-code",
        "all",
        1,
        code=True,
        asks=hashed("bo"),
    )
    case(model_of(place / "bert", PalAngle(3, 4, hidden=5), pooling="mean"), "code-angle", "hf-code", code=True, masks=True)
    case(model_of(place / "bert", Vpl(3, perceptron=4), pooling="last", with_prompt=False), "code-vpl", "hf-code", "bo", 1, code=True)
    case(model_of(place / "plain", Pal(3, 4, hidden=5), pooling="mean"), "code-plain", "hf-code", code=True, masks=True)
    monkeypatch.setattr(bert, "faster_dtype", lambda: torch.float32)  # what it computes in where the processor has nothing faster
    monkeypatch.setattr(texts, "faster_dtype", lambda: torch.float32)
    long = " ".join(f"{word} {number}" for number in range(9) for word in SENTENCES)
    case(minilm_model(), "code-minilm", "hf-code", code=True)
    cases[-1] = replace(cases[-1], asked=(*ASKED, ("", long)), rewards=np.append(cases[-1].rewards, minilm_model().score([], [""], [long])))
    for name in ("stock-llama", "stock-plain"):  # and as evenhand itself reads a reward model of anybody's
        [one] = [c for c in cases if c.folder.name == name]
        again = HubRewardModel(one.folder, device="cpu").score(prompts, responses, cache=place / "cache").values
        np.testing.assert_allclose(again, one.rewards, rtol=1e-5, atol=1e-5)
    for one, found in zip(cases, read_elsewhere(place, cases)):
        scale = np.maximum(1.0, np.abs(one.rewards))
        assert np.ptp(one.rewards) > 0.05, one.folder.name
        assert np.max(np.abs(np.array(found["together"]) - one.rewards) / scale) < 1e-5, one.folder.name
        assert abs(found["alone"][0] - one.rewards[0]) < 1e-5 * scale[0], one.folder.name


LINEAR = {"Attention", "Collaborative", "Gpo", "Linear", "LoRe", "Lore", "LowRank", "PRlhf", "PRlhfCluster", "Pref", "Vpl"}


def test_ten_of_twelve_heads_are_linear_once_a_user_is_read() -> None:
    """a_u . phi + c_u at features far from those that it was worked out at, against the head itself; two heads, and VPL's perceptron, are not."""
    items = 3 * torch.randn(20, 8, generator=torch.Generator().manual_seed(5))
    kinds = {name: kind() for name, kind in heads().items()} | {"perceptron": Vpl(perceptron=6)}
    assert len(kinds) == 13
    for name, head in kinds.items():
        model = replace(minilm_model(), head=head, scorer=moved(head, 8))
        states = model.users([[], HISTORY])
        found = affine(model, states)
        assert (found is not None) == (name in LINEAR), name
        for number, one in enumerate(states if found is not None else ()):
            given = model.scorer.score(one.state.expand(20, -1), items)
            folded = items.double() @ found.weight[number] + found.bias[number]  # type: ignore[union-attr]
            torch.testing.assert_close(given.double(), folded, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "with_prompt"), [("llama", True), ("llama", False), ("plain", True), ("qwen3", True), ("qwen3", False), ("bert", True)]
)
def test_the_template_writes_the_tokens_of_training(place: Path, kind: str, with_prompt: bool) -> None:
    encoder = BackboneEncoder(Backbone(str(place / kind), device="cpu"))
    asked = [*ASKED, ("", RESPONSES[0]), ("Why, and what is it for?\n\n- a\n- b", "  Spaces at both ends. ")]
    tokens, _ = encoder.tokenized([item_text(p, r, with_prompt) for p, r in asked])
    made = texts.exported(encoder, with_prompt)
    for (prompt, response), (prefix, own) in zip(asked, tokens):
        if kind == "bert" or response == response.strip():
            assert made.ids(prompt, response) == [*prefix, *own], (prompt, response)
    assert made.pad != made.tokenizer.eos_token_id
    closing = made.ids("Which?", "A.")[-1]
    assert made.pad != closing


def test_what_a_form_cannot_hold_is_said_before_anything_is_written(place: Path, last: RewardModel) -> None:
    words = minilm_model()
    words = replace(words, feature_map=FeatureMap.fit(RESPONSES, MiniLM().encode(RESPONSES), recipe=Recipe(dim=8, svd=4, min_df=1)))
    mean = model_of(place / "llama", pooling="mean")
    choices, out = place / "choices.jsonl", place / "none"
    told: dict[str, tuple[RewardModel, dict[str, Any]]] = {
        "reads TF-IDF of words.*train it again with --no-tfidf": (words, {"to": "hf-code"}),
        "means over a text's tokens.*--to hf-code": (minilm_model(), {}),
        "means over the response's tokens.*--to hf-code.*--pooling last": (mean, {"to": "peft"}),
        "Pal is not linear in the features.*--to hf-code": (replace(last, head=Pal(3), scorer=moved(Pal(3), 8)), {}),
        "3 users for one stock class.*--to hf-code.*--to peft": (last, {"user": "all", "history": choices}),
        "no history to read users from": (last, {"user": "bo"}),
        "has no choice in the history": (last, {"user": "somebody@example.org", "history": choices}),
        "by their number in training alone": (replace(last, head=heads()["PRlhf"](), scorer=moved(heads()["PRlhf"](), 8)), {"user": "bo", "history": choices}),
        "no adapter to keep: its language model did not train": (model_of(place / "llama", trained=False), {"keep_adapter": True}),
        "no adapter to keep: all its weights": (model_of(place / "llama", rank=0), {"keep_adapter": True}),
        "keep_adapter beside hf-code": (last, {"keep_adapter": True, "to": "hf-code"}),
        "bert.*--to hf-code|BertFor.*--to hf-code": (model_of(place / "bert"), {}),
        "to is onnx": (last, {"to": "onnx"}),
        "reads 2 choices of a user in words": (
            RewardModel(BackboneEncoder(Backbone(str(place / "llama"), history_pairs=2)), last.feature_map, Linear(), moved(Linear(), 8), True),
            {"user": "bo", "history": choices},
        ),
    }  # fmt: skip
    for said, (model, how) in told.items():
        with pytest.raises(EvenhandError, match=f"(?s){said}") as error:
            export(model, out, **how)
        assert "@example.org" not in str(error.value)
    assert not out.exists()
    foreign = place / "foreign"
    foreign.mkdir()
    (foreign / "README.md").write_text("mine")
    with pytest.raises(DataError, match=r"README.md.*would be lost|would be lost"):
        export(last, foreign)
    assert [f.name for f in foreign.iterdir()] == ["README.md"]
    assert (foreign / "README.md").read_text() == "mine"


def test_an_export_takes_the_place_of_an_older_one_and_holds_no_id_and_no_text(place: Path, last: RewardModel) -> None:
    out = place / "again"
    export(last, out)
    older = {f.name for f in out.iterdir()}
    done = export(last, out, to="peft", user="all", history=place / "choices.jsonl")
    assert {f.name for f in out.iterdir()} == older | {"users"}
    names = {hashlib.sha256(user).hexdigest()[:16] for user in (b"ann@example.org", b"bo")}
    assert set(done.users) == {GENERIC, *names} == {f.name for f in (out / "users").iterdir()}
    for file in (f for f in out.rglob("*") if f.is_file()):
        content = file.read_bytes()
        for private in (b"ann@example", b"Never mind", b"The long one, which says more", str(place).encode()):
            assert private not in content, file.name
    for base, named in ((None, "llama"), ("mine/llama-base", "mine/llama-base")):
        export(last, place / "kept-adapter", keep_adapter=True, base=base)
        for file in (f for f in (place / "kept-adapter").rglob("*") if f.is_file()):
            assert str(place).encode() not in file.read_bytes(), "where the language model lies here"
        assert json.loads((place / "kept-adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == named
        assert f"from_pretrained('{named}'" in (place / "kept-adapter" / "README.md").read_text()
    with pytest.raises(EvenhandError, match="a base for a folder that is no adapter"):
        export(last, place / "kept-adapter", base="mine/llama-base")
    with pytest.raises(DataError, match="adapters of 3 users who are not in this export"):
        export(last, out, to="peft", user="bo", history=place / "choices.jsonl", keep_ids=True)
    export(last, place / "named", to="hf-code", user="bo", history=place / "choices.jsonl", keep_ids=True)
    assert json.loads((place / "named" / "config.json").read_text())["user_names"] == ["bo"]


def test_a_model_whose_language_model_was_moved_is_exported_and_served_from_where_it_lies(place: Path) -> None:
    old, new, saved = place / "old", place / "new", place / "moved-model"
    shutil.copytree(place / "llama", old)
    model = model_of(old)
    model.save(saved)
    export(model, place / "before")
    reward = float(model.score([], ["Which answer?"], ["The short one."])[0])
    old.rename(new)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a server that has its model finds that it cannot listen
        doors: list[Callable[..., Any]] = [
            partial(export, saved, place / "after"), partial(serve, saved, port=taken.getsockname()[1], log=lambda line: None),
            partial(compute_score, "own", "The short one.", "", {"prompt": "Which answer?"}, model=saved),
        ]  # fmt: skip
        for door in doors:
            with pytest.raises(EvenhandError, match="--encoder-at FOLDER"):
                door()
        doors[0](encoder_at=new)
        with pytest.raises(EvenhandError, match="a free port"):
            doors[1](encoder_at=new)
        assert doors[2](encoder_at=new)["score"] == pytest.approx(reward, abs=1e-6)
    assert (place / "after" / "model.safetensors").read_bytes() == (place / "before" / "model.safetensors").read_bytes()
    for verb in ("export", "serve"):
        assert "--encoder-at" in inside(verb, "--help", cwd=place).stdout


def test_every_user_of_an_export_is_tried_before_it_is_written(place: Path, last: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one of five has another head than the model says: nothing is written."""
    rows = [{"user": f"u{i}", "prompt": p, "chosen": c, "rejected": r} for i in range(5) for p, c, r in HISTORY]

    def wrong(*given: Any) -> Folded:
        found = folded(*given)
        score = found.score.clone()
        score[-1] *= 1.01
        return Folded(score, found.constant)

    monkeypatch.setattr("evenhand.workflows.export.folded", wrong)
    with pytest.raises(EvenhandError, match="of 1 of 6 users"):
        export(last, place / "tried", to="peft", user="all", history=rows)
    assert not (place / "tried").exists()


def test_a_card_says_what_the_report_found_and_no_more(place: Path, last: RewardModel) -> None:
    """huggingface_hub reads it, its results are the report's to the digit; of another model's report, or of one user for all, it gives none."""
    from huggingface_hub import ModelCard

    model, report = last, report_of(realistic())
    Fit(model, report).save(place / "fit")
    found = report.document["model"]
    told = ModelCard.load(place / "fit" / "model-card.md")
    results = {r.metric_name: r for r in told.data.eval_results}  # type: ignore[union-attr]
    shown = {g["group"]: g["accuracy"] for g in found["groups"] if not g["accuracy"]["suppressed"]}
    assert {f"Accuracy, {name}" for name in ("all users", *shown)} < set(results)
    for name, accuracy in {"all users": found["overall"], **shown}.items():
        one = results[f"Accuracy, {name}"]
        assert (one.metric_type, one.metric_value) == ("accuracy", round(accuracy["value"], 4))
        assert one.metric_args["low"] == round(accuracy["low"], 4)  # type: ignore[index]
        assert one.dataset_split == found["split"]
        assert f"{100 * accuracy['low']:.1f} % to {100 * accuracy['high']:.1f} %" in told.content

    document = json.loads((place / "fit" / "report.json").read_text())
    (place / "fit" / "report.json").write_text(json.dumps({**document, "facts": {**document["facts"], "model sha256": "0" * 64}}))
    export(place / "fit" / "model", place / "other", to="hf-code", user="all", history=place / "choices.jsonl")
    assert "No report lay beside" in (place / "other" / "README.md").read_text()
    own = {**document["facts"], "model sha256": model_hash(model.scorer, model.feature_map)}
    (place / "fit" / "report.json").write_text(json.dumps({**document, "title": "Modèle d’été", "facts": own}))
    for user, measured in (("all", True), ("bo", False)):
        export(place / "fit" / "model", place / user, to="hf-code", user=user, history=place / "choices.jsonl")
        card = ModelCard.load(place / user / "README.md")
        assert "# Modèle d’été" in card.content.splitlines()
        assert bool(card.data.eval_results) == measured
        assert ("nothing was measured" in card.content) == (not measured)
        assert f"{100 * found['overall']['value']:.1f} %" in card.content


def test_a_card_of_too_few_users_holds_no_figure_and_is_read() -> None:
    """Every group and all users hidden: no table of nothing, and no result without a figure, which the hub's reader refuses."""
    from huggingface_hub import ModelCard

    report = report_of(realistic()).document
    hidden = dict.fromkeys(("value", "low", "high", "n_users", "n_pairs")) | {"suppressed": True}
    model = report["model"]
    groups = [{**g, "accuracy": {**g["accuracy"], **hidden}, "excluded": ""} for g in model["groups"]]
    few = {**model, "groups": groups, "overall": {**model["overall"], **hidden}, "gap": {**model["gap"], **hidden}}
    changes = [{"before": "one reward for all", "verdict": ""}]
    told = ModelCard(card(Card("m", [], [], {}, [], "transformers", {**report, "model": few, "changes": changes}, measured=True)))
    assert not told.data.eval_results
    assert "There are too few users: no figure can be shown." in told.text
    assert not any(word in told.text for word in ("None", "| all users", "Beside one reward for all"))
    one = {**model, "groups": [groups[0], *model["groups"][1:]]}
    told = ModelCard(card(Card("m", [], [], {}, [], "transformers", {**report, "model": one}, measured=True)))
    assert "1 group is too small to be shown." in told.text
    assert "| all users" in told.text


def test_a_cards_metadata_survive_any_name() -> None:
    from huggingface_hub import ModelCard

    hostile = 'a: "b"\n---\n# x | <script> \u2028\x85\x00 \\u0041 {{y}} é 😀'
    report = report_of(realistic()).document
    model = {**report["model"], "groups": [{**g, "group": hostile} for g in report["model"]["groups"]]}
    made = Card(hostile, [hostile], [], {hostile: hostile}, [hostile], "transformers", {**report, "model": model}, measured=True)
    told = ModelCard(card(made))
    assert len(told.data.eval_results) > 2  # type: ignore[arg-type]
    assert "<script>" not in told.text
    assert "😀" in told.data.model_name  # type: ignore[operator]
    assert all(c.isprintable() or c == "\n" for c in card(made))
    unseen = card(replace(made, name="\x1c\x1d\u202e", what=["\x1f"], limits=["\u200bmore"]))
    assert r"# \\u001c\\u001d\\u202e" in unseen.splitlines()  # a Markdown escape of the backslash
    assert ModelCard(unseen).data.model_name == r"\u001c\u001d\u202e"
    assert r"\\u001f" in unseen.splitlines()
    assert r"- \\u200bmore" in unseen.splitlines()


def test_a_probe_that_is_longer_than_a_text_may_be_alarms_nobody(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers warns of indexing errors for texts that are only tried for their tokens."""
    from evenhand.serve.exporting.texts import exported

    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    exported(BackboneEncoder(Backbone(str(place / "llama"), max_tokens=32)), True)
    assert not [said for said in caplog.messages if "indexing errors" in said]

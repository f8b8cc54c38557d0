"""Reward models of the hub's format: what the model gives a text alone is its reward, however texts are batched, cut, cached or asked for."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from test_cli import inside
from tiny_models import tiny_bert, tiny_llama, tiny_qwen3

import evenhand
from evenhand import EvenhandError, HubRewardModel
from evenhand.data.scorable import Asked
from evenhand.workflows.hub_model import pair_rewards
from evenhand.workflows.rewarding import ByHub

pytestmark = pytest.mark.lm

PROMPTS = ["Which answer?", "", "user: Please write a note.\n\nassistant: A friendly note.\n\nuser: Shorter!", "Is the report long?"]
WORDS = [
    "the",
    "answer",
    "names",
    "every",
    "group",
    "that",
    "a",
    "model",
    "serves",
    "worse",
    "and",
    "says",
    "what",
    "to",
    "do",
    "on",
    "Monday",
    "morning",
]


def texts(n: int = 40) -> tuple[list[str], list[str]]:
    """Prompts and responses of very different length."""
    rng = np.random.default_rng(5)
    responses = [" ".join(rng.choice(WORDS, 1 + int(20 * rng.random() ** 3))) + f" {i}." for i in range(n)]
    return [PROMPTS[i % len(PROMPTS)] for i in range(n)], responses


def changed(folder: Path, file: str = "config.json", **fields: Any) -> Path:
    record = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**record, **fields}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Llama whose pad token is the end of every text, a Qwen3 without a pad token, a BERT without a chat template."""
    place = tmp_path_factory.mktemp("models")
    llama = changed(tiny_llama(place / "llama", chat=True, score=True), pad_token_id=1)
    (llama / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    )
    qwen = changed(tiny_qwen3(place / "qwen", score=True), pad_token_id=None)
    return {"llama": llama, "qwen": qwen, "bert": tiny_bert(place / "bert", score=True)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 users, 12 prompts, two countries."""
    file = tmp_path_factory.mktemp("data") / "choices.jsonl"
    rng = np.random.default_rng(3)
    with file.open("w") as out:
        for u in range(24):
            for p in range(12):
                two = [f"{' '.join(rng.choice(WORDS, 4))} {p}{side}." for side in "ab"]
                row = {"user": f"u{u}", "prompt": f"Which answer is right, {p}?", "chosen": two[0], "rejected": two[1]}
                out.write(json.dumps({**row, "country": "fr" if u % 2 else "it"}) + "\n")
    return file


def alone(folder: Path, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    """What transformers give each text by itself, unpadded: a chat by the template, else prompt, empty line, response and one end of text."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    out = []
    for prompt, response in zip(prompts, responses, strict=True):
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        ids = tokenizer(f"{prompt}\n\n{response}" if prompt else response)["input_ids"] + end
        if tokenizer.chat_template and prompt:
            said = [{"role": "user", "content": prompt}]
            if prompt.startswith("user: "):
                first, second, third = (turn.partition(": ")[2] for turn in prompt.split("\n\n"))
                said = [{"role": r, "content": c} for r, c in (("user", first), ("assistant", second), ("user", third))]
            text = tokenizer.apply_chat_template([*said, {"role": "assistant", "content": response}], tokenize=False)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            out.append(model(torch.tensor([ids])).logits[0, 0].item())
    return np.array(out)


def fresh(model: HubRewardModel, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    """Rewards that come from no cache."""
    return model.at_once(model.read(prompts, responses)[0])


@pytest.mark.parametrize("kind", ["llama", "qwen", "bert"])
def test_a_reward_is_what_the_model_gives_the_text_alone(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    prompts, responses = texts()
    wanted = alone(models[kind], prompts, responses)
    assert wanted.std() > 0.05
    order = np.random.default_rng(0).permutation(len(responses))
    for at, budget in enumerate((1, 300, 100_000)):
        model = HubRewardModel(models[kind], batch_tokens=budget)
        found = model.score(prompts, responses, cache=tmp_path / f"{at}").values
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        some = fresh(model, [prompts[i] for i in order], [responses[i] for i in order])
        np.testing.assert_allclose(some, wanted[order], atol=1e-5)


def test_padding_could_have_changed_them(models: dict[str, Path]) -> None:
    """What the rewards are guarded against: texts of the Llama end in its pad token, which padding pools away and a text alone does, too."""
    model = HubRewardModel(models["llama"])._loaded
    ids, _ = model.read(*texts())
    assert {text.split()[-1] for text in ids} == {str(model.classifier.pad)}
    by_last = replace(model, classifier=replace(model.classifier, pad=None))
    by_last.classifier.model.config.pad_token_id = -1
    assert np.abs(by_last.encode(ids)[:, 0] - alone(models["llama"], *texts())).max() > 1e-2


def test_every_distinct_text_is_scored_once(models: dict[str, Path], tmp_path: Path) -> None:
    prompts, responses = texts(10)
    told: list[tuple[int, int]] = []
    model = HubRewardModel(models["bert"])
    once = model.score(prompts, responses, cache=tmp_path)
    twice = model.score([*prompts, *prompts], [*responses, *responses], lambda *at: told.append(at), tmp_path)
    assert told == [(10, 10)]  # all of them found, none scored
    np.testing.assert_array_equal(twice.values, np.tile(once.values, 2))
    np.testing.assert_array_equal(twice.same[:10], twice.same[10:])


def test_long_texts_lose_the_oldest_turns_then_the_left_of_the_prompt_then_the_end(models: dict[str, Path]) -> None:
    def read(prompt: str, response: str, limit: int) -> tuple[str, int, bool]:
        model = HubRewardModel(models["llama"], max_tokens=limit)._loaded
        [ids], [cut] = model.read([prompt], [response])
        return model.classifier.tokenizer.decode([*map(int, ids.split())]), len(ids.split()), cut

    _, length, cut = read(PROMPTS[2], "No.", 256)
    assert not cut
    text, shorter, cut = read(PROMPTS[2], "No.", length - 1)
    assert (text, cut) == ("<s>user: Shorter!</s>assistant: No.</s>", True)
    text, least, cut = read(PROMPTS[2], "No.", shorter - 1)
    start, end = "<s>user: ", "</s>assistant: No.</s>"
    assert cut
    assert text.startswith(start)
    assert text.endswith(end)
    assert "Shorter!".endswith(text.removeprefix(start).removesuffix(end))
    assert least == shorter - 1
    long = " ".join(WORDS * 5)
    text, length, cut = read("Why?", long, 40)
    assert cut
    assert length == 40
    assert text.startswith("<s>user: </s>assistant: the answer names")
    with pytest.raises(EvenhandError, match="max_tokens is 3: it leaves no room for a response"):
        read("Why?", "No.", 3)


def test_pairs_that_are_one_text_after_a_cut(models: dict[str, Path], tmp_path: Path) -> None:
    """By hand: BERT reads a letter beside a space as a token, so that 6 tokens are [CLS], four letters and [SEP]; one cut text is enough."""
    kinds = [("q w x y", "q w x y z", True, True), ("q w x y v", "q w x y z", True, True), ("q w x y z", "q w x z y", True, False)]
    kinds += [("q w x y", "q w x z", False, False), ("q", "q w x y z", True, False)]
    data = evenhand.load([{"user": "u", "prompt": "", "chosen": c, "rejected": r} for c, r, _, _ in kinds])
    found = pair_rewards(HubRewardModel(models["bert"], max_tokens=6), data, tmp_path)
    assert list(zip(found.cut.tolist(), found.same.tolist())) == [(cut, same) for _, _, cut, same in kinds]
    np.testing.assert_array_equal(found.rewards[:, 0] == found.rewards[:, 1], found.same)


def test_a_kill_loses_no_finished_batch(models: dict[str, Path], tmp_path: Path) -> None:
    prompts, responses = texts(100)
    wanted = fresh(HubRewardModel(models["bert"]), prompts, responses)

    def killed(done: int, total: int) -> None:
        if done > 40:
            os.kill(os.getpid(), signal.SIGKILL)

    ended = forked(lambda: HubRewardModel(models["bert"], batch_tokens=200).score(prompts, responses, killed, tmp_path))
    assert ended == -signal.SIGKILL
    told: list[int] = []
    again = HubRewardModel(models["bert"]).score(prompts, responses, lambda done, _: told.append(done), tmp_path)
    assert 32 <= told[0] <= 40  # what the first process had finished was there at once
    np.testing.assert_allclose(again.values, wanted, atol=1e-5)


def test_another_model_limit_or_number_finds_no_rewards_of_this_one(models: dict[str, Path], tmp_path: Path) -> None:
    first = HubRewardModel(models["bert"])
    prints = {first._loaded.fingerprint}
    prints.add(replace(first, dtype="bfloat16")._loaded.fingerprint)
    other = tiny_bert(tmp_path / "bert", score=True, seed=1)
    prints.add(HubRewardModel(other)._loaded.fingerprint)
    assert len(prints) == 3
    prompts, responses = texts(12)
    near = fresh(replace(first, dtype="bfloat16"), prompts, responses)
    np.testing.assert_allclose(near, fresh(first, prompts, responses), atol=0.05)
    assert (near.view(np.uint32) & 0xFFFF).any()  # the head keeps float32: a number of bfloat16 ends in 16 zeros


def test_it_is_sent_as_its_folder_and_settings(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker reads it there, wherever it stands itself; and refuses another one that lies in its place."""
    shutil.copytree(models["bert"], tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    model = HubRewardModel("model", max_tokens=64)
    sent = pickle.dumps(ByHub(model, tmp_path / "cache"))  # model.sha256 was asked for: it is in memory
    assert "_loaded" in vars(model)
    assert len(sent) < 2000
    monkeypatch.chdir("/")
    asked = Asked([], ["p", "a", "bc"], np.array([-1, -1]), np.array([0, 0]), np.array([[1], [2]]), np.ones(2, bool), 0)
    wanted = HubRewardModel(models["bert"], max_tokens=64).score(["p", "p"], ["a", "bc"], cache=tmp_path / "other").values
    assert pickle.loads(sent)(asked).rewards[:, 0].tolist() == wanted.tolist()
    changed(tmp_path / "model", layer_norm_eps=1e-3)
    with pytest.raises(EvenhandError, match="holds another reward model on a worker's machine"):
        pickle.loads(sent)(asked)


# What is refused


def without(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def headless(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny_llama(folder)


def of_two_outputs(folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.score = torch.nn.Linear(32, 2, bias=False)
    model.config.id2label = {0: "helpful", 1: "harmless"}
    model.config.label2id = {"helpful": 0, "harmless": 1}
    model.save_pretrained(folder)


def not_finite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["score.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def larger_vocabulary(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(folder)


def of_another_size(folder: Path) -> None:
    changed(folder, intermediate_size=48)


def with_code(folder: Path) -> None:
    changed(folder, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.Model"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shutil.rmtree, "Found no folder broken, and no model of this name in the Hugging Face cache"),
        (without("config.json"), "Found no config.json in broken"),
        (without("tokenizer.json", "tokenizer_config.json"), r"Found no tokenizer in broken.*tokenizer\.save_pretrained"),
        (without("model.safetensors"), "Found no weights in broken"),
        (pickled, "weights of broken that are a pickle"),
        (headless, r"Found no weights for score\.weight in broken, so that its rewards would be random"),
        (of_two_outputs, "Found 2 outputs in broken: helpful, harmless.*--reward-label NAME"),
        (not_finite, "Found 2 of 2 rewards that are not finite"),
        (larger_vocabulary, "Found a tokenizer with ids up to 380 beside a model of 380 embeddings in broken"),
        (of_another_size, "weights of broken whose shapes are not those of its config"),
        (with_code, "the model broken, which needs code of its own"),
    ],
)
def test_folders_that_are_no_reward_model(change: Callable[[Path], Any], said: str, models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(models["llama"], folder)
    change(folder)
    with pytest.raises(EvenhandError, match=said) as error:
        fresh(HubRewardModel(folder), ["Why?", "Why?"], ["Yes.", "No."])
    assert "To do: " in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_label_names_the_reward(models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "two"
    shutil.copytree(models["llama"], folder)
    of_two_outputs(folder)
    one, two = (fresh(HubRewardModel(folder, reward_label=name), *texts(6)) for name in ("helpful", "harmless"))
    np.testing.assert_allclose(one, alone(folder, *texts(6)), atol=1e-5)
    assert np.abs(one - two).max() > 1e-3
    with pytest.raises(EvenhandError, match=r"no output kind in two\. Expected: one of: helpful, harmless"):
        fresh(HubRewardModel(folder, reward_label="kind"), ["Why?"], ["No."])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"dtype": "float16"}, "dtype is float16. Expected: float32 or bfloat16"),
        ({"max_tokens": 0}, "max_tokens is 0. Expected: a whole number above 0"),
        ({"device": "quantum"}, "device is 'quantum', which is not on this machine"),
    ],
)
def test_settings_out_of_range(asked: dict[str, Any], said: str, models: dict[str, Path]) -> None:
    with pytest.raises(EvenhandError, match=said):
        fresh(HubRewardModel(models["bert"], **asked), ["Why?"], ["No."])


# Adapters


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA and a head on a causal model that has none, as PEFT saves them."""
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForSequenceClassification

    place = tmp_path_factory.mktemp("adapter")
    base = AutoModelForSequenceClassification.from_pretrained(tiny_llama(place / "base"), num_labels=1)
    worn = peft.get_peft_model(
        base, peft.LoraConfig(r=4, task_type="SEQ_CLS", target_modules=["q_proj", "v_proj", "down_proj"], modules_to_save=["score"])
    )
    torch.manual_seed(1)
    for name, parameter in worn.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    worn.save_pretrained(place / "adapter")
    return place / "adapter"


def test_an_adapter_is_put_on_its_base(adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = adapter.parent / "base"
    tokenizer = AutoTokenizer.from_pretrained(base)
    worn = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base, num_labels=1), adapter).eval()
    end = [tokenizer.eos_token_id]
    with torch.no_grad():
        wanted = [worn(torch.tensor([tokenizer(f"{p}\n\n{r}" if p else r)["input_ids"] + end])).logits.item() for p, r in zip(*texts(12))]
    np.testing.assert_allclose(fresh(HubRewardModel(adapter), *texts(12)), wanted, atol=1e-5)
    assert np.std(wanted) > 0.05


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("gone/far/base", "Found the adapter mine, and not its base model base. Expected: the base model on this machine"),
        ("wide", "weights of mine whose shapes are not those of its config or base"),
        ("deep", "an adapter in mine with .* weights too many or too few for its base"),
        ("", "adapter_config.json in mine that names no base model"),
    ],
)
def test_adapters_of_another_base(base: str, said: str, adapter: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    if base in ("wide", "deep"):
        size = {"wide": {"hidden_size": 64}, "deep": {"num_hidden_layers": 3}}[base]
        config = LlamaConfig.from_pretrained(adapter.parent / "base")
        config.update({**size, "head_dim": 8 if base == "deep" else 16, "layer_types": None})
        shutil.copytree(adapter.parent / "base", tmp_path / base)
        LlamaForCausalLM(config).save_pretrained(tmp_path / base)
    shutil.copytree(adapter, tmp_path / "mine")
    changed(tmp_path / "mine", "adapter_config.json", base_model_name_or_path=str(tmp_path / base) if base else None)
    with pytest.raises(EvenhandError, match=said) as error:
        fresh(HubRewardModel(tmp_path / "mine"), ["Why?"], ["No."])
    assert str(tmp_path) not in str(error.value)


def test_an_adapter_without_the_head_that_its_base_lacks(adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapter, tmp_path / "mine")
    changed(tmp_path / "mine", "adapter_config.json", modules_to_save=None, task_type=None)
    weights = {k: v for k, v in load_file(adapter / "adapter_model.safetensors").items() if "score" not in k}
    save_file(weights, tmp_path / "mine" / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(EvenhandError, match=r"no weights for score\.weight in mine, so that its rewards would be random"):
        fresh(HubRewardModel(tmp_path / "mine"), ["Why?"], ["No."])


# Audits and scores


def test_an_audit_says_what_the_model_is_and_that_it_reads_no_user(models: dict[str, Path], table: Path, tmp_path: Path) -> None:
    report = evenhand.audit(table, reward_model=HubRewardModel(models["llama"], max_tokens=30), cache=tmp_path / "cache", resamples=50)
    facts = report.page.facts
    assert facts["model"] == "llama"
    assert len(facts["model sha256"]) == 64
    assert "LlamaForSequenceClassification" in facts["reward model"]
    assert "up to 30 tokens, and no user" in facts["reward model"]
    assert facts["stability"].startswith("Scores of 16 pairs moved by at most")
    assert any("The model reads no user" in limit for limit in report.findings.limits)
    report.save(tmp_path / "audit")
    assert str(models["llama"].parent) not in (tmp_path / "audit" / "report.html").read_text()
    counts = report.findings.model.counts
    assert sum(c.truncated or 0 for c in counts) > 0


def test_groups_and_users_change_no_reward(models: dict[str, Path], table: Path, tmp_path: Path) -> None:
    data = evenhand.load(table, attributes=["country"])
    first = evenhand.score(data, reward_model=models["bert"], cache=tmp_path / "a").rewards
    other = replace(data, users=[f"x{u}" for u in data.users][::-1], user=data.user[::-1].copy(), attributes={})
    np.testing.assert_array_equal(evenhand.score(other, reward_model=models["bert"], cache=tmp_path / "b").rewards, first)


def test_the_command_line_audits_and_scores(models: dict[str, Path], table: Path, tmp_path: Path) -> None:
    """Scores put into the table and audited as columns give the audit of the model."""
    done = inside("score", table, "--reward-model", models["qwen"], "--out", "scores.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "288 pairs of 24 users scored, by a model that reads no user: scores.csv" in done.stdout
    with (tmp_path / "scores.csv").open() as stream:
        rewards = [{k: float(row[k]) for k in ("reward_chosen", "reward_rejected")} for row in csv.DictReader(stream)]
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    wanted = alone(models["qwen"], [r["prompt"] for r in rows[:8]], [r["chosen"] for r in rows[:8]])
    np.testing.assert_allclose([r["reward_chosen"] for r in rewards[:8]], wanted, atol=1e-5)
    asked, said = [{"role": "user", "content": rows[0]["prompt"]}], [{"role": "assistant", "content": rows[0]["chosen"]}]
    (tmp_path / "messages.jsonl").write_text(json.dumps({"messages": [*asked, *said]}) + "\n")  # no user, and none is read
    done = inside("score", "messages.jsonl", "--reward-model", models["qwen"], "--out", "messages.csv", cwd=tmp_path)
    assert "1 candidates scored, by a model that reads no user" in done.stdout
    with (tmp_path / "messages.csv").open() as stream:
        assert float(next(csv.DictReader(stream))["reward"]) == pytest.approx(rewards[0]["reward_chosen"], abs=1e-5)
    (tmp_path / "scored.jsonl").write_text("".join(json.dumps({**a, **b}) + "\n" for a, b in zip(rows, rewards)))
    found = []
    for how in (("--reward-model", models["qwen"]), ("--scores", "reward_chosen,reward_rejected")):
        done = inside("audit", "scored.jsonl", *how, "--group-by", "country", "--out", f"a{len(found)}", cwd=tmp_path)
        assert done.returncode in (0, 1, 3), done.stderr
        found.append(json.loads((tmp_path / f"a{len(found)}" / "report.json").read_text())["model"])
    assert found[0]["overall"] == pytest.approx({**found[1]["overall"]})
    assert [g["accuracy"] for g in found[0]["groups"]] == [g["accuracy"] for g in found[1]["groups"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", "{table}", "--reward-model", "{bert}", "--scores", "a,b"), "both scores and a reward model"),
        (("audit", "{table}", "--device", "cuda"), "Found --device without --reward-model"),
        (("score", "{table}", "{table}", "--reward-model", "{bert}"), "a saved model and a reward model"),
        (("score", "{table}"), "Found no data"),
        (("score", "{table}", "--reward-model", "{bert}", "--history", "{table}"), "such a model reads no user"),
        (("score", "{table}", "--reward-model", "{bert}", "--out", "mine.csv"), "is none of evenhand's|would be lost"),
    ],
)
def test_what_does_not_go_together(arguments: tuple[str, ...], said: str, models: dict[str, Path], table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    rows = [{**json.loads(line), "a": 1.0, "b": 0.0} for line in table.read_text().splitlines()[:4]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [a.format(table=tmp_path / "rows.jsonl", bert=models["bert"]) for a in arguments]
    done = inside(*given, cwd=tmp_path)
    assert done.returncode == 2
    assert any(part in done.stderr for part in said.split("|")), done.stderr
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_what_is_no_reward_model_is_told(table: Path) -> None:
    with pytest.raises(EvenhandError, match="Found int as reward_model"):
        evenhand.audit(table, reward_model=3)  # type: ignore[arg-type]
    with pytest.raises(EvenhandError, match="no data"):
        evenhand.score(reward_model="somewhere")


def test_what_trl_trained_is_audited(table: Path, tmp_path: Path) -> None:
    """Two steps of TRL's RewardTrainer on a causal model: its own folder, as it saves it, gives the rewards of the model in its memory."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    import torch
    from transformers import AutoTokenizer

    rows = [json.loads(line) for line in table.read_text().splitlines()[:8]]
    turns = [
        {k: [{"role": role, "content": r[k]}] for k, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))}
        for r in rows
    ]
    options = trl.RewardConfig(
        str(tmp_path / "trained"), max_steps=2, per_device_train_batch_size=4, learning_rate=1e-2, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, bf16=False,
    )  # fmt: skip
    trainer = trl.RewardTrainer(
        str(tiny_llama(tmp_path / "base", chat=True)), args=options, train_dataset=datasets.Dataset.from_list(turns)
    )
    trainer.train()
    trainer.save_model()
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "trained"), trainer.model.eval()
    said = [[t["prompt"][0], t["chosen"][0]] for t in turns]
    with torch.no_grad():
        ids = [tokenizer.apply_chat_template(s, return_dict=True)["input_ids"] for s in said]
        wanted = [model(torch.tensor([i])).logits.item() for i in ids]
    found = fresh(HubRewardModel(tmp_path / "trained"), [r["prompt"] for r in rows], [r["chosen"] for r in rows])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    report = evenhand.audit(table, reward_model=tmp_path / "trained", cache=tmp_path / "cache", resamples=20)
    assert report.page.facts["model"] == "trained"

"""SFT and DPO of adapters: losses worked out apart, the reference of DPO, kills and the same bytes, refusals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import forked
from safetensors.torch import load_file
from tiny_models import tiny_bert, tiny_llama

from evenhand.core import DataError, EvenhandError
from evenhand.encode.chat import Chat
from evenhand.texts.alignment import adapters
from evenhand.texts.alignment import dpo as dpo_file
from evenhand.texts.alignment import sft as sft_file
from evenhand.texts.alignment.dpo import dpo
from evenhand.texts.alignment.examples import DPO, SFT, read_examples, tokenized
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.alignment.sft import sft
from evenhand.texts.grid import load_grid
from evenhand.texts.held import held_out

pytestmark = pytest.mark.lm

RECIPE = Recipe(lr=1e-2, rank=4, batch=8, dtype="float32", device="cpu")
WEIGHTS = "adapter_model.safetensors"


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_llama(tmp_path_factory.mktemp("models") / "llama", chat=True))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "prompt": said("user", f"Write note {i}" + " please" * (i % 5)),
            "completion": said("assistant", "Ask the others" + " again" * (i % 3)),
        }
        for i in range(27)
    ]
    return write(tmp_path_factory.mktemp("shown") / "sft.jsonl", rows)


@pytest.fixture(scope="module")
def preferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"prompt": said("user", f"Write note {i}" + " please" * (i % 5)), "chosen": said("assistant", "Ask the others"), "rejected": said("assistant", "No!" + " Go" * (i % 4))}
        for i in range(19)
    ]  # fmt: skip
    return write(tmp_path_factory.mktemp("preferred") / "dpo.jsonl", rows)


@pytest.fixture(scope="module")
def warm(llama: str, shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of SFT that has moved far."""
    out = tmp_path_factory.mktemp("warm") / "adapter"
    sft(shown, model=llama, out=out, recipe=replace(RECIPE, epochs=2))
    return out


def brute(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Log-probability of an answer, one text at a time, all logits."""
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logps = model(input_ids=ids).logits[0].float().log_softmax(-1)
    return float(sum(logps[len(prompt) + i - 1, token] for i, token in enumerate(answer)))


def trainer_of(make: Callable[..., Any], model: Any, base: adapters.Causal, columns: Any, folder: Path, **more: Any) -> tuple[Any, Any]:
    trainer = make(model, base.tokenizer, columns, RECIPE, str(folder), **more)
    return trainer, next(iter(trainer.get_train_dataloader()))


def test_the_loss_of_sft_is_that_of_its_answers_and_of_trl(llama: str, shown: Path, tmp_path: Path) -> None:
    from trl import SFTTrainer

    from evenhand.texts.alignment.trainers import sft_trainer

    base = adapters.causal(llama, "float32", "cpu")
    tokens = tokenized(read_examples(shown, SFT), Chat(base.tokenizer, 200))
    columns = sft_file.columns(tokens)
    model = adapters.fresh(base, 4, 0)
    trainer, batch = trainer_of(sft_trainer, model, base, {k: v[:4] for k, v in columns.items()}, tmp_path)
    own = trainer.compute_loss(model, dict(batch))
    expected = -sum(brute(model, p, a) for p, a in zip(tokens.prompt[:4], tokens.answers[0][:4])) / sum(map(len, tokens.answers[0][:4]))
    assert float(own.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(own.detach()) == pytest.approx(float(SFTTrainer.compute_loss(trainer, model, dict(batch)).detach()), rel=1e-5)
    closed = base.tokenizer.decode(tokens.answers[0][0])
    assert closed == "Ask the others<|im_end|>\n", "an answer ends where the model is to stop"


def test_the_loss_of_dpo_is_its_formula_and_that_of_trl_with_sft_as_reference(
    llama: str, preferred: Path, warm: Path, tmp_path: Path
) -> None:
    from trl import DPOTrainer

    from evenhand.texts.alignment.trainers import dpo_trainer

    base = adapters.causal(llama, "float32", "cpu")
    tokens = tokenized(read_examples(preferred, DPO), Chat(base.tokenizer, 200))
    model = adapters.worn(base, warm)
    first = {k: v[:2] for k, v in dpo_file.columns(tokens).items()}
    trainer, batch = trainer_of(dpo_trainer, model, base, first, tmp_path, beta=0.3)
    assert float(trainer.compute_loss(model, dict(batch)).detach()) == pytest.approx(np.log(2), abs=1e-6)

    def ratios() -> np.ndarray:
        return np.array([[brute(model, p, a) for p, a in zip(tokens.prompt[:2], of[:2])] for of in tokens.answers])

    before = ratios()
    with model.disable_adapter():
        pretrained = ratios()
    wrong = np.log1p(np.exp(-0.3 * ((before - pretrained)[0] - (before - pretrained)[1]))).mean()
    assert abs(wrong - np.log(2)) > 0.1, "the world must tell the two references apart"
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".default." in name:
                p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)))
    margin = (ratios() - before)[0] - (ratios() - before)[1]
    expected = np.log1p(np.exp(-0.3 * margin)).mean()
    assert abs(expected - np.log(2)) > 0.01
    assert float(trainer.compute_loss(model, dict(batch)).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(DPOTrainer.compute_loss(trainer, model, dict(batch)).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dpo_begins_at_log_2_and_prefers_what_was_chosen_in_the_end(
    llama: str, preferred: Path, warm: Path, tmp_path: Path, dtype: str
) -> None:
    found = dpo(preferred, model=llama, adapter=warm, out=tmp_path / "out", recipe=replace(RECIPE, dtype=dtype, epochs=2))
    assert found.trace[0] == (1, pytest.approx(np.log(2), abs=1e-3))
    assert found.trace[-1][1] < 0.4
    assert len(found.trace) == 5, "38 examples in batches of 8"
    base = adapters.causal(llama, "float32", "cpu")
    tokens = tokenized(read_examples(preferred, DPO), Chat(base.tokenizer, 200))
    margins = []
    for folder in (warm, tmp_path / "out"):
        model = adapters.worn(adapters.causal(llama, "float32", "cpu"), folder)
        margins.append(np.mean([brute(model, tokens.prompt[i], tokens.answers[0][i]) - brute(model, tokens.prompt[i], tokens.answers[1][i]) for i in (0, 5, 11)]))  # fmt: skip
    assert margins[1] > margins[0] + 1
    assert any((a != b).any() for a, b in zip(load_file(warm / WEIGHTS).values(), load_file(tmp_path / "out" / WEIGHTS).values()))


def test_dpo_without_sft_begins_with_the_model_itself(llama: str, preferred: Path, warm: Path, tmp_path: Path) -> None:
    found = dpo(preferred, model=llama, adapter=None, out=tmp_path / "out", recipe=RECIPE)
    assert found.trace[0] == (1, pytest.approx(np.log(2), abs=1e-3))
    assert found.trace[-1][1] < 0.6
    with pytest.raises(DataError, match="starts from is the model"):
        dpo(preferred, model=llama, adapter=warm, out=tmp_path / "out", recipe=RECIPE)


def test_what_sft_leaves_is_an_adapter_of_peft_without_pickles_or_paths(llama: str, shown: Path, warm: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trained = adapters.read_trained(warm)
    assert trained.trace[-1][1] < trained.trace[0][1] - 1
    assert {p.name for p in warm.iterdir()} == {WEIGHTS, "adapter_config.json", "training.json", ".evenhand.json"}
    assert str(Path(llama).parent) not in "".join(p.read_text() for p in warm.glob("*.json"))
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32), warm)
    base = adapters.causal(llama, "float32", "cpu")
    tokens = tokenized(read_examples(shown, SFT), Chat(base.tokenizer, 200))
    loss = -sum(brute(loaded, p, a) for p, a in zip(tokens.prompt, tokens.answers[0])) / tokens.tokens
    assert loss < trained.trace[-3][1] + 0.1, "the weights of the last step, under the loss of the steps before"


def ended_by_a_kill(work: Callable[[Callable[[int, int], None]], Any], at: int) -> None:
    """`work` in a process of its own, which ends by SIGKILL once it told that step `at` is done."""
    assert forked(lambda: work(lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done == at else None)) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_training_that_is_killed_ends_with_the_same_bytes(
    llama: str, shown: Path, preferred: Path, warm: Path, tmp_path: Path, stage: str
) -> None:
    heard: list[str] = []

    def work(out: Path, progress: Callable[[int, int], None] | None = None) -> Any:
        dtype = "float32" if stage == "sft" else "bfloat16"
        more = {
            "model": llama,
            "out": out,
            "recipe": replace(RECIPE, epochs=2, dtype=dtype),
            "every": 2,
            "progress": progress,
            "say": heard.append,
        }
        return sft(shown, **more) if stage == "sft" else dpo(preferred, adapter=warm, **more)  # type: ignore[arg-type]

    whole = work(tmp_path / "whole")
    ended_by_a_kill(lambda kill: work(tmp_path / "killed", kill), 3)
    assert not (tmp_path / "killed" / WEIGHTS).exists()
    again: list[int] = []
    found = work(tmp_path / "killed", lambda done, _: again.append(done))
    assert again[0] == 3
    assert "stands after step 2" in heard[-1]
    assert found.trace == whole.trace
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert not (tmp_path / "killed" / "checkpoint").exists()


def test_what_is_finished_is_read_and_what_is_another_training_refused(llama: str, shown: Path, warm: Path) -> None:
    recipe = replace(RECIPE, epochs=2)
    before = (warm / WEIGHTS).stat().st_mtime_ns
    assert sft(shown, model=llama, out=warm, recipe=recipe) == adapters.read_trained(warm)
    assert (warm / WEIGHTS).stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"lr is 0\.01"):
        sft(shown, model=llama, out=warm, recipe=replace(recipe, lr=2e-2))


def test_another_seed_and_another_folder(llama: str, shown: Path, tmp_path: Path) -> None:
    short = write(tmp_path / "short.jsonl", [json.loads(line) for line in shown.read_text().splitlines()[:8]])
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sft(short, model=llama, out=tmp_path / name, recipe=replace(RECIPE, seed=seed))
    a, b, c = ((tmp_path / name / WEIGHTS).read_bytes() for name in "abc")
    assert a == b != c
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / WEIGHTS).write_bytes(b"mine")
    with pytest.raises(DataError, match="would be lost"):
        sft(short, model=llama, out=tmp_path / "mine", recipe=RECIPE)
    assert (tmp_path / "mine" / WEIGHTS).read_bytes() == b"mine"


def test_models_and_adapters_that_cannot_be_trained(llama: str, shown: Path, preferred: Path, warm: Path, tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match=r"lacks weights that a model that writes has"):
        sft(shown, model=str(tiny_bert(tmp_path / "bert")), out=tmp_path / "out", recipe=RECIPE)
    with pytest.raises(EvenhandError, match=r"no adapter_config\.json"):
        dpo(preferred, model=llama, adapter=tmp_path, out=tmp_path / "out", recipe=RECIPE)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "adapter_config.json").write_bytes((warm / "adapter_config.json").read_bytes())
    (pickled / "adapter_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(EvenhandError, match=r"no adapter_model\.safetensors"):
        dpo(preferred, model=llama, adapter=pickled, out=tmp_path / "out", recipe=RECIPE)
    with pytest.raises(EvenhandError, match="lr of the training is 2"):
        Recipe(lr=2.0)


def test_nobody_is_told_and_a_loss_that_is_no_number_ends_it(
    llama: str, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evenhand.texts.alignment.trainers import _Losses, _Steps

    told: list[Any] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **said: told.append(said))
    monkeypatch.delenv("CI", raising=False)
    one = write(tmp_path / "one.jsonl", [json.loads(shown.read_text().splitlines()[0])])
    sft(one, model=llama, out=tmp_path / "out", recipe=RECIPE)
    assert told == []
    with pytest.raises(EvenhandError, match="no number after 0 steps of 9"):
        _Steps(_Losses(), None, None, 9).on_log(None, None, None, logs={"loss": float("nan")})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("{", "not JSON"),
        ("[]", "no list of messages in prompt"),
        ('{"prompt": [], "completion": []}', "no list of messages in prompt"),
        ('{"prompt": [{"role": "user"}], "completion": []}', "no role or no content"),
        ('{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "user", "content": "b"}]}', "not one answer"),
        ('{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": " "}]}', "not one answer"),
    ],
)
def test_examples_that_are_none(tmp_path: Path, row: str, found: str) -> None:
    good = json.dumps({"prompt": said("user", "a"), "completion": said("assistant", "b")})
    (tmp_path / "sft.jsonl").write_text(f"{good}\n\n{row}\n")
    with pytest.raises(DataError, match=found) as told:
        read_examples(tmp_path / "sft.jsonl", SFT)
    assert "line 3" in str(told.value)
    (tmp_path / "sft.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no example"):
        read_examples(tmp_path / "sft.jsonl", SFT)


def test_answers_of_one_example_share_a_prompt_when_one_of_them_is_cut(llama: str, tmp_path: Path) -> None:
    row = {"prompt": said("user", "word " * 30), "chosen": said("assistant", "yes"), "rejected": said("assistant", "no " * 40)}
    base = adapters.causal(llama, "float32", "cpu")
    tokens = tokenized(read_examples(write(tmp_path / "dpo.jsonl", [row]), DPO), Chat(base.tokenizer, 150))
    assert tokens.cut == 1
    assert len(tokens.prompt[0]) + len(tokens.answers[1][0]) <= 150


def test_every_epoch_sees_every_example_once_in_batches_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(20, 200, 203)
    recipe = Recipe(lr=1e-3, batch=8, epochs=3)
    order = np.array(recipe.order(lengths.tolist()))
    assert (np.bincount(order) == 3).all()
    assert all(np.bincount(order[200 * e : 200 * (e + 1)]).max() == 1 for e in range(3)), "twice only once all whole batches were seen"
    assert (order[:200] != order[200:400]).any()
    places = sum(lengths[batch].max() * len(batch) for batch in np.split(order, range(8, len(order), 8)))
    assert places / lengths[order].sum() < 1.2, "at random it is 1.6"
    assert recipe.steps(203) == 77
    shares = [recipe.share(step, 100) for step in range(100)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1]
    assert np.all(np.diff(shares[3:]) < 0)
    assert 0 < shares[-1] < 0.01


def test_blocks_are_held_out_whole_and_over_all_themes() -> None:
    grid = load_grid("climate")
    held = held_out(grid, 0.25, seed=3)
    assert held.sum() == 14
    by_theme = held.reshape(11, 5).sum(1)
    assert set(by_theme) == {1, 2}
    assert (held != held_out(grid, 0.25, seed=4)).any()
    assert (held == held_out(grid, 0.25, seed=3)).all()
    assert (held_out(grid, 0.99).sum(), held_out(grid, 0.001).sum()) == (54, 1)
    with pytest.raises(EvenhandError, match="above 0 and under 1"):
        held_out(grid, 1.0)

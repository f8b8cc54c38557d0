"""TRL's GRPOTrainer, run for real under a personalised reward; and the way there that docs/loop.md shows, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_docs import ROOT, blocks, commands
from test_serve_reward_model import LetterEncoder
from test_serve_rewards import ANN, BOB, model_of
from tiny_models import tiny_qwen3

from evenhand.serve.reward_model import RewardModel
from evenhand.serve.trl_reward import reward_function

pytestmark = pytest.mark.lm

STEPS = 5
OFF = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_qwen3(tmp_path_factory.mktemp("policy") / "qwen3"))


@pytest.mark.parametrize("conversational", [True, False], ids=["messages", "texts"])
def test_grpo_learns_from_the_rewards_of_each_user(conversational: bool, policy: str, tmp_path: Path) -> None:
    """What the trainer logs is what the model gives each completion for its own user, worked out again from the texts that were written."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, histories = model_of(LetterEncoder()), {"ann": ANN, "bob": BOB}  # TF-IDF knows none of the words that this policy makes up
    asked = ["Name a thing.", "Name a colour."]
    rows = [
        {"prompt": [{"role": "user", "content": p}] if conversational else p, "user": u, "group": u[0]} for p in asked for u in histories
    ]
    reward = reward_function(model, histories)
    config = GRPOConfig(
        str(tmp_path), max_steps=STEPS, per_device_train_batch_size=4, num_generations=2, max_completion_length=6, learning_rate=1e-2, **OFF
    )  # fmt: skip
    trainer = GRPOTrainer(policy, reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows))
    seen: list[tuple[list[dict[str, Any]], list[Any], np.ndarray]] = []
    calculate = trainer._calculate_rewards

    def kept(inputs: Any, prompts: Any, completions: Any, ids: Any) -> Any:
        found = calculate(inputs, prompts, completions, ids)
        seen.append((inputs, completions, found.numpy()[:, 0].copy()))
        return found

    trainer._calculate_rewards = kept
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    assert len(seen) == STEPS
    logs = [entry for entry in trainer.state.log_history if "rewards/evenhand/mean" in entry]
    assert [entry["step"] for entry in logs] == list(range(1, STEPS + 1))
    apart = []
    for entry, (inputs, completions, given) in zip(logs, seen):
        texts = [c[0]["content"] if conversational else c for c in completions]
        plain = [i["prompt"][0]["content"] if conversational else i["prompt"] for i in inputs]
        own = [histories[i["user"]] for i in inputs]
        expected = [model.score(h, [p], [t])[0] if t.strip() else np.nan for h, p, t in zip(own, plain, texts)]
        np.testing.assert_allclose(given, expected, atol=1e-5)
        assert entry["rewards/evenhand/mean"] == pytest.approx(np.nanmean(expected), abs=1e-5)
        assert entry["evenhand/known_users"] == 1
        others = [BOB if h is ANN else ANN for h in own]
        apart += [abs(model.score(h, [p], [t])[0] - e) for h, p, t, e in zip(others, plain, texts, expected)]
    assert np.nanmin(apart) > 1e-3, "the same completion has another reward for the other user"
    assert any(not p.equal(before[name]) for name, p in trainer.model.named_parameters()), (
        "a reward that tells completions apart moves weights"
    )


def test_from_choices_to_a_step_of_grpo_as_the_page_shows(policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first blocks of docs/loop.md: 12 lines at most, which end in one step under the reward of a model that was fitted a line before."""
    from test_cli import inside

    from evenhand.data.simulate import write_sample

    shell, code, *others = [b for b in blocks(ROOT / "docs" / "loop.md") if "test_serve_trl.py" in b["mark"]]
    assert (shell["language"], code["language"]) == ("bash", "python")
    lines = [line for block in (shell, code) for line in block["code"].splitlines() if line.strip()]
    assert len(lines) <= 12
    every = write_sample(tmp_path / "every.jsonl", users=24, minority=0.4, pairs_per_user=80).read_text().splitlines(keepends=True)
    prompts = sorted({json.loads(line)["prompt"] for line in every})[:20]  # few, since each text is encoded with its prompt
    (tmp_path / "choices.jsonl").write_text("".join(line for line in every if json.loads(line)["prompt"] in prompts))
    (tmp_path / "my-policy").symlink_to(policy)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    for words in commands(shell["code"]):
        done = inside(*words[1:], cwd=tmp_path)
        assert done.returncode in (0, 1, 3), done.stdout + done.stderr
    names: dict[str, Any] = {}
    exec(compile(code["code"], "loop.md", "exec"), names)  # our own text
    trainer = names["trainer"]
    assert trainer.state.global_step == 1
    assert json.loads((tmp_path / "out" / "model" / "model.json").read_text())["encoder"]["with_prompt"]
    entry = next(e for e in trainer.state.log_history if "evenhand/known_users" in e)
    assert entry["evenhand/known_users"] == 1
    assert np.isfinite(entry["rewards/evenhand/mean"])
    for block in others:
        exec(compile(block["code"], "loop.md", "exec"), names)
    assert names["best"] in names["answers"]
    assert RewardModel.load("out/model").reads_prompts

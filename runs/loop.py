"""From choices to a policy and its audit: does a reward's fairness reach the texts that a policy writes by it (Choi et al. 2026, arXiv 2602.07799)?

The users are simulated (data/simulate.py), the texts are real. Users of the rare taste mostly choose the shorter of two answers, the others the
longer one, so a personalised reward gives the rare taste less to read. Faro is asked for the opposite: the rate of preferring the longer answer
(y1 of every pair) may differ between the tastes by gamma at most, though the model reads no group, only what a user chose.

    choices ─► rewards, one unconstrained and several of Faro ─► 8 texts of SmolLM2 for each of 32 prompts that no choice was about, four asked
    for one short sentence ─► every user's reward of every text (`reward_function`) ─► exact best-of-n and Gibbs policies for every user
    ─► the rate of the event "in the longer half of its prompt's texts" by group, and an audit of the texts that were picked

Intervals take users and prompts as drawn: the variances of the difference over users and over prompts are added, which is never too little.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

import evenhand
from evenhand.audits.policies import Candidates, best_of, divergence, expected, gibbs
from evenhand.audits.transfer import measure
from evenhand.data.simulate import write_sample
from evenhand.encode.minilm import MiniLM
from evenhand.serve.histories import histories_of
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.table import TextTable

USERS, MINORITY, PAIRS, GAMMA, K = 300, 0.3, 60, 0.05, 4
ENTRIES: Mapping[str, Mapping[str, Any]] = {
    "unconstrained": {"method": "bradley_terry"},
    "Faro 0.05": {"method": "faro", "settings": {"gamma": GAMMA}},
    "Faro 0.01": {"method": "faro", "settings": {"gamma": 0.01}},
    "Faro 0.05, hard": {"method": "faro", "settings": {"gamma": GAMMA, "dual": "hard"}},
}
WORDINGS = {"as asked": "{prompt}", "short": "{prompt} Answer in one short sentence."}
NS, BETAS = (1, 2, 4, 8), (0.1, 0.5, 1.0)
PICKS = 10  # users of each group and prompt whose best of 8 is audited as text
TASTES = ("majority", "minority")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/results/loop.json"))
    parser.add_argument("--work", type=Path, default=Path("runs/out/loop"), help="what is done stays here: a study goes on from there")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    asked = world(work, args.seed)
    fits = {name: once(work / f"fit {name}.json", partial(fitted, work, name, args.seed)) for name in ENTRIES}
    texts = written(work, asked, args.seed)
    encoder = Remembering(chunked=False)
    for name in ENTRIES:
        once(work / f"rewards {name}.json", partial(rewarded, work, name, texts, encoder))
    policies = once(work / "policies.json", lambda: measured(work, texts))
    audit = once(work / "audit.json", lambda: audited(work, texts, asked, args.seed))
    grpo = once(work / "grpo.json", lambda: trained(work, asked, args.seed))
    settings = {
        "users": USERS,
        "minority": MINORITY,
        "pairs": PAIRS,
        "gamma": GAMMA,
        "prompts": len(asked),
        "texts": len(texts),
        "picks": PICKS,
        "seed": args.seed,
    }
    stages = [*(f"fit {n}" for n in ENTRIES), *(f"rewards {n}" for n in ENTRIES), "policies", "audit", "grpo"]
    seconds = {name: json.loads((work / f"{name}.json").read_text())["seconds"] for name in stages}
    found = {**settings, "fits": fits, "policies": policies, "audit": audit, "grpo": grpo, "seconds": seconds}
    args.out.write_text(json.dumps(found) + "\n")


def once(file: Path, made: Callable[[], Any]) -> Any:
    """What `file` holds, made and written first where it is not there. seconds: of CPU."""
    if not file.exists():
        began = time.process_time()
        found = made()
        file.write_text(json.dumps({"found": found, "seconds": round(time.process_time() - began, 1)}))
        print(f"{file.stem}: done", flush=True)
    return json.loads(file.read_text())["found"]


# --- choices and rewards ---


def world(work: Path, seed: int) -> list[str]:
    """Writes choices.jsonl; the prompts that no choice is about."""
    every = work / "all.jsonl"
    write_sample(every, seed=seed, users=USERS, minority=MINORITY, pairs_per_user=PAIRS)
    rows = [json.loads(line) for line in every.read_text().splitlines()]
    asked = sorted({row["prompt"] for row in rows})[::4]
    lines = []
    for row in rows:
        long = len(row["chosen"].split()) - len(row["rejected"].split())
        if row["prompt"] not in asked and long:
            lines.append(json.dumps({**row, "target": "chosen" if long > 0 else "rejected"}))
    (work / "choices.jsonl").write_text("\n".join(lines) + "\n")
    return asked


def fitted(work: Path, name: str, seed: int) -> dict[str, Any]:
    """Trains and saves the model; what its report says of held-out pairs of the choices."""
    encoding = evenhand.Encoding(MiniLM(chunked=False), with_prompt=True, cache=work / "vectors")
    result = evenhand.fit(
        work / "choices.jsonl", head="lore", group_by="taste", encoding=encoding, constraints={"dp": GAMMA}, simulated=True, seed=seed, **ENTRIES[name]
    )  # fmt: skip
    result.model.save(work / name)
    said = result.to_dict()
    violations = {v["decision"]: v["size"]["after"] for v in said["constraints"][0]["violations"]}
    groups = {g["group"]: g["accuracy"] for g in said["model"]["groups"]}
    fitted = said["constraints"][0]["fitted"]
    return {"accuracy": said["model"]["overall"], "groups": groups, "violations": violations, "feasible": fitted and fitted.get("feasible")}


# --- the policy's texts, and their rewards ---


def written(work: Path, asked: list[str], seed: int) -> list[dict[str, Any]]:
    """The texts of all prompts, those of one prompt together. event: 1 in the longer half of its prompt's, 0 in the shorter, .5 between."""
    rows: list[dict[str, Any]] = []
    for name, wording in WORDINGS.items():
        made = evenhand.generate(
            [{"prompt": p} for p in asked], out=work / f"{name}.jsonl", model="smollm2", k=K, temperature=1.0, max_tokens=70, wording=wording,
            run=name, seed=seed,
        )  # fmt: skip
        rows += [{"prompt": row["prompt"], "text": row["text"], "run": name} for row in made.rows]
    rows.sort(key=lambda row: asked.index(row["prompt"]))
    words = np.array([len(row["text"].split()) for row in rows])
    of = np.array([asked.index(row["prompt"]) for row in rows])
    for i, row in enumerate(rows):
        middle = np.median(words[of == of[i]])
        row |= {"words": int(words[i]), "event": float(words[i] > middle) + 0.5 * float(words[i] == middle)}
    return rows


def people(work: Path) -> dict[str, str]:
    """User → taste, in the order of the file."""
    return {row["user"]: row["taste"] for row in map(json.loads, (work / "choices.jsonl").read_text().splitlines())}


@dataclass(frozen=True)
class Remembering(MiniLM):
    """Each text is encoded once in this process: the rewards differ, their encoder does not."""

    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    def encode(self, texts: Sequence[str], progress: Any = None) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        self.vectors.update(zip(new, super().encode(new)))
        return np.array([self.vectors[text] for text in texts], np.float32).reshape(len(texts), self.dim)


def rewarded(work: Path, name: str, texts: list[dict[str, Any]], encoder: Remembering) -> list[list[float]]:
    """Rewards [users][texts], as a trainer would be given them."""
    reward = evenhand.reward_function(evenhand.RewardModel.load(work / name, encoder=encoder), work / "choices.jsonl", name=name)
    prompts, answers = ([row[key] for row in texts] for key in ("prompt", "text"))
    users = list(people(work))
    flat = reward(
        prompts=prompts * len(users), completions=answers * len(users), user=[u for u in users for _ in texts]
    )  # fmt: skip
    return np.array(flat, float).reshape(len(users), len(texts)).tolist()


@dataclass(frozen=True)
class Crossed:
    """Every user's candidates for every prompt: one problem each, as `evenhand.transfer` takes them. minority bool[users]."""

    minority: np.ndarray
    prompts: np.ndarray  # int64[texts]
    event: np.ndarray  # float64[texts]

    def candidates(self, reward: np.ndarray) -> Candidates:
        n, p = len(self.minority), self.prompts.max() + 1
        problem = (np.arange(n)[:, None] * p + self.prompts).ravel()
        return Candidates(problem, np.repeat(self.minority.astype(int), len(self.prompts)), reward.ravel(), np.tile(self.event, n))

    def difference(self, cells: np.ndarray) -> dict[str, float]:
        """majority - minority of cells [users, prompts], with an interval over users and prompts; the groups' means."""
        groups = [cells[self.minority == rare] for rare in (False, True)]
        by_prompt = groups[0].mean(0) - groups[1].mean(0)
        variance = by_prompt.var(ddof=1) / len(by_prompt) + sum(g.mean(1).var(ddof=1) / len(g) for g in groups)
        value = float(by_prompt.mean())
        half = float(t.ppf(0.975, len(by_prompt) - 1)) * variance**0.5
        return {"value": value, "low": value - half, "high": value + half} | {name: float(g.mean()) for name, g in zip(TASTES, groups)}


def crossed(work: Path, texts: list[dict[str, Any]]) -> Crossed:
    asked = list(dict.fromkeys(row["prompt"] for row in texts))
    rare = np.array([taste == "minority" for taste in people(work).values()])
    return Crossed(rare, np.array([asked.index(row["prompt"]) for row in texts]), np.array([row["event"] for row in texts]))


def rewards(work: Path, name: str) -> np.ndarray:
    return np.array(json.loads((work / f"rewards {name}.json").read_text())["found"])


def measured(work: Path, texts: list[dict[str, Any]]) -> dict[str, Any]:
    """Event rates of every policy by group, and beside them those of the reward on pairs of these texts: sigma of the margin, and its sign."""
    c = crossed(work, texts)
    n, p = len(c.minority), int(c.prompts.max()) + 1
    cells: dict[str, dict[str, np.ndarray]] = {}
    out: dict[str, Any] = {}
    for name in ENTRIES:
        reward = rewards(work, name)
        given = c.candidates(reward)
        logs = {f"best of {k}": best_of(given, given.reward, k) for k in NS} | {f"beta {b:g}": gibbs(given, given.reward, b) for b in BETAS}
        cells[name] = {policy: expected(given, log, given.event).reshape(n, p) for policy, log in logs.items()}
        cells[name] |= pairwise(c, reward)
        kl = {policy: float(divergence(given, log, given.log_reference).mean()) for policy, log in logs.items()}
        out[name] = {policy: {**c.difference(q), "kl": kl.get(policy)} for policy, q in cells[name].items()}
        report = measure(given, TASTES, list(BETAS), list(NS), title="", event="event", facts={}, limits=(), seed=0)
        theirs = {f"beta {g.setting:g}": g for g in report.gibbs} | {f"best of {g.setting:g}": g for g in report.best_of}
        for policy in logs:  # the verb's own rates are these
            assert abs(abs(out[name][policy]["value"]) - theirs[policy].gap.value) < 1e-9
    first, *others = ENTRIES
    closed = {name: {policy: c.difference(cells[first][policy] - q) for policy, q in cells[name].items()} for name in others}
    return {"gaps": out, "closed": closed}


def pairwise(c: Crossed, reward: np.ndarray) -> dict[str, np.ndarray]:
    """Rates of preferring the longer of two texts of one prompt, one from each half: [users, prompts]."""
    found = {"pairs, soft": [], "pairs, hard": []}
    for prompt in range(c.prompts.max() + 1):
        long, short = (np.flatnonzero((c.prompts == prompt) & (c.event == side)) for side in (1, 0))
        margin = reward[:, long][:, :, None] - reward[:, short][:, None, :]
        found["pairs, soft"].append((1 / (1 + np.exp(-margin))).mean((1, 2)))
        found["pairs, hard"].append((margin > 0).mean((1, 2)))
    return {name: np.array(values).T for name, values in found.items()}


# --- the texts that were picked ---


@dataclass(frozen=True)
class Words:
    """Length, as an audit of texts."""

    name = "length"

    def measure(self, table: TextTable) -> Measured:
        values = np.array([len(text.split()) for text in table.texts], float)
        return Measured((Measure("words", values, "words of a text", objective=True),))


def grid_of(work: Path, asked: list[str]) -> Grid:
    """Prompt x taste of who asks; the taste is matched."""
    numbers = ", ".join(f'"{i}"' for i in range(len(asked)))
    file = work / "grid.toml"
    file.write_text(
        f'name = "loop"\ntemplate = "Prompt {{number}} for the {{taste}}."\n\n[[axis]]\nname = "number"\nvalues = [{numbers}]\n\n'
        f'[[axis]]\nname = "taste"\nmatched = true\nvalues = ["{TASTES[0]}", "{TASTES[1]}"]\n'
    )
    return load_grid(file)


def audited(work: Path, texts: list[dict[str, Any]], asked: list[str], seed: int) -> dict[str, Any]:
    """`audit-text` of what users were given: the best of each one's 8, and texts drawn at random."""
    c, rng = crossed(work, texts), np.random.default_rng([seed, 9])
    rows = []
    for run in ("drawn at random", *ENTRIES):
        reward = None if run == "drawn at random" else rewards(work, run)
        for number in range(len(asked)):
            own = np.flatnonzero(c.prompts == number)
            for taste, rare in zip(TASTES, (False, True)):
                for draw, user in enumerate(rng.choice(np.flatnonzero(c.minority == rare), PICKS, replace=False)):
                    pick = rng.choice(own) if reward is None else own[reward[user, own].argmax()]
                    rows.append({"number": str(number), "taste": taste, "text": texts[pick]["text"], "run": run, "draw": draw})
    report = evenhand.audit_text(
        rows, grid=grid_of(work, asked), audits=["formality", "persuasion", Words()], base="drawn at random", simulated=True, seed=seed
    )  # fmt: skip
    report.save(work / "audit")
    return {
        run["name"]: [
            {key: gap[key] for key in ("measure", "signed", "d", "p", "p_holm", "contrast")} for gap in run["gaps"] if not gap["masked"]
        ]
        for run in report.to_dict()["runs"]
    }


# --- a few steps of GRPO ---


def trained(work: Path, asked: list[str], seed: int) -> dict[str, Any]:
    """Five steps of TRL's GRPOTrainer on SmolLM2 with LoRA under a personalised Faro reward, of two users of opposite taste."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    from evenhand.encode.smollm2 import smollm2

    tastes = people(work)
    users = [next(u for u, taste in tastes.items() if taste == one) for one in TASTES]
    rows = [{"prompt": [{"role": "user", "content": p}], "user": u} for p in asked[:6] for u in users]
    reward = evenhand.reward_function(work / "Faro 0.05", work / "choices.jsonl", name="faro")
    seen: list[dict[str, Any]] = []

    def kept(prompts: Any, completions: Any, user: Any, **more: Any) -> list[float | None]:
        found = reward(prompts=prompts, completions=completions, user=user, **more)
        seen.append({"prompts": prompts, "completions": completions, "user": user, "rewards": found})
        return found

    config = GRPOConfig(
        str(work / "grpo"), max_steps=5, per_device_train_batch_size=4, num_generations=4, max_completion_length=24, learning_rate=1e-4,
        use_cpu=True, bf16=False, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, seed=seed, gradient_checkpointing=False,
    )  # fmt: skip
    lora = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = GRPOTrainer(str(smollm2()), reward_funcs=kept, args=config, train_dataset=Dataset.from_list(rows), peft_config=lora)
    trainer.train()
    model = evenhand.RewardModel.load(work / "Faro 0.05")
    own = histories_of(work / "choices.jsonl")
    states = model.users([own[user] for user in users])
    worst, apart = 0.0, []
    for step in seen:
        rows = [i for i, reward_ in enumerate(step["rewards"]) if reward_ is not None]  # the others hold no text
        texts = [[step[name][i] for i in rows] for name in ("prompts", "completions")]
        asker = [users.index(step["user"][i]) for i in rows]
        mine, other = (model.score_as(states, of, *texts) for of in (asker, [1 - user for user in asker]))
        worst = max(worst, float(np.abs(mine - np.array([step["rewards"][i] for i in rows], float)).max(initial=0.0)))
        apart += np.abs(mine - other).tolist()
    logged = [entry["rewards/kept/mean"] for entry in trainer.state.log_history if "rewards/kept/mean" in entry]
    given = [float(np.mean([r for r in step["rewards"] if r is not None])) for step in seen]
    return {
        "steps": len(logged),
        "logged": logged,
        "given": given,
        "worst": worst,
        "apart": float(np.mean(apart)),
        "known": reward.unknown == 0,
    }


if __name__ == "__main__":
    main()

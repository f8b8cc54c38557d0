"""PersonalLLM (Zollo et al. 2025, arXiv 2409.20296), both schemas of its release. All users are simulated.

*Released table*: prompt, response_1 … response_8 and response_I_MODEL, the reward of each response under ten reward models. A user is a
weighting of the reward models, drawn from a symmetric Dirichlet(ALPHA) by the seed; the user's reward is the weighted sum of rewards
standardised per model over the file. Each of PERSONS users judges PROMPTS prompts, drawn without replacement: of two responses drawn at
random (not the same text twice) the one with the higher reward is chosen. Sizes and ALPHA are choices of this program. A counted row is
such a pair, or a row of the file that could not be used.

*Evaluation table*: person_id, past choices (prompt_K, response_K_a, response_K_b, chosen_K) and, for the asked prompt, best_response and
gpt4o_response with this person's rewards. Every past choice is a pair, the higher reward of the last two another one. A history of single
rewarded responses (prompt_K, response_K, reward_K) holds no pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evenhand.data import columns
from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.source import Sides, Source

PERSONS, PROMPTS, ALPHA = 1_000, 50, 0.05
LARGEST = 1e6  # a reward beyond it is a broken one and would swamp the standardisation
RESPONSE = re.compile(r"response_(\d+)")
REWARD = re.compile(r"response_(\d+)_(?!a$|b$)(\w+)")
PAST = re.compile(r"chosen_(\d+)")
PATTERN = r"response_\d+(_\w+)?|prompt(_\d+)?|chosen_\d+|person_id|(best|gpt4o)_(response|reward|response_reward)"

Answers = tuple[int, Any, list[Any]]  # line, prompt, responses

BAD_REWARD = Fault(
    f"a reward is no number of size {LARGEST:g} at most, or its response is missing",
    "a text and its rewards for every response",
)
NO_PAIR = Fault("the row holds no pair", "a past choice, or two rewarded responses", set_aside=True)


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    evaluation = {"person_id", "prompt", "best_response", "gpt4o_response"} <= names
    return evaluation or ("prompt" in names and any(map(REWARD.fullmatch, names)))


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    rewarded: list[Batch] = []
    for batch in batches:
        if "person_id" in batch.columns:
            yield _choices(batch)
        elif len(batch) or batch.bad:
            rewarded.append(batch)
    if rewarded:
        yield _simulated(rewarded, np.random.default_rng(seed))


def _choices(batch: Batch) -> Batch:
    """The pairs of the evaluation table."""
    pairs: list[tuple[int, dict[str, Any]]] = []
    bad = list(batch.bad)
    for line, record in zip(batch.line.tolist(), batch.records()):
        choices = [*_past(record), *_asked(record)]
        pairs += [(line, {"user": record["person_id"], **pair}) for pair in choices]
        if not choices:
            bad.append(BadRow(line, NO_PAIR))
    return batch_of(batch.file, pairs, bad)


def _past(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, choice in record.items():
        if (match := PAST.fullmatch(name)) and choice in ("a", "b"):  # a list is in no set
            k, other = match[1], "b" if choice == "a" else "a"
            yield {
                "prompt": record.get(f"prompt_{k}"),
                "chosen": record.get(f"response_{k}_{choice}"),
                "rejected": record.get(f"response_{k}_{other}"),
            }


def _asked(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    best, other = columns.numbers([record.get("best_response_reward"), record.get("gpt4o_reward")])
    if np.isfinite(best) and np.isfinite(other) and record.get("best_response") != record.get("gpt4o_response"):
        texts = [record.get("best_response"), record.get("gpt4o_response")]
        chosen, rejected = texts if best >= other else reversed(texts)
        yield {"prompt": record.get("prompt"), "chosen": chosen, "rejected": rejected, "tie": bool(best == other)}


def _simulated(batches: Sequence[Batch], rng: np.random.Generator) -> Batch:
    """Pairs of simulated users over the released table."""
    names = list(dict.fromkeys(n for b in batches for n in b.columns))
    responses = sorted((n for n in names if RESPONSE.fullmatch(n)), key=lambda n: int(n.split("_")[1]))
    models = sorted({m[2] for m in map(REWARD.fullmatch, names) if m})
    texts: list[Answers] = []
    parts: list[np.ndarray] = []
    bad = [row for b in batches for row in b.bad]
    for batch in batches:
        rewards = _rewards(batch, responses, models)
        records = batch.records()
        for row, (line, record) in enumerate(zip(batch.line.tolist(), records)):
            answers = [record.get(name) for name in responses]
            if (np.abs(rewards[row]) <= LARGEST).all() and all(isinstance(a, str) and a.strip() for a in answers):
                texts.append((line, record.get("prompt"), answers))
                parts.append(rewards[row])
            else:
                bad.append(BadRow(line, BAD_REWARD))
    if not parts:
        return batch_of(batches[0].file, [], bad)
    return batch_of(batches[0].file, list(_draws(texts, np.stack(parts), rng)), bad)


def _rewards(batch: Batch, responses: Sequence[str], models: Sequence[str]) -> np.ndarray:
    """float64[rows, responses, models], nan where a column is missing."""
    missing = [None] * len(batch)
    cells = [[columns.numbers(batch.columns.get(f"{response}_{model}", missing)) for model in models] for response in responses]
    return np.moveaxis(np.array(cells), -1, 0)


def _draws(
    texts: Sequence[tuple[int, Any, list[Any]]], rewards: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[int, dict[str, Any]]]:
    flat = rewards.reshape(-1, rewards.shape[-1])
    spread = flat.std(0)
    scaled = (rewards - flat.mean(0)) / np.where(spread > 0, spread, 1)
    persons = rng.dirichlet(np.full(rewards.shape[-1], ALPHA), PERSONS)
    for person, weights in enumerate(persons):
        for row in rng.permutation(len(texts))[:PROMPTS]:
            line, prompt, answers = texts[row]
            first, second = rng.permutation(len(answers))[:2]
            if answers[first] == answers[second]:
                continue
            a, b = scaled[row, first] @ weights, scaled[row, second] @ weights
            chosen, rejected = (first, second) if a >= b else (second, first)
            yield (
                line,
                {
                    "user": f"person-{person}",
                    "prompt": prompt,
                    "chosen": answers[chosen],
                    "rejected": answers[rejected],
                    "tie": bool(a == b),
                },
            )


SAMPLE = (
    {
        "prompt": "Suggest a name for a cat.",
        "response_1": "Miso.", "response_2": "Perhaps Miso, since it is short and friendly?", "response_3": "Cats need no names.",
        "response_1_gemma_2b": 1.2, "response_2_gemma_2b": 2.5, "response_3_gemma_2b": -0.4,
        "response_1_oasst_pythia_1b": 0.3, "response_2_oasst_pythia_1b": -1.0, "response_3_oasst_pythia_1b": 0.9,
    },
    {
        "prompt": "What rhymes with moon?",
        "response_1": "June.", "response_2": "Many words do: June, soon, tune.", "response_3": "Nothing that matters.",
        "response_1_gemma_2b": 0.2, "response_2_gemma_2b": 1.5, "response_3_gemma_2b": -1.4,
        "response_1_oasst_pythia_1b": 1.3, "response_2_oasst_pythia_1b": 0.1, "response_3_oasst_pythia_1b": -0.9,
    },
)  # fmt: skip
SAMPLE_EVALUATION = (
    {
        "person_id": "0",
        "prompt_1": "Is tea healthy?", "response_1_a": "Mostly, yes.", "response_1_b": "Ask a doctor.", "chosen_1": "b",
        "prompt_2": None, "response_2_a": None, "response_2_b": None, "chosen_2": None,
        "prompt": "Name a river.", "best_response": "The Loire.", "best_response_reward": "0.7",
        "gpt4o_response": "A river is the Rhine.", "gpt4o_reward": "0.9",
    },
)  # fmt: skip

SOURCE = Source(
    name="personalllm",
    summary="PersonalLLM: prompt, response_1 … and rewards by model (simulated users drawn by the seed), or its evaluation table",
    required=("prompt",),
    optional=(),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pattern=PATTERN,
)

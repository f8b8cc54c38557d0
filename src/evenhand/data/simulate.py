"""The built-in sample: real texts, simulated users.

The texts (`sample/responses.jsonl`) were written for this project and carry its licence (MIT): everyday prompts, each answered in five
tastes - terse, detailed, warm, technical, playful. Its users are simulated. They show that the tools work; they say nothing about people.

User u has a utility for each taste, drawn around one of a few prototypes, and answers questions "a or b to this prompt?" from a pool that
all users share, so that every pair is judged by many:

    v_u        = prototype(u) + spread · N(0, I)                          five utilities, in log-odds
    P(a over b) = noise + (1 - 2·noise) · σ(v_u[a] - v_u[b])              Bradley & Terry 1952, then a label flip with probability `noise`

About `minority` of the users share a prototype that wants what the others do not: terse or playful responses. The attribute `taste` says
who ("majority" or "minority"); it is for audits only, and for checking that groups found by support find the same users.

Sizes: 600 users x 45 pairs over 126 prompts, a tenth of the users in the minority. They were chosen, among several that we tried, so that
personalised Bradley-Terry still serves the 60 users of rare taste visibly worse: the sample is an illustration, not evidence.

`evenhand demo` draws DEMO_USERS, DEMO_MINORITY of them of rare taste, so that its question is decided: with 60 such users the gap is known to
4 points either way, which decides nothing about a tolerance of 5; with 240 it is known to 2.2 to 2.9. Whether it is a PASS is up
to the fit: with seeds 0 and 1 it was (the gap is at most 3.5 and 3.0 points), with seed 2 it stayed open (at most 5.9).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from evenhand.core import EvenhandError, Exclusions, PreferenceData
from evenhand.writing import write

TASTES = ("terse", "detailed", "warm", "technical", "playful")

# Utilities in log-odds, in the order of TASTES. The three majority prototypes differ enough for personalisation to pay for them too.
MAJORITY = np.array([
    [-1.6, 2.2, 0.4, 0.9, -1.9],  # wants it complete
    [-0.6, 1.2, -1.4, 2.6, -1.8],  # wants it exact
    [-1.6, 1.0, 2.4, -0.9, -0.9],  # wants it kind
])  # fmt: skip
MAJORITY_SHARES = (0.4, 0.3, 0.3)
MINORITY = np.array([2.0, -1.9, -0.9, -1.5, 2.3])
DEMO_USERS, DEMO_MINORITY = 1200, 0.2
SPREAD = 0.4  # standard deviation of a user's utilities around the prototype


@dataclass(frozen=True)
class SamplePrompt:
    """One prompt of the sample and its responses, in the order of TASTES."""

    prompt: str
    topic: str
    responses: tuple[str, ...]


@dataclass(frozen=True)
class Population:
    """The truth behind simulated users: utilities float64[users, 5] in the order of TASTES, and whether each is of the minority."""

    utilities: np.ndarray
    minority: np.ndarray  # bool[users]


@cache
def sample_prompts() -> tuple[SamplePrompt, ...]:
    """The prompts that ship with the package, in file order."""
    text = (files("evenhand.data") / "sample" / "responses.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return tuple(SamplePrompt(r["prompt"], r["topic"], tuple(r["responses"][t] for t in TASTES)) for r in rows)


def population(seed: int = 0, users: int = 600, minority: float = 0.1) -> Population:
    """Utilities of `users` people, of whom round(minority · users) hold the minority's taste; in random order."""
    rng = np.random.default_rng([seed, 0])
    rare = rng.permutation(users) < round(minority * users)
    kind = rng.choice(len(MAJORITY), size=users, p=MAJORITY_SHARES)
    centre = np.where(rare[:, None], MINORITY, MAJORITY[kind])
    return Population(centre + SPREAD * rng.standard_normal(centre.shape), rare)


def question_pool(seed: int = 0, per_prompt: int = 6) -> np.ndarray:
    """The questions that all users share, int64[prompts · per_prompt, 3]: prompt, first taste, second taste."""
    rng = np.random.default_rng([seed, 1])
    pairs = np.array([(a, b) for a in range(len(TASTES)) for b in range(a + 1, len(TASTES))])
    drawn = [pairs[rng.choice(len(pairs), size=per_prompt, replace=False)] for _ in sample_prompts()]
    prompt = np.repeat(np.arange(len(drawn)), per_prompt)
    return np.column_stack([prompt, np.concatenate(drawn)])


def choice_probability(utilities: np.ndarray, first: np.ndarray, second: np.ndarray, noise: float) -> np.ndarray:
    """Probability in [noise, 1 - noise] that `first` (a taste) is chosen over `second`, one a row of `utilities` [n, 5]."""
    rows = np.arange(len(utilities))
    gain = utilities[rows, first] - utilities[rows, second]
    return noise + (1 - 2 * noise) / (1 + np.exp(-gain))


def simulated_users(
    seed: int = 0, users: int = 600, minority: float = 0.1, pairs_per_user: int = 45, noise: float = 0.1, per_prompt: int = 6
) -> PreferenceData:
    """Choices of simulated users between responses of the sample; the same arguments give the same data.

    users: how many, >= 2. minority: share of users with the rare taste, in [0, 1]. pairs_per_user: questions each user answers, drawn
    without replacement from the pool of `per_prompt` questions a prompt (1..10). noise: probability in [0, 0.5) that an answer is flipped.
    Raises EvenhandError when more questions are asked for than the pool holds, or a share is out of its range.
    """
    _check_arguments(users, minority, pairs_per_user, noise, per_prompt)
    pool = question_pool(seed, per_prompt)
    people = population(seed, users, minority)
    rng = np.random.default_rng([seed, 2])
    pool_rows = np.concatenate([np.sort(rng.permutation(len(pool))[:pairs_per_user]) for _ in range(users)])
    user = np.repeat(np.arange(users), pairs_per_user)
    prompt, first, second = pool[pool_rows].T
    chose_first = rng.random(len(user)) < choice_probability(people.utilities[user], first, second, noise)
    chosen, rejected = np.where(chose_first, first, second), np.where(chose_first, second, first)
    return _as_data(user, prompt, chosen, rejected, people)


def write_sample(
    path: str | Path,
    seed: int = 0,
    users: int = 600,
    minority: float = 0.1,
    pairs_per_user: int = 45,
    noise: float = 0.1,
    per_prompt: int = 6,
) -> Path:
    """Write simulated users (see `simulated_users`) as a JSONL table with the columns user, prompt, chosen, rejected, taste: whole or not at
    all, and never in the place of a file that is no older sample (DataError).
    """
    path = Path(path)
    data = simulated_users(seed, users, minority, pairs_per_user, noise, per_prompt)
    write(path.parent, {path.name: "".join(_lines(data)).encode()}, "sample")
    return path


def _check_arguments(users: int, minority: float, pairs_per_user: int, noise: float, per_prompt: int) -> None:
    most = per_prompt * len(sample_prompts())
    checks = (
        (users >= 2, f"users = {users}", "at least 2"),
        (0 <= minority <= 1, f"minority = {minority}", "a share in [0, 1]"),
        (0 <= noise < 0.5, f"noise = {noise}", "a probability in [0, 0.5)"),
        (1 <= per_prompt <= 10, f"per_prompt = {per_prompt}", "1 to 10, the pairs of five tastes"),
        (1 <= pairs_per_user <= most, f"pairs_per_user = {pairs_per_user}", f"1 to {most}, the questions in the pool"),
    )
    for good, found, expected in checks:
        if not good:
            raise EvenhandError(f"Simulated users: found {found}. Expected: {expected}.")


def _as_data(user: np.ndarray, prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray, people: Population) -> PreferenceData:
    """Rows of (user, prompt number, tastes) → PreferenceData that holds only the texts in use, numbered by first appearance."""
    sample = sample_prompts()
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    index = np.array(
        [
            (number(sample[p].prompt), number(sample[p].responses[c]), number(sample[p].responses[r]))
            for p, c, r in zip(prompt, chosen, rejected, strict=True)
        ],
        dtype=np.int32,
    )
    n = len(user)
    data = PreferenceData(
        users=tuple(f"simulated-{u:04d}" for u in range(len(people.minority))),
        texts=tuple(numbers), user=user.astype(np.int32), prompt=index[:, 0], chosen=index[:, 1], rejected=index[:, 2],
        attributes={"taste": tuple("minority" if rare else "majority" for rare in people.minority)},
        exclusions=Exclusions(rows_in=n, rows_used=n), source="built-in sample (simulated users)",
    )  # fmt: skip
    digest = hashlib.sha256()
    for line in _lines(data):
        digest.update(line.encode())
    return replace(data, fingerprint=digest.hexdigest())


def _lines(data: PreferenceData) -> Iterator[str]:
    """The table of `write_sample`, line by line; its bytes are what the fingerprint is taken over."""
    taste = data.attributes["taste"]
    for u, p, c, r in zip(data.user, data.prompt, data.chosen, data.rejected, strict=True):
        row = {"user": data.users[u], "prompt": data.texts[p], "chosen": data.texts[c], "rejected": data.texts[r], "taste": taste[u]}
        yield json.dumps(row, ensure_ascii=False) + "\n"

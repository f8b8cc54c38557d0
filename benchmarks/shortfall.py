"""An undecided requirement names about how many more users or prompts would tell, "four times in five": how often does so much more tell?

    python benchmarks/shortfall.py [--repeats 200]

True gaps are drawn evenly from 0 to 15 points, the tolerance is 5. A study that decides nothing is carried on, with the same users and
prompts in it, by what its own sentence asks for; more prompts are judged by all users at the old rate. Three worlds: every user judges
prompts of his or her own; all judge the same ones, which are hard or easy for a group; the same with few users. Printed: studies that were
open, what they asked for, and the share decided afterwards, right or wrong.
"""

from __future__ import annotations

import argparse
import re

import numpy as np

from evenhand.audits import Outcomes, check_requirements
from evenhand.core import Groups

WORLDS = {  # users, pairs a user, shared prompts (0 = own ones), spread of users, of (group, prompt) effects
    "own prompts, 300 users": (300, 12, 0, 0.10, 0.0),
    "60 shared prompts, 400 users": (400, 15, 60, 0.10, 0.15),
    "200 shared prompts, 200 users": (200, 25, 200, 0.15, 0.05),
}
MINORITY, BASE, TOLERANCE = 0.25, 0.7, 0.05
MOST = 60_000  # users that are simulated; a study that asks for more is counted apart


def study(seed: int, users: int, prompts: int, world: tuple[int, int, int, float, float], gap: float) -> tuple[str, str]:
    """Verdict and reason of a study of so many users and prompts, of which a smaller one of the same seed is a part."""
    _, pairs, shared, of_users, of_prompts = world
    bias = np.random.default_rng([seed, 1]).normal(0, of_users, MOST)[:users]
    group = (np.random.default_rng([seed, 2]).random(MOST) < MINORITY)[:users].astype(np.int16)
    ease = np.random.default_rng([seed, 3]).normal(0, of_prompts, (20_000, 2))
    each = pairs if not shared else round(pairs * prompts / shared)
    user = np.repeat(np.arange(users), each).astype(np.int32)
    rng = np.random.default_rng([seed, 4])
    prompt = np.arange(len(user)) if not shared else (rng.integers(0, prompts, users)[:, None] + np.arange(each)).ravel() % prompts
    chance = BASE + bias[user] - np.where(group[user] == 1, gap, 0.0)
    chance += ease[prompt, group[user]] if shared else 0.0
    right = rng.random(len(user)) < np.clip(chance, 0.02, 0.98)
    outcomes = Outcomes("model", "test", user, np.where(right, 1.0, -1.0), prompt=prompt.astype(np.int64))
    found = check_requirements(outcomes, Groups(("majority", "minority"), group, "simulated"), tolerance=TOLERANCE)[0]
    return found.verdict, found.reason


def asked_for(reason: str) -> tuple[int, int]:
    """(users, prompts) more, of the sentence."""
    found = {unit: int(n.replace(",", "")) for n, unit in re.findall(r"([\d,]+) more (user|prompt)", reason)}
    return found.get("user", 0), found.get("prompt", 0)


def main(repeats: int) -> None:
    print(
        f"{'world':32} {'studies':>7} {'open':>5} {'ask users':>9} {'prompts':>7} {'both':>5} {'median more':>16} {'too many':>8} {'decided':>8}"
    )
    for name, world in WORLDS.items():
        users, _, shared, *_ = world
        gaps = np.random.default_rng(0).uniform(0, 0.15, repeats)
        asks, decided, beyond, open_ = [], [], 0, 0
        for seed, gap in enumerate(gaps):
            verdict, reason = study(seed, users, shared, world, gap)
            if verdict != "INSUFFICIENT" or "Too little" in reason:
                continue
            open_ += 1
            more = asked_for(reason)
            asks.append(more)
            if (
                users + more[0] > MOST
                or shared + more[1] > 20_000
                or (users + more[0]) * 15 * max(1, (shared + more[1]) / max(shared, 1)) > 3e6
            ):
                beyond += 1
                continue
            decided.append(study(seed, users + more[0], shared + more[1], world, gap)[0] != "INSUFFICIENT")
        asked = np.array(asks)
        kinds = [
            ((asked[:, 0] > 0) & (asked[:, 1] == 0)).sum(),
            ((asked[:, 1] > 0) & (asked[:, 0] == 0)).sum(),
            (asked > 0).all(axis=1).sum(),
        ]
        median = ", ".join(f"{np.median(c[c > 0]):,.0f}" if (c > 0).any() else "-" for c in asked.T)
        print(
            f"{name:32} {repeats:7} {open_:5} {kinds[0]:9} {kinds[1]:7} {kinds[2]:5} {median:>16} {beyond:8} {100 * np.mean(decided):7.0f}%"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=200)
    main(parser.parse_args().repeats)

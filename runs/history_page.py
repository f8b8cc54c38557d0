"""The page of the study of histories in words (runs/history.py), from runs/results/history.json."""

from __future__ import annotations

from typing import Any

from tables import spread, table

GROUPS = ("all", "majority", "minority", "seen", "new")


def history(found: dict[str, Any]) -> str:
    trained = [about for by_name in found["trainings"].values() for about in by_name.values()]
    users = trained[0]["users"]
    hours = sum(about["cpu"] for about in trained) / 3600
    head = ("model", "given", *GROUPS)
    return "\n".join(
        [
            "## A user's history in words, or read by a head\n",
            "Command: `.venv/bin/python runs/history.py --data ../shared/data`. Real votes of one Polis conversation (bowling-green; CC BY 4.0, Polis and The Computational Democracy Project): pairs of short statements, one that a "
            f"user agreed with over one that he or she disagreed with; {users['statements']} statements, those scored new to the model. Of deal 0: {users['training pairs']} training, {users['validation pairs']} validation and {users['test pairs']} test pairs of "
            f"{users.get('seen majority', 0) + users.get('seen minority', 0)} seen and {users.get('new majority', 0) + users.get('new minority', 0)} new users, of whom {users.get('seen minority', 0) + users.get('new minority', 0)} are in the minority (the lowest fifth of item "
            "support among all who voted that much); 12 pairs of history a user.\n",
            "SmolLM2-135M-Instruct under LoRA (rank 16, base in bfloat16), from the head's frozen fit, 24 steps of 32 pairs, about one pass; 64 coordinates, no TF-IDF. *K in words*: K earlier choices stand before the statement and the reward is linear. *Late*: LoRe's head "
            "reads the features of the user's pairs, in batches of the same kind; *large batches*: a quarter of all pairs a step. The look at validation with the lowest loss is kept, the frozen head included; nothing was chosen on test pairs. "
            f"{len(found['trainings'])} deal, {hours:.1f} CPU hours for all models, on one core of a shared machine.\n",
            *expected(found),
            "### Validation loss by K and step\n",
            "A mean over users; step 0 is the head on frozen features.\n",
            *table(
                ("model", "deal", "step 0", *(f"step {s}" for s in steps(trained)), "kept", "tokens a text, mean and most", "CPU minutes"),
                [
                    [name, seed, *(f"{v:.4f}" for v in t["valid loss"]), kept(t), "{:.0f}, {}".format(*t["tokens"]), f"{t['cpu'] / 60:.0f}"]
                    for seed, by_name in found["trainings"].items()
                    for name, t in by_name.items()
                ],
            ),
            "",
            "### Test pairs\n",
            "Given: so many of the user's last choices when asked. 95 % intervals over users; users share statements and a training, which these leave out.\n",
            "Accuracy in %:\n",
            *table(head, levels(found, "accuracy", 1)),
            "",
            "Log loss:\n",
            *table(head, levels(found, "log loss", 3)),
            "",
            "### Differences, paired by user\n",
            "Accuracy in points; log loss, where below 0 is better.\n",
            *table(
                ("model", "minus", "accuracy, majority", "accuracy, minority", "accuracy, all", "log loss, majority", "log loss, minority", "log loss, all"),
                [
                    [
                        told(d["one"]),
                        told(d["other"]),
                        *(cell(d[m][g], digits) for m, digits in (("accuracy", 1), ("log loss", 3)) for g in ("majority", "minority", "all")),
                    ]
                    for d in found["differences"]
                ],
            ),
            "",
        ]
    )


def steps(trained: list[dict[str, Any]]) -> list[int]:
    looks = len(trained[0]["valid loss"]) - 1
    return [len(trained[0]["step loss"]) * (i + 1) // looks for i in range(looks)]


def kept(training: dict[str, Any]) -> str:
    return f"look {training['kept']}" if training["kept"] else "the frozen head"


def levels(found: dict[str, Any], metric: str, digits: int) -> list[list[str]]:
    return [[*told(name).rsplit(", ", 1), *(cell(by[metric][g], digits) for g in GROUPS)] for name, by in found["models"].items()]


def told(model: str) -> str:
    name, _, how = model.partition(": ")
    how, given = how.split(", ")
    return f"{name}, {how}, {given if given != "another's" else "8 of another user's"}"


def cell(e: dict[str, float], digits: int) -> str:
    return spread([e["value"], e["low"], e["high"]], digits)

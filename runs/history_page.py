"""The page of the study of histories in words (runs/history.py), from runs/results/history.json."""

from __future__ import annotations

from typing import Any

from tables import spread, table

GROUPS = ("all", "majority", "minority", "seen", "new")


def history(found: dict[str, Any]) -> str:
    trained = [about for by_name in found["trainings"].values() for about in by_name.values()]
    users, hours = trained[0]["users"], sum(about["cpu"] for about in trained) / 3600
    first = found["first"]["models"]
    head = ("model", "given", *GROUPS)
    return "\n".join(
        [
            "## A user's history in words, or read by a head\n",
            "Command: `.venv/bin/python runs/history.py --data ../shared/data`. Real votes of one Polis conversation (bowling-green; CC BY 4.0, The Computational Democracy Project): a pair is a statement that a user agreed with over one that he or "
            f"she disagreed with, and no two pairs of a user share a statement. {users['statements']} statements of at most 90 characters; {users['seen majority'] + users['seen minority']} seen users ({users['seen minority']} in the minority: the lowest fifth of item support, from "
            f"history pairs alone) with 16 training, 6 validation and 6 test pairs, {users['new majority'] + users['new minority']} new ones ({users['new minority']} in the minority) with 16 pairs of history and 6 test pairs. Test pairs are new to their user; on most of the statements others were trained.\n",
            "SmolLM2-135M-Instruct under LoRA (rank 16, base in bfloat16), from the head's frozen fit, one pass of 16 steps of 32 pairs; 64 coordinates, no TF-IDF. *K in words*: K earlier choices stand before the statement and the reward is linear. *Late*: "
            "LoRe's head reads the features of the user's pairs, in batches of the same kind. The look at validation with the lowest loss is kept, the frozen head included; nothing was chosen on test pairs. "
            f"Deals: {len(found['trainings'])}. {hours:.2f} CPU hours for all models, on one core of a shared machine.\n",
            f"A first design asked about statements that nobody had voted on in training (696 training pairs, 24 steps). It was stopped after K = 0 and the late user, whose test figures we had seen: {cell(first['0 in words: tuned, 0']['accuracy']['all'], 1)} and "
            f"{cell(first['late: tuned, 12']['accuracy']['all'], 1)} % right, near chance, where no K can be told from another.\n",
            *expected(found),
            "### Validation loss by K and step\n",
            "A mean over users; step 0 is the head on frozen features.\n",
            *table(
                ("model", "deal", "step 0", *(f"step {s}" for s in steps(trained)), "kept", "tokens a text, mean and most", "CPU minutes"),
                [
                    [
                        called(name),
                        seed,
                        *(f"{v:.4f}" for v in t["valid loss"]),
                        kept(t),
                        "{:.0f}, {}".format(*t["tokens"]),
                        f"{t['cpu'] / 60:.0f}",
                    ]
                    for seed, by_name in found["trainings"].items()
                    for name, t in by_name.items()
                ],
            ),
            "",
            "### Test pairs\n",
            "Kept: the look that validation kept, where it is not the frozen head. Given: so many of the user's last choices when asked. 95 % intervals over users; users share statements and a training, which these leave out.\n",
            "Accuracy in %:\n",
            *table(head, levels(found, "accuracy", 1)),
            "",
            "Log loss:\n",
            *table(head, levels(found, "log loss", 3)),
            "",
            "### Differences, paired by user\n",
            "Accuracy in points; log loss, where below 0 is better.\n",
            *table(
                (
                    "model",
                    "minus",
                    "accuracy, majority",
                    "accuracy, minority",
                    "accuracy, all",
                    "log loss, majority",
                    "log loss, minority",
                    "log loss, all",
                ),
                [
                    [
                        told(d["one"]),
                        told(d["other"]),
                        *(
                            cell(d[m][g], digits)
                            for m, digits in (("accuracy", 1), ("log loss", 3))
                            for g in ("majority", "minority", "all")
                        ),
                    ]
                    for d in found["differences"]
                    if d["log loss"]["all"]["low"] < d["log loss"]["all"]["high"]  # not one model twice
                ],
            ),
            "",
        ]
    )


def expected(found: dict[str, Any]) -> list[str]:
    """What was expected before the runs, in the script, and what came of it."""
    ks = sorted(int(name.split()[0]) for name in next(iter(found["trainings"].values())) if name.endswith("in words"))
    over = {k: between(found, f"{k} in words: tuned, {k}", "0 in words: tuned, 0") for k in ks if k}
    most = over[max(ks)]
    own = {k: between(found, f"{k} in words: tuned, {k}", f"{k} in words: tuned, another's") for k in over}
    late = {k: between(found, f"late: tuned, {k}", f"{k} in words: tuned, {k}") for k in ks}
    read = between(found, "late: tuned, 16", "late: tuned, 0")
    behind = [f"K = {k}" for k, d in late.items() if d["accuracy"]["all"]["high"] < 0 or d["log loss"]["all"]["low"] > 0]
    stayed = [called(name) for by_name in found["trainings"].values() for name, t in by_name.items() if not t["kept"]]
    missing = [f"K = {k}" for k in (2, 4) if k not in ks]
    return [
        *([f"**Not run for want of time: {' and '.join(missing)}**; the command above goes on with what is missing.\n"] if missing else []),
        *([f"{STAYED.format(', '.join(stayed))}\n"] if stayed else []),
        "Expected before any run, and found on test pairs (95 % over users):\n",
        f"1. No K beats another beyond noise: {'**missed**' if beyond(over) else 'met'}. Against K = 0, {'; '.join(f'K = {k}: {both(d)}' for k, d in over.items())}. Beyond noise: {', '.join(beyond(over)) or 'none'}.",
        f"2. A late user is at least level with every K. Given as many choices, late minus in words, {'; '.join(f'K = {k}: {both(d)}' for k, d in late.items())}. Behind beyond noise over all users: {', '.join(behind) or 'at no K'}.",
        f"3. The minority gains more from a history. Points of accuracy that it gains beyond the majority: K = {max(ks)} over K = 0 {more(most)}, the late user given 16 choices over none {more(read)}.",
        f"\nOf all differences in the last table, not adjusted for their number, beyond noise: {', '.join(found_at(found)) or 'none'}. Intervals are several points wide, so what is within noise is not shown to be nothing.\n",
        f"Whether a model reads whose history it is: with a user's own minus another user's, {'; '.join(f'K = {k}: {both(d)}' for k, d in own.items())}. {verdict(own)}\n",
    ]


STAYED = (
    "**Of {}, validation kept the head on frozen features**: 16 steps made its loss worse (below), so that what is told of these below is told of a head on features that were never trained "
    "to read a history."
)


def verdict(own: dict[int, dict[str, Any]]) -> str:
    read = [f"K = {k}" for k, d in own.items() if reads(d)]
    return (
        f"Beyond noise: {' and '.join(read)}."
        if read
        else "None can be told from a model that does not use whose history it is: that users were learned from words is not shown at any K, and a gain over K = 0 may come from what a history does to a text's features "
        "whoever's it is. Nothing is said here of what more training, or a larger model, would give."
    )


def reads(own: dict[str, Any]) -> bool:
    return own["accuracy"]["all"]["low"] > 0 or own["log loss"]["all"]["high"] < 0


def between(found: dict[str, Any], one: str, other: str) -> dict[str, Any]:
    return next(d for d in found["differences"] if (d["one"], d["other"]) == (one, other))


def both(d: dict[str, Any]) -> str:
    return f"{cell(d['accuracy']['all'], 1)} points, log loss {cell(d['log loss']['all'], 3)}"


def beyond(over: dict[int, dict[str, Any]]) -> list[str]:
    return [
        f"K = {k} in {metric} ({group})"
        for k, d in over.items()
        for metric in ("accuracy", "log loss")
        for group in ("all", "majority", "minority")
        if d[metric][group]["low"] > 0 or d[metric][group]["high"] < 0
    ]


def found_at(found: dict[str, Any]) -> list[str]:
    named = ((f"{told(d['one'])} minus {told(d['other'])}", d) for d in found["differences"])
    return [f"{name} in {part.partition(' in ')[2]}" for name, d in named for part in beyond({0: d})]


def more(d: dict[str, Any]) -> str:
    """The minority's difference minus the majority's, whose users are others."""
    minority, majority = (d["accuracy"][g] for g in ("minority", "majority"))
    value = minority["value"] - majority["value"]
    half = ((minority["high"] - minority["value"]) ** 2 + (majority["high"] - majority["value"]) ** 2) ** 0.5
    return spread([value, value - half, value + half], 1)


def paragraph(found: dict[str, Any]) -> str:
    ks = [k for k in (2, 4, 8) if f"{k} in words: tuned, {k}" in found["models"]]
    over = {k: between(found, f"{k} in words: tuned, {k}", "0 in words: tuned, 0") for k in ks}
    own = {k: between(found, f"{k} in words: tuned, {k}", f"{k} in words: tuned, another's") for k in ks}
    return (
        "SmolLM2 under LoRA on real votes, one small training of some 500 pairs. Earlier choices in words against none: "
        + "; ".join(f"K = {k} {both(d)}" for k, d in over.items())
        + ". A user's own against another user's: "
        + "; ".join(f"K = {k} {both(d)}" for k, d in own.items())
        + f". {verdict(own)}"
    )


def steps(trained: list[dict[str, Any]]) -> list[int]:
    looks = len(trained[0]["valid loss"]) - 1
    return [len(trained[0]["step loss"]) * (i + 1) // looks for i in range(looks)]


def kept(training: dict[str, Any]) -> str:
    return f"look {training['kept']}" if training["kept"] else "the frozen head"


def levels(found: dict[str, Any], metric: str, digits: int) -> list[list[str]]:
    """A row a model and number of choices; one that validation left frozen has one row for both."""
    models = found["models"]
    alike = {name for name, by in models.items() if "tuned" in name and by == models.get(name.replace("tuned", "frozen"))}
    return [
        [*told(name).rsplit(", ", 1), *(cell(by[metric][g], digits) for g in GROUPS)] for name, by in models.items() if name not in alike
    ]


def told(model: str) -> str:
    name, _, how = model.partition(": ")
    return f"{called(name)}, {how.replace('tuned', 'kept')}"


def called(name: str) -> str:
    return f"K = {name}" if name[0].isdigit() else name


def cell(e: dict[str, float], digits: int) -> str:
    return spread([e["value"], e["low"], e["high"]], digits)

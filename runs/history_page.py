"""The page of the study of histories in words (runs/history.py), from runs/results/history.json."""

from __future__ import annotations

from typing import Any

from tables import spread, table

GROUPS = ("all", "majority", "minority", "seen", "new")


def history(found: dict[str, Any]) -> str:
    shared = (
        "SmolLM2-135M-Instruct under LoRA (rank 16, base in bfloat16), from the head's frozen fit, one pass over the training pairs; 64 coordinates, no TF-IDF. *K in words*: K earlier choices stand before the response and the reward is linear. "
        "*Late*: LoRe's head reads the features of the user's pairs, in batches of the same kind. The look at validation with the lowest loss is kept, the frozen head included; nothing was chosen on test pairs. Expectations were written before any run, but for the one on soft tokens, which was added when the late user's figures had been seen.\n"
    )
    parts = [part for name, of in (("dsp", dsp), ("polis", polis)) if name in found for part in of(found[name], found)]
    return "\n".join(["## A user's history in words, or read by a head\n", shared, *parts])


def dsp(study: dict[str, Any], found: dict[str, Any]) -> list[str]:
    users = trainings(study)[0]["users"]
    return [
        "### DSP\n",
        "Command: `.venv/bin/python runs/history.py dsp --data ../shared/data`. Queries, domains and flips as in [DSP](dsp.md), one rotation (academy is the minority's domain), one deal; each response is cut after its first 32 words, so that eight choices fit in front of one. "
        f"{users['statements']:,} responses; {users['seen majority'] + users['seen minority']} seen users ({users['seen minority']} in the minority) with 16 training, 6 validation and 10 test pairs, {users['new majority'] + users['new minority']} new ones ({users['new minority']} in the minority) "
        f"with 16 pairs of history and 10 test pairs. A user's queries differ, and test queries are in nobody's training. {users['training pairs']:,} training pairs in 35 steps. Another user is one of another domain. {hours(study)}\n",
        *expected_of_dsp(study),
        *tables(study, "95 % intervals over users and queries; the training, of which there is one, is left out."),
    ]


def polis(study: dict[str, Any], found: dict[str, Any]) -> list[str]:
    users, first = trainings(study)[0]["users"], found["first"]["models"]
    return [
        "### Polis\n",
        "Command: `.venv/bin/python runs/history.py polis --data ../shared/data`. Real votes of one conversation (bowling-green; CC BY 4.0, The Computational Democracy Project): a pair is a statement that a user agreed with over one that he or "
        f"she disagreed with, and no two pairs of a user share a statement. {users['statements']} statements of at most 90 characters; {users['seen majority'] + users['seen minority']} seen users ({users['seen minority']} in the minority: the lowest fifth of item support, from "
        f"history pairs alone) with 16 training, 6 validation and 6 test pairs, {users['new majority'] + users['new minority']} new ones ({users['new minority']} in the minority) with 16 pairs of history and 6 test pairs. Test pairs are new to their user; on most of the statements others were trained. "
        f"512 training pairs in 16 steps. {hours(study)}\n",
        f"A first design asked about statements that nobody had voted on in training (696 training pairs, 24 steps). It was stopped after K = 0 and the late user, whose test figures we had seen: {cell(first['0 in words: tuned, 0']['accuracy']['all'], 1)} and "
        f"{cell(first['late: tuned, 12']['accuracy']['all'], 1)} % right, near chance, where no K can be told from another.\n",
        *expected_of_polis(study),
        *tables(study, "95 % intervals over users; users share statements and a training, which these leave out."),
    ]


def trainings(study: dict[str, Any]) -> list[dict[str, Any]]:
    return [about for by_name in study["trainings"].values() for about in by_name.values()]


def hours(study: dict[str, Any]) -> str:
    return f"Deals: {len(study['trainings'])}. {sum(about['cpu'] for about in trainings(study)) / 3600:.2f} CPU hours for all models, on one core of a shared machine for each."


def tables(study: dict[str, Any], intervals: str) -> list[str]:
    head, looks = ("model", "given", *GROUPS), steps(trainings(study))
    return [
        "#### Validation loss by K and step\n",
        "A mean over users; step 0 is the head on frozen features.\n",
        *table(
            ("model", "deal", "step 0", *(f"step {s}" for s in looks), "kept", "tokens a text, mean and most", "CPU minutes"),
            [
                [
                    called(name),
                    seed,
                    *(f"{v:.4f}" for v in t["valid loss"]),
                    kept(t),
                    "{:.0f}, {}".format(*t["tokens"]),
                    f"{t['cpu'] / 60:.0f}",
                ]
                for seed, by_name in study["trainings"].items()
                for name, t in by_name.items()
            ],
        ),
        "",
        "#### Test pairs\n",
        f"Kept: the look that validation kept, where it is not the frozen head. Given: so many of the user's last choices when asked. {intervals}\n",
        "Accuracy in %:\n",
        *table(head, levels(study, "accuracy", 1)),
        "",
        "Log loss:\n",
        *table(head, levels(study, "log loss", 3)),
        "",
        "#### Differences, paired by user\n",
        "Accuracy in points; log loss, where below 0 is better.\n",
        *table(
            (
                "model", "minus", "accuracy, majority", "accuracy, minority", "accuracy, all", "log loss, majority", "log loss, minority",
                "log loss, all",
            ),
            [
                [
                    told(d["one"]),
                    told(d["other"]),
                    *(cell(d[m][g], digits) for m, digits in (("accuracy", 1), ("log loss", 3)) for g in ("majority", "minority", "all")),
                ]
                for d in study["differences"]
                if d["log loss"]["all"]["low"] < d["log loss"]["all"]["high"]  # not one model twice
            ],
        ),
        "",
    ]  # fmt: skip


def expected_of_dsp(study: dict[str, Any]) -> list[str]:
    """What history_dsp.py says was expected, and what came of it."""
    over, own, late, most = compared(study)
    generic = study["models"]["0 in words: tuned, 0"]["accuracy"]
    values = [study["models"][f"{k} in words: tuned, {k}"]["accuracy"]["all"]["value"] for k in (0, *over)]
    tuned, frozen = (f"{max(over)} in words: {how}, {max(over)}" for how in ("tuned", "frozen"))
    trained, gain = between(study, tuned, frozen), apart(over[max(over)])
    ahead = {k: d["accuracy"]["all"]["low"] > 0 for k, d in late.items()}
    return [
        *unfinished(study),
        "Expected, and found on test pairs (95 %):\n",
        f"1. K = 0 serves the minority worse than chance and the majority better: {met(generic['minority']['high'] < 50 < generic['majority']['low'])}. {cell(generic['majority'], 1)} and {cell(generic['minority'], 1)} % right.",
        f"2. A history in words is read: at K = {max(over)} a user's own is ahead of that of a user of another domain ({met(own[max(over)]['accuracy']['all']['low'] > 0)}) and of K = 0 ({met(most['accuracy']['all']['low'] > 0)}), and accuracy grows with K, in the mean ({met(values == sorted(values))}). "
        f"Own minus another's, {each(own)}. Over K = 0, {each(over)}.",
        f"3. The minority gains more from K = {max(over)} over K = 0 than the majority: {met(gain[1] > 0)}, by {spread(gain, 1)} points of accuracy.",
        f"4. A late user given as many choices is ahead of every K beyond noise: {met(all(ahead.values()))}. Late minus in words, {each(late)}. Ahead beyond noise: {', '.join(f'K = {k}' for k, is_ahead in ahead.items() if is_ahead) or 'of no K'}.",
        f"5. At K = {max(over)} in words tuned is ahead of frozen: {met(trained['accuracy']['all']['low'] > 0)}, {both(trained)}.",
        *of_soft(study),
        "",
    ]


def of_soft(study: dict[str, Any]) -> list[str]:
    """The sixth, where soft tokens were run."""
    soft = "16 as soft tokens: tuned, 16"
    if soft not in study["models"]:
        return ["6. Soft tokens, a user's own ahead of another's and behind a late user: not run for want of time."]
    own, late, none = (
        between(study, soft, f"{soft[:-2]}another's"),
        between(study, "late: tuned, 16", soft),
        between(study, soft, "0 in words: tuned, 0"),
    )
    return [
        f"6. Soft tokens: a user's own are ahead of those of a user of another domain ({met(own['accuracy']['all']['low'] > 0)}, {both(own)}) and behind a late user ({met(late['accuracy']['all']['low'] > 0)}: late minus soft tokens {both(late)}). Over K = 0, {both(none)}."
    ]


def expected_of_polis(study: dict[str, Any]) -> list[str]:
    """What history_polis.py says was expected, and what came of it."""
    over, own, late, most = compared(study)
    read = between(study, "late: tuned, 16", "late: tuned, 0")
    behind = [f"K = {k}" for k, d in late.items() if d["accuracy"]["all"]["high"] < 0 or d["log loss"]["all"]["low"] > 0]
    return [
        *unfinished(study),
        "Expected before any run, and found on test pairs (95 % over users):\n",
        f"1. No K beats another beyond noise: {met(not beyond(over))}. Against K = 0, {each(over)}. Beyond noise: {', '.join(beyond(over)) or 'none'}.",
        f"2. A late user is at least level with every K. Given as many choices, late minus in words, {each(late)}. Behind beyond noise over all users: {', '.join(behind) or 'at no K'}.",
        f"3. The minority gains more from a history. Points of accuracy that it gains beyond the majority: K = {max(over)} over K = 0 {spread(apart(most), 1)}, the late user given 16 choices over none {spread(apart(read), 1)}.",
        f"\nOf all differences in the last table, not adjusted for their number, beyond noise: {', '.join(found_at(study)) or 'none'}. Intervals are several points wide, so what is within noise is not shown to be nothing.\n",
        f"Whether a model reads whose history it is: with a user's own minus another user's, {each(own)}. {verdict(own)}\n",
    ]


ByK = dict[int, dict[str, Any]]


def compared(study: dict[str, Any]) -> tuple[ByK, ByK, ByK, dict[str, Any]]:
    """By K: in words over K = 0; a user's own history over another user's; late over in words. And the first for the largest K."""
    ks = sorted(int(name.split()[0]) for name in next(iter(study["trainings"].values())) if name.endswith("in words"))
    over = {k: between(study, f"{k} in words: tuned, {k}", "0 in words: tuned, 0") for k in ks if k}
    own = {k: between(study, f"{k} in words: tuned, {k}", f"{k} in words: tuned, another's") for k in over}
    return over, own, {k: between(study, f"late: tuned, {k}", f"{k} in words: tuned, {k}") for k in ks}, over[max(over)]


def unfinished(study: dict[str, Any]) -> list[str]:
    """What was not run, and what stayed as it was."""
    named = next(iter(study["trainings"].values()))
    missing = [f"K = {k}" for k in (2, 4) if f"{k} in words" not in named]
    stayed = [called(name) for by_name in study["trainings"].values() for name, t in by_name.items() if not t["kept"]]
    return [
        *([f"**Not run for want of time: {' and '.join(missing)}**; the command above goes on with what is missing.\n"] if missing else []),
        *([f"{STAYED.format(', '.join(stayed))}\n"] if stayed else []),
    ]


def met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def each(by_k: ByK) -> str:
    return "; ".join(f"K = {k}: {both(d)}" for k, d in by_k.items())


STAYED = (
    "**Of {}, validation kept the head on frozen features**: training made its loss worse (below), so that what is told of these below is told of a head on features that were never trained "
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


def apart(d: dict[str, Any]) -> list[float]:
    """The minority's difference minus the majority's, whose users are others: value, low, high."""
    minority, majority = (d["accuracy"][g] for g in ("minority", "majority"))
    value = minority["value"] - majority["value"]
    half = ((minority["high"] - minority["value"]) ** 2 + (majority["high"] - majority["value"]) ** 2) ** 0.5
    return [value, value - half, value + half]


def paragraph(found: dict[str, Any]) -> str:
    pairs = {
        "dsp": "DSP, simulated users of known tastes",
        "polis": "real votes on Polis",
    }
    return "SmolLM2 under LoRA, one small training each. " + " ".join(
        f"{text[0].upper()}{text[1:]} ({trainings(found[name])[0]['users']['training pairs']:,} training pairs). {of_one(found[name])}"
        for name, text in pairs.items()
        if name in found
    )


def of_one(study: dict[str, Any]) -> str:
    over, own, late, _ = compared(study)
    least = study["models"][f"{max(over)} in words: tuned, {max(over)}"]["accuracy"]["minority"]
    return (
        f"Earlier choices in words against none: {each(over)}. A user's own against another user's: {each(own)}. {verdict(own)} A late user given as many choices, minus in words: {each(late)}. "
        f"Of the minority's pairs, K = {max(over)} in words orders {cell(least, 1)} %."
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

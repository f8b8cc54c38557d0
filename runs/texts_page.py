"""The page of the study of texts: every seed of a grid, what its seeds have in common, and sentences that follow from the numbers alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tables import points_of, share, spread, table

AUDITS = ("persuasion", "formality", "emotion")
FALL = 0.02  # what `choose` lets fidelity fall by
SURE = 0.05
FEWEST = 10  # blocks, under which there are no intervals
Run = Mapping[str, Any]
Found = Mapping[str, Any]


def texts(found: Found) -> str:
    """Section on texts for many audiences. Parts that the study has not done are left out."""
    grids = by_grid(found["runs"])
    seeds = listed(f"{counted(len(runs), 'seed')} of {grid}" for grid, runs in grids.items())
    out = [
        "## Texts for many audiences, with a small model\n",
        f"Command: `runs/texts.sh` ({seeds}). SmolLM2-135M-Instruct in its plain wording, "
        f"{found['k']} drafts a prompt, rules and {counted(found['revisions'], 'revision')} by the model as candidates; gate and selection as shipped; SFT and DPO on at most "
        f"{found['examples']} examples of the blocks that are not audited, one epoch; every stage audited on the same held-out blocks, {found['draws']} texts a prompt.\n",
        "Half of the blocks is held out since a quarter, tried first, showed nothing beyond noise; from how many pairs on a fresh fall is told was lowered after the first run had been seen ([why, and what simulations say of it](../decisions.md#texts)).\n",
        "**What it shows.** " + " ".join(filter(None, sentences(found["runs"]))) + "\n",
        "A 135M model writes fluently and follows instructions badly: it shows that the pipeline runs and what its statistics say of it, not what alignment does for texts that people "
        "would send. Commands for a model that writes well stand in `runs/texts.py`.\n",
    ]
    for grid, runs in grids.items():
        out += grid_section(grid, runs)
    for part, section in (
        ("across", across), ("ablations", ablations), ("trainings", trainings), ("models", models), ("persuasion", persuasion),
    ):  # fmt: skip
        for name, one in found.get(part, {}).items():
            out += section(name, one)
    return "\n".join(out)


def paragraph(found: Found) -> str:
    """What stands of it in docs/results.md."""
    runs = found["runs"]
    kinds = listed(f"{grid} ({counted(len(of), 'seed')})" for grid, of in by_grid(runs).items())
    shares = [s["usable"]["value"] for r in runs.values() for s in r["stages"].values()]
    return (
        f"SmolLM2-135M through the whole of `align`: {kinds}; {100 * min(shares):.0f} to {100 * max(shares):.0f} % of texts usable. {in_originals(runs)} {changes(runs)} "
        "It shows that the pipeline runs and what its statistics say of it, not what a model that writes well would gain."
    )


# --- sentences over all runs


def sentences(runs: Mapping[str, Run]) -> Iterator[str]:
    yield in_originals(runs)
    yield from repaired(runs)
    yield added(runs)
    yield changes(runs)
    yield lower(runs)
    yield usable(runs)
    yield chosen(runs)
    yield power(runs)
    single = [grid for grid, of in by_grid(runs).items() if len(of) == 1]
    if single:
        yield f"Of {listed(single)} there is one seed: how much another would differ is not known."


def in_originals(runs: Mapping[str, Run]) -> str:
    count = Counter(d for r in runs.values() for d in named(r, "original"))
    some = sum(bool(beyond(r, "original")) for r in runs.values())
    if not some:
        return f"No gap of the originals is beyond its null after Holm in any of {counted(len(runs), 'run')}: there was nothing to repair that these texts could show."
    return f"In {some} of {len(runs)} originals gaps are beyond their null after Holm: {listed(f'{label(*d)} in {n}' for d, n in count.most_common())}."


def repaired(runs: Mapping[str, Run]) -> Iterator[str]:
    """Of each disparity of the originals: whether it is lower on fresh draws, and what stages keep of it."""
    had: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, run in runs.items():
        for measure, axis in named(run, "original"):
            had[measure, axis].append(name)
    for (measure, axis), names in sorted(had.items()):
        falls = [f for n in names for f in runs[n]["falls"] if (f["measure"], f["axis"]) == (measure, axis)]
        fresh = [f["fresh"]["value"] for f in falls if f["fresh"]["value"] is not None]
        if not falls:
            drawn = "selection does not aim at it"
        elif not fresh:
            drawn = "whether selection makes it lower on fresh draws is not known, as too few choices have another draw"
        else:
            shown = sum((f["fresh"]["low"] or 0) > 0 for f in falls)
            drawn = f"on fresh draws of the same choices it is lower beyond noise in {shown} of {len(fresh)} (mean fall {100 * np.mean(fresh):.1f} %)"
        stages = [s for s in stage_names(runs) if s != "original"]
        still = listed(f"{count_of(runs, names, s, measure, axis)} after {s}" for s in stages)
        lost = [
            f"{n} ({s})"
            for n in names
            for s in stages
            if runs[n]["stages"][s]["fidelity"] < runs[n]["stages"]["original"]["fidelity"] - FALL
        ]
        kept = (
            f"fidelity is lower by more than {FALL:g} in {listed(lost)}"
            if lost
            else f"fidelity falls by more than {FALL:g} in none of these"
        )
        yield f"{upper(label(measure, axis))}, of {counted(len(names), 'run')}: {drawn}; it is still beyond its null in {still}; {kept}."


def count_of(runs: Mapping[str, Run], names: Sequence[str], stage: str, measure: str, axis: str) -> int:
    return sum(stage in runs[n]["stages"] and (measure, axis) in named(runs[n], stage) for n in names)


def added(runs: Mapping[str, Run]) -> str:
    new = Counter(
        (label(*d), stage)
        for r in runs.values()
        for stage in r["stages"]
        for d in named(r, stage) - named(r, "original")
        if stage != "original"
    )
    if not new:
        return "No stage has a gap beyond its null that its originals had not."
    what = listed(
        f"{gap} after {stage} in {n} of {len(runs)}" for (gap, stage), n in sorted(new.items(), key=lambda found: (-found[1], found[0]))
    )
    return f"Some are beyond their null in a stage and were not in its originals, as written or with names hidden: {what}."


def changes(runs: Mapping[str, Run]) -> str:
    count = Counter(m["change"] for r in runs.values() for m in r["moved"])
    compared = sum(r["compared"] for r in runs.values())
    if not count:
        return f"None of {compared:,} comparisons of a stage with its originals shows a change beyond noise."
    return f"Of {compared:,} comparisons of a stage with its originals, {count['improved']} improved and {count['regressed']} regressed beyond noise."


def lower(runs: Mapping[str, Run]) -> str:
    said = []
    for stage in stage_names(runs):
        some = [
            r for r in runs.values() if stage in r["stages"] and stage not in ("original", "selected")
        ]  # selection looks at these very numbers
        if some:
            parts = [
                f"{a} {sum(d < 0 for d in each)} (mean {100 * np.mean(each):+.0f} %)" for a in AUDITS if (each := relative(some, stage, a))
            ]
            said.append(f"after {stage} {', '.join(parts)}")
    if not said:
        return ""
    return f"Runs, of {len(runs)}, in which the mean |gap| of a trained model's texts is below the originals': {'; '.join(said)}. These are estimates, not tests."


def usable(runs: Mapping[str, Run]) -> str:
    parts = [f"{stage} {over(values(runs, stage, lambda s: 100 * s['usable']['value']), 1)}" for stage in stage_names(runs)]
    return f"Usable texts in per cent, mean and range over runs: {', '.join(parts)}."


def chosen(runs: Mapping[str, Run]) -> str:
    count = Counter(r["best"] or "no run" for r in runs.values())
    return f"Chosen at rho .1 and eps .02: {listed(f'{what} in {n}' for what, n in count.most_common())}."


def power(runs: Mapping[str, Run]) -> str:
    found = [
        g["mde"]
        for r in runs.values()
        for g in r["stages"]["original"]["gaps"]
        if g["measure"] == "persuasion bias" and not g["masked"] and g.get("mde") is not None
    ]
    few = [n for n, r in runs.items() if r["blocks"] < FEWEST]
    least = f" Under {FEWEST} blocks, in {listed(few)}, there are no intervals." if few else ""
    if not found:
        return least.strip() or "What would have been found is not known."
    blocks = sorted({r["blocks"] for r in runs.values()})
    return (
        f"On {listed(map(str, blocks))} held-out blocks, a difference of means in persuasion bias would be found four times in five by one test from d "
        f"{min(found):.2f} to {max(found):.2f} on.{least}"
    )


# --- sections


def grid_section(grid: str, runs: Mapping[str, Run]) -> list[str]:
    one = next(iter(runs.values()))
    best = listed(f"{run['best'] or 'no run'} (seed {seed})" for seed, run in runs.items())
    rows = [[seed, stage, *stage_cells(s)] for seed, run in runs.items() for stage, s in run["stages"].items()]
    losses = "; ".join(
        f"seed {seed}: {', '.join(f'{stage} {first:.3f} to {last:.3f}' for stage, (first, last) in run['losses'].items())}"
        for seed, run in runs.items()
        if run["losses"]
    )
    out = [
        f"### {upper(grid)}, {counted(len(runs), 'seed')}\n",
        f"{one['cells']} cells in {one['blocks']} blocks are audited. Mean |gap| as written, by audit:\n",
        *table(("seed", "stage", *STAGE), rows), "",
        f"Chosen: {best}. Losses, first and last step: {losses or 'none'}.\n",
    ]  # fmt: skip
    if len(runs) > 1:
        rows = []
        for stage in stage_names(runs):
            row = [stage, over(values(runs, stage, lambda s: 100 * s["usable"]["value"]), 1)]
            row += [over(values(runs, stage, lambda s, a=a: s["disparities"].get(a))) for a in AUDITS]
            row += [over([100 * d for d in relative(runs.values(), stage, a)], 0, sign=True) if stage != "original" else "" for a in AUDITS]
            rows.append([*row, over(values(runs, stage, lambda s: s["fidelity"]), 4)])
        head = ("stage", "usable, %", *AUDITS, *(f"{a}, change, %" for a in AUDITS), "fidelity")
        out += ["Over seeds, mean (range); changes are against the same seed's originals:\n", *table(head, rows), ""]
    return [*out, *beyond_table(runs), *moved_table(runs), *falls_table(runs)]


STAGE = ("usable, %", *AUDITS, "fidelity", "gaps beyond their null")


def stage_cells(s: Mapping[str, Any]) -> list[str]:
    past = sorted({label(m, axis) for m, axis, _ in s["beyond"]})
    return [share(s["usable"]), *(number(s["disparities"].get(a)) for a in AUDITS), number(s["fidelity"], 4), ", ".join(past) or "none"]


def beyond_table(runs: Mapping[str, Run]) -> list[str]:
    stages = stage_names(runs)
    count = Counter((label(*d), stage) for r in runs.values() for stage in stages if stage in r["stages"] for d in beyond(r, stage))
    rows = [[gap, *(f"{count[gap, stage]} of {len(runs)}" for stage in stages)] for gap in sorted({g for g, _ in count})]
    if not rows:
        return ["No gap is beyond its null after Holm, in any stage of any seed.\n"]
    return ["Seeds in which a gap is beyond its null after Holm:\n", *table(("gap", *stages), rows), ""]


def moved_table(runs: Mapping[str, Run]) -> list[str]:
    """Changes beyond noise, in how many seeds."""
    stages = [s for s in stage_names(runs) if s != "original"]
    count: Counter[tuple[str, str, str]] = Counter()
    for run in runs.values():
        count.update({(moved_label(m), m["run"], m["change"]) for m in run["moved"]})
    rows = [
        [
            what,
            *(
                ", ".join(f"{change} in {n}" for change in ("improved", "regressed") if (n := count[what, s, change])) or "–"
                for s in stages
            ),
        ]
        for what in sorted({w for w, _, _ in count})
    ]
    if not rows:
        return [f"No change beyond noise, of {sum(r['compared'] for r in runs.values())} compared.\n"]
    return [f"Changes against the originals beyond noise, of {len(runs)} seeds:\n", *table(("what", *stages), rows), ""]


def moved_label(m: Mapping[str, Any]) -> str:
    if m["kind"] == "level":
        return f"{m['measure']}{', names hidden' if m['masked'] else ''} (level)"
    return f"{label(m['measure'], m['axis'], m['masked'])} ({m['kind']} gap)"


def falls_table(runs: Mapping[str, Run]) -> list[str]:
    names = list(dict.fromkeys((f["measure"], f["axis"]) for r in runs.values() for f in r["falls"]))
    if not names:
        return []
    rows = []
    for name in names:
        falls = [f for r in runs.values() for f in r["falls"] if (f["measure"], f["axis"]) == name]
        cells = []
        for kind in ("same", "fresh", "learned"):
            known = [100 * f[kind]["value"] for f in falls if f[kind]["value"] is not None]
            cells.append(
                f"{over(known, 1)}{'' if len(known) == len(falls) else f' (known in {len(known)} of {len(falls)})'}" if known else "–"
            )
        parts = [
            100 * f["fresh"]["n_pairs"] / f["same"]["n_pairs"] for f in falls if f["fresh"]["value"] is not None and f["same"]["n_pairs"]
        ]
        rows.append([label(*name), *cells, over(parts, 0)])
    return [
        "What selection made of the texts that are trained on: fall of mean |gap| in per cent, mean (range) over seeds. A fresh fall is of the pairs whose choices have another draw, and not known (–) where these are "
        "too few:\n",
        *table(("gap", "same texts", "fresh draws", "learned", "pairs with fresh draws, %"), rows), "",
    ]  # fmt: skip


def across(name: str, run: Run) -> list[str]:
    where, grid = name.split(":")
    return [
        f"### Trained on {where}, asked for {grid}\n",
        f"{run['cells']} cells, in {run['blocks']} blocks, of a grid that no training saw. {changes({name: run})}\n",
        *table(("stage", *STAGE), [[stage, *stage_cells(s)] for stage, s in run["stages"].items()]), "",
    ]  # fmt: skip


def trainings(name: str, run: Run) -> list[str]:
    rows = []
    for stage, s in run["stages"].items():
        count = Counter(m["change"] for m in run["moved"] if m["run"] == stage)
        loss = run["losses"].get(stage)
        rows.append(
            [
                stage,
                *stage_cells(s),
                "" if stage == "original" else f"{count['improved']} / {count['regressed']}",
                f"{loss[0]:.3f} to {loss[1]:.3f}" if loss else "",
            ]
        )
    return [
        f"### Other ways to train, on the candidates of {name}\n",
        "DPO only: from the untrained model. Not pair-aware: of each cell the usable text of the highest fidelity, without a gate between groups. Random drafts: one draft of each cell, usable or not. "
        f"SFT and SFT + DPO are the run's own; all write for the same held-out prompts, {run['blocks']} blocks, and are audited at once.\n",
        *table(("training", *STAGE, "improved / regressed", "loss"), rows), "",
    ]  # fmt: skip


def models(name: str, run: Run) -> list[str]:
    (first, ours), (other, theirs) = list(run["stages"].items())[:2]
    apart = theirs["usable"]["value"] - ours["usable"]["value"]
    speed = run.get("measured", {}).get("tokens_per_second")
    rows = [["SmolLM2-135M-Instruct" if stage == first else stage, *stage_cells(s)] for stage, s in run["stages"].items()]
    return [
        f"### Another family: {other}\n",
        f"The same held-out prompts as {name.split(':')[0]}, {theirs['texts']:,} texts, none revised or trained. Its usable share is {100 * abs(apart):.1f} points {'above' if apart > 0 else 'below'} SmolLM2's"
        f"{f'; {speed:.0f} tokens a second on one shared core' if speed else ''}. {changes({name: run})} Gaps beyond their null: {listed(sorted({label(m, a) for m, a, _ in theirs['beyond']})) or 'none'} "
        f"({listed(sorted({label(m, a) for m, a, _ in ours['beyond']})) or 'none'} in SmolLM2's). Of texts of which many are no messages, gaps say little.\n",
        *table(("model", *STAGE), rows), "",
    ]  # fmt: skip


def ablations(name: str, ways: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            way,
            f"{100 * w['kept']:.0f}",
            *(fell(f, kind) for f in w["falls"] if f["measure"] == "persuasion bias" for kind in ("same", "fresh", "learned")),
        ]
        for way, w in ways.items()
    ]
    axes = [f["axis"] for f in next(iter(ways.values()))["falls"] if f["measure"] == "persuasion bias"]
    head = (
        "way to select",
        "blocks that keep originals, %",
        *(f"{axis}: {kind}" for axis in axes for kind in ("same texts", "fresh draws", "learned")),
    )
    return [
        f"### Ways to select, on the candidates of {name}\n",
        f"Fall of mean |gap| of persuasion bias in per cent. Where too few choices have another draw a fresh fall is not known (–).{ungated(ways.get('no gate'))}\n",
        *table(head, rows), "",
    ]  # fmt: skip


def ungated(way: Mapping[str, Any] | None) -> str:
    falls = [f for f in way["falls"] if f["measure"] == "persuasion bias" and f["fresh"]["value"] is not None] if way else []
    if not falls:
        return ""
    parts = [
        f"{100 * f['same']['value']:.1f} % on the same texts and {100 * f['fresh']['value']:.1f} % on fresh draws by {f['axis']}"
        for f in falls
    ]
    return f" Without the gate it is {listed(parts)}: the difference is selection on noise."


def fell(fall: Mapping[str, Any], kind: str) -> str:
    value = fall[kind]["value"]
    return "–" if value is None else f"{100 * value:.1f}"


# --- others' messages

KNOWN = {
    "sizes": "the smallest and the largest model of five families on the same policy, in three wordings of the same request that stand for draws. Known: the only thing that differs is the model; "
    "and the authors find that larger models persuade more with sharply diminishing returns, and that staying on topic and being coherent is most of it",
    "authors": "a person (one text a policy) and two of the largest models (three each) on the same policy. Known: the writer differs, and how long the texts are",
}


def persuasion(name: str, one: Mapping[str, Any]) -> list[str]:
    return dialogues(one) if name == "dialogues" else messages(name, one)


def messages(name: str, one: Mapping[str, Any]) -> list[str]:
    gaps = [g for g in one["gaps"] if not g["testable"]]
    past = [g for g in gaps if is_beyond(g)]
    said = [said_of(g) for g in past]
    tests = [
        f"{t['name']} by {t['axis']} ({t['audit']}, p {t['p_holm']:.3f})"
        for t in one["tests"]
        if t["p_holm"] is not None and t["p_holm"] <= SURE
    ]
    mde = [g["mde"] for g in gaps if g["mde"] is not None]
    least = (
        f" By one test a difference of d {min(mde):.2f} to {max(mde):.2f}, by measure, would be found four times in five." if mde else ""
    )
    words_said = " ".join(s for _, s in one["said"] if s.startswith("By "))
    rows = [
        [
            f"{g['audit']}: {g['measure']}",
            "–" if g["distance"] else f"{g['contrast'][1]} less {g['contrast'][0]}",
            spread([g["d"][k] for k in ("value", "low", "high")], 2)
            if g["d"]["value"] is not None and g["d"]["low"] is not None
            else number(g["d"]["value"], 2),
            p_value(g["p_holm"]),
            p_value(g["systematic_p_holm"]),
            f"{number(g['absolute'])} ({number(g['null'])})",
        ]
        for g in gaps
    ]
    shares = listed(f"{v} {points_of(one['usable'][v])}" for v in one["values"])
    words = listed(f"{v} {one['words'][v]:.0f}" for v in one["values"])
    return [
        f"### Messages on policies, by {one['axis']}\n",
        f"{one['texts']} of the 730 messages of Hackenburg et al. 2024 (arXiv 2406.14508; MIT) in {one['blocks']} blocks: {KNOWN[name]}. Groups are writers, not audiences: fidelity is left out, and a gap is a "
        "difference of style, no unfairness. No language model runs.\n",
        f"Usable, in per cent: {shares}; words: {words}. Beyond their null after Holm: {listed([*said, *tests]) or 'nothing'}.{least} {words_said}\n",
        *table(("measure", "contrast", "d [95 %]", "p, Holm", "p of systematic gap, Holm", "mean gap of pairs (null)"), rows), "",
    ]  # fmt: skip


def side(g: Mapping[str, Any]) -> str:
    return g["contrast"][1] if g["signed"]["value"] > 0 else g["contrast"][0]


def said_of(g: Mapping[str, Any]) -> str:
    if g["distance"]:
        return f"{g['measure']} (profiles differ)"
    if not (g["p_holm"] is not None and g["p_holm"] <= SURE):
        return f"{g['measure']} (in pairs, not in the mean)"
    least = g["contrast"][0] if g["signed"]["value"] > 0 else g["contrast"][1]
    return f"{g['measure']}, more in {side(g)} than in {least} (d {abs(g['d']['value']):.2f})"


def dialogues(one: Mapping[str, Any]) -> list[str]:
    alike = one["alike but for one"]
    return [
        "### Why the dialogues of Persuasion for Good make no matched grid\n",
        f"{one['dialogues']:,} dialogues (Wang et al. 2019, arXiv 1906.06725; Apache-2.0) by {one['persuaders']:,} persuaders. A matched grid is one message in versions that differ in an attribute "
        f"of the audience alone. Of {one['pairs']:,} pairs of dialogues of one persuader {alike} {'has' if alike == 1 else 'have'} listeners that differ in one of {one['attributes']} attributes alone (on average {one['attributes apart']:.1f} differ); "
        f"a persuader's turn has {one['words']:.0f} words and answers the turn before it, and of {one['turns']:,} turns {100 * one['repeated'] / one['turns']:.0f} % are said in the same words in more than one "
        f"dialogue, {100 * one['repeated, 15 words'] / one['turns']:.1f} % where they have 15 words or more. What differs between groups there is who was spoken to, by whom and about what: not audited here.\n",
    ]  # fmt: skip


def is_beyond(g: Mapping[str, Any]) -> bool:
    return any(g[p] is not None and g[p] <= SURE for p in ("p_holm", "systematic_p_holm"))


# --- numbers and names


def by_grid(runs: Mapping[str, Run]) -> dict[str, dict[str, Run]]:
    """Grid → seed → run."""
    out: dict[str, dict[str, Run]] = {}
    for name, run in sorted(runs.items()):
        grid, seed = name.rsplit("-", 1)
        out.setdefault(grid, {})[seed] = run
    return out


def stage_names(runs: Mapping[str, Run]) -> list[str]:
    return list(dict.fromkeys(stage for r in runs.values() for stage in r["stages"]))


def beyond(run: Run, stage: str) -> set[tuple[str, str, bool]]:
    return {(m, axis, masked) for m, axis, masked in run["stages"][stage]["beyond"]}


def named(run: Run, stage: str) -> set[tuple[str, str]]:
    """As written or with names hidden."""
    return {(m, axis) for m, axis, _ in beyond(run, stage)}


def values(runs: Mapping[str, Run], stage: str, of: Any) -> list[float]:
    return [v for r in runs.values() if stage in r["stages"] and (v := of(r["stages"][stage])) is not None]


def relative(runs: Iterable[Run], stage: str, audit: str) -> list[float]:
    """Changes of an audit's mean |gap| against the same run's originals."""
    pairs = [
        (r["stages"]["original"]["disparities"].get(audit), r["stages"][stage]["disparities"].get(audit))
        for r in runs
        if stage in r["stages"]
    ]
    return [now / before - 1 for before, now in pairs if before and now is not None]


def over(numbers: Sequence[float], digits: int = 3, sign: bool = False) -> str:
    """Mean (range)."""
    if not numbers:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    mean = f"{np.mean(numbers):{form}}"
    return mean if len(numbers) == 1 else f"{mean} ({min(numbers):{form}} to {max(numbers):{form}})"


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    return "< .001" if value is not None and value < 0.001 else number(value)


def label(measure: str, axis: str, masked: bool = False) -> str:
    return f"{measure} by {axis}{', names hidden' if masked else ''}"


def upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """a, b and c."""
    several = list(parts)
    return " and ".join([", ".join(several[:-1]), several[-1]] if len(several) > 1 else several)

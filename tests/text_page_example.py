"""Findings of texts as they might be, made up: what the pages of texts are looked at with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate, Exclusions, Verdict
from evenhand.texts.audit import Tabled, Tested
from evenhand.texts.findings import (
    Admitted,
    AuditFinding,
    Change,
    Choice,
    Example,
    Fall,
    Gap,
    Level,
    Moved,
    Run,
    Scored,
    Selection,
    TextFindings,
    Trained,
)

NAN = math.nan
GENDER, AGE = (
    ("Male", "Female"),
    ("Young Adult (18-24)", "Early Working Age Group (25-44)", "Late Working Age Group (45-64)", "Senior (65+)"),
)
AXES = (
    ("stance and theme", tuple(f"theme {i}" for i in range(11)), False), ("region", ("Northeast", "Southeast", "Midwest", "Southwest", "West"), False),
    ("age", AGE, True), ("gender", GENDER, True),
)  # fmt: skip
MEASURES = {  # audit and measure → standard deviation of texts, scale, whether an objective, mean
    ("persuasion", "persuasion bias"): (0.62, 1.0, True, 0.84), ("persuasion", "agency"): (0.55, 1.0, False, 0.31),
    ("persuasion", "modality"): (0.45, 1.0, False, 0.38), ("persuasion", "imperatives"): (1.1, 1.0, False, 1.7),
    ("formality", "formality"): (4.1, 1.0, True, 61.3), ("fidelity", "embedding contrast"): (0.05, 1.0, False, 0.121),
    ("fidelity", "identifiability of gender"): (0.29, 100.0, False, 0.91),
}  # fmt: skip
PROFILE = ("emotion", "emotions")


def around(value: float, se: float, blocks: int = 55, pairs: int = 220, metric: str = "", group: str = "") -> Estimate:
    high = value + 2 * se if value > 1 else min(value + 2 * se, 1.0)
    return Estimate(value, value - 2 * se, high, blocks, pairs, metric, group)


NOTHING = Estimate(NAN, NAN, NAN, 0, 0)


def gap(
    audit: str, measure: str, axis: str, d: float = 0.02, p: float = 0.6, systematic: float = 0.05, systematic_p: float = 0.4, masked: bool = False,
    contrast: tuple[str, str] = ("", ""), values: Sequence[str] = GENDER, blocks: int = 55, draws: int = 4, distance: str = "", sd: float = 0.45, mean: float = 0.4,
) -> Gap:  # fmt: skip
    """d and systematic: in standard deviations; p: after Holm as well."""
    pairs = 4 * blocks if len(values) == 2 else 12 * blocks
    contrast = contrast if contrast[0] else (values[0], values[-1])
    groups = tuple((v, around(mean + d * sd * (v == contrast[1]), 0.05 * sd, blocks, pairs)) for v in values)
    is_one = draws < 2
    return Gap(
        audit, measure, axis, masked, groups, contrast, NOTHING if distance else around(d * sd, 0.07 * sd, blocks, pairs),
        NOTHING if distance else around(d, 0.07, blocks, pairs), p, NOTHING if is_one else around(systematic * sd, 0.05 * sd, blocks, pairs), NAN if is_one else systematic_p,
        1.13 * sd * (1 + max(systematic, 0)), NAN if is_one else 1.13 * sd, 0.2 if len(values) == 2 else 0.26, pairs, draws, p, NAN if is_one else systematic_p, distance,
        "not testable: one text a cell" if is_one else "",
    )  # fmt: skip


def level(audit: str, measure: str, value: float, masked: bool = False, blocks: int = 55, n: int = 1760) -> Level:
    sd, scale, objective, _ = MEASURES.get((audit, measure), (0.1, 1.0, True, 0.0))
    return Level(audit, measure, masked, around(value, 0.03 * sd, blocks, n), scale, measure == "embedding contrast", objective)


def gaps(found: Mapping[tuple[str, str], tuple[float, float, float, float]], blocks: int = 55, draws: int = 4) -> tuple[Gap, ...]:
    """found: (measure, axis) → d, p, systematic, p of it; of others nothing is shown."""
    out = []
    rng = np.random.default_rng(2)
    for masked in (False, True):
        for axis, values in (("gender", GENDER), ("age", AGE)):
            for (audit, measure), (sd, _, _, mean) in MEASURES.items():
                null = (float(rng.normal(0, 0.05)), 0.9, float(rng.normal(0, 0.03)), 0.8)
                d, p, s, sp = found.get((measure, axis), null)
                out.append(gap(audit, measure, axis, d, p, s, sp, masked, values=values, blocks=blocks, draws=draws, sd=sd, mean=mean))
            s, sp = found.get(("emotions", axis), (0.0, 1.0, 0.01, 0.7))[2:]
            for distance in ("L1", "Jensen-Shannon"):
                out.append(gap(*PROFILE, axis, 0, sp, s, sp, masked, values=values, blocks=blocks, draws=draws, distance=distance, sd=0.1))
    return tuple(out)


def words(axis: str, pairs: Sequence[tuple[str, float]]) -> Tabled:
    return Tabled(
        "Words that set texts apart beyond the permuted maximum",
        ("word", "odds ratio", "texts", "z"),
        tuple((w, o, 31, 2.0 * o) for w, o in pairs),
        axis,
    )


def audits() -> tuple[AuditFinding, ...]:
    out = []
    for masked in (False, True):
        out += [
            AuditFinding(
                "persuasion", masked, {"persuasion bias": "A + M + 0.1·I", "modality": "(C − H) / (C + H), words of certainty and of doubt"},
                {"imperatives": "depends on the tagger: a p-value changed sides between two of them"}, (), (), ("The tagger was spaCy’s small model.",),
            ),
            AuditFinding("formality", masked, {"formality": "(nouns + adjectives + … + 100) / 2"}, {}, (), (), ()),
            AuditFinding(
                "emotion", masked, {"emotions": "28 probabilities, scaled to sum to 1"}, {}, (),
                (Tabled("Agreement of two instruments", ("emotion", "correlation"), (("joy", 0.11), ("fear", 0.08))),), ("The two instruments correlate by .08 (median).",),
            ),
            AuditFinding(
                "lexical", masked, {}, {}, (Tested("largest |z| of all words", "gender", 4.9, 0.004), Tested("WEAT, career and family", "gender", 0.21, NAN, "too few words")),
                (words("gender", [("family", 0.4), ("job", 2.2)]), words("age", [("future", 3.1)])), (),
            ),
            AuditFinding("fidelity", masked, {"embedding contrast": "similarity to the own context less the mean one to its counterfactuals"}, {}, (), (), ()),
        ]  # fmt: skip
    return tuple(out)


SHOWN = {
    ("modality", "gender"): (-0.29, 0.001, 0.21, 0.004), ("imperatives", "age"): (-0.4, 0.001, 0.3, 0.002),
    ("persuasion bias", "gender"): (-0.21, 0.02, 0.12, 0.03),
    ("identifiability of gender", "gender"): (0.05, 0.9, 0.0, 0.9), ("emotions", "age"): (0.0, 0.01, 0.2, 0.004),
}  # fmt: skip


def run(
    name: str = "climate", found: Mapping[tuple[str, str], tuple[float, float, float, float]] = SHOWN, usable: float = 0.932, contrast: float = 0.121, blocks: int = 55,
    draws: int = 4,
) -> Run:  # fmt: skip
    n = 8 * blocks * draws
    levels = [
        level(a, m, contrast if m == "embedding contrast" else mean, masked, blocks, n)
        for masked in (False, True)
        for (a, m), (_, _, _, mean) in MEASURES.items()
    ]
    levels = [
        replace(x, value=around(0.73, 0.02, blocks, n)) if x.masked and x.measure.startswith("identifiability") else x for x in levels
    ]
    refused = {"length": int(n * (1 - usable) * 0.7), "theme": int(n * (1 - usable) * 0.4), "prompt leak": 0}
    return Run(
        name, n, 8 * blocks, draws, around(usable, 0.01, blocks, n), refused, gaps(found, blocks, draws), tuple(levels), audits(), "f1" * 32
    )


def required(d: float, half: float, verdict: Verdict, reason: str, name: str = "modality by gender") -> Requirement:
    return Requirement(f"{name}: |d| of the signed gap", Estimate(d, max(d - half, 0), d + half, 55, 220, "d", name), 0.2, verdict, reason)


FACTS = {"grid": "climate", "texts": "texts.jsonl", "texts sha256": "9c1f" * 16, "evenhand": "0.1.0", "seed": "0", "permutations": "2000"}
FORMULAS = {
    "signed gap": "mean of cell means of one value less those of the other",
    "systematic gap": "signed root of mean (m_a − m_b)² − s_a²/k − s_b²/k",
}


def one_run() -> TextFindings:
    """A large model's texts: more certain for men, imperatives by age."""
    lost = Exclusions(1770, 1760, {"empty text": 8, "over 20,000 characters": 2}, {"Pro-Energy / Economy / West / Senior (65+) / Male": {"empty text": 8, "over 20,000 characters": 2}}, "texts")  # fmt: skip
    asked = (
        required(0.29, 0.16, "FAIL", "The gap is 0.29, beyond 0.20, and beyond its null (p = 0.001 after Holm)."),
        required(0.02, 0.15, "PASS", "At most 0.17 with 95 % confidence, and 0.20 is allowed.", "formality by gender"),
        required(0.1, 0.16, "INSUFFICIENT", "It may be 0.26 or nothing; about 140 blocks would decide.", "agency by gender"),
    )
    return TextFindings(
        "Climate messages of one large model", "climate", AXES, 440, 55, {"age": 660, "gender": 220}, (run(),), requirements=asked, verdict="FAIL", exclusions=lost, facts=FACTS,
        formulas=FORMULAS, limits=("One wording of the prompt was tried.",), command="evenhand audit-text texts.jsonl --grid climate --tolerance 0.2",
    )  # fmt: skip


def null_run() -> TextFindings:
    """Nothing is there, and few texts are usable."""
    asked = (required(0.02, 0.15, "PASS", "At most 0.17 with 95 % confidence, and 0.20 is allowed."),)
    return replace(one_run(), runs=(run(found={}, usable=0.37),), requirements=asked, verdict="PASS", title="Texts of a small model")


def one_draw() -> TextFindings:
    """One text a cell: pairs cannot be tested."""
    return replace(one_run(), runs=(run(draws=1),), requirements=(), verdict="INSUFFICIENT")


def untestable() -> TextFindings:
    """Nothing at all can be tested: three blocks, one text a cell."""
    made = run(found={}, blocks=3, draws=1)
    bare = tuple(replace(g, p=NAN, p_holm=NAN, mde=NAN) for g in made.gaps)
    return replace(
        one_run(), runs=(replace(made, gaps=bare),), requirements=(), verdict="INSUFFICIENT", n_cells=24, n_blocks=3, pairs={"gender": 12}
    )


def moved(
    name: str, base: Run, after: Run, better: Sequence[tuple[str, str]], worse: Sequence[tuple[str, str]] = (), fidelity: float = -0.004
) -> tuple[Moved, ...]:
    out = []
    by_key = {g.key: g for g in after.gaps}
    for g in base.gaps:
        h = by_key[g.key]
        change: Change = "improved" if (g.measure, g.axis) in better else "regressed" if (g.measure, g.axis) in worse else "undecided"
        a, b = (abs(x.systematic.value) for x in (g, h))
        half = 0.4 * abs(b - a) if change != "undecided" else abs(b - a) + 0.1 * MEASURES.get((g.audit, g.measure), (0.1,))[0]
        size = [replace(x.systematic, value=v, low=v - half / 2, high=v + half / 2) for x, v in ((g, a), (h, b))]
        out.append(
            Moved(name, g.audit, g.measure, g.axis, g.masked, *size, Estimate(b - a, b - a - half, b - a + half, 55, g.n_pairs), change)
        )
    own = [next(x.value for x in r.levels if x.fidelity) for r in (base, after)]
    half = 0.006
    change = "undecided" if abs(fidelity) < half else "regressed" if fidelity < 0 else "improved"
    out.append(
        Moved(
            name,
            "fidelity",
            "embedding contrast",
            "",
            False,
            *own,
            Estimate(fidelity, fidelity - half, fidelity + half, 55, 1760),
            change,
            "level",
        )
    )
    return tuple(out)


def fall(measure: str, axis: str, same: float, fresh: float, shuffled: float, half: float = 0.03) -> Fall:
    return Fall(
        measure,
        axis,
        *(around(v, 0.02) for v in (same, fresh, shuffled)),
        Estimate(fresh - shuffled, fresh - shuffled - half, fresh - shuffled + half, 55, 220),
    )


STAGES = ("original", "selected", "sft", "sft+dpo")
LESS = {
    ("modality", "gender"): (-0.06, 0.9, 0.04, 0.8),
    ("imperatives", "age"): (-0.2, 0.02, 0.1, 0.04),
    ("emotions", "age"): (0.0, 0.2, 0.1, 0.1),
}


def aligned() -> TextFindings:
    """Four stages, of which one is chosen."""
    base = run("original")
    runs = (
        base,
        run("selected", LESS, 0.99, 0.118),
        run("sft", LESS, 0.964, 0.117),
        run("sft+dpo", {**LESS, ("agency", "gender"): (0.3, 0.01, 0.2, 0.01)}, 0.951, 0.104),
    )
    better = (("modality", "gender"), ("imperatives", "age"))
    moves = (
        *moved("selected", base, runs[1], better), *moved("sft", base, runs[2], better), *moved("sft+dpo", base, runs[3], better[:1], (("agency", "gender"),), -0.017),
    )  # fmt: skip
    chosen = Selection(
        {"eps": "0.1 of the base mean", "eps of fidelity": "0.01", "gate": "on block means", "candidates a cell": "8"}, 55, 3520,
        {"length": 310, "disparity of persuasion bias": 880, "fidelity": 402, "stance": 12}, 0.25, {"original": 110, "revision": 230, "rules": 100},
        (fall("persuasion bias", "gender", 0.73, 0.24, 0.20), fall("formality", "gender", 0.41, 0.20, 0.09), fall("emotions", "age", 0.2, NAN, NAN)),
        (("modality", "gender", -0.13, -0.02), ("persuasion bias", "gender", -0.12, -0.03)), ("Blocks were selected at once.",),
    )  # fmt: skip
    scored = (
        Scored("original", {"persuasion": 0.0, "formality": 0.0, "emotion": 0.0}, 0.0, 0), Scored("selected", {"persuasion": -0.24, "formality": -0.2, "emotion": -0.02}, -0.003, 3),
        Scored("sft", {"persuasion": -0.12, "formality": 0.04, "emotion": -0.01}, -0.004, 2, ("selected",)),
        Scored("sft+dpo", {"persuasion": 0.22, "formality": -0.1, "emotion": 0.0}, -0.017, 1, ("selected",)),
    )  # fmt: skip
    admitted = []
    for rho in (0.0, 0.05, 0.1, 0.25):
        for eps in (0.0, 0.01, 0.02, 0.05):
            some = tuple(s.run for s in scored[1:] if max(s.regression.values()) <= rho and s.fidelity >= -eps)
            admitted.append(Admitted(rho, eps, some, some[0] if some else ""))
    traces = tuple(Trained(n, {"rank": "16", "texts": "240", "seconds": "412"}, tuple((s, 0.6 + 2 * math.exp(-s / k)) for s in range(1, 61))) for n, k in (("sft", 20), ("sft+dpo", 60)))  # fmt: skip
    return TextFindings(
        "Climate messages, aligned", "climate", AXES, 440, 55, {"age": 660, "gender": 220}, runs, moves, selection=chosen,
        choice=Choice("original", scored, tuple(admitted), 0.1, 0.02, "selected"), trained=traces, exclusions=one_run().exclusions, facts=FACTS, formulas=FORMULAS,
        limits=("A model of 135 million parameters was trained; what a large one would do is not known.",), simulated=True, command="evenhand align climate --demo --out out",
    )  # fmt: skip


def none_selected() -> TextFindings:
    found = aligned()
    assert found.choice
    strict = [replace(a, runs=(), best="") if a.rho < 0.25 else a for a in found.choice.admitted]
    return replace(found, choice=replace(found.choice, best="", admitted=tuple(strict)))


def three_models() -> TextFindings:
    """Runs side by side, without a choice."""
    base, less = run("model A"), run("model B", {}, 0.81)
    other = run("model C", {("modality", "gender"): (-0.3, 0.001, 0.2, 0.001)}, 0.77)
    moves = (*moved("model B", base, less, [("modality", "gender")]), *moved("model C", base, other, []))
    return replace(one_run(), runs=(base, less, other), moved=moves, requirements=(), verdict="INSUFFICIENT", title="Three models")


def many(n: int = 12) -> TextFindings:
    """Twelve runs."""
    base = run("seed 00")
    runs = (base, *(run(f"seed {i:02d}", LESS, 0.9 + i / 200, 0.121 - i / 2000) for i in range(1, n)))
    moves = tuple(m for r in runs[1:] for m in moved(r.name, base, r, [("modality", "gender")]))
    return replace(aligned(), runs=runs, moved=moves, choice=None, selection=None, trained=())


def many_values(n: int = 30) -> TextFindings:
    """An axis of many values, and many measures of one audit."""
    values = tuple(f"country number {i:02d}, with a long name" for i in range(n))
    own = tuple(
        gap(
            "mine",
            f"measure {i:02d}",
            "country",
            0.05 * i - 0.5,
            0.02 if i == 3 else 0.5,
            values=values,
            contrast=(values[i], values[-1 - i]),
        )
        for i in range(14)
    )
    levels = tuple(level("mine", f"measure {i:02d}", 0.5) for i in range(14))
    made = replace(run(), gaps=own, levels=levels, audits=(AuditFinding("mine", False, {}, {}, (), (), ()),))
    return replace(one_run(), axes=(AXES[0], ("country", values, True)), runs=(made,), requirements=(), verdict="INSUFFICIENT")


def nothing() -> TextFindings:
    """No run has a text."""
    return TextFindings("", "g", (), 4, 2, {}, ())


def hostile(names: Sequence[str]) -> TextFindings:
    """A text of its own in every place for one."""
    it = iter(list(names) * 60)
    values = tuple(dict.fromkeys(names))[:4]
    found = aligned()
    runs = []
    for i, r in enumerate(found.runs):
        own = [replace(g, audit=names[0], measure=names[1], axis=names[2], contrast=(values[0], values[-1]), groups=tuple((v, g.groups[0][1]) for v in values)) if g.measure == "modality" else g for g in r.gaps]  # fmt: skip
        own = [replace(g, testable=names[3]) if g.measure == "formality" else g for g in own]
        levels = [replace(x, audit=names[0], measure=names[1]) if x.measure == "modality" else x for x in r.levels]
        parts = [
            AuditFinding(names[0], False, {next(it): next(it)}, {next(it): next(it)}, (Tested(next(it), next(it), 1.5, 0.2, next(it)),),
                         (Tabled(next(it), (next(it), next(it) + " 2"), ((next(it), 1.5), (next(it), next(it))), next(it)),), (next(it),)),
        ]  # fmt: skip
        runs.append(
            replace(
                r,
                name=names[i % len(names)] + (" again" if i >= len(names) else ""),
                gaps=tuple(own),
                levels=tuple(levels),
                audits=tuple(parts),
                refused={names[4]: 3},
            )
        )
    by = {old.name: new.name for old, new in zip(found.runs, runs)}
    moves = tuple(
        replace(m, run=by[m.run], **({"audit": names[0], "measure": names[1], "axis": names[2]} if m.measure == "modality" else {}))
        for m in found.moved
    )
    c, s = found.choice, found.selection
    assert c
    assert s
    scored = tuple(replace(x, run=by[x.run], regression={names[0]: 0.1}, dominated=(by["sft"],)) for x in c.runs)
    admitted = tuple(replace(a, runs=tuple(by[r] for r in a.runs), best=by.get(a.best, "")) for a in c.admitted)
    choice = replace(c, base=by[c.base], best=by[c.best], runs=scored, admitted=admitted)
    chosen = replace(
        s, settings={names[0]: names[1]}, refused={names[2]: 9}, chosen={names[3]: 9}, falls=tuple(replace(f, measure=names[4], axis=names[5]) for f in s.falls),
        signed=((names[0], names[1], 0.5, 0.25),), sentences=(names[2],),
    )  # fmt: skip
    asked = tuple(replace(r, name=next(it), reason=next(it)) for r in one_run().requirements)
    return replace(
        found, title=names[0], grid=names[1], axes=((names[0], values, False), (names[2], values, True), *AXES[2:]), pairs={names[2]: 220}, runs=tuple(runs), moved=moves,
        choice=choice, selection=chosen, trained=(Trained(names[3], {names[4]: names[5]}, ((1, 2.5), (2, 1.5))),), requirements=asked, verdict="FAIL",
        exclusions=Exclusions(20, 10, {names[0]: 10}, {names[1]: {names[2]: 10}}, "texts"), facts={names[3]: names[4]}, formulas={names[5]: names[0]}, limits=(names[1],),
        command=names[2], note=names[3],
    )  # fmt: skip


def with_examples() -> TextFindings:
    return replace(
        one_run(),
        examples=(
            Example(
                ("Economy / West / Male", "Economy / West / Female"), "climate", ("You must act now, sir.", "Perhaps you could act, madam.")
            ),
        ),
    )

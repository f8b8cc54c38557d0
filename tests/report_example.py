"""Reports made by hand from simulated numbers: a realistic one, one without enough data, and extreme ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from evenhand.audits.findings import (
    Change,
    ChangeRow,
    Confound,
    ConstraintFindings,
    EventRate,
    FairnessReport,
    FittedConstraints,
    GroupCost,
    GroupCounts,
    GroupFinding,
    ModelFindings,
    NullFinding,
    Paired,
    Requirement,
    SupportBin,
    SupportCurve,
    TrainingTrace,
    UserMetric,
    UserSpread,
    ViolationFinding,
)
from evenhand.core import Estimate, Exclusions

NAN = float("nan")


def estimate(
    value: float, half: float = 0.012, n_users: int = 400, n_pairs: int = 12_000, metric: str = "accuracy", group: str = ""
) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half), n_users, n_pairs, metric, group)


def group(name: str, accuracy: float, n_users: int, half: float, excluded: str = "", pairs_each: int = 30) -> GroupFinding:
    n = n_users, n_users * pairs_each
    return GroupFinding(
        name,
        *n,
        estimate(accuracy, half, *n, "accuracy", name),
        estimate(4 * (accuracy - 0.5), 4 * half, *n, "mean margin", name),
        estimate(1.28 - accuracy, half, *n, "log-loss", name),
        estimate(0.03 + half / 3, half / 2, *n, "ECE", name),
        1.4 * half,
        estimate(0.61, 0.05, *n, "Krippendorff alpha", name) if half < 0.02 else None,
        excluded,
    )


def bump(grid: np.ndarray, centre: float, width: float) -> tuple[float, ...]:
    return tuple((np.exp(-(((grid - centre) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))).tolist())


def support_curve(seed: int = 0, n: int = 400) -> SupportCurve:
    rng = np.random.default_rng(seed)
    support = np.clip(rng.normal(0.62, 0.13, n), 0.1, 0.98)
    accuracy = np.clip(0.52 + 0.3 * support + rng.normal(0, 0.035, n), 0.3, 1)
    edges = np.quantile(support, np.linspace(0, 1, 9))
    bins = []
    for low, high in pairwise(edges):
        rows = (support >= low) & (support <= high)
        half = 2 * accuracy[rows].std() / np.sqrt(rows.sum()) + 0.006
        bins.append(
            SupportBin(
                float(low),
                float(high),
                float(support[rows].mean()),
                estimate(accuracy[rows].mean(), half, int(rows.sum()), int(rows.sum()) * 30),
            )
        )
    line = tuple((float(b.mean), float(b.accuracy.value)) for b in bins)
    return SupportCurve(
        "Share of the other users with a strict preference on the same pair who choose alike (at least 3 others), on training pairs only",
        tuple(bins),
        line,
        Estimate(0.142, 0.089, 0.195, n, n * 30, "slope of logit accuracy"),
        Estimate(0.41, 0.33, 0.49, n, n * 30, "Spearman correlation"),
        tuple(zip(support.tolist(), accuracy.tolist())),
    )


def user_spread() -> UserSpread:
    grid = np.linspace(0, 1, 101)
    rows = (
        ("standard deviation", 0.098, 0.083, 0.015, 0.041),
        ("Gini", 0.078, 0.066, 0.012, 0.032),
        ("worst decile", 0.53, 0.56, -0.03, 0.632),
        ("share below 50 %", 0.031, 0.012, 0.019, 0.004),
    )
    metrics = tuple(UserMetric(*row) for row in rows)
    return UserSpread(
        tuple(grid.tolist()),
        bump(grid, 0.71, 0.098),
        bump(grid, 0.71, 0.041),
        Estimate(0.041, 0.029, 0.052, 400, 12_000, "tau"),
        0.0004,
        metrics,
    )


def confounds() -> tuple[Confound, ...]:
    labels = ("chosen shorter by 200+", "shorter by 50–200", "within 50 characters", "longer by 50–200", "longer by 200+")
    values = (0.622, 0.671, 0.712, 0.741, 0.768)
    length = tuple((label, estimate(v, 0.018, 390, 2_400)) for label, v in zip(labels, values))
    position = tuple((label, estimate(v, 0.013, 400, 6_000)) for label, v in (("chosen first", 0.709), ("chosen second", 0.705)))
    return (Confound("length difference", length, estimate(0.573, 0.011)), Confound("position", position, estimate(0.502, 0.009)))


def model(
    name: str = "pafo (soft, α 0.1, balance ½)",
    minority: float = 0.664,
    majority: float = 0.726,
    split: str = "test: seen users, unseen prompts",
) -> ModelFindings:
    gap = majority - minority
    return ModelFindings(
        name,
        split,
        estimate(0.1 * minority + 0.9 * majority, 0.009),
        (group("minority", minority, 48, 0.026), group("majority", majority, 352, 0.009)),
        estimate(gap, 0.031, 400, 12_000, "accuracy gap"),
        support_curve(),
        (
            NullFinding("max - min", gap, 0.013, 0.0004, 0.034, gap - 0.013, 0.0005),
            NullFinding("ratio min / max", minority / majority, 0.982, 0.953, 0.9995, -0.067, 0.0005),
            NullFinding("standard deviation", gap / 2, 0.0065, 0.0002, 0.017, gap / 2 - 0.0065, 0.0005),
        ),
        user_spread(),
        confounds(),
        (GroupCounts("minority", 1_440, 61, 2, 0, 3), GroupCounts("majority", 10_560, 212, 5, 1, 17)),
    )


def change() -> Change:
    def row(name: str, before: float, gain: float, half: float, n: int) -> ChangeRow:
        counts = n, n * 30
        return ChangeRow(
            name,
            estimate(before, half, *counts),
            estimate(before + gain, half, *counts),
            estimate(gain, 0.6 * half, *counts, "difference of accuracy"),
        )

    rows = (row("all", 0.7158, 0.0054, 0.008, 400), row("minority", 0.63, 0.034, 0.026, 48), row("majority", 0.7245, 0.0015, 0.009, 352))
    return Change(
        "personalised Bradley-Terry",
        "pafo",
        rows,
        estimate(0.0945, 0.03, metric="accuracy gap"),
        estimate(0.062, 0.031, metric="accuracy gap"),
        estimate(-0.0325, 0.017, metric="accuracy gap"),
        0.0,
        "The gap narrowed (change -3.2 points, 95 % -5.0 to -1.6); clearly better: minority; clearly worse: no group; "
        "0 % of the closing came from lowering the best-served group.",
    )


def trace(method: str, seed: int, epochs: int = 30) -> TrainingTrace:
    t = np.arange(epochs)
    train, valid = 0.54 + 0.15 * np.exp(-t / 6), 0.57 + 0.12 * np.exp(-t / 5) + 0.0012 * np.maximum(t - 17, 0)
    settings = {"alpha": 0.1, "balance": 0.5, "distillation": "soft", "learning rate": 3e-3}
    return TrainingTrace(
        method, seed, tuple(train.tolist()), tuple(valid.tolist()), int(valid.argmin()) + 1, 4.2 + seed, 81_000.0, settings
    )


def realistic() -> FairnessReport:
    audited = model()
    requirements = (
        Requirement(
            "accuracy gap, best-served minus worst-served group",
            estimate(0.062, 0.031, metric="gap", group="majority minus minority"),
            0.03,
            "FAIL",
            "The whole simultaneous interval, 3.1 to 9.3 points, lies above 3.0.",
        ),
        Requirement(
            "gain in accuracy, majority",
            Estimate(0.0015, -0.0041, 0.0071, 352, 10_560, "gain", "majority"),
            -0.01,
            "PASS",
            "The whole simultaneous interval, -0.4 to 0.7 points, lies at or above -1.0.",
        ),
        Requirement(
            "accuracy, minority",
            estimate(0.664, 0.034, 48, 1_440, "accuracy", "minority"),
            0.65,
            "INSUFFICIENT",
            "The simultaneous interval, 63.0 to 69.8 points, lies on both sides of 65.0: more users are needed.",
        ),
    )
    others = (model("personalised Bradley-Terry", 0.63, 0.7245), model("Bradley-Terry (one reward for all)", 0.421, 0.588))
    cells = tuple(
        model(audited.model, 0.664 - d, 0.726 - d / 2, f"{u} users, {p} prompts")
        for u, p, d in (("seen", "seen", -0.03), ("seen", "unseen", 0.0), ("unseen", "seen", -0.01), ("unseen", "unseen", 0.02))
    )
    exclusions = Exclusions(
        12_418,
        12_000,
        {"chosen equals rejected": 211, "empty response": 44, "user with a single pair": 163},
        {"minority": {"user with a single pair": 31}, "majority": {"user with a single pair": 132}},
    )
    facts = {
        "data": "choices.parquet (table, user/prompt/chosen/rejected)",
        "data hash (SHA-256)": "9c1f" * 16,
        "model hash (SHA-256)": "53aa" * 16,
        "evenhand": "0.1.0",
        "torch": "2.13.0",
        "seed": "0",
        "splits": "train 360 prompts, validation 100, test 201",
        "hardware": "2 CPU cores",
        "date": "2026-11-20",
    }
    formulas = {
        "accuracy": "mean over users of the mean over a user’s pairs of 1[m > 0] + ½·1[|m| < 10⁻⁶]",
        "gap": "accuracy of the majority − accuracy of the minority",
        "log-loss": "mean of −log σ(m)",
        "interval": "mean over users ± t(0.975, users − 1) · s / √users",
    }
    limits = ("Accuracy says nothing about how much a wrong choice costs a user.", "Groups other than those named were not looked at.")
    return FairnessReport(
        "Choices of 400 users over 661 queries",
        True,
        requirements,
        audited,
        others,
        (change(),),
        cells,
        (trace("personalised Bradley-Terry", 0), trace("pafo", 1)),
        "Minority: users whose preference support on training pairs is under 0.5; majority: everybody else",
        exclusions,
        facts,
        formulas,
        limits,
        'evenhand fit choices.parquet --method pafo --require "gap<=0.03" --seed 0 --out out/pafo',
    )


IDENTITIES = {
    "women": (310, 0.62, 0.55),
    "lgbt": (287, 0.68, 0.56),
    "black": (240, 0.59, 0.53),
    "white": (34, 0.51, 0.5),
    "none": (398, 0.44, 0.49),
}


def paired(before: float, after: float, half: float, n_users: int, metric: str, group: str) -> Paired:
    """Before and after with intervals of ± half, their change with one of ± 0.7 half."""
    n = n_users, n_users * 12
    change = estimate(after - before, 0.7 * half, *n, f"change of {metric}", group)
    return Paired(estimate(before, half, *n, metric, group), estimate(after, half, *n, metric, group), change)


def constraint(notion: str = "dp", fitted: bool = True) -> ConstraintFindings:
    """Five identities in 400 raters; by label for equalized odds, one gap for counterfactual fairness."""
    names = {"dp": "demographic parity", "eo": "equalized odds", "cf": "counterfactual fairness"}
    labels = {"dp": ("",), "eo": (", label 0", ", label 1"), "cf": ("",)}[notion]
    events = {"matched sets": (120, 0.21, 0.12)} if notion == "cf" else IDENTITIES
    violations = []
    for decision, more, verdict in (("soft", 1.0, "INSUFFICIENT"), ("hard", 1.35, "FAIL")):
        rates = tuple(
            EventRate(
                f"{name}{label}",
                paired(
                    *(more * q if notion == "cf" else min(0.97, 0.5 + more * (q - 0.5) + 0.2 * i) for q in (b, a)),
                    0.6 / n**0.5,
                    n,
                    f"{decision} rate",
                    f"{name}{label}",
                ),
            )
            for name, (n, b, a) in events.items()
            for i, label in enumerate(labels)
        )
        size = paired(0.24 * more, 0.07 * more, 0.03, 398, f"{decision} violation", f"lgbt{labels[-1]} against none{labels[-1]}")
        reason = {
            "soft": "The simultaneous interval, 4.0 to 10.0 points, lies on both sides of 5.0: more users are needed.",
            "hard": "The whole simultaneous interval, 6.5 to 12.5 points, lies above 5.0.",
        }[decision]
        violations.append(ViolationFinding(decision, size, 0.021, 0.023, rates, verdict, reason))
    groups = {**IDENTITIES, "all pairs": (400, 0.5, 0.5)}
    costs = tuple(
        GroupCost(
            name,
            paired(0.71 + b / 10, 0.70 + a / 8, 0.5 / n**0.5, n, "accuracy", name),
            paired(0.58, 0.59, 0.4 / n**0.5, n, "log_loss", name),
            paired(0.05, 0.044, 0.2 / n**0.5, n, "expected calibration error", name),
        )
        for name, (n, b, a) in groups.items()
    )
    epochs = np.arange(40)
    trained = FittedConstraints(
        tuple(f"{name} {way} none" for name in list(IDENTITIES)[:-1] for way in ("above", "below")),
        tuple((0.08 + 0.2 * np.exp(-epochs / 7) + 0.01 * np.sin(epochs)).tolist()),
        tuple((0.03 + 0.27 * np.exp(-epochs / 6)).tolist()),
        tuple(tuple(((1 - np.exp(-t / 9)) * np.array([0.4, 0, 0.62, 0, 0.3, 0, 0.05, 0.02])).tolist()) for t in epochs),
        24,
        True,
        0.05,
        "hard",
        "additive",
    )
    return ConstraintFindings(
        notion,
        names[notion],
        0.05,
        "personalised Bradley-Terry",
        "Faro",
        "test: seen users, unseen prompts",
        "the identity that a post mentions, by a list of terms; y1 is the post with the mention",
        tuple(violations),
        costs,
        0.0,
        "The gap in accuracy between groups closed from 2.4 to 0.8 points; 0 % of it came from lowering the best-served, lgbt; "
        "no group is clearly less accurate.",
        trained if fitted else None,
        "Training ended within 5.0 points on training pairs, which decide: the epoch kept, 24 of 40, has a violation of 3.5 points on "
        "training pairs and 8.3 points on validation pairs."
        if fitted
        else "",
        "FAIL",
        f"Violation of {names[notion]}: soft decisions 24.0 → 7.0 points; at most 5.0 allowed: FAIL.",
    )


def constrained() -> FairnessReport:
    """A fit under demographic parity, with equalized odds and counterfactual gaps beside it."""
    return replace(realistic(), constraints=(constraint(), constraint("eo", False), constraint("cf", False)))


def empty_model(n_users: int = 0, n_pairs: int = 0) -> ModelFindings:
    return ModelFindings("scores", "all pairs", Estimate(NAN, NAN, NAN, n_users, n_pairs), (), None, None, (), None, (), ())


def bare(model_findings: ModelFindings | None = None) -> FairnessReport:
    """No groups, no users, no numbers."""
    return FairnessReport("", False, (), model_findings or empty_model(), (), (), (), (), "", Exclusions(), {}, {}, (), "")


def insufficient() -> FairnessReport:
    """Twelve users in one group, four in the other, one requirement that cannot be decided."""
    small = group("minority", 0.5, 4, 0.3, "4 users: at least 30 are needed", 6)
    large = group("majority", 0.7, 12, 0.14, "12 users: at least 30 are needed", 6)
    audited = replace(
        empty_model(16, 96),
        overall=estimate(0.65, 0.11, 16, 96),
        groups=(small, large),
        gap=estimate(0.2, 0.4, 16, 96),
        counts=(GroupCounts("minority", 24), GroupCounts("majority", 72)),
    )
    requirement = Requirement(
        "accuracy gap",
        estimate(0.2, 0.4, 16, 96, "gap", "majority minus minority"),
        0.05,
        "INSUFFICIENT",
        "Too little data: majority: 12 users, 30 needed; minority: 4 users, 30 needed; 24 pairs, 200 needed.",
    )
    exclusions = Exclusions(100, 96, {"empty response": 4}, {"minority": {"empty response": 4}})
    return replace(bare(audited), title="A pilot", requirements=(requirement,), exclusions=exclusions, groups_rule="column 'region'")


def one_user() -> FairnessReport:
    """A single user: nothing about him or her may be shown."""
    spread = replace(user_spread(), tau=Estimate(NAN, NAN, NAN, 1, 30))
    curve = SupportCurve(
        "rule",
        (SupportBin(0.4, 0.6, 0.5, estimate(0.7351, NAN, 1, 30)),),
        ((0.5, 0.7351),),
        Estimate(NAN, NAN, NAN, 1, 30),
        Estimate(NAN, NAN, NAN, 1, 30),
        ((0.5, 0.7351),),
    )
    audited = replace(
        model(),
        overall=estimate(0.7351, NAN, 1, 30),
        groups=(group("minority", 0.7351, 1, NAN),),
        gap=estimate(0.7351, NAN, 1, 30),
        support=curve,
        spread=spread,
        confounds=(Confound("position", (("first", estimate(0.7351, NAN, 1, 30)),)),),
        counts=(GroupCounts("minority", 7351),),
    )
    return replace(realistic(), model=audited, others=(), changes=(), cells=(), training=(), requirements=())


def many_groups(k: int = 200) -> FairnessReport:
    rng = np.random.default_rng(1)
    groups = tuple(group(f"region {i:04d}", rng.normal(0.7, 0.04), int(rng.integers(12, 900)), 0.02) for i in range(k))
    groups = tuple(replace(g, excluded="" if g.n_users >= 30 else f"{g.n_users} users: at least 30 are needed") for g in groups)
    rows = tuple(ChangeRow(g.group, g.accuracy, g.accuracy, estimate(0.0, 0.01, g.n_users, g.n_pairs)) for g in groups)
    audited = replace(
        model(),
        groups=groups,
        counts=tuple(GroupCounts(g.group, g.n_pairs, 1, 2, 3, 4) for g in groups),
        support=support_curve(2, 2_000),
        confounds=(Confound("language", tuple((f"language {i}", estimate(0.7, 0.02, 50, 500)) for i in range(k))),),
    )
    requirements = tuple(
        Requirement(f"accuracy gap, {g.group}", replace(g.accuracy, value=0.03, low=0.0, high=0.06), 0.05, "FAIL", "above the tolerance")
        for g in groups
    )
    return replace(
        realistic(),
        model=audited,
        changes=(replace(change(), rows=rows),) * 3,
        requirements=requirements,
        training=tuple(trace("pafo", i) for i in range(40)),
    )


def undefined(found: FairnessReport | None = None) -> FairnessReport:
    """Every float is nan, every count is as it would be: what a broken scorer leaves behind."""

    def spoil(value):
        if isinstance(value, float):
            return NAN
        if isinstance(value, tuple):
            return tuple(spoil(v) for v in value)
        if isinstance(value, dict):
            return {k: spoil(v) for k, v in value.items()}
        if hasattr(value, "__dataclass_fields__"):
            return type(value)(**{k: getattr(value, k) if k == "level" else spoil(getattr(value, k)) for k in value.__dataclass_fields__})
        return value

    return spoil(found or realistic())

"""The panels of what was done to texts: gate and selection, the three falls, the choice, training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from evenhand.report.figures.planes import trace
from evenhand.report.figures.strips import Series, Strip, strips
from evenhand.report.numbers import NONE, Show, count, decimals, has_value, is_known, listing, percent, plural, signed_points
from evenhand.report.page import Column, Figure, Name, Panel, Row, Table, facts, plain_table
from evenhand.report.texts import sizes
from evenhand.report.texts import stage_sentences as of_stages
from evenhand.texts.findings import Admitted, Choice, Fall, Scored, Selection, TextFindings, Trained

MOST_TRACES, MOST_DRAWN = 4, 14
FALLS = (
    "Same text: measured on the very draws that were chosen, which chance alone makes look better. Fresh: on other draws of the same choices. Shuffled: the same "
    "choices dealt over prompts at random. Learned: fresh less shuffled; only what exceeds shuffled choices came from choosing."
)
RULE = (
    "Admitted at (rho, eps): no audit’s disparity grows by more than the share rho, fidelity falls by at most eps, some texts are usable, and no fewer "
    "beyond noise (without intervals: by a tenth). An empty cell selects no model; nothing is relaxed."
)
BY_ESTIMATES = "The choice goes by estimates of disparity, which are noisy; what moved beyond noise stands under “What changed”."
signed_three = decimals(3, signed=True)


def falls(found: TextFindings) -> Panel | None:
    if not found.selection or not found.selection.falls:
        return None
    some = found.selection.falls
    drawn = [f for f in some if has_value(f.same)][:MOST_DRAWN]
    figure = _falls_figure(drawn) if drawn else None
    columns = (
        Column("measure"), Column("axis"), Column("on the same text", percent, "same"), Column("on fresh draws", percent, "fresh"),
        Column("choices shuffled", percent, "shuffled"), Column("learned, points", signed_points, "learned"), Column("blocks", count, in_csv=False),
        Column("pairs", count, in_csv=False),
    )  # fmt: skip
    rows = tuple((f.measure, f.axis, f.same, f.fresh, f.shuffled, f.learned, f.same.n_users, f.same.n_pairs) for f in some)
    table = Table("By how much mean |gap| fell; below 0 = it grew", columns, rows, "falls")
    lead = "" if figure else of_stages.fall_sentence(some[0])
    return Panel(
        "falls",
        "What selection won",
        lead,
        (figure,) if figure else (),
        (table,),
        (FALLS, *(of_stages.fall_sentence(f) for f in some[1:4])),
    )


def _falls_figure(some: list[Fall]) -> Figure:
    labels = [f"{f.measure}, {f.axis}" for f in some]
    strip = [
        Strip(title, [Series("fall of mean |gap|", falls)], 100, " %", limits=_limits(some))
        for title, falls in (("same text", [f.same for f in some]), ("fresh draws", [f.fresh for f in some]), ("shuffled", [f.shuffled for f in some]))
    ]  # fmt: skip
    note = "Right = smaller than before. What counts is fresh beyond shuffled."
    return Figure(of_stages.fall_sentence(some[0]), partial(strips, "falls", labels, strip), note)


def _limits(some: list[Fall]) -> tuple[float, float]:
    """One scale for the three."""
    ends = [100 * v for f in some for e in (f.same, f.fresh, f.shuffled) if has_value(e) for v in (e.value, e.low, e.high) if is_known(v)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = 0.06 * (high - low) or 1.0
    return low - pad, high + pad


def gate(s: Selection | None) -> Panel | None:
    """What gate and selection refused and chose."""
    if s is None:
        return None
    refused = tuple((k, n) for k, n in sorted(s.refused.items(), key=lambda r: -r[1]))
    share = Column("share of candidates", percent)
    n = max(s.n_candidates, 1)
    signed = tuple(
        (m, axis, before, after, after - before if is_known(before) and is_known(after) else None) for m, axis, before, after in s.signed
    )
    show = _telling([v for _, _, *values in signed for v in values])
    chosen, total = s.chosen.items(), max(sum(s.chosen.values()), 1)
    tables = (
        Table("Refused, by what refused it; one candidate may be refused by several", (Column("constraint"), Column("refused", count), share), tuple((k, m, m / n) for k, m in refused)),
        Table("Chosen, by source", (Column("source"), Column("texts", count), Column("share", percent)), tuple((k, m, m / total) for k, m in chosen)),
        Table(
            "Signed gaps, of originals and of the chosen texts", (Column("measure"), Column("axis"), Column("originals", show), Column("chosen", show), Column("difference", show)), signed,
        ),
        facts("Settings of gate and selection", s.settings),
    )  # fmt: skip
    return Panel("gate", "Gate and selection", of_stages.selection_sentence(s), tables=tables, notes=s.sentences)


def _telling(values: Sequence[float | None]) -> Show:
    """Three decimals or more, so that none of the values looks like 0 and is not."""
    some = [abs(v) for v in values if v is not None and is_known(v) and abs(v) > 1e-12]
    return decimals(next((n for n in range(3, 9) if not some or round(min(some), n) > 0), 9), signed=True)


def choice(c: Choice | None) -> Panel | None:
    """Bounded regression: every run's audits, who dominates whom, and what each setting admits."""
    if c is None:
        return None
    audits = list(dict.fromkeys(a for s in c.runs for a in s.regression))
    columns = (Column("run"), *(Column(f"{a}, change", lambda v: sizes.percents(v, True) if v is not None else NONE) for a in audits), Column("fidelity, change", signed_three),
               Column("audits with a lower mean |gap|", count), Column("usable texts"), Column("dominated by"))  # fmt: skip
    rows: tuple[Row, ...] = tuple(
        (Name(s.run, tuple(m for m, so in (("◆ chosen", s.run == c.best), ("■ first", s.run == c.base)) if so)), *(_change(s, a) for a in audits), s.fidelity,
         s.improved, "too few" if s.fewer_usable else "", listing(list(s.dominated), 3) or "none") for s in c.runs
    )  # fmt: skip
    rhos, epss = sorted({a.rho for a in c.admitted}), sorted({a.eps for a in c.admitted})
    at = {(a.rho, a.eps): a for a in c.admitted}
    grid: tuple[Row, ...] = tuple(
        (Name(f"rho = {rho:g}", ("decides",) if rho == c.rho else ()), *(_cell(at.get((rho, eps)), (rho, eps) == (c.rho, c.eps)) for eps in epss)) for rho in rhos
    )  # fmt: skip
    tables = (
        Table(f"Change of each audit’s disparity against “{c.base}”, by estimates (− = less)", columns, rows),
        Table("Best run and how many are admitted, by rho and eps", (Column("setting"), *(Column(f"eps = {e:g}{' (decides)' * (e == c.eps)}") for e in epss)), grid),
    )  # fmt: skip
    return Panel(
        "choice", "Which texts to use", of_stages.settings_sentence(c), tables=tables, notes=(RULE, BY_ESTIMATES, *filter(None, (c.note,)))
    )


def _change(s: Scored, audit: str) -> float | str | None:
    """A share; where the first run has no disparity there is none, and what it grew to stands in its place."""
    return f"from 0 to {sizes.three(s.from_nothing[audit])}" if audit in s.from_nothing else s.regression.get(audit)


def _cell(admitted: Admitted | None, decides: bool) -> str:
    if admitted is None:
        return NONE
    text = f"{admitted.best} ({plural(len(admitted.runs), 'run')})" if admitted.best else "none"
    return f"◆ {text}" if decides else text


def training(stages: tuple[Trained, ...]) -> Panel | None:
    """Losses, and how each stage was trained."""
    if not stages:
        return None
    traced = [t for t in stages if sum(is_known(loss) for _, loss in t.trace) > 1][:MOST_TRACES]
    figures = tuple(_trace(t, i) for i, t in enumerate(traced))
    names = list(dict.fromkeys(k for t in stages for k in t.facts))
    rows = tuple((k, *(t.facts.get(k, "") for t in stages)) for k in names)
    made = plain_table("How each stage was trained", ("fact", *(t.stage for t in stages)), rows)
    return Panel(
        "training",
        "Training",
        "" if figures else of_stages.trace_sentence(stages[0]),
        figures,
        (made,),
        csv_only=tuple(_steps(t) for t in stages if t not in traced and t.trace),
    )


def _trace(t: Trained, i: int) -> Figure:
    return Figure(of_stages.trace_sentence(t), partial(trace, f"trace-{i}", t.trace), "", _steps(t))


def _steps(t: Trained) -> Table:
    columns = (Column("stage", on_page=False), Column("step", count), Column("loss", decimals(4)))
    return Table("Loss by step", columns, tuple((t.stage, step, loss) for step, loss in t.trace), "training", most=20)

"""The report of an audit: findings → the page of one model, the models it is compared with, and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenhand.audits import findings as f
from evenhand.report import Kind, Report
from evenhand.report.audit import constraints, panels, sentences, training
from evenhand.report.audit.hide import hide
from evenhand.report.numbers import capital, decimals, points, shown, signed_points
from evenhand.report.page import COUNTS, Cell, Column, Page, Table, Tone, counts, left_out, requirements_panel
from evenhand.report.publish import document, publish
from evenhand.report.verdicts import bar, required_gap

MOST_GROUPS = 4  # rows of Markdown and the terminal
TONES: dict[str, Tone] = {"PASS": "pass", "FAIL": "fail", "INSUFFICIENT": "insufficient"}
TABLES = (
    "groups", "requirements", "models", "support", "null", "users", "confounds", "counts", "changes", "training", "constraints", "multipliers",
    "exclusions",
)  # fmt: skip
SIMULTANEOUS = (
    "Simultaneous: all bounds that the verdict rests on hold at once with the stated confidence; single intervals, as in the first answer, may be "
    "narrower. That of best minus worst never goes below 0, that of a signed gap may."
)


def report(findings: f.FairnessReport) -> Report:
    return Report(findings, AUDIT)


def page(findings: f.FairnessReport) -> Page:
    """Panels 1-7, deals and constraints where there are any, 9 and 10; the verdict strip and the first three figures before them."""
    found, requirements = publish(hide(findings))
    required, model = required_gap(requirements), found.model
    support, of_support = panels.support(model)
    groups, of_groups = panels.groups(found, required)
    changed, of_changes = panels.changes(found.changes)
    return Page(
        findings.verdict, TONES[findings.verdict], sentences.answers(found, requirements),
        tuple(p for p in (
            support, groups, panels.null(model), panels.users(model.spread), panels.confounds(model), changed, panels.deals(found.deals),
            constraints.constraints(found.constraints), training.training(found.training, found.constraints), panels.data(found),
            requirements_panel(requirements),
        ) if p),
        _document(findings, found, requirements), title=found.title, simulated=found.simulated, warning=found.flaw,
        summary=sentences.summary(found, requirements), notes=(found.kept,) if found.kept else (), note=found.note,
        first=(*of_support, *of_groups, *of_changes), requirements=requirements, requirements_note=_how_to_read(requirements, found),
        brief=(_accuracies(found), constraints.violations(found.constraints)), said=tuple(_more(found)), facts=found.facts, command=found.command,
        exit_code=findings.exit_code,
    )  # fmt: skip


AUDIT = Kind("audit report", page, TABLES, judges=True)


def _how_to_read(requirements: Sequence[f.Requirement], found: f.FairnessReport) -> str:
    shaded = "Shaded: allowed. Dashed: the limit. " if any(map(bar, requirements)) else ""
    own = " Bounds of a constraint hold at once over its own comparisons only." if found.constraints else ""
    return f"{shaded}{SIMULTANEOUS}{own}"


# --- what Markdown and the terminal say beside the answers ---


def _more(found: f.FairnessReport) -> list[str]:
    model = found.model
    names = _named(model)
    few = f"{len(names)} of {len(model.groups)} groups are shown, the worst served first; all are in the report."
    said = [few if len(names) < len(model.groups) else "", sentences.ungrouped_sentence(model), left_out(found.exclusions)]
    said += sentences.trend_sentences(model.support)
    gains = capital("; ".join(_gain(c, names) for c in found.changes))
    said.append(" ".join(s for s in (f"{gains}." if gains else "", _metrics(model)) if s))
    for c in found.constraints:
        said += [sentences.constraint_sentence(c), c.training]
    said += sentences.stopped_sentences(found.training)
    return [s for s in said if s]


def _named(model: f.ModelFindings) -> list[str]:
    """Groups to print: all in their order, or the worst served of many."""
    if len(model.groups) <= MOST_GROUPS:
        return [g.group for g in model.groups]
    rest = [g for g in sentences.worst_first(model) if g.excluded]  # without a verdict, so only where others are too few
    return [g.group for g in (*sentences.usable(model), *rest)][:MOST_GROUPS]


def _accuracies(found: f.FairnessReport) -> Table:
    """A column a model: the accuracy of each group, the gap and the accuracy of all users; beside these the users and pairs behind them."""
    model, models = found.model, (*found.others, found.model)
    of = [{g.group: g for g in m.groups} for m in models]
    rows: list[tuple[Cell, ...]] = []
    for name in _named(model):
        of_models = (o[name].accuracy if name in o else None for o in of)
        rows.append((name, *counts(of[-1][name].accuracy), *of_models, of[-1][name].excluded))
    rows += [("gap", *counts(model.gap), *(m.gap for m in models), "")] if model.groups else []
    rows.append(("all", *counts(model.overall), *(m.overall for m in models), ""))
    last = [Column("excluded because", on_page=any(row[-1] for row in rows))]
    columns = (Column("in %, gap in points"), *COUNTS, *(Column(m.model, points) for m in models), *last)
    return Table("", columns, tuple(rows))


def _metrics(model: f.ModelFindings) -> str:
    """Every metric but accuracy, on one line."""
    parts = []
    for m in (m for m in model.metrics if m.name != "accuracy"):
        gap = f", gap {shown(m.gap, decimals(3, signed=True))}" if m.gap else ""
        parts.append(f"{panels.title(m.name)} {shown(m.overall, decimals(3))}{gap}")
    return f"Other metrics: {'; '.join(parts)}." if parts else ""


def _gain(change: f.Change, names: Sequence[str]) -> str:
    """The gain of each printed group, or of all users where none has any."""
    of = {r.group: r.difference for r in change.rows}
    known = [n for n in names if n in of] or [n for n in ("all",) if n in of]
    return f"gain over {change.before}: {', '.join(f'{n} {shown(of[n], signed_points)}' for n in known)}"


# --- report.json ---


def _document(findings: f.FairnessReport, found: f.FairnessReport, requirements: Sequence[f.Requirement]) -> dict[str, Any]:
    """The published findings, their requirements with those of constraints, and the verdict."""
    plain: dict[str, Any] = document(found)
    plain["requirements"] = document(tuple(requirements))
    pairs = zip((plain["model"], *plain["others"], *plain["cells"]), (found.model, *found.others, *found.cells))
    for model, typed in pairs:
        small = {g.group for g in typed.groups if g.accuracy.suppressed}
        for group in model["groups"]:
            group["suppressed"] = group["group"] in small
            group.update({"n_users": None, "n_pairs": None} if group["suppressed"] else {})
        for counted in model["counts"]:
            counted.update({k: None for k in counted if k != "group"} if counted["group"] in small else {})
    return {"format": "evenhand report 1", "verdict": findings.verdict, "exit_code": findings.exit_code, **plain}

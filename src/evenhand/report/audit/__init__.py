"""The report of an audit: findings → the page of one model, the models it is compared with, and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenhand.audits.findings import FairnessReport, ModelFindings, Requirement
from evenhand.report import Kind, Report
from evenhand.report.audit import constraints, panels, sentences
from evenhand.report.audit.hide import hide
from evenhand.report.numbers import points, signed_points
from evenhand.report.page import COUNTS, Cell, Column, Page, Panel, Table, Tone, counts
from evenhand.report.publish import document, publish
from evenhand.report.verdicts import bar, required_gap

MOST_GROUPS, MOST_CHANGES = 4, 6  # rows of Markdown and the terminal
TONES: dict[str, Tone] = {"PASS": "pass", "FAIL": "fail", "INSUFFICIENT": "insufficient"}
TABLES = (
    "groups", "requirements", "models", "support", "null", "users", "confounds", "counts", "changes", "training", "constraints", "multipliers",
    "exclusions",
)  # fmt: skip
SIMULTANEOUS = (
    "Simultaneous: all bounds that the verdict rests on hold at once with the stated confidence; single intervals, as in the first answer, may be "
    "narrower. That of best minus worst never goes below 0, that of a signed gap may."
)


def report(findings: FairnessReport) -> Report:
    return Report(findings, AUDIT)


def page(findings: FairnessReport) -> Page:
    """Panels 1-7, deals and constraints where there are any, 9 and 10; the verdict strip and the first three figures before them."""
    found, requirements = publish(hide(findings))
    required, model = required_gap(requirements), found.model
    support, of_support = panels.support(model)
    groups, of_groups = panels.groups(found, required)
    changed, of_changes = panels.changes(found.changes)
    return Page(
        findings.verdict, TONES[findings.verdict], sentences.answers(found, requirements),
        (
            support, groups, panels.null(model), panels.users(model), panels.confounds(model), changed, panels.deals(found.deals),
            constraints.panel(found.constraints), panels.training(found.training, constraints.training(found.constraints)), panels.data(found),
            Panel("requirements", "Requirements", csv_only=(_strip(requirements),)),
        ),
        _document(findings, found, requirements), title=found.title, simulated=found.simulated, warning=found.flaw,
        summary=sentences.summary(found, requirements), notes=(found.kept,) if found.kept else (), note=found.note,
        first=(*of_support, *of_groups, *of_changes), requirements=requirements, requirements_note=_how_to_read(requirements, found),
        brief=(_accuracies(found), panels.by_all(model), constraints.violations(found.constraints), _gains(found)), said=tuple(_more(found)), facts=found.facts, command=found.command,
        exit_code=findings.exit_code,
    )  # fmt: skip


AUDIT = Kind("audit report", page, TABLES, judges=True)


def _how_to_read(requirements: Sequence[Requirement], found: FairnessReport) -> str:
    shaded = "Shaded: allowed. Dashed: the limit. " if any(map(bar, requirements)) else ""
    own = " Bounds of a constraint hold at once over its own comparisons only." if found.constraints else ""
    return f"{shaded}{SIMULTANEOUS}{own}"


def _strip(requirements: Sequence[Requirement]) -> Table:
    rows = tuple((r.name, r.verdict, r.tolerance, *_parts(r), r.reason) for r in requirements)
    heads = ("requirement", "verdict", "tolerance", "value", "low", "high", "n_users", "n_pairs", "level", "reason")
    return Table("Requirements", tuple(map(Column, heads)), rows, "requirements")


def _parts(requirement: Requirement) -> tuple[Cell, ...]:
    e = requirement.estimate
    size = (None, None) if e.suppressed else (e.n_users, e.n_pairs)
    return e.value, e.low, e.high, *size, e.level


# --- what Markdown and the terminal say beside the answers ---


def _more(found: FairnessReport) -> list[str]:
    model = found.model
    names = _named(model)
    few = f"{len(names)} of {len(model.groups)} groups are shown, the worst served first; all are in the report."
    said = [
        few if len(names) < len(model.groups) else "",
        sentences.ungrouped_sentence(model),
        sentences.left_out_sentence(found.exclusions),
    ]
    said += sentences.trend_sentences(model.support)
    said += [c.verdict for c in found.changes[:1]]
    for c in found.constraints:
        said += [sentences.constraint_sentence(c), c.training]
    return [s for s in said if s]


def _named(model: ModelFindings) -> list[str]:
    """Groups to print: all in their order, or the worst served of many."""
    if len(model.groups) <= MOST_GROUPS:
        return [g.group for g in model.groups]
    rest = [g for g in sentences.worst_first(model) if g.excluded]  # without a verdict, so only where others are too few
    return [g.group for g in (*sentences.usable(model), *rest)][:MOST_GROUPS]


def _accuracies(found: FairnessReport) -> Table:
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
    return Table("Accuracy and gap, with 95 % intervals", columns, tuple(rows))


def _gains(found: FairnessReport) -> Table:
    rows = tuple((f"gain over {c.before}", r.group, r.difference, *counts(r.difference)) for c in found.changes for r in c.rows)
    columns = (Column("change"), Column("group"), Column("difference, points", signed_points), *COUNTS)
    return Table("What the audited model changed, with 95 % intervals", columns, rows, most=MOST_CHANGES)


# --- report.json ---


def _document(findings: FairnessReport, found: FairnessReport, requirements: Sequence[Requirement]) -> dict[str, Any]:
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

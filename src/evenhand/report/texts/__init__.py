"""The report of texts: one run or several, of `audit-text` and of `align`: findings → a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

from evenhand.core import Estimate
from evenhand.report import Kind, Report
from evenhand.report.numbers import capital, has_value, percent
from evenhand.report.page import Answer, Column, Figure, Page, Panel, Row, Table, Tone, requirements_panel
from evenhand.report.publish import apart, document, one_line, publish, renamed
from evenhand.report.texts import audit_panels, drawn, panels, sizes, stages, told
from evenhand.report.texts import sentences as said
from evenhand.report.texts import stage_sentences as of_stages
from evenhand.report.verdicts import bar
from evenhand.texts.findings import FEWEST_BLOCKS, Run, TextFindings

TABLES = ("gaps", "groups", "levels", "moved", "falls", "words", "tests", "training", "requirements", "exclusions")
MOST_BRIEF = 8  # rows of Markdown and the terminal
MADE = "These texts were made to show how the audit works, with differences put in on purpose: the numbers say nothing of any model."
SIMULTANEOUS = "Intervals of requirements hold for all of them at once, so they are wider than single ones."
RULES = (
    "Intervals count blocks as drawn: a block is all texts of one combination of the axes that are not matched. "
    f"Of fewer than {FEWEST_BLOCKS} blocks no interval is given. Grey means: not testable, or no number. No text is on this page."
)


def report(findings: TextFindings) -> Report:
    return Report(findings, TEXTS)


def page(findings: TextFindings) -> Page:
    """The first screen, then panels in the order of decisions. Texts that were asked for stand on a page of their own (see `examples`)."""
    found = published(findings)
    first, last = (told.base(found), told.last(found)) if found.runs else (None, None)
    every = _panels(found) if first else (panels.data(found), panels.not_claimed(found))
    return Page(
        said.headline(found), _tone(found), tuple(_answers(found, first, last)) if first and last else (Answer("There is no run with texts."),),
        tuple(p for p in every if p), _document(findings, found), title=found.title, cautions=tuple(_cautions(found)), summary=_summary(found), note=found.note,
        first=_first(found, last) if last else (), requirements=found.requirements, requirements_note=_how_to_read(found), brief=tuple(_brief(found, last)) if last else (),
        said=tuple(_more(found)), facts=found.facts, command=found.command, rules=RULES, unit=said.UNIT, exit_code=said.exit_code(found),
    )  # fmt: skip


TEXTS = Kind("report of texts", page, TABLES, judges=True)


def published(findings: TextFindings) -> TextFindings:
    """The same records as they may be printed, without the texts: runs whose names look alike stay two; of few blocks, and of texts that
    were chosen by what is measured, no interval is given.
    """
    names = apart(r.name for r in findings.runs)
    named: TextFindings = (
        renamed(replace(findings, examples=()), names)
        if any(one_line(k) != v for k, v in names.items())
        else replace(findings, examples=())
    )
    asked = tuple(replace(r, estimate=replace(r.estimate, metric="|d|")) for r in named.requirements)  # as bare numbers, not as shares
    chosen = {r.name for r in named.runs if r.selected}
    runs = tuple(_of_chosen(r) if r.selected else r for r in named.runs)
    moved = tuple(
        replace(m, after=_without_interval(m.after), difference=_without_interval(m.difference)) if m.run in chosen else m
        for m in named.moved
    )
    return publish(replace(named, runs=runs, moved=moved, requirements=asked), _without_interval)


def _of_chosen(run: Run) -> Run:
    """What was chosen by what is measured stands as a point, and has no power. The share of usable texts is of their form, and keeps its
    interval.
    """
    bare = _without_interval
    gaps = tuple(
        replace(
            g, signed=bare(g.signed), d=bare(g.d), systematic=bare(g.systematic), groups=tuple((v, bare(e)) for v, e in g.groups), mde=nan
        )
        for g in run.gaps
    )
    return replace(run, gaps=gaps, levels=tuple(replace(x, value=bare(x.value)) for x in run.levels))


def _without_interval(estimate: Estimate) -> Estimate:
    return replace(estimate, low=nan, high=nan)


def _first(found: TextFindings, run: Run) -> tuple[Figure, ...]:
    """Of one run, its gaps and what single draws would show; of several, gaps, fairness against fidelity, and what moved."""
    figures: tuple[tuple[Figure | None, str], ...]
    if len(found.runs) == 1:
        figures = ((drawn.forest(found, run), "audit-1"), (drawn.against_null(found, run), "audit-1"))
    else:
        figures = (
            (drawn.forest(found, run), "audit-1"), (drawn.frontier(found, 1), "runs"),
            (drawn.before_and_after(found, run.name), "moved"),
        )  # fmt: skip
    return tuple(replace(f, section=section) for f, section in figures if f)


def _panels(found: TextFindings) -> Sequence[Panel | None]:
    """The choice before what it rests on."""
    runs, changed = panels.runs(found), panels.moved(found)
    planes = drawn.frontier(found, 3)
    figures = tuple(f for f in (planes, drawn.against_null(found, told.last(found))) if f and len(found.runs) > 1)
    return (
        stages.choice(found.choice), changed if found.moved else None, replace(runs, figures=figures), *audit_panels.audits(found), stages.falls(found),
        stages.gate(found.selection), stages.training(found.trained), panels.not_claimed(found), panels.data(found),
        requirements_panel(found.requirements, "blocks"),
    )  # fmt: skip


# --- the first screen ---


def _tone(found: TextFindings) -> Tone:
    if found.requirements and found.verdict == "FAIL":
        return "fail"
    return "insufficient" if said.exit_code(found) == 3 else "pass"


def _cautions(found: TextFindings) -> list[str]:
    """That texts were made, then every run of which few texts are usable."""
    few = [r for r in found.runs if has_value(r.usable) and r.usable.value < said.USABLE]
    out = [MADE] if found.simulated else []
    if few:
        rest = [f"“{r.name}” {percent(r.usable.value)}" for r in few[1:5]]
        more = f" Of other runs: {', '.join(rest)}{f' and {len(few) - 5} more' if len(few) > 5 else ''}." if rest else ""
        out.append(said.usable_sentence(few[0]) + more)
    return out


def _answers(found: TextFindings, first: Run, last: Run) -> list[Answer]:
    of = sizes.scales(found)
    several = len(found.runs) > 1
    out = []
    if found.choice:
        moved = said.counted(found, found.choice.best) if any(m.run == found.choice.best for m in found.moved) else ""
        beyond = f" Of its gaps {told.version(told.is_moved_hidden(found))}, beyond noise: {moved}." if moved else ""
        out.append(Answer(of_stages.choice_sentence(found.choice) + beyond, "Which texts to use?"))
    if found.selection and found.selection.falls:
        out.append(Answer(of_stages.falls_sentence(found.selection.falls), "Does what selection won hold for other texts?"))
    text = said.differences(first.gaps, of)
    if several:
        text = f"In “{first.name}”: {text[:1].lower()}{text[1:]}"
        text += f" {said.briefly(last, of)}" if found.choice and found.choice.best and last is not first else ""
        text += f" {new}" if (new := said.new_sentence(found)) else ""
    out.append(Answer(text, "Do the versions differ in more than they should?"))
    if asked := said.tolerance_sentence(found):
        out.append(Answer(asked, said.tolerance_question(found)))
    change = said.fidelity_change(found.moved, last.name, of) if last is not first else ""
    speaks = [said.speaking(last), f"Against “{first.name}”: {change}." if change else ""]
    if any(speaks):
        text = " ".join(s for s in speaks if s)
        out.append(Answer(text if several else capital(text.removeprefix(f"“{last.name}”: ")), "Do they still speak to their audience?"))
    return out


def _summary(found: TextFindings) -> str:
    """What was read, and what was found in the other runs."""
    n = sum(r.n_texts for r in found.runs)
    pairs = ", ".join(f"{count} pairs by {axis}" for axis, count in ((a, f"{k:,}") for a, k in found.pairs.items()))
    parts = [
        f"{n:,} texts of {found.n_cells:,} cells in {found.n_blocks:,} blocks of the grid “{found.grid}”{f'; {pairs}' if pairs else ''}."
    ]
    if len(found.runs) > 1:
        parts.append(said.usable_shares(found))
    else:
        parts += [said.usable_sentence(r) for r in found.runs if has_value(r.usable) and r.usable.value >= said.USABLE]
    if not found.requirements and not found.choice:
        parts.append("No requirement was set, so this report describes and does not judge.")
    return " ".join(parts)


def _how_to_read(found: TextFindings) -> str:
    if not found.requirements:
        return ""
    return f"{'Shaded: allowed. Dashed: the limit. ' if any(map(bar, found.requirements)) else ''}{SIMULTANEOUS}"


# --- Markdown and the terminal ---


def _brief(found: TextFindings, run: Run) -> list[Table]:
    """Runs, where there are several, and the gaps of the one to be used that are largest, or beyond their null."""
    known = [g for g in run.gaps if not g.masked and not g.distance]
    found_here = told.beyond(known)
    rest = sorted((g for g in known if g not in found_here and has_value(g.d)), key=lambda g: -abs(g.d.value))
    rows: list[Row] = [
        (told.name(g), f"{g.contrast[1]} − {g.contrast[0]}", g.d, panels.p_cell(g.p_holm), panels.p_cell(g.systematic_p_holm), g.mde, g.testable)
        for g in (*found_here, *rest)[:MOST_BRIEF]
    ]  # fmt: skip
    columns = (
        Column("gap"),
        Column("of"),
        Column("d (95 %)", drawn.signed_two),
        Column("p after Holm"),
        Column("systematic, p"),
        Column("would show, |d|", panels.two),
        Column("not testable"),
    )
    gaps = Table(f"Largest gaps of “{run.name}”, as written", columns, tuple(rows), elsewhere="gaps")
    return [panels.runs_table(found), gaps] if len(found.runs) > 1 else [gaps]


def _more(found: TextFindings) -> list[str]:
    """What Markdown and the terminal say beside the answers."""
    out = [said.moved_sentence(found, r.name) for r in found.runs[1:4]]
    if found.selection:
        out += [of_stages.selection_sentence(found.selection), *(of_stages.fall_sentence(f) for f in found.selection.falls[:2])]
    return [s for s in out if s]


# --- files ---


def _document(findings: TextFindings, found: TextFindings) -> dict[str, Any]:
    """All that was found, without texts. In an estimate n_users counts blocks."""
    plain = {k: v for k, v in document(found).items() if k != "examples"}
    return {"format": "evenhand texts 1", "exit_code": said.exit_code(findings), "unit": said.UNIT, **plain}

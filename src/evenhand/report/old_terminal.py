"""The ten lines a person reads in the terminal after a verb has run, from the same published document as every other output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from evenhand.core import SMALLEST_CELL, Exclusions
from evenhand.report import words
from evenhand.report.public import may_be_named, one_line
from evenhand.report.report import Report

MAX_GROUPS, MAX_REQUIREMENTS = 4, 8  # the others are in the report
LONGEST_NAME, LONGEST_GROUP = 60, 24  # characters; a model's name is broken into lines before it is cut
STYLES = {"PASS": "bold green", "FAIL": "bold red", "INSUFFICIENT": "bold yellow"}

Json = dict[str, Any]


def table(report: Report) -> Table:
    """One column a model: the accuracy of each group, the gap and the accuracy of all users, with their intervals; beside these the users
    and pairs behind them, which all models share.
    """
    document = report.document
    audited, models = document["model"], [*document["others"], document["model"]]
    names = _groups(audited)
    out = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    out.add_column("in % [95 %]", overflow="fold", min_width=max(len(clip(n, LONGEST_GROUP)) for n in (*names, "gap")))
    for column in ("users", "pairs"):
        out.add_column(column, justify="right", no_wrap=True)
    for model in models:
        out.add_column(Text(clip(model["model"], LONGEST_NAME)), overflow="fold", min_width=NUMBER)
    for name in names:
        found = [next((g["accuracy"] for g in m["groups"] if g["group"] == name), None) for m in models]
        out.add_row(Text(clip(name, LONGEST_GROUP)), *_counts(found[-1]), *(Text(share(e)) for e in found))
    if names:
        out.add_row(Text("gap"), *_counts(audited["gap"]), *(Text(difference(m["gap"])) for m in models))
    out.add_row(Text("all"), *_counts(audited["overall"]), *(Text(share(m["overall"])) for m in models))
    return out


NUMBER = len("99.9 [99.9, 99.9]")


def _counts(estimate: Json | None) -> tuple[Text, Text]:
    """Users and pairs behind a row of the table."""
    if estimate is None or estimate["n_users"] is None:
        return Text("-"), Text("-")
    return Text(f"{estimate['n_users']:,}"), Text(f"{estimate['n_pairs']:,}")


def lines(report: Report) -> list[Text]:
    """Who is not in the table, what the audited model changed, the two answers, and the verdicts, what failed first."""
    document = report.document
    names, groups = _groups(document["model"]), len(document["model"]["groups"])
    out = [Text(f"{len(names)} of {groups} groups are shown, the worst served first; all are in the report")] if groups > len(names) else []
    told = words.ungrouped_sentence(document["model"]), words.left_out_sentence(document["exclusions"])
    out += [Text(s) for s in told if s]
    out += _trend(document["model"]["support"])
    out += [Text(ascii_only(document["kept"]))] if document["kept"] else []
    out += [_change(change, names) for change in document["changes"]]
    out += [_constraint(c) for c in document["constraints"]]
    order, answered = {"FAIL": 0, "INSUFFICIENT": 1, "PASS": 2}, words.required_gap(document["requirements"])
    first, *more = words.answers(document)
    out.append(Text(ascii_only(first)))
    if answered:
        out.append(_judged(answered["verdict"], more.pop(0)))
    out += [Text(ascii_only(a)) for a in more]
    found = sorted((r for r in document["requirements"] if r is not answered), key=lambda r: order[r["verdict"]])
    for requirement in found[:MAX_REQUIREMENTS]:
        row = words.requirement_row(requirement)
        out.append(_judged(row["verdict"], f"{row['name']}, required {row['required']}: {row['reason']}"))
    return out + ([Text(f"{len(found) - MAX_REQUIREMENTS} more requirements are in the report")] if len(found) > MAX_REQUIREMENTS else [])


def _judged(verdict: str, about: str) -> Text:
    return Text.assemble((verdict, STYLES[verdict]), f"  {ascii_only(about)}")


LOW_SUPPORT = {
    "rare": "they share a taste of their own",
    "careless": "no taste that they share, but the common one with less care",
    "unknown": "a rare taste or carelessness, the data cannot tell",
}


def _trend(support: Json | None) -> list[Text]:
    """Where accuracy goes with support, which way, and what low support is."""
    if support is None or not words.trend(support):
        return []
    told = f": {LOW_SUPPORT[support['low']['finding']]}" if support["low"] else ""
    return [Text(f"users with low support are served {'worse' if words.trend(support) > 0 else 'better'}{told}")]


def exclusions(found: Exclusions, source: str) -> Text:
    """Where every row went."""
    reasons = "".join(f"; {count:,} excluded: {one_line(reason)}" for reason, count in found.reasons.items())
    named = {k: sum(v.values()) for k, v in found.by_group.items() if may_be_named(k, v, set(), set())}
    by_group = ", ".join(f"{one_line(k)} {n:,}" for k, n in sorted(named.items(), key=lambda g: -g[1])[:MAX_GROUPS])
    told = f"; excluded by group: {by_group}" if by_group else ""
    return Text(f"{one_line(source)}: {found.rows_in:,} rows in, {found.rows_used:,} used{reasons}{told}")


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts, each on one line and without markup: what looks like markup or a control character is shown as it is."""
    shown = Text(one_line(title), style="bold")
    out = Table(title=shown, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        out.add_column(Text(one_line(name)))
    for row in rows:
        out.add_row(*(Text(one_line(cell)) for cell in row))
    return out


def _groups(model: Json) -> list[str]:
    """Names of the groups to print: all in their order, or the worst served of many."""
    if len(model["groups"]) <= MAX_GROUPS:
        return [g["group"] for g in model["groups"]]
    rest = [g for g in words.worst_first(model) if g["excluded"]]  # without a verdict, so only where others are too few
    return [g["group"] for g in (*words.usable(model), *rest)][:MAX_GROUPS]


def _change(change: Json, names: Sequence[str]) -> Text:
    """The gain of each printed group, or of all users where none has any."""
    of = {r["group"]: r["difference"] for r in change["rows"]}
    known = [n for n in names if n in of] or ["all"]
    gains = ", ".join(f"{clip(n, LONGEST_GROUP)} {difference(of[n])}" for n in known)
    return Text(f"gain over {clip(change['before'], LONGEST_NAME)}: {gains}")


def _constraint(constraint: Json) -> Text:
    """Both violations; the verdict stands among the requirements."""
    parts = []
    for v in constraint["violations"]:
        before, after = v["size"]["before"], v["size"]["after"]
        start = f"{_points(before['value'])} -> " if before and before["value"] is not None else ""
        parts.append(f"{v['decision']} {start}{share(after)}")
    told = [f"violation of {constraint['name']}: {', '.join(parts)}", constraint["training"]]
    return Text("\n".join(line for line in told if line))


def share(estimate: Json | None) -> str:
    if estimate is None or estimate["value"] is None:
        return _missing(estimate)
    return f"{_points(estimate['value'])} [{_points(estimate['low'])}, {_points(estimate['high'])}]"


def difference(estimate: Json | None) -> str:
    if estimate is None or estimate["value"] is None:
        return _missing(estimate)
    return f"{_points(estimate['value'], signed=True)} [{_points(estimate['low'])}, {_points(estimate['high'])}]"


def _missing(estimate: Json | None) -> str:
    return f"under {SMALLEST_CELL} users" if estimate and estimate.get("suppressed") else "-"


def _points(value: float | None, signed: bool = False) -> str:
    return ascii_only(words.points(value, signed))


def ascii_only(text: str) -> str:
    """Signs that every terminal has."""
    return text.translate(PLAIN)


PLAIN = str.maketrans({"−": "-", words.NONE: "-", words.NB: " ", "“": '"', "”": '"', "’": "'", "²": "^2", "³": "^3"})


def clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

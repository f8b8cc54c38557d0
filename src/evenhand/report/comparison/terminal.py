"""What a person reads in the terminal after `compare` or `sweep`: a row an entry, and what was chosen."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from evenhand.report.comparison import ComparisonReport
from evenhand.report.comparison import reading as of
from evenhand.report.comparison import words as said
from evenhand.report.old_terminal import ascii_only, clip, difference, share
from evenhand.report.words import number

MAX_ENTRIES, MAX_GROUPS, MAX_CONSTRAINTS, LONGEST_NAME = 16, 3, 2, 44

Json = dict[str, Any]


def results_table(report: ComparisonReport) -> Table:
    """Accuracy of each group and of all users on test pairs, the gap, the first constraint's violation and the cost.

    * = chosen on validation, = is the reference.
    """
    document = report.document
    groups = document["groups"][:MAX_GROUPS]
    has_gap = any(of.metric_of(e, "gap") for e in document["entries"])
    out = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    out.add_column("test, in % [95 %]", overflow="fold", min_width=18)
    for column in (*groups, "all", *(["gap"] if has_gap else [])):
        out.add_column(Text(clip(column, 20)), overflow="fold")
    front = next(iter(document["constraint_fronts"]), None)
    if front:
        out.add_column(Text(f"violation, {front['notion']} {front['decision']}"), overflow="fold")
    for column in ("tried", "seconds"):
        out.add_column(column, justify="right", no_wrap=True)
    for e in of.foremost(document, MAX_ENTRIES):
        name = Text(f"{_mark(document, e)} {clip(e['name'], LONGEST_NAME)}")
        if not e["held_out"]:
            out.add_row(name, Text("failed, see below"))
            continue
        gap = of.metric_of(e, "gap")
        cells = [share(e["held_out"][c]) for c in (*range(len(groups)), -1)] + (
            [difference(gap["value"] if gap else None)] if has_gap else []
        )
        if front:
            found = said.violation_of(e, front)
            cells.append(share(found["held_out"]) if found else "")
        out.add_row(name, *map(Text, cells), f"{e['tried']:,}", ascii_only(number(e["seconds"], 0)))
    return out


def _mark(document: Json, entry: Json) -> str:
    front = document["front"]
    signs = "*" if front and entry["name"] == front["chosen"] else ""
    signs += "=" if entry["name"] == of.reference(document) else ""
    return signs or " "


def results_lines(report: ComparisonReport) -> list[Text]:
    """What the signs mean, what was chosen and what it does, the front, what failed and why."""
    document = report.document
    entries, everybody = document["entries"], of.whole(document)
    out = [Text("* chosen on validation pairs, = reference")] if document["front"] else []
    if everybody and everybody["n_users"] is not None:
        out.append(Text(f"{everybody['n_users']:,} users, {everybody['n_pairs']:,} pairs, {len(document['seeds'])} seeds"))
    out.append(Text(ascii_only(f"{said.headline(document)}. {said.meaning(document)}")))
    if told := said.users_sentence(document):
        out.append(Text(ascii_only(told)))
    if document["pairwise"]:
        out.append(Text(ascii_only(said.pairwise_sentence(document))))
    if document["front"]:
        out.append(Text(ascii_only(said.front_sentence(document))))
    bound = dict.fromkeys(said.constraint_front_sentence(document, f) for f in document["constraint_fronts"])
    out += [Text(ascii_only(sentence)) for sentence in list(bound)[:MAX_CONSTRAINTS]]
    out += [Text(f"failed  {clip(e['name'], LONGEST_NAME)}: {e['failed']}", style="red") for e in entries if e["failed"]][:4]
    if len(entries) > MAX_ENTRIES:
        out.append(Text(f"{MAX_ENTRIES} of {len(entries)} entries; all are in the report"))
    return out

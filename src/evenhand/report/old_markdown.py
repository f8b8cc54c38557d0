"""The published JSON → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from evenhand.report import words
from evenhand.report.words import difference, people, share

Json = dict[str, Any]
SIGN = {"PASS": "✅", "FAIL": "❌", "INSUFFICIENT": "⚪"}
MOST_REQUIREMENTS, MOST_GROUPS, MOST_CHANGES = 5, 6, 3  # rows; with all of them the text has 40 lines


def text(value: str, longest: int = 160) -> str:
    """Text that Markdown shows as it stands: no emphasis, links, HTML, mentions, issue numbers, table cells or headings."""
    value = value if len(value) <= longest else value[: longest - 1] + "…"
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    value = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", value)
    return re.sub(r"[@#]|(?<=:)/|(?<=www)\.", lambda m: f"&#{ord(m[0])};", value, flags=re.I)


def markdown(document: Json) -> str:
    """Verdict, answers, requirements, groups, changes and the command. The CSV files hold whatever was cut."""
    title = text(document["title"] or "Audit report", 100)
    lines = [f"### {SIGN[document['verdict']]} {document['verdict']}: {title}", ""]
    if document["simulated"]:
        lines += ["**Users are simulated.**", ""]
    lines += [f"**{text(document['flaw'], 400)}**", ""] if document["flaw"] else []
    said = [words.outcome(document["requirements"]), *words.trend_sentences(document["model"]["support"]), document["kept"]]
    said.append(" ".join(words.constraint_sentence(c) for c in document["constraints"]))
    lines += [*(f"- {text(f, 900)}" for f in (*words.answers(document), *said) if f), ""]
    lines += _requirements(document["requirements"]) + _groups(document["model"]) + _changes(document["changes"])
    lost = words.left_out_sentence(document["exclusions"])
    lines += [text(lost, 400), ""] if lost else []
    lines += [f"To reproduce: {code(document['command'])}"] if document["command"] else []
    return "\n".join(lines).rstrip() + "\n"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], most: int, file: str) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows[:most])]
    return [*lines, *([f"{len(rows) - most} more in {file}."] if len(rows) > most else []), ""]


def _requirements(requirements: list[Json]) -> list[str]:
    order = {"FAIL": 0, "INSUFFICIENT": 1, "PASS": 2}
    rows = []
    for requirement in sorted(requirements, key=lambda r: order[r["verdict"]]):
        row = words.requirement_row(requirement)
        cells = f"{row['value']} ({row['interval']})", row["required"], row["people"]
        rows.append((f"{SIGN[row['verdict']]} {row['verdict']}", text(row["name"], 80), *cells))
    return table(
        ("verdict", "requirement", "estimate (simultaneous 95 % interval)", "required", "from"),
        rows,
        MOST_REQUIREMENTS,
        "requirements.csv",
    )


def _groups(model: Json) -> list[str]:
    groups = sorted(model["groups"], key=lambda g: (bool(g["excluded"]), g["accuracy"]["value"] is None, g["accuracy"]["value"] or 0.0))
    rows = [(text(g["group"], 60), share(g["accuracy"]), people(g["accuracy"]), text(g["excluded"], 60)) for g in groups]
    return table(("group", "accuracy (95 % interval)", "from", "excluded because"), rows, MOST_GROUPS, "groups.csv")


def _changes(changes: list[Json]) -> list[str]:
    rows = [
        (text(f"{c['before']} → {c['after']}", 60), text(r["group"], 40), difference(r["difference"]), people(r["difference"]))
        for c in changes
        for r in c["rows"]
    ]
    return table(("change", "group", "difference, points (95 % interval)", "from"), rows, MOST_CHANGES, "changes.csv")


def code(command: str) -> str:
    """A code span with a fence longer than any run of backticks in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", command)), default=0))
    return f"{fence} {command} {fence}"

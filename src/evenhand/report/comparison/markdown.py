"""Published results → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

from typing import Any

from evenhand.report.comparison import reading as of
from evenhand.report.comparison import words as said
from evenhand.report.old_markdown import code, table, text
from evenhand.report.words import difference, people, points, share

Json = dict[str, Any]
MOST_ENTRIES, MOST_PAIRWISE, MOST_GROUPS = 12, 6, 3  # rows and columns; with all of them the text has 36 lines
BOUND_ENTRIES, BOUND_PAIRWISE = 7, 3  # the same where there are constraints, whose table has as many rows


def markdown(document: Json) -> str:
    """The choice, the entries, its pairwise comparisons and the command. The CSV files hold whatever was cut."""
    lines = [f"### {text(document['title'] or 'Comparison', 100)}", ""]
    if document["simulated"]:
        lines += ["**Users are simulated.**", ""]
    lines += [f"**{text(said.headline(document))}.** {text(said.meaning(document), 600)}", ""]
    lines += [text(said.front_sentence(document), 600), ""] if document["front"] else []
    bound = bool(document["constraint_fronts"])
    lines += _entries(document, BOUND_ENTRIES if bound else MOST_ENTRIES)
    lines += _violations(document) if bound else []
    lines += _pairwise(document, BOUND_PAIRWISE if bound else MOST_PAIRWISE)
    lines += [f"To reproduce: {code(document['command'])}"] if document["command"] else []
    return "\n".join(lines).rstrip() + "\n"


def _entries(document: Json, most: int) -> list[str]:
    groups = list(enumerate(document["groups"]))[:MOST_GROUPS]
    all_users, has_gap = len(document["groups"]), any(of.metric_of(e, "gap") for e in document["entries"])
    rows = []
    for e in of.foremost(document, most):
        if not e["held_out"]:
            rows.append((_name(document, e), *[""] * (len(groups) + 1 + has_gap), f"failed: {text(e['failed'], 80)}"))
            continue
        gap = of.metric_of(e, "gap")
        cells = [share(e["held_out"][c]) for c in (*(i for i, _ in groups), all_users)]
        beaten = e["dominated_by"]
        by = f"{text(beaten[0], 40)}{f' and {len(beaten) - 1} more' * (len(beaten) > 1)}" if beaten else "none"
        rows.append((_name(document, e), *cells, *([difference(gap["value"]) if gap else ""] if has_gap else []), by))
    everybody = of.whole(document)
    head = ("entry", *(text(g, 40) for _, g in groups), "all users", *(["gap, points"] if has_gap else []), "dominated by")
    left_out = len(document["entries"]) - len(rows)
    told = said.users_sentence(document)
    lines = table(head, rows, most, "results.csv")
    about = f"Accuracy on test pairs with 95 % intervals, {people(everybody)}." if everybody else "No entry has numbers."
    return [*lines, about + (f" {left_out} more in results.csv." if left_out else "") + (f" {text(told, 400)}" if told else ""), ""]


def _name(document: Json, entry: Json) -> str:
    front, best = document["front"], of.chosen(document)
    told = [
        w
        for w, is_it in (
            ("chosen", front and best and entry["name"] == best["name"]),
            ("reference", entry["name"] == of.reference(document)),
        )
        if is_it
    ]
    name = text(entry["name"], 60)
    return f"**{name}** ({', '.join(told)})" if told else name


def _violations(document: Json) -> list[str]:
    """Accuracy and violation of the first constraint; violations.csv has all."""
    front = document["constraint_fronts"][0]
    lines = [text(said.constraint_front_sentence(document, front), 600), ""]
    if front["suppressed"]:
        return lines
    rows = []
    for e in of.bound(document, front, BOUND_ENTRIES):
        found = said.violation_of(e, front)
        if found:
            told = {"chosen": "chosen for the constraint", "reference": "reference"}
            marks = [word for key, word in told.items() if front[key] == e["name"]]
            name = text(e["name"], 60)
            name = f"**{name}** ({', '.join(marks)})" if marks else name
            change = difference(found["difference"]) if found["difference"] else ""
            rows.append((name, share(e["held_out"][-1]), share(found["held_out"]), change))
    head = ("entry", "accuracy, all users", f"violation, {front['decision']}", "change, points")
    return [*lines, *table(head, rows, BOUND_ENTRIES, "violations.csv")]


def _pairwise(document: Json, most: int) -> list[str]:
    best = of.chosen(document)
    if best is None:
        return []
    others = [e["name"] for e in of.foremost(document, most + 1) if e["held_out"] and e["name"] != best["name"]][:most]
    rows = []
    for name in others:
        differences, verdict = of.versus(document, best["name"], name) or ([], "")
        shown = [
            f"{text(d['group'], 30)} {points(d['value'], True)} ({points(d['low'], True)} to {points(d['high'], True)})"
            for d in differences
            if d["value"] is not None
        ]
        rows.append((verdict or "not shown", text(name, 60), ", ".join(shown[:MOST_GROUPS])))
    head = (f"{text(best['name'], 60)} …", "against", "difference, points (intervals hold for all pairwise comparisons at once)")
    return table(head, rows, most, "pairwise.csv")

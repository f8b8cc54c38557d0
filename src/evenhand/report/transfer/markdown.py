"""Published findings on policies → Markdown of at most 40 lines, to be put under a pull request."""

from __future__ import annotations

from typing import Any

from evenhand.report.old_markdown import code, table, text
from evenhand.report.transfer import words as said
from evenhand.report.words import NONE, number, points

Json = dict[str, Any]
MOST_POLICIES = 22  # rows; with all of them the text has 36 lines


def markdown(document: Json) -> str:
    """The finding, a row a policy, and the command. transfer.json holds whatever was cut."""
    lines = [f"### {text(document['title'] or 'Policies', 100)}", ""]
    lines += [f"**{text(said.headline(document))}.** {text(said.meaning(document), 600)}", ""]
    lines += [text(said.summary(document), 500), ""]
    rows = [_row(p) for p in (document["reference"], *document["gibbs"], *document["best_of"])]
    lines += table(
        ("policy", "gap, points (95 % interval)", "most / least", "κ, nats", "bound, points"), rows, MOST_POLICIES, "transfer.json"
    )
    lines += [text(said.versus_sentence(document), 500), ""] if document["versus"] else []
    lines += [f"To reproduce: {code(document['command'])}"] if document["command"] else []
    return "\n".join(lines).rstrip() + "\n"


def _row(p: Json) -> tuple[str, ...]:
    gap = p["gap"]
    if gap["value"] is None:
        return said.setting(p), NONE, NONE, NONE, NONE
    ends = f"{text(p['most'], 40)} / {text(p['least'], 40)}"
    return (
        said.setting(p),
        f"{points(gap['value'])} ({points(gap['low'])} to {points(gap['high'])})",
        ends,
        number(p["kappa"], 3),
        said.bound_note(p),
    )

"""What a person reads in the terminal after `transfer`: a row a policy, and the finding."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from evenhand.report.old_terminal import ascii_only, clip
from evenhand.report.transfer import TransferReport
from evenhand.report.transfer import words as said
from evenhand.report.words import points

Json = dict[str, Any]


def transfer_table(report: TransferReport) -> Table:
    """The event's rate in the groups farthest apart, the gap and its bound: 80 columns."""
    document = report.document
    grid = "gibbs" if document["gibbs"] else "best_of"
    end = document[grid][-1]
    names = [name for name in (end["most"], end["least"]) if name]
    out = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    out.add_column("in % [95 %]", no_wrap=True)
    for column in (*names, "gap", "bound"):
        out.add_column(Text(ascii_only(clip(column, 20))), overflow="fold")
    for p in (document["reference"], *document["gibbs"], *document["best_of"]):
        of = {r["group"]: r for r in p["rates"]}
        cells = [*(_cell(of[n]) for n in names), _cell(p["gap"]), points(p["bound"])]
        out.add_row(*(Text(_plain(c)) for c in (said.setting(p).removeprefix("the "), *cells)))
    return out


def transfer_lines(report: TransferReport) -> list[Text]:
    """The finding, the largest gaps, the second reward, and what was looked at."""
    document = report.document
    lines = [f"{said.headline(document)}. {said.meaning(document)}"]
    lines += [s for kind in ("gibbs", "best_of") if (s := said.widest(document, kind))]
    lines += [said.versus_sentence(document)] if document["versus"] else []
    return [Text(_plain(line)) for line in (*lines, said.summary(document))]


def _cell(m: Json) -> str:
    return "-" if m["value"] is None else f"{points(m['value'])} [{points(m['low'])}, {points(m['high'])}]"


def _plain(sentence: str) -> str:
    """A sentence in signs that every terminal has."""
    return ascii_only(sentence.replace("β", "beta").replace("“", '"').replace("”", '"').replace("’", "'"))

"""The private page: misordered pairs of the worst-served group, as texts, and beside it a file of every group's worst-served users, which
`evenhand view` reads. Both stand beside a report and never in one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from evenhand.core import SMALLEST_CELL, Estimate
from evenhand.report import Kind
from evenhand.report.html import html as print_html
from evenhand.report.numbers import count, decimals, evidence, group_name, is_known, percent
from evenhand.report.page import Answer, Column, Name, Page, Panel, Table
from evenhand.report.publish import LONGEST_TEXT, document, publish

PRIVATE = "Private: this page holds raw texts of users. It is for whoever may read the data, and not to be passed on."
RULES = f"Readable by its owner alone. A text is shown on one line, at most {LONGEST_TEXT} characters of it; users' ids are not shown."


@dataclass(frozen=True)
class Example:
    """A pair that the model orders against its user. margin < 0: r(chosen) - r(rejected). support: the user's, nan = unknown."""

    prompt: str
    chosen: str
    rejected: str
    margin: float
    support: float


@dataclass(frozen=True)
class Person:
    """A user and some of his or her misordered pairs, the largest wrong margins first. user: a hash of the id. accuracy: over n_pairs."""

    user: str
    accuracy: float
    n_pairs: int
    misordered: int
    support: float
    pairs: tuple[Example, ...]


@dataclass(frozen=True)
class People:
    """A group of 10 users or more, and those of them whom the model serves worst."""

    group: str
    n_users: int
    users: tuple[Person, ...]


@dataclass(frozen=True)
class Examples:
    """The largest wrong margins first. group: the worst-served of those with 10 users, "" = there is none. misordered: pairs in all.
    people: of every group; not on the page.
    """

    model: str
    group: str
    accuracy: Estimate | None
    misordered: int
    pairs: tuple[Example, ...]
    command: str = ""
    people: tuple[People, ...] = ()


def page(examples: Examples) -> Page:
    found = publish(examples)
    rows = tuple(
        (Name(f"{i}. {e.prompt}", lines=(f"Chosen: {e.chosen}", f"Rejected: {e.rejected}")), e.margin, e.support)
        for i, e in enumerate(found.pairs, start=1)
    )
    known = any(is_known(e.support) for e in found.pairs)
    columns = (Column("pair"), Column("margin", decimals(3)), Column("user’s support", percent, on_page=known))
    headline, answers = f"No group has {SMALLEST_CELL} users: no pair is shown", []
    if found.accuracy is not None:
        headline = f"{count(len(rows))} of {count(found.misordered)} misordered pairs of {group_name(found.group)}, the worst-served group"
        answers = [Answer(f"Its accuracy is {percent(found.accuracy.value)} {evidence(found.accuracy)}.")]
    table = Table("Largest wrong margins first", columns, rows, most=len(rows))
    return Page(
        headline, "neutral", tuple(answers), (Panel("pairs", "Pairs", tables=(table,)),), {}, title=f"Misordered pairs: {found.model}",
        warning=PRIVATE, command=found.command, rules=RULES,
    )  # fmt: skip


EXAMPLES = Kind("private examples", page, stem="examples")


def html(examples: Examples) -> str:
    """The page, which stands alone: nothing of it is in another file."""
    return print_html(page(examples), EXAMPLES.name)


def of_users(examples: Examples) -> str:
    """The file of users: JSON, `format`, `model` and `groups`, each of them a `People`."""
    found = {"format": "evenhand users 1", "model": publish(examples.model), "groups": document(publish(examples.people))}
    return json.dumps(found, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

"""A certificate: certified or not, then what exactly is claimed, what is not, and how it is verified (panel 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evenhand.audits.certificate import Certificate
from evenhand.core import NOTIONS, Estimate
from evenhand.report import Kind, Report
from evenhand.report.figures.intervals import events as draw_events
from evenhand.report.numbers import count, decimals
from evenhand.report.page import COUNTS, Answer, Column, Figure, Page, Panel, Row, Table, Tone, counts, facts
from evenhand.report.publish import publish

MOST_ROWS = 30  # of the figure; the table has all
CHECK = "evenhand verify certificate.json MODEL DATA"
HOW_TO_VERIFY = (
    f"Run {CHECK} with the model's folder and the data file: everything on this page is computed again from them, and the certificate is "
    "refused at the first field that differs.",
    "The seal is a SHA-256 over the other fields. It shows a change, but it is no signature: whoever changes a field can seal again. What "
    "holds is what verify computes, so run it on a model and data that you trust.",
    "Needed: the same version of evenhand, as the program's own files are part of the certificate.",
)
PLAN = (
    "For delta {delta} and the {bound} bound, if rates and spreads stayed as they are and both events of a comparison had that many users. "
    "A plan, not a promise: new users have rates of their own."
)
RULES = "Every user counts once in an event. Numbers have four decimals, bounds rounded outwards. Events of fewer than 10 users are never certified."
four = decimals(4)


@dataclass(frozen=True)
class Issued:
    """A certificate, and what stands in it. document: certificate.json, sealed: printed as it is. needed: users each event would need, None =
    no number helps, () where certified: a plan, no claim, and so no part of the document. made: hashes and how things were made.
    """

    certificate: Certificate
    document: Mapping[str, Any]
    model: str
    decision: str
    claim: str
    events_rule: str
    checked: str
    not_claimed: tuple[str, ...]
    hashes: Mapping[str, str]
    made: Mapping[str, str]
    needed: tuple[int | None, ...] = ()
    title: str = ""
    note: str = ""


def page(issued: Issued) -> Page:
    """No event has fewer than 10 users."""
    found = publish(replace(issued, document={}))
    c = found.certificate
    rates = tuple(Estimate(e.q, e.low, e.high, e.n_users, e.n_pairs, "rate", e.name, 1 - c.delta) for e in c.events)
    named: tuple[Row, ...] = tuple((e.group, e, *counts(e)) for e in rates)
    events = Table("Events", (Column("event"), Column(f"rate ({100 * (1 - c.delta):g} %, all at once)", four), *COUNTS), named, most=12)
    plan = tuple((e.name, e.q, e.n_users, n) for e, n in zip(c.events, found.needed))
    heads = (Column("event"), Column("rate", four), Column("users", count), Column("users needed", _about))
    needed = Table(f"Users each event would need at gamma {c.gamma:g}", heads, plan, most=12)
    tone: Tone = "pass" if c.certified else "fail" if c.d_hat > c.gamma else "insufficient"
    panels = (
        Panel("events", "The events", tables=(events,), notes=(found.events_rule,)),
        Panel(
            "needed",
            "How many users it would take",
            tables=(needed,),
            notes=(PLAN.format(delta=f"{c.delta:g}", bound=c.bound.replace("_", " ")),) if plan else (),
        ),
        Panel("claim", "What is claimed", tables=(facts("The numbers", _numbers(c), ("quantity", "value")),)),
        Panel("not-claimed", "What is not claimed", notes=found.not_claimed),
        Panel("verify", "How to verify it", notes=HOW_TO_VERIFY),
        Panel("made", "Model, data, split, program", tables=(facts("How it was made", found.made),), notes=(found.checked,)),
    )
    not_claimed = (f"Not claimed: {n}" for n in found.not_claimed if n != found.checked)
    return Page(
        f"{'CERTIFIED' if c.certified else 'NOT CERTIFIED'}: gap at most {four(c.d_upper)}, gamma {c.gamma:g}", tone,
        (Answer(_meaning(c), "Is the gap within gamma?"),), panels, issued.document, summary=found.claim,
        title=found.title or f"Certificate of {found.model}: {NOTIONS[c.notion]}, {found.decision} decisions", note=found.note,
        first=(_figure(c, rates),), brief=(events, needed), facts=found.hashes, command=CHECK, rules=RULES, exit_code=0 if c.certified else 1,
        said=(found.claim, found.checked, f"Seal: {found.hashes['seal sha256']}", *not_claimed),
    )  # fmt: skip


CERTIFICATE = Kind("certificate", page, stem="certificate")


def report(issued: Issued) -> Report:
    return Report(issued, CERTIFICATE)


def _meaning(c: Certificate) -> str:
    """Whether more users could tell."""
    sure = f"with {100 * (1 - c.delta):g} % confidence"
    if c.certified:
        return f"Yes: {sure} it is at most {four(c.d_upper)}; the gap seen is {four(c.d_hat)}."
    if c.d_hat > c.gamma:
        return f"No: the gap seen, {four(c.d_hat)}, is itself above {c.gamma:g}. More users would not help."
    return f"Not shown: the gap seen is {four(c.d_hat)}, but {sure} it may be up to {four(c.d_upper)}. More users could tell."


def _numbers(c: Certificate) -> dict[str, str]:
    """What the verdict rests on."""
    order = "" if c.seed is None else ", users in an order drawn from the hashes of model and data"
    return {
        "gap seen, D hat": four(c.d_hat),
        "radius": four(c.radius),
        "upper bound, D upper": f"{four(c.d_upper)}, from {' and '.join(c.widest)}",
        "accepted, gamma": f"{c.gamma:g}",
        "may be wrong with probability, delta": f"{c.delta:g}",
        "bound": c.bound.replace("_", " ") + order,
        "users": count(c.n_users),
    }


def _figure(c: Certificate, rates: tuple[Estimate, ...]) -> Figure:
    """Rates, of many events the furthest ones, beside a stretch as long as gamma that begins where the widest gap does."""
    order = sorted(rates, key=lambda e: -e.value)
    shown = order if len(order) <= MOST_ROWS else [*order[: MOST_ROWS // 2], *order[-MOST_ROWS // 2 :]]
    ends = [e for e in rates if e.group in c.widest]
    lower = min(ends, key=lambda e: e.low + e.high)  # high_a - low_b is the larger one where b has the lower middle
    start, upper = (0.0, lower) if len(rates) == 1 else (lower.low, max(ends, key=lambda e: e.low + e.high))
    sentence = f"Rates go from {four(order[-1].value)} ({order[-1].group}) to {four(order[0].value)} ({order[0].group})."
    note = f"as wide as gamma, from the lower end of {lower.group}; certified where the upper end of {upper.group} lies in it."
    if len(rates) == 1:
        sentence = f"The mean gap is {four(upper.value)}, at most {four(upper.high)}."
        note = "gaps up to gamma; certified where the upper end lies in it."
    plot = partial(draw_events, shown, (start, start + c.gamma))
    return Figure(sentence, plot, f"Shaded: {note} The intervals hold at once.", section="events")


def _about(users: float | None) -> str:
    """Up to two digits: a plan has no more."""
    if users is None:
        return "no number helps"
    step = 10 ** max(len(str(int(users))) - 2, 0)
    return f"about {count(-(-int(users) // step) * step)}"

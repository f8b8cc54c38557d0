"""A certificate: with probability 1 - delta over the draw of users, the notion's gap D is at most D_upper; certified where that is <= gamma.

Each event's rate q(e) gets an interval at delta / |E|, two-sided, so all of them hold at once (union bound), and with them

    D <= D_upper = max over compared events a, b of max(high_a - low_b, high_b - low_a)        CF, one event: D_upper = its high

With Hoeffding's bound this is D_hat + r_a + r_b, r_e = sqrt(log(2 |E| / delta) / (2 n_e)). Users are the unit: n_e counts users of the
event, not pairs. Numbers are kept as multiples of 1 / UNITS, bounds rounded outwards: whoever computes them again gets the same ones to
the last digit, though sums differ in the last bits from one machine to another, unless a sum lies within such a bit of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.audits.bounds import BOUNDS, bound_named, users_needed
from evenhand.audits.rates import Rates
from evenhand.core import NOTIONS, EvenhandError, Notion, clip

UNITS = 10_000  # numbers have four decimals
SMALLEST_DELTA = 1e-9  # certainty has no bound
FEWEST = 10  # users of an event: fewer certify nothing, and their numbers could be read as single people's


NOT_CLAIMED = (
    "Users who are not drawn from the same population as these.",
    "Other prompts and responses: users count as drawn, items do not, and the statement holds for the items that these users judged.",
    "Other notions, other groups, and single users: rates are means over users, and a small gap of means can hide large ones inside.",
    "Texts written by a policy that was trained on these rewards.",
    "Anything about accuracy: a model that prefers at random has no gap.",
    "That the gap was certified once only: of many attempts with other models, files or bounds, some succeed by chance.",
)
NOT_CHECKED = "Not checked: that training did not see these pairs. The file is not the one the model was trained on."
SEEN = "{seen} of the {users} users have pairs in training, though not these: that a model treats them as it treats new users is assumed."


class TooFewUsers(EvenhandError):
    """An event with too few users for any statement: not a defect of the data, but not enough of it; exit code 3."""


@dataclass(frozen=True)
class EventBound:
    """One event: its rate q in [0, 1], the interval low..high it holds in together with all others, and who it is from."""

    name: str
    q: float
    low: float
    high: float
    n_users: int
    n_pairs: int


@dataclass(frozen=True)
class Certificate:
    """What was computed. All numbers but gamma and delta have four decimals. radius = d_upper - d_hat.

    seed: of the order in which `betting` takes the users; None for bounds without an order. widest: the two events (for CF the one)
    that d_upper comes from. compared: pairs of events, numbers of `events`.
    """

    notion: Notion
    gamma: float
    delta: float
    bound: str
    seed: int | None
    events: tuple[EventBound, ...]
    compared: tuple[tuple[int, int], ...]
    widest: tuple[str, ...]
    n_users: int
    d_hat: float
    radius: float
    d_upper: float
    certified: bool


def certify(rates: Rates, notion: Notion, gamma: float, delta: float, bound: str = "betting", *, seed: int = 0) -> Certificate:
    """The certificate of these rates at gamma in (0, 1] and delta in (0, 1).

    bound: betting (the default: in simulation valid and the tightest), empirical_bernstein or hoeffding. seed: of betting's order, not to
    be chosen by who certifies (see `workflows.certify.drawn_from`).
    Raises EvenhandError on values outside their ranges and on fewer than two events, TooFewUsers naming the events under 10 users.
    """
    check_request(notion, gamma, delta, bound)
    values = event_values(rates, notion)
    bound_of, alpha = bound_named(bound, seed), delta / len(values)
    intervals = [(_down(low), _up(high)) for low, high in (bound_of(v, alpha) for v in values)]
    d_hat, d_upper, widest = _gaps([float(v.mean()) for v in values], intervals, rates.compared)
    events = tuple(
        EventBound(name, _nearest(float(v.mean())) / UNITS, low / UNITS, high / UNITS, len(v), int(pairs))
        for name, v, (low, high), pairs in zip(rates.events, values, intervals, rates.pairs)
    )
    gap = _nearest(d_hat)
    return Certificate(
        notion,
        float(gamma),
        float(delta),
        bound,
        seed if bound == "betting" else None,
        events,
        rates.compared,
        tuple(rates.events[e] for e in widest),
        len(rates.user),
        gap / UNITS,
        (d_upper - gap) / UNITS,
        d_upper / UNITS,
        bool(d_upper / UNITS <= gamma),
    )


def _gaps(
    mean: Sequence[float], intervals: Sequence[tuple[int, int]], compared: Sequence[tuple[int, int]]
) -> tuple[float, int, tuple[int, ...]]:
    """(the gap seen, in [0, 1]; its upper bound in units; the events which that comes from)."""
    if not compared:
        return mean[0], intervals[0][1], (0,)
    seen = max(abs(mean[a] - mean[b]) for a, b in compared)
    upper = [max(intervals[a][1] - intervals[b][0], intervals[b][1] - intervals[a][0]) for a, b in compared]
    widest = int(np.argmax(upper))
    return seen, upper[widest], compared[widest]


def event_values(rates: Rates, notion: Notion) -> list[np.ndarray]:
    """Users' means float64[n_e] of each event, in the order of the users' numbers.

    Raises EvenhandError where dp or eo have nothing to compare, TooFewUsers where an event has under 10 users.
    """
    if notion != "cf" and len(rates.events) < (2 if notion == "dp" else 4):
        found = f"{len(rates.events)} group" + ("" if len(rates.events) == 1 else "s")
        raise EvenhandError(f"Found {found} in the events. Expected: two or more to compare. To do: name groups that the data has.")
    values = [column[~np.isnan(column)] for column in rates.by_user.T]
    none = [clip(name) for name, v in zip(rates.events, values) if not len(v)]
    few = [clip(name) for name, v in zip(rates.events, values) if 0 < len(v) < FEWEST]
    if none or few:
        parts = [f"no user in: {', '.join(none)}"] if none else []
        parts += [f"fewer than {FEWEST} users in: {', '.join(few)}"] if few else []
        raise TooFewUsers(
            f"Found {'; '.join(parts)}. Expected: {FEWEST} users or more in every event. To do: certify on more users, or merge or leave "
            "out these groups."
        )
    return values


def needed(rates: Rates, certificate: Certificate) -> tuple[int | None, ...]:
    """`users_needed` of each event for this certificate's gamma, delta and bound."""
    values = event_values(rates, certificate.notion)
    return users_needed(certificate.gamma, values, rates.compared, certificate.delta, certificate.bound)


def check_request(notion: str, gamma: float, delta: float, bound: str) -> None:
    """Raises EvenhandError unless the notion and bound exist, gamma lies in (0, 1] and delta in (0, 1)."""
    for name, value, known in (("notion", notion, NOTIONS), ("bound", bound, BOUNDS)):
        if value not in known:
            raise EvenhandError(f"Unknown {name} {clip(value)}. Expected: {', '.join(known)}. To do: name one of them.")
    for name, number, inside, said in (
        ("gamma", gamma, lambda x: 0 < x <= 1, "above 0 and at most 1, the largest gap that is acceptable"),
        (
            "delta",
            delta,
            lambda x: SMALLEST_DELTA <= x < 1,
            f"above 0 ({SMALLEST_DELTA:g} or more) and under 1, the probability with which the statement may be wrong",
        ),
    ):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not inside(number):
            raise EvenhandError(f"{name} is {clip(number)}. Expected: a number {said}. To do: 0.05 is usual.")


def claim(certificate: Certificate, decision: str, unseen_only: bool) -> str:
    """The statement in words. It repeats every choice that was made, so that no number can be changed alone."""
    c = certificate
    many = f"{len(c.compared)} comparison" + ("" if len(c.compared) == 1 else "s")
    what = "the mean gap inside matched sets" if c.notion == "cf" else f"the largest gap of {many}"
    events = "1 event" if c.notion == "cf" else f"{len(c.events)} events"
    who = "users without a training pair" if unseen_only else "all users of the split"
    order = f" with users in the order of seed {c.seed}" if c.seed is not None else ""
    return (
        f"{NOTIONS[c.notion].capitalize()} ({c.notion}), {decision} decisions, {who}: {what} is at most {c.d_upper:.4f}, which is "
        f"{'within' if c.certified else 'NOT within'} gamma = {c.gamma!r}. This holds with probability at least 1 - delta, delta = {c.delta!r}, over the "
        f"draw of users, by the {c.bound} bound{order} on the users' means in {events}."
    )


def not_claimed(users: int, seen: int | None) -> tuple[str, ...]:
    """What the certificate does not say. users: those it is from; seen: how many of them were in training, None = nobody knows."""
    if seen is None:
        return (NOT_CHECKED, *NOT_CLAIMED)
    return (SEEN.format(seen=seen, users=users), *NOT_CLAIMED) if seen else NOT_CLAIMED


def _down(value: float) -> int:
    return math.floor(value * UNITS)


def _up(value: float) -> int:
    return math.ceil(value * UNITS)


def _nearest(value: float) -> int:
    return round(value * UNITS)

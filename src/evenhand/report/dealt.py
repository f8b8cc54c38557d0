"""The panel of several deals: what the method reaches over all of them, and by deal."""

from __future__ import annotations

from typing import Any

from evenhand.report.layout import Panel, counts, listed
from evenhand.report.words import NONE, difference, people, points, share

Json = dict[str, Any]

READ = (
    "Each deal has other test {unit} and trains anew; intervals draw users, what they share, and deals. A user of several deals is one user, in the "
    "group of each deal. The saved model and all other panels are the first deal’s."
)


def deals(found: Json) -> Panel:
    """Accuracy and gap of each model over all deals, and the audited one's gain."""
    rows, groups = [], found["models"][0]["accuracy"]
    for m in found["models"]:
        gains = m["gain"] or [None] * len(groups)
        rows += [(m["model"], a["group"], share(a), NONE if g is None else difference(g), *counts(a)) for a, g in zip(m["accuracy"], gains)]
        if m["gap"]:
            rows.append((m["model"], f"gap, {m['gap']['group']}, points", difference(m["gap"]), NONE, *counts(m["gap"])))
    columns = ("model", "group", "accuracy", "gain of the first over it, points", "users", "pairs")
    over = listed(f"Over {len(found['seeds'])} deals", columns, rows, "report.json", (), (0, 1))
    what = "gap" if found["models"][0]["by_deal"][0]["metric"] == "gap" else "accuracy, all users"
    show = difference if what == "gap" else share
    single = [(m["model"], *(show(e) for e in m["by_deal"])) for m in found["models"]]
    each = listed(f"By deal: {what}", ("model", *(f"seed {s}" for s in found["seeds"])), single, "report.json", (), (0,))
    return Panel("deals", "Over deals", tables=(over, each), notes=(READ.format(unit=found["unit"]),), finding=sentence(found))


def sentence(found: Json) -> str:
    """What all deals say of the audited model, in one sentence."""
    first = found["models"][0]
    by_deal = [e["value"] for e in first["by_deal"] if e["value"] is not None]
    what = first["gap"] or first["accuracy"][-1]
    name = f"gap ({what['group']})" if first["gap"] else "accuracy of all users"
    if what["value"] is None or not by_deal:
        return f"Over {len(found['seeds'])} deals the groups are too small to show."
    signed = bool(first["gap"])
    low, high = (points(f(by_deal), signed) for f in (min, max))
    interval = f"95 % {points(what['low'], signed)} to {points(what['high'], signed)}"
    return f"Over {len(by_deal)} deals the {name} is {points(what['value'], signed)} points ({interval}; {people(what)}); single deals say {low} to {high}."

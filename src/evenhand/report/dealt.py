"""The panel of several deals: what the method reaches over all of them, and by deal."""

from __future__ import annotations

from typing import Any

from evenhand.report.layout import Panel, counts, listed
from evenhand.report.words import NONE, deals_sentence, difference, share

Json = dict[str, Any]

READ = (
    "Each deal has other test {unit} and trains anew; intervals draw users, what they share, and deals. A user of several deals is one user, in the "
    "group of each deal. The saved model and all other panels are the first deal’s."
)


def deals(found: Json, saved: str) -> Panel:
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
    return Panel("deals", "Over deals", tables=(over, each), notes=(READ.format(unit=found["unit"]),), finding=deals_sentence(found, saved))

"""Panel 8 for constraints: what entries give up in accuracy for event rates that lie closer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from evenhand.report.comparison import reading as of
from evenhand.report.comparison import words as said
from evenhand.report.comparison.cells import shown, stacked
from evenhand.report.comparison.tradeoff import Pane, Spot, outside, tradeoff
from evenhand.report.layout import MOST_FIGURES, Figure, Panel, Table, drawn, listed
from evenhand.report.words import NONE, count, people, points

Json = dict[str, Any]
READ = (
    "Up and to the left is better. Crosses: 95 % intervals. Hollow: validation pairs, where entries are chosen; filled: test pairs, where they are "
    "judged."
)


def constraints(document: Json) -> Panel:
    """One figure a constraint, its panes the kinds of decision."""
    fronts = by_notion(document)
    figures = [_figure(document, some, i) for i, some in enumerate(list(fronts.values())[:MOST_FIGURES])]
    notes = [f"Groups and the order of responses: {document['events_rule'].rstrip('.')}." if document["events_rule"] else "", RULE]
    notes += [SEEDS] if len(document["seeds"]) > 1 else []
    return Panel("constraints", "Accuracy against constraints", tuple(figures), (_events(document),), tuple(n for n in notes if n))


def by_notion(document: Json) -> dict[str, list[Json]]:
    """Fronts of each notion, in the document's order."""
    out: dict[str, list[Json]] = {}
    for f in document["constraint_fronts"]:
        out.setdefault(f["notion"], []).append(f)
    return out


RULE = (
    "Chosen: of the entries whose violation on validation pairs is within what is accepted, the one with the highest accuracy there. Accepted is the "
    "gamma of the constrained entries if they share one, else what was asked for, or 5 points. Noise alone: the violation that the reference would "
    "show if all its true rates were equal; no model can be told from an even one to its left."
)
SEEDS = (
    "A violation is the mean of the seeds’ own, what one training is to be expected to have; the noise of each seed pushes it up. Pooled: rates are "
    "averaged over seeds first, so that noise which differs between seeds cancels and the bias that they share remains; its intervals hold for all "
    "compared events at once."
)


def _figure(document: Json, fronts: Sequence[Json], i: int) -> Figure:
    table = _table(document, fronts)
    panes = [_pane(document, f) for f in fronts if not f["suppressed"]]
    sentences = [said.constraint_front_sentence(document, f) for f in fronts]
    if not panes:
        return Figure(sentences[0], "", "", "", table)
    wide, narrow = drawn(lambda w: tradeoff(f"tradeoff-{i}", panes, w))
    note = " ".join([*sentences[1:], READ, "Lines: entries that differ in gamma alone, in its order." if panes[0].lines else ""]).strip()
    left_out = outside(panes)
    if left_out:
        note += f" Beyond the figure: {', '.join(left_out[:5])}{' and others' * (len(left_out) > 5)}."
    return Figure(sentences[0], wide, narrow, note, table)


def _pane(document: Json, front: Json) -> Pane:
    joined = {name for line in front["lines"] for name in line}
    spots = []
    for e in of.running(document):
        found = said.violation_of(e, front)
        if found is None or not e["selection"]:
            continue
        split = {"selection": e["selection"][-1], "held_out": e["held_out"][-1]}
        violation = {k: found[k] for k in split}
        if any(x["value"] is None for x in (*split.values(), *violation.values())):
            continue
        name = e["name"]
        label = f"γ {float(e['settings']['gamma']):g}" if name in joined and len(front["lines"]) == 1 else name
        spots.append(
            Spot(
                name, label, violation, split, name in front["best"], name == front["reference"], name == front["chosen"],
                name == front["knee"],
            )
        )  # fmt: skip
    noise = {"selection": front["noise_selection"], "held_out": front["noise_held_out"]}
    return Pane(f"{front['decision']} decisions", spots, front["lines"], front["gamma"], noise)


def _table(document: Json, fronts: Sequence[Json]) -> Table:
    pooled = len(document["seeds"]) > 1
    rows = []
    for e in of.running(document):
        cost = e["cost"]
        cells = [shown(e["selection"][-1]) if e["selection"] else NONE, shown(e["held_out"][-1], "share", *(_change(cost) if cost else ()))]
        for f in fronts:
            v = said.violation_of(e, f)
            if v is None:
                cells += [NONE, NONE]
                continue
            below = (*(_change(v["difference"]) if v["difference"] else ()), *(_pooled(v["pooled"]) if pooled else ()))
            hidden = v["held_out"]["value"] is None
            cells += [shown(v["selection"], "level"), shown(v["held_out"], "level", *(() if hidden else below))]
        rows.append((_marked(fronts, e), *cells))
    columns = ["entry", "accuracy, validation", "accuracy, test"]
    columns += [f"violation, {f['decision']}, {split}" for f in fronts for split in ("validation", "test")]
    seen = next((v for e in of.running(document) if (v := said.violation_of(e, fronts[0]))), None)
    caption = f"Violation in points, at most {points(fronts[0]['gamma'])} accepted"
    caption += f" ({people(seen['held_out'])} in events)" if seen else ""
    return listed(caption, columns, rows, "violations.csv")


def _marked(fronts: Sequence[Json], entry: Json) -> Markup:
    """An entry's name with what it is by which decisions."""
    told = []
    for key, sign in (("chosen", "◆ chosen for the constraint"), ("knee", "knee"), ("best", "on the front")):
        found = [f["decision"] for f in fronts if entry["name"] in ([f[key]] if isinstance(f[key], str) else f[key])]
        told += [sign if len(found) == len(fronts) else f"{sign} ({found[0]})"] if found else []
    told += ["■ reference"] if entry["name"] == fronts[0]["reference"] else []
    return stacked(entry["name"]) + Markup("").join(Markup('<span class="tag">{}</span>').format(t) for t in told)


def _change(estimate: Json) -> tuple[str, ...]:
    """The difference from the reference and its interval, two lines."""
    if estimate["value"] is None:
        return ()
    ends = f"{points(estimate['low'], True)} to {points(estimate['high'], True)}" if estimate["low"] is not None else ""
    return f"change {points(estimate['value'], True)}", ends


def _pooled(estimate: Json) -> tuple[str, ...]:
    if estimate["value"] is None:
        return ()
    return f"pooled {points(estimate['value'])}", f"{points(estimate['low'])} to {points(estimate['high'])}"


def _events(document: Json) -> Table:
    """Who stands behind each rate."""
    rows = []
    for c in document["events"]:
        cells = []
        for split in ("selection", "held_out"):
            users, pairs = c[f"{split}_users"], c[f"{split}_pairs"]
            cells += ["under 10" if users is None else count(users), count(pairs)]
        rows.append((said.NOTIONS[c["notion"]], c["event"], *cells))
    columns = ("notion", "event", "users, validation", "pairs, validation", "users, test", "pairs, test")
    grey = [i for i, c in enumerate(document["events"]) if c["held_out_users"] is None or c["selection_users"] is None]
    caption = f"Users and pairs of each event{', over all seeds' * (len(document['seeds']) > 1)} (counterfactual fairness: matched sets)"
    return listed(caption, columns, rows, "events.csv", grey, (0, 1))

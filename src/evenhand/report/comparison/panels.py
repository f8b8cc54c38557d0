"""Published results → panels in the order of decisions: who stands where, the frontier, constraints, who beats whom, single users, seen and unseen
users, the hyperparameters, and where it all comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from evenhand.report import context, words
from evenhand.report.comparison import reading as of
from evenhand.report.comparison import words as said
from evenhand.report.comparison.cells import MOST_GROUPS, NOTHING, marked, shown, stacked
from evenhand.report.comparison.constrained import constraints
from evenhand.report.comparison.curves import Place, frontier
from evenhand.report.comparison.details import cells, hyperparameters, users
from evenhand.report.comparison.figures import Series, Strip, matrix, strips
from evenhand.report.layout import Figure, Panel, Table, counts, drawn, listed
from evenhand.report.words import NONE, count, number, people, points

Json = dict[str, Any]
MOST_OPEN = 15  # entries of the main table; a longer list follows folded
MOST_IN_MATRIX = 16  # entries whose pairwise comparisons are all drawn; of more, only those with the choice and the reference


def panels(document: Json) -> tuple[Panel, ...]:
    """Panels a to h; that of constraints only where pairs are in events, that of hyperparameters only where some were swept."""
    bound = [constraints(document)] if document["constraint_fronts"] else []
    first = results(document), front(document), *bound, pairwise(document), users(document), cells(document)
    return (*first, *([hyperparameters(document)] if document["swept"] else []), context.data(document))


def results(document: Json) -> Panel:
    key, name = "results", "Who stands where"
    if not document["entries"]:
        return Panel(key, name, empty="Nothing was compared.")
    entries = document["entries"]
    tables = [_results(document, of.foremost(document, MOST_OPEN), f"Test pairs, with 95 % intervals ({_evidence(document)})")]
    if len(entries) > MOST_OPEN:
        tables.append(_results(document, entries, f"All {len(entries)} entries"))
    if len(document["groups"]) > MOST_GROUPS:
        tables.append(_by_group(document))
    notes = [
        f"Groups: {document['groups_rule'].rstrip('.')}." if document["groups_rule"] else "",
        SEEDS
        if len(document["seeds"]) > 1
        else "Intervals say what other users, and other prompts or responses that they share, would show. What another deal would show takes more seeds.",
        said.users_sentence(document),
        "Cost: seconds of training over all settings tried and all seeds. Dominated by: entries that are better in some group beyond noise and in "
        "none worse by the estimates (who beats whom, below); the front goes by the estimates alone.",
    ]
    return Panel(key, name, (), tuple(tables), tuple(n for n in notes if n), said.results_sentence(document))


SEEDS = (
    "Intervals say what other users, other prompts or responses that they share, and other deals would show; sd is the standard deviation over "
    "seeds. Calibrated: log-loss with a slope a rater, fitted on validation pairs and shrunk to the pool's (empirical Bayes); choices stay as they are."
)


def _evidence(document: Json) -> str:
    everybody = of.whole(document)
    return people(everybody) if everybody else "no users"


def _results(document: Json, entries: Sequence[Json], caption: str) -> Table:
    groups, has_gap = document["groups"], any(of.metric_of(e, "gap") for e in document["entries"])
    apart = len(groups) <= MOST_GROUPS
    columns = [
        "entry", *(groups if apart else ["worst-served group"]), "all users", *(["gap, points"] if has_gap else []), "log-loss",
        "cost", "dominated by",
    ]  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for e in entries:
        if not e["held_out"]:
            rows.append((marked(document, e), f"✕ failed: {e['failed'] or 'no reason given'}"))
            continue
        gap = of.metric_of(e, "gap")
        sds = [f"sd {points(s)}" if s is not None else "" for s in e["over_seeds"]] or [""] * len(e["held_out"])
        levels = [shown(x, "share", sd) for x, sd in zip(e["held_out"], sds)]
        levels = levels if apart else [_worst(document, e), levels[-1]]
        rows.append((
            marked(document, e), *levels, *([shown(gap["value"], "points") if gap else NONE] if has_gap else []), shown(e["log_loss"], "number", _calibrated(e)),
            _cost(e), _beaten(e),
        ))  # fmt: skip
    grey = [i for i, e in enumerate(entries) if not e["held_out"]]
    return listed(caption, columns, rows, "results.csv", grey, (0, len(columns) - 1))


def _calibrated(entry: Json) -> str:
    """The log-loss once each rater has a slope of his or her own."""
    found = entry["calibrated"]
    return "" if found is None or found["value"] is None else f"calibrated {number(found['value'], 3)}"


def _cost(entry: Json) -> Markup:
    """Seconds of training over everything that was tried."""
    tried, seeds = entry["tried"], entry["seeds"]
    return stacked(f"{number(entry['seconds'], 0)} s", f"{count(tried)} tried", f"{count(seeds)} seed{'s' * (seeds != 1)}")


def _worst(document: Json, entry: Json) -> str:
    known = [(x["value"], g, x) for g, x in zip(document["groups"], entry["held_out"]) if x["value"] is not None]
    if not known:
        return NONE
    _, group, estimate = min(known, key=lambda k: k[0])
    return shown(estimate, "share", f"{group}; {people(estimate)}")


def _beaten(entry: Json) -> str:
    by = entry["dominated_by"]
    return f"{', '.join(by[:2])}{f' and {len(by) - 2} more' * (len(by) > 2)}" if by else "none"


def _by_group(document: Json) -> Table:
    rows = [
        (e["name"], group, words.share(x), *counts(x)) for e in of.running(document) for group, x in zip(document["groups"], e["held_out"])
    ]  # fmt: skip
    return listed(
        "Accuracy by group on test pairs",
        ("entry", "group", "accuracy (95 % interval)", "users", "pairs"),
        rows,
        "results.csv",
        (),
        (0, 1),
    )


def front(document: Json) -> Panel:
    """Panel 8 of the report's plan."""
    key, name, found = "frontier", "The frontier", document["front"]
    if not of.running(document):
        return Panel(key, name, empty="No entry has numbers, so there is nothing to draw.")
    table = _both_splits(document)
    places = _places(document) if found and not found["suppressed"] else []
    if len(places) < 2 or not any(p.is_best for p in places) or not any(p.is_reference for p in places):
        return Panel(key, name, (Figure(said.front_sentence(document), "", "", "", table),))
    is_plane = len(document["groups"]) == 2
    axes = (
        (f"accuracy, {document['groups'][0]}", f"accuracy, {document['groups'][1]}")
        if is_plane
        else ("accuracy, all users", "accuracy, worst-served")
    )
    wide, narrow = drawn(lambda w: frontier(places, axes, is_plane, w))
    return Panel(key, name, (Figure(said.front_sentence(document), wide, narrow, PLANE if is_plane else SPACE, table),))


PLANE = (
    "Up and to the right is better for both groups. Crosses: 95 % intervals. Steps: the entries that no other one equals or exceeds in both groups on "
    "validation pairs; on test pairs the same entries, and dotted what would have been the front there. Hollow beside filled: what validation promised over "
    "the reference, and what test pairs gave; the way between is what choosing flattered. The shaded area is what all these entries together win over the reference."
)
SPACE = (
    "There are more than two groups, so entries are drawn by all users and by the group each serves worst; entries on the front of all groups "
    "together need not lie on a line here. Crosses: 95 % intervals. Hollow beside filled: what validation promised over the reference, and what test pairs gave."
)


def _places(document: Json) -> list[Place]:
    front = document["front"]

    def at(estimates: Sequence[Json]) -> tuple[Json, Json] | None:
        groups = estimates[: len(document["groups"])]
        known = [x for x in groups if x["value"] is not None]
        ends = (groups[0], groups[1]) if len(groups) == 2 else (estimates[-1], min(known, key=lambda x: x["value"])) if known else None
        return ends if ends and None not in (ends[0]["value"], ends[1]["value"]) else None

    out, label = [], of.labels([e["name"] for e in of.running(document)])
    for e in of.running(document):
        selection, held_out = at(e["selection"]), at(e["held_out"])
        if selection and held_out:
            out.append(
                Place(
                    label[e["name"]], selection, held_out, e["name"] in front["best"], e["name"] in front["best_held_out"],
                    e["name"] == front["reference"], e["name"] == front["chosen"], e["name"] == front["knee"],
                )
            )  # fmt: skip
    return out


def _both_splits(document: Json) -> Table:
    places = [*range(len(document["groups"])), len(document["groups"])]
    places = places if len(places) <= MOST_GROUPS + 1 else places[-1:]
    front = document["front"] or {"best": [], "best_held_out": []}
    columns = ["entry", "on the front of"]
    columns += [f"{of.group_label(document, c)}, {split}" for c in places for split in ("validation", "test")]
    rows = []
    for e in of.running(document):
        where = [split for split, key in (("validation", "best"), ("test", "best_held_out")) if e["name"] in front[key]]
        rows.append((
            marked(document, e), " and ".join(where) or NONE,
            *(shown(e[split][c]) if e[split] else NONE for c in places for split in ("selection", "held_out")),
        ))  # fmt: skip
    valid = [e["selection"][-1] for e in of.running(document) if e["selection"]]
    about = f"Accuracy on validation pairs ({people(valid[0]) if valid else 'none'}) and on test pairs ({_evidence(document)})"
    return listed(about, columns, rows, "results.csv", (), (0, 1))


def pairwise(document: Json) -> Panel:
    key, name = "pairwise", "Who beats whom"
    ran = [e["name"] for e in of.running(document)]
    if not document["pairwise"]:
        return Panel(key, name, empty="Fewer than two entries have numbers, so there is nothing to compare.")
    best = of.chosen(document)
    reference = of.reference(document) or ran[0]
    centre = list(dict.fromkeys((best["name"] if best else reference, reference)))
    is_whole = len(ran) <= MOST_IN_MATRIX
    rows, columns = (ran, ran) if is_whole else (of.drawn_names(document), centre)
    verdicts = {(d["first"], d["second"]): d["verdict"] for d in document["pairwise"]}
    verdicts |= {(b, a): of.MIRROR.get(v, "") for (a, b), v in verdicts.items()}
    places = [ran.index(r) for r in rows], [ran.index(c) for c in columns]
    label = of.labels(ran)
    told = {(label[a], label[b]): v for (a, b), v in verdicts.items()}
    wide, narrow = drawn(lambda w: matrix([label[n] for n in ran], *places, told, label[best["name"]] if best else "", w))
    note = "Read: the row against the column of that number. "
    if not is_whole:
        note += f"Columns: {', '.join(f'{ran.index(c) + 1} {c}' for c in centre)}; drawn: {len(rows)} of {len(ran)} entries; all pairwise comparisons are in pairwise.csv. "
    note += "“Clearly”: every group’s interval lies on one side; “trades”: one group gains and another loses, beyond noise."
    figures = [Figure(said.pairwise_sentence(document), wide, narrow, note, _pairwise(document, centre))]
    others = [e for e in of.running(document) if e["name"] != reference]
    if others and _shown_groups(document, reference):  # none where every group is too small to be shown
        figures.append(_gains(document, reference, others))
    return Panel(key, name, tuple(figures))


def _pairwise(document: Json, centre: Sequence[str]) -> Table:
    """Pairwise comparisons of the choice and the reference first, seen from these."""
    found = sorted(
        document["pairwise"], key=lambda d: min((centre.index(n) for n in (d["first"], d["second"]) if n in centre), default=len(centre))
    )
    rows = []
    for pair in found:
        turned = pair["second"] in centre and (pair["first"] not in centre or centre.index(pair["second"]) < centre.index(pair["first"]))
        first, second = (pair["second"], pair["first"]) if turned else (pair["first"], pair["second"])
        differences, verdict = of.seen(pair, first)
        groups = [d for d in differences if d["value"] is not None][:MOST_GROUPS]
        cells = [shown(d, "points", people(d)) for d in differences[:MOST_GROUPS]]
        cells += [NONE] * (min(len(document["pairwise"][0]["differences"]), MOST_GROUPS) - len(cells))
        if len(document["seeds"]) > 1:
            units = [f"{interval(a)} / {interval(b)}" for a, b in of.by_unit(pair, first)[:MOST_GROUPS]]
            cells += units or [NONE] * len(cells)
        rows.append((first, f"{of.SIGNS.get(verdict, '')} {verdict}" if groups else "not shown", second, *cells))
    names = [d["group"] for d in document["pairwise"][0]["differences"][:MOST_GROUPS]]
    columns: tuple[str, ...] = ("entry", "verdict", "against", *(f"{n}, points" for n in names))
    if len(document["seeds"]) > 1:
        columns += tuple(f"{n}: in these deals / by run" for n in names)
    return listed(
        "Differences of accuracy on test pairs; their 95 % intervals hold for all pairwise comparisons and groups at once, and draw users, what these share, and deals",
        columns,
        rows,
        "pairwise.csv",
        (),
        (0, 1, 2),
    )


def interval(e: Json) -> str:
    """ "−1.2 to 3.4", in points."""
    return NONE if e["low"] is None else f"{points(e['low'], True)} to {points(e['high'], True)}"


def _gains(document: Json, reference: str, others: Sequence[Json]) -> Figure:
    found = {e["name"]: (of.versus(document, e["name"], reference) or ([], ""))[0] for e in others}
    groups = _shown_groups(document, reference)
    names = [n for n in of.drawn_names(document) if n != reference]
    by = {(n, d["group"]): d for n in names for d in found[n]}
    axes = [
        Strip(f"{g if g != 'all' else 'all users'}, points", [Series("", [by.get((n, g), NOTHING) for n in names])], 100, "", True) for g in groups
    ]  # fmt: skip
    label = of.labels([e["name"] for e in of.running(document)])
    wide, narrow = drawn(lambda w: strips("gains", [label[n] for n in names], axes, w))
    rows = [
        (n, *(shown(by.get((n, g)), "points") for g in groups), *counts(found[n][-1] if len(groups) == 1 else _widest(found[n], of.whole(document)))) for n in names
    ]  # fmt: skip
    columns = ("entry", *(f"{g if g != 'all' else 'all users'}, points" for g in groups), "users", "pairs")
    note = "Right of the line is better than the reference. Intervals hold for all pairwise comparisons and groups at once, so they are wider than single ones."
    if len(document["groups"]) > 3:
        note += " Drawn: the groups that the reference serves worst on validation pairs; all are in pairwise.csv."
    table = listed(f"Gain in accuracy over {reference} on test pairs", columns, rows, "pairwise.csv")
    return Figure(said.gain_sentence(document, reference, others), wide, narrow, note, table)


def _shown_groups(document: Json, reference: str) -> list[str]:
    """Groups to draw: those with differences, and of many the three that the reference serves worst on validation pairs."""
    known = {d["group"] for pair in document["pairwise"] for d in pair["differences"] if d["value"] is not None}
    base = of.entry(document, reference)
    if "all" in known - set(document["groups"]) or base is None:
        return ["all"]
    groups = [(e["value"], g) for g, e in zip(document["groups"], base["selection"]) if g in known and e["value"] is not None]
    few = {g for _, g in sorted(groups)[:3]}
    return [g for _, g in groups if g in few]


def _widest(differences: Sequence[Json], everybody: Json | None) -> Json:
    """The users and pairs of all groups together; who is in one group by one deal and in another by the next counts once."""
    known = [d for d in differences if d["n_users"] is not None]
    users = sum(d["n_users"] for d in known)
    there = everybody["n_users"] if everybody and everybody["n_users"] is not None else users
    return {"n_users": min(users, there), "n_pairs": sum(d["n_pairs"] for d in known)}

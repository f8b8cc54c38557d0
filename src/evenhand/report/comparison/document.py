"""Comparison → the one JSON document that every output of `compare` and `sweep` is printed from; small cells lose their numbers here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evenhand.audits.findings import to_json
from evenhand.audits.ranking import dominance
from evenhand.audits.results import Comparison, ConstraintFront, Front, Pairwise
from evenhand.report.comparison.words import CONSTRAINT_FORMULAS, FORMULAS
from evenhand.report.public import TWIN, is_small, may_be_named, one_line, printable, suppress, suppress_estimates

Json = dict[str, Any]


def publish(found: Comparison) -> Json:
    """The results' own fields, plus `format`, `formulas` and, of every entry, `dominates` and `dominated_by`: names of entries.

    Suppressed numbers are null. A verdict between two entries is that of the differences that are shown.
    """
    names = _distinct([e.name for e in found.entries])
    groups = _distinct(found.groups)
    small = {i for e in found.entries for i, at in enumerate(zip(e.selection, e.held_out)) if any(is_small(a.n_users) for a in at)}
    hidden = {g for i, g in enumerate(found.groups) if i in small}
    document = printable(to_json(found) | {"pairwise": [_pair(d, names, groups, hidden) for d in found.pairwise]})
    document["groups"] = [groups[g] for g in found.groups]
    for entry, record in zip(document["entries"], found.entries):
        entry["name"] = names[record.name]
        _suppress_entry(entry, small)
    if found.front:
        document["front"] = _front(found.front, names, bool(hidden) and len(found.groups) - len(hidden) < 2)
    few = {c.notion for c in found.events if is_small(c.selection_users) or is_small(c.held_out_users)}
    document["constraint_fronts"] = [_constraint_front(f, names, f.notion in few) for f in found.constraint_fronts]
    for entry in document["entries"]:
        _suppress_violations(entry, few)
    for count in document["events"]:
        for split in ("selection", "held_out"):
            if is_small(count[f"{split}_users"]):
                count.update({f"{split}_users": None, f"{split}_pairs": None})
    _note_dominance(document)
    suppress_estimates(document)
    shown = set(document["groups"]) - {groups[g] for g in hidden}
    by_group = document["exclusions"]["by_group"]
    tiny = {groups[g] for g in hidden}
    document["exclusions"]["by_group"] = {key: reasons for key, reasons in by_group.items() if may_be_named(key, reasons, tiny, shown)}
    formulas = FORMULAS | (CONSTRAINT_FORMULAS if document["constraint_fronts"] else {})
    return {"format": "evenhand comparison 1", **document, "formulas": formulas}


def _distinct(texts: Iterable[str]) -> dict[str, str]:
    """Text → one printable line of its own: two names that look alike stay two."""
    out: dict[str, str] = {}
    for text in texts:
        shown = one_line(text)
        while shown in out.values():
            shown += TWIN
        out.setdefault(text, shown)
    return out


def _pair(pair: Pairwise, names: Mapping[str, str], groups: Mapping[str, str], hidden: set[str]) -> Json:
    shown = [d for d in pair.differences if d.group not in hidden and not is_small(d.n_users)]
    verdict = pair.verdict if len(shown) == len(pair.differences) else dominance(shown) if shown else ""
    told = {"differences": pair.differences, "in_these_deals": pair.in_these_deals, "by_run": pair.by_run}
    lists = {name: [to_json(d) for d in some] for name, some in told.items()}
    for difference in (d for some in lists.values() for d in some):
        if difference["group"] in hidden:
            suppress(difference)
        difference["group"] = groups.get(difference["group"], difference["group"])
    return {"first": names[pair.first], "second": names[pair.second], **lists, "verdict": verdict}


def _suppress_entry(entry: Json, small: set[int]) -> None:
    """A small group's numbers, and what would give them away: the gap to it, and its seen users where its unseen ones are few."""
    for i in small & set(range(len(entry["held_out"]))):
        for estimates in (entry["selection"], entry["held_out"], *entry["cells"].values()):
            suppress(estimates[i])
        entry["over_seeds"][i] = None
    for column in zip(*entry["cells"].values()):
        if any(is_small(e["n_users"]) for e in column):
            for estimate in column:
                suppress(estimate)
    for metric in entry["unfairness"]:
        if metric["name"] == "gap" and small & {0, 1}:
            for estimate in (metric["value"], metric["difference"]):
                if estimate:
                    suppress(estimate)


def _front(front: Front, names: Mapping[str, str], is_hidden: bool) -> Json:
    """The choice stays in any case; where a group is hidden, so is the shape of the front, which is made of its numbers."""
    out: Json = printable(to_json(front)) | {
        "reference": names[front.reference], "chosen": names[front.chosen], "knee": names.get(front.knee, ""),
        "best": [names[n] for n in front.best], "best_held_out": [names[n] for n in front.best_held_out], "suppressed": is_hidden,
    }  # fmt: skip
    if is_hidden:
        out.update(best=[], best_held_out=[], knee="", hypervolume_selection=None, hypervolume_held_out=None)
    return out


def _constraint_front(front: ConstraintFront, names: Mapping[str, str], is_hidden: bool) -> Json:
    """Nothing of a front is shown where an event is small: every place on it is a distance between events."""
    out: Json = printable(to_json(front)) | {
        "reference": names[front.reference], "chosen": names.get(front.chosen, ""), "knee": names.get(front.knee, ""),
        "nearest": names[front.nearest], "lines": [[names[n] for n in line] for line in front.lines], "best": [names[n] for n in front.best],
        "best_held_out": [names[n] for n in front.best_held_out], "suppressed": is_hidden,
    }  # fmt: skip
    if is_hidden:
        out.update(best=[], best_held_out=[], knee="", chosen="", nearest="", hypervolume_selection=None, hypervolume_held_out=None)
        out.update(noise_selection=None, noise_held_out=None)
    return out


def _suppress_violations(entry: Json, few: set[str]) -> None:
    """Where an event is small no violation is shown, nor which two events are furthest apart. A difference speaks of no event alone, but with
    the reference's violation it would give an entry's away.
    """
    for found in entry["violations"]:
        if found["notion"] in few:
            for estimate in (e for e in found.values() if isinstance(e, dict)):
                suppress(estimate)
                estimate["group"] = ""


def _note_dominance(document: Json) -> None:
    beats: dict[str, list[str]] = {e["name"]: [] for e in document["entries"]}
    beaten: dict[str, list[str]] = {e["name"]: [] for e in document["entries"]}
    for pair in document["pairwise"]:
        ends = pair["first"], pair["second"]
        if pair["verdict"].startswith("is dominated"):
            ends = ends[::-1]
        elif not pair["verdict"].startswith("dominates"):
            continue
        beats[ends[0]].append(ends[1])
        beaten[ends[1]].append(ends[0])
    for entry in document["entries"]:
        entry.update(dominates=beats[entry["name"]], dominated_by=beaten[entry["name"]])

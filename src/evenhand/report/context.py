"""Panels 6, 7, 9 and 10: what else could explain it, what a change did, how training went, where the data went."""

from __future__ import annotations

from typing import Any

from evenhand.report import plots, rowplots, words
from evenhand.report.layout import MOST_FIGURES, MOST_ROWS, Figure, Panel, counts, drawn, listed, without_number
from evenhand.report.words import count, difference, number, share

Json = dict[str, Any]


COUNTED = ("pairs", "truncated", "identical_after_truncation", "hardly_read", "dropped", "tied", "no_preference")


def confounds(model: Json, lost: Json) -> Panel:
    """lost: the exclusions, whose total stands below the table, since not every row left out can be told to a group."""
    key, name = "confounds", "What else could explain it"
    figures = tuple(_confound(c, model["overall"], i) for i, c in enumerate(model["confounds"][:MOST_FIGURES]))
    empty = "" if figures else "No nuisance was measured: there are no texts to take lengths from, and no labels were given."
    if not model["counts"]:
        return Panel(key, name, figures, empty=empty)
    small = [i for i, c in enumerate(model["counts"]) if c["pairs"] is None]
    rows = [(c["group"], *(_counted(c, k, i in small) for k in COUNTED)) for i, c in enumerate(model["counts"])]
    columns = ("group", *(k.replace("_", " ") for k in COUNTED))
    table = listed("What happened to each group’s pairs", columns, rows, "counts.csv", small)
    out = lost["rows_in"] - lost["rows_used"]
    note = f"{words.left_out_sentence(lost)} The last panel has every reason." if out else ""
    return Panel(key, name, figures, (table,), (note,) if note else (), empty=empty)


def _counted(counts: Json, key: str, is_small: bool) -> str:
    """A count; what nobody counted is told from 0 and from what is hidden."""
    return "not measured" if counts[key] is None and not is_small else count(counts[key])


def _confound(confound: Json, overall: Json, i: int) -> Figure:
    rows = [(label, share(e), *counts(e)) for label, e in confound["bins"]]
    table = listed(
        f"Accuracy by {confound['name']}",
        (confound["name"], "accuracy (95 % interval)", "users", "pairs"),
        rows,
        "confounds.csv",
        without_number([e for _, e in confound["bins"]]),
    )
    drawable = any(e["value"] is not None for _, e in confound["bins"])
    wide, narrow = drawn(lambda w: rowplots.confound(confound, overall, f"confound-{i}", w)) if drawable else ("", "")
    return Figure(
        words.confound_sentence(confound),
        wide,
        narrow,
        "A model that merely follows this feature shows a steep slope here." if drawable else "",
        table,
    )


def changes(found: list[Json]) -> Panel:
    key, name = "change", "Before and after"
    if not found:
        return Panel(key, name, empty="Only one model was audited, so there is nothing to compare.")
    return Panel(key, name, tuple(_change(c, i) for i, c in enumerate(found[:MOST_FIGURES])))


def _change(change: Json, i: int) -> Figure:
    rows = [
        (r["group"], share(r["before"]), share(r["after"]), difference(r["difference"]), *counts(r["difference"])) for r in change["rows"]
    ]
    gaps = (
        "gap, points",
        difference(change["gap_before"]),
        difference(change["gap_after"]),
        difference(change["gap_change"]),
        *counts(change["gap_change"]),
    )
    columns = ("group", f"before: {change['before']}", f"after: {change['after']}", "difference, points", "users", "pairs")
    table = listed(
        "Paired by pair, with 95 % intervals",
        columns,
        [gaps, *rows],
        "changes.csv",
        [j + 1 for j in without_number([r["difference"] for r in change["rows"]])],
    )
    drawable = any(None not in (r["difference"]["value"], r["before"]["value"], r["after"]["value"]) for r in change["rows"])
    wide, narrow = drawn(lambda w: rowplots.change(change, f"change-{i}", w)) if drawable else ("", "")
    return Figure(words.change_sentence(change), wide, narrow, change["verdict"], table)


def training(traces: list[Json], more: tuple[Figure, ...] = ()) -> Panel:
    """more: figures of what else was watched, such as constraints."""
    key, name = "training", "Training health"
    if not traces:
        return Panel(key, name, more, empty="" if more else "Nothing was trained: the audited scores came from outside.")
    shown = [t for t in traces if len(t["train_loss"]) > 1 and any(v is not None for v in (*t["train_loss"], *t["valid_loss"]))][
        :MOST_FIGURES
    ]
    columns: tuple[str, ...] = ("method", "seed", "epochs", "epoch kept", "validation loss there", "seconds", "pairs a second")
    rows: list[tuple[str, ...]] = [
        (
            t["method"],
            str(t["seed"]),
            count(len(t["train_loss"])) if len(t["train_loss"]) > 1 else "one step",
            count(t["best_epoch"]) if len(t["train_loss"]) > 1 else words.NONE,
            number(_kept_loss(t), 4),
            number(t["seconds"], 1),
            number(t["pairs_per_second"], 0),
        )
        for t in traces
    ]
    if any(t["settings"] for t in traces):
        columns, rows = (*columns, "settings"), [(*row, words.settings(t["settings"]) or words.NONE) for row, t in zip(rows, traces)]
    table = listed("The fits", columns, rows, "training.csv", text=(0, 7))
    figures = (*(_training(t, i) for i, t in enumerate(shown)), *more)
    return Panel(key, name, figures, (table,), finding=words.training_sentence(traces))


def _kept_loss(trace: Json) -> float | None:
    best = trace["best_epoch"]
    return trace["valid_loss"][best - 1] if 0 < best <= len(trace["valid_loss"]) else None


def _training(trace: Json, i: int) -> Figure:
    by_epoch = list(zip(trace["train_loss"], trace["valid_loss"])) if trace["valid_loss"] else [(v, None) for v in trace["train_loss"]]
    rows = [(str(epoch), number(a, 4), number(b, 4)) for epoch, (a, b) in enumerate(by_epoch, 1)]
    wide, narrow = drawn(lambda w: plots.training(trace, f"training-{i}", w))
    kept = _kept_loss(trace)
    name, epochs = f"{trace['method']}, seed {trace['seed']}", len(trace["train_loss"])
    losses = [v for v in trace["valid_loss"] if v is not None]
    sentence = f"{name}: epoch {trace['best_epoch']} of {epochs} was kept, with a validation loss of {number(kept, 3)}"
    sentence += " (the lowest)." if losses and kept == min(losses) else f"; the lowest is {number(min(losses), 3)}." if losses else "."
    rule = "" if losses and kept == min(losses) else "The method’s own rule decides which epoch is kept."
    if trace["limited"]:
        rule = "Kept: of the epochs within the constraint the one with the lowest validation loss; without any, the one nearest to it."
    if trace["by_group"]:
        rule = "Kept: by the validation losses of the groups, as far as their sizes let them tell epochs apart; the curve is the mean over users."
    if trace["best_epoch"] == 0:
        sentence = f"{name}: no epoch of {epochs} improved on the start, which was kept."
    return Figure(
        sentence,
        wide,
        narrow,
        rule,
        listed("Loss by epoch", ("epoch", "training", "validation"), rows, "report.json"),
    )


def data(document: Json) -> Panel:
    lost = document["exclusions"]
    rows = [
        (f"{lost['unit']} in", count(lost["rows_in"])),
        *((f"excluded: {reason}", count(n)) for reason, n in lost["reasons"].items()),
        (f"{lost['unit']} used", count(lost["rows_used"])),
    ]
    tables = [listed(f"Where all {lost['unit']} went", (lost["unit"], "count"), rows, "exclusions.csv")]
    by_group = [(group, reason, count(n)) for group, reasons in lost["by_group"].items() for reason, n in reasons.items()]
    if by_group:
        tables.append(
            listed(f"Excluded {lost['unit']} by group", ("group", "reason", lost["unit"]), by_group, "exclusions.csv", text=(0, 1))
        )
    how = ("How it was made", ("fact", "value"), document["facts"]), ("Formulas", ("quantity", "formula"), document["formulas"])
    for caption, columns, pairs in how:
        if pairs:
            tables.append(listed(caption, columns, list(pairs.items()), "report.json", text=(0, 1)))
    out = lost["rows_in"] - lost["rows_used"]
    finding = (
        f"{count(lost['rows_used'])} of {count(lost['rows_in'])} {lost['unit']} were used; {count(out)} were left out, each with a reason."
        if lost["rows_in"]
        else ""
    )
    return Panel("data", "Data, method, limits", (), tuple(tables), tuple(document["limits"][:MOST_ROWS]), finding)

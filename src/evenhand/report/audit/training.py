"""The panel of fits: losses by epoch, violations and multipliers of constrained ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest

from evenhand.audits import findings as f
from evenhand.report.audit import sentences
from evenhand.report.audit.panels import MOST_FIGURES
from evenhand.report.figures import curves
from evenhand.report.numbers import capital, count, decimals, is_known, points
from evenhand.report.page import Cell, Column, Figure, Panel, Table, plain_table


def training(traces: Sequence[f.TrainingTrace], constraints: Sequence[f.ConstraintFindings]) -> Panel:
    """How fits went: losses by epoch, then violations and multipliers of constrained ones."""
    drawn = [t for t in traces if len(t.train_loss) > 1 and any(map(is_known, (*t.train_loss, *t.valid_loss)))][:MOST_FIGURES]
    fits: list[tuple[Cell, ...]] = []
    for t in traces:
        epochs: tuple[Cell, Cell] = (count(len(t.train_loss)), t.best_epoch) if len(t.train_loss) > 1 else ("one step", None)
        fits.append((t.method, str(t.seed), *epochs, sentences.kept_loss(t), t.seconds, t.pairs_per_second))
    columns = (
        Column("method"), Column("seed"), Column("epochs"), Column("epoch kept", count), Column("validation loss there", decimals(4)),
        Column("seconds", decimals(1)), Column("pairs a second", decimals(0)),
    )  # fmt: skip
    chosen = tuple((t.method, str(t.seed), sentences.settings(t.settings)) for t in traces if t.settings)
    tables = (Table("The fits", columns, tuple(fits)), Table("Hyperparameters", (*columns[:2], Column("settings")), chosen))
    bound = [(i, c, c.fitted) for i, c in enumerate(constraints) if c.fitted][:MOST_FIGURES]
    figures = (*(_losses(t, i) for i, t in enumerate(drawn)), *(_fit(i, c, fitted) for i, c, fitted in bound))
    finding, others = sentences.training_sentence(traces) if traces else "", tuple(_epochs(t) for t in traces if t not in drawn)
    return Panel("training", "Training health", finding, figures, tables, csv_only=others)


def _losses(trace: f.TrainingTrace, i: int) -> Figure:
    sentence, rule = sentences.epoch_sentence(trace)
    plot = partial(curves.losses, f"training-{i}", trace.train_loss, trace.valid_loss, trace.best_epoch)
    return Figure(sentence, plot, rule, _epochs(trace))


def _epochs(t: f.TrainingTrace) -> Table:
    """Losses of a fit, as the page and training.csv have them."""
    about = t.seconds, t.pairs_per_second, sentences.settings(t.settings)
    losses = enumerate(zip_longest(t.train_loss, t.valid_loss[: len(t.train_loss)]), 1)
    rows = tuple((t.method, t.seed, epoch, train, valid, epoch == t.best_epoch, *about) for epoch, (train, valid) in losses)
    columns = (
        Column("method", on_page=False), Column("seed", on_page=False), Column("epoch", count), Column("training", decimals(4), "train_loss"),
        Column("validation", decimals(4), "valid_loss"), *(Column(h, on_page=False) for h in ("kept", "seconds", "pairs_per_second", "settings")),
    )  # fmt: skip
    return Table("Loss by epoch", columns, rows, "training")


def _fit_by_epoch(fitted: f.FittedConstraints) -> Iterator[tuple[float | None, float | None, tuple[float, ...]]]:
    """Violations in training and in validation, and multipliers, where these were taken."""
    for train, valid, values in zip_longest(fitted.train_violation, fitted.valid_violation, fitted.multipliers):
        yield train, valid, values or ()


def multipliers(found: Sequence[f.ConstraintFindings]) -> Table:
    """A row an epoch and multiplier of each constrained fit."""
    rows: list[tuple[Cell, ...]] = []
    for notion, fitted in ((c.notion, c.fitted) for c in found if c.fitted):
        for epoch, (train, valid, values) in enumerate(_fit_by_epoch(fitted), 1):
            rows += [(notion, epoch, epoch == fitted.best_epoch, train, valid, name, m) for name, m in zip(fitted.names, values)]
    heads = ("notion", "epoch", "kept", "train_violation", "valid_violation", "constraint", "multiplier")
    return plain_table("Multipliers", heads, rows, "multipliers")


def _fit(i: int, constraint: f.ConstraintFindings, fitted: f.FittedConstraints) -> Figure:
    largest, three = curves.largest_multiplier(fitted), decimals(3)
    rows = tuple(
        (epoch, train, valid, None if largest is None else next(iter(values[largest:]), None), sum(filter(is_known, values)))
        for epoch, (train, valid, values) in enumerate(_fit_by_epoch(fitted), 1)
    )
    columns = (
        Column("epoch", count), Column("violation in training, points", points), Column("in validation, points", points),
        Column("largest multiplier" if largest is None else f"multiplier of {fitted.names[largest]}", three), Column("sum of all multipliers", three),
    )  # fmt: skip
    drawable = any(map(is_known, (*fitted.train_violation, *fitted.valid_violation)))
    note = (
        f"Multipliers are {fitted.multiplier} and follow the violations by {fitted.dual} decisions: they grow while a constraint is "
        "violated and sink while it is not."
    )
    table = Table(f"Violations and multipliers by epoch: {constraint.name}", columns, rows, elsewhere="multipliers")
    sentence = f"{capital(constraint.name)}: {sentences.lowered(constraint.training)}"
    return Figure(sentence, partial(curves.multipliers, f"constrained-{i}", fitted) if drawable else None, note, table)

"""The panels of an audit in the order of decisions, from published findings; constraints and training have files of their own. What the first
screen shows, a panel does not repeat: it holds the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import nan

from evenhand.audits import findings as f
from evenhand.audits.dealt import OverDeals
from evenhand.core import Estimate
from evenhand.report.audit import sentences
from evenhand.report.figures import curves, intervals
from evenhand.report.numbers import (
    NONE,
    Show,
    count,
    decimals,
    has_value,
    is_known,
    number,
    of_any_size,
    p_value,
    percent,
    points,
    shown,
    signed_points,
)
from evenhand.report.page import COUNTS, Cell, Column, Figure, Panel, Table, counts, data_panel
from evenhand.report.verdicts import is_share

MOST_FIGURES = 4  # of one panel; the tables and CSV files hold the rest
FIRST_DEAL = "First deal: "
STROKE = "Upright stroke: a group whose true accuracy lies left of its stroke would be told from all users four times in five."
STANDS_OUT = "“Stands out” allows for the number of groups (Benjamini-Hochberg, 10 %)."
SHUFFLED = "Users were shuffled over groups of the same sizes: a spread inside the shaded bar is what equal groups would show as well."
DRAWN_ANEW = "What users share, prompts or responses, was drawn anew with each shuffle."
RAW = "Users have few pairs each, so the raw curve is mostly noise; the shrunken one is the beta-binomial estimate."
UNMEASURED = "No nuisance was measured: there are no texts to take lengths from, and no labels were given."
AGREEMENT = (
    "Own agreement is Krippendorff’s alpha of the group’s users on the pairs they share (1 = they all agree, 0 = as if by chance): "
    "where it is low, no model without a view of the user can do well."
)
DEALS = (
    "Each deal has other test {unit} and trains anew; intervals draw users, what they share, and deals. A user of several deals is one user, in "
    "the group of each deal. The saved model and all other panels are the first deal’s."
)
TITLES = {"margin": "mean margin", "log_loss": "log-loss", "ece": "ECE", "ceiling": "own agreement"}
SHOWS: Mapping[str, Show] = {"accuracy": percent, "ece": percent, "margin": of_any_size, "ceiling": number}


def title(metric: str) -> str:
    return TITLES.get(metric, metric.replace("_", " "))


def show(metric: str) -> Show:
    return SHOWS.get(metric, decimals(3))


def by_metric(model: f.ModelFindings) -> dict[str, tuple[Estimate | None, ...]]:
    """Each metric's estimates, one a group: those of METRICS, whichever these are, then calibration and agreement."""
    of = {name: tuple(vars(g)[name] for g in model.groups) for name in ("accuracy", "margin", "log_loss", "ece", "ceiling")}
    last = {name: of.pop(name) for name in ("ece", "ceiling")}
    return of | {m.name: m.groups for m in model.metrics} | last


# --- who is served how well ---


def support(model: f.ModelFindings) -> tuple[Panel | None, tuple[Figure, ...]]:
    """Accuracy against support, and the figure of it for the first screen, where support varies."""
    curve = model.support
    if curve is None or not has_value(model.overall):
        return None, ()
    rows = tuple((f"{points(b.low)} to {percent(b.high)}", b.low, b.high, b.mean, b.accuracy, *counts(b.accuracy)) for b in curve.bins)
    columns = (
        Column("support", in_csv=False), Column("support_low", on_page=False), Column("support_high", on_page=False),
        Column("mean support", percent, "support_mean"), Column("accuracy", percent), *COUNTS,
    )  # fmt: skip
    sentence, rank, rule = sentences.support_sentence(curve), curve.correlation, curve.rule.rstrip(".")
    notes = (
        sentences.low_support_sentence(curve),
        f"Rank correlation with support: {shown(rank, number)}; {rank.n_users:,} users, {rank.n_pairs:,} pairs." if has_value(rank) else "",
        f"{rule if rule.startswith('Support') else f'Support: {rule}'}." if rule else "",
    )
    table = Table("Accuracy by support bin, with 95 % intervals", columns, rows, "support")
    is_constant, is_trend = sentences.is_constant(curve), bool(sentences.trend(curve))
    finding = sentence if is_constant else ""
    panel = Panel("support", "Accuracy against preference support", finding, tables=(table,), notes=tuple(filter(None, notes)))
    plot = partial(curves.support, curve.bins, curve.users, curve.line, model.overall, is_trend)
    return panel, () if is_constant else (Figure(sentence, plot, "A flat line is even-handed.", section=panel.key),)


def groups(found: f.FairnessReport, required: f.Requirement | None) -> tuple[Panel, tuple[Figure, ...]]:
    """Every group by every metric, the models side by side, and the figure of the groups for the first screen."""
    model, listed = found.model, sorted(found.model.groups, key=_rank)
    models = (model, *found.others, *found.cells)
    names = list(dict.fromkeys(name for m in models for name in by_metric(m)))
    more = [name for name in dict.fromkeys(x.name for m in models for x in m.metrics) if name != "accuracy"]
    columns = (
        Column("group"), Column("detectable, points", points), Column("against all others", on_page=any(is_known(g.p_value) for g in listed)),
        Column("excluded because", on_page=any(g.excluded for g in listed)),
    )  # fmt: skip
    against = tuple((g.group, g.mde, _against(g), g.excluded) for g in listed) if len(listed) > 1 else ()
    tables = (
        _by_group(model, names),
        Table("Each group against all others", columns, against, grey=_excluded(listed), elsewhere="groups"),
        _accuracies("Models on the same pairs", (model, *found.others), more, "model" if found.others else ""),
        _by_all(model),
        _accuracies("The audited model by seen and unseen users and prompts", found.cells, more, "split"),
    )
    rule = found.groups_rule  # the panel of support says how support is measured
    rule = rule.removesuffix(model.support.rule) if model.support and rule.endswith(f" {model.support.rule}") else rule
    notes = [f"{'' if rule.startswith('Groups') else 'Groups: '}{rule.rstrip('. ')}." if rule else "", sentences.ungrouped_sentence(model)]
    notes += [STANDS_OUT if any(g.notable for g in listed) else "", AGREEMENT if any(g.ceiling for g in listed) else ""]
    finding = FIRST_DEAL + sentences.lowered(sentences.gap_sentence(model)) if found.deals else ""
    others = tuple(_by_group(m, names) for m in models[1:])
    return Panel("groups", "Groups", finding, (), tables, tuple(filter(None, notes)), others), _forest(found, required)


def _by_group(model: f.ModelFindings, names: Sequence[str]) -> Table:
    """A row a group, as the page and groups.csv have them; names: the metrics of all models."""
    of, order = by_metric(model), sorted(enumerate(model.groups), key=lambda group: _rank(group[1]))
    rows: list[tuple[Cell, ...]] = []
    for i, g in order:
        size = (None, None) if g.accuracy.suppressed else (g.n_users, g.n_pairs)
        about = model.model, model.split, g.group, *counts(g.accuracy), *size, g.mde, g.p_value, g.notable, g.excluded
        rows.append((*about, *(of[name][i] if name in of else None for name in names)))
    only_csv = [Column(h, on_page=False) for h in ("model", "split", "n_users", "n_pairs", "mde", "p_value", "notable", "excluded")]
    columns = (*only_csv[:2], Column("group"), *COUNTS, *only_csv[2:], *(Column(title(name), show(name), name) for name in names))
    return Table("Each group by metric, with 95 % intervals", columns, tuple(rows), "groups", _excluded([g for _, g in order]))


def _excluded(groups: Sequence[f.GroupFinding]) -> frozenset[int]:
    return frozenset(i for i, g in enumerate(groups) if g.excluded)


def _rank(group: f.GroupFinding) -> tuple[bool, bool, float, str]:
    """By accuracy, then the excluded, then those without a number."""
    return not has_value(group.accuracy), bool(group.excluded), group.accuracy.value if has_value(group.accuracy) else 0.0, group.group


def _against(group: f.GroupFinding) -> str:
    """Exploration, not a verdict: the p-value, and whether the group stands out once the number of groups is allowed for."""
    return p_value(group.p_value) + (", stands out" if group.notable else "") if is_known(group.p_value) else NONE


def _forest(found: f.FairnessReport, required: f.Requirement | None) -> tuple[Figure, ...]:
    """The groups with their intervals. The band is the tolerance of `required`."""
    model = found.model
    known = [g for g in sorted(model.groups, key=_rank) if has_value(g.accuracy)]
    if not known:
        return ()
    best = max((g.accuracy.value for g in known if not g.excluded), default=None)
    rows = [intervals.Row(g.group, g.accuracy, bool(g.excluded), model.overall.value - g.mde) for g in known[: intervals.MOST_ROWS]]
    band = (best - required.tolerance, best) if required and best is not None else None
    plot = partial(intervals.rows, "groups", rows, model.overall.value, "all users", band)
    more = f" Drawn: {len(rows)} of {len(model.groups)} groups." if len(rows) < len(model.groups) else ""
    first = FIRST_DEAL if found.deals else ""
    sentence = sentences.forest_sentence(model, required)
    stroke = STROKE if any(map(is_known, intervals.strokes(rows, model.overall.value))) else ""
    return (Figure(first + (sentences.lowered(sentence) if first else sentence), plot, f"{stroke}{more}".strip(), section="groups"),)


def _accuracies(caption: str, models: Sequence[f.ModelFindings], names: Sequence[str], head: str) -> Table:
    """A row a model, or a split, as the page and models.csv have them. head: the column that names it on the page, "" = not on the page."""
    rows: list[tuple[Cell, ...]] = []
    for m in models:
        of = {x.name: (x.overall, x.gap) for x in m.metrics}
        judged = sentences.usable(m)  # the worst of one group is nothing
        worst = f"{judged[0].group}: {shown(judged[0].accuracy)}" if len(judged) > 1 else NONE
        metrics = (cell for name in names for cell in of.get(name, (None, None)))
        rows.append((m.model, m.split, worst, m.overall, m.gap, *counts(m.overall), *metrics))
    columns = (
        Column("model", on_page=head == "model"), Column("split", on_page=head == "split"),
        Column("worst-served group", in_csv=False), Column("accuracy", percent), Column("gap, points", signed_points, "gap"), *COUNTS,
        *(Column(f"{name}{part}", on_page=False) for name in names for part in ("", "_gap")),
    )  # fmt: skip
    return Table(caption, columns if head else tuple(replace(c, on_page=False) for c in columns), tuple(rows), "models")


def _by_all(model: f.ModelFindings) -> Table:
    """Every metric but accuracy, which stands beside the models: all users and the gap."""
    rows = tuple((title(m.name), m.overall, m.gap) for m in model.metrics if m.name != "accuracy")
    columns = (Column("metric"), Column("all users", decimals(3)), Column("gap", decimals(3, signed=True)))
    return Table("Other metrics, with 95 % intervals", columns, rows)


def null(model: f.ModelFindings) -> Panel | None:
    """The spread of groups against shuffled groups."""
    known = [r for r in model.null if all(map(is_known, (r.observed, r.expected, r.null_low, r.null_high, r.p_value)))]
    if not known:
        return None
    rows = tuple(
        (r.statistic, r.observed, r.expected, r.null_low, r.null_high, r.excess, r.p_value, *_in_words(r), *counts(model.overall)) for r in known
    )  # fmt: skip
    columns = (
        Column("statistic"), *(Column(c, on_page=False) for c in ("observed", "expected", "null_low", "null_high", "excess", "p_value")),
        *(Column(c, in_csv=False) for c in ("observed", "expected by chance", "95 % of permutations", "excess", "p-value")), *COUNTS,
    )  # fmt: skip
    spans = [
        intervals.Span(
            r.statistic.replace(" - ", " − "), r.observed, r.expected, r.null_low, r.null_high, r.p_value, 100 if is_share(r.statistic) else 1
        ) for r in known if max(r.observed, r.null_high) - min(r.observed, r.null_low) > 1e-9
    ]  # fmt: skip
    table = Table("Spread of the groups against permuted groups", columns, rows, "null")
    plot = partial(intervals.spans, "null", spans) if spans else None  # no group differs from another under constant scores
    figure = Figure(sentences.null_sentence(known[0], model.overall), plot, SHUFFLED if plot else "", table)
    return Panel("null", "The gap against chance", figures=(figure,), notes=(DRAWN_ANEW,))


def _in_words(null: f.NullFinding) -> tuple[str, ...]:
    observed, expected, low, high = (
        sentences.of_statistic(null, value, 3) for value in (null.observed, null.expected, null.null_low, null.null_high)
    )
    return observed, expected, f"{low} to {high}", sentences.of_statistic(null, null.excess, 3, True), p_value(null.p_value)


def users(spread: f.UserSpread | None) -> Panel | None:
    if spread is None:
        return None
    three = decimals(3)
    rows = tuple((m.name, m.raw, m.expected_if_equal, m.excess, m.shrunken, *counts(spread.tau)) for m in spread.metrics)
    columns = (
        Column("metric", key="name"), Column("raw", three), Column("expected if all were equal", three, "expected_if_equal"),
        Column("excess", decimals(3, signed=True)), Column("shrunken", three), *COUNTS,
    )  # fmt: skip
    table = Table("User-level metrics on accuracies from 0 to 1", columns, rows, "users")
    drawable = bool(spread.grid) and all(map(is_known, (*spread.grid, *spread.raw_density, *spread.shrunken_density)))
    plot = partial(curves.density, spread.grid, spread.raw_density, spread.shrunken_density) if drawable else None
    note = f"{RAW} Test of equal users: {p_value(spread.tau_p_value)}."
    return Panel("users", "Single users", figures=(Figure(sentences.users_sentence(spread), plot, note, table),))


# --- what else could explain it, what changed ---


def confounds(model: f.ModelFindings) -> Panel:
    """Accuracy over the bins of each nuisance, and what happened to each group's pairs."""
    tables = [_bins(c) for c in model.confounds]
    figures = tuple(_confound(c, table, model.overall, i) for i, (c, table) in enumerate(zip(model.confounds[:MOST_FIGURES], tables)))
    counted = [_counts(model.counts, {g.group for g in model.groups if g.accuracy.suppressed})] if model.counts else []
    alone = tuple((c.name, "the feature alone", c.alone, *counts(c.alone)) for c in model.confounds if c.alone)
    only_csv = (Table("Features alone", _confound_columns("feature"), alone, "confounds"),) if alone else ()
    notes = (UNMEASURED,) if counted and not figures else ()
    return Panel("confounds", "What else could explain it", "", figures, (*tables[MOST_FIGURES:], *counted), notes, only_csv)


def _confound_columns(name: str) -> tuple[Column, ...]:
    return Column("confound", on_page=False), Column(name, key="bin"), Column("accuracy", percent), *COUNTS


def _bins(confound: f.Confound) -> Table:
    rows = tuple((confound.name, label, e, *counts(e)) for label, e in confound.bins)
    return Table(f"Accuracy by {confound.name}, with 95 % intervals", _confound_columns(confound.name), rows, "confounds")


def _confound(confound: f.Confound, table: Table, overall: Estimate, i: int) -> Figure:
    rows = [intervals.Row(label, e) for label, e in confound.bins if has_value(e)]
    plot = partial(intervals.rows, f"confound-{i}", rows, overall.value, "all pairs", None) if rows else None
    note = "A model that merely follows this feature shows a steep slope here." if rows else ""
    return Figure(sentences.confound_sentence(confound), plot, note, table)


def _counts(found: Sequence[f.GroupCounts], small: set[str]) -> Table:
    """What nobody counted (None) is told from 0 and from what is hidden (nan)."""
    heads = ("pairs", "truncated", "identical_after_truncation", "hardly_read", "dropped", "tied", "no_preference")
    rows = tuple((c.group, *(nan if c.group in small else vars(c)[h] for h in heads)) for c in found)
    columns = (Column("group"), *(Column(h.replace("_", " "), _counted, h) for h in heads))
    grey = frozenset(i for i, c in enumerate(found) if c.group in small)
    return Table("What happened to each group’s pairs", columns, rows, "counts", grey)


def _counted(n: float | None) -> str:
    return "not measured" if n is None else count(n)


def changes(found: Sequence[f.Change]) -> tuple[Panel | None, tuple[Figure, ...]]:
    """Before and after under each change; the first one's figure is for the first screen."""
    if not found:
        return None, ()
    drawn = [Figure(sentences.change_sentence(c), _change_plot(c, i), c.verdict, _change(c)) for i, c in enumerate(found[:MOST_FIGURES])]
    first = replace(drawn[0], note="", table=None, section="change")
    tables = tuple(map(_change, (found[0], *found[MOST_FIGURES:])))
    notes = (found[0].verdict,) if found[0].verdict else ()
    return Panel("change", "Before and after", "", tuple(drawn[1:]), tables, notes), (first,)


def _change_plot(change: f.Change, i: int) -> partial[str] | None:
    rows = [intervals.Moved(r.group, r.before, r.after, r.difference) for r in change.rows]
    drawable = any(all(map(has_value, (r.before, r.after, r.difference))) for r in change.rows)
    return partial(intervals.changes, f"change-{i}", rows) if drawable else None


def _change(change: f.Change) -> Table:
    about = change.before, change.after
    rows = [(*about, r.group, r.before, r.after, r.difference, *counts(r.difference)) for r in change.rows]
    gap = (*about, "gap, points", change.gap_before, change.gap_after, change.gap_change, *counts(change.gap_change))
    columns = (
        Column("model_before", on_page=False), Column("model_after", on_page=False), Column("group"),
        Column(f"before, %: {change.before}", points, "before"), Column(f"after, %: {change.after}", points, "after"),
        Column("difference, points", signed_points, "difference"), *COUNTS,
    )  # fmt: skip
    caption = f"From {change.before} to {change.after}: paired by pair, with 95 % intervals"
    return Table(caption, columns, (*rows, gap), "changes")


def deals(found: OverDeals | None) -> Panel | None:
    """Accuracy and gap of each model over all deals, and the audited one's gain."""
    if found is None:
        return None
    rows: list[tuple[Cell, ...]] = []
    for m in found.models:
        rows += [(m.model, a.group, a, g, *counts(a)) for a, g in zip(m.accuracy, m.gain or (None,) * len(m.accuracy))]
        rows += [(m.model, f"gap, {m.gap.group}, points", m.gap, None, *counts(m.gap))] if m.gap else []
    gain = Column("gain of the first over it, points", signed_points)
    columns = (Column("model"), Column("group"), Column("accuracy, %", points), gain, *COUNTS)
    is_gap = any(e.metric == "gap" for e in found.models[0].by_deal[:1])
    seeds = (Column("model"), *(Column(f"seed {s}", signed_points if is_gap else percent) for s in found.seeds))
    tables = (
        Table(f"Over {len(found.seeds)} deals, with 95 % intervals", columns, tuple(rows)),
        Table(f"By deal: {'gap' if is_gap else 'accuracy, all users'}", seeds, tuple((m.model, *m.by_deal) for m in found.models)),
    )
    return Panel("deals", "Over deals", tables=tables, notes=(DEALS.format(unit=found.unit),))


def data(found: f.FairnessReport) -> Panel:
    formulas = {title(m.name): m.formula for m in found.model.metrics} | dict(found.formulas)
    return data_panel(found.exclusions, found.facts, formulas, found.limits)

"""The report says what the findings hold, hides small cells, and every format can be read back."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import report_example as example
from pages import Page
from test_report_numbers import real

from evenhand.audits.dealt import DealtModel, OverDeals
from evenhand.audits.findings import (
    ChangeRow,
    Confound,
    FairnessReport,
    GroupCounts,
    LowSupport,
    MetricFinding,
    Requirement,
    SupportCurve,
    TrainingTrace,
)
from evenhand.audits.metrics import METRICS, Metric
from evenhand.core import Estimate, EvenhandError, Exclusions
from evenhand.data.csv_cells import neutral
from evenhand.report import numbers, verdicts
from evenhand.report.audit import AUDIT, panels, sentences
from evenhand.report.audit import report as made
from evenhand.report.audit.hide import hide
from evenhand.report.figures import curves, intervals, strips
from evenhand.report.publish import one_line, publish
from evenhand.writing import LIST


def published(found: FairnessReport) -> FairnessReport:
    return publish(hide(found))[0]


@pytest.fixture(scope="module")
def page() -> str:
    return made(example.realistic()).html()


def gap(value: float, low: float, high: float, minority: float = 0.6, majority: float = 0.66) -> str:
    groups = example.group("minority", minority, 48, 0.02), example.group("majority", majority, 352, 0.01)
    model = replace(example.empty_model(400, 12_000), gap=Estimate(value, low, high, 400, 12_000), groups=groups)
    return sentences.gap_sentence(published(example.bare(model)).model).replace("\u00a0", " ")


def test_headline_states_the_gap_with_interval_and_counts():
    assert gap(0.062, 0.031, 0.093) == (
        "The minority (48 users, 1,440 pairs) is served 6.2 points worse (95 % interval 3.1 to 9.3; 400 users, 12,000 pairs)."
    )


def test_headline_admits_noise():
    assert gap(0.012, -0.015, 0.039).endswith("(95 % interval −1.5 to 3.9; 400 users, 12,000 pairs), within what noise alone can do.")


def test_headline_names_the_worse_group_whatever_the_sign():
    text = gap(-0.04, -0.06, -0.02, 0.70, 0.66)
    assert text == "The majority (352 users, 10,560 pairs) is served 4.0 points worse (95 % interval 2.0 to 6.0; 400 users, 12,000 pairs)."


TRENDS = [
    ((0.14, 0.09, 0.2), (0.4, 0.3, 0.5), "Users with low support are served worse: accuracy goes", 1),
    ((0.02, -0.05, 0.09), (0.02, -0.1, 0.1), "No trend beyond noise", 0),
    ((-0.1, -0.2, -0.01), (-0.3, -0.4, -0.1), "Users with low support are served better: accuracy goes", -1),
    ((-0.14, -0.27, -0.01), (-0.09, -0.18, 0.01), "No trend is shown, since slope and rank correlation disagree", 0),
    ((0.1, -0.1, 0.3), (0.2, 0.1, 0.3), "No trend is shown, since slope and rank correlation disagree", 0),
    ((0.1, 0.05, 0.3), (-0.2, -0.3, -0.1), "No trend is shown, since slope and rank correlation disagree", 0),
    ((0.1, 0.05, 0.3), (example.NAN, -1.0, 1.0), "No trend is shown", 0),
]


@pytest.mark.parametrize(("slope", "rank", "start", "trend"), TRENDS)
def test_support_headline_claims_a_trend_only_where_slope_and_ranks_agree(slope, rank, start, trend):
    curve = replace(example.support_curve(), slope=Estimate(*slope, 400, 12_000), correlation=Estimate(*rank, 400, 12_000))
    found = published(replace(example.realistic(), model=replace(example.model(), support=curve))).model
    assert sentences.trend(found.support) == trend
    sentence = sentences.support_sentence(found.support)
    assert sentence.startswith(start)
    assert "400 users, 12,000 pairs" in sentence
    assert ("rank correlation" in sentence) == ("disagree" in sentence)
    svg = drawn(found.support, found.overall)
    assert ("isotonic" in svg) == (trend != 0)  # an isotonic line climbs through noise as well
    assert (ORANGE_LINE in svg) == (trend != 0)


def drawn(curve: SupportCurve, overall: Estimate) -> str:
    return curves.support(curve.bins, curve.users, curve.line, overall, bool(sentences.trend(curve)), 800)


def test_scores_that_set_no_group_apart_have_no_figure_of_chance() -> None:
    at = {"ratio min / max": 1.0}
    null = tuple(
        replace(n, observed=v, expected=v, null_low=v, null_high=v, p_value=1.0)
        for n in example.model().null
        for v in (at.get(n.statistic, 0.0),)
    )
    panel = panels.null(replace(example.model(), null=null))
    assert panel is not None
    assert (panel.figures[0].plot, panel.figures[0].note) == (None, "")
    assert panel.figures[0].table is not None


def test_the_stroke_is_explained_where_one_is_drawn() -> None:
    group = example.model().groups[0]
    row = intervals.Row(group.group, Estimate(0.7, 0.68, 0.72, 60, 600))
    for stroke, inside in ((0.69, True), (0.2, False), (float("nan"), False)):
        shown = [replace(row, stroke=stroke)]
        assert [x == x for x in intervals.strokes(shown, 0.7)] == [inside]
        assert (strips.STROKE in intervals.rows("x", shown, 0.7, "all users", None, 800)) == inside


def test_a_change_within_noise_does_not_lead_with_the_gain() -> None:
    noise, clear = Estimate(0.06, -0.01, 0.13, 60, 600), Estimate(-0.02, -0.03, -0.01, 340, 3_400)
    first = example.realistic().changes[0]
    rows = [replace(r, difference=d) for r, d in zip([r for r in first.rows if r.group != "all"], (noise, clear), strict=True)]
    mixed = sentences.change_sentence(replace(first, rows=tuple(rows)))
    assert mixed.index("loses 2.0 points (") < mixed.index("gains 6.0 points, within noise (")
    none = sentences.change_sentence(replace(first, rows=tuple(replace(r, difference=noise) for r in rows)))
    assert none.startswith(f"No change beyond noise: from {first.before} to {first.after} the ")
    assert "within noise" not in none


def test_where_all_users_have_the_same_support_nothing_is_drawn():
    curve = example.support_curve()
    flat = replace(curve, users=tuple((0.6, y) for _, y in curve.users), bins=(replace(curve.bins[0], mean=0.6),))
    flat = replace(flat, slope=Estimate(example.NAN, -float("inf"), float("inf"), 400, 12_000))
    found = made(replace(example.realistic(), model=replace(example.model(), support=flat)))
    assert "All users have the same preference support, 60.0 %: accuracy cannot be held against it." in Page(found.html()).text.replace(
        "\u00a0", " "
    )
    assert [f.section for f in found.page.first] == ["groups", "change"]
    assert "support-860" not in found.html()


LOW = [
    ("rare", (0.08, 0.02, 0.14), "The rarer a user’s taste", "agree with each other more than with the others, by 8.0 points"),
    ("careless", (-0.03, -0.05, -0.01), "Users with low support are served worse", "no rare taste that they share"),
    ("unknown", (0.01, -0.05, 0.07), "Users with low support are served worse", "cannot be told: agreement"),
    (
        "unknown",
        (example.NAN, -float("inf"), float("inf")),
        "Users with low support are served worse",
        "too few users judged the same pairs",
    ),
]


@pytest.mark.parametrize(("finding", "difference", "title", "told"), LOW)
def test_a_rare_taste_is_named_only_where_users_with_low_support_share_one(finding, difference, title, told):
    low = LowSupport(finding, 0.4, 0.6, 0.5, Estimate(*difference, 100, 3_000, "agreement"))
    curve = replace(example.support_curve(), slope=Estimate(0.14, 0.09, 0.2, 400, 9), correlation=Estimate(0.4, 0.3, 0.5, 400, 9), low=low)
    report = made(replace(example.realistic(), model=replace(example.model(), support=curve)))
    assert sentences.support_sentence(published(report.findings).model.support).startswith(title)
    assert any(told in said for said in report.page.said)  # in the terminal and in Markdown
    for output in (report.html(), report.markdown()):
        assert told in re.sub(r"\s+", " ", html.unescape(output))
    assert report.document["model"]["support"]["low"]["finding"] == finding
    few = replace(curve, low=replace(low, difference=replace(low.difference, n_users=9)))
    hidden = published(replace(example.realistic(), model=replace(example.model(), support=few))).model.support
    assert "too few users" in sentences.low_support_sentence(hidden)


ORANGE_LINE = "stroke: var(--orange)"


def test_isotonic_line_is_drawn_as_steps_within_the_axes():
    curve = replace(example.support_curve(), line=((0.2, 0.2), (0.5, 0.2), (0.6, 0.9), (0.9, 0.9)))
    found = published(replace(example.realistic(), model=replace(example.model(), support=curve))).model
    svg = drawn(found.support, found.overall)
    path = re.search(r'd="([^"]*)"[^>]*clip-path[^>]*' + re.escape(ORANGE_LINE), svg)[1]
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]
    assert all(a[0] == pytest.approx(b[0]) or a[1] == pytest.approx(b[1]) for a, b in pairwise(points))
    assert all(0 <= x <= 800 and 0 <= y <= 380 - 44 for x, y in points)


def test_training_headline_warns_of_a_fit_that_was_cut_short():
    short = TrainingTrace("pafo", 0, (0.7, 0.6), (0.7, 0.65), 2, 1.0, 100.0)
    done = TrainingTrace("bt", 0, (0.7, 0.6, 0.5), (0.7, 0.65, 0.66), 2, 1.0, 100.0)
    assert sentences.training_sentence((short, done)).endswith("still improving in the last epoch: pafo.")


def test_training_headline_counts_only_what_is_known():
    def sentence(*traces: TrainingTrace) -> str:
        return sentences.training_sentence(traces)

    done = TrainingTrace("bt", 0, (0.7, 0.6, 0.5), (0.7, 0.65, 0.66), 2, 1.5, 100.0)
    teacher = replace(done, method="teacher of the minority", seconds=2.0)
    assert sentence(done, teacher) == "2 fits took 3.5 s in all; each went on beyond the epoch that was kept."
    assert sentence(done, replace(done, seconds=float("nan"))).startswith("1 fit took 1.5 s in all, the time of 1 more is not known;")
    some = "each of the 1 that go by epochs went on beyond the epoch that was kept"
    assert sentence(done, replace(done, valid_loss=())) == f"2 fits took 3.0 s in all; {some}."
    at_once = replace(done, method="collaborative", train_loss=(0.6,), valid_loss=(0.7,), best_epoch=1)
    assert sentence(at_once) == "1 fit took 1.5 s in all."  # no epochs, so nothing was still improving
    assert sentence(done, at_once) == f"2 fits took 3.0 s in all; {some}."
    assert sentence(done, replace(done, method="pafo", best_epoch=0)).endswith("; no epoch improved on the start: pafo.")


def test_the_epoch_that_was_kept_is_not_called_the_best_where_it_is_not():
    """A rule may keep an epoch before the lowest validation loss, or the start itself."""
    fit = TrainingTrace("pafo", 0, (0.7, 0.6, 0.5), (0.7, 0.65, 0.6), 1, 1.0, 100.0)

    def page(trace: TrainingTrace) -> str:
        return made(replace(example.realistic(), training=(trace,))).html()

    assert "epoch 1 of 3 was kept, with a validation loss of 0.700; the lowest is 0.600." in page(fit)
    assert "epoch 3 of 3 was kept, with a validation loss of 0.600 (the lowest)." in page(replace(fit, best_epoch=3))
    assert "no epoch of 3 improved on the start, which was kept" in page(replace(fit, best_epoch=0))
    assert "later ones both together" not in page(fit)
    stayed = "so the language model stayed as it was before them"
    assert stayed in page(replace(fit, best_epoch=2, tuned_from=2))
    tuned = page(replace(fit, best_epoch=3, tuned_from=2))
    assert "Epochs up to 2 trained the head" in tuned
    assert stayed not in tuned


def test_nobody_is_said_to_be_served_well_where_users_cannot_be_told_apart():
    spread = example.user_spread()
    assert "served worse than by a coin" in sentences.users_sentence(replace(spread, tau_p_value=0.01))
    unclear = sentences.users_sentence(replace(spread, tau_p_value=0.4))
    assert unclear.startswith("Users cannot be told apart beyond noise")
    assert "coin" not in unclear


def test_of_many_groups_no_extreme_is_picked_for_a_title():
    change = example.change()
    two = sentences.change_sentence(change)
    assert "the minority gains 3.4 points" in two
    many = sentences.change_sentence(replace(change, rows=(*change.rows, *change.rows[1:])))
    assert "minority" not in many
    assert re.search(r"all users together (gain|lose) ", many)


def test_a_method_without_epochs_has_no_curve():
    at_once = TrainingTrace("collaborative", 0, (0.6,), (0.7,), 1, 1.5, 100.0)
    page = made(replace(example.realistic(), training=(at_once,))).html()
    assert ">one step</td>" in page
    assert "of 1 epochs" not in page
    assert 'id="training-0' not in page


def test_settings_of_a_fit_are_shown_where_they_are_given():
    fit = example.trace("pafo", 0)
    for traces, shown in (((fit, replace(fit, settings={})), True), ((replace(fit, settings={}),), False)):
        report = made(replace(example.realistic(), training=traces))
        assert (">settings</th>" in report.html()) == shown
        assert ("alpha 0.1, balance 0.5, distillation soft" in report.html()) == shown
        assert ("alpha 0.1, balance 0.5" in report.tables()["training.csv"]) == shown


def test_what_was_not_measured_is_told_from_zero():
    counts = (GroupCounts("minority", 1_440), GroupCounts("majority", 10_560, 0, 0, 7, 17, hardly_read=5))
    model = replace(example.model(), counts=counts, confounds=())
    report = made(replace(example.realistic(), model=model))
    page = " ".join(report.html().split())
    told = Page(page).text
    assert "minority 1,440 not measured not measured not measured not measured 0 0" in told
    assert "majority 10,560 0 0 5 7 17 0" in told
    assert "418 of 12,418 rows were left out: 211 chosen equals rejected, " in told
    assert "No nuisance was measured" in page
    assert report.tables()["counts.csv"].splitlines()[1:] == ["minority,1440,,,,,0,0", "majority,10560,0,0,5,7,17,0"]
    assert json.loads(report.json())["model"]["counts"][0]["truncated"] is None


def test_excluded_rows_are_told_only_to_groups_large_enough_to_name():
    groups = (example.group("FR", 0.6, 9, 0.1), example.group("DE", 0.7, 300, 0.01))
    by_group = {"country=FR": {"empty": 50}, "country=DE": {"empty": 2}, "country=IT": {"empty": 9}, "country=ES": {"empty": 10}}
    found = replace(example.bare(replace(example.empty_model(), groups=groups)), exclusions=Exclusions(71, 0, {"empty": 71}, by_group))
    assert set(published(found).exclusions.by_group) == {"country=DE", "country=ES"}


def test_a_verdict_not_given_is_not_given_elsewhere():
    found = example.realistic()
    model = replace(found.model, groups=(example.group("a", 0.69, 48, 0.026), example.group("b", 0.70, 352, 0.009)))

    def page(verdict: str) -> str:
        return Page(made(replace(found, model=model, requirements=(replace(found.requirements[0], verdict=verdict),))).html()).text

    said = "no group lies more than the tolerated 3.0 points below the best-served"
    assert f"; {said}." in page("PASS")
    assert f"; by the estimates alone, {said}: not decided." in page("INSUFFICIENT")


def test_worst_served_of_one_is_nobody():
    found = example.realistic()
    one = replace(found.cells[0], split="one", groups=found.cells[0].groups[:1])
    tables = made(replace(found, cells=(one, found.cells[1]))).page.tables
    table = next(t for t in tables if t.caption.startswith("The audited model by seen"))
    place = [c.name for c in table.columns].index("worst-served group")
    assert table.rows[0][place] == "–"
    assert str(table.rows[1][place]).startswith("minority: ")


def test_no_small_group_follows_from_the_cells_of_a_split():
    """5 users of the minority are in one cell: the minority of the test part less that of the other cell would be these five."""
    found = example.realistic()
    few = replace(found.cells[0], groups=(example.group("minority", 0.5, 5, 0.2, "5 users"), found.model.groups[1]))
    document = made(replace(found, cells=(few, found.cells[1]))).document
    assert [(c["groups"], c["gap"]) for c in document["cells"]] == [([], None)] * 2
    assert [c["overall"]["n_users"] for c in document["cells"]] == [c.overall.n_users for c in found.cells[:2]]
    assert not any(m["groups"] for c in document["cells"] for m in c["metrics"])
    alone = replace(found.cells[0], overall=example.estimate(0.6, 0.1, 7, 70))
    assert made(replace(found, cells=(alone, found.cells[1]))).document["cells"] == []
    told = made(replace(found, groups_rule="Minority: the 6 of 30 users with the lowest support")).document["groups_rule"]
    assert told == "Minority: the fewer than 10 users with the lowest support"


def test_confound_title_names_no_extreme_of_a_tiny_bin():
    tiny = ("equal length", example.estimate(0.957, 0.1, 23, 23))
    rows = (("shorter", example.estimate(0.66)), tiny, ("longer", example.estimate(0.72)))

    def title(*bins: tuple[str, Estimate]) -> str:
        return sentences.confound_sentence(Confound("length", bins))

    assert "equal length" not in title(*rows)
    assert "66.0" in title(*rows)
    assert "72.0" in title(*rows)
    ends = title(("a", example.estimate(0.6, 0.1, 20, 20)), tiny, ("c", example.estimate(0.7, 0.1, 12, 12)))
    assert "equal length" not in ends  # none is large: the ends of the scale
    assert "(a;" in ends
    assert "(c;" in ends
    assert "in the one bin" in title(tiny)


def test_rows_left_out_of_a_table_are_counted():
    text = Page(made(replace(example.realistic(), training=(example.trace("pafo", 0, 78), example.trace("bt", 0, 30)))).html()).text
    assert "The numbers: 60 of 78 rows" in text
    assert "The numbers: 30 rows" in text
    assert "188 more requirements are in requirements.csv" in Page(made(example.many_groups(200)).html()).text


def test_contents_name_no_empty_panel():
    scores_only = replace(example.realistic(), changes=(), training=())
    for findings, listed in ((example.realistic(), True), (scores_only, False)):
        page = made(findings).html()
        contents = page[page.index("<nav") : page.index("</nav>")]
        assert ("Before and after" in contents) == ("Training health" in contents) == listed
        assert "Single users" in contents


def test_the_legend_of_a_bar_stands_only_where_one_is_drawn():
    found = example.realistic()
    hidden = replace(found.requirements[0], estimate=replace(found.requirements[0].estimate, n_users=4))
    for requirement, drawn in ((found.requirements[0], True), (hidden, False)):
        text = Page(made(replace(found, requirements=(requirement,))).html()).text
        assert ("Shaded: allowed." in text) == drawn
        assert "estimate (simultaneous 95 %)" in text.replace("\u00a0", " ")
        assert "Simultaneous: all bounds that the verdict rests on hold at once" in text


def test_numbers_in_words():
    assert numbers.number(-0.0004, 2) == "0.00"
    assert numbers.number(-1234.5, 1) == "−1,234.5"
    assert numbers.points(0.034, signed=True) == "+3.4"
    assert numbers.percent(None) == "–"
    assert verdicts.is_share("accuracy gap")
    assert verdicts.is_share("loss of accuracy")
    assert not verdicts.is_share("log-loss gap")
    assert not verdicts.is_share("mean margin")


def test_page_holds_every_panel_and_number(page):
    parsed = Page(page)
    first = ("Accuracy against preference support", "Groups", "The gap against chance")
    names = (*first, "Single users", "What else could explain it", "Before and after", "Training health", "Data, method, limits")
    places = [page.index(f"<summary><h2>{name}</h2>") for name in names]
    assert places == sorted(places)
    assert page.index('id="verdict"') < places[0]
    shown = parsed.text.replace("\u00a0", " ")
    strip = ("FAIL", "Users are simulated.", "3.1 to 9.3", "9c1f9c1f", "evenhand fit choices.parquet", "lies above 3.0")
    numbers = ("66.4 % (63.8 to 69.0)", "48 users · 1,440 pairs", "+3.4 (+1.8 to +5.0)", "p < 0.001", "12,000 of 12,418 rows")
    for text in (*strip, *numbers):
        assert text in shown


def test_constraints_have_a_panel_only_where_there_are_any(page):
    assert 'id="constraints"' not in page
    assert not {"constraints.csv", "multipliers.csv"} & made(example.realistic()).tables().keys()
    found = made(example.constrained()).html()
    places = [found.index(f'id="{key}"') for key in ("change", "constraints", "training")]
    assert places == sorted(places)
    parsed = Page(found)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    shown = parsed.text.replace("\u00a0", " ")
    for text in (
        "Demographic parity is violated: its violation by hard decisions fell from 32.4 to 9.5 points",
        "(simultaneous 95 % interval 6.5 to 12.5; 398 users, 4,776 pairs) , at most 5.0 allowed.",
        "parity, soft: lgbt against none 24.0 (21.0 to 27.0) 7.0 (4.0 to 10.0) −17.0 (−19.1 to −14.9) 2.1 → 2.3 5.0 INSUFFICIENT 398 4,776",
        "Groups and the order of responses: the identity that a post mentions, by a list of terms; y1 is the post with the mention.",
        "0 % of it came from lowering the best-served, lgbt",
        "Demographic parity: training ended within 5.0 points on training pairs",
        "What the constraints cost each group: log-loss",
    ):
        assert text in shown, text
    assert shown.count("cost each group: log-loss") == 1  # constraints on one fit cost the same
    figures = re.findall(r"<figure>.*?</figure>", found[places[1] : places[2]], flags=re.S)
    assert len(figures) == 3
    assert all(f.count("<svg") == 2 and "<table" in f for f in figures)
    assert "No training" not in shown


def test_a_constraint_is_a_line_of_the_verdict():
    found = replace(example.constrained(), requirements=())
    assert (found.verdict, found.exit_code) == ("FAIL", 1)
    open_ = replace(example.constraint(), verdict="INSUFFICIENT", violations=example.constraint().violations[:1])
    assert replace(found, constraints=(open_,)).exit_code == 3
    rows = [verdicts.row(r) for r in made(found).page.requirements]
    assert [r.name for r in rows] == [
        "demographic parity, hard decisions", "equalized odds, hard decisions", "counterfactual fairness, hard decisions",
    ]  # fmt: skip
    assert (rows[0].value, rows[0].required) == ("9.5 points", "at most 5.0 points")
    suite = ET.fromstring(made(found).junit())[0]
    assert [[child.tag for child in case] for case in suite] == [["failure"]] * 3
    assert "Demographic parity is violated" in made(found).markdown()


def test_tables_hold_every_number_of_a_constraint():
    report = made(example.constrained())
    rows = list(csv.DictReader(io.StringIO(report.tables()["constraints.csv"])))
    own = [r for r in rows if r["notion"] == "dp"]
    assert len(own) == 2 * (1 + 5) + 3 * 6
    assert float(own[0]["before_value"]) == 0.24
    assert (own[0]["quantity"], own[0]["expected_by_noise"], own[0]["verdict"]) == ("soft violation", "0.023", "INSUFFICIENT")
    epochs = list(csv.DictReader(io.StringIO(report.tables()["multipliers.csv"])))
    assert len(epochs) == 40 * 8
    assert {r["epoch"] for r in epochs if r["kept"] == "True"} == {"24"}


def test_a_small_event_hides_the_violation_and_what_would_give_it_away():
    """Nine raters of one event at 61.7 %, the violation 21.7 points of it: neither may be read off, here or there."""
    found = example.constraint()
    few = example.paired(0.6171, 0.6173, 0.1, 9, "soft rate", "white")
    rates = tuple(replace(r, rate=few) if r.event == "white" else r for r in found.violations[0].rates)
    size = replace(found.violations[0].size, after=Estimate(0.21738, 0.1, 0.3, 398, 4_776, "soft violation", "white against none"))
    violation = replace(found.violations[0], rates=rates, size=size, reason="Too little data: white: 9 users, 30 needed.")
    cost = replace(found.costs[3], accuracy=replace(few, before=None))
    hidden = replace(found, violations=(violation,), costs=(*found.costs[:3], cost), sentence="21.7", training="21.7", levelling="21.7")
    report = made(replace(example.realistic(), constraints=(hidden,)))
    for text in (report.html(), report.json(), report.markdown(), report.junit(), repr(report), *report.tables().values()):
        shown = re.sub("<svg.*?</svg>", "", text, flags=re.S)
        assert re.findall(r".{0,40}(?<![\d.,])(?:61\.7|0\.617[13]|21\.7|0\.21738|9 users)(?!\d).{0,20}", shown) == []
    assert "Demographic parity is not shown: one of its events has fewer than 10 users." in Page(report.html()).text
    assert "55.0" in report.html()  # large events stay


def test_every_figure_has_a_title_with_counts_and_a_table(page):
    figures = re.findall(r"<figure>.*?</figure>", page, flags=re.S)
    assert len(figures) == 9
    sections = [re.search(r'href="#(\w+)">The numbers', f) for f in figures]
    assert [m[1] for m in sections if m] == ["support", "groups", "change"]  # the first screen; the panels hold the numbers
    for figure, section in zip(figures, sections):
        assert ("<table" in figure) == (section is None)
        assert section is None or "<table" in page[page.index(f'<span id="{section[1]}"') :].partition("</table>")[0]
        assert figure.count("<svg") == 2
    titles = [re.search(r'role="img" aria-label="(.*?)"', f)[1] for f in figures]
    assert all(re.search(r"[\d,]+ users, [\d,]+ pairs", t) or "validation loss" in t for t in titles)
    assert all(len(svg) < 30_000 for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S))


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_light_and_dark(page):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    themes = re.findall(r":root \{(.*?)\}", page, flags=re.S)[:2]
    for theme in themes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        for name in ("ink", "muted", "blue", "orange", "grey", "pass", "fail", "insufficient"):
            for ground in ("paper", "card"):
                assert contrast(colour[name], colour[ground]) >= 4.5, (name, ground)
        assert contrast(colour["ink"], colour["wash"]) >= 7


def test_page_is_deterministic(page):
    assert made(example.realistic()).html() == page


def test_page_stays_small_for_any_amount_of_data():
    long = "a group with quite a long name " * 30
    report = example.many_groups(600)
    groups = tuple(replace(g, group=f"{i} {long}") for i, g in enumerate(report.model.groups))
    facts = {f"fact {i}": long for i in range(2_000)}
    exclusions = Exclusions(1_200, 0, {f"{long} {i}": 2 for i in range(600)}, {g.group: {long: 1} for g in groups})
    report = replace(report, model=replace(report.model, groups=groups), facts=facts, exclusions=exclusions, limits=(long,) * 600)
    assert len(made(report).html().encode()) <= 2_000_000


def test_small_cells_are_hidden_everywhere():
    report = made(example.insufficient())  # 4 users at 50 %, 12 at 70 %, hence 65 % of all
    outputs = [report.html(), report.json(), report.markdown(), report.junit(), *report.tables().values()]
    assert any("12 users" in o for o in outputs)
    for text in outputs:
        assert "4 users" not in re.sub(r"\d[\d,]*4 users", "", text)
        assert not re.search(r"\b50\.0\u00a0%|\b20\.0\b", text)
    document = json.loads(report.json())
    small = next(g for g in document["model"]["groups"] if g["group"] == "minority")
    assert small["n_users"] is None
    assert small["accuracy"]["value"] is None
    assert document["model"]["gap"]["value"] is None
    assert document["requirements"][0]["estimate"]["value"] is None
    assert document["exclusions"]["by_group"] == {}


def test_nothing_about_a_single_user_is_shown():
    report = made(example.one_user())
    outputs = [report.html(), report.json(), report.markdown(), report.junit(), repr(report), *report.tables().values()]
    assert not any(re.search(r"7351|73\.5", re.sub(r"9c1f\w+|53aa\w+", "", text)) for text in outputs)


def test_a_requirement_on_a_small_group_hides_number_and_reason():
    groups = (
        example.group("tiny", 0.6, 7, 0.2, "7 users, 30 needed"),
        example.group("a", 0.7, 300, 0.02),
        example.group("b", 0.71, 300, 0.02),
    )
    hidden = [("gap", "a minus tiny"), ("accuracy", "tiny"), ("gap", "tiny, b"), ("accuracy", "all")]  # all minus a and b is tiny
    shown = [("gap", "b minus a")]
    requirements = tuple(
        Requirement(
            "r",
            Estimate(0.1234, 0.1, 0.2, 307, 900, metric, group),
            0.05,
            "INSUFFICIENT",
            "Left out, too small: tiny (7 users, 30 needed).",
        )
        for metric, group in (*hidden, *shown)
    )
    report = replace(example.bare(replace(example.empty_model(607, 1_800), groups=groups)), requirements=requirements)
    found = published(report).requirements
    assert [None if r.estimate.suppressed else r.estimate.value for r in found] == [None] * 4 + [0.1234]
    assert not any("7 users" in r.reason for r in found)


def test_outcome_in_words():
    def outcome(*verdicts: str) -> str:
        return sentences.outcome([Requirement("accuracy, minority", example.estimate(0.6), 0.5, v, "") for v in verdicts])

    assert outcome().startswith("No requirement was set")
    assert outcome("PASS", "PASS").startswith("Every requirement is met")
    assert outcome("FAIL").startswith("The requirement is not met.")
    assert outcome("FAIL", "FAIL", "INSUFFICIENT") == "2 of 3 requirements are not met, and 1 cannot be decided with these data."
    assert outcome("INSUFFICIENT", "PASS").startswith("1 of 2 requirements cannot be decided")


def test_a_group_of_ten_is_shown():
    model = replace(example.model(), groups=(example.group("minority", 0.6, 10, 0.1), example.group("majority", 0.7, 390, 0.01)))
    document = made(replace(example.realistic(), model=model)).document
    assert document["model"]["groups"][0]["accuracy"]["value"] == 0.6
    model = replace(example.model(), groups=(example.group("minority", 0.6, 9, 0.1), example.group("majority", 0.7, 390, 0.01)))
    document = made(replace(example.realistic(), model=model)).document
    assert document["model"]["groups"][0]["accuracy"]["value"] is None
    assert document["model"]["gap"]["value"] is None  # else the small group could be computed


def test_junit_tells_failures_from_missing_data():
    suite = ET.fromstring(made(example.realistic()).junit())[0]
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    outcome = {case.get("name"): [child.tag for child in case] for case in suite}
    assert outcome == {
        "accuracy gap, best-served minus worst-served group": ["failure"],
        "gain in accuracy, majority": ["system-out"],
        "accuracy, minority": ["error"],
    }
    assert suite[0][0].get("message") == "The whole simultaneous interval, 3.1 to 9.3 points, lies above 3.0."


def test_requirements_say_their_direction_and_unit():
    rows = [verdicts.row(r) for r in example.realistic().requirements]
    assert [(r.value, r.interval, r.required.replace("\u00a0", " ")) for r in rows] == [
        ("6.2 points", "3.1 to 9.3", "at most 3.0 points"),
        ("0.1 points", "−0.4 to 0.7", "at least −1.0 points"),
        ("66.4\u00a0%", "63.0 to 69.8", "at least 65.0 %"),
    ]


def test_requirement_bars_shade_what_is_allowed():
    gap, gain, accuracy = map(verdicts.bar, example.realistic().requirements)
    assert gap.allowed_from == 0
    assert gap.allowed_length == gap.limit < gap.start < gap.value < gap.end < 100  # the whole interval is outside
    assert gain.allowed_from == gain.limit < gain.start < gain.zero < gain.end
    assert gain.allowed_from + gain.allowed_length == pytest.approx(100)
    assert accuracy.zero is None
    assert accuracy.start < accuracy.limit < accuracy.value


def test_requirement_on_a_loss_is_not_printed_in_points():
    estimate = Estimate(0.021, 0.01, 0.032, 400, 12_000, "log-loss gap")
    row = verdicts.row(Requirement("log-loss gap", estimate, 0.05, "PASS", "within"))
    assert (row.value, row.interval, row.required) == ("0.02", "0.01 to 0.03", "at most 0.05")


def test_tables_hold_every_row_and_plain_numbers():
    report = made(example.many_groups(200))
    rows = list(csv.DictReader(io.StringIO(report.tables()["groups.csv"])))
    audited = [r for r in rows if r["model"] == report.findings.model.model and r["split"] == report.findings.model.split]
    assert {r["group"] for r in audited} >= {g.group for g in report.findings.model.groups}
    shown = next(r for r in audited if r["group"] == "region 0000")
    assert float(shown["accuracy_value"]) == report.findings.model.groups[0].accuracy.value
    changes = list(csv.DictReader(io.StringIO(made(example.realistic()).tables()["changes.csv"])))
    assert float(changes[2]["difference_low"]) == pytest.approx(0.0015 - 0.6 * 0.009)
    assert neutral("=1") == "'=1"
    assert neutral(-1.5) == -1.5


def test_same_looking_reasons_are_both_kept():
    exclusions = Exclusions(5, 0, {"a\n": 2, "a ": 3})
    assert sum(published(replace(example.bare(), exclusions=exclusions)).exclusions.reasons.values()) == 5


def test_numpy_numbers_become_json():
    model = replace(
        example.empty_model(), overall=Estimate(np.float32(0.5), np.float64(0.4), np.float64("nan"), np.int64(40), np.int64(80))
    )
    overall = json.loads(made(example.bare(model)).json())["model"]["overall"]
    assert (overall["value"], overall["high"], overall["n_users"]) == (0.5, None, 40)


def test_save_writes_all_files_in_one_step_each(tmp_path):
    folder = tmp_path / "a" / "b"
    path = made(example.insufficient()).save(folder)
    assert path == folder / "report.html"
    names = {p.name for p in folder.iterdir()}
    assert {"report.html", "report.json", "report.md", "junit.xml", "groups.csv", "requirements.csv"} <= names
    assert {name for name in names if name.startswith(".")} == {LIST}
    assert names - {LIST} <= set(AUDIT.files)
    made(example.bare()).save(folder)
    assert "A pilot" not in path.read_text(encoding="utf-8")


def test_failed_save_says_why_and_leaves_no_half_file(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(EvenhandError, match="not evenhand's"):
        made(example.bare()).save(tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvenhandError, match="cannot be written"):
        made(example.bare()).save(tmp_path / "file")


def test_notebook_view_is_a_frame_of_its_own():
    report = made(example.insufficient())
    tag, attributes = Page(report._repr_html_()).tags[0]
    assert tag == "iframe"
    assert attributes["sandbox"] == ""
    assert attributes["srcdoc"] == report.html()


def test_one_line_is_printable_and_keeps_words():
    assert one_line("Ünïcode 日本 🏳️\u200d🌈") == "Ünïcode 日本 🏳️\u200d🌈"
    assert one_line("a\x00\u202e\ud800\n\tb") == "a\\u0000\\u202e\\ud800  b"
    assert len(one_line("x" * 10_000)) == 600


def test_nobody_is_told_of_by_what_is_missing_from_a_total():
    """Seven recluses: neither their number nor how they are served follows from all users minus the groups that are shown."""
    groups = (
        example.group("a", 0.6, 100, 0.02), example.group("b", 0.7, 300, 0.02), example.group("recluse", 0.2, 7, 0.2, "7 users, 30 needed"),
    )  # fmt: skip
    total = (0.6 * 100 + 0.7 * 300 + 0.2 * 7) / 407

    def rows(shift: float) -> tuple[ChangeRow, ...]:
        of = [(g.group, g.accuracy) for g in groups] + [("all", example.estimate(total, 0.02, 407, 12_210))]
        return tuple(ChangeRow(name, e, replace(e, value=e.value + shift), replace(e, value=shift)) for name, e in of)

    metric = MetricFinding("brier", "(1 - p)^2", example.estimate(0.2, 0.02, 407, 12_210), tuple(g.ece for g in groups), None)
    model = replace(example.model(), groups=groups, overall=example.estimate(total, 0.02, 407, 12_210), metrics=(metric,), support=None)
    report = made(replace(example.realistic(), model=model, changes=(replace(example.change(), rows=rows(0.01)),), others=(), cells=()))
    shown = published(report.findings)
    of_shown = (0.6 * 100 + 0.7 * 300) / 400
    for estimate in (shown.model.overall, shown.changes[0].rows[0].before):
        assert (estimate.n_users, estimate.n_pairs) == (400, 12_000)
        assert estimate.value == pytest.approx(of_shown)
        assert (estimate.high - estimate.low, (estimate.high + estimate.low) / 2) == (pytest.approx(0.04), pytest.approx(of_shown))
    brier = [g.ece.value for g in groups[:2]]
    assert shown.model.metrics[0].overall.value == pytest.approx((100 * brier[0] + 300 * brier[1]) / 400)
    for text in (report.html(), report.json(), report.markdown(), report.junit(), *report.tables().values()):
        assert not re.search(r"(?<![\d.,])(?:407|12,?210)(?![\d.])", text)
    assert "Fewer than 10 users are in no group, or in one too small to be shown" in Page(report.html()).text
    with_ten = replace(model, groups=(*groups[:2], example.group("c", 0.2, 10, 0.2)), overall=replace(model.overall, n_users=410))
    assert published(replace(report.findings, model=with_ten)).model.overall == with_ten.overall


def test_a_metric_reaches_every_output():
    """One more metric in the findings, as a line in METRICS gives: page, JSON, CSV, Markdown and terminal hold it."""
    found = example.realistic()
    of_groups = (example.estimate(0.1234, 0.01, 48, 1_440), example.estimate(0.2345, 0.01, 352, 10_560))
    metric = MetricFinding("brier_score", "mean of (1 - p)^2", example.estimate(0.2213), of_groups, example.estimate(0.1111))
    report = made(replace(found, model=replace(found.model, metrics=(metric,))))
    page = Page(report.html()).text
    assert all(text in page for text in ("brier score", "0.123 (0.113 to 0.133)", "0.221", "+0.111", "mean of (1 - p)^2"))
    assert json.loads(report.json())["model"]["metrics"][0]["groups"][1]["value"] == 0.2345
    rows = {r["group"]: r for r in csv.DictReader(io.StringIO(report.tables()["groups.csv"])) if r["model"] == found.model.model}
    assert "brier_score_value" in rows["minority"]
    wide = next(csv.DictReader(io.StringIO(report.tables()["models.csv"])))
    assert (wide["brier_score_value"], wide["brier_score_gap_value"]) == ("0.2213", "0.1111")
    assert "Other metrics: brier score 0.221 (0.209 to 0.233), gap +0.111" in report.markdown().replace("\u00a0", " ")
    assert any("brier score 0.221" in said for said in report.page.said)  # which the terminal prints, too


def test_a_metric_is_one_line_in_metrics(monkeypatch):
    monkeypatch.setitem(METRICS, "brier_score", Metric(lambda m: (1 / (1 + np.exp(m))) ** 2, 0.0, 1.0, "mean over users of (1 - p)^2"))
    report = real()
    files = {"page": report.html(), "JSON": report.json(), "Markdown": report.markdown(), **report.tables()}
    told = {name for name, text in files.items() if re.search("brier[ _]score", text)}
    assert told == {"page", "JSON", "Markdown", "groups.csv", "models.csv"}


def test_no_sentence_stands_twice_on_a_page():
    for make in (example.realistic, example.insufficient):
        page = made(make()).page
        figures = [*page.first, *(f for p in page.panels for f in p.figures)]
        said = [
            *map(str, page.answers),
            page.summary,
            *page.notes,
            page.requirements_note,
            *(f.sentence for f in figures),
            *(f.note for f in figures),
        ]
        said += [s for p in page.panels for s in (p.finding, *p.notes)]
        said += [r.reason for r in page.requirements if not page.is_answered(r)]
        parts = [part for s in said for part in re.split(r"(?<=[.;]) ", s) if len(part) > 40 and "follows this" not in part]
        assert len(parts) == len(set(parts)), [p for p in parts if parts.count(p) > 1]


def test_over_deals_it_is_said_which_gap_and_which_interval_is_meant():
    """The gap over deals is not clear while the first deal's is; the single interval reaches below zero, the simultaneous one cannot."""
    found = example.realistic()
    gap = Estimate(0.27, -0.08, 0.6, 133, 2_054, "gap", "majority minus minority")
    accuracy = tuple(example.estimate(0.6, 0.02, n, 10 * n, group=g) for g, n in (("minority", 48), ("majority", 352), ("all", 400)))
    dealt = OverDeals(
        (1, 2), "prompts", (DealtModel(found.model.model, accuracy, gap, (), (replace(gap, value=0.2), replace(gap, value=0.3))),)
    )
    report = made(replace(found, deals=dealt))
    text = Page(report.html()).text.replace("\u00a0", " ")
    assert "Not clearly. Over 2 deals the gap (majority minus minority) is +27.0 points (single 95 % interval −8.0 to +60.0;" in text
    assert "single intervals, as in the first answer, may be narrower. That of best minus worst never goes below 0" in text
    claims = [m.start() for m in re.finditer("is served 6.2 points worse|(?<!’s )accuracy runs from", text)]
    assert len(claims) == 2
    assert all("First deal: " in text[at - 60 : at] for at in claims)
    assert "all other panels are the first deal’s" in text
    assert report.document["deals"]["models"][0]["by_deal"][1]["value"] == 0.3

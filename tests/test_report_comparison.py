"""The report of a comparison or a sweep says what the results hold, hides small cells, keeps other people's texts as texts, and is one page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import comparison_example as example
import numpy as np
import pytest
from payloads import PAYLOADS
from rich.console import Console
from test_report import Page
from test_report_security import Skeleton

from evenhand.audits.findings import MetricFinding
from evenhand.audits.results import Comparison
from evenhand.core import Estimate, EvenhandError
from evenhand.report import Report
from evenhand.report.comparison import COMPARISON, SWEEP, panels, published, settings
from evenhand.report.comparison import sentences as said
from evenhand.report.figures import labels, matrix, scatter, strips
from evenhand.report.publish import one_line
from evenhand.report.terminal import lines
from evenhand.writing import LIST

MAKERS = (
    example.compared, example.swept, example.one_seed, example.three_groups, example.no_groups, example.small_group, example.many_groups,
    example.large_sweep, example.all_failed, example.bound_sweep,
)  # fmt: skip
FRONT = "compared", "swept", "one_seed", "three_groups", "many_groups", "large_sweep"


def report_of(found: Comparison) -> Report:
    return Report(found, SWEEP if found.swept else COMPARISON)


class Made(dict):
    """A thing of every example, made when it is first looked at."""

    def __init__(self, make: Callable[[str], Any]):
        super().__init__()
        self.make = make

    def __missing__(self, name: str) -> Any:
        self[name] = self.make(name)
        return self[name]


@pytest.fixture(scope="module")
def reports() -> Mapping[str, Report]:
    return Made(lambda name: report_of(getattr(example, name)()))


@pytest.fixture(scope="module")
def shown(reports) -> Mapping[str, Comparison]:
    """The findings as they may be printed."""
    return Made(lambda name: published(reports[name].findings))


@pytest.fixture(scope="module")
def pages(reports) -> Mapping[str, str]:
    return Made(lambda name: reports[name].html())


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("−", "-")


def printed(report: Report, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, color_system=None)
    for part in lines(report.page):
        console.print(part)
    text: str = console.file.getvalue()
    return "\n".join(line.rstrip() for line in text.splitlines())


def row_of(page: str, start: str, name: str) -> str:
    """The first row of an entry behind some markup, as plain text."""
    part = page[page.index(start) :]
    found = re.search(rf'<th scope="row"[^>]*>{re.escape(name)}(?=\s*<).*?</tr>', part, flags=re.S)
    assert found, name
    return plain(" ".join(re.sub(r"<[^>]*>", " ", found[0]).split()))


def test_main_table_holds_every_entry_with_its_numbers(reports, pages):
    found: Comparison = reports["compared"].findings
    page = pages["compared"]
    for e in found.entries:
        row = row_of(page, 'id="results"', e.name)
        if e.failed:
            assert row == f"{e.name} – – – – – ✕ failed: {e.failed}"
            continue
        for x in e.held_out:
            assert f"{100 * x.value:.1f} % ({100 * x.low:.1f} to {100 * x.high:.1f})" in row
        gap = next(u for u in e.unfairness if u.name == "gap").value
        assert f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})" in row
        assert f"{e.log_loss.value:.3f}" in row
        assert ("◆ chosen on validation" in row) == (e.name == found.front.chosen)
        assert ("■ reference" in row) == (e.name == found.front.reference)
        on_validation = row_of(page, "<caption>Accuracy on validation pairs", e.name)
        for x, sd in zip(e.selection, e.over_seeds):
            assert f"{100 * x.value:.1f} % ({100 * x.low:.1f} to {100 * x.high:.1f})" in on_validation
            assert f" {100 * sd:.1f}" in on_validation
        assert ("validation" in on_validation.replace("on validation", "")) == (e.name in found.front.best)
    assert "About p_rlhf: unknown users get the generic reward." in page


def test_hyperparameters_have_a_table_of_their_own_and_stand_nowhere_else(reports, pages):
    page = pages["compared"]
    for e in reports["compared"].findings.entries:
        assert row_of(page, 'id="settings"', e.name).endswith(f"{e.tried} {e.seeds} {e.seconds:.0f}")
    assert "rank by seed" in row_of(page, 'id="settings"', "p_rlhf")
    assert "The same in all rows that have it: alpha 0.1, balance 0.5." in page  # of both rows of PAFO
    assert "rank" not in page[page.index('id="results"') : page.index('id="settings"')]
    heads = re.findall("<th [^>]*>(.*?)</th>", pages["swept"][pages["swept"].index('id="settings"') :].split("</thead>")[0])
    assert heads == ["entry", "alpha", "balance", "tried", "seeds", "seconds"]


def test_who_dominates_whom_is_the_pairwise_verdict(reports):
    found, document = reports["compared"].findings, reports["compared"].document
    for e in document["entries"]:
        by = {d.first for d in found.pairwise if d.second == e["name"] and d.verdict.startswith("dominates")}
        by |= {d.second for d in found.pairwise if d.first == e["name"] and d.verdict.startswith("is dominated")}
        assert set(e["dominated_by"]) == by
    beats = sum(len(e["dominates"]) for e in document["entries"])
    assert beats == sum(len(e["dominated_by"]) for e in document["entries"]) == sum("dominate" in d.verdict for d in found.pairwise) > 10


def test_one_deal_is_said_to_be_one_and_both_units_stand_beside_each_other(reports, shown, pages):
    assert "in this one deal" in said.pairwise_sentence(shown["one_seed"])
    assert "in this one deal" not in said.pairwise_sentence(shown["compared"])
    assert "in these deals / by run" in pages["compared"]
    assert "in these deals / by run" not in pages["one_seed"]
    rows = list(csv.DictReader(io.StringIO(reports["compared"].tables()["pairwise.csv"])))
    for d, row in zip((d for pair in reports["compared"].findings.pairwise for d in pair.by_run), rows, strict=True):
        assert float(row["difference_by_run_low"]) == pytest.approx(d.low, abs=1e-6)
        assert float(row["difference_by_run_low"]) <= float(row["difference_value"]) <= float(row["difference_by_run_high"])


def test_a_comparison_seen_from_the_other_side_is_its_mirror_image(reports):
    found = reports["compared"].findings
    for pair in found.pairwise[:20]:
        there, back = found.versus(pair.first, pair.second), found.versus(pair.second, pair.first)
        assert there is pair
        for side in ("differences", "in_these_deals", "by_run"):
            assert [(-d.value, -d.high, -d.low) for d in getattr(there, side)] == [(d.value, d.low, d.high) for d in getattr(back, side)]
        assert back.verdict == pair.verdict.replace("is dominated", "@").replace("dominates", "is dominated").replace("@", "dominates")


def test_users_who_change_groups_from_deal_to_deal_are_said_to(reports, shown):
    """400 users, 352 in one group and 48 in the other, in each seed; where the groups of several seeds hold 370 and 60, that is said."""
    found = reports["compared"].findings
    assert said.users_sentence(shown["compared"]) == ""
    entries = tuple(
        replace(e, held_out=tuple(replace(x, n_users=n) for x, n in zip(e.held_out, (370, 60, 400)))) if e.held_out else e
        for e in found.entries
    )
    report = report_of(replace(found, entries=entries))
    told = said.users_sentence(published(report.findings))
    assert told.startswith("The groups’ users, 370 + 60, add up to more than 400: each seed deals the data anew")
    assert told in " ".join(report.html().split())
    assert told in report.markdown()
    assert told.replace("’", "'") in printed(report, 400)


def test_the_choice_is_told_from_the_front_that_wins_an_area(shown):
    """Two entries share the front: 10 x 1 and 4 x 4 points over the reference; the staircase wins 10 + 4 * 3 = 22, the choice alone 16."""
    found = shown["compared"]
    base, chosen = found.front.reference, found.front.chosen
    one = next(e.name for e in found.running if e.name not in (base, chosen))
    gains = {base: (0.0, 0.0), one: (0.10, 0.01), chosen: (0.04, 0.04)}

    def moved(e):
        cells = [tuple(replace(x, value=0.6 + g) for x, g in zip(side, gains[e.name])) + side[2:] for side in (e.selection, e.held_out)]
        return replace(e, selection=cells[0], held_out=cells[1])

    front = replace(found.front, best=(one, chosen), hypervolume_selection=22.0, hypervolume_held_out=22.0)
    told = said.front_sentence(replace(found, front=front, entries=tuple(moved(e) if e.name in gains else e for e in found.entries)))
    assert (
        f"together they win 22.0 points² over {base} there and 22.0 on test pairs; the choice, {chosen}, alone wins 16.0 and 16.0 (" in told
    )
    none = said.front_sentence(replace(found, front=replace(front, hypervolume_selection=0.01, hypervolume_held_out=0.0)))
    assert f"; no area is won over {base} (" in none


def test_titles_state_what_was_found(reports, shown):
    found = reports["compared"].findings
    front, best = found.front, found.chosen
    title = said.front_sentence(shown["compared"])
    assert title.startswith(f"By the estimates on validation pairs {len(front.best)} of 12 entries are on the front; together they win ")
    won = f"{front.hypervolume_selection:.1f} points² over {front.reference} there and {front.hypervolume_held_out:.1f} on test pairs"
    assert won in title
    for d in found.versus(front.chosen, front.reference).differences:
        assert f"the {d.group} {100 * d.value:+.1f} points" in plain(said.meaning(shown["compared"]))
    dominated = [n for n, winners in found.dominated_by.items() if best.name in winners]
    assert f"The choice, {best.name}, dominates {len(dominated)} of 11 other entries" in said.pairwise_sentence(shown["compared"])
    assert f"{found.dominated_by[best.name][0]} dominate" in said.pairwise_sentence(shown["compared"])
    worst = best.metric("worst decile").difference
    told = plain(said.unfairness_sentence(shown["compared"], shown["compared"].chosen, ("worst decile",)))
    assert told.startswith(f"For single users the choice, {best.name}, means against {front.reference}: worst decile ")
    assert f"worst decile {100 * worst.value:+.1f} points ({100 * worst.low:+.1f} to {100 * worst.high:+.1f}; 400 users" in told


@pytest.mark.parametrize("make", MAKERS)
def test_sentences_begin_with_a_capital_and_stand_once(reports, make):
    page = reports[make.__name__].page
    titles = [s for p in page.panels for s in (p.finding, *(f.sentence for f in p.figures))] + [f.sentence for f in page.first]
    told = [s for s in (*titles, *map(str, page.answers), page.summary, *(n for p in page.panels for n in p.notes)) if s]
    assert len(told) == len(set(told))
    for sentence in told:
        assert sentence[0] == sentence[0].upper(), sentence


def test_nobody_is_called_chosen_where_the_reference_was(reports):
    found = reports["swept"].findings
    kept = published(replace(found, front=replace(found.front, chosen=found.front.reference)))
    (figure,) = [f for f in report_of(kept).page.first if f.section == "users"]
    best = max((e for e in found.running if e.name != found.front.reference), key=lambda e: e.selection[0].value + e.selection[1].value)
    assert f"For single users the highest on validation pairs beside the reference, which was chosen, {best.name}, means" in figure.sentence


def test_gain_title_counts_what_lies_beyond_noise(reports, shown):
    found = reports["compared"].findings
    reference = found.front.reference
    better = worse = 0
    for d in found.pairwise:
        if reference in (d.first, d.second):
            ends = [(x.low, x.high) if d.second == reference else (-x.high, -x.low) for x in d.differences]
            better += any(low > 0 for low, _ in ends) and not any(high < 0 for _, high in ends)
            worse += any(high < 0 for _, high in ends)
    assert 0 < better < 11
    title = said.gain_sentence(shown["compared"])
    assert title.startswith(f"Over {reference}, {better} of 11 entries improve some group")
    assert f"{worse} lose some group accuracy beyond noise" in title


def test_a_difference_within_noise_is_called_so(shown):
    found = shown["one_seed"]
    assert "within noise" not in said.meaning(found)

    def moved(p):
        return replace(p, differences=(replace(p.differences[0], value=0.001, low=-0.01, high=0.012), *p.differences[1:]))

    pairs = tuple(moved(p) if {p.first, p.second} == {"pafo", example.REFERENCE} else p for p in found.pairwise)
    assert "0.1 points, within noise" in said.meaning(replace(found, pairwise=pairs))


@pytest.mark.parametrize("name", FRONT)
def test_the_frontier_is_drawn_for_both_splits(reports, name):
    page = reports[name].page
    figure = next(f for f in page.first if f.section == "results")
    drawing = figure.plot(860)
    for label in ("validation pairs: chosen here", "test pairs: reported here", "on the front of validation", "chosen"):
        assert label in drawing
    assert ("area won" in drawing) == (name not in ("three_groups", "many_groups"))


def test_an_area_that_reads_as_nothing_is_not_shaded():
    def place(name, x, y, **is_so):
        at = tuple(Estimate(v, v - 0.01, v + 0.01, 50, 500) for v in (x, y))
        return scatter.Place(name, at, at, **{"is_best": True, **is_so})

    base = place("base", 0.6, 0.6, is_best=False, is_reference=True)
    for gain, is_shaded in ((0.002, False), (0.02, True)):  # 0.04 points² read as 0.0; 4 points²
        drawing = scatter.frontier([base, place("a", 0.6 + gain, 0.6 + gain, is_chosen=True)], ("x", "y"), True, 860)
        assert ("area won" in drawing) == is_shaded


def test_entries_that_are_all_alike_are_not_drawn():
    """Two settings that end in the reference itself: neither a frontier of one point nor a level line over the hyperparameter."""
    found = example.swept(("0.1", "0.5"), ("0",))
    first = found.entries[1]
    same = {"selection": first.selection, "held_out": first.held_out}
    report = report_of(replace(found, entries=tuple(replace(e, **same) for e in found.entries)))
    panels_of = {p.key: p for p in report.page.panels}
    assert "results" not in {f.section for f in report.page.first}
    assert panels_of["results"].finding.startswith("By the estimates on validation pairs ")
    assert [f.plot for f in panels_of["hyperparameters"].figures] == [None]


def test_the_staircase_bounds_exactly_what_its_points_dominate():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(map(float, p)) for p in rng.integers(0, 12, (9, 2))]
        front = scatter.envelope(points)
        brute = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
        assert set(front) == brute
        assert front == sorted(front)
        corners = scatter.steps(front)
        assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(corners))
        assert all(any(x <= a and y <= b for a, b in points) for x, y in corners)  # nothing beyond what was reached


def test_an_entry_far_away_does_not_flatten_the_others(shown, reports):
    places = panels._places(shown["compared"])
    windows = scatter.windows(places)
    far = next(p for p in places if p.name == "Bradley-Terry")
    for split, (_, (low, high)) in windows.items():
        assert far.xy(split)[1] < low
        assert high - low < 15
    spans = [tuple(round(b - a, 9) for a, b in windows[s]) for s in ("selection", "held_out")]
    assert spans[0] == spans[1]  # one scale in both panes
    (x0, x1), (y0, y1) = windows["held_out"]
    hopes = scatter.promised(places)
    assert set(hopes) == {p.name for p in places if p.is_best}
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in hopes.values())  # the hollow ends of the ways from validation to test
    notes = next(p.notes for p in reports["compared"].page.panels if p.key == "results")
    assert "Beyond the figure of the front: Bradley-Terry." in notes


def test_labels_cover_no_mark_no_line_no_frame_and_no_other_label():
    """Of 40 crowded figures: whatever finds a place is free of everything; points at one place share a label."""
    rng = np.random.default_rng(0)
    size, placed = (400.0, 300.0), 0
    for _ in range(40):
        at = [tuple(map(float, p)) for p in rng.uniform((10, 10), (390, 290), (10, 2))]
        marks = [labels.around(p, 5.0) for p in at]
        paths = [[(x - 30, y), (x + 30, y)] for x, y in at] + [[(x, y - 30), (x, y + 30)] for x, y in at] + [[(0.0, 0.0), size]]
        names = [labels.Label(p, f"entry number {i}", "ink", i == 0) for i, p in enumerate(at)]
        found = labels.place(names, marks, paths, (0.0, 0.0, *size))
        placed += len(found)
        boxes = [p.box for p in found]
        for i, (left, low, right, top) in enumerate(boxes):
            assert 0 <= left < right <= size[0]
            assert 0 <= low < top <= size[1]
            others = marks + boxes[:i]
            assert not any(left < b[2] and b[0] < right and low < b[3] and b[1] < top for b in others)
            for (x, y), (u, v) in (ends for path in paths for ends in pairwise(path)):
                along = np.linspace(0, 1, 500)
                xs, ys = x + along * (u - x), y + along * (v - y)
                assert not ((xs > left) & (xs < right) & (ys > low) & (ys < top)).any()
    assert placed > 200
    (both,) = labels.place([labels.Label((50.0, 50.0), n, "ink") for n in ("a", "b")], [], [], (0.0, 0.0, *size))
    assert both.label.text == "a, b"


def test_the_limits_of_rows_are_not_set_by_intervals_that_say_nothing():
    """Two seeds give an entry an interval from 0 to 100 %: the others keep their scale, and the interval ends in an arrow."""
    near = [Estimate(0.6 + d, 0.57 + d, 0.63 + d, 50, 500) for d in (0.0, 0.02, 0.03)]
    low, high = strips.limits([*near, Estimate(0.55, 0.0, 1.0, 50, 500)], 100, [])
    assert 50 < low <= 55
    assert 66 <= high < 70
    drawing = strips.strips(
        "x", list("abcd"), [strips.Strip("all", [strips.Series("", [*near, Estimate(0.55, 0.0, 1.0, 50, 500)])], zero=False)], 860
    )
    assert drawing.count("<use ") == 4 + 2  # four values, and an arrow at either edge


def test_values_of_two_series_beyond_the_edge_stand_on_one_line():
    def series(label, shift):
        return strips.Series(label, [Estimate(v + shift, v + shift - 0.01, v + shift + 0.01, 50, 500) for v in (0.7, 0.71, 0.7, 0.72, 0.3)])

    drawing = strips.strips("x", list("abcde"), [strips.Strip("all", [series("seen", 0.0), series("unseen", 0.02)], 100, " %", False)], 860)
    assert ">30 and 32 %<" in drawing


def test_matrix_has_a_sign_for_every_pair(reports):
    def drawn(name: str) -> tuple[str, str]:
        panel = next(p for p in reports[name].page.panels if p.key == "pairwise")
        return panel.figures[-1].plot(860), panel.figures[-1].note

    for name, rows in (("compared", 12), ("three_groups", 5), ("no_groups", 3)):
        drawing, _ = drawn(name)
        legend = sum(f">{v}<" in drawing for v in matrix.MARKS)
        assert drawing.count("<use ") - legend == rows * (rows - 1)
    drawing, note = drawn("large_sweep")
    assert (
        drawing.count("<use ") - sum(f">{v}<" in drawing for v in matrix.MARKS) == 30 * 2 - 2
    )  # two columns: the choice and the reference
    assert note.endswith("Columns: 3 alpha=0.0100 balance=0.5, 2 personalised Bradley-Terry; drawn: 30 of 36 entries.")


def test_a_matrix_of_nothing_but_undecided_is_a_sentence(reports):
    found = reports["one_seed"].findings
    pairs = tuple(replace(p, verdict="undecided") for p in found.pairwise)
    panel = next(p for p in report_of(replace(found, pairwise=pairs)).page.panels if p.key == "pairwise")
    assert [f.plot for f in panel.figures] == [None]
    assert panel.figures[0].sentence.startswith("The choice, pafo, dominates 0 of 2 other entries in this one deal; none dominates it")


def test_comparisons_with_the_reference_and_of_the_choice_come_first(reports):
    against, rest = next(p for p in reports["large_sweep"].page.panels if p.key == "pairwise").tables
    assert len(against.rows) == 35
    assert {row[2] for row in against.rows} == {example.REFERENCE}
    assert len(rest.rows) == 35 * 34 / 2
    assert {row[0] for row in rest.rows[:34]} == {"alpha=0.0100 balance=0.5"}
    assert example.REFERENCE not in {name for row in rest.rows for name in (row[0], row[2])}


def test_a_hyperparameter_is_turned_with_the_others_at_the_choice(shown):
    found = shown["swept"]
    centre = settings.centre_of(found)
    assert dict(centre) == dict(found.chosen.settings)
    line = settings.line_of(found, "alpha", centre)
    assert [v for v, _ in line] == ["0.1", "0.25", "0.5", "0.8"]
    assert {e.settings["balance"] for _, e in line} == {found.chosen.settings["balance"]}
    title = plain(said.sweep_sentence(found, "alpha", line))
    for d in found.versus(line[-1][1].name, line[0][1].name).differences:
        assert f"the {d.group} {100 * d.value:+.1f} points" in title


def test_hyperparameters_stay_at_the_best_setting_where_a_reference_was_chosen(reports):
    found = reports["swept"].findings
    kept = published(replace(found, front=replace(found.front, chosen=found.front.reference)))
    best = max((e for e in found.entries if e.settings), key=lambda e: e.selection[0].value + e.selection[1].value)
    assert dict(settings.centre_of(kept)) == dict(best.settings)
    assert f"the reference, {example.REFERENCE}, stays" in said.meaning(kept)


def test_a_sweep_has_hyperparameters_and_a_comparison_none(reports, pages):
    for name in (make.__name__ for make in MAKERS):
        panel = next(p for p in reports[name].page.panels if p.key == "hyperparameters")
        assert panel.is_shown == (name in ("swept", "large_sweep", "bound_sweep"))
    assert 'id="hyperparameters"' in pages["swept"]
    assert 'id="hyperparameters"' not in pages["one_seed"]
    assert "The other hyperparameters stay at balance 0." in pages["swept"]


def test_one_seed_says_so(reports, pages):
    assert "One seed alone does not show how far training itself varies." in pages["one_seed"]
    assert "sd, all users" in pages["compared"]
    assert "sd, " not in pages["one_seed"]
    assert json.loads(reports["one_seed"].json())["entries"][0]["over_seeds"] == [None] * 3


def test_without_groups_all_users_are_compared(reports, shown, pages):
    found = shown["no_groups"]
    assert found.front is None
    assert said.headline(found) == "Highest on validation: pafo"
    assert "all users +" in said.meaning(found)
    assert "There is no front" in pages["no_groups"]
    assert "The highest on validation, pafo, dominates 2 of 2 other entries" in pages["no_groups"]


def test_many_groups_name_the_worst_served(reports, pages):
    found = reports["many_groups"].findings
    for e in found.entries:
        worst = min(zip(e.held_out, found.groups), key=lambda x: x[0].value)
        row = row_of(pages["many_groups"], 'id="results"', e.name)
        assert f"{100 * worst[0].value:.1f} %" in row
        assert f"{worst[1]}; {worst[0].n_users} users" in row
    assert "points³" not in pages["many_groups"]
    assert "on the front of all 30 groups" in pages["many_groups"]


def test_when_all_failed_the_page_says_why(reports, pages):
    assert pages["all_failed"].count("✕ failed: no user has more than one pair") == 3
    assert "Nothing could be chosen" in pages["all_failed"]
    assert printed(reports["all_failed"], 200).count("Failed: ") == 3


@pytest.mark.parametrize("make", MAKERS)
def test_every_format_can_be_read_back(reports, pages, make):
    report, page = reports[make.__name__], pages[make.__name__]
    document = json.loads(report.json(), parse_constant=lambda c: pytest.fail(c))
    assert document == report.document
    assert [e["name"] for e in document["entries"]] == [e.name for e in report.findings.entries]
    assert len(report.markdown().splitlines()) <= 40
    assert len(page.encode()) <= 2_000_000
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S).lower()
    assert "None" not in Page(page).text
    for name, text in report.tables().items():
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1, name
    assert set(report.tables()) >= {"results.csv", "pairwise.csv", "unfairness.csv", "cells.csv"}


@pytest.mark.parametrize("make", MAKERS)
def test_every_figure_has_a_title_with_counts_and_its_numbers(reports, make):
    page = reports[make.__name__].page
    panels_of = {p.key: p for p in page.panels}
    assert len(page.first) == (
        0 if make is example.all_failed else 1 if make is example.small_group else 2 if make is example.no_groups else 3
    )
    for figure, panel in [*((f, panels_of[f.section]) for f in page.first), *((f, p) for p in page.panels for f in p.figures)]:
        assert panel.tables or (figure.table and figure.table.rows)
        if figure.plot:
            assert re.search(r"[\d,]+ users, [\d,]+ pairs", figure.sentence), figure.sentence
            assert len(figure.note) < 290
            assert all(len(figure.plot(width)) < 110_000 for width in (860, 400))


def test_panels_stand_in_the_order_of_decisions(reports, pages):
    keys = ("verdict", "results", "pairwise", "users", "cells", "hyperparameters", "settings", "data")
    places = [pages["swept"].index(f'id="{key}"') for key in keys]
    assert places == sorted(places)
    assert [f.section for f in reports["swept"].page.first] == ["results", "pairwise", "users"]
    assert [f.section for f in reports["bound_sweep"].page.first] == ["results", "pairwise", "constraints"]
    assert "Where all rows went" in pages["swept"]
    assert "evenhand sweep choices.parquet" in pages["swept"]
    assert "9c1f9c1f" in pages["swept"]


def test_csv_files_hold_every_row_and_the_findings_numbers(reports):
    report = reports["compared"]
    tables = {name: list(csv.DictReader(io.StringIO(text))) for name, text in report.tables().items()}
    found = report.findings
    assert len(tables["results.csv"]) == 12 * 3 + 1
    assert len(tables["pairwise.csv"]) == 66 * 2
    assert len(tables["cells.csv"]) == 12 * 2 * 3
    assert len(tables["unfairness.csv"]) == sum(len(e.unfairness) for e in found.entries)
    pafo = next(e for e in found.entries if e.name == "pafo")
    row = next(r for r in tables["results.csv"] if r["entry"] == "pafo" and r["group"] == "minority")
    assert float(row["test_value"]) == pafo.held_out[1].value
    assert float(row["validation_high"]) == pafo.selection[1].high
    assert float(row["sd_over_seeds"]) == pafo.over_seeds[1]
    assert (row["chosen"], row["test_n_users"], row["settings"]) == ("True", "60", "alpha 0.1, balance 0.5")
    assert tables["results.csv"][-1]["failed"].startswith("2 of 3 seeds")


def test_small_groups_are_hidden_in_every_format(reports):
    """The minority has 7 of 207 users. The majority's numbers would give it away beside those of all users, so they are hidden, too."""
    report = reports["small_group"]
    found = report.findings
    texts = [report.html(), report.json(), report.markdown(), repr(report), printed(report), *report.tables().values()]
    assert found.entries[0].held_out[1].n_users == 7
    gaps = [u.value.value for e in found.entries for u in e.unfairness if u.name == "gap"]
    hidden = [
        x.value for e in found.entries for x in (*e.held_out[:2], *e.selection[:2], *(c[i] for c in e.cells.values() for i in (0, 1)))
    ]
    hidden += [s for e in found.entries for s in e.over_seeds[:2]] + [d.value for p in found.pairwise for d in p.differences] + gaps
    for text in texts:
        for value in hidden:
            assert f"{value:.6f}"[:7] not in text
        assert not re.search(r"(?<![\d,])(7|200) users", text)
    document = json.loads(report.json())
    assert document["front"]["best"] == []
    assert document["front"]["hypervolume_selection"] is None
    assert [x["suppressed"] for x in document["entries"][1]["held_out"]] == [True, True, False]
    assert [x["n_users"] for x in document["entries"][1]["held_out"]] == [None, None, 207]
    assert document["entries"][1]["over_seeds"][:2] == [None, None]
    assert document["exclusions"]["by_group"] == {}
    assert (
        "Not shown: majority, minority. A group of under 10 users is hidden, and with it what it could be computed from." in report.html()
    )
    assert "The front is not shown: a group has fewer than 10 users." in report.html()
    for text in (report.html(), report.markdown(), printed(report)):  # rounded numbers too
        for e in found.entries:
            assert f"{100 * e.held_out[1].value:.1f} %" not in plain(text)


def test_no_group_can_be_computed_from_all_users_and_the_other_groups():
    """Of 400 users 7 are in c and 33 in b: b is hidden with c, and a stays, since 40 users are left."""
    truth = {"bt": (0.6, 0.5, 0.4), example.REFERENCE: (0.72, 0.66, 0.63), "pafo": (0.73, 0.68, 0.66)}
    found = published(example.results(truth, ("a", "b", "c"), (360, 33, 7)))
    for e in found.entries:
        for cells in (e.selection, e.held_out, *e.cells.values()):
            assert [x.suppressed for x in cells] == [False, True, True, False]
    whole = published(example.results(truth, ("a", "b", "c"), (360, 33, 17)))
    assert not any(x.suppressed for e in whole.entries for x in (*e.selection, *e.held_out))


def test_every_metric_is_on_the_page_in_a_file_and_hidden_with_its_group():
    found = example.results({"bt": (0.6, 0.5, 0.4), example.REFERENCE: (0.7, 0.6, 0.5)}, ("a", "b", "c"), (360, 33, 7))

    def with_metric(e):
        cells = [Estimate(v, v - 0.1, v + 0.1, x.n_users, x.n_pairs) for v, x in zip((1.25, 1.375, 1.0625, 1.5), e.held_out)]
        return replace(e, metrics=(MetricFinding("own", "mean of it", cells[-1], tuple(cells[:-1]), Estimate(0.8125, 0.0, 1.0, 40, 400)),))

    report = report_of(replace(found, entries=tuple(map(with_metric, found.entries)), note="Seen before."))
    rows = {(r["entry"], r["group"]): r for r in csv.DictReader(io.StringIO(report.tables()["metrics.csv"]))}
    assert [rows["bt", g]["estimate_value"] for g in ("a", "b", "c", "all")] == ["1.25", "", "", "1.5"]
    assert rows["bt", "all"]["gap_value"] == ""
    page = report.html()
    assert "own: mean of it" in page
    assert "Seen before." in page
    assert "1.250" in page
    for value in ("1.375", "1.0625", "0.8125"):
        assert not any(value in text for text in (page, report.json(), report.markdown(), *report.tables().values()))


def test_a_verdict_does_not_give_a_small_group_away():
    truth = {"bt": (0.6, 0.5, 0.4), example.REFERENCE: (0.72, 0.66, 0.63), "pafo": (0.73, 0.68, 0.66)}
    found = example.results(truth, ("a", "b", "c"), (360, 33, 7))
    pair = found.pairwise[0]
    turned = replace(
        pair, verdict="trades", differences=(*pair.differences[:2], replace(pair.differences[2], value=0.3, low=0.2, high=0.4))
    )
    shown = published(replace(found, pairwise=(turned, *found.pairwise[1:]))).pairwise[0]
    assert turned.differences[0].high < 0
    assert shown.verdict == "is dominated clearly"  # by the one group that is shown
    assert [d.suppressed for d in shown.differences] == [False, True, True]


def test_few_unseen_users_hide_the_seen_ones_too():
    """With them those of the other group, which would leave the few beside all unseen users."""
    found = example.one_seed()
    e = found.entries[2]
    few = tuple(replace(x, n_users=6) for x in e.cells["unseen users"][:1]) + e.cells["unseen users"][1:]
    cells = published(replace(found, entries=(*found.entries[:2], replace(e, cells={**e.cells, "unseen users": few})))).entries[2].cells
    for part in cells.values():
        assert [x.suppressed for x in part] == [True, True, False]


def test_two_names_that_look_alike_stay_two():
    found = example.one_seed()
    names = {e.name: n for e, n in zip(found.entries, ("a\u202e", "a\\u202e", "b"))}
    twins = replace(
        found,
        entries=tuple(replace(e, name=names[e.name]) for e in found.entries),
        pairwise=tuple(replace(d, first=names[d.first], second=names[d.second]) for d in found.pairwise),
        front=replace(found.front, reference=names[found.front.reference], chosen=names[found.front.chosen], best=(), best_held_out=()),
    )
    kept = published(twins)
    shown = [e.name for e in kept.entries]
    assert len(set(shown)) == 3
    assert kept.front.reference == shown[1]
    assert {p.first for p in kept.pairwise} <= set(shown)


def batches() -> list[list[str]]:
    texts = list(dict.fromkeys(one_line(t) for t in PAYLOADS if one_line(t).strip()))
    texts += texts[: -len(texts) % 20]
    return [texts[i : i + 20] for i in range(0, len(texts), 20)]


def shape(report: Report) -> tuple[list, Skeleton]:
    """Tags of the page but those of the figures' labels, whose number and places follow the labels' lengths."""
    found = Skeleton(report.html())
    return [tag for tag in found.tags if tag[0] not in ("text", "g")], found


@pytest.fixture(scope="module")
def harmless() -> tuple[list, Skeleton]:
    return shape(report_of(example.named([f"word {i:02d}" for i in range(20)])))


@pytest.mark.parametrize("batch", range(len(batches())))
def test_texts_of_others_stay_texts(batch, harmless):
    texts = batches()[batch]
    report = report_of(example.named(texts))
    tags, found = shape(report)
    assert tags == harmless[0]
    assert found.addresses == harmless[1].addresses
    assert found.others == harmless[1].others
    shown = " ".join(found.text)
    for text in texts:
        assert one_line(text) in shown
    assert [e["name"] for e in json.loads(report.json())["entries"]][:20] == texts
    assert len(report.markdown().splitlines()) <= 40
    for line in report.markdown().replace("\\\\", "").splitlines()[4:-1]:
        assert not re.search(r"<[a-zA-Z/!?]|(?<!\\)[`*\[\]](?!\*)(?<!\*\*)|@|://", line), line
    for text in report.tables().values():
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        for cell in (c for row in rows for c in row):
            assert not re.match(r"[\s'\"]*[=@＝＋－＠\t\r]", cell.removeprefix("'")) or cell.startswith("'")
    terminal = printed(report, 2_000)
    assert all(c.isprintable() or c in "\n\u200c\u200d" for c in terminal)


def test_page_is_deterministic(reports, pages):
    assert report_of(example.bound_sweep()).html() == pages["bound_sweep"]


@pytest.mark.parametrize("make", MAKERS)
def test_the_terminal_gets_a_short_table(reports, make):
    shown = printed(reports[make.__name__], 1_000)
    assert len(shown.splitlines()) <= 48
    assert shown.isascii()
    assert "\n\n" not in shown.strip()


@pytest.mark.parametrize("make", MAKERS)
def test_notes_under_the_first_figures_are_two_lines(reports, make):
    """Two lines of a column of a third of 1,280 pixels hold some 130 letters."""
    assert all(len(f.note) <= 130 for f in reports[make.__name__].page.first)


def test_three_entries_are_a_short_read_in_the_terminal(reports):
    some = reports["bound"].findings
    kept = tuple(e for e in some.entries if e.name in (some.reference, some.front.chosen, "gamma=0.02"))
    names = {e.name for e in kept}
    pairs = tuple(p for p in some.pairwise if {p.first, p.second} <= names)
    fronts = tuple(replace(f, lines=()) for f in some.constraint_fronts)
    for findings in (reports["one_seed"].findings, replace(some, entries=kept, pairwise=pairs, constraint_fronts=fronts)):
        shown = printed(report_of(findings), 100)
        assert len(shown.splitlines()) <= 25
        assert shown.count("Chosen on validation") == 1
    assert "change of violation" in " ".join(shown.split())


def test_the_terminal_shows_the_numbers(reports):
    shown = printed(reports["compared"], 300).splitlines()
    row = next(line for line in shown if line.startswith("pafo (* chosen on validation, knee) "))
    e = next(e for e in reports["compared"].findings.entries if e.name == "pafo")
    for x in e.held_out:
        assert f"{100 * x.value:.1f} % [{100 * x.low:.1f}, {100 * x.high:.1f}]" in row
    assert any(line.startswith("personalised Bradley-Terry (= reference)") for line in shown)
    assert any(line.startswith("Failed: gpo: 2 of 3 seeds") for line in shown)


def test_of_many_entries_the_important_ones_are_kept(shown):
    found = shown["large_sweep"]
    kept = [e.name for e in panels.foremost(found, 5)]
    assert len(kept) == 5
    assert {found.front.chosen, found.front.reference} <= set(kept)
    order = [e.name for e in found.entries]
    assert kept == sorted(kept, key=order.index)


def test_save_writes_all_files_in_one_step_each(reports, tmp_path):
    path = reports["one_seed"].save(tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "report.html"
    names = {p.name for p in path.parent.iterdir()}
    assert names >= {"report.html", "report.json", "report.md", "results.csv", "pairwise.csv", "unfairness.csv", "cells.csv"}
    assert {name for name in names if name.startswith(".")} == {LIST}
    assert names - {LIST} <= set(COMPARISON.files)
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvenhandError, match="cannot be written"):
        reports["one_seed"].save(tmp_path / "file")


def test_it_shows_itself(reports, pages):
    lines = repr(reports["compared"]).splitlines()
    assert 2 <= len(lines) <= 5
    assert lines[0] == "Chosen on validation: pafo: Choices of 400 users over 661 queries"
    tag, attributes = Page(reports["compared"]._repr_html_()).tags[0]
    assert (tag, attributes["sandbox"], attributes["srcdoc"]) == ("iframe", "", pages["compared"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pages) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for name in ("compared", "swept", "many_groups", "large_sweep", "bound_sweep"):
        (folder / f"{name}.html").write_text(pages[name], encoding="utf-8")
    (folder / "hostile.html").write_text(report_of(example.named(batches()[0])).html(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["compared", "swept", "many_groups", "large_sweep", "bound_sweep", "hostile"])
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (400, True)])
def test_page_is_silent_fits_and_keeps_labels_inside(browser, folder, name, width, dark):
    browser.open(folder / f"{name}.html", width, dark)
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.scripts.length") == 0
    for font in ("Inter, sans-serif", "DejaVu Sans, sans-serif") if name != "hostile" else ():
        browser.evaluate(f"document.body.style.fontFamily = '{font}'")
        script = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
            const box = s.getBoundingClientRect();
            return [...s.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
                return b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2; }).map(t => t.textContent)
        })"""
        assert browser.evaluate(script) == []


def test_pairwise_tables_of_two_groups_fit_a_page(browser, folder):
    browser.open(folder / "compared.html", 1280, False)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tables = "[...document.querySelector('#pairwise').parentElement.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{tables}.length") == 2
    assert browser.evaluate(f"{tables}.filter(s => s.scrollWidth > s.clientWidth).map(s => s.scrollWidth)") == []


def test_figures_leave_out_the_brackets_that_they_have_no_room_for():
    found = example.one_seed()
    names = ("PAFO (LoRe's head)", "VPL (ridge head)", "VPL (linear)")
    found = replace(found, entries=tuple(replace(e, name=n) for e, n in zip(found.entries, names, strict=True)))
    assert said.labels(found) == dict(zip(names, ("PAFO", "VPL (ridge head)", "VPL (linear)")))


def test_the_terminal_marks_a_reference_that_was_chosen(reports):
    found = reports["compared"].findings
    report = report_of(replace(found, front=replace(found.front, chosen=found.front.reference)))
    assert f"\n{found.front.reference} (* chosen on validation, = reference)" in printed(report, 300)

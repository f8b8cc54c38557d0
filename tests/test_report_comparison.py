"""The report of a comparison or a sweep says what the results hold, hides small cells, keeps other people's texts as texts, and is one page."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import chromium
import comparison_example as example
import numpy as np
import pytest
from payloads import PAYLOADS
from rich.console import Console
from test_report import Page
from test_report_security import Skeleton

from evenhand.audits.results import Comparison
from evenhand.core import EvenhandError
from evenhand.report import Report
from evenhand.report.comparison import COMPARISON, SWEEP, panels, published
from evenhand.report.comparison import sentences as said
from evenhand.report.figures import labels, scatter, strips
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


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {make.__name__: report_of(make()) for make in MAKERS}


@pytest.fixture(scope="module")
def shown(reports) -> dict[str, Comparison]:
    """The findings as they may be printed."""
    return {name: published(report.findings) for name, report in reports.items()}


@pytest.fixture(scope="module")
def pages(reports) -> dict[str, str]:
    return {name: report.html() for name, report in reports.items()}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("−", "-")


def printed(report: Report, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, color_system=None)
    for part in lines(report.page):
        console.print(part)
    text: str = console.file.getvalue()
    return "\n".join(line.rstrip() for line in text.splitlines())


def row_of(page: str, panel: str, name: str) -> str:
    """The row of an entry in the first table of a panel, as plain text."""
    part = page[page.index(f'id="{panel}"') :]
    found = re.search(rf'<th scope="row">{re.escape(name)}(?=<).*?</tr>', part, flags=re.S)
    assert found, name
    return plain(" ".join(re.sub(r"<[^>]*>", " ", found[0]).split()))


def test_main_table_holds_every_entry_with_its_numbers(reports, pages):
    found: Comparison = reports["compared"].findings
    for e in found.entries:
        row = row_of(pages["compared"], "results", e.name)
        if e.failed:
            assert row == f"{e.name} ✕ failed: {e.failed}"
            continue
        for x, sd in zip(e.held_out, e.over_seeds):
            assert f"{100 * x.value:.1f} % {100 * x.low:.1f} to {100 * x.high:.1f} sd {100 * sd:.1f}" in row
        gap = next(u for u in e.unfairness if u.name == "gap").value
        assert f"{100 * gap.value:+.1f} {100 * gap.low:+.1f} to {100 * gap.high:+.1f}" in row
        assert f"{e.log_loss.value:.3f}" in row
        assert f"{e.seconds:.0f} s {e.tried} tried {e.seeds} seeds" in row
        assert ("◆ chosen on validation" in row) == (e.name == found.front.chosen)
        assert ("■ reference" in row) == (e.name == found.front.reference)
    assert "unknown users get the generic reward" in row_of(pages["compared"], "results", "p_rlhf")
    assert "rank by seed" in row_of(pages["compared"], "results", "p_rlhf")


def test_who_dominates_whom_is_the_pairwise_verdict(reports):
    found, document = reports["compared"].findings, reports["compared"].document
    for e in document["entries"]:
        by = {d.first for d in found.pairwise if d.second == e["name"] and d.verdict.startswith("dominates")}
        by |= {d.second for d in found.pairwise if d.first == e["name"] and d.verdict.startswith("is dominated")}
        assert set(e["dominated_by"]) == by
    beats = sum(len(e["dominates"]) for e in document["entries"])
    assert beats == sum(len(e["dominated_by"]) for e in document["entries"]) == sum("dominate" in d.verdict for d in found.pairwise) > 10


def test_one_deal_is_said_to_be_one_and_both_units_stand_beside_each_other(reports, pages):
    assert "in this one deal" in said.pairwise_sentence(publish(reports["one_seed"].findings))
    document = publish(reports["compared"].findings)
    assert "in this one deal" not in said.pairwise_sentence(document)
    assert "in these deals / by run" in pages["compared"]
    assert "in these deals / by run" not in pages["one_seed"]
    rows = list(csv.DictReader(io.StringIO(tables(document)["pairwise.csv"])))
    for d, row in zip((d for pair in reports["compared"].findings.pairwise for d in pair.by_run), rows, strict=True):
        assert float(row["difference_by_run_low"]) == pytest.approx(d.low, abs=1e-6)
        assert float(row["difference_by_run_low"]) <= float(row["difference_value"]) <= float(row["difference_by_run_high"])


def test_a_comparison_seen_from_the_other_side_is_its_mirror_image(reports):
    document = reports["compared"].document
    for pair in document["pairwise"][:20]:
        there, word = versus(document, pair["first"], pair["second"])
        back, turned = versus(document, pair["second"], pair["first"])
        assert (there, word) == (pair["differences"], pair["verdict"])
        assert [(-d["value"], -d["high"], -d["low"]) for d in there] == [(d["value"], d["low"], d["high"]) for d in back]
        swapped = word.replace("is dominated", "@").replace("dominates", "is dominated").replace("@", "dominates")
        assert turned == swapped


def test_users_who_change_groups_from_deal_to_deal_are_said_to(reports):
    """400 users, 352 in one group and 48 in the other, in each seed; where the groups of several seeds hold 370 and 60, that is said."""
    found = reports["compared"].findings
    assert said.users_sentence(reports["compared"].document) == ""
    entries = tuple(
        replace(e, held_out=tuple(replace(x, n_users=n) for x, n in zip(e.held_out, (370, 60, 400)))) if e.held_out else e
        for e in found.entries
    )
    report = report_of(replace(found, entries=entries))
    told = said.users_sentence(report.document)
    assert told.startswith("The groups’ users, 370 + 60, add up to more than 400: each seed deals the data anew")
    assert told in " ".join(report.html().split())
    assert told in report.markdown()
    assert told.replace("’", "'") in printed(report, 400)


def test_the_choice_is_told_from_the_front_that_wins_an_area(reports):
    """Two entries share the front: 10 x 1 and 4 x 4 points over the reference; the staircase wins 10 + 4 * 3 = 22, the choice alone 16."""
    document = json.loads(json.dumps(reports["compared"].document))
    front = document["front"]
    base, chosen = (next(e for e in document["entries"] if e["name"] == front[key]) for key in ("reference", "chosen"))
    one = next(e for e in document["entries"] if e["held_out"] and e["name"] not in (base["name"], chosen["name"]))
    for e, gains in ((base, (0, 0)), (one, (0.10, 0.01)), (chosen, (0.04, 0.04))):
        for split in ("selection", "held_out"):
            for cell, gain in zip(e[split], gains):
                cell["value"] = 0.6 + gain
    front.update(best=[one["name"], chosen["name"]], hypervolume_selection=22.0, hypervolume_held_out=22.0)
    told = said.front_sentence(document)
    assert f"that they win together over {base['name']} is 22.0 points² on validation and 22.0 on test pairs" in told
    assert f"; the choice, {chosen['name']}, alone wins 16.0 and 16.0 (" in told


def test_titles_state_what_was_found(reports):
    found, document = reports["compared"].findings, reports["compared"].document
    front = found.front
    title = said.front_sentence(document)
    assert title.startswith(
        f"By the estimates on validation pairs {len(front.best)} of 12 entries are on the front: no other one equals or exceeds them in every"
        f" group; the area that they win together over {front.reference} is "
    )
    assert f"{front.hypervolume_selection:.1f} points² on validation and {front.hypervolume_held_out:.1f} on test pairs" in title
    pair = next(d for d in found.pairwise if {d.first, d.second} == {front.chosen, front.reference})
    sign = 1 if pair.first == front.chosen else -1
    for d in pair.differences:
        assert f"the {d.group} {sign * 100 * d.value:+.1f} points" in plain(said.meaning(document))
    best = next(e for e in document["entries"] if e["name"] == front.chosen)
    assert f"{front.chosen} dominates {len(best['dominates'])} of 11 other entries" in said.pairwise_sentence(document)
    assert f"{best['dominated_by'][0]} dominate" in said.pairwise_sentence(document)
    worst = next(u for e in found.entries if e.name == front.chosen for u in e.unfairness if u.name == "worst decile").difference
    shown = plain(said.unfairness_sentence(best, front.reference, ("worst decile",)))
    assert (
        f"worst decile {100 * worst.value:+.1f} points (95 % interval {100 * worst.low:+.1f} to {100 * worst.high:+.1f}; 400 users" in shown
    )


def test_gain_title_counts_what_lies_beyond_noise(reports):
    found, document = reports["compared"].findings, reports["compared"].document
    reference = found.front.reference
    better = worse = 0
    for d in found.pairwise:
        if reference in (d.first, d.second):
            ends = [(x.low, x.high) if d.second == reference else (-x.high, -x.low) for x in d.differences]
            better += any(low > 0 for low, _ in ends) and not any(high < 0 for _, high in ends)
            worse += any(high < 0 for _, high in ends)
    assert 0 < better < 11
    others = [e for e in document["entries"] if e["held_out"] and e["name"] != reference]
    title = said.gain_sentence(document, reference, others)
    assert title.startswith(f"Over {reference}, {better} of 11 entries improve some group")
    assert f"{worse} lose some group accuracy beyond noise" in title


def test_a_difference_within_noise_is_called_so(reports):
    document = publish(reports["one_seed"].findings)
    pair = next(d for d in document["pairwise"] if {d["first"], d["second"]} == {"pafo", example.REFERENCE})
    assert "within noise" not in said.meaning(document)
    pair["differences"][0].update(value=0.001, low=-0.01, high=0.012)
    assert "0.1 points, within noise" in said.meaning(document)


@pytest.mark.parametrize("name", FRONT)
def test_the_frontier_is_drawn_for_both_splits(pages, name):
    figure = re.search(r'id="frontier".*?</section>', pages[name], flags=re.S)[0]
    assert figure.count("<svg") == 2
    for label in ("validation pairs: chosen here", "test pairs: reported here", "on the front of validation", "chosen"):
        assert label in figure
    assert ("area won" in figure.split("<svg")[1]) == (name not in ("three_groups", "many_groups"))


def test_the_staircase_bounds_exactly_what_its_points_dominate():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(map(float, p)) for p in rng.integers(0, 12, (9, 2))]
        front = curves._envelope(points)
        brute = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
        assert set(front) == brute
        assert front == sorted(front)
        corners = curves._steps(front)
        assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(corners))
        assert all(any(x <= a and y <= b for a, b in points) for x, y in corners)  # nothing beyond what was reached


def test_an_entry_far_away_does_not_flatten_the_others(reports):
    document = reports["compared"].document
    from evenhand.report.comparison.panels import _places

    places = _places(document)
    far = next(p for p in places if p.name == "Bradley-Terry")
    for split in ("selection", "held_out"):
        (_, _), (low, high) = curves._windows(places)[split]
        assert far.xy(split)[1] < low
        assert high - low < 15
    spans = [tuple(round(b - a, 9) for a, b in curves._windows(places)[s]) for s in ("selection", "held_out")]
    assert spans[0] == spans[1]  # one scale in both panels
    assert "↓ Bradley-Terry" in curves.frontier(places, ("x", "y"), True, 800)


def test_labels_cover_neither_points_nor_each_other():
    taken = [(45.0, 45.0, 55.0, 55.0), (60.0, 45.0, 200.0, 60.0)]
    box = curves._free(50, 50, 80, 13, taken, (300, 300))
    assert box is not None
    assert not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
    assert curves._free(50, 50, 400, 13, taken, (300, 300)) is None


def test_matrix_has_a_sign_for_every_pair(reports, pages):
    def signs(name: str) -> int:
        panel = re.search(r'id="pairwise".*?</section>', pages[name], flags=re.S)[0]
        return panel.split("<svg")[1].count("<use ") - 6  # those of the legend

    for name, rows in (("compared", 12), ("three_groups", 5), ("no_groups", 3)):
        assert signs(name) == rows * (rows - 1)
    assert signs("large_sweep") == 30 * 2 - 2  # two columns: the choice and the reference
    assert "Columns: 3 alpha=0.0100 balance=0.5, 2 personalised Bradley-Terry; drawn: 30 of 64 entries" in pages["large_sweep"]


def test_comparisons_of_the_choice_come_first_in_the_table(pages):
    table = pages["large_sweep"][pages["large_sweep"].index('id="pairwise"') :]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', table[: table.index("</table>")])
    assert len(rows) == 60
    assert set(rows) == {"alpha=0.0100 balance=0.5"}


def test_a_hyperparameter_is_turned_with_the_others_at_the_choice(reports):
    found, document = reports["swept"].findings, reports["swept"].document
    centre = _centre(document)
    chosen = next(e for e in found.entries if e.name == found.front.chosen)
    assert dict(centre) == dict(chosen.settings)
    line = _line(document, "alpha", centre)
    assert [v for v, _ in line] == ["0.1", "0.25", "0.5", "0.8"]
    assert {e["settings"]["balance"] for _, e in line} == {chosen.settings["balance"]}
    title = plain(said.sweep_sentence(document, "alpha", line))
    ends = versus(document, line[-1][1]["name"], line[0][1]["name"])[0]
    for d in ends:
        assert f"the {d['group']} {100 * d['value']:+.1f} points" in title


def test_hyperparameters_stay_at_the_best_setting_where_a_reference_was_chosen(reports):
    found = reports["swept"].findings
    document = publish(replace(found, front=replace(found.front, chosen=found.front.reference)))
    centre = _centre(document)
    best = max((e for e in found.entries if e.settings), key=lambda e: e.selection[0].value + e.selection[1].value)
    assert dict(centre) == dict(best.settings)
    assert f"the reference, {example.REFERENCE}, stays" in said.meaning(document)


def test_a_sweep_has_hyperparameters_and_a_comparison_none(pages):
    for name, page in pages.items():
        assert ('id="hyperparameters"' in page) == (name in ("swept", "large_sweep", "bound_sweep"))
    assert "The other hyperparameters stay at balance 0." in pages["swept"]


def test_one_seed_says_so(reports, pages):
    assert "One seed alone does not show how far training itself varies." in pages["one_seed"]
    assert "sd " not in row_of(pages["one_seed"], "results", "pafo")
    assert "1 seed" in row_of(pages["one_seed"], "results", "pafo")
    assert json.loads(reports["one_seed"].json())["entries"][0]["over_seeds"] == [None] * 3


def test_without_groups_all_users_are_compared(reports, pages):
    document = reports["no_groups"].document
    assert document["front"] is None
    assert said.headline(document) == "Highest on validation: pafo"
    assert "all users +" in said.meaning(document)
    assert "It takes a reference that ran and two groups" not in pages["no_groups"]
    assert "There is no front" in pages["no_groups"]
    assert "2 of 2 other entries" in pages["no_groups"]


def test_many_groups_name_the_worst_served(reports, pages):
    found = reports["many_groups"].findings
    for e in found.entries:
        worst = min(zip(e.held_out, found.groups), key=lambda x: x[0].value)
        row = row_of(pages["many_groups"], "results", e.name)
        assert f"{100 * worst[0].value:.1f} %" in row
        assert f"{worst[1]}; {worst[0].n_users} users" in row
    assert "points³" not in pages["many_groups"]


def test_when_all_failed_the_page_says_why(reports, pages):
    assert pages["all_failed"].count("✕ failed: no user has more than one pair") == 3
    assert "Nothing could be chosen" in pages["all_failed"]
    assert printed(reports["all_failed"]).count("no user has more than one pair") == 3


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
def test_page_is_well_formed_accessible_and_self_contained(pages, make):
    page = pages[make.__name__]
    parsed = Page(page)
    assert parsed.open == []
    tags = [tag for tag, _ in parsed.tags]
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(tags)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "src", "action", "srcdoc"))
        target = re.search(r"#([\w.-]+)", attributes.get("href") or attributes.get("clip-path") or "")
        assert target is None or target[1] in ids
        assert attributes.get("role") != "img" or len(attributes["aria-label"]) > 40
    assert "default-src 'none'" in page
    assert not re.search(r"(https?:)?//\w|url\((?!#)|@import|javascript:", page)


@pytest.mark.parametrize("make", MAKERS)
def test_every_figure_has_a_title_with_counts_and_a_table(pages, make):
    for figure in re.findall(r"<figure>.*?</figure>", pages[make.__name__], flags=re.S):
        title = re.sub("<[^>]*>", "", re.search(r"<h3>(.*?)</h3>", figure)[1])
        assert "<table>" in figure
        if "<svg" in figure:
            assert figure.count("<svg") == 2
            assert re.search(r"[\d,]+ users, [\d,]+ pairs", title), title
        assert all(len(svg) < 90_000 for svg in re.findall(r"<svg.*?</svg>", figure, flags=re.S))


def test_panels_stand_in_the_order_of_decisions(pages):
    keys = ("choice", "results", "frontier", "pairwise", "users", "cells", "hyperparameters", "data")
    places = [pages["swept"].index(f'<section id="{key}"') for key in keys]
    assert places == sorted(places)
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
    report = reports["small_group"]
    found = report.findings
    texts = [report.html(), report.json(), report.markdown(), repr(report), printed(report), *report.tables().values()]
    assert found.entries[0].held_out[1].n_users == 7
    gaps = [u.value.value for e in found.entries for u in e.unfairness if u.name == "gap"]
    hidden = [e.held_out[1].value for e in found.entries] + [e.over_seeds[1] for e in found.entries]
    hidden += [d.differences[1].value for d in found.pairwise] + gaps
    for text in texts:
        for value in hidden:
            assert f"{value:.6f}"[:7] not in text
        assert "7 users" not in re.sub(r"\d[\d,]*7 users", "", text)
    document = json.loads(report.json())
    assert document["front"]["best"] == []
    assert document["front"]["hypervolume_selection"] is None
    assert document["entries"][1]["held_out"][1]["suppressed"] is True
    assert document["entries"][1]["over_seeds"][1] is None
    assert document["exclusions"]["by_group"] == {}
    assert "under 10 users" in row_of(report.html(), "results", "pafo")
    assert "The front is not shown: a group has fewer than 10 users." in report.html()
    for text in (report.html(), report.markdown(), printed(report)):  # rounded numbers too
        for e in found.entries:
            assert f"{100 * e.held_out[1].value:.1f} %" not in plain(text)


def test_a_verdict_does_not_give_a_small_group_away():
    found = example.small_group()
    pair = found.pairwise[0]
    turned = replace(pair, verdict="trades", differences=(pair.differences[0], replace(pair.differences[1], value=0.3, low=0.2, high=0.4)))
    shown = publish(replace(found, pairwise=(turned, *found.pairwise[1:])))["pairwise"][0]
    assert turned.differences[0].high < 0
    assert shown["verdict"] == "is dominated clearly"  # by the majority alone
    assert shown["differences"][1]["value"] is None


def test_few_unseen_users_hide_the_seen_ones_too():
    found = example.one_seed()
    e = found.entries[2]
    few = tuple(replace(x, n_users=6) for x in e.cells["unseen users"][:1]) + e.cells["unseen users"][1:]
    document = publish(replace(found, entries=(*found.entries[:2], replace(e, cells={**e.cells, "unseen users": few}))))
    cells = document["entries"][2]["cells"]
    assert [cells[k][0]["value"] for k in cells] == [None, None]
    assert all(cells[k][1]["value"] is not None for k in cells)


def test_two_names_that_look_alike_stay_two():
    found = example.one_seed()
    names = {e.name: n for e, n in zip(found.entries, ("a\u202e", "a\\u202e", "b"))}
    twins = replace(
        found,
        entries=tuple(replace(e, name=names[e.name]) for e in found.entries),
        pairwise=tuple(replace(d, first=names[d.first], second=names[d.second]) for d in found.pairwise),
        front=replace(found.front, reference=names[found.front.reference], chosen=names[found.front.chosen], best=(), best_held_out=()),
    )
    document = publish(twins)
    shown = [e["name"] for e in document["entries"]]
    assert len(set(shown)) == 3
    assert document["front"]["reference"] == shown[1]
    assert {d["first"] for d in document["pairwise"]} <= set(shown)


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
    assert report_of(example.compared()).html() == pages["compared"]


@pytest.mark.parametrize("make", MAKERS)
def test_the_terminal_gets_a_short_table(reports, make):
    report = reports[make.__name__]
    shown = printed(report, 140)
    ran = sum(bool(e.held_out) for e in report.findings.entries)
    assert len(results_table(report).rows) == min(16, len(report.findings.entries))
    assert len(shown.splitlines()) <= 16 + 12
    assert shown.replace("’", "'").isascii()
    assert shown.count("*") >= (2 if report.findings.front else 0)
    if ran > 16:
        assert f"16 of {len(report.findings.entries)} entries; all are in the report" in shown


def test_the_terminal_shows_the_numbers(reports):
    shown = printed(reports["compared"], 140).splitlines()
    row = next(line for line in shown if line.startswith("* pafo "))
    e = next(e for e in reports["compared"].findings.entries if e.name == "pafo")
    for x in e.held_out:
        assert f"{100 * x.value:.1f} [{100 * x.low:.1f}, {100 * x.high:.1f}]" in row
    assert any(line.startswith("= personalised Bradley-Terry") for line in shown)
    assert any(line.startswith("failed  gpo: 2 of 3 seeds") for line in shown)


def test_of_many_entries_the_important_ones_are_kept(reports):
    document = reports["large_sweep"].document
    kept = [e["name"] for e in foremost(document, 5)]
    assert len(kept) == 5
    assert {document["front"]["chosen"], document["front"]["reference"]} <= set(kept)
    order = [e["name"] for e in document["entries"]]
    assert kept == sorted(kept, key=order.index)


def test_save_writes_all_files_in_one_step_each(reports, tmp_path):
    path = reports["one_seed"].save(tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "report.html"
    names = {p.name for p in path.parent.iterdir()}
    assert names >= {"report.html", "report.json", "report.md", "results.csv", "pairwise.csv", "unfairness.csv", "cells.csv"}
    assert {name for name in names if name.startswith(".")} == {LIST}
    assert names - {LIST} <= set(FILES)
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvenhandError, match="cannot be written"):
        reports["one_seed"].save(tmp_path / "file")


def test_it_shows_itself(reports, pages):
    lines = repr(reports["compared"]).splitlines()
    assert 2 <= len(lines) <= 5
    assert "Chosen on validation: pafo" in lines[1]
    tag, attributes = Page(reports["compared"]._repr_html_()).tags[0]
    assert (tag, attributes["sandbox"], attributes["srcdoc"]) == ("iframe", "", pages["compared"])


@pytest.fixture(scope="module")
def browser():
    if chromium.PROGRAM is None:
        pytest.skip("Chromium is not installed")
    browser = chromium.Browser()
    yield browser
    browser.close()


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


def test_figures_leave_out_the_brackets_that_they_have_no_room_for():
    from evenhand.report.comparison.reading import labels

    assert labels(["PAFO (LoRe's head)", "P-RLHF", "VPL (ridge head)", "VPL (linear)"]) == {
        "PAFO (LoRe's head)": "PAFO", "P-RLHF": "P-RLHF", "VPL (ridge head)": "VPL (ridge head)", "VPL (linear)": "VPL (linear)",
    }  # fmt: skip


def test_the_terminal_marks_a_reference_that_was_chosen(reports):
    from evenhand.report.comparison.terminal import _mark

    document = reports["compared"].document
    front = {**document["front"], "chosen": document["front"]["reference"]}
    reference = next(e for e in document["entries"] if e["name"] == front["reference"])
    assert _mark({**document, "front": front}, reference) == "*="

"""Accuracy against violation: D by seed and pooled, intervals, the front, and its panel; a sweep over gamma from training to page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import comparison_example as example
import numpy as np
import pytest
from safetensors.numpy import load_file
from test_report_comparison import plain, printed, report_of, row_of

import evenhand
import evenhand.methods
from evenhand.audits.frontier import RateBoard, averaged, constraint_front, counted, expected, noise, resampled, size, violated
from evenhand.audits.rates import cells, hard, rates
from evenhand.audits.rates import violation as of_rates
from evenhand.audits.results import Violated
from evenhand.core import Estimate, EvenhandError, Events, Exclusions, PreferenceData
from evenhand.data.events import BY_HASH
from evenhand.engines.here import Processes
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro
from evenhand.methods.penalty import Penalty
from evenhand.report import Report
from evenhand.report.comparison import published
from evenhand.report.comparison import sentences as said
from evenhand.report.comparison.constraints import _bound, panel
from evenhand.report.figures.scatter import outside, tradeoff, window
from evenhand.report.publish import one_line
from evenhand.training.constraints import eo
from evenhand.workflows import hyperparameters, trial_work
from evenhand.workflows.comparing import Comparing
from evenhand.workflows.trained import PLAIN
from evenhand.workflows.trials import Bench, Entry, Trial

NAN = float("nan")


def board(x: Any, notion: str = "dp", groups: tuple[str, ...] = ("a", "b")) -> RateBoard:
    """x float[entries, seeds, users, events], the same for soft and hard decisions."""
    x = np.asarray(x, float)
    events, compared = cells(notion, groups)
    return RateBoard(notion, events, compared, {"soft": x, "hard": x}, np.ones((x.shape[1], x.shape[3]), np.int64))


# --- D ---


def test_seeds_that_err_in_opposite_directions_have_violations_but_no_common_one() -> None:
    x = np.array([[[[0.7, 0.5]] * 12, [[0.4, 0.6]] * 12]])  # D_1 = D_2 = .2, rates averaged over seeds: .55 and .55
    (both,) = violated(board(x), board(x), 0, resamples=200, seed=0)
    assert both[0].held_out.value == pytest.approx(0.2)
    assert both[0].pooled.value == pytest.approx(0.0, abs=1e-12)
    x = np.array([[[[0.7, 0.5]] * 12, [[0.8, 0.5]] * 12]])
    (both,) = violated(board(x), board(x), 0, resamples=200, seed=0)
    assert both[0].held_out.value == both[0].pooled.value == pytest.approx(0.25)


def test_by_hand_with_users_who_lack_events_and_seeds() -> None:
    x = np.array([
        [[0.8, 0.2], [0.4, NAN], [NAN, 0.6]],  # q = .6, .4 → D = .2
        [[1.0, 0.1], [NAN, NAN], [NAN, 0.5]],  # q = 1, .3 → D = .7
    ])  # fmt: skip
    assert expected(x, ((0, 1),)) == pytest.approx(0.45)
    pooled = averaged(x)  # users' means: (.9, .15), (.4, -), (-, .55)
    assert pooled == pytest.approx(np.array([[[0.9, 0.15], [0.4, NAN], [NAN, 0.55]]]), nan_ok=True)
    assert expected(pooled, ((0, 1),)) == pytest.approx(0.65 - 0.35)
    found = board(x[None])
    assert found.users.tolist() == [2, 2]
    assert [(c.event, c.held_out_users, c.held_out_pairs) for c in counted(found, found)] == [("a", 2, 2), ("b", 2, 2)]


def test_one_seed_is_the_violation_of_its_rates() -> None:
    rng = np.random.default_rng(3)
    n = 600
    user, event, first = rng.integers(40, size=n), rng.integers(3, size=n).astype(np.int16), rng.random(n) < 0.5
    margin, events = rng.normal(size=n), Events(("a", "b", "c"), event, first, "")
    for notion in ("dp", "eo"):
        found = rates(margin, user, events, notion, hard)
        names, compared = cells(notion, events.names)
        assert (names, compared) == (found.events, found.compared)
        assert expected(found.by_user[None], compared) == pytest.approx(of_rates(found))
    assert cells("cf", ("a",)) == (("matched sets",), ())


def test_a_seed_without_an_event_is_left_out_of_comparisons_not_of_the_mean() -> None:
    assert np.isnan(size(np.array([0.5, NAN]), ((0, 1),)))
    assert size(np.array([0.5, NAN, 0.2]), ((0, 1), (0, 2), (1, 2))) == pytest.approx(0.3)
    x = np.array([[[0.9, 0.5]] * 4, [[0.9, NAN]] * 4])
    assert expected(x, ((0, 1),)) == pytest.approx(0.4)
    assert board(x[None]).seeds() == [0]


# --- intervals ---


def test_resampled_users_bring_all_their_seeds() -> None:
    """The bootstrap is that of whole users: in the difference of two entries a shift that all users share has no spread."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.6, (3, 50, 2)) + np.array([0.3, 0.0])
    draws = resampled(x, ((0, 1),), 300, 7)
    further = resampled(x + np.array([0.1, 0.0]), ((0, 1),), 300, 7)
    assert further - draws == pytest.approx(0.1, abs=1e-5)
    alike = np.repeat(x[:1], 3, axis=0)  # three seeds that agree say no more than one
    assert resampled(alike, ((0, 1),), 300, 7) == pytest.approx(resampled(x[:1], ((0, 1),), 300, 7), abs=1e-5)
    assert draws.std() == pytest.approx(np.sqrt(x.mean(axis=0).var(axis=0).sum() / 50), rel=0.35)


def test_intervals_hold_the_truth() -> None:
    """True rates .6 and .45 in two seeds, users of 8 pairs: D's interval, the pooled one and that of a paired difference of -.1."""
    inside, repeats = np.zeros(3), 80
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        own = rng.normal(0, 0.05, (60, 1))
        q = np.clip(np.array([0.6, 0.45]) + own, 0, 1)
        x = rng.binomial(8, np.stack([q, q]), (2, 60, 2)) / 8
        lower = x - [0.1, 0.0]
        entries = violated(board([x, lower]), board([x, lower]), 0, resamples=200, seed=0)
        for i, (e, truth) in enumerate(((entries[0][0].held_out, 0.15), (entries[0][0].pooled, 0.15), (entries[1][0].difference, -0.1))):
            inside[i] += e.low - 1e-6 <= truth <= e.high + 1e-6
    assert (inside / repeats >= 0.9).all(), inside / repeats


def test_users_who_all_agree_do_not_make_a_violation_certain() -> None:
    x = np.tile([0.9, 0.5], (1, 1, 15, 1))
    (found,) = violated(board(x), board(x), 0, resamples=200, seed=0)
    assert found[0].held_out.value == pytest.approx(0.4)
    assert found[0].held_out.low < 0.38
    assert found[0].held_out.high > 0.42


def test_noise_is_what_equal_rates_would_show() -> None:
    """Two events of n users each with spread s: the mean of |N(0, 2 s^2 / n)| is s sqrt(2 / n) sqrt(2 / pi)."""
    x = np.random.default_rng(1).normal(0.5, 0.1, (1, 2, 200, 2))
    x[:, :, :100, 0] = NAN
    x[:, :, 100:, 1] = NAN
    assert noise(board(x), 0, "soft", 0) == pytest.approx(0.1 * np.sqrt(2 / 100) * np.sqrt(2 / np.pi), rel=0.2)
    assert np.isnan(noise(board(x[..., :1], "cf"), 0, "soft", 0))


# --- the front ---


def record(selection: float, held_out: float) -> Violated:
    one, other = (Estimate(v, v, v, 20, 40) for v in (selection, held_out))
    return Violated("dp", "hard", one, other, one, other, None, None)


NAMES = ("reference", "a", "b", "c", "dominated")
ACCURACY = np.array([0.80, 0.78, 0.70, 0.60, 0.65]), np.array([0.79, 0.77, 0.69, 0.58, 0.66])
SIZES = ((0.30, 0.32), (0.10, 0.16), (0.05, 0.04), (0.02, 0.03), (0.20, 0.10))


def test_the_front_by_hand() -> None:
    found = [record(*s) for s in SIZES]
    front = constraint_front(found, NAMES, ACCURACY, "reference", 0.1, [["c", "b", "a"]])
    assert front is not None
    assert front.best == ("reference", "a", "b", "c")
    assert front.best_held_out == ("reference", "a", "b", "c")
    assert front.chosen == "a"  # .10 is within .10, and more accurate than b and c
    assert front.nearest == "c"
    assert front.knee == "a"
    # slabs of accuracy above .5, each as wide as the smallest violation that reaches it leaves to 1
    area = 10 * 98 + 10 * 95 + 8 * 90 + 2 * 70
    assert front.hypervolume_selection == pytest.approx(area)
    assert front.hypervolume_held_out == pytest.approx(8 * 97 + 11 * 96 + 8 * 84 + 2 * 68)


def test_where_no_entry_is_within_gamma_none_is_chosen() -> None:
    found = [record(*s) for s in SIZES]
    front = constraint_front(found, NAMES, ACCURACY, "reference", 0.01)
    assert front is not None
    assert (front.chosen, front.nearest) == ("", "c")
    assert constraint_front([*found[1:], record(NAN, NAN)], NAMES, ACCURACY, "reference", 0.1) is None


def test_a_coin_with_no_violation_wins_one_whole_axis_only() -> None:
    front = constraint_front([record(0.0, 0.0)], ["coin"], (np.array([0.5]), np.array([1.0])), "coin", 0.05)
    assert front is not None
    assert (front.hypervolume_selection, front.hypervolume_held_out) == (0.0, 5000.0)
    assert front.chosen == "coin"


# --- the panel ---


@pytest.fixture(scope="module")
def methods() -> Report:
    return report_of(example.bound(is_sweep=False))


def test_titles_say_what_the_numbers_say(methods: Report) -> None:
    found = methods.findings
    shown = published(found)
    soft, hard = shown.constraint_fronts
    assert (soft.chosen, hard.chosen, hard.nearest) == ("Faro", "", "Faro")
    faro = next(e for e in found.entries if e.name == "Faro")
    v = faro.violations[0]
    title = plain(said.constraint_sentence(shown, soft))
    assert f"most accurate entry within 5.0 points on validation pairs, Faro, has {100 * v.held_out.value:.1f} points" in title
    assert f"{100 * v.difference.value:+.1f} against {example.REFERENCE} (95 % interval {100 * v.difference.low:+.1f}" in title
    assert f"at {100 * faro.cost.value:+.1f} points of accuracy" in title
    title = plain(said.constraint_sentence(shown, hard))
    assert (
        f"no entry is within 5.0 points on validation pairs; the nearest, Faro, has {100 * faro.violations[1].selection.value:.1f}" in title
    )
    assert f"noise alone would show {100 * hard.noise_selection:.1f}" in title
    kept = replace(soft, chosen=example.REFERENCE)
    assert "is itself the most accurate entry within" in said.constraint_sentence(shown, kept)


def test_table_figure_csv_and_short_forms_hold_the_same_numbers(methods: Report) -> None:
    page, found = methods.html(), methods.findings
    rows = list(csv.DictReader(io.StringIO(methods.tables()["violations.csv"])))
    assert len(rows) == 6 * 2
    for e in found.entries:
        for v in e.violations:
            row = row_of(page, f"<caption>Violation of demographic parity by {v.decision} decisions", e.name)
            for x in (v.selection, v.held_out, v.pooled):
                assert f"{100 * x.value:.1f} ({100 * x.low:.1f} to {100 * x.high:.1f})" in row
            line = next(r for r in rows if (r["entry"], r["decision"]) == (e.name, v.decision))
            assert float(line["test_value"]) == v.held_out.value
            assert float(line["pooled_validation_high"]) == v.pooled_selection.high
            assert line["difference_from_reference_value"] == ("" if v.difference is None else str(v.difference.value))
        soft = e.violations[0].held_out
        assert f"{100 * soft.value:.1f} ({100 * soft.low:.1f} to {100 * soft.high:.1f})" in plain(methods.markdown())
        assert f"{100 * soft.value:.1f} [{100 * soft.low:.1f}, {100 * soft.high:.1f}]" in printed(methods, 400)
    figures = panel(published(found)).figures
    drawn = "".join(f.plot(860) for f in figures if f.plot)
    for word in ("soft decisions", "hard decisions", "accepted", "noise alone", "validation pairs", "test pairs"):
        assert word in drawn
    assert example.RULE[:40] in page
    assert not any("Lines join" in f.note for f in figures)
    events = list(csv.DictReader(io.StringIO(methods.tables()["events.csv"])))
    assert [(r["event"], r["validation_users"], r["test_users"]) for r in events] == [(i, "260", "400") for i in example.IDENTITIES]


def test_curves_are_joined_in_the_order_of_gamma_on_both_splits() -> None:
    found = published(example.bound())
    front = found.constraint_fronts[0]
    assert front.lines == (tuple(f"gamma={g}" for g in ("0.02", "0.05", "0.1", "0.2", "1")),)
    bound = _bound(found, front)
    assert [p.name for p in bound.places if p.name.startswith("γ")] == ["γ 0.02", "γ 0.05", "γ 0.1", "γ 0.2", "γ 1"]
    drawn = tradeoff("x", bound, 860)
    for colour in ("orange", "blue"):  # one path of five points each
        assert len(re.findall(rf'<path d="M [^"]*?(?:L [^"]*?){{4}}"[^>]*?var\(--{colour}\)', drawn)) == 1, colour


def test_an_entry_far_away_is_named_and_does_not_flatten_the_others() -> None:
    found = published(example.bound())
    bound = _bound(found, found.constraint_fronts[0])
    first = bound.places[0]
    low = tuple(replace(x, value=v) for x, v in zip(first.held_out, (first.held_out[0].value, 0.2)))
    far = replace(first, name="far", held_out=low, selection=low, is_best=False)
    more = replace(bound, places=[*bound.places, far])
    assert window(more)[1][0] > 60
    assert outside(more) == ["far"]
    assert outside(bound) == []


def test_what_is_accepted_does_not_press_the_entries_to_one_side() -> None:
    """Violations of 2.6 to 15 points: where 90 are accepted the line lies beyond the figure, and the note says so."""
    found = published(example.bound(gamma=0.9))
    bound = _bound(found, found.constraint_fronts[0])
    assert window(bound)[0][1] < 25
    assert "accepted" not in tradeoff("x", bound, 860)
    assert "Beyond the figure of demographic parity by soft decisions: what is accepted, 90 points." in panel(found).notes


def test_an_event_of_few_users_hides_every_violation() -> None:
    found = example.bound(fewest=7)
    report = report_of(found)
    for text in (report.html(), report.json(), report.markdown(), printed(report), *report.tables().values()):
        for e in found.entries:
            for v in e.violations:
                for estimate in (v.selection, v.held_out, v.pooled, v.difference):
                    assert estimate is None or f"{estimate.value:.6f}"[:7] not in text
                assert f"{100 * v.held_out.value:.1f} %" not in plain(text) or v.held_out.value < 0.1  # a small number may be another's
        assert "7 users" not in re.sub(r"\d[\d,]*7 users", "", text)
    document = json.loads(report.json())
    assert document["constraint_fronts"][0]["chosen"] == document["constraint_fronts"][0]["nearest"] == ""
    assert document["events"][-1]["held_out_users"] is None
    assert [c["held_out_pairs"] for c in document["events"]] == [None, None, None]  # beside all pairs they would tell the few's
    assert "Demographic parity is not shown: one of its events has fewer than 10 users." in report.html()


def test_names_of_events_stay_texts() -> None:
    found = example.bound()
    texts = ["<script>alert(1)</script>", "a\u202eb", "$x^2$ | `code`"]
    events = tuple(replace(c, event=t) for c, t in zip(found.events, texts, strict=True))
    report = report_of(replace(found, events=events, events_rule=texts[0] + texts[1]))
    page = report.html()
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert one_line(texts[1]) in page


def test_without_events_there_is_no_such_panel() -> None:
    document = report_of(example.one_seed()).document
    assert document["constraint_fronts"] == document["events"] == []
    assert all(e["violations"] == [] and e["cost"] is None for e in document["entries"])
    assert not set(document["formulas"]) & {"violation", "event rate"}
    assert "violations.csv" not in report_of(example.one_seed()).tables()


# --- from training to the page ---

RULE = "Pairs of a response that names a colour against one that names none. y1 is the response that names it."
FAST: dict[str, Any] = {
    "encoding": evenhand.Encoding(None, dim=16),
    "group_by": evenhand.Grouping(minority=0.2),
    "jobs": 1,
    "resamples": 200,
}


def coloured(users: int = 48, pairs: int = 24, strength: float = 1.5) -> PreferenceData:
    """Everybody prefers merit, and by `strength` crimson to no colour and no colour to azure; the constraint is on these two."""
    rng = np.random.default_rng(0)
    n = users * pairs
    colour, merit = rng.integers(2, size=n), rng.integers(4, size=(n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(-(merit[:, 0] - merit[:, 1] + np.where(colour == 0, strength, -strength))))
    words = ("awful dreadful", "passable middling", "pleasant decent", "splendid superb")
    texts = [f"question {i}" for i in range(24)]
    texts += [f"{name} {word}" for name in ("crimson scarlet", "azure cobalt", "plain colourless") for word in words]
    y1, y2 = 24 + 4 * colour + merit[:, 0], 32 + merit[:, 1]
    sides = (np.where(first, a, b).astype(np.int32) for a, b in ((y1, y2), (y2, y1)))
    return PreferenceData(
        [f"u{i}" for i in range(users)], texts, np.repeat(np.arange(users), pairs).astype(np.int32),
        rng.integers(24, size=n).astype(np.int32), *sides, exclusions=Exclusions(n, n, {}),
        events=Events(("crimson", "azure"), colour.astype(np.int16), first, RULE), source="made up",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return coloured()


@pytest.fixture(scope="module")
def interrupted(data: PreferenceData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, int]]:
    """A sweep that was stopped after its first seed: its folder, and when each trial in it was written."""
    out = tmp_path_factory.mktemp("swept")

    def stop(what: str, done: int, total: int) -> None:
        if what == "trials" and done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _sweep(data, out, progress=stop)
    return out, {f: f.stat().st_mtime_ns for f in (out / "trials").glob("*.safetensors")}


@pytest.fixture(scope="module")
def swept(data: PreferenceData, interrupted: tuple[Path, dict[Path, int]]) -> tuple[Report, Path]:
    return _sweep(data, interrupted[0]), interrupted[0]


def _sweep(data: PreferenceData, out: Path, gammas: str = "1,0.4,0.2,0.05", **more: Any) -> Report:
    asked: Mapping[str, Any] = {"seeds": 2, "head": "linear", "settings": {"step": "0.05", "bound": "3"}, **FAST}
    return evenhand.sweep(data, {"gamma": gammas.split(",")}, "faro", out=out, **(asked | more))


def test_the_violation_falls_as_gamma_falls(swept: tuple[Report, Path]) -> None:
    found = swept[0].findings
    assert [e.name for e in found.entries] == [PLAIN, "gamma=1", "gamma=0.4", "gamma=0.2", "gamma=0.05"]
    soft = {e.name: e.violations[0] for e in found.entries}
    assert [(v.notion, v.decision) for v in found.entries[0].violations] == [("dp", "soft"), ("dp", "hard"), ("eo", "soft"), ("eo", "hard")]
    for split in ("selection", "held_out", "pooled"):
        sizes = [getattr(soft[f"gamma={g}"], split).value for g in ("0.4", "0.2", "0.05")]
        assert sizes == sorted(sizes, reverse=True)
    assert soft["gamma=0.05"].difference.high < -0.05
    assert soft[PLAIN].difference is None
    assert soft["gamma=0.05"].held_out.value < 0.7 * soft["gamma=1"].held_out.value
    assert found.events_rule == RULE
    front = found.constraint_fronts[0]
    assert front.gamma == 0.05  # the entries do not agree on one
    assert front.lines == (("gamma=0.05", "gamma=0.2", "gamma=0.4", "gamma=1"),)
    assert front.nearest == "gamma=0.05"
    page = swept[0].html()
    assert 'id="constraints"' in page
    assert "γ 0.05" in page


def test_gamma_one_is_bradley_terry_exactly(swept: tuple[Report, Path]) -> None:
    plain_one, same = swept[0].findings.entries[:2]
    assert [(v.selection, v.held_out, v.pooled) for v in same.violations] == [
        (v.selection, v.held_out, v.pooled) for v in plain_one.violations
    ]
    assert same.held_out == plain_one.held_out
    assert same.log_loss == plain_one.log_loss
    assert all(v.difference.value == 0 for v in same.violations)
    assert same.cost.value == 0


def test_trials_hold_each_users_rates(data: PreferenceData, swept: tuple[Report, Path]) -> None:
    report, out = swept
    bench = Bench(data, FAST["encoding"], FAST["group_by"], out / "trials", Processes(1))
    assert bench._read(Entry("x", BradleyTerry()), 0) is None  # its head is another
    found = [bench._read(Entry("x", hyperparameters.method("bradley_terry", {}, "linear")), s) for s in (0, 1)]
    sizes = []
    for t in found:
        assert t is not None
        assert (t.events, t.events_rule) == (("crimson", "azure"), RULE)
        assert t.arrays["test.dp.hard"].shape == (48, 2)
        assert t.arrays["test.eo.soft"].shape == (48, 4)
        assert t.arrays["test.dp.pairs"].sum() == t.arrays["test.eo.pairs"].sum() == t.arrays["test.pairs"].sum()
        assert not any("cf" in name for name in t.arrays)
        q = np.nanmean(t.arrays["test.dp.hard"], axis=0)
        sizes.append(abs(q[0] - q[1]))
    plain_one = report.findings.entries[0]
    assert plain_one.violations[1].held_out.value == pytest.approx(np.mean(sizes))


def test_an_interrupted_sweep_goes_on_where_it_stopped(interrupted: tuple[Path, dict[Path, int]], swept: tuple[Report, Path]) -> None:
    out, before = interrupted
    assert len(before) == 5  # all of the first seed
    assert {f: f.stat().st_mtime_ns for f in before} == before
    assert len(list((out / "trials").glob("*.safetensors"))) == 10
    assert all(e.seeds == 2 for e in swept[0].findings.entries)


def test_a_replica_is_what_it_would_be_alone(data: PreferenceData, swept: tuple[Report, Path], tmp_path: Path) -> None:
    _sweep(data, tmp_path, "0.05", seeds=1)
    files = sorted((tmp_path / "trials").glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        alone, beside = load_file(file), load_file(swept[1] / "trials" / file.name)
        for name in ("valid.dp.soft", "test.dp.soft", "test.eo.soft", "test.log_loss"):
            assert alone[name] == pytest.approx(beside[name], abs=2e-3, nan_ok=True)


def test_other_events_are_other_trials(data: PreferenceData, tmp_path: Path) -> None:
    bench = Bench(data, FAST["encoding"], FAST["group_by"], tmp_path, Processes(1))
    entry, events = Entry("a", Faro()), data.events
    assert events is not None
    others = [
        replace(bench, data=replace(data, events=other))._file(entry, 0)
        for other in (
            None,
            replace(events, first=~events.first),
            replace(events, of_pair=1 - events.of_pair),
            replace(events, names=("x", "y")),
        )
    ]
    assert len({bench._file(entry, 0), *others}) == 5


@pytest.mark.parametrize("name", sorted(hyperparameters.found_in(evenhand.methods)))
def test_no_two_hyperparameters_of_a_method_have_one_name(name: str) -> None:
    """A trial file is named by them, and --set finds them by name."""
    names = [hyperparameter for hyperparameter, _ in hyperparameters.hyperparameters(hyperparameters.method(name, {}))]
    assert len(names) == len(set(names))


def with_copies(data: PreferenceData) -> PreferenceData:
    """Every pair once more with the other colour, matched with its copy."""
    assert data.events is not None
    n, e = len(data), data.events

    def recoloured(text: np.ndarray) -> np.ndarray:
        return np.where((text >= 24) & (text < 32), 24 + (text - 20) % 8, text).astype(np.int32)

    user, prompt, chosen, rejected = (np.concatenate([a, b]) for a, b in (
        (data.user, data.user), (data.prompt, data.prompt), (data.chosen, recoloured(data.chosen)), (data.rejected, recoloured(data.rejected)),
    ))  # fmt: skip
    events = Events(
        e.names, np.concatenate([e.of_pair, np.full(n, -1, np.int16)]), np.tile(e.first, 2), RULE, np.tile(np.arange(n), 2),
        np.arange(2 * n) >= n,
    )  # fmt: skip
    return replace(data, user=user, prompt=prompt, chosen=chosen, rejected=rejected, events=events, exclusions=Exclusions(2 * n, 2 * n, {}))


def test_matched_pairs_have_gaps_and_copies_count_in_no_accuracy(data: PreferenceData, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"methods": [], "seeds": 1, "tune": 0, "head": "linear", "out": tmp_path, **FAST}
    report = evenhand.compare(with_copies(data), **asked)
    (entry,) = report.findings.entries
    assert [(v.notion, v.decision) for v in entry.violations][-2:] == [("cf", "soft"), ("cf", "hard")]
    cf = next(c for c in report.findings.events if c.notion == "cf")
    dp = [c for c in report.findings.events if c.notion == "dp"]
    assert cf.held_out_pairs == sum(c.held_out_pairs for c in dp) == entry.held_out[-1].n_pairs  # sets, originals, and what accuracy counts
    file = load_file(next((tmp_path / "trials").glob("*.safetensors")))
    assert entry.violations[-1].held_out.value == pytest.approx(np.nanmean(file["test.cf.hard"]))
    assert entry.violations[-2].held_out.low > 0.1  # copies weigh nothing in the loss: the colours stay as far apart as they are
    assert np.isnan(next(f for f in report.findings.constraint_fronts if f.notion == "cf").noise_held_out)
    assert "Counterfactual fairness by soft decisions: " in report.html()


def test_rates_by_hand() -> None:
    events = Events(("a", "b"), np.array([0, 0, 1, -1], np.int16), np.array([True, False, True, True]), "", np.array([5, -1, 5, -1]))
    found = trial_work._rates(np.array([2.0, 3.0, -1.0, 9.0]), np.array([1, 1, 1, 0]), events, 3)
    assert found["dp.hard"] == pytest.approx(np.array([[NAN, NAN], [0.5, 0.0], [NAN, NAN]]), nan_ok=True)
    assert found["dp.pairs"].tolist() == [2, 1]
    assert found["cf.hard"] == pytest.approx(np.array([[NAN], [1.0], [NAN]]), nan_ok=True)
    assert found["cf.pairs"].tolist() == [1]
    alone = trial_work._rates(np.ones(4), np.zeros(4, int), replace(events, names=("a",), twin=None), 3)
    assert alone == {}


def test_too_many_comparisons_that_nobody_asked_for_are_left_out(data: PreferenceData, swept: tuple[Report, Path]) -> None:
    bench = Bench(data, FAST["encoding"], FAST["group_by"], swept[1] / "trials", Processes(1))
    entries = [Entry(PLAIN, hyperparameters.method("bradley_terry", {}, "linear"))]
    (trial,) = bench.run(entries, [0], lambda *a: None, lambda note: None)
    assert isinstance(trial, Trial)
    names = tuple(f"event {i}" for i in range(30))  # 435 comparisons, 870 for equalized odds
    rng, arrays = np.random.default_rng(0), dict(trial.arrays)
    for cell, notion, k in (("valid", "dp", 30), ("test", "dp", 30), ("valid", "eo", 60), ("test", "eo", 60)):
        arrays |= {f"{cell}.{notion}.{d}": rng.random((48, k)) for d in ("soft", "hard")} | {f"{cell}.{notion}.pairs": np.full(k, 48)}
    many = replace(trial, events=names, arrays=arrays)
    told = Comparing(entries, PLAIN, [0], "x", resamples=50).results(data, [many], {})
    assert told.constraint_fronts == told.entries[0].violations == ()
    assert sum("would compare 435 pairs of events" in limit for limit in told.limits) == 1
    asked = [*entries, Entry("Faro", Faro())]
    told = Comparing(asked, PLAIN, [0], "x", resamples=50).results(data, [many, replace(many, entry="Faro")], {})
    assert {f.notion for f in told.constraint_fronts} == {"dp"}


def test_rates_by_the_toss_of_a_coin_are_left_out_unless_asked_for(data: PreferenceData, swept: tuple[Report, Path]) -> None:
    bench = Bench(data, FAST["encoding"], FAST["group_by"], swept[1] / "trials", Processes(1))
    entries = [Entry(PLAIN, hyperparameters.method("bradley_terry", {}, "linear"))]
    (trial,) = bench.run(entries, [0], lambda *a: None, lambda note: None)
    assert isinstance(trial, Trial)
    by_hash = replace(trial, events_rule=f"By country. {BY_HASH}")
    told = Comparing(entries, PLAIN, [0], "x", resamples=50).results(data, [by_hash], {})
    assert told.constraint_fronts == told.entries[0].violations == told.events == ()
    assert sum("a hash chose which response of a pair is y1" in limit for limit in told.limits) == 1
    held = [*entries, Entry("Faro", Faro(notion=eo))]
    told = Comparing(held, PLAIN, [0], "x", resamples=50).results(data, [by_hash, replace(by_hash, entry="Faro")], {})
    assert {f.notion for f in told.constraint_fronts} == {"eo"}
    asked = Comparing(entries, PLAIN, [0], "x", resamples=50, tolerance=0.1).results(data, [by_hash], {})
    assert {f.notion for f in asked.constraint_fronts} == {"dp", "eo"}


def test_rates_where_no_pair_is_in_an_event() -> None:
    none = Events(("a", "b"), np.full(3, -1, np.int16), np.ones(3, bool), "")
    found = trial_work._rates(np.ones(3), np.arange(3), none, 3)
    assert np.isnan(found["eo.soft"]).all()
    assert found["dp.pairs"].tolist() == [0, 0]


def test_methods_that_need_events_say_so_before_training(data: PreferenceData, tmp_path: Path) -> None:
    for method, built in (("faro", Faro), ("penalty", Penalty)):
        assert built().notion.__name__ == "dp"
        with pytest.raises(EvenhandError, match=f"(?is){method}.*no events.*--mentions"):
            evenhand.compare(replace(data, events=None), [method], seeds=1, out=tmp_path, **{**FAST, "resamples": 50})
    lonely = replace(data.events, of_pair=np.zeros(len(data), np.int16)) if data.events else None
    with pytest.raises(EvenhandError, match="crimson"):
        evenhand.compare(replace(data, events=lonely), ["penalty"], seeds=1, out=tmp_path, **FAST)
    with pytest.raises(EvenhandError, match="violation is 2"):
        evenhand.compare(data, ["faro"], seeds=1, out=tmp_path, violation=2.0, **FAST)
    assert not (tmp_path / "trials").exists()

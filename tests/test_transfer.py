"""Policies made from rewards: exact against brute force and closed forms, never beyond their bounds, and reported without small groups."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import chromium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.special import expit
from scipy.stats import ttest_ind
from test_cli import inside
from typer.testing import CliRunner

import evenhand
from evenhand.audits import policies
from evenhand.audits.policies import Candidates
from evenhand.audits.transfer import measure
from evenhand.cli import app
from evenhand.core import DataError, Estimate, EvenhandError
from evenhand.report import Report, terminal
from evenhand.report.figures.policies import Axis, gap, highest
from evenhand.writing import write as write_files

ROOT = Path(__file__).parents[1]
TINY = 1e-9


def problem(seed: int, prompts: int, most: int, scale: float, levels: int) -> Candidates:
    """A random finite problem: ragged, with ties (levels: distinct rewards, 0 = all differ), a reference of its own and a second reward."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, prompts)
    prompt = np.repeat(np.arange(prompts), sizes)
    n = len(prompt)
    reward = rng.normal(0, scale, n) if levels == 0 else scale * rng.integers(0, levels, n).astype(float)
    event = rng.random(n) if seed % 2 else (rng.random(n) < 0.4).astype(float)
    return Candidates(
        prompt,
        (np.arange(prompts) % 3)[prompt],
        reward,
        event,
        reward + rng.uniform(-1, 1, n) * rng.choice([0.1, 2.0]),
        rng.normal(-20, 2, n),
    )


def objective(c: Candidates, reward: np.ndarray, beta: float, log_p: np.ndarray) -> np.ndarray:
    """J_r(pi) = E[r] - beta KL(pi || pi_ref) of each prompt, float64[P], for a finite beta."""
    return policies.expected(c, log_p, reward) - beta * policies.divergence(c, log_p, c.log_reference)


PROBLEMS = st.builds(
    problem, st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 7), st.sampled_from([0.1, 1.0, 8.0]), st.integers(0, 4)
)


@settings(max_examples=60, deadline=None)
@given(PROBLEMS, st.floats(0.05, 20))
def test_two_rewards_never_lie_further_apart_than_their_bounds(c: Candidates, beta: float) -> None:
    mine, theirs = policies.gibbs(c, c.reward, beta), policies.gibbs(c, c.other, beta)
    e = policies.half_range(c, c.reward - c.other)
    widest = np.maximum.reduceat(np.abs(mine - theirs), c.starts)
    assert (widest <= 2 * e / beta + TINY).all()
    assert (policies.distance(c, mine, theirs) <= np.tanh(e / (2 * beta)) + TINY).all()
    loss = objective(c, c.reward, beta, mine) - objective(c, c.reward, beta, theirs)
    np.testing.assert_allclose(loss, beta * policies.divergence(c, theirs, mine), atol=1e-8)
    assert (loss >= -1e-8).all()
    assert (loss <= e**2 / (2 * beta) + 1e-8).all()
    shifted = c.other + np.random.default_rng(0).normal(0, 5, len(c.starts))[c.prompt]  # the same reward up to a constant per prompt
    np.testing.assert_allclose(np.exp(policies.gibbs(c, shifted, beta)), np.exp(theirs), atol=TINY)
    np.testing.assert_allclose(policies.half_range(c, c.reward - shifted), e, atol=TINY)


@settings(max_examples=60, deadline=None)
@given(PROBLEMS, st.floats(0.05, 20), st.integers(1, 40))
def test_gaps_and_divergences_never_exceed_their_bounds(c: Candidates, beta: float, n: int) -> None:
    found = measure(c, ("a", "b", "c"), [beta], [n]) if (np.bincount(c.group[c.starts], minlength=3) >= 10).all() else None
    for log_p, limit in ((policies.gibbs(c, c.reward, beta), np.inf), (policies.best_of(c, c.reward, n), policies.best_of_limit(n))):
        np.testing.assert_allclose(policies.expected(c, log_p, np.ones(len(c))), 1.0, atol=1e-12)
        kl = policies.divergence(c, log_p, c.log_reference)
        assert (kl <= limit + TINY).all()
        moved = np.abs(policies.expected(c, log_p, c.event) - policies.expected(c, c.log_reference, c.event))
        assert (moved <= policies.distance(c, log_p, c.log_reference) + TINY).all()
        assert (policies.distance(c, log_p, c.log_reference) <= np.sqrt(kl / 2) + TINY).all()
    if found is not None:
        for p in (*found.gibbs, *found.best_of):
            assert p.gap.value <= p.bound + TINY
            assert p.largest_kl <= p.kl_limit + TINY
        v = found.versus[0]
        assert found.gibbs[0].gap.value <= v.gap_bound + TINY
        for value, bound in ((v.log_ratio, v.log_ratio_bound), (v.distance, v.distance_bound), (v.loss, v.loss_bound)):
            assert value <= bound + 1e-8


def lone(reward: list[float], reference: list[float] | None = None) -> Candidates:
    n = len(reward)
    log_ref = None if reference is None else np.log(reference)
    return Candidates(np.zeros(n, int), np.zeros(n, int), np.array(reward), np.zeros(n), reference=log_ref)


def test_bounds_are_tight_where_a_closed_form_reaches_them() -> None:
    for e, beta in ((0.3, 1.0), (2.0, 0.5), (0.01, 4.0)):
        c = lone([e, -e])
        mine, theirs = policies.gibbs(c, c.reward, beta), policies.gibbs(c, -c.reward, beta)
        half = policies.half_range(c, 2 * c.reward)[0]
        assert half == pytest.approx(2 * e)
        assert policies.distance(c, mine, theirs)[0] == pytest.approx(np.tanh(half / (2 * beta)), abs=1e-12)
    c = lone([1e-3, -1e-3])  # a small tilt of an even coin: e^2 / 2b and 2e/b are reached in the limit
    loss = policies.divergence(c, c.log_reference, policies.gibbs(c, c.reward, 1.0))[0]
    assert loss == pytest.approx(1e-6 / 2, rel=1e-5)
    rare = lone([1.0, 0.0], [1e-9, 1 - 1e-9])  # all of the tilt falls on the rare response
    assert np.abs(policies.gibbs(rare, rare.reward, 0.5) - rare.log_reference).max() == pytest.approx(2.0, abs=1e-6)


def test_gibbs_is_the_logistic_function_for_two_responses_and_the_optimum_of_its_objective() -> None:
    c = lone([1.3, 0.2])
    for beta in (0.1, 1.0, 7.0):
        assert np.exp(policies.gibbs(c, c.reward, beta))[0] == pytest.approx(expit(1.1 / beta))
    c = problem(5, 20, 6, 1.0, 0)
    best = objective(c, c.reward, 0.7, policies.gibbs(c, c.reward, 0.7))
    for seed in range(20):
        rival = policies.normalised(c, np.random.default_rng(seed).normal(0, 2, len(c)))
        assert (objective(c, c.reward, 0.7, rival) <= best + TINY).all()
    np.testing.assert_array_equal(policies.gibbs(c, c.reward, np.inf), c.log_reference)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_best_of_n_is_what_listing_all_draws_gives(n: int) -> None:
    reference = [0.1, 0.25, 0.3, 0.15, 0.2]
    reward = [1.0, 0.0, 1.0, -2.0, 0.0]
    brute = np.zeros(5)
    for draws in product(range(5), repeat=n):
        top = max(reward[i] for i in draws)
        winners = [i for i in draws if reward[i] == top]
        for i in winners:
            brute[i] += np.prod([reference[j] for j in draws]) / len(winners)
    c = lone(reward, reference)
    np.testing.assert_allclose(np.exp(policies.best_of(c, c.reward, n)), brute, atol=1e-12)


def test_divergence_of_best_of_n_approaches_its_limit_without_ties_and_stays_below_with_them() -> None:
    many = lone(list(np.arange(20_000.0)))
    assert policies.divergence(many, policies.best_of(many, many.reward, 4), many.log_reference)[0] == pytest.approx(
        np.log(4) - 3 / 4, abs=1e-3
    )
    equal = lone([2.0] * 6)
    assert policies.divergence(equal, policies.best_of(equal, equal.reward, 64), equal.log_reference)[0] == pytest.approx(0, abs=1e-12)


def test_extreme_settings_neither_overflow_nor_lose_the_best_response() -> None:
    c = lone([1e100, -1e100, 3.0], [1e-12, 0.5, 0.5 - 1e-12])
    for log_p in (policies.gibbs(c, c.reward, 1e-300), policies.best_of(c, c.reward, 10**15)):
        np.testing.assert_allclose(np.exp(log_p), [1, 0, 0], atol=1e-9)
    c = Candidates(c.prompt, c.group, c.reward, c.event, reference=np.array([0.0, -5000.0, -1.0]))  # one that the reference never gives
    for log_p in (policies.gibbs(c, np.zeros(3), 1.0), policies.best_of(c, np.array([1.0, 0.0, 0.5]), 1)):
        np.testing.assert_allclose(np.exp(log_p), np.exp(c.log_reference), atol=1e-12)


# Two responses each, uniform reference: group A has margin .8 everywhere, group B margins 6 or -1 with the same mean of sigma.
SHARE = (expit(0.8) - expit(-1)) / (expit(6) - expit(-1))


@pytest.mark.parametrize(("beta", "a", "b"), [(0.1, 0.9997, 0.5779), (4.0, 0.5498, 0.6573), (1.0, 0.6900, 0.6900)])
def test_average_parity_alone_does_not_transfer(beta: float, a: float, b: float) -> None:
    c = Candidates(
        np.repeat([0, 1, 2], 2), np.repeat([0, 1, 1], 2), np.array([0.8, 0, 6, 0, -1, 0]), np.tile([1.0, 0.0], 3)
    )  # fmt: skip
    rate = policies.expected(c, policies.gibbs(c, c.reward, beta), c.event)
    assert rate[0] == pytest.approx(a, abs=5e-5)
    assert SHARE * rate[1] + (1 - SHARE) * rate[2] == pytest.approx(b, abs=5e-5)


def test_the_counterexample_as_a_report() -> None:
    """The same with 10,000 prompts a group: a gap at every temperature but 1, and the sign turns."""
    sixes = round(10_000 * SHARE)
    margin = np.concatenate([np.full(10_000, 0.8), np.full(sixes, 6.0), np.full(10_000 - sixes, -1.0)])
    prompt = np.repeat(np.arange(20_000), 2)
    c = Candidates(prompt, (prompt >= 10_000).astype(int), np.stack([margin, 0 * margin], 1).ravel(), np.tile([1.0, 0.0], 20_000))
    found = measure(c, ("A", "B"), [0.1, 1, 4], [1])
    gap = {p.setting: p for p in found.gibbs}
    assert gap[0.1].gap.value == pytest.approx(0.9997 - 0.5779, abs=1e-3)
    assert (gap[0.1].most, gap[4].most) == ("A", "B")
    assert gap[4].gap.value == pytest.approx(0.6573 - 0.5498, abs=1e-3)
    assert gap[1].gap.value < 1e-3
    assert gap[1].gap.low == 0
    assert found.best_of[0].gap.value == found.reference.gap.value == 0
    assert (found.best_of[0].shift.value, found.best_of[0].shift.low, found.best_of[0].shift.high) == (
        0,
        0,
        0,
    )  # one draw is the reference's


def test_bound_of_the_gap_is_reached_by_small_opposite_tilts() -> None:
    """Pinsker's inequality becomes an equality for an even coin tilted a little, and here the two groups are tilted apart."""
    prompt = np.repeat(np.arange(20), 2)
    c = Candidates(prompt, prompt // 10, np.stack([np.repeat([1e-3, -1e-3], 10), np.zeros(20)], 1).ravel(), np.tile([1.0, 0.0], 20))
    p = measure(c, ("a", "b"), [1.0], []).gibbs[0]
    assert p.bound == pytest.approx(p.gap.value, rel=1e-5)
    assert p.gap.value == pytest.approx(5e-4, rel=1e-5)


def test_shift_is_a_paired_welch_interval_and_rates_count_prompts_once() -> None:
    c = problem(11, 60, 5, 1.0, 0)
    c = Candidates(c.prompt, (np.arange(60) % 2)[c.prompt], c.reward, c.event)
    p = measure(c, ("a", "b"), [0.5], []).gibbs[0]
    rate = policies.expected(c, policies.gibbs(c, c.reward, 0.5), c.event)
    moved = rate - policies.expected(c, c.log_reference, c.event)
    sides = (moved[::2], moved[1::2]) if p.most == "a" else (moved[1::2], moved[::2])
    welch = ttest_ind(*sides, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert (p.shift.low, p.shift.high) == pytest.approx((low, high), abs=1e-12)
    assert p.shift.value == pytest.approx(sides[0].mean() - sides[1].mean(), abs=1e-12)
    assert [r.value for r in p.rates] == pytest.approx([rate[::2].mean(), rate[1::2].mean()])
    assert [(r.n_prompts, r.n_candidates) for r in p.rates] == [(30, c.sizes[::2].sum()), (30, c.sizes[1::2].sum())]
    assert p.kl_limit == np.inf


def test_shift_of_many_groups_holds_over_all_their_pairs() -> None:
    """26 groups have 325 differences, beyond those that are bounded by a joint law: the two that lie furthest apart by Sidak's level."""
    margin = np.random.default_rng(4).normal(np.repeat(np.linspace(0, 2, 26), 10), 0.3)
    prompt = np.repeat(np.arange(260), 2)
    c = Candidates(prompt, prompt // 10, np.stack([margin, 0 * margin], 1).ravel(), np.tile([1.0, 0.0], 260))
    p = measure(c, [f"g{i}" for i in range(26)], [1.0], []).gibbs[0]
    moved = {f"g{i}": m for i, m in enumerate((expit(margin) - 0.5).reshape(26, 10))}
    low, high = ttest_ind(moved[p.most], moved[p.least], equal_var=False).confidence_interval(0.95 ** (1 / 325))
    assert (p.shift.low, p.shift.high) == pytest.approx((low, high), abs=1e-12)


def test_interval_of_the_gap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    prompt = np.repeat(np.arange(60), 2)
    group = (prompt >= 30).astype(int)
    hits = shifts = 0
    for _ in range(300):
        margin = rng.normal(np.where(np.arange(60) >= 30, 1.0, 0.0), 1.0)
        c = Candidates(prompt, group, np.stack([margin, 0 * margin], 1).ravel(), np.tile([1.0, 0.0], 60))
        p = measure(c, ("a", "b"), [1.0], []).gibbs[0]
        truth = TRUTH[1] - TRUTH[0]
        hits += p.gap.low <= truth <= p.gap.high
        signed = truth if p.most == "b" else -truth
        shifts += p.shift.low <= signed <= p.shift.high  # the reference has no gap at all
    assert min(hits, shifts) >= 273  # 95 % of 300 minus three standard errors


_DRAWS = np.random.default_rng(0).normal(size=400_000)
TRUTH = expit(_DRAWS).mean(), expit(_DRAWS + 1).mean()


def test_candidates_refuse_what_they_cannot_mean() -> None:
    zero = np.zeros(3)
    with pytest.raises(EvenhandError, match=r"'prompt', row 2 .*never falling"):
        Candidates(np.array([0, 1, 0]), zero, zero, zero)
    with pytest.raises(EvenhandError, match=r"'event', row 1 .*from 0 to 1"):
        Candidates(np.array([0, 0, 1]), zero, zero, np.array([0, 1.5, 0]))
    with pytest.raises(EvenhandError, match=r"'reference', row 0 .*finite"):
        Candidates(np.array([0, 0, 1]), zero, zero, zero, reference=np.array([-np.inf, 0, 0]))
    with pytest.raises(EvenhandError, match=r"'group', row 1 .*one group"):
        Candidates(np.array([0, 0, 1]), np.array([0, 1, 1]), zero, zero)
    with pytest.raises(EvenhandError, match="no candidates"):
        Candidates(*[np.zeros(0)] * 4)
    good = Candidates(np.array([0, 0, 1]), np.array([0, 0, 1]), zero, zero)
    with pytest.raises(EvenhandError, match="beta is 0"):
        policies.gibbs(good, zero, 0)
    with pytest.raises(EvenhandError, match="n is 0"):
        policies.best_of(good, zero, 0)


def rows(per_group: dict[str, int], tilt: float = 1.5) -> list[dict]:
    rng = np.random.default_rng(1)
    out = []
    for g, n in per_group.items():
        for i in range(n):
            for _ in range(1 if i == 0 else 4):
                event = bool(rng.random() < 0.3)
                reward = float(rng.normal() + tilt * event * (g == "women"))
                out.append({"prompt": f"SECRET {g} {i}", "group": g, "reward": reward, "event": event, "other": reward + float(rng.uniform(-0.2, 0.2)),
                            "ref": float(rng.normal(-30, 1))})  # fmt: skip
    order = rng.permutation(len(out))  # candidates of a prompt need not stand together in a file
    return [out[i] for i in order]


def write(path: Path, table: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif path.suffix == ".csv":
        path.write_text(
            "\n".join([",".join(table[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in table)]) + "\n"
        )
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


PEOPLE = {"women": 60, "men": 50, "others": 12, "few": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    write(folder / "candidates.jsonl", rows(PEOPLE))
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return evenhand.transfer(folder / "candidates.jsonl", other="other", ref="ref", command="evenhand transfer candidates.jsonl")


def test_every_format_gives_the_same_numbers(folder: Path, report: Report) -> None:
    for ending in (".csv", ".parquet"):
        again = evenhand.transfer(write(folder / f"candidates{ending}", rows(PEOPLE)), other="other", ref="ref").findings
        assert again.groups == report.findings.groups
        assert [p.gap for p in again.gibbs] == [p.gap for p in report.findings.gibbs]
        assert again.versus == report.findings.versus


def test_what_the_table_says_is_found(report: Report) -> None:
    found = report.findings
    assert (found.n_prompts, found.single) == (129, 4)
    assert found.command == "evenhand transfer candidates.jsonl"
    assert found.compared == tuple(g for g in found.groups if g != "few")
    assert [p.setting for p in found.gibbs] == [4.0, 2.0, 1.0, 0.5, 0.1]
    assert [p.setting for p in found.best_of] == [1, 2, 4, 8, 16]
    sharp = found.gibbs[-1]
    assert sharp.most == "women"
    assert sharp.shift.low > 0
    assert sharp.gap.n_prompts == 122
    assert "grows from" in report.markdown()


def printed(report: Report) -> str:
    """What the terminal shows."""
    console = Console(file=io.StringIO(), width=100)
    console.print(*terminal.lines(report.page))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_small_groups_and_prompts_are_not_shown(report: Report) -> None:
    outputs = (report.html(), report.json(), report.markdown(), printed(report), *report.tables().values())
    assert not any("SECRET" in text or "“few”" in text for text in outputs)
    for p in (report.document["reference"], *report.document["gibbs"], *report.document["best_of"]):
        assert [r["group"] for r in p["rates"]] == report.document["compared"]
        assert "few" not in (p["most"], p["least"])


def test_the_size_of_one_small_group_is_no_difference_of_others(report: Report, folder: Path) -> None:
    """129 prompts less 60 + 50 + 12 would be the 7 of "few". With two such groups, 7 + 8 tell of neither, and the total may be said."""
    shown = sum(r["n_prompts"] for r in report.document["reference"]["rates"])
    assert report.document["n_prompts"] == shown == 122
    assert report.document["n_candidates"] == sum(r["n_candidates"] for r in report.document["reference"]["rates"])
    assert not any("129 prompts" in text for text in (report.html(), report.markdown(), printed(report)))
    two = evenhand.transfer(write(folder / "two.jsonl", rows({**PEOPLE, "fewer": 8}))).document
    assert two["n_prompts"] == 137


def test_outputs_are_complete_and_short(report: Report, tmp_path: Path) -> None:
    page = report.save(tmp_path / "out")
    names = [".evenhand.json", "policies.csv", "rates.csv", "report.html", "report.json", "report.md"]
    assert sorted(p.name for p in page.parent.iterdir()) == names
    document = json.loads((page.parent / "report.json").read_text())
    assert document["gibbs"][-1]["gap"]["n_prompts"] == 122
    assert all({"value", "low", "high", "n_prompts", "n_candidates"} <= r.keys() for r in document["gibbs"][0]["rates"])
    assert len(report.markdown().splitlines()) <= 40
    html = page.read_text()
    assert html.count('<svg class="plot"') == 8  # four figures, for a page and for a telephone
    assert "not among them" in html
    assert not re.search(r"<script|https?://(?!arxiv)[^w]|src=", html)
    assert len(re.findall(r"^best of \d+ ", printed(report), re.M)) == 5


def test_csv_files_hold_the_numbers_of_the_document(report: Report) -> None:
    rates = list(csv.DictReader(io.StringIO(report.tables()["rates.csv"])))
    last = report.document["best_of"][-1]
    assert [float(r["value"]) for r in rates[-3:]] == [r["value"] for r in last["rates"]]
    policies_csv = list(csv.DictReader(io.StringIO(report.tables()["policies.csv"])))
    assert (float(policies_csv[-1]["gap_high"]), float(policies_csv[-1]["bound"])) == (last["gap"]["high"], last["bound"])
    assert (policies_csv[0]["kind"], policies_csv[0]["setting"], policies_csv[0]["kl_limit"]) == ("reference", "", "")


def test_no_sentence_stands_twice_on_the_page(report: Report) -> None:
    text = re.sub(r"<[^>]+>", "", re.sub(r'aria-label="[^"]*"|<style>.*?</style>', "", report.html(), flags=re.S))
    for sentence in (report.page.headline, *(a.text for a in report.page.answers), *(f.sentence for f in report.page.first)):
        assert text.replace("&#39;", "'").count(sentence) == 1 + (sentence == report.page.headline), sentence  # and the window's title


def test_the_axis_is_the_measured_curves_and_the_note_says_where_the_bound_left_it() -> None:
    """Gaps of at most 20 points with intervals to 30: a bound of 100 must not press them into a fifth of the axis."""
    measured = [Estimate(v, v - 0.1, v + 0.1, 50, 200) for v in (0.1, 0.15, 0.2)]
    assert 0.3 < highest(measured) < 0.4
    assert highest([Estimate(0.9, 0.8, 1.0, 50, 200)]) == pytest.approx(1.02)
    svg = gap(Axis("gibbs", (float("inf"), 1.0, 0.1)), measured, [0.1, 0.6, 1.0], (), 860)
    shown = [int(t) for t in re.findall(r">(\d+)</text>", svg)]
    assert 30 in shown
    assert max(shown) <= 40


def test_the_note_names_the_first_policy_whose_bound_is_beyond(report: Report) -> None:
    note = report.page.first[0].note
    bounds = {p["setting"]: p["bound"] for p in report.document["gibbs"]}
    top = highest([Estimate(p.gap.value, p.gap.low, p.gap.high, 1, 1) for p in (report.findings.reference, *report.findings.gibbs)])
    first = next(s for s, b in bounds.items() if b > top)
    assert f"From β = {first:g} on the bound lies beyond the axis" in note


def test_no_gap_is_invented_where_groups_are_too_small(folder: Path) -> None:
    small = evenhand.transfer(write(folder / "small.jsonl", rows({"women": 40, "men": 6})), other="other")
    assert "fewer than two groups" in small.markdown()
    assert small.document["gibbs"][-1]["gap"]["value"] is None
    assert (small.findings.gibbs[-1].gap.n_prompts, small.findings.gibbs[-1].shift.n_candidates) == (0, 0)
    assert "fewer than two groups have 10 prompts" in small.html()
    assert small.tables() == {}
    tiny = evenhand.transfer(write(folder / "tiny.jsonl", rows({"women": 4, "men": 6})), other="other").document
    assert (tiny["versus"], tiny["compared"], tiny["reference"]["rates"]) == ([], [], [])


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_page_is_silent_and_fits(report: Report, tmp_path: Path) -> None:
    page = report.save(tmp_path)
    browser = chromium.Browser()
    try:
        for width, dark in ((1100, False), (400, True)):
            browser.open(page, width, dark)
            browser.evaluate("document.body.style.fontFamily = 'DejaVu Sans, sans-serif'")
            assert browser.complaints() == []
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            script = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
                const box = s.getBoundingClientRect();
                return [...s.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
                    return b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2; }).map(t => t.textContent)
            })"""
            assert browser.evaluate(script) == []
    finally:
        browser.close()


GOOD = {"prompt": "p", "group": "a", "reward": 1.0, "event": 1, "other": 0.5, "ref": -3.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"group": None}, r"line 3, column 'group': 'group' is missing.*Expected: a name"),
        ({"group": " "}, r"line 3, column 'group': 'group' is empty"),
        ({"group": "b"}, r"line 3, column 'group': a prompt of group 'a' has a candidate of group 'b'"),
        ({"prompt": None}, r"line 3, column 'prompt'.*missing"),
        ({"event": 1.2}, r"line 3, column 'event': 'event' is no share \(value: 1.2\).*0 to 1"),
        ({"event": "often"}, r"line 3, column 'event': 'event' is no share\. "),
        ({"reward": float("nan")}, r"line 3, column 'reward'.*no finite number"),
        ({"reward": 1e101}, r"line 3, column 'reward': 'reward' is over 1e\+49 in size \(value: 1e\+101\)"),
        ({"other": None}, r"line 3, column 'other': the value is missing"),
        ({"ref": float("-inf")}, r"line 3, column 'ref'.*over 1e\+49 in size"),
    ],
)
def test_a_bad_row_is_named(change: dict, told: str, tmp_path: Path) -> None:
    table = [{**GOOD, "prompt": "q"}, GOOD, {**GOOD, **change}, {**GOOD, "prompt": "z", "group": "b"}]
    with pytest.raises(DataError, match=told):
        evenhand.transfer(write(tmp_path / "c.jsonl", table), other="other", ref="ref")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"betas": [0.0, 1]}, r"beta = 0\. Expected: temperatures above 0"),
        ({"betas": [float("nan")]}, "beta = nan"),
        ({"betas": ["a"]}, r"beta = a\. Expected: temperatures above 0"),
        ({"ns": [None]}, r"n = None\. Expected: whole numbers from 1"),
        ({"ns": [0]}, r"n = 0\. Expected: whole numbers from 1"),
        ({"ns": [2.5]}, r"n = 2\.5"),
        ({"ns": [float("inf")]}, "n = inf"),
        ({"betas": [float("inf")], "ns": []}, "no policy"),
        ({"betas": np.linspace(0.1, 9, 60)}, "60 settings"),
        ({"other": "reward"}, "two columns|Both rewards"),
        ({"reward": "score"}, r"no column 'score' \(columns: prompt, group, reward, event"),
        ({"group_by": "reward"}, "one group for all candidates"),
        ({"group_by": "event"}, "at least two"),
    ],
)
def test_a_wrong_question_is_answered_with_what_to_do(asked: dict, told: str, tmp_path: Path) -> None:
    table = [{**GOOD, "prompt": p, "reward": i} for i, p in enumerate("ppqq")]
    with pytest.raises(EvenhandError, match=told):
        evenhand.transfer(write(tmp_path / "c.jsonl", table), **asked)
    broken = write(tmp_path / "broken.jsonl", table)
    broken.write_text(broken.read_text() + "{no json\n")
    with pytest.raises(DataError, match="line 5: the line is not valid JSON"):
        evenhand.transfer(broken)


def test_command_line_and_the_page_of_the_documentation(tmp_path: Path) -> None:
    """The blocks of docs/transfer.md, word for word: a made-up table, the verb, the folder it leaves."""
    page = (ROOT / "docs" / "transfer.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(block) == 2  # the second scores candidates with a model (tests/test_docs.py)
    done = subprocess.run(
        [sys.executable, "-c", block[0] + "\nimport sys; assert 'torch' not in sys.modules"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shown = next(line.strip() for line in page.splitlines() if line.startswith("evenhand transfer candidates.jsonl"))
    done = inside(*shown.split()[1:], cwd=tmp_path)  # over the first one's files
    assert done.returncode == 0, done.stderr
    assert "is 42.2 points more frequent" in done.stdout
    assert (tmp_path / "transfer" / "report.html").exists()


def test_another_report_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "audit", {"report.html": b"{}"}, "audit report")
    done = CliRunner().invoke(app, ["transfer", str(folder / "candidates.jsonl"), "--out", str(tmp_path / "audit")])
    assert "is evenhand's, of another kind (audit report)" in str(done.exception)
    (tmp_path / "report.html").write_text("{}")
    done = CliRunner().invoke(app, ["transfer", str(folder / "candidates.jsonl"), "--out", str(tmp_path)])
    assert isinstance(done.exception, DataError)
    assert "is not evenhand's" in str(done.exception)
    assert (tmp_path / "report.html").read_text() == "{}"
    done = CliRunner().invoke(app, ["transfer", str(folder / "candidates.jsonl"), "--ns", "1,two", "--out", str(tmp_path / "new")])
    assert "Found --ns 1,two. Expected: numbers" in str(done.exception)

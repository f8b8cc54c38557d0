"""compare and sweep: every entry on the same pairs, resumable, and a failure stays in its row. Features need no encoder here."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evenhand
from evenhand.audits.findings import to_json
from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.simulate import simulated_users
from evenhand.data.splits import TEST, split_pairs
from evenhand.engines.here import Processes
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.collaborative import CollaborativeMethod
from evenhand.methods.pafo import Pafo
from evenhand.models.linear import Linear
from evenhand.report import Report
from evenhand.training.schedule import Schedule
from evenhand.workflows import trials
from evenhand.workflows.compare import EVERYTHING
from evenhand.workflows.prepare import Prepared, judged, prepare
from evenhand.workflows.trained import PERSONALISED, PLAIN
from evenhand.workflows.trials import Bench, Entry, Failure, Trial

TFIDF = evenhand.Encoding(None, dim=32)
FAST = {"encoding": TFIDF, "group_by": evenhand.Grouping(minority=0.2), "jobs": 2, "resamples": 100}


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return simulated_users(seed=1, users=80, minority=0.2, pairs_per_user=30)


@pytest.fixture(scope="module")
def few() -> PreferenceData:
    """Half as many users, where figures only have to be there, or the same."""
    return simulated_users(seed=1, users=40, minority=0.2, pairs_per_user=30)


@pytest.fixture(scope="module")
def compared(few: PreferenceData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("compared")
    pafo = Pafo(BradleyTerry(schedule=Schedule(lr=1e-2, max_epochs=20)))  # the references train until validation stops them
    return evenhand.compare(few, [pafo, "p_rlhf", "inverse_frequency"], seeds=2, tune=2, out=out, **FAST), out


def test_every_entry_is_judged_on_the_same_pairs(compared: tuple[Report, Path]) -> None:
    found = compared[0].findings
    weighted = "inverse-frequency weights (LoRe's head)"
    assert [e.name for e in found.entries] == [PLAIN, PERSONALISED, "PAFO (LoRe's head)", "P-RLHF", weighted]
    assert len({(e.held_out[-1].n_users, e.held_out[-1].n_pairs) for e in found.entries}) == 1
    assert all(e.tried == 2 and e.seeds == 2 and not e.failed for e in found.entries)
    assert len(found.pairwise) == 10
    plain, personalised = found.entries[:2]
    assert personalised.held_out[-1].value > plain.held_out[-1].value
    assert found.front is not None
    assert found.front.reference == PERSONALISED
    assert set(found.front.best) <= {e.name for e in found.entries}


def test_every_metric_is_printed(compared: tuple[Report, Path]) -> None:
    report = compared[0]
    names = {m.name for e in report.findings.running for m in e.metrics}
    assert "margin" in names
    rows = report.tables()["metrics.csv"].splitlines()
    assert len(rows) == 1 + len(report.findings.running) * len(names) * (1 + len(report.findings.groups))
    assert "Other metrics on test pairs" in report.html()


def test_what_cannot_be_read_is_said(few: PreferenceData, compared: tuple[Report, Path], tmp_path: Path) -> None:
    notes = {e.name: e.note for e in compared[0].findings.entries}
    assert "reward for everybody" in notes["P-RLHF"]
    assert not notes["PAFO (LoRe's head)"]
    said: list[str] = []
    before: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        evenhand.compare(few, ["p_rlhf"], seeds=1, tune=0, out=tmp_path, say=said.append, progress=stop_after(1, before), **FAST)
    assert said  # before the first fit had ended
    assert said[0].startswith("P-RLHF: knows users by number")


def test_the_same_figures_as_a_fit_of_its_own(data: PreferenceData, tmp_path: Path) -> None:
    """What compare reports of a method in one seed is what `fit` reports of it."""
    alone = evenhand.fit(data, "bradley_terry", encoding=TFIDF, group_by=FAST["group_by"], seed=3).report.findings
    entry = evenhand.compare(data, [], seeds=1, tune=0, seed=3, out=tmp_path, **FAST).findings.entries[1]
    assert entry.held_out[-1].value == pytest.approx(alone.model.overall.value, abs=1e-9)
    assert [e.value for e in entry.held_out[:-1]] == pytest.approx([g.accuracy.value for g in alone.model.groups], abs=1e-9)
    assert entry.log_loss is not None
    assert entry.log_loss.n_pairs == alone.model.overall.n_pairs
    assert entry.calibrated is not None
    assert 0.3 < entry.calibrated.value < entry.log_loss.value + 0.02  # the slopes are fitted on other pairs


def stop_after(trials_done: int, seen: list[int]) -> Any:
    """A progress that interrupts once so many trials have ended."""

    def progress(what: str, done: int, total: int) -> None:
        if what == "trials":
            seen.append(done)
            if done >= trials_done:
                raise KeyboardInterrupt

    return progress


def test_an_interrupted_comparison_goes_on_where_it_stopped(few: PreferenceData, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"methods": [quick()], "seeds": 1, "tune": 0, "out": tmp_path, **FAST}
    with pytest.raises(KeyboardInterrupt):
        evenhand.compare(few, progress=stop_after(2, []), **asked)
    kept = sorted((tmp_path / "trials").glob("*.safetensors"))
    assert len(kept) >= 2
    times = {f: f.stat().st_mtime_ns for f in kept}
    done: list[int] = []
    whole = evenhand.compare(few, progress=lambda what, n, total: done.append(n) if what == "trials" else None, **asked)
    assert done[0] == len(kept)  # they were not computed again
    assert {f: f.stat().st_mtime_ns for f in kept} == times
    fresh = evenhand.compare(few, **{**asked, "out": tmp_path / "other"})
    for a, b in zip(whole.findings.entries, fresh.findings.entries, strict=True):
        assert to_json(a.held_out) == to_json(b.held_out)


def test_other_data_and_other_settings_are_other_trials(data: PreferenceData, tmp_path: Path) -> None:
    bench = Bench(data, TFIDF, evenhand.Grouping(), tmp_path, Processes(1))
    entry = Entry("a", BradleyTerry())
    first = bench._file(entry, 0)
    flipped = replace(data, chosen=data.rejected, rejected=data.chosen)
    others = [
        bench._file(entry, 1),
        bench._file(Entry("a", BradleyTerry(), budget=4), 0),
        bench._file(Entry("a", replace(BradleyTerry(), schedule=replace(BradleyTerry().schedule, dropout=0.1))), 0),
        replace(bench, data=flipped)._file(entry, 0),
        replace(bench, grouping=evenhand.Grouping(minority=0.3))._file(entry, 0),
        replace(bench, encoding=evenhand.Encoding(None, dim=16))._file(entry, 0),
    ]
    assert len({first, *others}) == 7
    assert bench._file(Entry("another name", BradleyTerry()), 0) == first  # a name is no setting


def test_a_damaged_trial_is_computed_again(data: PreferenceData, tmp_path: Path) -> None:
    bench = Bench(data, TFIDF, evenhand.Grouping(), tmp_path, Processes(1))
    entries = [Entry("a", quick())]
    run = lambda: list(bench.run(entries, [0], lambda *a: None, lambda note: None))  # noqa: E731
    (first,) = run()
    assert isinstance(first, Trial)
    file = bench._file(entries[0], 0)
    damaged = file.read_bytes()[:100]
    file.write_bytes(damaged)
    (second,) = run()
    assert isinstance(second, Trial)
    assert np.array_equal(first.arrays["test.accuracy"], second.arrays["test.accuracy"], equal_nan=True)
    assert [p.read_bytes() for p in tmp_path.glob("*.unreadable-*")] == [damaged]  # whose it was, nobody knows: it steps aside


def quick() -> BradleyTerry:
    return replace(BradleyTerry(), schedule=replace(BradleyTerry().schedule, max_epochs=2))


class Dies(BradleyTerry):
    """A fit that is killed, as by the system when memory runs out."""

    def fit(self, train: Any, valid: Any, seed: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def stages(self, train: Any, valid: Any, seed: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Raises(BradleyTerry):
    def stages(self, train: Any, valid: Any, seed: int) -> Any:
        raise EvenhandError("no such luck")


def test_a_failed_fit_is_told_in_its_row_and_the_others_go_on(data: PreferenceData, tmp_path: Path) -> None:
    from evenhand.workflows.comparing import Comparing

    entries = [Entry("good", quick()), Entry("killed", Dies()), Entry("raises", Raises()), Entry("also good", quick())]
    bench = Bench(data, TFIDF, evenhand.Grouping(), tmp_path, Processes(2))
    found = list(bench.run(entries, [0], lambda *a: None, lambda note: None))
    assert [isinstance(t, Failure) for t in found] == [False, True, True, False]
    told = Comparing(entries, "good", [0], "x", resamples=50).results(data, found, {})
    rows = {e.name: e for e in told.entries}
    assert "signal 9" in rows["killed"].failed
    assert "no such luck" in rows["raises"].failed
    assert not rows["killed"].held_out
    assert rows["also good"].held_out
    assert {d.first for d in told.pairwise} | {d.second for d in told.pairwise} == {"good", "also good"}


def test_a_reference_that_failed_leaves_the_others_comparable(data: PreferenceData, tmp_path: Path) -> None:
    from evenhand.workflows.comparing import Comparing

    entries = [Entry("reference", Raises()), Entry("good", quick())]
    bench = Bench(data, TFIDF, evenhand.Grouping(), tmp_path, Processes(1))
    told = Comparing(entries, "reference", [0], "x", resamples=50).results(
        data, list(bench.run(entries, [0], lambda *a: None, lambda n: None)), {}
    )
    assert told.front is None
    assert told.entries[1].held_out
    with pytest.raises(EvenhandError, match="Every entry failed"):
        Comparing(entries[:1], "reference", [0], "x").results(data, [Failure("reference", 0, "why")], {})


def test_sweep_trains_what_single_fits_train(data: PreferenceData, tmp_path: Path) -> None:
    short = {"max_epochs": "20"}  # long enough for replicas to part
    grid = {"alpha": ["0", "0.5"], "balance": ["0", "1"]}
    found = evenhand.sweep(data, grid, settings=short, seeds=1, out=tmp_path / "sweep", **FAST).findings
    assert [e.name for e in found.entries[2:]] == [f"alpha={a} balance={b}" for a in ("0", "0.5") for b in ("0", "1")]
    assert found.swept == ("alpha", "balance")
    assert found.entries[3].settings["balance"] == "1.0"
    alone = evenhand.fit(
        data, "pafo", settings=short | {"alpha": "0.5", "balance": "1"}, encoding=TFIDF, group_by=FAST["group_by"]
    ).report.findings
    assert found.entries[5].held_out[-1].value == pytest.approx(alone.model.overall.value, abs=2e-3)  # rounding may turn a pair or two


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d, out: evenhand.compare(d, ["paffo"], out=out, **FAST), "did you mean 'pafo'"),
        (lambda d, out: evenhand.compare(d, ["pafo:lorre"], out=out, **FAST), "did you mean 'lore'"),
        (lambda d, out: evenhand.compare(d, ["pafo"], seeds=0, out=out, **FAST), "at least one seed"),
        (lambda d, out: evenhand.sweep(d, {"alpa": ["1"]}, out=out, **FAST), "did you mean 'alpha'"),
        (lambda d, out: evenhand.sweep(d, {"alpha": ["1", "x"]}, out=out, **FAST), "alpha=x"),
        (lambda d, out: evenhand.sweep(d, {}, out=out, **FAST), "--over"),
        (lambda d, out: evenhand.sweep(d, {"alpha": [str(i / 300) for i in range(300)]}, out=out, **FAST), "256 at most"),
        (lambda d, out: evenhand.sweep(d, {"alpha": ["0.5", "0.5"]}, out=out, **FAST), "twice"),
        (lambda d, out: evenhand.compare(d, ["pafo"], out=out, **{**FAST, "jobs": -1}), "jobs is -1"),
    ],
)
def test_wrong_calls_are_told_before_any_work(call: Any, said: str, data: PreferenceData, tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match=said):
        call(data, tmp_path)
    assert not (tmp_path / "trials").exists()


def test_methods_that_need_groups_say_so_before_training(data: PreferenceData, tmp_path: Path) -> None:
    alone = replace(data, attributes={"country": [""] * len(data.users)})
    with pytest.raises(EvenhandError, match="no user is in a group"):
        evenhand.compare(alone, ["inverse_frequency"], seeds=1, out=tmp_path, **{**FAST, "group_by": evenhand.Grouping(("country",))})
    assert not (tmp_path / "trials").exists()


def test_everything_names_files_that_exist(data: PreferenceData) -> None:
    from evenhand.workflows import hyperparameters

    for name in EVERYTHING:
        assert trials.describe(hyperparameters.method(name, {}))


def test_a_method_reads_its_own_features_wherever_it_is_trained(tmp_path: Path) -> None:
    """Collaborative filtering reads unreduced features, the others reduced ones: in a comparison and in a fit alike, and saved with the model."""
    data = simulated_users(seed=3, users=40, minority=0.2, pairs_per_user=20)
    grouping = evenhand.Grouping(("taste",))
    ready = prepare(data, split_pairs(data, seed=0), TFIDF, grouping)
    assert (ready.feature_map.recipe.letters, ready.unreduced.feature_map.recipe.letters) == (False, True)
    assert ready.feature_map.dim == 32 < ready.unreduced.feature_map.dim
    rows, reduced = ready.split.rows(TEST), replace(quick(), head=Linear())

    def accuracy(some: Prepared, method: Any) -> np.ndarray:
        right = judged(some, method.fit(*some.training(), 0).scorer, rows, "", "").margin > 0
        return np.bincount(data.user[rows], right, 40)[data.user[rows]] / np.bincount(data.user[rows], minlength=40)[data.user[rows]]

    expected = {"wide": accuracy(ready.unreduced, CollaborativeMethod()), "one": accuracy(ready, reduced)}
    entries = [Entry("one", reduced), Entry("wide", CollaborativeMethod()), Entry("two", reduced)]
    bench = Bench(data, TFIDF, grouping, tmp_path / "trials", Processes(2))
    found = {t.entry: t for t in bench.run(entries, [0], lambda *a: None, lambda note: None, at_once=32)}
    for name, entry in (("one", "one"), ("wide", "wide"), ("one", "two")):
        trial = found[entry]
        assert isinstance(trial, Trial)
        np.testing.assert_allclose(trial.arrays["test.accuracy"][data.user[rows]], expected[name])
    fitted = evenhand.fit(data, "collaborative", encoding=TFIDF, group_by=grouping, resamples=20, settings={"max_epochs": "2"})
    assert fitted.report.findings.model.overall.value == pytest.approx(np.nanmean(found["wide"].arrays["test.accuracy"]))
    assert fitted.report.findings.others[0].overall.value == pytest.approx(np.nanmean(found["one"].arrays["test.accuracy"]))
    fitted.model.save(tmp_path / "model")
    assert evenhand.RewardModel.load(tmp_path / "model").feature_map.recipe == ready.unreduced.feature_map.recipe

"""The choice by bounded regression: relative changes by hand, an empty set stays empty, dominance, and reports read as anybody's files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from evenhand.core import DataError, Estimate, EvenhandError
from evenhand.report.texts import stages
from evenhand.report.texts.stage_sentences import choice_sentence
from evenhand.texts.findings import Gap, Level, Run
from evenhand.texts.selecting.choice import EPSS, RHOS, choice, disparities, fidelity, noise
from evenhand.workflows.choose import audited_runs, choose
from evenhand.workflows.choose import written as written_choice

NAN = math.nan
NOTHING = Estimate(NAN, NAN, NAN, 0, 0)


def gap(audit: str, measure: str, axis: str, absolute: float, *, masked: bool = False, distance: str = "") -> Gap:
    return Gap(
        audit,
        measure,
        axis,
        masked,
        (),
        ("a", "b"),
        NOTHING,
        NOTHING,
        NAN,
        NOTHING,
        NAN,
        absolute,
        0.95 * absolute,
        NAN,
        8,
        2,
        distance=distance,
    )


def level(audit: str, measure: str, value: float = NAN, *, objective: bool = False, masked: bool = False) -> Level:
    return Level(audit, measure, masked, Estimate(value, value, value, 55, 440), 1.0, audit == "fidelity", objective)


def run(name: str, pbi: float, formality: float, emotion: float, fidelity: float = 0.3, texts: int = 880) -> Run:
    """Every disparity is the mean over the two axes: the first .1 higher, the second .1 lower than what is given."""
    gaps = []
    for axis, more in (("age", 0.1), ("gender", -0.1)):
        gaps += [
            gap("persuasion", "pbi", axis, pbi + more),
            gap("persuasion", "M", axis, 7.0),
            gap("persuasion", "pbi", axis, 9.0, masked=True),
        ]
        gaps += [gap("formality", "f", axis, formality + more)]
        gaps += [
            gap("emotion", "emotions", axis, emotion + more, distance="L1"),
            gap("emotion", "emotions", axis, 5.0, distance="Jensen-Shannon"),
        ]
    levels = [level("persuasion", "pbi", 0.1, objective=True), level("persuasion", "M", 0.1), level("formality", "f", 50.0, objective=True)]
    levels += [
        level("emotion", "emotions", objective=True),
        level("fidelity", "contrast", fidelity),
        level("fidelity", "contrast", 0.9, masked=True),
    ]
    return Run(name, texts, 440, 2, NOTHING, {}, tuple(gaps), tuple(levels), ())


BASE = run("base", 1.0, 2.0, 0.5)


def test_disparities_and_fidelity_are_of_objectives_as_written() -> None:
    assert disparities(BASE) == pytest.approx({"persuasion": 1.0, "formality": 2.0, "emotion": 0.5})
    assert fidelity(BASE) == 0.3


def test_regressions_are_relative_to_the_first_run() -> None:
    found = choice([BASE, run("one", 0.8, 2.1, 0.5, 0.29)])
    assert [s.run for s in found.runs] == ["base", "one"]
    assert found.runs[1].regression == pytest.approx({"persuasion": -0.2, "formality": 0.05, "emotion": 0.0})
    assert found.runs[1].fidelity == pytest.approx(-0.01)
    assert (found.runs[1].improved, found.runs[0].improved) == (1, 0)
    assert found.best == "one"
    admitted = {(a.rho, a.eps): a.runs for a in found.admitted}
    assert set(admitted) == {(r, e) for r in RHOS for e in EPSS}
    for (rho, eps), runs in admitted.items():
        assert runs == (("one",) if rho >= 0.05 and eps >= 0.01 else ()), (rho, eps)


def test_most_improved_audits_then_the_lower_disparity_then_order() -> None:
    two, one = run("two", 0.95, 1.9, 0.5), run("one", 0.1, 2.0, 0.5)
    assert choice([BASE, one, two]).best == "two"
    lower = run("lower", 0.9, 1.9, 0.5)
    assert choice([BASE, one, two, lower]).best == "lower"
    assert choice([BASE, run("twin", 0.9, 1.9, 0.5), lower]).best == "twin"


def test_an_empty_set_is_never_widened() -> None:
    worse = run("worse", 0.1, 2.3, 0.1)  # formality 15 % up
    found = choice([BASE, worse])
    assert found.best == ""
    assert {a.best for a in found.admitted if a.rho == 0.25} == {"worse"}
    assert choice([BASE, worse], rho=0.15).best == "worse"
    assert (0.15, 0.02) in {(a.rho, a.eps) for a in choice([BASE, worse], rho=0.15).admitted}
    assert choice([BASE, run("blunt", 0.1, 0.1, 0.1, fidelity=0.27)]).best == ""


def test_a_run_that_lacks_an_audit_is_not_admissible() -> None:
    full = run("part", 0.5, 1.0, 0.2)
    part = Run(full.name, 880, 440, 2, NOTHING, {}, tuple(g for g in full.gaps if g.audit != "emotion"), full.levels, ())
    found = choice([BASE, part], rho=0.25)
    assert found.best == ""
    assert math.isnan(found.runs[1].regression["emotion"])
    mute = Run(full.name, 880, 440, 2, NOTHING, {}, full.gaps, tuple(v for v in full.levels if not v.fidelity), ())
    assert choice([BASE, mute]).best == ""
    with pytest.raises(EvenhandError, match="audit of fidelity"):
        choice([mute, BASE])


def test_dominance_is_by_all_audits_and_fidelity() -> None:
    good, less, other = run("good", 0.8, 1.8, 0.4), run("less", 0.8, 1.9, 0.4), run("other", 0.9, 1.0, 0.4)
    found = {s.run: s.dominated for s in choice([BASE, good, less, other]).runs}
    assert found == {"base": ("good", "less", "other"), "good": (), "less": ("good",), "other": ()}
    faithful = run("faithful", 0.9, 1.9, 0.4, fidelity=0.31)
    assert {s.run: s.dominated for s in choice([BASE, good, faithful]).runs}["faithful"] == ()


def test_a_disparity_of_nothing_cannot_be_kept_relatively() -> None:
    none = run("none", 0.0, 2.0, 0.5)
    assert choice([none, run("some", 0.2, 1.0, 0.4)]).runs[1].regression["persuasion"] == math.inf
    assert choice([none, run("same", 0.0, 1.0, 0.4)]).best == "same"


def test_what_grew_from_nothing_is_said_with_what_it_grew_to() -> None:
    """Neither a fall nor a change that is not known: the first run has no gap of persuasion, the other one .2."""
    none = run("none", 0.0, 2.0, 0.5)
    flat = replace(none, gaps=tuple(replace(g, absolute=0.0) if g.audit == "persuasion" else g for g in none.gaps))
    found = choice([flat, run("some", 0.2, 1.0, 0.4)])
    assert found.runs[1].from_nothing == {"persuasion": pytest.approx(0.2)}
    said = choice_sentence(found)
    assert "Where “none” has a disparity of 0, any is too much: it grew in persuasion of “some” to 0.200." in said
    page = stages.choice(found)
    assert page is not None
    cells = {c.name: c.line(cell) for c, cell in zip(page.tables[0].columns, page.tables[0].rows[1])}
    assert (cells["persuasion, change"], cells["formality, change"]) == ("from 0 to 0.200", "−50.0\u00a0%")
    assert json.loads(written_choice(found))["runs"][1]["from_nothing"] == {"persuasion": pytest.approx(0.2)}
    assert repr(found) == "Choice(no run among 1 beside 'none', at rho = 0.1 and eps = 0.02)"


def test_noise_says_how_many_texts_and_how_much_of_the_gaps_is_noise() -> None:
    said = noise([BASE, run("one", 0.8, 2.1, 0.5, texts=1760)])
    assert "880 to 1,760 texts" in said
    assert "would be 95\u00a0% of what it is" in said


def test_what_a_choice_says_is_so_in_each_world() -> None:
    equal = run("equal", 1.0, 2.1, 0.5)
    said = choice_sentence(choice([BASE, equal]))
    assert "By the estimates its mean |gap| is lower in none of 3 audits: “base” is as good, or better." in said
    faithful = choice_sentence(choice([BASE, run("equal", 1.0, 2.1, 0.5, fidelity=0.35)]))
    assert "“base” is as good, or better; its fidelity is 0.050 higher." in faithful
    assert "its mean |gap| is lower in 1 of 3 audits." in choice_sentence(choice([BASE, run("one", 0.8, 2.1, 0.5)]))
    flat = replace(BASE, gaps=tuple(replace(g, absolute=0.0, null=0.0) for g in BASE.gaps))
    assert (
        noise([flat, BASE])
        == "The choice goes by estimates on 880 texts a run. Every mean |gap| of “base” is 0: there is nothing to improve."
    )
    single = replace(BASE, gaps=tuple(replace(g, null=NAN) for g in BASE.gaps))
    assert "with one text a cell nobody can tell" in noise([single, BASE])


def test_a_run_without_a_usable_text_is_never_admitted() -> None:
    """Not even where the first one has none either, and at no setting."""
    none = replace(run("none", 0.1, 0.1, 0.1), usable=Estimate(0.0, 0.0, 0.06, 55, 880))
    base = replace(BASE, usable=none.usable)
    found = choice([base, none, replace(run("some", 0.9, 1.9, 0.4), usable=Estimate(0.02, 0.0, 0.08, 55, 880))])
    assert {a.runs for a in found.admitted} == {("some",)}
    assert "No text of “base” is usable" in found.note
    few = replace(none, usable=Estimate(0.0, NAN, NAN, 8, 64))
    assert choice([replace(BASE, usable=few.usable), few]).best == ""


@pytest.mark.parametrize(
    ("runs", "more", "told"),
    [
        ([BASE], {}, "Found 1 run"),
        ([BASE, BASE], {}, "two runs called"),
        ([BASE, run("one", 1, 1, 1)], {"rho": -0.1}, "rho"),
        ([BASE, run("one", 1, 1, 1)], {"eps": NAN}, "eps"),
    ],
)
def test_what_cannot_be_chosen_among_is_told(runs: list[Run], more: dict[str, float], told: str) -> None:
    with pytest.raises(EvenhandError, match=told):
        choice(runs, **more)


def written(folder: Path, *runs: Run, grid: str = "climate") -> Path:
    """A report as audit-text writes it: records as plain JSON, nan as null."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    folder.mkdir(parents=True)
    said = {"format": "evenhand texts 1", "exit_code": 0, "grid": grid, "runs": [plain(asdict(r)) for r in runs]}
    (folder / "report.json").write_text(json.dumps(said, allow_nan=False))
    return folder


def test_reports_are_read_and_the_choice_is_that_of_their_runs(tmp_path: Path) -> None:
    one, two = run("one", 0.8, 2.1, 0.5, 0.29), run("two", 0.8, 1.9, 0.4)
    a, b = written(tmp_path / "a", BASE, one), written(tmp_path / "b", BASE, two)
    found = choose([a, b / "report.json"], out=tmp_path / "choice.json")
    assert found == choice([BASE, one, two])
    assert found.best == "two"
    said = json.loads((tmp_path / "choice.json").read_text())
    assert (said["best"], said["base"], len(said["runs"])) == ("two", "base", 3)
    assert choose([a, b], base="one").base == "one"


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a", BASE), written(tmp_path / "b", run("base", 0.5, 1.0, 0.4))
    assert [r.name for r in audited_runs([a, b])] == ["base", "b/base"]


def test_files_that_are_no_reports_of_texts_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = written(tmp_path / "a", BASE)
    with pytest.raises(EvenhandError, match="Found runs on the grids"):
        choose([a, written(tmp_path / "b", BASE, grid="vaccination")])
    with pytest.raises(EvenhandError, match="There is no run 'x'"):
        choose([a], base="x")
    with pytest.raises(DataError, match="no such file"):
        choose([tmp_path / "nowhere"])
    monkeypatch.chdir(tmp_path)
    Path("g.toml").write_text("")
    with pytest.raises(DataError, match=r"^g\.toml: it is not valid JSON"):
        choose(["g.toml"])
    broken = tmp_path / "broken"
    broken.mkdir()
    for text, told in (
        ("{", "not valid JSON"),
        ("[]", "no report of texts"),
        ('{"format": "evenhand report 1"}', "no report of texts"),
        ('{"format": "evenhand texts 1", "grid": "climate"}', "lacks what"),
        ('{"format": "evenhand texts 1", "grid": "climate", "runs": [{"name": 3}]}', "lacks what"),
        ('{"format": "evenhand texts 1", "grid": "climate", "runs": 7}', "lacks what"),
    ):
        (broken / "report.json").write_text(text)
        with pytest.raises(DataError, match=told):
            choose([broken])


def test_a_run_of_texts_that_are_no_messages_is_not_chosen() -> None:
    """Whatever its gaps are: texts that loop or break off differ little between groups."""
    base, empty = run("base", 1.0, 1.0, 1.0), run("empty", 0.1, 0.1, 0.1)
    share = {"n_users": 55, "n_pairs": 880}
    base = replace(base, usable=Estimate(0.9, 0.86, 0.94, **share))
    assert choice([base, replace(empty, usable=Estimate(0.7, 0.65, 0.75, **share))]).best == ""
    assert choice([base, replace(empty, usable=Estimate(0.85, 0.80, 0.90, **share))]).best == "empty"


def test_few_blocks_have_no_interval_and_let_no_run_of_loops_pass() -> None:
    base, empty = run("base", 1.0, 1.0, 1.0), run("empty", 0.1, 0.1, 0.1)
    base = replace(base, usable=Estimate(0.9, NAN, NAN, 8, 64))
    assert choice([base, replace(empty, usable=Estimate(0.05, NAN, NAN, 8, 64))]).best == ""
    assert choice([base, replace(empty, usable=Estimate(0.82, NAN, NAN, 8, 64))]).best == "empty"


def test_more_texts_a_cell_are_no_improvement() -> None:
    """The mean |gap| of equal groups falls as one over the root of the number of texts."""
    with pytest.raises(EvenhandError, match="2 to 8 texts a cell"):
        choice([BASE, replace(run("more", 0.5, 1.0, 0.25), n_draws=8)])
    fewer = replace(run("part", 0.5, 1.0, 0.25), n_cells=112)
    assert "of 112 to 440 cells" in choice([BASE, fewer]).note

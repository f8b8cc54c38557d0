"""The package as a library: one set of names for Python and the command line, written once."""

from __future__ import annotations

import importlib
import inspect
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import evenhand
from evenhand.cli import app
from evenhand.cli.alignment import CHOICE, TRAINING, WRITING
from evenhand.cli.documented import NONE, SHARED, parameter, parameters
from evenhand.cli.generation import ENDPOINT, REVISION, SAMPLING
from evenhand.cli.options import CONSTRAINTS, DATA, GROUPS, LANGUAGE_MODEL, MACHINES, MODEL, OUTPUT
from evenhand.cli.serving import SERVER
from evenhand.cli.texts import INSTRUMENTS
from evenhand.workflows.progress import Lines, duration, shown, silent
from evenhand.workflows.score_columns import score_columns

WORKFLOWS = (
    "align",
    "audit",
    "audit_text",
    "certify",
    "check",
    "choose",
    "compare",
    "fit",
    "generate",
    "grid",
    "score",
    "select",
    "sweep",
    "transfer",
    "verify",
)
PANELS = {
    "Many files",
    DATA,
    GROUPS,
    MODEL,
    LANGUAGE_MODEL,
    MACHINES,
    CONSTRAINTS,
    OUTPUT,
    INSTRUMENTS,
    ENDPOINT,
    SAMPLING,
    REVISION,
    WRITING,
    TRAINING,
    CHOICE,
    SERVER,
}
PLACES = [f"workflows/{verb}.py:{verb}" for verb in WORKFLOWS]


def verbs() -> dict[str, Callable[..., None]]:
    return {str(c.name or c.callback.__name__): c.callback for c in app.registered_commands if c.callback}  # type: ignore[attr-defined]


def imported(place: str) -> Any:
    file, _, name = place.partition(":")
    return getattr(importlib.import_module(f"evenhand.{file.removesuffix('.py').replace('/', '.')}"), name)


@pytest.mark.parametrize("place", [*PLACES, *SHARED])
def test_what_is_read_from_source_is_what_python_sees(place: str) -> None:
    real = inspect.signature(imported(place)).parameters
    read = parameters(place)
    assert list(read) == list(real)
    for name, p in real.items():
        if read[name].default is NONE:
            assert p.default is p.empty or not isinstance(p.default, str | int | float | tuple | None), name
        else:
            assert read[name].default == p.default, name


@pytest.mark.parametrize("verb", WORKFLOWS)
def test_every_parameter_is_explained_and_none_is_swallowed(verb: str) -> None:
    """Each has a sentence, in its own function or where that says that parameters mean the same."""
    own = inspect.signature(imported(f"workflows/{verb}.py:{verb}")).parameters
    assert inspect.Parameter.VAR_KEYWORD not in {p.kind for p in own.values()}
    assert [name for name in own if not parameter(verb, name).help] == []


def test_no_sentence_is_written_twice() -> None:
    """Two functions that have a parameter of one name say the same of it by saying it once; what differs, differs."""
    said = [p.help for place in {*PLACES, *SHARED} for p in parameters(place).values() if len(p.help) > 40]
    assert sorted({text for text in said if said.count(text) > 1}) == []


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_option_has_help_a_panel_and_the_workflows_name(verb: str) -> None:
    own = verb.replace("-", "_")
    known = {name for place in (f"workflows/{own}.py:{own}", *SHARED) for name in parameters(place)}
    alone = {
        "out",
        "mentions",
        "swap",
        "leave_out",
        "history_column",
        "chunked",
        "context",
        "certificate",
        "pdf",
        "partial",
        "merge",
    }  # of the command line
    for name, p in inspect.signature(verbs()[verb]).parameters.items():
        if name == "context":
            continue
        assert name in known | alone, name
        info = get_args(p.annotation)[1]
        assert info.help, name
        if type(info).__name__ == "OptionInfo":
            assert info.rich_help_panel in PANELS, name


@pytest.mark.parametrize("verb", ["audit", "fit", "compare", "sweep", "certify", "transfer"])
def test_defaults_of_the_command_line_are_the_librarys(verb: str) -> None:
    real = inspect.signature(imported(f"workflows/{verb}.py:{verb}")).parameters
    for name, p in inspect.signature(verbs()[verb]).parameters.items():
        if name in real and real[name].default is not inspect.Parameter.empty and name not in ("betas", "ns"):  # typed with commas
            wanted = None if real[name].default == () else real[name].default
            shown_as = str(p.default) if isinstance(p.default, Path) else p.default
            assert shown_as == wanted or (wanted is not None and str(shown_as) == str(wanted)), name


def test_group_by_is_the_name_wherever_groups_are() -> None:
    for verb in ("audit", "certify", "check", "compare", "fit", "sweep", "transfer"):
        assert "group_by" in inspect.signature(getattr(evenhand, verb)).parameters, verb
        assert "group_by" in inspect.signature(verbs()[verb]).parameters, verb


def test_everything_that_is_promised_is_there() -> None:
    for name in evenhand.__all__:
        assert getattr(evenhand, name) is not None
    assert evenhand.__version__ == importlib.import_module("importlib.metadata").version("evenhand")
    with pytest.raises(AttributeError, match="no attribute 'aduit'"):
        _ = evenhand.aduit


def test_importing_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, evenhand; evenhand.__version__; print(*sorted({'torch', 'numpy', 'typer', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


def test_help_loads_neither_torch_nor_arrow() -> None:
    code = "import sys, evenhand.cli; print(*sorted({'torch', 'pyarrow', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


# ---- data in memory


def records() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "user": f"u{u}", "prompt": f"prompt {i}", "chosen": f"a kind answer {u} {i}", "rejected": f"a curt answer {u} {i}",
            "country": "fr" if u % 3 else "de", "good": float(rng.normal()), "bad": float(rng.normal()),
        }
        for u in range(40) for i in range(12)
    ]  # fmt: skip


def test_a_table_in_memory_is_audited_without_loading_it_first() -> None:
    import pandas
    import polars
    import pyarrow

    rows = records()
    asked: dict[str, Any] = {"scores": ("good", "bad"), "group_by": "country", "resamples": 20}
    found = [
        evenhand.audit(table, **asked).findings.model
        for table in (rows, pandas.DataFrame(rows), polars.DataFrame(rows), pyarrow.Table.from_pylist(rows))
    ]
    assert len({m.overall.value for m in found}) == 1
    assert {g.group for g in found[0].groups} == {"fr", "de"}
    by_hand = {c: np.mean([r["good"] > r["bad"] for r in rows if r["country"] == c]) for c in ("fr", "de")}
    assert {g.group: g.accuracy.value for g in found[0].groups} == pytest.approx(by_hand)


def test_a_file_is_fitted_and_scored_without_loading_it_first(sample_table: Path, tmp_path: Path) -> None:
    encoding = evenhand.Encoding(None, dim=16)
    told: list[tuple[str, int, int]] = []
    made = evenhand.fit(
        sample_table, "bradley_terry", head="linear", settings={"max_epochs": 2}, encoding=encoding, resamples=20, name="Mine", title="A title",
        note="A note.", progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert (made.report.findings.title, made.report.findings.note, made.report.findings.model.model) == ("A title", "A note.", "Mine")
    assert {"train", "audit"} <= {what for what, _, _ in told}
    made.save(tmp_path / "out")
    whole, folder = (evenhand.score(model, sample_table, progress=silent) for model in (made.model, tmp_path / "out" / "model"))
    assert np.array_equal(whole.rewards, folder.rewards)
    frame = whole.to_frame()
    assert {"user", "prompt", "chosen", "rejected"} < set(frame.columns)
    assert list(frame.columns)[-3:] == ["reward_chosen", "reward_rejected", "margin"]
    assert np.array_equal(frame.reward_chosen.to_numpy(np.float32), whole.rewards[:, 0])


def test_a_frame_without_pandas_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from evenhand.workflows.frames import frame

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(evenhand.EvenhandError, match=r"pip install 'evenhand\[frames\]'"):
        frame({"a": [1]})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d: evenhand.audit(d), "neither a model nor scores"),
        (lambda d: evenhand.audit(d, "good", model="out/model"), "both a model and scores"),
        (lambda d: evenhand.audit(d, "god"), "nearest match 'good'"),
        (lambda d: evenhand.audit(evenhand.load(d), "good"), r"load\(path, numbers=\['good'\]\)"),
        (lambda d: evenhand.audit(evenhand.load(d), len), r"audit\(data, model=function\)"),
        (lambda d: evenhand.audit(evenhand.load(d), model=3), "Found int as model"),
        (lambda d: evenhand.audit(evenhand.load(d), [1.0] * 480, group_by="land"), r"load\(path, attributes=\['land'\]\)"),
        (lambda d: evenhand.audit(d, "good", constraints=["dp=0.05"]), r"constraints=\{'dp': 0.05\}"),
        (lambda d: evenhand.audit(d, "good", metrics=["brier"]), "There is no metric brier"),
        (lambda d: evenhand.audit(d, "good", metrics={"accuracy": 1}), "Metric accuracy is of type int"),
        (lambda d: evenhand.fit(d, 3), "int is no method"),
        (lambda d: evenhand.fit(d, "pafo", head=3), "int is no head"),
        (lambda d: evenhand.fit(3), "Found int for 'path'"),
        (lambda d: evenhand.compare(d, "pafoo"), "did you mean 'pafo'"),
    ],
)
def test_wrong_calls_say_what_to_do(call: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(evenhand.EvenhandError, match=said):
        call(records())


def test_one_requirement_and_a_mapping_of_constraints_are_taken() -> None:
    found = evenhand.audit(
        records(), "good,bad", group_by="country", require="accuracy(fr)>=0", constraints={"eo": 0.5}, resamples=20
    ).findings
    assert [r.name for r in found.requirements][1:] == ["accuracy(fr)>=0"] or "fr" in found.requirements[1].name
    assert [(c.notion, c.gamma) for c in found.constraints] == [("eo", 0.5)]


def test_what_is_no_group_by_is_told() -> None:
    with pytest.raises(evenhand.EvenhandError, match=r"group_by is \[3\]"):
        evenhand.audit(records(), "good", group_by=[3])  # type: ignore[list-item]


# ---- progress


def test_where_nobody_watches_a_line_comes_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(clock=lambda: now[0])
    for done in range(101):
        lines("train", done, 100)
        now[0] += 1.0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "train 30 of 100 after 30 s, at most 70 s left", "train 60 of 100 after 60 s, at most 40 s left",
        "train 90 of 100 after 2 min, at most 10 s left",
    ]  # fmt: skip


def test_the_next_training_starts_anew(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(clock=lambda: now[0])
    for done in (*range(0, 20), *range(0, 40)):
        lines("epoch", done, 40)
        now[0] += 1.0
    assert capsys.readouterr().err.splitlines() == ["epoch 10 of 40 after 10 s, at most 30 s left"]


def test_a_fit_tells_its_epochs() -> None:
    from evenhand.methods.bradley_terry import BradleyTerry
    from evenhand.testing import QUICK, prepared, small_world
    from evenhand.training.watched import watching

    train, valid, _ = small_world()
    told: list[tuple[int, int]] = []
    with watching(lambda at: told.append((at.done, at.most))):
        prepared(BradleyTerry).fit(train, valid, 0)
    prepared(BradleyTerry).fit(train, valid, 0)
    assert told == [(epoch, QUICK.max_epochs) for epoch in range(QUICK.max_epochs + 1)]


def test_progress_is_shown_unless_somebody_else_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own: list[tuple[object, ...]] = []
    with shown(lambda *step: own.append(step)) as told:
        told("step", 1, 2, "loss 0.512")
    assert own == [("step", 1, 2)]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown(None) as told:
        assert isinstance(told, Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown(None) as told:
        told("encode", 1, 2)
    assert "encode" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert (duration(61), duration(600), duration(9000)) == ("61 s", "10 min", "2.5 h")


# ---- which columns may be scores


def test_columns_that_may_be_scores() -> None:
    assert score_columns(["reward_chosen", "reward_rejected", "age"]) == ["reward_chosen,reward_rejected"]
    assert score_columns(["chosen_score", "rejected_score", "margin"]) == ["chosen_score,rejected_score", "margin"]
    assert score_columns(["r_c", "r_r"]) == ["r_c,r_r"]
    assert score_columns(["age", "income"]) == []

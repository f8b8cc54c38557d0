"""The library as its user meets it: what reasonable calls give, and what the others are told."""

from __future__ import annotations

import csv
import json
import re
import shlex
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_cli import inside

import evenhand
from evenhand.cli.documented import parameter
from evenhand.core import EvenhandError
from evenhand.data.simulate import write_sample
from evenhand.parts import part

HOW: dict[str, Any] = {"source": None, "columns": {"user": "who"}, "on_bad": "error"}


@dataclass(frozen=True)
class Place:
    """A file whose users stand under "who", the fit on it, and its certificate."""

    file: Path
    made: evenhand.Fit
    model: Path
    certificate: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("use")
    rows = [json.loads(line) for line in write_sample(folder / "sample.jsonl", users=80, minority=0.4).read_text().splitlines()]
    with (folder / "choices.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["who", "prompt", "chosen", "rejected", "taste", "longer"])
        for row in rows:
            table.writerow(
                [*(row[name] for name in ("user", "prompt", "chosen", "rejected", "taste")), len(row["chosen"]) - len(row["rejected"])]
            )
    file = folder / "choices.csv"
    data = evenhand.load(file, columns=HOW["columns"], attributes=["taste"])
    made = evenhand.fit(
        data,
        "bradley_terry",
        head="low_rank",
        settings={"max_epochs": 3},
        certify_share=0.3,
        encoding=evenhand.Encoding(None, dim=16),
        resamples=20,
    )
    made.save(folder)
    evenhand.certify(folder / "model", data, "eo", 0.9, group_by="taste", read_as=HOW).save(folder / "certificate")
    return Place(file, made, folder / "model", folder / "certificate" / "certificate.json")


def test_verify_reads_a_path_as_the_certificate_says(place: Place) -> None:
    report = evenhand.verify(place.certificate, place.model, place.file)
    assert report.document == json.loads(place.certificate.read_text())


def test_a_certificate_is_of_a_folder(place: Place) -> None:
    for call in (
        lambda: evenhand.certify(place.made.model, place.file, "eo", 0.9),
        lambda: evenhand.verify(place.certificate, place.made.model, place.file),  # type: ignore[arg-type]
    ):
        with pytest.raises(EvenhandError, match=r"Found RewardModel as model.*model\.save\('folder'\)"):
            call()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"show_examples": 3}, r"show_examples is 3\. .*evenhand\.ShowExamples\(20, 'folder'\)"),
        ({"seed": "a"}, "seed is a. Expected: a whole number"),
        ({"tolerance": "5%"}, "tolerance is 5%. Expected: a fraction from 0 to 1"),
        ({"resamples": "many"}, "resamples is many. Expected: a whole number"),
        ({"metrics": [int]}, "Metric .*int.* is a class"),
    ],
)
def test_what_an_audit_cannot_take_is_told(asked: dict[str, Any], said: str, place: Place) -> None:
    with pytest.raises(EvenhandError, match=said):
        evenhand.audit(evenhand.load(place.file, columns=HOW["columns"], numbers=["longer"]), "longer", **asked)


def test_a_metric_alone_and_a_page_of_examples(place: Place, tmp_path: Path) -> None:
    def half(margin: Any) -> Any:
        """one half"""
        return margin * 0 + 0.5

    data = evenhand.load(place.file, columns=HOW["columns"], numbers=["longer"])
    report = evenhand.audit(data, "longer", metrics=half, show_examples=evenhand.ShowExamples(2, str(tmp_path)), resamples=20)
    found = report.findings.model.metrics[-1]
    assert (found.name, found.overall.value) == ("half", 0.5)
    assert (tmp_path / "examples.html").exists()


def test_transfer_takes_tables_in_memory(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"p{p}", "group": "ab"[p % 2], "reward": float((7 * p + 3 * c) % 5), "event": int((p + c) % 3 == 0)}
        for p in range(12)
        for c in range(3)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked: dict[str, Any] = {"betas": [1.0], "ns": [2], "note": "Read this first."}
    found = evenhand.transfer(tmp_path / "rows.jsonl", **asked).findings
    assert found.note == asked["note"]
    import pandas

    for table in (rows, pandas.DataFrame(rows)):
        assert evenhand.transfer(table, **asked).findings.gibbs == found.gibbs
    with pytest.raises(EvenhandError, match="Found int as candidates"):
        evenhand.transfer(3)


def test_scoring_what_is_read_warns(place: Place) -> None:
    data = evenhand.load(place.file, columns=HOW["columns"])
    with pytest.warns(UserWarning, match="so everybody got the reward for everybody. All pairs of the history are scored themselves"):
        scored = evenhand.score(place.model, data, history=data)
    assert scored.known == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evenhand.score(place.model, data.take(range(100)), history=data).known > 0  # type: ignore[arg-type]
        evenhand.score(place.model, data.take(range(100)))  # type: ignore[arg-type]


def test_titles_and_notes_of_certificate_and_diff(place: Place) -> None:
    asked: dict[str, Any] = {"title": "For the board", "note": "Read this first."}
    data = evenhand.load(place.file, columns=HOW["columns"], attributes=["taste"])
    made = evenhand.certify(place.model, data, "eo", 0.9, group_by="taste", read_as=HOW, **asked)
    assert made.document == json.loads(place.certificate.read_text())  # they are of the page alone
    for report in (made, evenhand.diff(place.certificate, place.certificate, **asked)):
        assert (report.page.title, report.page.note) == tuple(asked.values())
        assert "Read this first." in report.html()


def test_one_reward_column_alone_is_questioned(place: Place) -> None:
    """Margins that are all above 0, or a column named after one response, may be rewards of one response; margins are not questioned."""
    data = evenhand.load(place.file, columns=HOW["columns"], numbers=["longer"])
    high, plain = data.numbers["longer"], data.numbers["longer"]
    for numbers, name in (({"score": abs(high) + 1}, "score"), ({"reward_chosen": plain}, "reward_chosen")):
        report = evenhand.audit(replace(data, numbers=numbers), name, resamples=20)
        assert "the rewards of one response alone?" in report.page.warning
        assert "--scores reward_chosen,reward_rejected" in report.html()
    assert evenhand.audit(data, "longer", resamples=20).page.warning == ""
    both = replace(data, numbers={"reward_chosen": abs(high) + 2, "reward_rejected": abs(high) * 0})
    assert evenhand.audit(both, ["reward_chosen", "reward_rejected"], resamples=20).page.warning == ""


def test_a_fit_shows_its_report(place: Place) -> None:
    made = place.made
    assert made.to_dict() == made.report.to_dict()
    assert made.to_frame().equals(made.report.to_frame())
    assert repr(made).startswith("RewardModel(LowRank")
    assert len(repr(made)) < 3000
    for report in (
        evenhand.check(evenhand.load(place.file, columns=HOW["columns"])),
        evenhand.verify(place.certificate, place.model, place.file),
    ):
        with pytest.raises(EvenhandError, match=r"has no table.*to_dict\(\)"):
            report.to_frame()


def test_the_audit_that_is_proposed_runs_as_typed(tmp_path: Path) -> None:
    lines = ["who,prompt,chosen,rejected,reward_chosen,reward_rejected"]
    lines += [f"u{i % 20},p{i % 40},good {i},bad {i},{i % 7},{i % 5}" for i in range(400)]
    (tmp_path / "c.csv").write_text("\n".join(lines) + "\n")
    missing = inside("audit", "c.csv", cwd=tmp_path)
    assert missing.stderr == inside("audit", "c.csv", "--scores", "reward_chosen,reward_rejected", cwd=tmp_path).stderr
    assert "there is no column 'user'" in missing.stderr
    told = inside("audit", "c.csv", "--column", "user=who", cwd=tmp_path).stderr
    proposed = shlex.split(told.partition("To do: try ")[2].strip().removesuffix("."))
    assert proposed == ["evenhand", "audit", "c.csv", "--column", "user=who", "--scores", "reward_chosen,reward_rejected"]
    assert inside(*proposed[1:], cwd=tmp_path).returncode in (0, 1, 3)
    for words, said in (
        (["--column", "user=who", "--column", "user=prompt"], "Found --column user twice: who and prompt."),
        (["--column", "user=who", "--scores", "reward_chosen,"], "none empty"),
    ):
        done = inside("audit", "c.csv", *words, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    example = re.findall(r"'([^']+)'", parameter("audit", "require").help)
    assert example
    for text in example:
        assert inside(*proposed[1:], "--require", text, cwd=tmp_path).returncode in (0, 1, 3), text
    assert "lowest" not in parameter("certify", "group_by").help


@pytest.mark.parametrize(("given", "said"), [([], "Found an empty list"), ([1], "Found a list without dictionaries")])
def test_lists_that_are_no_table(given: list[int], said: str) -> None:
    with pytest.raises(EvenhandError, match=f"{said} for 'path'.*a list of dictionaries, one a row"):
        evenhand.load(given)


def test_scores_without_a_name(place: Place) -> None:
    with pytest.raises(EvenhandError, match=r"Found scores longer,\. Expected: one column, or two"):
        evenhand.audit(place.file, "longer,")


def test_checks_take_names_and_say_what_to_inherit(tmp_path: Path) -> None:
    from evenhand.testing import check_head, check_method

    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom evenhand.models.linear import Linear\nfrom evenhand.methods.bradley_terry import BradleyTerry\n\n"
        "@dataclass(frozen=True)\nclass MyHead(Linear):\n    pass\n\n"
        "@dataclass(frozen=True)\nclass Orphan:\n    base: BradleyTerry = BradleyTerry()\n    def build(self, dim, seed):\n        return None\n"
    )
    check_head(f"{file}:MyHead")
    with pytest.raises(AssertionError, match=r"Orphan has no reads_new_users: inherit evenhand\.core\.Head"):
        check_head(f"{file}:Orphan")
    with pytest.raises(AssertionError, match=r"Orphan has no needs_groups: inherit evenhand\.core\.Method"):
        check_method(f"{file}:Orphan")
    with pytest.raises(AssertionError, match="there is no nothing: give a class"):
        check_method("nothing")
    with pytest.raises(EvenhandError, match=r"To do: name what the file defines"):
        part("methods", f"{file}:dataclas")

"""Two written reports side by side: differences as worked out by hand, and files that are nobody's report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import evenhand
from evenhand.cli import app
from evenhand.core import DataError
from evenhand.report import Report


def estimate(value: float | None, users: int = 40, metric: str = "accuracy", group: str = "all") -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"value": value, "low": ends[0], "high": ends[1], "n_users": users, "n_pairs": 10 * users, "metric": metric, "group": group, "level": 0.95, "suppressed": False}  # fmt: skip


def audit(minority: float, loss: float = 0.6, verdict: str = "PASS", **facts: str) -> dict[str, Any]:
    """A report's document, much shortened."""
    groups = [
        {"group": name, "accuracy": estimate(v, group=name), "log_loss": estimate(loss, metric="log loss"), "mde": 0.04}
        for name, v in (("majority", 0.7), ("minority", minority))
    ]
    requirement = {"name": "accuracy gap", "estimate": estimate(0.7 - minority, metric="gap"), "tolerance": 0.05, "verdict": verdict}
    return {
        "format": "evenhand report 1", "verdict": verdict, "title": "Audit of a model", "requirements": [requirement],
        "model": {"model": "m", "overall": estimate(0.65), "groups": groups, "spread": {"grid": [0.0, 0.5]}},
        "facts": {"data sha256": "d" * 64, "model sha256": "a" * 64, "splits": "half", "seed": "0", **facts},
    }  # fmt: skip


def put(folder: Path, document: Any, name: str = "report.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8", errors="surrogatepass")
    return folder


def compared(tmp_path: Path, a: Any, b: Any) -> Report:
    return evenhand.diff(put(tmp_path / "a", a), put(tmp_path / "b", b))


def rows(report: Report, file: str) -> dict[str, dict[str, str]]:
    return {r["number"]: r for r in csv.DictReader(io.StringIO(report.tables()[file]))}


def outputs(report: Report) -> list[str]:
    return [report.html(), report.json(), report.markdown(), repr(report), *report.tables().values()]


def test_numbers_of_both_stand_side_by_side(tmp_path: Path) -> None:
    report = compared(tmp_path, audit(0.61), audit(0.66, 0.5, **{"model sha256": "b" * 64}))
    shares = rows(report, "shares.csv")
    minority = shares["model › groups › minority › accuracy"]
    assert [float(minority[c]) for c in ("A_value", "A_low", "B_value", "B_high", "A_n_users")] == pytest.approx(
        [0.61, 0.56, 0.66, 0.71, 40]
    )
    assert float(minority["difference"]) == pytest.approx(0.05)
    assert float(shares["model › groups › majority › accuracy"]["difference"]) == 0
    assert float(shares["requirements › accuracy gap › estimate"]["difference"]) == pytest.approx(-0.05)
    assert float(rows(report, "estimates.csv")["model › groups › minority › log_loss"]["difference"]) == pytest.approx(-0.1)
    others = rows(report, "numbers.csv")
    assert [float(others["model › groups › minority › mde"][c]) for c in ("A", "B", "difference")] == [0.04, 0.04, 0]
    assert not any("grid" in name for name in others)  # a curve is no number
    text = report.page.answers[1].text.replace("\xa0", " ")
    assert text == "model › groups › minority › accuracy: 61.0 % in A, 66.0 % in B, +5.0 points."
    assert report.document["numbers"][0].keys() == {"name", "a", "b", "difference"}
    assert report.exit_code == 0


def test_what_a_report_is_about_comes_first_and_nothing_twice(tmp_path: Path) -> None:
    a, b = audit(0.61), audit(0.66)
    for document, value, border in ((a, 0.65, 0.5), (b, 0.68, 0.6)):
        model, groups = document["model"], document["model"]["groups"]
        model["confounds"] = [{"name": "length", "bins": [["short", estimate(value - 0.3)]]}]
        model["overall"], model["gap"] = estimate(value), estimate(0.1 * value, metric="gap")
        model["metrics"] = [
            {"name": "accuracy", "overall": estimate(value), "groups": [g["accuracy"] for g in groups]},
            {"name": "log_loss", "overall": estimate(0.6, metric="log loss"), "groups": [g["log_loss"] for g in groups]},
        ]
        bins = [(0.0, 0.4), (0.4, border)]
        model["support"] = {"bins": [{"low": x, "high": y, "mean": x, "accuracy": estimate(0.6)} for x, y in bins]}
    report = compared(tmp_path, a, b)
    assert report.page.headline.replace("\xa0", " ") == "Accuracy of all users: 65.0 % in A, 68.0 % in B, +3.0 points"
    groups = [f"model › groups › {name} › accuracy" for name in ("majority", "minority")]
    assert [r[0] for r in report.page.brief[0].rows] == ["model › overall", "model › gap", *groups]
    assert [p.name for p in report.page.panels][:3] == ["What the reports are about", "Verdicts", "All numbers"]
    names = [n["name"] for n in report.document["numbers"]]
    assert [n for n in names if "metrics" in n] == ["model › metrics › log_loss › overall"]
    assert {n.split(" › ")[3] for n in names if "support" in n} == {"1"}


def test_whether_the_data_are_the_same_is_said_first(tmp_path: Path) -> None:
    same = compared(tmp_path, audit(0.61), audit(0.66, **{"model sha256": "b" * 64}))
    assert same.page.answers[0].question == "Do both stand on the same data?"
    assert same.page.answers[0].text.startswith("Yes. Both stand on the same pairs. Their intervals are each report's own and not paired")
    assert (same.document["same_data"], same.document["same_pairs"]) == (True, True)
    split = compared(tmp_path / "split", audit(0.61), audit(0.66, splits="other half"))
    assert split.page.answers[0].text.startswith("Yes, but on other pairs")
    other = compared(tmp_path / "other", audit(0.61), audit(0.66, **{"data sha256": "e" * 64}))
    assert other.page.answers[0].text.startswith("No. ")
    assert (other.document["same_data"], other.document["same_pairs"]) == (False, False)
    silent = {k: v for k, v in audit(0.61).items() if k != "facts"}
    assert compared(tmp_path / "silent", silent, audit(0.61)).document["same_data"] is None


def test_facts_verdicts_and_what_is_in_one_alone(tmp_path: Path) -> None:
    b = audit(0.4, verdict="FAIL", **{"model sha256": "b" * 64, "scores": "reward"})
    b["model"]["gap"] = estimate(0.3, metric="gap")
    report = compared(tmp_path, audit(0.61), b)
    verdicts = [line.split(",") for line in report.tables()["verdicts.csv"].splitlines()[1:]]
    assert verdicts == [["as a whole", "PASS", "FAIL"], ["accuracy gap", "PASS", "FAIL"]]
    facts = {r[0]: r[1:] for r in csv.reader(io.StringIO(report.tables()["facts.csv"]))}
    assert facts == {"fact": ["A", "B"], "model sha256": ["a" * 64, "b" * 64], "scores": ["–", "reward"]}
    assert report.tables()["only.csv"].splitlines() == ["in,number", "B,model › gap"]
    assert report.document["b"]["numbers"].keys() == {"model › gap"}
    assert "accuracy gap, PASS → FAIL" in report.html()
    assert len(report.markdown().splitlines()) <= 40


def test_a_report_and_itself_do_not_differ(tmp_path: Path) -> None:
    report = compared(tmp_path, audit(0.61), audit(0.61))
    assert report.page.headline == "No number that both have differs"
    assert "No verdict differs." in report.html()
    assert report.page.answers[1].text == "No share does."


HOSTILE = '<script>alert(1)</script>"&\u202e\x1b[2J\n| x |'


def test_a_hostile_file_injects_nothing(tmp_path: Path) -> None:
    evil = audit(0.61)
    evil["title"] = HOSTILE
    evil["requirements"][0]["name"] = HOSTILE
    evil["model"]["groups"][0] |= {"group": HOSTILE, "accuracy": estimate(0.7) | {"n_users": HOSTILE, "value": HOSTILE, "metric": HOSTILE}}
    evil["facts"] |= {HOSTILE: HOSTILE, "model sha256": HOSTILE}
    evil[HOSTILE] = {"=HYPERLINK(1)": 1e5, "x": [[HOSTILE, {"value": True, "low": [], "high": {}}]]}
    evil["model"]["overall"] |= {"value": 10**400, "n_users": -5, "n_pairs": 10**30, "level": None}
    report = compared(tmp_path, evil, evil)
    for text in outputs(report):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script" not in report.html()
    assert "&lt;script&gt;" in report.html()
    assert "<script" not in report.markdown()
    table = csv.reader(io.StringIO(report.tables()["numbers.csv"]))
    assert not any(cell.startswith("=") for row in table for cell in row)


def test_small_cells_are_hidden_though_a_file_has_them(tmp_path: Path) -> None:
    small = audit(0.61)
    small["model"]["groups"][1]["accuracy"] = estimate(0.4321, users=9, group="minority")
    for text in outputs(compared(tmp_path, small, audit(0.61))):
        assert "0.4321" not in text
        assert "43.2" not in text


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "no JSON that a report could be"),
        ("[1]", "its format is none of a report"),
        ('{"format": "evenhand report 1", "x": NaN}', "NaN is no JSON number"),
        ("[" * 100_000, "no JSON that a report could be"),
        ("\ud800", "no JSON that a report could be"),
        ({"format": "evenhand trial 4"}, "its format is none of a report"),
        ({"format": ["evenhand report 1"]}, "its format is none of a report"),
        (
            {"format": "evenhand report 99"},
            r"its format is version 99. Expected: version \d+ of 'report' or an earlier one. To do: install a later",
        ),
        ({"format": "evenhand comparison 1"}, "a report of kind 'comparison'. Expected: 'report', as the first one"),
    ],
)
def test_what_is_no_report_of_that_kind_is_refused(document: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        compared(tmp_path, audit(0.61), document)


def test_deep_and_endless_files_end(tmp_path: Path) -> None:
    deep: Any = {"number": 1}
    for _ in range(300):
        deep = {"down": deep}
    assert compared(tmp_path, {**audit(0.6), "deep": deep}, audit(0.6)).document["kind"] == "report"
    many = {**audit(0.6), "many": {str(i): i for i in range(50_001)}}
    with pytest.raises(DataError, match="more than 50,000 numbers"):
        compared(tmp_path / "many", many, audit(0.6))


def test_command_line_compares_folders_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a", audit(0.61))
    put(tmp_path / "b", audit(0.66))
    done = CliRunner().invoke(app, ["diff", "a", "b/report.json"])
    assert done.exit_code == 0, done.output
    assert "model" in done.output
    assert "+5.0" in done.output
    assert sorted(p.name for p in (tmp_path / "diff").iterdir() if p.suffix == ".html") == ["diff.html"]
    for wrong, said in ((["a", "nowhere"], "there is no such file or folder"), (["a", str(tmp_path)], "there is no report.json")):
        error = CliRunner().invoke(app, ["diff", *wrong]).exception
        assert isinstance(error, DataError)
        assert said in str(error)


def test_two_reports_of_texts_are_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    place = put(tmp_path, {"format": "evenhand texts 1", "runs": []})
    with pytest.raises(DataError, match=r"report of texts(.|\n)*audit-text"):
        evenhand.diff(place, place)

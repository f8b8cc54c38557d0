"""The library as its user meets it: what reasonable calls give, and what the others are told."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import evenhand
from evenhand.core import EvenhandError
from evenhand.data.simulate import write_sample

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
    asked: dict[str, Any] = {"betas": [1.0], "ns": [2]}
    found = evenhand.transfer(tmp_path / "rows.jsonl", **asked).findings
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

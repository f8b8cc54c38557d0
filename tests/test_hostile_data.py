"""Data that is read without complaint and misleads: counted and said by `check` and by the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evenhand.core import PreferenceData
from evenhand.data.load import load
from evenhand.encode.minilm import MiniLM
from evenhand.encode.unknown import hardly_read
from evenhand.workflows.audit import audit
from evenhand.workflows.check import diagnosis
from evenhand.workflows.grouping import Grouping

CHINESE = "我认为政府应该提高税收以改善公共服务"  # 14 of its 18 characters are no piece of the vocabulary


def made(folder: Path, rows: list[dict[str, object]], **more: object) -> PreferenceData:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return load(path, **more)


def rows(users: int, each: int) -> list[dict[str, object]]:
    draw = np.random.default_rng(0)
    found = []
    for u in range(users):
        for p in draw.permutation(60)[:each].tolist():
            first = bool(draw.random() < 0.5)
            sides = (f"answer {p} a", f"answer {p} b")
            found.append({"user": f"u{u}", "prompt": f"p{p}", "chosen": sides[not first], "rejected": sides[first], "lang": "en"})
    return found


def finding(data: PreferenceData, name: str) -> str:
    return next(
        (
            f"{f.severity}: {f.sentence}"
            for f in diagnosis(data, Grouping(("lang",) if data.attributes else ())).findings
            if f.check == name
        ),
        "",
    )


def test_unknown_pieces_are_counted() -> None:
    encoder = MiniLM()
    assert encoder.unknown([CHINESE, "The government should raise taxes", ""]) == pytest.approx([14 / 18, 0, 0])
    assert hardly_read(encoder, [CHINESE, "Plain words"]).tolist() == [True, False]


def test_texts_that_the_encoder_hardly_reads_are_said_by_group(tmp_path: Path) -> None:
    base = rows(40, 20)
    data = made(tmp_path, base, attributes=["lang"])
    assert finding(data, "texts the encoder hardly reads") == ""
    for row in base[:200]:  # the first ten users: of fewer no share is told
        row |= {"lang": "zh", "chosen": CHINESE + str(row["chosen"])}
    said = finding(made(tmp_path, base, attributes=["lang"]), "texts the encoder hardly reads")
    assert said.startswith("warning: In 200 of 800 pairs (25.0%)")
    assert "'zh' (100.0%)" in said


def test_users_with_identical_rows_are_counted(tmp_path: Path) -> None:
    base = rows(12, 20)
    assert finding(made(tmp_path, base), "users with identical rows") == ""
    copies = [{**r, "user": f"copy {r['user']}"} for r in base[:40]]  # two users again, in another order
    short = [{**r, "user": f"short {i}"} for r in base[:9] for i in range(2)]  # nine judgements may be chance
    said = finding(made(tmp_path, [*base, *copies[::-1], *short]), "users with identical rows")
    assert said.startswith("warning: 2 of 16 users")


def test_scores_that_say_nothing_or_too_much_are_in_the_report(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    base = rows(40, 20)

    def facts(score: object) -> dict[str, str]:
        scored = [{**r, "a": score(r, "chosen"), "b": score(r, "rejected"), "lang": "en" if i < 400 else "de"} for i, r in enumerate(base)]
        data = made(tmp_path, scored, attributes=["lang"], numbers=["a", "b"])
        report = audit(data, scores=["a", "b"], group_by=Grouping(("lang",)), resamples=50)
        return dict(report.findings.facts)

    plain = facts(lambda row, side: float(len(row[side]) + str(row[side]).endswith("a")))
    assert not plain.keys() & {"equal scores", "one text, several scores"}
    rounded = facts(lambda row, side: len(row[side]) * (1 + 2e-6 * float(draw.normal())))  # float32, in one batch and in another
    assert "one text, several scores" not in rounded
    noisy = facts(lambda row, side: float(draw.normal()))
    assert "the model is personalised, or its scores depend on more than the text" in noisy["one text, several scores"]
    equal = facts(lambda row, side: float(side == "chosen" and row["prompt"] == "p1"))
    count = sum(r["prompt"] != "p1" for r in base)
    assert equal["equal scores"].startswith(f"{count:,} of {len(base):,} pairs ({count / len(base):.1%})")

"""Models and data at the edge of what there can be, through every verb: a report or an error that says what to do, never a defect."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evenhand.cli

Row = dict[str, Any]
WORDS = ("good", "kind", "short", "plain", "brave", "quiet")


def rows(users: int = 12, pairs: int = 9, prompts: int = 24, seed: int = 0) -> Iterator[Row]:
    """Each user judges `pairs` of the prompts; whoever has an even number likes the first response of each."""
    rng = np.random.default_rng(seed)
    for u in range(users):
        for p in rng.permutation(prompts)[:pairs].tolist():
            one, two = (f"{WORDS[(p + k) % 6]} {WORDS[(p + 2 * k + 1) % 6]} answer {'alpha' if k else 'beta'}" for k in (0, 1))
            chosen, rejected = (one, two) if (u + int(rng.random() < 0.2)) % 2 == 0 else (two, one)
            yield {
                "user": f"u{u}",
                "prompt": f"question {p}?",
                "chosen": chosen,
                "rejected": rejected,
                "side": "ab"[u % 3 == 0],
                "toxic": p % 2,
            }


MODELS: dict[str, Callable[[np.random.Generator], tuple[float, float]]] = {
    "oracle": lambda rng: (1.0, 0.0),
    "anti-oracle": lambda rng: (0.0, 1.0),
    "constant": lambda rng: (0.5, 0.5),
    "random": lambda rng: (rng.normal(), rng.normal()),
    "huge": lambda rng: (1e49, -1e49),
}

DATA: dict[str, Callable[[], list[Row]]] = {
    "usual": lambda: list(rows()),
    "uneven": lambda: [
        r for i, r in enumerate(rows(pairs=23)) if i % 23 < 7 + i // 23
    ],  # 7 to 18 pairs a user: means times n miss n by an ulp
    "weighted": lambda: [r | {"weight": 0.1 + i % 7} for i, r in enumerate(rows())],
    "one user": lambda: list(rows(users=1, pairs=24)),
    "two users": lambda: list(rows(users=2, pairs=24)),
    "one pair a user": lambda: list(rows(users=60, pairs=1)),
    "all tied": lambda: [r | {"tie": True} for r in rows()],
    "one strict pair": lambda: [r | {"tie": i > 0} for i, r in enumerate(rows())],
    "one pair": lambda: list(rows(users=1, pairs=1)),
    "one prompt": lambda: [r | {"prompt": "question?"} for r in rows()],
    "one text a side": lambda: [r | {"chosen": "good answer", "rejected": "bad answer"} for r in rows()],
    "equal texts": lambda: [r | {"rejected": r["chosen"]} for r in rows()],
    "perfect": lambda: [r | {"chosen": f"good {r['chosen']}", "rejected": f"bad {r['rejected']}"} for r in rows()],
    "contradictory": lambda: [x for r in rows() for x in (r, r | {"chosen": r["rejected"], "rejected": r["chosen"]})],
}


FITTED = {
    "usual",
    "weighted",
    "two users",
    "one text a side",
    "perfect",
    "contradictory",
}  # of the others nothing can be learned, or judged


def table(path: Path, data: list[Row], model: str = "random") -> Path:
    rng = np.random.default_rng(1)
    scored = [r | dict(zip(("a", "b"), MODELS[model](rng), strict=True)) for r in data]
    path.write_text("".join(json.dumps(r) + "\n" for r in scored))
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """evenhand's own entry point in this process → exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["evenhand", *map(str, arguments)])
        capfd.readouterr()
        code: Any = 0
        try:
            evenhand.cli.main()
        except SystemExit as leaving:
            code = leaving.code or 0
        told = capfd.readouterr().err
        assert code in (0, 1, 2, 3), told
        if code == 2:
            assert "Expected" in told
            assert "Traceback" not in told
        return int(code)

    return run


@pytest.mark.parametrize(("model", "data"), [*((m, "uneven") for m in MODELS), *(("oracle", d) for d in DATA if d != "uneven")])
def test_audit_of_scores(model: str, data: str, run: Callable[..., int], tmp_path: Path) -> None:
    file = table(tmp_path / "t.jsonl", DATA[data](), model)
    code = run("audit", file, "--scores", "a,b", "--out", "out", "--group-by", "side")
    if code == 2:
        return
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (tmp_path / "out" / "report.html").exists()
    expected = {"oracle": 1.0, "anti-oracle": 0.0, "constant": 0.5}.get(model)
    if expected is not None and told["model"]["overall"]["value"] is not None:
        assert told["model"]["overall"]["value"] == expected  # to the bit: a mean of ones is 1
        metrics = {m["name"]: m["raw"] for m in (told["model"]["spread"] or {"metrics": []})["metrics"]}
        assert metrics.get("worst user", expected) == expected


@pytest.mark.parametrize("data", [d for d in DATA if d != "uneven"])  # to training it is as the usual one
def test_check_fit_and_what_follows(data: str, run: Callable[..., int], tmp_path: Path) -> None:
    file = table(tmp_path / "t.jsonl", DATA[data]())
    run("check", file, "--group-by", "side")
    code = run("fit", file, "--method", "pafo", "--set", "max_epochs=2", "--encoder", "none", "--out", "out", "--group-by", "side")
    assert (code != 2) == (data in FITTED)
    if code == 2:
        assert not (tmp_path / "out" / "report.html").exists()
        return
    model = tmp_path / "out" / "model"
    run("audit", file, "--model", model, "--out", "again")
    assert run("score", model, file, "--history", file) == 0
    code = run("certify", model, file, "--notion", "eo", "--gamma", "0.9", "--group-by", "side", "--out", "cert")
    if code in (0, 1):
        assert run("verify", tmp_path / "cert" / "certificate.json", model, file) == 0


@pytest.mark.parametrize("data", ["one user", "perfect", "all tied", "one pair a user"])
def test_comparisons(data: str, run: Callable[..., int], tmp_path: Path) -> None:
    file = table(tmp_path / "t.jsonl", DATA[data]())
    more = "--encoder", "none", "--seeds", "1", "--jobs", "1"
    for verb in (("compare", "--methods", "bradley_terry", "--tune", "0"), ("sweep", "--over", "alpha=0,1", "--set", "max_epochs=1")):
        code = run(verb[0], file, *verb[1:], "--out", verb[0], *more)
        assert code == 2 or (tmp_path / verb[0] / "report.html").exists()


CANDIDATES: dict[str, Callable[[int], Row]] = {
    "oracle": lambda i: {"reward": -(i % 2)},
    "anti-oracle": lambda i: {"reward": i % 2},
    "constant": lambda i: {"reward": 0.5},
    "huge": lambda i: {"reward": 1e49 * (-1) ** i},
    "one group": lambda i: {"group": "all"},
    "one prompt": lambda i: {"prompt": "p"},
    "one candidate a prompt": lambda i: {"prompt": f"p{i}"},
    "no event": lambda i: {"event": 0},
    "always an event": lambda i: {"event": 1},
}


@pytest.mark.parametrize("kind", CANDIDATES)
def test_transfer(kind: str, run: Callable[..., int], tmp_path: Path) -> None:
    base = ({"prompt": f"p{i // 4}", "group": "ab"[i // 4 % 2], "event": i % 2, "reward": float(np.sin(i))} for i in range(160))
    file = tmp_path / "c.jsonl"
    file.write_text("".join(json.dumps(r | CANDIDATES[kind](i)) + "\n" for i, r in enumerate(base)))
    code = run("transfer", file, "--betas", "0.1,4", "--ns", "1,16", "--out", "out")
    assert code == 2 or (tmp_path / "out" / "report.html").exists()

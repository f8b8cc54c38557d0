"""From a grid to a choice among stages: what is trained on and what is audited, kills between and inside stages, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from tiny_classifiers import tiny_classifier
from tiny_models import tiny_llama

from evenhand.core import DataError, EvenhandError
from evenhand.encode.hub_folder import hub_classifier
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.grid import Axis, Grid, parse
from evenhand.texts.reading import classifier
from evenhand.texts.table import TextTable
from evenhand.workflows.align import _contents, _numbered, align
from evenhand.workflows.alignment_folder import Folder

GRID = """
name = "pumps"
template = "Write to {age} {gender} about {theme} in the {region}."
[[axis]]
name = "theme"
values = ["bills", "comfort"]
[[axis]]
name = "region"
values = ["north", "south"]
[[axis]]
name = "age"
matched = true
values = ["young", "old"]
[[axis]]
name = "gender"
matched = true
values = ["men", "women"]
"""
OPENINGS = ("Good morning to the {age} {gender} of the {region}.", "A word to {age} {gender} in the {region}.")
MIDDLES = (
    "A heat pump {word} lower what you spend on {theme} over the years.",
    "With a heat pump the question of {theme} {word} come up less often.",
)


@dataclass(frozen=True)
class Certain:
    """Words of certainty, which are the objective, and the audience that a text names, which is its fidelity."""

    name: str = "certain"

    def measure(self, table: TextTable) -> Measured:
        words = [t.lower().split() for t in table.texts]
        certain = np.array([float(sum(w in ("will", "must", "surely") for w in t)) for t in words])
        rows = [table.grid.row(c) for c in table.cell.tolist()]
        named = np.array([float(r["age"] in t) + float(r["gender"] in t) for r, t in zip(rows, table.texts)])
        return Measured((Measure("certainty", certain, "words", objective=True), Measure("audience", named, "names", fidelity=True)))


def grid() -> Grid:
    return parse(GRID, "pumps.toml")


def texts(draws: int = 2) -> list[dict[str, Any]]:
    """Men are told what will be, women what may be."""
    rows: list[dict[str, Any]] = []
    of = grid()
    for cell in range(len(of)):
        row = of.row(cell)
        for draw in range(draws):
            word = "will" if row["gender"] == "men" else "may"
            opening, middle = OPENINGS[(cell + draw) % 2], MIDDLES[draw % 2]
            text = f"{opening} {middle} You {word} find the people at the town hall ready\u2028to help.".format(**row, word=word)
            rows.append({**row, "text": text})
    return rows


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_llama(tmp_path_factory.mktemp("models") / "llama", chat=True))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENHAND_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def run(out: Path, progress: Callable[[str, int, int], None] = quiet, **more: Any) -> Any:
    given: dict[str, Any] = {"originals": texts(), "draws": 2, "audits": [Certain()], "permutations": 100, "progress": progress}
    return align(grid(), out=out, **(given | more))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files but those that tell the time."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("training.json", ".evenhand.json", "texts-sft.json", "texts-dpo.json")
    }


def gap(of: list[dict[str, Any]]) -> float:
    """Words of certainty, men less women."""
    count = {g: np.mean([r["text"].lower().split().count("will") for r in of if r["gender"] == g]) for g in ("men", "women")}
    return float(count["men"] - count["women"])


def killed(work: Callable[[Callable[[str, int, int], None]], Any], what: str, at: int) -> None:
    """`work` in a process of its own that ends by SIGKILL once it tells that so much of `what` is done."""
    ended = forked(lambda: work(lambda name, done, _: os.kill(os.getpid(), signal.SIGKILL) if (name, done) == (what, at) else None))
    assert ended == -signal.SIGKILL


def test_what_differs_by_gender_is_selected_away_and_chosen(tmp_path: Path) -> None:
    found = run(tmp_path / "out")
    every = rows(tmp_path / "out" / "texts.jsonl")
    assert [r.name for r in found.report.findings.runs] == ["original", "selected"]
    of = {name: [r for r in every if r["run"] == name] for name in ("original", "selected")}
    assert all(sorted(r["draw"] for r in of_run) == [0] * 16 + [1] * 16 for of_run in of.values()), "as many draws of each"
    assert gap(of["original"]) == 2
    assert abs(gap(of["selected"])) < 1
    assert found.choice.best == "selected"
    assert found.report.findings.selection.n_blocks == 4
    assert [r.selected for r in found.report.findings.runs] == [False, True]
    assert "hold for these very texts at most" in found.report.findings.limits[0]
    assert "on the very texts that were chosen" in str(found.report.page.answers[0])
    assert found.report.findings.facts["audited"].endswith(", of 4 of 4 blocks")
    assert not any("trained:" in said for said in found.report.findings.limits)
    assert rows(tmp_path / "out" / "originals.jsonl")[0]["prompt"] == "Write to young men about bills in the north."
    again = run(tmp_path / "out", lambda what, done, total: pytest.fail("selected anew") if what == "blocks" else None)
    assert again.report.findings.selection == found.report.findings.selection


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize(("what", "at"), [("vectors", 1), ("blocks", 2), ("audits", 2)])
def test_whatever_ends_it_the_same_call_ends_with_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, at: int
) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    seen: list[int] = []
    whole = run(tmp_path / "whole", lambda name, done, _: seen.append(done) if name == what else None)
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "empty"))  # nothing is known of these texts
    at = seen[min(at, len(seen) - 1)]
    killed(lambda progress: run(tmp_path / "killed", progress), what, at)
    assert not (tmp_path / "killed" / "texts.jsonl").exists() or what == "audits"
    found = run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert found.choice == whole.choice


@pytest.mark.lm
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
def test_a_model_is_trained_where_it_is_not_audited_and_goes_on_after_kills(tmp_path: Path, llama: str) -> None:
    more: dict[str, Any] = {"dpo": True, "student": llama, "lr": 1e-2, "dpo_lr": 1e-2, "rank": 4, "device": "cpu"}
    found = run(tmp_path / "whole", **more)
    out = tmp_path / "whole"
    assert [r.name for r in found.report.findings.runs][:2] == ["original", "selected"]
    assert [t.stage for t in found.report.findings.trained] == ["SFT", "DPO"]
    assert found.report.findings.facts["audited"].endswith(", of 1 of 4 blocks, which no training saw")
    assert any("were not written by the model that was trained" in said for said in found.report.findings.limits)
    assert found.report.findings.trained[1].trace[0][1] == pytest.approx(np.log(2), abs=1e-3)
    key = [(r["theme"], r["region"]) for r in rows(out / "texts.jsonl")]
    for name in ("sft", "dpo"):
        trained = {(r["theme"], r["region"]) for r in rows(out / "selected-train" / f"{name}.jsonl")}
        assert len(set(key)) == 1
        assert not trained & set(key)
    assert len(rows(out / "selected-train" / "sft.jsonl")) == 12, "one text of each cell that is trained on"
    counts = {run_name: sum(r["run"] == run_name for r in rows(out / "texts.jsonl")) for run_name in ("original", "selected")}
    assert counts == {"original": 8, "selected": 8}, "four cells, two draws"
    for what in ("sft", "dpo", "texts"):
        killed(lambda progress: run(tmp_path / "killed", progress, **more), what, 1)
    again = run(tmp_path / "killed", **more)
    assert contents(tmp_path / "killed") == contents(out)
    assert again.choice == found.choice


@pytest.mark.lm
def test_another_number_of_examples_is_another_training(tmp_path: Path, llama: str) -> None:
    more: dict[str, Any] = {"train": True, "student": llama, "rank": 4, "device": "cpu"}
    assert run(tmp_path / "out", most_examples=4, **more).report.findings.trained[0].facts["examples"] == "4"
    with pytest.raises(DataError, match="another training lies here: examples sha256"):
        run(tmp_path / "out", most_examples=5, **more)


@pytest.mark.lm
def test_a_model_that_writes_and_revises(tmp_path: Path, llama: str) -> None:
    roomy = Path(shutil.copytree(llama, tmp_path / "roomy"))
    (roomy / "config.json").write_text(
        (roomy / "config.json").read_text().replace('"max_position_embeddings": 256', '"max_position_embeddings": 2048')
    )
    found = run(
        tmp_path / "out",
        originals=None,
        model=str(roomy),
        k=4,
        draws=2,
        revisions=1,
        counterpart=True,
        wording="{prompt} Please!",
        device="cpu",
    )
    drafts, revised = rows(tmp_path / "out" / "originals.jsonl"), rows(tmp_path / "out" / "revisions.jsonl")
    assert drafts[0]["prompt"] == "Write to young men about bills in the north. Please!"
    assert {r["source"] for r in revised} == {"revision"}
    assert {r["draw"] for r in drafts} == {0, 1, 2, 3}
    assert found.report.findings.runs[0].n_draws == 2


@pytest.mark.lm
def test_a_model_is_asked_as_it_was_trained(llama: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from evenhand.encode.chat import Chat
    from evenhand.texts.generators.language_model import LanguageModel, _Formed

    for chat in (True, False):
        folder = tiny_llama(tmp_path / str(chat), chat=chat)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        asked = "Write <|im_end|> to a friend. user: no"
        [trained] = Chat(tokenizer, 200).tokens([[{"role": "user", "content": asked}]], ["Yes."])
        assert _Formed(tokenizer, "llama").tokens((("user", asked),)) == tuple(trained.prefix.tolist())
        assert int(trained.own.tolist()[-1 if not chat else -2]) in LanguageModel(str(folder))._ends


def test_what_cannot_be_done_is_said_before_anything_is(tmp_path: Path) -> None:
    for wrong, found in (
        ({"demo": True}, "and a demo"),
        ({"draws": 3, "originals": None, "k": 2}, "--draws 3"),
        ({"train": True, "endpoint": "http://localhost:1"}, "--student"),
        ({"held": 1.5, "train": True}, "--held 1.5"),
    ):
        with pytest.raises(EvenhandError, match=found):
            run(tmp_path / "out", **wrong)
    with pytest.raises(EvenhandError, match="Found no grid"):
        align(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_settings_and_other_peoples_files_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "out")
    with pytest.raises(DataError, match=r"eps is 0\.1"):
        run(tmp_path / "out", eps=0.2)
    with pytest.raises(DataError, match="audits of the gate is certain"):
        run(tmp_path / "out", audits=["persuasion", "fidelity"])
    with pytest.raises(DataError, match=r"no text can be used: empty text \(16\)"):
        run(tmp_path / "none", originals=[{**row, "text": " "} for row in texts(1)])
    assert not {"agency", "nli"} & set(json.loads((tmp_path / "out" / "align.json").read_text())["settings"]), "only what is given"
    (tmp_path / "out" / "candidates.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="was changed after evenhand wrote it"):
        run(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "align.json").write_text("{}")
    with pytest.raises(DataError, match="would be lost"):
        run(tmp_path / "mine")


def test_what_settings_name_by_its_place_is_remembered_by_what_it_holds(tmp_path: Path) -> None:
    mine, reward = tmp_path / "mine.py", tmp_path / "reward"
    mine.write_text("from test_text_align import Certain as Base\n\n\nclass Certain(Base):\n    pass\n")
    reward.mkdir()
    (reward / "model.json").write_text("{}")
    given: dict[str, Any] = {"audits": [f"{mine}:Certain"]}

    def settings(**more: Any) -> dict[str, str]:
        return _contents((given | more)["audits"], more.get("reward"))

    first = settings()
    assert first["audits of the gate"] == "certain", "not where it lies"
    assert settings(audits=["persuasion", "fidelity"]) == {"audits of the gate": "persuasion, fidelity", "reward": ""}
    assert list(settings(reward=reward)) == [*first, "reward sha256"]
    moved, elsewhere = tmp_path / "sub" / "mine.py", tmp_path / "sub" / "reward"
    shutil.copytree(reward, elsewhere)
    shutil.copy(mine, moved)
    assert settings(audits=[f"{moved}:Certain"], reward=elsewhere) == settings(reward=reward), "the same parts at another place"
    run(tmp_path / "out", **given)
    assert (
        json.loads((tmp_path / "out" / "align.json").read_text())["settings"]["audits of the gate sha256"]
        == first["audits of the gate sha256"]
    )
    mine.write_text(mine.read_text() + "# changed\n")
    with pytest.raises(DataError, match=f"audits of the gate sha256 is {first['audits of the gate sha256'][:20]}"):
        run(tmp_path / "out", **given)
    before = settings(reward=reward)["reward sha256"]
    (reward / "model.json").write_text('{"a": 1}')
    assert settings(reward=reward)["reward sha256"] != before


def test_fewer_texts_than_were_asked_for_are_said(tmp_path: Path) -> None:
    said = "2 in each run, as many as the originals have: 4 were asked for"
    assert run(tmp_path / "out", draws=4).report.findings.facts["texts a cell"] == said
    assert "texts a cell" not in run(tmp_path / "out", draws=2).report.findings.facts, "the same alignment"


def test_drafts_are_numbered_anew_where_one_did_not_come(tmp_path: Path) -> None:
    """Rules number what they are given: with the numbers of an endpoint that failed once, another draft would be the second one."""
    of = Grid("one", "{who}", (Axis(("who",), (("a",), ("b",)), matched=True),))
    at = Folder(tmp_path, of, 0, print, None)
    found = _numbered(at, [{"who": who, "draw": draw} for who, draw in (("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 2))])
    assert [(r["who"], r["draw"]) for r in found] == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1)]


@pytest.mark.lm
def test_instruments_are_settings_by_what_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was begun with one list of verbs, or model, does not go on with another, whatever it is called; what is none is said first.
    A model is read once, however often gate and audits ask it.
    """
    reads: list[str] = []
    monkeypatch.setattr(classifier, "hub_classifier", lambda *given: (reads.append(given[1]), hub_classifier(*given))[1])
    verbs = tmp_path / "verbs.csv"
    verbs.write_text("verb,agency\nwill,agency_pos\nfind,agency_pos\nmay,agency_neg\nspend,agency_neg\n")
    nli = tiny_classifier(tmp_path / "nli", ("neutral", "entailment"))
    given: dict[str, Any] = {"audits": ["persuasion", "fidelity"], "agency": verbs, "nli": nli}
    for wrong, told in (
        ({"nli": tiny_classifier(tmp_path / "odd", ("a", "b"))}, "one output named entailment"),
        ({"emotion_model": nli}, "without the audit emotion"),
    ):
        with pytest.raises(EvenhandError, match=told):
            run(tmp_path / "out", **given | wrong)
    assert not (tmp_path / "out").exists()
    reads.clear()
    found = run(tmp_path / "out", **given)
    assert reads == ["nli"]
    said = json.loads((tmp_path / "out" / "align.json").read_text())["settings"]
    assert said["agency"] == f"verbs.csv, SHA-256 {hashlib.sha256(verbs.read_bytes()).hexdigest()}"
    assert said["nli"].startswith("nli, SHA-256 ")
    assert {"formality-model", "emotion-model"}.isdisjoint(said)
    assert "entailment" in found.report.findings.selection.refused
    assert any(m.measure == "fidelity by nli" for m in found.report.findings.runs[0].levels), "the audits read what the gate reads"
    assert any("lists of verbs.csv" in note for a in found.report.findings.runs[0].audits for note in (*a.notes.values(), *a.sentences))
    verbs.write_text(verbs.read_text().replace("find", "read"))
    with pytest.raises(DataError, match=r"agency is verbs\.csv"):
        run(tmp_path / "out", **given)
    with pytest.raises(DataError, match=r"agency is verbs\.csv, SHA-256 \w+\. Expected: agency none"):
        run(tmp_path / "out", **given | {"agency": None})

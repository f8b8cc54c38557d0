"""The verb select: files that TRL reads, a log without texts, nobody's file replaced; meaning and stance; what is wrong is told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_cells import small_grid
from tiny_classifiers import tiny_classifier
from typer.testing import CliRunner

from evenhand.cli import app
from evenhand.core import DataError, EvenhandError
from evenhand.encode.hub_reward import Rewards
from evenhand.texts.audit import Measure, Measured
from evenhand.texts.audits.fidelity import Fidelity
from evenhand.texts.grid import Grid
from evenhand.texts.rows import read_texts
from evenhand.texts.selecting.candidates import candidates
from evenhand.texts.selecting.meaning import meaning
from evenhand.texts.selecting.signed import Signed
from evenhand.texts.table import ORIGINAL, TextTable
from evenhand.workflows.export import Export
from evenhand.workflows.generate import Generated
from evenhand.workflows.grid import Prompts
from evenhand.workflows.select import select
from evenhand.workflows.text_audits import reading_all


@dataclass(frozen=True)
class Must:
    """How often a text says must; it names its audience where it says for."""

    name = "must"

    def measure(self, table: TextTable) -> Measured:
        must = np.array([t.split().count("must") for t in table.texts], float)
        named = np.array([float("for" in t.split()) for t in table.texts])
        return Measured((Measure("must", must, "count", objective=True), Measure("named", named, "share", fidelity=True)))


def rows(grid: Grid, **more: Any) -> list[dict[str, Any]]:
    """Originals say must three times to men; "softer" once; "blunt" never, and to nobody; drafts 1 say the same as drafts 0."""
    out = []
    for cell in range(len(grid)):
        row = grid.row(cell)
        many = 3 if row["gender"] == "men" else 0
        for draw in (0, 1):
            tail = f"for {row['age']} {row['gender']} number {draw}"
            out.append({**row, **more, "text": "must " * many + tail, "source": ORIGINAL, "draw": draw})
            if many:
                out.append({**row, **more, "text": "must " + tail, "source": "softer", "draw": draw})
                out.append({**row, **more, "text": f"people number {draw}", "source": "blunt", "draw": draw})
    return out


def chosen(given: Any, grid: Grid, **more: Any):
    return select(given, grid=grid, audits=[Must()], similarity=0, unchecked=True, progress=lambda *_: None, **more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_of_a_selection(tmp_path: Path) -> None:
    grid = small_grid()
    found = chosen(rows(grid, prompt="as asked"), grid, out=tmp_path / "s")
    texts = lines(tmp_path / "s/selected.jsonl")
    assert len(texts) == len(grid)
    assert Counter(t["source"] for t in texts if t["gender"] == "men") == {"softer": 30}  # a gap of 1 for one of 3, and still for somebody
    assert Counter(t["source"] for t in texts if t["gender"] == "women") == {ORIGINAL: 30}
    assert {(t["run"], t["prompt"]) for t in texts} == {("selected", "as asked")}
    assert len(read_texts(tmp_path / "s/selected.jsonl", grid).runs["selected"]) == len(grid)
    sft = lines(tmp_path / "s/sft.jsonl")
    assert [r["completion"][0]["content"] for r in sft] == [t["text"] for t in texts]
    assert sft[0]["prompt"] == [{"role": "user", "content": "as asked"}]
    assert sft[0]["completion"][0]["role"] == "assistant"
    assert set(grid.columns) <= set(sft[0])
    dpo = lines(tmp_path / "s/dpo.jsonl")
    assert Counter(r["refused_for"] for r in dpo if r["gender"] == "men") == {ORIGINAL: 30, "fidelity, no disparity lower": 30}
    assert all(r["chosen"] != r["rejected"] and {m["role"] for m in (*r["chosen"], *r["rejected"])} == {"assistant"} for r in dpo)
    log = lines(tmp_path / "s/refused.jsonl")
    # put alone among the originals it takes 3 of 9 from the gaps by gender, and puts 2 of 6 gaps of 3 between the ages of men: 3/2 before and after
    assert {tuple(r["refused"]) for r in log if r["source"] == "blunt"} == {("fidelity", "no disparity lower")}
    assert not {"text", "prompt"} & {k for r in log for k in r}
    said = json.loads((tmp_path / "s/selection.json").read_text())
    assert said["refused"]["fidelity"] == 60
    assert said["kept"] == 0
    by_axis = {(m, a): (before, after) for m, a, before, after in said["signed"]}
    assert by_axis["must", "gender"] == (-3.0, -1.0)
    assert by_axis["must", "age"] == (0.0, 0.0)
    assert "by gender: −3.000 before and −1.000 after on the very texts; −3.000 and −1.000 on fresh draws" in " ".join(said["sentences"])
    assert {f.axis: f.same.value for f in found.findings.falls if f.axis == "gender"} == {"gender": pytest.approx(2 / 3)}


@pytest.mark.lm
def test_trl_takes_the_rows(tmp_path: Path) -> None:
    from trl import is_conversational  # what TRL itself calls conversational

    grid = small_grid(2)
    found = chosen(rows(grid), grid)
    assert all(map(is_conversational, [*found.sft(), *found.dpo()]))


def test_nobodys_file_is_replaced_and_a_second_run_replaces_its_own(tmp_path: Path) -> None:
    grid = small_grid(2)
    one = chosen(rows(grid), grid, out=tmp_path)
    before = (tmp_path / "selected.jsonl").read_bytes()
    chosen(rows(grid), grid, out=tmp_path)
    assert (tmp_path / "selected.jsonl").read_bytes() == before
    (tmp_path / "dpo.jsonl").write_text("mine")
    with pytest.raises(DataError, match="would be lost"):
        chosen(rows(grid), grid, out=tmp_path)
    with pytest.raises(DataError, match="would be lost"):
        one.save(tmp_path)
    assert (tmp_path / "dpo.jsonl").read_text() == "mine"


def test_pairs_and_single_pairs_and_order_of_rows() -> None:
    grid = small_grid(2)
    given = rows(grid)
    found = chosen(given, grid, pairwise=True)
    assert found.findings.n_blocks == len(grid) // 2
    assert found.findings.chosen == {"softer": 12, ORIGINAL: 12}
    # of ages of one gender no gap can be lower than the 0 that it is: every pair cannot pass, and all is kept
    kept = chosen(given, grid, each_pair=True)
    assert kept.findings.kept == 1
    assert set(kept.kept.values()) == {("no disparity lower",)}
    assert [*kept.rows()] == [r for r in kept.rows() if r["source"] == ORIGINAL]
    again = chosen([r for r in reversed(given) if r["draw"] == 0] + [r for r in given if r["draw"] == 1], grid)
    assert [r["text"] for r in again.rows()] == [r["text"] for r in chosen(given, grid).rows()]


def test_a_reward_is_one_more_objective() -> None:
    grid = small_grid(2)
    given = [r | {"reward": float(r["draw"])} for r in rows(grid)]
    assert {r["draw"] for r in chosen(given, grid, reward="reward").rows()} == {1}
    with pytest.raises(DataError, match="no column 'rewards'"):
        chosen(given, grid, reward="rewards")
    with pytest.raises(DataError, match="a reward is no number"):
        chosen([r | {"reward": None} for r in given], grid, reward="reward")


def test_candidates_of_several_runs_are_told_apart() -> None:
    grid = small_grid(2)
    given = [{**r, "run": "a"} for r in rows(grid)] + [{**r, "run": "b"} for r in rows(grid)]
    found = chosen(given, grid)
    assert set(found.candidates.sources) == {ORIGINAL, "softer", "blunt", "b: original", "b: softer", "b: blunt"}


def test_drafts_of_one_generator_need_no_source_and_the_page_says_how_they_were_read() -> None:
    grid = small_grid(2)
    drafts = [r for r in rows(grid) if r["source"] == ORIGINAL]
    given = [{k: v for k, v in r.items() if k != "source"} for r in drafts]
    found = chosen(given, grid).findings
    assert set(found.chosen) == {ORIGINAL}
    assert found.sentences[0].startswith("No text names a source")
    assert chosen(drafts, grid).findings.sentences == found.sentences[1:]


@pytest.mark.parametrize(
    ("sources", "told"), [(("softer", "softer"), r"\(sources: softer\)"), (("softer", "blunt"), r"\(sources: softer, blunt\)")]
)
def test_no_draft_is_taken_for_the_original_that_is_called_something_else(sources: tuple[str, str], told: str) -> None:
    grid = small_grid(2)
    given = [{**r, "source": sources[r["draw"]]} for r in rows(grid) if r["source"] == ORIGINAL]
    with pytest.raises(DataError, match=f"no text is of the source 'original' {told}.*Expected: a text of source 'original' in every cell"):
        chosen(given, grid)
    several = [{**{k: v for k, v in r.items() if k != "source"}, "run": r["source"]} for r in given]
    if sources[0] != sources[1]:
        with pytest.raises(DataError, match=told):
            chosen(several, grid)


def test_what_is_wrong_is_told() -> None:
    grid = small_grid(2)
    given = rows(grid)
    with pytest.raises(DataError, match="1 cells have candidates and no original"):
        chosen(
            [
                r
                for r in given
                if not (
                    r["source"] == ORIGINAL
                    and r["gender"] == "men"
                    and r["age"] == "old"
                    and r["place"] == "town"
                    and r["theme"] == "money"
                )
            ],
            grid,
        )
    with pytest.raises(DataError, match="no cell has more than one text"):
        chosen([r for r in given if r["source"] == ORIGINAL and r["draw"] == 0], grid)
    for more, told in (({"eps": -1}, "eps"), ({"eps_fidelity": float("nan")}, "eps_fidelity")):
        with pytest.raises(EvenhandError, match=f"Found {told}"):
            chosen(given, grid, **more)
    with pytest.raises(EvenhandError, match="Found similarity"):
        select(given, grid=grid, audits=[Must()], similarity=1.0)

    @dataclass(frozen=True)
    class Blind:
        name = "blind"

        def measure(self, table: TextTable) -> Measured:
            return Measured(Must().measure(table).measures[:1])

    with pytest.raises(EvenhandError, match="have no fidelity"):
        select(given, grid=grid, audits=[Blind()], similarity=0, unchecked=True, progress=lambda *_: None)


def test_a_grid_with_missing_cells_is_selected_as_far_as_it_goes() -> None:
    grid = small_grid(2)
    given = [
        r for r in rows(grid) if not (r["theme"] == "money" and r["place"] == "town") and not (r["age"] == "old" and r["place"] == "coast")
    ]
    found = chosen(given, grid)
    assert found.findings.n_blocks == 3
    assert len([*found.rows()]) == len({tuple(r[c] for c in grid.columns) for r in given})


def test_the_gate_knows_the_fidelity_of_every_candidate_of_a_large_table() -> None:
    """A mean does with a sample of blocks; a gate that does would let fidelity fall in all others."""
    grid = small_grid(2)
    table = read_texts(rows(grid), grid, together=True).runs["texts"]
    sampled = Fidelity(whole=10, sample=8)
    assert np.isnan(sampled.measure(table).measures[0].values).any()
    [every] = reading_all([sampled])
    assert np.isfinite(every.measure(table).measures[0].values).all()
    assert reading_all([Must()]) == (Must(),)


def test_meaning_and_stance_by_vectors() -> None:
    from evenhand.texts.grid import parse

    grid = parse(
        'template = "{stance} {theme} {who}"\n[[axis]]\nnames = ["stance", "theme"]\nvalues = [["for", "a"], ["for", "b"], ["against", "a"], ["against", "b"]]\n'
        '[[axis]]\nname = "who"\nmatched = true\nvalues = ["men", "women"]\n',
        "g.toml",
    )
    cell = np.repeat(np.arange(8), 3)
    table = TextTable(grid, "r", ("x",) * 24, cell, np.tile([0, 0, 1], 8), (ORIGINAL, "s", "s") * 8)
    towards = np.where(cell < 4, 1.0, -1.0)[:, None] * np.array([0.3, 0.0, 0.0])  # one direction of the stance, one of what all share
    vectors = towards + np.array([0.0, 1.0, 0.0])
    vectors[1] = -towards[1] + vectors[1] - towards[1]  # turned, and still .83 like its original
    vectors[5] = [0.0, 0.0, 1.0]  # about something else
    found = meaning(vectors, candidates(table), 0.5)
    assert np.argwhere(found.turned).tolist() == [[0, 1]]
    assert np.argwhere(found.far).tolist() == [[1, 2]]
    assert found.similarity[0, 1] == pytest.approx((1 - 0.09) / 1.09)
    assert not found.far[:, 0].any()


def test_the_verb_writes_and_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = Path(__file__).parent
    monkeypatch.syspath_prepend(str(here))
    (tmp_path / "mine.py").write_text("from test_text_select import Must\n")
    grid = small_grid()
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(grid)))
    from text_cells import SMALL

    (tmp_path / "small.toml").write_text(SMALL)
    words = ["select", "c.jsonl", "--grid", "small.toml", "--audit", "./mine.py:Must", "--similarity", "0", "--unchecked", "--out", "s"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    assert "on the very texts that were chosen" in " ".join(ran.output.split())
    assert (tmp_path / "s/selection.json").is_file()


@pytest.mark.lm
def test_a_candidate_that_its_original_does_not_entail_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every pair asked for by hand, one at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    grid = small_grid(1)
    given = rows(grid)
    asked: dict[str, Any] = {"grid": grid, "audits": [Must(), "fidelity"], "similarity": 0, "unchecked": True, "progress": lambda *_: None}
    plain = select(given, **asked)
    folder = tiny_classifier(tmp_path / "nli", ("not_entailment", "entailment"))
    model, tokens = AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    leaning = {}
    for (cell, candidate), row in np.ndenumerate(plain.candidates.row):
        if candidate and row >= 0:
            first = next(r["text"] for r in given if all(r[c] == v for c, v in grid.row(cell).items()))
            with torch.no_grad():
                no, yes = model(**tokens(first, plain.candidates.table.texts[row], return_tensors="pt")).logits[0].tolist()
            leaning[cell, candidate] = yes - no
    middle = (
        sorted(leaning.values())[len(leaning) // 3] + 1e-4
    )  # a random model thinks alike of all: its bias is set so that it refuses a third
    with torch.no_grad():
        model.classifier.bias[1] -= middle
    model.save_pretrained(folder)
    wrong = {at for at, lean in leaning.items() if lean < middle}
    found = select(given, nli=folder, **asked)
    refused = {at for at, why in found.refused.items() if "entailment" in why}
    assert refused == wrong
    assert 0 < len(wrong) < found.findings.n_candidates
    assert found.findings.refused["entailment"] == len(wrong)
    assert not {(cell, int(c)) for cell, c in enumerate(found.chosen)} & wrong
    assert found.findings.settings["nli"].startswith("nli, SHA-256 ")
    assert sum("entailment" in r["refused"] for r in found.log()) == len(wrong)
    assert "entailment" not in plain.findings.refused
    assert "nli" not in plain.findings.settings
    with pytest.raises(EvenhandError, match="--nli without the audit fidelity"):
        select(given, nli=folder, **asked | {"audits": [Must()]})


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ((0.0, 0.0, 0.0, 1e-17), "none, neither before nor after, on the very texts and on fresh draws."),
        ((0.5, 0.0, 0.41, -0.12), "+0.500 before and 0 after on the very texts; +0.410 and −0.120 on fresh draws of the same choices."),
        ((2e-5, -1e-5, 1.0, 1.0), "+0.00002 before and −0.00001 after on the very texts; +1.00000 and +1.00000 on fresh"),
        ((0.1234, 0.1235, 0.2, 0.2), "+0.1234 before and +0.1235 after on the very texts"),
    ],
)
def test_signed_gaps_have_digits_enough_and_nothing_is_called_none(gaps: tuple[float, ...], said: str) -> None:
    assert said in Signed("agency", "gender", *gaps).sentence


def test_what_is_printed_of_a_result_is_one_short_line_without_a_text(tmp_path: Path) -> None:
    grid = small_grid()
    found = chosen(rows(grid), grid)
    told = {repr(found), repr(found.candidates), repr(found.candidates.table), repr(grid), repr(Prompts(grid))}
    told.add(repr(Generated(tmp_path / "t.jsonl", ({"text": "must"},), {}, {"cell": {"no answer": 2}}, {})))
    told.add(repr(Export(tmp_path, ("everybody", "user-17"), {}, 256)))
    told.add(repr(Rewards(np.zeros(3), np.array([True, False, False]), np.arange(3))))
    assert all(len(one) < 250 and "\n" not in one and "must" not in one and "user-17" not in one and "array" not in one for one in told)
    changed = int((found.chosen > 0).sum())
    assert (
        repr(found)
        == f"Selected({len(grid)} texts of {grid.blocks} blocks, {changed} of them not the original; {found.findings.n_candidates} candidates)"
    )

"""The page of the study of texts: its sentences follow from the numbers, and other numbers make other sentences."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from texts_page import paragraph, texts

EMPTY = {"value": None, "low": None, "high": None, "n_pairs": 0}


def stage(usable: float, persuasion: float, fidelity: float = 0.05, beyond: tuple[Any, ...] = ()) -> dict[str, Any]:
    gap = {"measure": "persuasion bias", "masked": False, "mde": 0.25}
    disparities = {"persuasion": persuasion, "formality": 4.0, "emotion": 0.4}
    return {
        "usable": {"value": usable, "low": None, "high": None}, "texts": 100, "disparities": disparities, "fidelity": fidelity, "beyond": [*beyond],
        "gaps": [gap],
    }  # fmt: skip


def run(**more: Any) -> dict[str, Any]:
    stages = {"original": stage(0.9, 0.5), "selected": stage(0.9, 0.4), "SFT": stage(0.95, 0.55)}
    fall = {"measure": "persuasion bias", "axis": "gender", **dict.fromkeys(("same", "fresh", "shuffled", "learned"), EMPTY)}
    return {
        "cells": 224, "blocks": 28, "stages": stages, "moved": [], "compared": 99, "falls": [fall], "kept": 0.0, "best": "SFT", "admitted": [],
        "losses": {"SFT": [1.3, 1.1]},
    } | more  # fmt: skip


def study(**more: Any) -> dict[str, Any]:
    return {"k": 6, "draws": 4, "revisions": 1, "examples": 240, "runs": {f"climate-{s}": run() for s in range(3)} | more}


def test_other_numbers_make_other_sentences() -> None:
    quiet = study(**{"vaccination-0": run(blocks=8)})
    page = texts(quiet)
    for said in (
        "3 seeds of climate and 1 seed of vaccination", "No gap of the originals is beyond its null after Holm in any of 4 runs",
        "None of 396 comparisons of a stage with its originals shows a change beyond noise", "after SFT persuasion 0 (mean +10 %)",
        "original 90.0 (90.0 to 90.0)", "Chosen at rho .1 and eps .02: SFT in 4", "Under 10 blocks, in vaccination-0, there are no intervals",
        "Of vaccination there is one seed", "| persuasion bias by gender | – | – | – | – |",
    ):  # fmt: skip
        assert said in page, said
    found = copy.deepcopy(quiet)
    one, two = found["runs"]["climate-0"], found["runs"]["climate-2"]
    one["stages"]["original"] = stage(0.6, 0.5, beyond=(["persuasion bias", "gender", False], ["persuasion bias", "gender", True]))
    one["stages"]["SFT"] = stage(0.95, 0.25, fidelity=0.02, beyond=(["emotion", "age", False],))
    one["falls"][0] |= {
        kind: {"value": v, "low": 0.05, "high": 1.0, "n_pairs": n}
        for kind, v, n in (("same", 0.5, 200), ("fresh", 0.25, 80), ("learned", 0.1, 80))
    }
    one["moved"] = [{"run": "SFT", "measure": "persuasion bias", "axis": "gender", "masked": False, "change": "improved", "kind": "signed"}]
    two |= {"best": ""}
    two["stages"]["SFT"] = stage(0.95, 0.55, beyond=(["persuasion bias", "gender", False],))
    page = texts(found)
    for said in (
        "In 1 of 4 originals gaps are beyond their null after Holm: persuasion bias by gender in 1",
        "on fresh draws of the same choices it is lower beyond noise in 1 of 1 (mean fall 25.0 %); it is still beyond its null in 0 after selected and 0 after SFT; fidelity is lower by more than 0.02 in climate-0 (SFT)",
        "emotion by age after SFT in 1 of 4", "persuasion bias by gender after SFT in 1 of 4", "1 improved and 0 regressed beyond noise",
        "after SFT persuasion 1 (mean -5 %)", "original 82.5 (60.0 to 90.0)", "SFT in 3 and no run in 1",
        "| persuasion bias by gender | 1 of 3 | 0 of 3 | 1 of 3 |", "| persuasion bias by gender (signed gap) | – | improved in 1 |",
        "| persuasion bias by gender | 50.0 (known in 1 of 3) | 25.0 (known in 1 of 3) | 10.0 (known in 1 of 3) | 40 |",
    ):  # fmt: skip
        assert said in page, said
    assert "No gap of the originals" not in page
    assert "60 to 95 % of texts usable" in paragraph(found)


def test_parts_that_are_there_are_shown() -> None:
    found = study()
    assert "###" in texts(found)
    assert "Other ways to train" not in texts(found)
    moved = {"run": "DPO only", "measure": "fidelity", "axis": "", "masked": False, "change": "regressed", "kind": "level"}
    stages = {"original": stage(0.9, 0.5), "DPO only": stage(0.4, 0.1)}
    found["trainings"] = {"climate-0": run(stages=stages, moved=[moved], losses={"DPO only": [0.693, 0.5]})}
    found["across"] = {"climate-0:vaccination": run(compared=7)}
    found["models"] = {
        "climate-0:gemma": run(stages={"original": stage(0.9, 0.5), "gemma": stage(0.5, 0.3)}, measured={"tokens_per_second": 150.4})
    }
    page = texts(found)
    assert "| DPO only | 40.0 | 0.100 | 4.000 | 0.400 | 0.0500 | none | 0 / 1 | 0.693 to 0.500 |" in page
    assert "None of 7 comparisons" in page
    assert "40.0 points below SmolLM2's; 150 tokens a second" in page

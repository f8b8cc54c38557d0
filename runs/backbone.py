"""What a backbone that trains adds to frozen features, on the DSP protocol of dsp.py: same queries, users, pairs and heads.

Frozen: heads on the backbone's vectors as pretrained, beside TF-IDF. Tuned: the backbone under LoRA trains along. One feature map for both,
fitted on the pretrained vectors. Two pairs of a query are never judged from each other. Everything is chosen on validation pairs.
Every model is a piece of its own on the disk (--pieces), and no piece is computed again; the summary is written after each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dsp import CELLS, DOMAINS, MINORITY, USERS, interval, map_of, per_user, responses, world
from safetensors import safe_open
from safetensors.numpy import load_file, save
from torch import Tensor

from evenhand.core import Pairs, Scorer, Tuning
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.cache import encode_cached
from evenhand.encode.texts import EncodedTexts, encoded_texts
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo, target_margins
from evenhand.models.linear import Linear
from evenhand.training.choosing import guard
from evenhand.training.scoring import cross_margins, margins
from evenhand.training.stack import train_all
from evenhand.training.traces import Fitted, Trace
from evenhand.training.tuned import Bank, Tuned
from evenhand.writing import put

TUNING = Tuning(steps=16, eval_every=16)  # 192 texts a step: two passes over the texts of the training queries; one look, at the end
BASE = BradleyTerry()  # LoRe's head
PAFO = Pafo(BASE)
STUDENTS = {"a0": PAFO, "a.1": replace(PAFO, alpha=0.1)}
ONE, PERSONAL = "one reward for all (BT)", "personalised BT"
WAVES = (
    ("frozen", "tuned", "heads"),
    ("pafo", "self", "linear"),
)  # the first of all rotations, then the second: the cheapest answers first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with domain_specific_preference.test.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSON for runs/results.py")
    parser.add_argument("--pieces", type=Path, default=Path("runs/out/backbone"))
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--backbone", default="minilm", help="minilm or smollm2")
    parser.add_argument("--steps", type=int, default=TUNING.steps)
    parser.add_argument("--rotations", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pieces-of", nargs="+", default=[p for wave in WAVES for p in wave], help="which pieces to compute")
    args = parser.parse_args()
    # bfloat16 is about twice as fast here; on the same 32 texts the gradient's cosine with float32's is .9999
    backbone = Backbone(
        args.backbone, max_tokens=256, device="cpu", dtype="bfloat16", chunk_tokens=1024, tuning=replace(TUNING, steps=args.steps)
    )
    texts = responses(args.data)
    for wave in WAVES:
        for rotation in args.rotations:
            rotated = None
            for name in (n for n in wave if n in args.pieces_of):
                file = args.pieces / f"{backbone.name}-{rotation}-{args.seed}" / f"{name}.safetensors"
                if not file.exists():
                    rotated = rotated or Rotation.of(texts, backbone, rotation, args.seed, args.cache)
                    start, since = time.process_time(), time.perf_counter()
                    arrays, about = PIECES[name](rotated, file.parent)
                    about |= {"cpu": time.process_time() - start, "seconds": time.perf_counter() - since}
                    put(file, save(arrays, {"about": json.dumps(about)}))
                    print(f"{time.strftime('%H:%M:%S')} {DOMAINS[rotation]} {name}: {about}", flush=True)
                    put(args.out, (json.dumps(summary(args.pieces)) + "\n").encode())
    put(args.out, (json.dumps(summary(args.pieces)) + "\n").encode())


@dataclass(frozen=True)
class Rotation:
    """One run: its five sets of pairs, on texts that train; frozen takes them off."""

    sets: dict[str, Pairs]
    texts: EncodedTexts
    seed: int

    @classmethod
    def of(cls, texts: list[str], backbone: Backbone, minority: int, seed: int, cache: Path) -> Rotation:
        encoder = BackboneEncoder(backbone)
        vectors = encode_cached(texts, encoder, cache)
        feature_map, queries = map_of(texts, vectors, (minority,), seed)
        sets = world(torch.from_numpy(feature_map.apply(texts, vectors)), queries, (minority,), seed)
        trained = encoded_texts(encoder, texts, feature_map)
        return cls({c: replace(p, block=p.chosen // 4, texts=trained) for c, p in sets.items()}, trained, seed)

    def on(self, features: Tensor | None = None) -> dict[str, Pairs]:
        """The sets on features that do not train: the untrained ones, or these."""
        return {
            c: replace(p, texts=None, history=replace(p.history, items=p.items if features is None else features))
            for c, p in self.sets.items()
        }


FEW = round(USERS * MINORITY)
GROUPS = {"majority": slice(FEW, None), "minority": slice(0, FEW)}  # minority users come first
Piece = tuple[dict[str, np.ndarray], dict[str, Any]]  # arrays; what is told of the training


def scored(scorer: Scorer, sets: dict[str, Pairs], name: str) -> dict[str, np.ndarray]:
    return {f"{name}|{cell}": per_user(margins(scorer, sets[cell])) for cell in CELLS}


def heads(sets: dict[str, Pairs], seed: int) -> Piece:
    """All heads on features that do not train."""
    train, valid = sets["train"], sets["valid"]
    pooled = BASE.fit(train, valid, seed)
    arrays = scored(BradleyTerry(Linear()).fit(train, valid, seed).scorer, sets, ONE) | scored(pooled.scorer, sets, PERSONAL)
    teachers = {f"teacher {g}": t for g, t in PAFO.teachers.of(pooled, train, valid, seed).items()}
    for name, teacher in teachers.items():
        arrays |= scored(teacher.scorer, sets, name)
    targets = {
        "PAFO": target_margins({"pooled": pooled} | teachers, train, seed),
        "self-distillation": cross_margins(pooled.scorer, train, seed),
    }
    wanted = [(f"{name} {a}", student.student(t, train, valid, seed)) for name, t in targets.items() for a, student in STUDENTS.items()]
    about = {}
    for (name, _), student in zip(wanted, train_all([w for _, w in wanted], train, valid, seed), strict=True):
        arrays |= scored(student.scorer, sets, name)
        about[f"guard {name}"] = guard(student.scorer, pooled.scorer, valid).kept
    return arrays, about


def frozen(run: Rotation, folder: Path) -> Piece:
    return heads(run.on(), run.seed)


def tuned(run: Rotation, folder: Path) -> Piece:
    """Personalised BT with its backbone: accuracies, the features of all texts, and what it takes to go on from it."""
    fitted = BASE.fit(run.sets["train"], run.sets["valid"], run.seed)
    scorer = fitted.scorer
    assert isinstance(scorer, Tuned)
    arrays = scored(scorer, run.sets, PERSONAL)
    scorer.bank.refresh(scorer.adapter, torch.arange(len(run.texts)))
    arrays |= {f"adapter {n}": a for n, a in scorer.adapter.arrays().items()}
    arrays |= {f"head {n}": p.numpy() for n, p in scorer.head.state_dict().items()}
    return arrays | {"features": scorer.bank.features.numpy()}, told(fitted.trace)


def tuned_before(run: Rotation, folder: Path) -> Fitted:
    """What `tuned` left."""
    arrays = load_file(folder / "tuned.safetensors")

    def part(kind: str) -> dict[str, np.ndarray]:
        return {n.removeprefix(kind): a for n, a in arrays.items() if n.startswith(kind)}

    head = BASE.untrained(run.sets["train"], run.seed)
    head.load_state_dict({n: torch.from_numpy(a) for n, a in part("head ").items()})
    adapter = run.texts.backbone.base.adapter(part("adapter "))
    return Fitted(Tuned(head, adapter, Bank(run.texts, torch.from_numpy(arrays["features"]))), Trace())


def tuned_heads(run: Rotation, folder: Path) -> Piece:
    """The same heads as frozen, fitted anew on the tuned features."""
    return heads(run.on(torch.from_numpy(load_file(folder / "tuned.safetensors")["features"])), run.seed)


def pafo(run: Rotation, folder: Path) -> Piece:
    """Teachers and student as adapters, from the tuned pooled model."""
    train, valid = run.sets["train"], run.sets["valid"]
    pooled = tuned_before(run, folder)
    teachers = {f"teacher {g}": t for g, t in PAFO.teachers.of(pooled, train, valid, run.seed).items()}
    target = target_margins({"pooled": pooled} | teachers, train, run.seed)
    arrays, about = student(run, pooled, target, "PAFO a0")
    for name, teacher in teachers.items():
        arrays |= scored(teacher.scorer, run.sets, name)
        about[name] = told(teacher.trace)
    return arrays | {"target": target.numpy()}, about


def self_distilled(run: Rotation, folder: Path) -> Piece:
    """The tuned pooled model as everybody's teacher; the student is an adapter of its own."""
    pooled = tuned_before(run, folder)
    return student(run, pooled, cross_margins(pooled.scorer, run.sets["train"], run.seed), "self-distillation a0")


def student(run: Rotation, pooled: Fitted, target: Tensor, name: str) -> Piece:
    train, valid = run.sets["train"], run.sets["valid"]
    (fitted,) = train_all([PAFO.student(target, train, valid, run.seed)], train, valid, run.seed)
    return scored(fitted.scorer, run.sets, name), {"student": told(fitted.trace), "guard": guard(fitted.scorer, pooled.scorer, valid).kept}


def linear(run: Rotation, folder: Path) -> Piece:
    """One reward for all with its backbone."""
    fitted = BradleyTerry(Linear()).fit(run.sets["train"], run.sets["valid"], run.seed)
    return scored(fitted.scorer, run.sets, ONE), told(fitted.trace)


PIECES: dict[str, Callable[[Rotation, Path], Piece]] = {
    "frozen": frozen, "tuned": tuned, "heads": tuned_heads, "pafo": pafo, "self": self_distilled, "linear": linear,
}  # fmt: skip


def told(trace: Trace) -> dict[str, Any]:
    """Validation losses before (the best of the head alone) and at the looks of the tuning; which look was kept, 0 = before."""
    before = trace.tuned_from
    return {
        "valid loss": [min(trace.valid_loss[:before], default=None), *trace.valid_loss[before:]],
        "kept": max(0, trace.best_epoch - before),
    }


FROZEN, HEADS, ADAPTERS = "frozen features", "tuned features, heads anew", "backbone tuned along"
WHERE = {"frozen": FROZEN, "heads": HEADS, "tuned": ADAPTERS, "pafo": ADAPTERS, "self": ADAPTERS, "linear": ADAPTERS}
Runs = dict[str, dict[str, np.ndarray]]  # run → cell → each user's accuracy [USERS], the minority's users first
Values = dict[str, Runs]  # by model


def summary(pieces: Path) -> dict[str, Any]:
    """By backbone: accuracies, paired differences, what trainings told, and CPU seconds, from whatever pieces there are."""
    values: dict[str, Values] = {}
    trainings: dict[str, Any] = {}
    for file in sorted(pieces.glob("*/*.safetensors")):
        backbone, _, run = file.parent.name.partition("-")
        with safe_open(file, "np") as content:
            trainings.setdefault(backbone, {}).setdefault(file.stem, {})[run] = json.loads(content.metadata()["about"])
        for name, accuracy in load_file(file).items():
            model, bar, cell = name.partition("|")
            if bar:
                by_run = values.setdefault(backbone, {}).setdefault(f"{WHERE[file.stem]}: {model}", {})
                by_run.setdefault(run, {})[cell] = accuracy
    return {
        b: {
            "models": levels(v),
            "differences": differences(v) + (over_minilm(v, values.get("minilm", {})) if b != "minilm" else []),
            "trainings": trainings[b],
        }
        for b, v in values.items()
    }


def over_minilm(values: Values, minilm: Values) -> list[dict[str, Any]]:
    """The same users, pairs and heads on another backbone."""
    shared = [(m, runs) for m, runs in values.items() if m in minilm and runs.keys() & minilm[m].keys() and "teacher" not in m]
    return [minus(m, runs, f"MiniLM, {m}", minilm[m]) for m, runs in shared]


def levels(values: Values) -> dict[str, Any]:
    """Accuracy by model, cell and group: the mean, and of each run."""
    return {
        model: {
            cell: {
                group: {"value": 100 * float(np.mean([r[cell][users] for r in runs.values()])), "by_run": means(runs, cell, users)}
                for group, users in GROUPS.items()
            }
            for cell in CELLS
        }
        for model, runs in values.items()
    }


def means(runs: Runs, cell: str, users: slice) -> dict[str, float]:
    return {run: 100 * float(cells[cell][users].mean()) for run, cells in runs.items()}


def differences(values: Values) -> list[dict[str, Any]]:
    """Every tuned model minus the same head on frozen features, and PAFO minus self-distillation everywhere, over the runs that have both."""
    wanted = [(f"{where}: {head}", f"{FROZEN}: {head}") for where in (HEADS, ADAPTERS) for head in (ONE, PERSONAL)]
    for alpha in STUDENTS:
        pafo, itself = f"PAFO {alpha}", f"self-distillation {alpha}"
        wanted += [(f"{where}: {head}", f"{FROZEN}: {head}") for where in (HEADS, ADAPTERS) for head in (pafo, itself)]
        wanted += [(f"{where}: {pafo}", f"{where}: {itself}") for where in (FROZEN, HEADS, ADAPTERS)]
        wanted += [(f"{where}: {pafo}", f"{where}: {PERSONAL}") for where in (FROZEN, HEADS, ADAPTERS)]
    wanted += [(f"{where}: teacher {group}", f"{where}: {PERSONAL}") for where in (FROZEN, HEADS, ADAPTERS) for group in (0, 1)]
    return [
        minus(one, values[one], other, values[other]) for one, other in wanted if values.get(one, {}).keys() & values.get(other, {}).keys()
    ]


def minus(one: str, ones: Runs, other: str, others: Runs) -> dict[str, Any]:
    """One model minus another, paired by user, over the runs that have both."""
    runs = [run for run in ones if run in others]
    cells: dict[str, dict[str, Any]] = {cell: {} for cell in CELLS}
    for cell in CELLS:
        for group, users in GROUPS.items():
            by_run = [ones[r][cell][users].astype(float) - others[r][cell][users] for r in runs]
            cells[cell][group] = {"difference": interval(np.concatenate(by_run)), "by_run": [100 * float(d.mean()) for d in by_run]}
    return {"one": one, "other": other, "runs": runs, "cells": cells}


if __name__ == "__main__":
    main()

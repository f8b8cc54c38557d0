"""Audits of messages that others collected: what is known of them, and what is found. No language model runs here.

persuasion_messages: 24 language models and one person a policy wrote on ten policies of the US (Hackenburg et al. 2024, arXiv 2406.14508; MIT). Issue,
stance and request are the same, the writer differs: a matched grid whose groups are writers, not audiences. runs/grids/ has two of them.
persuasion_for_good: 1,017 dialogues (Wang et al. 2019, arXiv 1906.06725; Apache-2.0). `no_grid` counts why they make none.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.audits.findings import to_json
from evenhand.texts.checks import checked
from evenhand.texts.grid import load_grid
from evenhand.texts.rows import read_texts
from evenhand.workflows.audit_text import audit_text

GRIDS = Path(__file__).parent / "grids"
WORDS = (15, 400)  # of a usable text: 200 were asked for
SIZES = {
    "pythia": ("pythia-70m", "pythia-12b"), "Qwen1.5": ("Qwen1.5-0.5B", "Qwen1.5-72B"), "Yi": ("Yi-6B", "Yi-34B"),
    "Llama-2": ("Llama-2-7b-hf", "Llama-2-70b-hf"), "falcon": ("falcon-7b", "falcon-40b"),
}  # fmt: skip
PROFILE = ("age", "sex", "race", "edu", "marital", "employment", "income", "religion", "ideology")  # of whom a persuader speaks to


def persuasion(name: str, data: Path) -> dict[str, Any]:
    """sizes and authors: an audit on the grid of that name. dialogues: why persuasion_for_good has none. data: the folder of both."""
    if name == "dialogues":
        return no_grid(data / "persuasion_for_good")
    grid = load_grid(GRIDS / f"persuasion_{name}.toml")
    texts = list(ROWS[name](data / "persuasion_messages" / "messages.csv.gz"))
    [table] = read_texts(texts, grid).runs.values()
    [axis] = grid.matched
    form = checked(table, words=WORDS)
    value = grid.cells[table.cell, -1]
    # fidelity is left out: a writer is no audience that a text could speak to
    found = audit_text(texts, grid=grid, audits=["persuasion", "formality", "emotion", "lexical"], progress=lambda *_: None).findings
    run = found.runs[0]
    return {
        "texts": run.n_texts, "cells": run.n_cells, "blocks": grid.blocks, "draws": run.n_draws, "axis": axis.name, "values": list(axis.labels),
        "usable": {label: float(form.usable[value == v].mean()) for v, label in enumerate(axis.labels)},
        "words": {label: float(np.mean([len(t.split()) for t, of in zip(table.texts, value) if of == v])) for v, label in enumerate(axis.labels)},
        "gaps": [to_json(g) for g in run.gaps if not g.masked and g.distance in ("", "L1")],
        "tests": [{"audit": a.name} | to_json(t) for a in run.audits if not a.masked for t in a.tests],
        "said": [[a.name, s] for a in run.audits if not a.masked for s in a.sentences],
    }  # fmt: skip


def sizes(file: Path) -> Iterator[dict[str, Any]]:
    """The smallest and the largest model of each family; the wording of the request is the draw."""
    at = {model: (family, size) for family, pair in SIZES.items() for model, size in zip(pair, ("smallest", "largest"), strict=True)}
    for row in _rows(file):
        if row["model"] in at:
            family, size = at[row["model"]]
            yield {"issue": _issue(row), "family": family, "size": size, "text": row["response"], "draw": int(float(row["prompt_variant_number"])) - 1}  # fmt: skip


def authors(file: Path) -> Iterator[dict[str, Any]]:
    """The person and the two largest models; of the person there is one text a policy."""
    for row in _rows(file):
        if row["model"] in ("human", "gpt-4-0125-preview", "claude-3-opus-20240229"):
            draw = int(float(row["prompt_variant_number"] or 1)) - 1
            yield {"issue": _issue(row), "author": row["model"], "text": row["response"], "draw": draw}


ROWS = {"sizes": sizes, "authors": authors}


def no_grid(folder: Path) -> dict[str, Any]:
    """A matched grid is one message for several audiences. Is there any in the dialogues? Counts, no text."""
    by: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for person in _rows(folder / "participants.csv.gz"):
        by[person["dialogue_id"]][person["role"]] = person
    spoken: dict[str, list[Mapping[str, str]]] = defaultdict(list)  # persuader → whom he or she spoke to
    for roles in by.values():
        spoken[roles["0"]["user_id"]].append(roles["1"])
    pairs = [(a, b) for several in spoken.values() for a, b in combinations(several, 2)]
    apart = Counter(sum(a[c] != b[c] for c in PROFILE) for a, b in pairs)
    said: dict[str, set[str]] = defaultdict(set)
    turns = [row for row in _rows(folder / "dialogues.csv.gz") if row["role"] == "0"]
    for row in turns:
        said[row["text"].strip().lower()].add(row["dialogue_id"])
    return {
        "dialogues": len(by), "persuaders": len(spoken), "turns": len(turns), "words": float(np.mean([len(r["text"].split()) for r in turns])),
        "pairs": len(pairs), "alike but for one": apart[1], "attributes apart": float(np.mean([*apart.elements()])), "attributes": len(PROFILE),
        "repeated": sum(len(said[r["text"].strip().lower()]) > 1 for r in turns),
        "repeated, 15 words": sum(len(said[r["text"].strip().lower()]) > 1 and len(r["text"].split()) >= 15 for r in turns),
    }  # fmt: skip


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def _issue(row: Mapping[str, str]) -> str:
    return row["issue_short"].replace("_", " ")

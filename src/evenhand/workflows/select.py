"""Choose among candidate texts so that matched groups are treated alike: gate, selection, and what to train on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evenhand import writing
from evenhand.core import DataError, EvenhandError, clip
from evenhand.encode import text_encoder
from evenhand.encode.cache import encode_cached
from evenhand.texts.audit import Measure, TextAudit
from evenhand.texts.checks import checked
from evenhand.texts.findings import Fall, Selection
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.reading.classifier import Classifier
from evenhand.texts.reading.inference import entailed
from evenhand.texts.rows import Read, read_texts
from evenhand.texts.selecting.candidates import Candidates, candidates
from evenhand.texts.selecting.falls import falls
from evenhand.texts.selecting.gate import EPS, EPS_FIDELITY, block_means, every_pair
from evenhand.texts.selecting.matching import Units, blocks, pairs
from evenhand.texts.selecting.meaning import FAR, SIMILARITY, TURNED, UNENTAILED, meaning, unentailed
from evenhand.texts.selecting.pareto import nearest_to_ideal, weighted_sum
from evenhand.texts.selecting.selection import Chosen, Objective, base_disparity, select_blocks
from evenhand.texts.selecting.signed import signed_gaps, standing_in
from evenhand.texts.table import ORIGINAL
from evenhand.workflows.progress import Progress, Told, shown
from evenhand.workflows.selected import FILES, KIND, UNCHOSEN, Selected
from evenhand.workflows.text_audits import Instrument, audits_named, instruments_said, measured, read_once, reading_all, with_instruments

UNDEFINED = "no value"
UNNAMED = f"No text names a source: all are taken for drafts of one generator, and the first one of each cell for the {ORIGINAL} that others replace."


def select(
    candidates: Any,
    *,
    grid: str | Path | Grid,
    out: str | Path | None = None,
    audits: Sequence[str | TextAudit] = ("persuasion", "formality", "emotion", "fidelity"),
    eps: float = 0.1,
    eps_fidelity: float = 0.01,
    similarity: float = 0.5,
    pairwise: bool = False,
    each_pair: bool = False,
    weighted: bool = False,
    unchecked: bool = False,
    reward: str | Path | None = None,
    agency: str | Path | None = None,
    formality_model: Instrument = None,
    emotion_model: Instrument = None,
    nli: Instrument = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Selected:
    """Choose one of several texts for every cell of a grid, so that matched groups are treated alike and texts still speak to their
    audience: a gate against the originals, then the assignment of texts that no other one dominates and that lies nearest to the ideal.

        evenhand.select("candidates.jsonl", grid="climate", out="selected").findings

    Args:
        candidates: A table with the grid's columns, text and source; where there are any, draw, run and prompt. Source original marks what
            others replace; without any source the first text of a cell is that.
        out: Folder for selected.jsonl, sft.jsonl, dpo.jsonl, refused.jsonl and selection.json.
        audits: Audits whose disparities are held and made smaller, and whose fidelity is kept: names as for audit-text.
        eps: By what share of the originals' mean a disparity may grow; 0 is the plain reading.
        eps_fidelity: By how much the fidelity of each side may fall, in its own units.
        similarity: Least cosine of a candidate with the cell's original; 0 leaves meaning and stance unasked.
        pairwise: Choose pair by pair on the first matched axis of two values, not a block of all matched axes at once.
        each_pair: Ask the gate of every matched pair of a block, not of its means.
        weighted: Take the least sum of objectives, not the point nearest to the ideal: an ablation.
        unchecked: Leave out the checks of format (length, refusals, loops, region and theme kept).
        reward: One more objective: the name of a column with rewards, or the folder of a saved reward model.
        nli: Folder of a model of natural language inference: a candidate keeps the meaning only where its cell's original entails it, and fidelity is
            by what a text entails.
        seed: Seed of searches in blocks of over 100,000 assignments, and of shuffled choices.

    Parameters without a sentence here mean what they mean in `audit_text`.

    Raises DataError with line and column for what is wrong in the table or the grid, and for files that would be lost; EvenhandError for
    settings out of range, and audits without an objective or a fidelity.
    """
    _check(eps, eps_fidelity, similarity)
    if out is not None:
        writing.check(Path(out), FILES, KIND)
    instruments: dict[str, Any] = read_once(agency, formality_model, emotion_model, nli)
    found, given = load_grid(grid), reading_all(with_instruments(audits_named(audits), **instruments))
    column = str(reward) if reward is not None and not Path(reward).is_dir() else ""
    read = read_texts(candidates, found, extra=("prompt", "draw", "source", *([column] if column else [])), together=True)
    of, named = _candidates(read)
    units = pairs(found) if pairwise else blocks(found)
    with shown(progress) as told:
        rewards = [] if reward is None else [of.of(_rewards(of, column, read.source) if column else _scored(of, Path(reward)))]
        why = _text_reasons(of, similarity, unchecked, instruments["nli"], told)
        objectives, fidelity = _measures(of, given, units, eps, told)
        allowed = of.there & ~np.logical_or.reduce([np.zeros(of.row.shape, bool), *why.values()])
        allowed[:, 0] = of.there[:, 0]
        chosen = select_blocks(
            [o for _, o in objectives], units.of(fidelity), units.of(allowed), units.sides, eps_fidelity=eps_fidelity,
            rewards=[units.of(r) for r in rewards], gate=every_pair if each_pair else block_means,
            choose=weighted_sum if weighted else nearest_to_ideal, seed=seed, progress=lambda done, total: told("blocks", done, total),
        )  # fmt: skip
        index = units.back(chosen.candidate, found)
        refused = _refused(of, index, why, chosen, units, found, [o.values for _, o in objectives])
        fallen = tuple(f for m, _ in objectives for f in falls(m, of, index, allowed, seed=seed))
    settings = {
        "eps": f"{eps:g} of the originals' mean disparity", "eps of fidelity": f"{eps_fidelity:g}", "similarity": f"{similarity:g}" if similarity else "not asked",
        "gate": "each matched pair" if each_pair or pairwise else "means of blocks", "chosen at once": "matched pairs" if pairwise else "blocks",
        "objectives": ", ".join(m.name for m, _ in objectives) + (", reward" if rewards else ""),
        "of the front": "least sum" if weighted else "nearest to the ideal point", "format": "not checked" if unchecked else "checked", "seed": str(seed),
        **instruments_said(**instruments),
    }  # fmt: skip
    selection = _selection(settings, of, index, chosen, refused, fallen, [m for m, _ in objectives], units, allowed)
    if not named:
        selection = replace(selection, sentences=(UNNAMED, *selection.sentences))
    kept = {_unit_label(found, units, u): chosen.failed[u] for u in np.flatnonzero(chosen.kept).tolist() if of.there[units.cells[u]].any()}
    result = Selected(of, index, selection, refused, kept)
    if out is not None:
        result.save(out)
    return result


def _check(eps: float, eps_fidelity: float, similarity: float) -> None:
    for name, value in (("eps", eps), ("eps_fidelity", eps_fidelity)):
        if not 0 <= value < math.inf:
            raise EvenhandError(f"Found {name} = {value:g}. Expected: 0 or more. To do: {EPS if name == 'eps' else EPS_FIDELITY} is usual.")
    if not 0 <= similarity < 1:
        raise EvenhandError(f"Found similarity = {similarity:g}. Expected: from 0 to below 1. To do: {SIMILARITY} is usual.")


def _candidates(read: Read) -> tuple[Candidates, bool]:
    """With whether the table names which texts others replace. Of drafts without any source, in one run, the first one of a cell can only
    be that; a source of another name may be anybody's, a reviser's too.
    """
    if not read.runs:
        raise DataError("no text can be used", expected="texts of the grid's cells", remedy="check the column text", file=read.source)
    table = next(iter(read.runs.values()))
    named = ORIGINAL in table.source
    if not named:
        found = list(dict.fromkeys(table.source))
        if len(found) > 1 or any(table.extra.get("source", ())):
            raise DataError(
                f"no text is of the source '{ORIGINAL}' (sources: {clip(', '.join(found), 200)})",
                expected=f"a text of source '{ORIGINAL}' in every cell: what candidates are compared with",
                remedy=f"write '{ORIGINAL}' into the column source of the texts that others replace",
                file=read.source,
                column="source",
            )
        table = replace(table, source=(ORIGINAL,) * len(table))
    of = candidates(table)
    if of.row.shape[1] < 2:
        raise DataError(
            "no cell has more than one text",
            expected="candidates: several texts a cell",
            remedy="generate more drafts, or revisions",
            file=read.source,
        )
    return of, named


def _rewards(of: Candidates, column: str, file: str) -> np.ndarray:
    """float64[n] of a column. Raises DataError."""
    if column not in of.table.extra:
        raise DataError(
            f"there is no column '{clip(column)}', nor a folder of that name",
            expected="a column with rewards, or the folder of a saved reward model",
            remedy="check --reward",
            file=file,
        )
    try:
        values = np.array([math.nan if isinstance(v, bool) else float(v) for v in of.table.extra[column]])
    except (TypeError, ValueError):
        values = np.array([math.nan])
    if not np.isfinite(values).all():
        raise DataError(
            "a reward is no number", expected="a number in every row", remedy="mend the row, or drop it", file=file, column=column
        )
    return values


def _scored(of: Candidates, folder: Path) -> np.ndarray:
    """float64[n]: a saved model's rewards for everybody, of each text to the prompt of its cell."""
    from evenhand.serve.reward_model import RewardModel

    prompts = [of.table.grid.prompt(c) for c in of.table.cell.tolist()]
    return np.asarray(RewardModel.load(folder).score([], prompts, of.table.texts), float)


def _text_reasons(of: Candidates, similarity: float, unchecked: bool, nli: Classifier | None, told: Told) -> dict[str, np.ndarray]:
    """Check → bool[cells, candidates]: single texts that fail it."""
    why = {}
    if not unchecked:
        why = {f"format: {name}": of.of(failed) == 1 for name, failed in checked(of.table).failed.items()}
    if similarity:
        vectors = encode_cached(of.table.texts, text_encoder(), progress=lambda done, total: told("vectors", done, total))
        kept = meaning(vectors, of, similarity)
        why |= {FAR: kept.far, TURNED: kept.turned}
    if nli is not None:
        chance = entailed(nli, of.originals, of.table.texts, None, lambda done, total: told("entailment", done, total))
        why |= {UNENTAILED: unentailed(chance, of)}
    return why


def _measures(
    of: Candidates, audits: Sequence[TextAudit], units: Units, eps: float, told: Told
) -> tuple[list[tuple[Measure, Objective]], np.ndarray]:
    """Every objective, and fidelity float64[cells, candidates]: the mean of its measures."""
    objectives: list[tuple[Measure, Objective]] = []
    fidelity: list[np.ndarray] = []
    for number, audit in enumerate(audits):
        for measure in measured(audit, of.table).measures:
            if measure.fidelity:
                fidelity.append(of.of(measure.values))
            if measure.objective:
                values = units.of(of.of(standing_in(measure)))
                objectives.append((measure, Objective(measure.name, values, eps * base_disparity(values, units.sides))))
        told("audits", number + 1, len(audits))
    if not objectives or not fidelity:
        what = (
            "objective: a disparity to hold"
            if not objectives
            else "fidelity: nothing would tell whether texts still speak to their audience"
        )
        raise EvenhandError(
            f"The audits {', '.join(a.name for a in audits)} have no {what}. Expected: persuasion and fidelity, or audits of your own with "
            "objective=True and fidelity=True. To do: name another one too."
        )
    return objectives, np.asarray(np.mean(fidelity, axis=0))


def _refused(
    of: Candidates, index: np.ndarray, why: Mapping[str, np.ndarray], chosen: Chosen, units: Units, grid: Grid, values: Sequence[np.ndarray]
) -> dict[tuple[int, int], tuple[str, ...]]:
    """(cell, candidate) → reasons, of every text but originals and the chosen ones. A cell in several units is the last one's."""
    alone = np.zeros((*of.row.shape, len(chosen.constraints)), bool)
    alone[units.cells] = chosen.alone
    out: dict[tuple[int, int], tuple[str, ...]] = {}
    undefined = np.zeros(of.row.shape, bool)
    for one in values:
        lacks = ~(np.isfinite(one) if one.ndim == 3 else np.isfinite(one).all(axis=3))
        undefined[units.cells] |= lacks & ~lacks[:, :, :1]
    for cell, candidate in np.argwhere(of.there).tolist():
        if candidate == 0 or candidate == index[cell]:
            continue
        reasons = [name for name, failed in why.items() if failed[cell, candidate]]
        if not reasons:
            reasons = [UNDEFINED] if undefined[cell, candidate] else []
            reasons += [name for name, failed in zip(chosen.constraints, alone[cell, candidate]) if failed]
        out[cell, candidate] = tuple(reasons) or (UNCHOSEN,)
    return out


def _selection(
    settings: Mapping[str, str], of: Candidates, index: np.ndarray, chosen: Chosen, refused: Mapping[tuple[int, int], tuple[str, ...]],
    fallen: Sequence[Fall], measures: Sequence[Measure], units: Units, allowed: np.ndarray,
) -> Selection:  # fmt: skip
    there = of.there[units.cells].any(axis=(1, 2))
    counts = Counter(reason for reasons in refused.values() for reason in reasons if reason != UNCHOSEN)
    sources = Counter(of.table.source[row] for row in of.rows(index).tolist() if row >= 0)
    kept = float(chosen.kept[there].mean())
    searched = int((~chosen.exact[there]).sum())
    what = "pairs" if settings["chosen at once"] == "matched pairs" else "blocks"
    sentences = [
        f"In {100 * kept:.0f}\u00a0% of {int(there.sum()):,} {what} no assignment of candidates passed the gate, and the originals were kept.",
        "A candidate's refusals are of it alone, among the originals; several together may pass where each alone does not.",
    ]
    if searched:
        sentences.append(
            f"{searched:,} {what} have over 100,000 assignments: of these, those were looked at that coordinate descent comes by."
        )
    signed = [one for measure in measures for one in signed_gaps(measure, of, index, allowed)]
    sentences += [one.sentence for one in signed if one.is_fresh]
    return Selection(
        settings, int(there.sum()), int(of.there.sum() - of.there[:, 0].sum()), dict(counts.most_common()), kept, dict(sources.most_common()),
        tuple(fallen), tuple((s.measure, s.axis, s.originals, s.chosen) for s in signed), tuple(sentences),
    )  # fmt: skip


def _unit_label(grid: Grid, units: Units, unit: int) -> str:
    """What its cells have in common."""
    rows = [grid.row(int(c)) for c in units.cells[unit]]
    return " / ".join(v for n, v in rows[0].items() if all(r[n] == v for r in rows))

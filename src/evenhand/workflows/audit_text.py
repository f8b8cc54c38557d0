"""Audit texts for many audiences: do versions of one message differ in more than they should?"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.engines import Engine
from evenhand.engines.asked import asked, unheard
from evenhand.engines.here import processes
from evenhand.report import Report
from evenhand.report.texts import TEXTS
from evenhand.texts.audit import Measure, TextAudit
from evenhand.texts.audits.formality import Formality
from evenhand.texts.audits.lexical import Lexical
from evenhand.texts.audits.persuasion import Persuasion
from evenhand.texts.checks import checked
from evenhand.texts.findings import AuditFinding, Example, Gap, Moved, Run, TextFindings
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.reading.tagger import tagged
from evenhand.texts.rows import Read, read_texts
from evenhand.texts.statistics.gaps import gaps, level, usable
from evenhand.texts.statistics.holm import holm
from evenhand.texts.statistics.moves import moved
from evenhand.texts.statistics.verdicts import requirements
from evenhand.texts.table import TextTable
from evenhand.workflows.progress import Progress, Told, shown
from evenhand.workflows.text_audits import Instrument, audits_named, measured, with_instruments

MOST_SHOWN = 200  # matched texts on a private page

FORMULAS: Mapping[str, str] = {
    "signed gap": "mean over blocks of (mean of the second value's texts - mean of the first's); interval by Student t over blocks, p by flips of "
    "sign or permutations of labels inside blocks",
    "d": "signed gap over the standard deviation of single texts",
    "systematic gap": "root of the mean over pairs of (m_a - m_b)^2 - s_a^2/k - s_b^2/k, with the sign of that mean: what is left of the gaps "
    "of pairs once the noise of single draws is taken off; p by dealing a pair's draws anew",
    "|gap| and its null": "mean over pairs of |m_a - m_b|, beside what it would be if a pair's draws were dealt at random",
    "p after Holm": "p times the number of tests that are not settled by smaller ones (Holm 1979), over all tests of a run",
}
CHOSEN = (
    "The texts of “{}” were chosen by what is measured here, blocks and texts of a cell together: they are not draws. So its gaps and means are given "
    "without intervals and power, and its p-values hold for these very texts at most: no requirement passes, and nothing counts as an improvement by "
    "them. What other texts of the same choices are like, falls on fresh draws say."
)
LIMITS = (
    "A measure counts words, or asks a model that was trained on other texts: it is a sign of a disparity, not the disparity itself.",
    "Gaps are of these texts' generator, with this wording and these settings; another model or another temperature has others.",
    "A group's texts may differ for good reasons: fidelity says whether they speak to their audience, not whether they should.",
    "Where nothing is found, an effect smaller than the one that would have been found may be there.",
)


def audit_text(
    texts: Any,
    *,
    grid: str | Path | Grid,
    audits: Sequence[str | TextAudit] = ("persuasion", "formality", "emotion", "lexical", "fidelity"),
    base: str = "",
    selected: Sequence[str] = ("selected",),
    tolerance: float = 0.25,
    usable_only: bool = False,
    agency: str | Path | None = None,
    formality_model: Instrument = None,
    emotion_model: Instrument = None,
    nli: Instrument = None,
    show_text: int = 0,
    permutations: int = 2000,
    seed: int = 0,
    title: str = "",
    note: str = "",
    simulated: bool = False,
    cache: Path | None = None,
    jobs: int | None = None,
    engine: str | Engine = "here",
    address: str | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Five audits of texts that were written for the cells of a grid, as a report: what differs between matched groups beyond chance, and
    by how much; how well the texts speak to their audience.

        evenhand.audit_text("texts.jsonl", grid="climate").save("audit")

    Args:
        texts: A table with the grid's columns and text; where there are any, run (stages, models), source and draw. In Python also in
            memory.
        grid: The grid that the texts were written for: climate, vaccination, or a TOML file.
        audits: Audits to run: file names of texts/audits/, ./FILE.py:NAME, an entry point's name, or objects.
        base: The run that others are compared with; default: the first one.
        selected: Runs whose texts were chosen by what is measured here: nothing passes, or counts as an improvement, by them. Default: the
            run that `select` writes.
        tolerance: Largest accepted signed gap, in standard deviations of single texts.
        usable_only: Audit only texts that pass the checks of format; default: all, as they are.
        agency: Verbs of high and low agency, in the format of connotation frames (columns verb, agency); default: lists of our own.
        formality_model: Folder of a classification model of transformers: a second instrument for formality.
        emotion_model: Likewise for emotions; default: MiniLM.
        nli: Folder of a model of natural language inference: fidelity also by what a text entails.
        show_text: Matched texts to show side by side, on a private page.
        permutations: Random flips, permutations and deals of each test.
        seed: Seed of permutations.
        title: Title of the report.
        note: A sentence for the reader of the report.
        simulated: Say in the report that the texts were made up.
        cache: Folder for what was read of each text; default: the user's cache folder.
        jobs: Workers that tag words at once; 0 = one a core. Default: this process alone, on Ray one a core.
        engine: Who tags words: this machine (here) or the workers of a Ray cluster (ray; extra ray).

    `address` means what it means in `compare`.
    Raises DataError with line and column for what is wrong in the table or the grid; EvenhandError for settings out of range.
    """
    if not 0 < tolerance < np.inf:
        raise EvenhandError(
            f"Found a tolerance of {tolerance:g}. Expected: a number above 0. To do: 0.25 is a quarter of a standard deviation."
        )
    if not 0 <= show_text <= MOST_SHOWN:
        raise EvenhandError(f"Found {show_text} texts to show. Expected: 0 to {MOST_SHOWN}. To do: 20 are a page to read.")
    if permutations < 100:
        raise EvenhandError(f"Found {permutations} permutations. Expected: 100 or more. To do: 2,000 are enough for p of .01.")
    found = load_grid(grid)
    given = with_instruments(
        audits_named(audits), agency=agency, formality_model=formality_model, emotion_model=emotion_model, nli=nli, cache=cache
    )
    read = read_texts(texts, found)
    with shown(progress) as told:
        if jobs is not None or engine != "here" or address is not None:
            _tag(read, given, cache, jobs, engine, address, told)
        findings = audited(_ordered(read, base), given, found, selected, tolerance, usable_only, permutations, seed, told)
    about = _facts(read, found, given, seed, permutations, usable_only)
    examples = tuple(_examples(findings, read, show_text))
    return Report(
        replace(
            findings, title=title or f"Texts of {read.source}", exclusions=read.exclusions, facts=about, simulated=simulated, command=command,
            note=note, examples=examples,
        ),
        TEXTS,
    )  # fmt: skip


def _tag(
    read: Read, audits: Sequence[TextAudit], cache: Path | None, jobs: int | None, engine: str | Engine, address: str | None, told: Told
) -> None:
    """Words of all texts are tagged by the engine's workers before any audit asks for them, which then finds them in the cache."""
    if not any(isinstance(audit, Formality | Lexical | Persuasion) for audit in audits):
        raise unheard("audits that tag no words", "persuasion, formality or lexical among them, whose words workers tag")
    texts = [text for table in read.runs.values() for one in (table, table.hidden()) for text in one.texts]
    with asked(engine, address, processes(jobs or 0), jobs or 0) as works:
        tagged(texts, cache, lambda done, total: told("tags", done, total), works)


Of = tuple[str, Measure, TextTable]  # an audit's name, what it measured, and of which texts


def audited(
    tables: Mapping[str, TextTable],
    audits: Sequence[TextAudit],
    grid: Grid,
    selected: Sequence[str],
    tolerance: float,
    usable_only: bool,
    permutations: int,
    seed: int,
    told: Told,
) -> TextFindings:
    """What the audits find in each run, and between each other run and the first."""
    runs, every = [], {}
    steps = len(tables) * 2 * len(audits)
    for number, (name, table) in enumerate(tables.items()):
        check = checked(table)
        kept = table.take(check.usable) if usable_only else table
        if not len(kept):
            raise EvenhandError(
                f"No text of run '{clip(name)}' is usable. Expected: messages. To do: look at the checks, or audit all texts."
            )
        run, measures = _run(
            name, kept, audits, permutations, seed, lambda done, at=number: told("audits", at * 2 * len(audits) + done, steps)
        )
        refused = {check_name: int(failed.sum()) for check_name, failed in check.failed.items() if failed.any()}
        runs.append(replace(run, usable=usable(check.usable, table), refused=refused, selected=name in selected))
        every[name] = measures
    first = next(iter(every.values()))
    changes = tuple(m for name, measures in list(every.items())[1:] for m in _moved(name, first, measures, seed))
    changes = tuple(replace(m, change="undecided") if m.change == "improved" and m.run in selected else m for m in changes)
    required, verdict = requirements(runs, tolerance)
    limits = (*(CHOSEN.format(run.name) for run in runs if run.selected), *LIMITS)
    return TextFindings(
        "", grid.name, tuple((a.name, a.labels, a.matched) for a in grid.axes), len(grid), grid.blocks,
        {a.name: len(grid.pairs(a)) for a in grid.matched}, tuple(runs), changes, required, verdict, formulas=FORMULAS, limits=limits,
    )  # fmt: skip


def _moved(name: str, first: Sequence[Of], measures: Sequence[Of], seed: int) -> Iterator[Moved]:
    """As written, then with names hidden: intervals are simultaneous over each."""
    for masked in (False, True):
        before, after = ([one for one in run if one[2].masked == masked] for run in (first, measures))
        yield from moved(name, before, after, seed=seed)


def _run(name: str, table: TextTable, audits: Sequence[TextAudit], permutations: int, seed: int, told: Any) -> tuple[Run, list[Of]]:
    every: list[Gap] = []
    levels, both, done = [], [], 0
    said: list[AuditFinding] = []
    for text in (table, table.hidden()):
        for audit in audits:
            found = measured(audit, text)
            for measure in found.measures:
                if measure.compared:
                    every += gaps(audit.name, measure, text, seed=seed, permutations=permutations)
                levels.append(level(audit.name, measure, text))
                both.append((audit.name, measure, text))
            formulas = {m.name: m.formula for m in found.measures}
            notes = {m.name: m.note for m in found.measures if m.note}
            said.append(AuditFinding(audit.name, text.masked, formulas, notes, found.tests, found.tables, found.sentences))
            done += 1
            told(done)
    cells = len(np.unique(table.cell))
    corrected, tests = holm(every, [t for a in said for t in a.tests])
    own = iter(tests)
    audited = tuple(replace(a, tests=tuple(next(own) for _ in a.tests)) for a in said)
    return Run(
        name, len(table), cells, table.draws, usable(np.ones(len(table), bool), table), {}, corrected, tuple(levels), audited, table.fingerprint,
    ), both  # fmt: skip


def _ordered(read: Read, base: str) -> dict[str, TextTable]:
    """The base first. Raises EvenhandError where there is no such run, or nothing to audit."""
    some = {name: table for name, table in read.runs.items() if len(table)}
    if not some:
        why = ", ".join(f"{reason} ({n:,})" for reason, n in sorted(read.exclusions.reasons.items()))
        raise EvenhandError(
            f"No text of {clip(read.source)} is left to audit: {why}. Expected: texts of cells that differ in a matched axis. "
            "To do: add what is missing."
        )
    if base and base not in some:
        raise EvenhandError(f"There is no run '{clip(base)}'. Expected: one of {clip(', '.join(some), 200)}. To do: name one of them.")
    first = base or next(iter(some))
    return {first: some[first], **{name: table for name, table in some.items() if name != first}}


def _facts(read: Read, grid: Grid, audits: Sequence[TextAudit], seed: int, permutations: int, usable_only: bool) -> dict[str, str]:
    return {
        "texts": read.source,
        "texts sha256": read.fingerprint,
        "grid": grid.name,
        "grid sha256": grid.fingerprint,
        "audits": ", ".join(a.name for a in audits),
        "audited": "texts that pass the checks of format" if usable_only else "all texts, usable or not",
        "permutations": f"{permutations:,}, seed {seed}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("evenhand", "numpy", "scipy")),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _examples(found: TextFindings, read: Read, most: int) -> Iterator[Example]:
    """Matched texts of the first draws, blocks apart as far as they go."""
    if not most:
        return
    tables = {run.name: read.runs[run.name] for run in found.runs}
    grid = next(iter(tables.values())).grid
    axis = grid.matched[-1]
    pairs = grid.pairs(axis)
    order = np.lexsort((pairs[:, 0] // grid.size, pairs[:, 0] % grid.size))
    shown = 0
    for pair in pairs[order].tolist():
        for name, table in tables.items():
            texts = {int(c): t for c, t, p in zip(table.cell, table.texts, table.place) if p == 0 and int(c) in pair}
            if len(texts) == 2:
                yield Example(tuple(grid.label(c) for c in pair), name, tuple(texts[c] for c in pair))
                shown += 1
        if shown >= most:
            return

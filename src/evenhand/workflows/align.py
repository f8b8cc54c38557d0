"""From one message for many audiences to texts that treat matched groups alike: originals, candidates, gate and selection, training, audits, choice.

Each stage's files are plain JSON lines in the folder, and each is what a verb of its own reads and writes. A stage whose files are there is not
done again: whatever ends the process, the same call goes on.

    prompts.jsonl                 the prompts; prompts-audited.jsonl: those whose texts are audited, which no training sees
    originals.jsonl               k drafts of each; drafts.jsonl: the same numbered anew, where some did not come
    revisions.jsonl               what the model made of some of them
    candidates.jsonl              all of these, and what rules made of each draft; candidates-….jsonl: its parts
    selected/                     what gate and selection took of all candidates (evenhand select); before a training: selected-train/, of the blocks
                                  that are trained on, with sft.jsonl and dpo.jsonl
    selected-1/, selected-2/, …   what they took of the blocks that are audited (selected-held1, … where others are trained on), once from each
                                  hand: a hand is dealt drafts of its own and their revisions, so that what is selected has draws, too
    sft/, dpo/                    adapters
    texts-sft.jsonl, …            what the trained model writes for the prompts that are audited
    texts.jsonl                   every run on the cells that are audited, as many draws of each: what the report is of
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evenhand import writing
from evenhand.core import DataError, EvenhandError
from evenhand.parts import sources
from evenhand.report import Report
from evenhand.texts.alignment.recipe import Recipe
from evenhand.texts.audit import TextAudit
from evenhand.texts.findings import Choice, Selection, Trained
from evenhand.texts.generators.endpoint import Endpoint
from evenhand.texts.generators.places import files_sha256, folder_of, short
from evenhand.texts.generators.wordings import AS_GIVEN, PLAIN, checked
from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.held import held_out
from evenhand.texts.revising.rules import reworded
from evenhand.texts.rows import jsonl, read_texts
from evenhand.texts.sample_texts import sample
from evenhand.texts.selecting.choice import choice
from evenhand.texts.table import ORIGINAL, TextTable
from evenhand.training.watched import watching
from evenhand.workflows import selected
from evenhand.workflows.alignment_folder import KIND, Folder, Row, lines_of
from evenhand.workflows.audit_text import audit_text
from evenhand.workflows.generate import generate
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.select import select
from evenhand.workflows.selected import selection_of
from evenhand.workflows.text_audits import Instrument, audits_named, instruments_said, read_once, with_instruments
from evenhand.workflows.tracking import Tracker, figures_of_texts, tracking

REVISION = "revision"  # the source of what a model made of drafts
SELECTED = "selected"  # the run after the originals
STAGES = {"sft": "SFT", "dpo": "SFT + DPO"}  # file names → runs, after those
STRANGER = (
    "The originals were not written by the model that was trained: what sets its texts apart from them is that it is another model, beside what it "
    "learned."
)


@dataclass(frozen=True, repr=False)
class Aligned:
    """report: every stage on the cells that are audited. folder: with the files of each stage."""

    report: Report
    folder: Path

    @property
    def choice(self) -> Choice | None:
        """Which run to use; None where the audits have no disparity or no fidelity to choose by."""
        found: Choice | None = self.report.findings.choice
        return found

    def __repr__(self) -> str:
        return f"Aligned, in {self.folder}\n{self.report}"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def align(
    grid: str | Path | Grid | None = None,
    *,
    out: str | Path,
    demo: bool = False,
    originals: Any = None,
    model: str | None = None,
    endpoint: str | None = None,
    wording: str | None = None,
    k: int = 8,
    revisions: int = 4,
    reviser: str | None = None,
    counterpart: bool = False,
    train: bool = False,
    dpo: bool = False,
    student: str | None = None,
    held: float = 0.25,
    draws: int = 4,
    audits: Sequence[str | TextAudit] = ("persuasion", "formality", "emotion", "lexical", "fidelity"),
    reward: str | Path | None = None,
    agency: str | Path | None = None,
    formality_model: Instrument = None,
    emotion_model: Instrument = None,
    nli: Instrument = None,
    eps: float = 0.1,
    eps_fidelity: float = 0.01,
    epochs: int = 1,
    lr: float = 2e-4,
    dpo_lr: float = 5e-5,
    beta: float = 0.1,
    rank: int = 16,
    most_examples: int = 0,
    temperature: float = 0.7,
    tolerance: float = 0.25,
    rho: float = 0.1,
    fall: float = 0.02,
    device: str | None = None,
    seed: int = 0,
    show_text: int = 0,
    permutations: int = 2000,
    title: str = "",
    note: str = "",
    command: str = "",
    track: str | Tracker | None = None,
    say: Callable[[str], None] = lambda note: None,
    progress: Progress | None = None,
) -> Aligned:
    """Write texts for every audience, revise them, let through what treats matched groups more alike, train a model on it if asked, audit
    every stage on the same cells, and choose one.

        evenhand.align("climate", out="out", train=True, dpo=True).report

    Args:
        grid: The grid: climate, vaccination, or a TOML file. Not with --demo.
        out: Folder for the files of all stages; the same call goes on where an earlier one ended.
        demo: Use the sample that ships in place of a model's texts.
        originals: Texts of the grid's cells in place of a model's: a table with the grid's columns and text, in Python also in memory.
        model: Writes the originals: smollm2, a folder of transformers, a GGUF file, a name in the Hugging Face cache, or one that the endpoint knows.
        endpoint: URL of an OpenAI-compatible server that writes and revises; its token is read from the environment variable EVENHAND_TOKEN.
        wording: How a prompt is put: a text with {prompt} or the grid's columns. Default: the grid's template.
        k: Drafts of each prompt, where a model writes them.
        revisions: Drafts of each prompt that a model revises; 0 = rules alone revise.
        train: Train a model on what was selected (SFT), and audit what it writes where it was not trained.
        dpo: Go on from there with DPO, selected texts against others of the same prompt; includes --train.
        student: Model that is trained, on this machine. Default: the model that writes the originals, or smollm2.
        held: Share of blocks that no training sees, and whose texts are audited.
        draws: Texts of each prompt in every run that is audited; of originals that are given as many as they have, at most. Selection has k / draws
            drafts for each, and their revisions.
        reward: Folder of a saved reward model; its reward for everybody is one more objective of selection.
        nli: Folder of a model of natural language inference, for meaning and fidelity in the gate and fidelity in the audits.
        eps: What the gate lets a disparity grow by, in shares of the originals' mean disparity.
        eps_fidelity: What the gate lets fidelity fall by.
        epochs: Passes over the examples of each training.
        lr: Highest learning rate of SFT.
        dpo_lr: Highest learning rate of DPO.
        beta: How dear it is to DPO to leave what SFT learned.
        rank: Rank of LoRA on all linear layers.
        most_examples: Examples of each training at most, drawn at random; 0 = all.
        temperature: of sampling.
        rho: By what share an audit's disparity may be above the originals' in the choice.
        fall: By how much fidelity may be below the originals' in the choice.
        device: cpu, cuda. Default: cuda where there is one.
        seed: Seed of drafts, of which blocks are held out, of training and permutations.
        title: Title of the report.
        note: A sentence for the reader of the report.
        say: is told what an earlier start left of a training.

    Parameters without a sentence here mean what they mean in `audit_text` and `generate`.

    Raises DataError for a grid that is wrong, and for a folder that holds what other settings wrote; EvenhandError for settings out of range.
    """
    train = train or dpo
    _check_inputs(demo, grid, originals, train, endpoint, student)
    of, given = sample() if demo else _given(grid, originals)
    wanted = draws
    if given is not None:
        k, revisions = given.draws, revisions if model or endpoint or reviser else 0
        draws = min(draws, k)
    _check(k, draws, revisions, held, most_examples)
    judging = [a for a in ([audits] if isinstance(audits, str) else audits) if a != "lexical"]
    instruments: dict[str, Any] = read_once(agency, formality_model, emotion_model, nli)
    with_instruments(audits_named(judging), **instruments)  # what is wrong is said before anything is written
    _check_models(given, model, endpoint, reviser if revisions else None, student if train else None)
    run = Folder(Path(out), of, seed, say, progress)
    run.same_settings({
        "grid": of.name, "grid sha256": of.fingerprint, "originals": "by the model" if given is None else given.fingerprint,
        "model": model or "", "endpoint": endpoint or "", "wording": wording or "", "k": k, "revisions": revisions, "reviser": reviser or "",
        "counterpart": counterpart, "held": held, "draws": draws, "eps": eps, "eps_fidelity": eps_fidelity, "temperature": temperature, "seed": seed,
        **instruments_said(**instruments),
        **_contents(judging, reward),
    })  # fmt: skip
    about = {
        "verb": "align", "source": of.name, "command": command, "grid sha256": of.fingerprint, "k": k, "revisions": revisions, "draws": draws,
        "held": held, "train": train, "dpo": dpo, "lr": lr, "dpo lr": dpo_lr, "beta": beta, "rank": rank, "epochs": epochs, "seed": seed,
        "models": ", ".join(short(m) for m in (model, student) if m), "temperature": temperature, "eps": eps, "eps fidelity": eps_fidelity,
    }  # fmt: skip
    with tracking(track, lambda: about, say) as tracked:
        blocks = held_out(of, held, seed) if train else np.ones(of.blocks, bool)
        _write_prompts(run, wording or _plain(of, model, endpoint) or AS_GIVEN, blocks)
        writer = {"model": model, "endpoint": endpoint, "temperature": temperature, "seed": seed, "device": device, "progress": progress}
        drafts = _drafts(run, given, writer, k)
        made = _revisions(run, drafts, writer, revisions, reviser, counterpart) if revisions else []
        every = run.once("candidates.jsonl", lambda: _candidates(run, drafts, made))
        gate = {
            "audits": judging, "eps": eps, "eps_fidelity": eps_fidelity, "reward": reward,
            "seed": seed, "progress": progress, **instruments,
        }  # fmt: skip
        to_learn, selection = _selected(run, every, ~blocks if train else blocks, "train" if train else "", gate, range(k))
        texts = _audited_texts(run, drafts, every, blocks, gate, k, draws)
        trained: list[Trained] = []
        pupil, stranger = _pupil(given, model, endpoint, student)
        for name in (("sft", "dpo") if dpo else ("sft",)) if train else ():
            recipe = Recipe(dpo_lr if name == "dpo" else lr, rank=rank, epochs=epochs, device=device, seed=seed)
            with watching(partial(tracked.standing, STAGES[name], {})):
                trained.append(_train(run, name, to_learn, pupil, recipe, beta, most_examples))
            texts += _said(run, name, pupil, draws, blocks, temperature, device)
        report = _report(
            run, texts, selection, trained, blocks, train and stranger, rho, fall, (wanted, draws), audits=audits, tolerance=tolerance, show_text=show_text, permutations=permutations,
            title=title or f"Alignment of {of.name}", note=note, simulated=demo, command=command, **instruments,
        )  # fmt: skip
        tracked.finish(report, figures_of_texts)
    return Aligned(report, run.folder)


def _contents(judging: Sequence[str | TextAudit], reward: str | Path | None) -> dict[str, str]:
    """The gate's audits and reward as they are, wherever they lie: names, and SHA-256 of code from outside the package and of a model's files."""
    audits = audits_named(judging)
    code = [digest for audit in audits for digest in sources(audit)]
    is_folder = reward is not None and Path(reward).is_dir()
    said = {"audits of the gate": ", ".join(a.name for a in audits), "reward": "" if is_folder else str(reward or "")}
    named = {"audits of the gate sha256": ", ".join(code), "reward sha256": files_sha256(Path(str(reward))) if is_folder else ""}
    return said | {name: digest for name, digest in named.items() if digest}


def _check_inputs(
    demo: bool, grid: str | Path | Grid | None, originals: Any, train: bool, endpoint: str | None, student: str | None
) -> None:
    """Raises EvenhandError for options that exclude each other."""
    if demo and (grid is not None or originals is not None):
        raise EvenhandError("Found a grid, or texts, and a demo, which has its own. Expected: one of them. To do: leave --demo out.")
    if train and endpoint and not student:
        raise EvenhandError(
            "Found --train and --endpoint. Expected: a model on this machine to train. To do: name it with --student; smollm2 is there."
        )


def _check_models(given: TextTable | None, model: str | None, endpoint: str | None, reviser: str | None, student: str | None) -> None:
    """Raises EvenhandError where a model of this machine is none: a folder that says its name would refuse the right one."""
    if endpoint:
        Endpoint(endpoint, model)
    here = (None if given is not None and model is None else model or "smollm2", reviser) if not endpoint else ()
    for name in (*here, student):
        if name is not None:
            folder_of(name)


def _check(k: int, draws: int, revisions: int, held: float, most_examples: int) -> None:
    valid = {
        "k": (k, 1 <= k <= 1000, "from 1 to 1,000"),
        "draws": (draws, 1 <= draws <= k, f"from 1 to k = {k}: each hand is dealt one draft of a prompt at least"),
        "revisions": (revisions, 0 <= revisions <= k, f"from 0 to k = {k}"),
        "held": (held, 0 < held < 1, "above 0 and under 1"),
        "most-examples": (most_examples, most_examples >= 0, "0 for all, or more"),
    }
    for name, (value, good, expected) in valid.items():
        if not good:
            raise EvenhandError(f"Found --{name} {value}. Expected: {expected}. To do: correct it, or leave it out.")


def _given(grid: str | Path | Grid | None, originals: Any) -> tuple[Grid, TextTable | None]:
    """The grid, and the texts that take the place of a model's where there are any."""
    if grid is None:
        raise EvenhandError("Found no grid. Expected: climate, vaccination, a TOML file, or --demo. To do: name one of these.")
    of = load_grid(grid)
    if originals is None:
        return of, None
    read = read_texts(originals, of, together=True)
    table = next(iter(read.runs.values()), None)
    if table is None:
        why = ", ".join(f"{reason} ({n:,})" for reason, n in sorted(read.exclusions.reasons.items()))
        raise DataError(
            f"no text can be used: {why}", expected="texts of the grid's cells", remedy="check the column text", file=read.source
        )
    return of, replace(table, draw=table.place, source=(ORIGINAL,) * len(table))


def _plain(grid: Grid, model: str | None, endpoint: str | None) -> str | None:
    """What the smallest model is asked by default, of a grid whose own prompts it does not follow."""
    small = not endpoint and (model or "smollm2") == "smollm2"
    return PLAIN[grid.name] if small and grid.name in PLAIN and load_grid(grid.name) == grid else None


def _write_prompts(run: Folder, wording: str, audited: np.ndarray) -> None:
    """Prompts as they are put to every model, so that one that is trained is asked as it was trained."""
    given = checked(wording, ["prompt", *run.grid.columns], "")

    def rows(cells: Iterable[int]) -> Iterator[Row]:
        for cell in cells:
            row = run.grid.row(cell)
            yield {**row, "prompt": given.format(**row, prompt=run.grid.prompt(cell))}

    run.once("prompts.jsonl", lambda: rows(range(len(run.grid))))
    looked_at = np.flatnonzero(np.repeat(audited, run.grid.size)).tolist()
    run.once(_audited(audited), lambda: rows(looked_at))


def _audited(blocks: np.ndarray) -> str:
    """The file of the prompts that are audited: all of them, or those that are held out."""
    return "prompts.jsonl" if blocks.all() else "prompts-audited.jsonl"


def _drafts(run: Folder, given: TextTable | None, writer: Mapping[str, Any], k: int) -> Path:
    """The originals: texts that are given, or k drafts of each prompt by a model."""
    if given is not None:
        return run.once("originals.jsonl", lambda: run.rows(given, ORIGINAL))
    path = run.folder / "originals.jsonl"
    generate(run.folder / "prompts.jsonl", out=path, k=k, wording=AS_GIVEN, run=ORIGINAL, source=ORIGINAL, **writer)
    rows = lines_of(path)
    numbered = list(_numbered(run, rows))
    return path if numbered == rows else run.once("drafts.jsonl", lambda: numbered)


def _numbered(run: Folder, rows: Iterable[Row]) -> Iterator[Row]:
    """Drafts numbered 0, 1, … in each cell: where one did not come, rules and revisions would number those after it otherwise."""
    count: Counter[int] = Counter()
    for row in rows:
        cell = run.cell(row)
        yield {**row, "draw": count[cell]}
        count[cell] += 1


def _revisions(run: Folder, drafts: Path, writer: Mapping[str, Any], revisions: int, reviser: str | None, counterpart: bool) -> list[Path]:
    """What a model made of the first drafts of each prompt."""
    some = run.once("to-revise.jsonl", lambda: (row for row in lines_of(drafts) if row["draw"] < revisions))
    axis = run.grid.matched[0].name if counterpart else None
    path = run.folder / "revisions.jsonl"
    generate(
        run.folder / "prompts.jsonl", out=path, revise=some, reviser=reviser, counterpart=counterpart, axis=axis, run=REVISION, source=REVISION, **writer,
    )  # fmt: skip
    return [path]


def _candidates(run: Folder, drafts: Path, made: Sequence[Path]) -> Iterator[Row]:
    """Originals, what rules make of each, and revisions by a model."""
    yield from run.rows(reworded(run.table(drafts)), "candidates")
    for path in made:
        yield from ({**row, "run": "candidates"} for row in lines_of(path))


def _selected(
    run: Folder, every: Path, blocks: np.ndarray, name: str, gate: Mapping[str, Any], drafts: Iterable[int]
) -> tuple[Path, Selection]:
    """Gate and selection among these drafts of these blocks' prompts, and their revisions: the folder with what was selected."""
    number = {draw: i for i, draw in enumerate(drafts)}

    def rows() -> Iterator[Row]:
        for row in lines_of(every):
            if blocks[run.cell(row) // run.grid.size] and row["draw"] in number:
                yield {**row, "draw": number[row["draw"]]}

    part = run.once(f"candidates-{name}.jsonl", rows) if name else every
    folder = run.folder / (f"selected-{name}" if name else SELECTED)
    writing.check(folder, selected.FILES, selected.KIND)
    if not (folder / "selection.json").exists():
        select(part, grid=run.grid, out=folder, **gate)
    return folder, selection_of(folder / "selection.json")


def _audited_texts(run: Folder, originals: Path, every: Path, blocks: np.ndarray, gate: Mapping[str, Any], k: int, draws: int) -> list[Row]:
    """Of the cells that are audited, the first draft of each hand, which the gate compared with, and what is selected from each hand."""
    whose = "" if blocks.all() else "held"
    hands = [_selected(run, every, blocks, f"{whose}{hand + 1}", gate, range(hand, k - k % draws, draws))[0] for hand in range(draws)]
    texts: list[Row] = [
        {**row, "run": ORIGINAL} for row in lines_of(originals) if blocks[run.cell(row) // run.grid.size] and row["draw"] < draws
    ]
    for hand, folder in enumerate(hands):
        texts += [{**row, "run": SELECTED, "source": SELECTED, "draw": hand} for row in lines_of(folder / "selected.jsonl")]
    return texts


def _pupil(given: TextTable | None, model: str | None, endpoint: str | None, student: str | None) -> tuple[str, bool]:
    """The model to train, and whether the originals are of another than it."""
    stranger = given is not None or bool(endpoint) or student not in (None, model or "smollm2")
    return student or (model if not stranger else None) or "smollm2", stranger


def _train(run: Folder, name: str, folder: Path, model: str, recipe: Recipe, beta: float, most: int) -> Trained:
    """One stage, of what was selected."""
    from evenhand.texts.alignment.dpo import dpo
    from evenhand.texts.alignment.sft import sft

    examples = folder / f"{name}.jsonl"
    if most and len(rows := lines_of(examples)) > most:
        taken = np.random.default_rng([run.seed, 29]).permutation(len(rows))[:most]
        examples = run.once(f"{name}-examples-{most}.jsonl", lambda: (rows[i] for i in sorted(taken)))
    with shown(run.progress) as told:
        given: dict[str, Any] = {
            "model": model,
            "out": run.folder / name,
            "recipe": recipe,
            "say": run.say,
            "progress": lambda done, of: told(name, done, of),
        }
        return sft(examples, **given) if name == "sft" else dpo(examples, adapter=run.folder / "sft", beta=beta, **given)


def _said(run: Folder, name: str, model: str, draws: int, blocks: np.ndarray, temperature: float, device: str | None) -> Iterator[Row]:
    """What a trained model writes for the prompts that are audited."""
    found = generate(
        run.folder / _audited(blocks), out=run.folder / f"texts-{name}.jsonl", model=model, adapter=run.folder / name, k=draws, wording=AS_GIVEN,
        run=STAGES[name], source=STAGES[name], temperature=temperature, seed=run.seed, device=device, progress=run.progress,
    )  # fmt: skip
    yield from found.rows


def _report(
    run: Folder, texts: Sequence[Row], selection: Selection, trained: Sequence[Trained], blocks: np.ndarray, stranger: bool, rho: float, fall: float,
    dealt: tuple[int, int], **audit: Any,
) -> Report:  # fmt: skip
    """Every run's audits, and which run to use. dealt: texts of a cell that were asked for, and that there are."""
    writing.write(run.folder, {"texts.jsonl": jsonl(texts)}, KIND)
    found = audit_text(run.folder / "texts.jsonl", grid=run.grid, base=ORIGINAL, seed=run.seed, progress=run.progress, **audit)
    runs = found.findings.runs
    try:
        chosen = choice(runs, rho=rho, eps=fall) if len(runs) > 1 else None
    except EvenhandError as error:  # audits that were left out
        chosen, selection = None, replace(selection, sentences=(*selection.sentences, f"No run was chosen: {error}"))
    facts = {**found.findings.facts, "audited": f"{found.findings.facts['audited']}, of {int(blocks.sum())} of {len(blocks)} blocks"}
    if dealt[0] > dealt[1]:
        facts["texts a cell"] = f"{dealt[1]} in each run, as many as the originals have: {dealt[0]} were asked for"
    if trained:
        facts["audited"] += ", which no training saw"
    limits = (*found.findings.limits, *([STRANGER] if stranger else []))
    findings = replace(found.findings, selection=selection, choice=chosen, trained=tuple(trained), facts=facts, limits=limits)
    return Report(findings, found.kind)

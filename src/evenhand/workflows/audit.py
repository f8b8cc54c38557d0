"""Audit any reward model: a saved one, or one that exists only as score columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.audits.broken import broken
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import ConstraintFindings, FairnessReport
from evenhand.audits.outcomes import Outcomes, outcomes_of
from evenhand.audits.rates import NOTIONS, Notion
from evenhand.audits.requirements import parse_requirement
from evenhand.audits.verdicts import TOLERANCE, check_requirements
from evenhand.core import DataError, EvenhandError, Exclusions, Groups, PreferenceData
from evenhand.data.splits import DEAL, MIN_PROMPTS, TEST, TRAIN, VALID, Split, deal
from evenhand.data.support import Support
from evenhand.report import Report
from evenhand.report.audit import report as report_of
from evenhand.workflows import assignments
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.compared import examined
from evenhand.workflows.facts import FORMULAS, LIMITS, facts, joined, limits, model_hash, split_digest
from evenhand.workflows.grouping import Grouping, support_of
from evenhand.workflows.score_facts import score_facts

HALVES = (0.5, 0.0, 0.5)  # of the prompts: support is computed on one half, the model judged on the other


@dataclass(frozen=True)
class Asked:
    """What an audit is held to. tolerance: the largest accepted accuracy gap, a fraction of 1. require: further requirements."""

    grouping: Grouping = Grouping()  # noqa: RUF009 - frozen, so it may be shared
    tolerance: float = TOLERANCE
    require: Sequence[str] = ()
    resamples: int = 1000
    seed: int = 0
    simulated: bool = False
    command: str = ""
    constraints: Sequence[tuple[Notion, float]] = ()  # (notion, gamma): largest accepted gap of event rates
    assignments: str | Path | None = None  # CSV for every user's group and support; private, so only where it is asked for

    def __post_init__(self) -> None:
        for notion, gamma in self.constraints:
            if notion not in NOTIONS or not 0 < gamma <= 1:
                raise EvenhandError(
                    f"Found constraint {notion}={gamma:g}. Expected: {', '.join(NOTIONS)}, with a gap above 0 and at most 1. "
                    "To do: such as dp=0.05."
                )
        if self.assignments is not None:
            assignments.check_place(Path(self.assignments))
        if self.seed < 0:
            raise EvenhandError(f"seed is {self.seed}. Expected: 0 or more. To do: 0 is usual.")
        if not 0 <= self.tolerance <= 1:
            raise EvenhandError(f"tolerance is {self.tolerance}. Expected: a fraction from 0 to 1. To do: 5 points are 0.05.")

    def check(self, groups: Groups) -> None:
        """Read the requirements, so that a typo costs no training."""
        for text in self.require:
            parse_requirement(text, groups)

    def assign(self, data: PreferenceData, *deals: Assignment) -> None:
        """Write every user's group and support in each deal where that was asked for."""
        if self.assignments is not None:
            assignments.write(Path(self.assignments), data.users, deals)


def audit(
    data: PreferenceData,
    *,
    model: str | Path | None = None,
    scores: Sequence[str] | str | None = None,
    cache: Path | None = None,
    **asked: Any,
) -> Report:
    """Audit a saved model's folder, or one or two score columns of the data: margins, or rewards of chosen and rejected.

    Further arguments are the fields of `Asked`: grouping, tolerance, require, resamples, seed, simulated, assignments.
    """
    must_be_data(data)
    if isinstance(scores, str):
        scores = [name.strip() for name in scores.split(",")]
    if model is not None and scores is None:
        return audit_model(data, model, Asked(**asked), cache)
    if model is None and scores is not None:
        return audit_scores(data, scores, Asked(**asked))
    found = "neither a model nor scores" if model is None else "both a model and scores"
    raise EvenhandError(f"Found {found}. Expected: one of them. To do: name a saved model's folder, or score columns of the data.")


def must_be_data(data: object) -> None:
    """Raises EvenhandError for anything but loaded data, such as a path."""
    if not isinstance(data, PreferenceData):
        raise EvenhandError(f"Found {type(data).__name__} as data. Expected: PreferenceData. To do: data = evenhand.load(path).")


def audit_scores(data: PreferenceData, scores: Sequence[str], asked: Asked) -> Report:
    """Audit a model by its score columns.

    A user's own choices must not decide both his or her support and how well he or she is served: the same noise would link the two. So
    test rows of a split column are audited, and support comes from train and validation rows; without a split column, prompts (or, with few,
    responses) are dealt to two halves. Groups by attributes need no such split for the verdict: then all rows are audited, and the
    support curve alone is drawn from halves. Raises DataError when a column was not loaded (`numbers=`).
    """
    dealt, tested, known, where = _halves(data, asked.seed)
    support = support_of(dealt, known, whole=data)
    groups = asked.grouping.groups(data, support)
    asked.check(groups)
    asked.assign(data, Assignment(asked.seed, groups, support.values))
    given = data.split is not None and (data.split >= 0).any()
    whole = bool(asked.grouping.attributes) and not given

    def judged(data: PreferenceData, rows: np.ndarray, split: str) -> Outcomes:
        margin = margins_of(data, scores)[rows]
        return outcomes_of(data.take(rows), margin, model=" - ".join(scores), split=split, texts_are_ids=not _has_texts(data))

    curve = judged(dealt, tested, where)
    used, rows = (data, np.ones(len(data), bool)) if whole else (dealt, tested)
    outcomes = judged(data, rows, "all rows") if whole else curve
    left = Exclusions(len(used), int(rows.sum()), {"serve for support, or in no scored part": int((~rows).sum())} if not rows.all() else {})
    more = {"scores": ", ".join(scores), "support from": f"{int(known.sum()):,} pairs, none of which is in the support curve"}
    more |= score_facts(used, scores, margins_of(used, scores))
    events = asked.grouping.events(used, groups) if asked.constraints else None
    limited = examined(asked, None, outcomes, None if events is None else events.take(rows))
    return _report(used, outcomes, curve, groups, support, left, more, asked, limited)


def _halves(data: PreferenceData, seed: int) -> tuple[PreferenceData, np.ndarray, np.ndarray, str]:
    """(the data that was dealt, rows to audit bool[n], rows for support bool[n], what the first are called)."""
    everything = np.ones(len(data), bool)
    if data.split is not None and (data.split >= 0).any():
        test = data.split == TEST
        if not test.any():
            raise no_test_pairs()
        return data, test, np.isin(data.split, (TRAIN, VALID)), "test rows of the split column"
    prompts = len(np.unique(data.prompt[data.prompt >= 0]))
    if (data.chosen < 0).any() or (prompts < MIN_PROMPTS and len(np.unique(data.chosen)) < MIN_PROMPTS):
        return data, everything, ~everything, "all rows"  # nothing to share: support is unknown, groups need an attribute
    data, split = deal(data, seed=seed, shares=HALVES, unseen_users=0.0, held_pairs=0.0)
    return data, split.rows(TEST), split.rows(TRAIN), f"half of the {split.unit}"


def _has_texts(data: PreferenceData) -> bool:
    """Whether chosen and rejected are texts, whose lengths mean something, and not missing or ids."""
    if len(data) == 0 or (data.chosen < 0).any():
        return False
    rows = np.unique(np.concatenate([data.chosen[:1000], data.rejected[:1000]]))
    return any(" " in data.texts[r].strip() for r in rows)


def margins_of(data: PreferenceData, scores: Sequence[str]) -> np.ndarray:
    """Margins float64[n] from one margin column or two reward columns."""
    if len(scores) == 1 and f"{scores[0]}_chosen" in data.numbers:  # the reward of each response, not of each pair
        scores = [f"{scores[0]}_chosen", f"{scores[0]}_rejected"]
    missing = [name for name in scores if name not in data.numbers]
    if missing or len(scores) not in (1, 2) or len(set(scores)) < len(scores):
        found = f"score columns {', '.join(missing)} were not loaded" if missing else f"score columns {', '.join(scores)}"
        remedy = "name them as --scores CHOSEN,REJECTED (in Python: load(..., numbers=[...]))"
        raise DataError(found, expected="one column of margins, or two different ones: rewards of chosen and of rejected", remedy=remedy)
    return data.numbers[scores[0]] if len(scores) == 1 else data.numbers[scores[0]] - data.numbers[scores[1]]


def audit_model(data: PreferenceData, model: str | Path, asked: Asked, cache: Path | None = None) -> Report:
    """Audit a saved model on prompts that are not read as history; users are read from their pairs on the others.

    On the very file the model was trained on, its own split is dealt again, so that no training pair is scored; DataError if the file is
    read in another way now. Of another file nobody knows what the model was trained on, and the report says so.
    """
    from evenhand.serve.reward_model import RewardModel
    from evenhand.workflows.prepare import Encoding, held_out, judged, prepare, stability  # with torch, which score columns do without

    loaded = RewardModel.load(model)
    own = loaded.facts.get("data") == data.fingerprint
    seed = int(loaded.facts["seed"]) if own else asked.seed
    whole = data
    data, split = deal(whole, seed=seed, shares=loaded.facts.get("shares", DEAL) if own else DEAL)
    if own and loaded.facts.get("split") != split_digest(split):
        expected = (
            "the same columns, source, --on-bad, --swap and split column as in `evenhand fit`, so that training pairs can be left out"
        )
        raise DataError(
            "the model was trained on this file, read in another way", expected=expected, remedy="repeat the options of the fit"
        )
    if not own:  # nobody was seen in training: whatever is not scored may be read
        split = replace(split, history=readable(split), unseen=np.ones(len(data.users), bool))
    test = split.rows(TEST)
    if not test.any():
        raise no_test_pairs()
    encoding = Encoding(loaded.encoder, loaded.with_prompt, cache=cache)
    ready = prepare(data, split, encoding, asked.grouping, feature_map=loaded.feature_map, seed=seed, whole=whole)
    asked.check(ready.groups)
    asked.assign(data, Assignment(seed, ready.groups, ready.support.values))
    where = (
        f"{held_out(split)}, the model's own split"
        if own
        else f"{'responses' if split.unit == 'responses' else 'prompts'} not read as history; whether the model was trained on them is unknown"
    )
    title = str(loaded.facts.get("title", "saved model"))
    outcomes = judged(ready, loaded.scorer, ready.counted(test), title, where)
    limited = (
        examined(asked, None, judged(ready, loaded.scorer, test, title, where), None if ready.events is None else ready.events.take(test))
        if asked.constraints
        else ()
    )
    left = Exclusions(len(data), int(test.sum()), {"read as history, or in no scored part": int((~test).sum())})
    more = {
        "model": Path(model).name,
        "model sha256": model_hash(loaded.scorer, loaded.feature_map),
        "splits": split.rule if own else f"{int(split.history.sum()):,} pairs are read as history, {int(test.sum()):,} are scored.",
        "stability": stability(ready, loaded.scorer, test, seed).sentence,
    }
    return _report(
        data, outcomes, outcomes, ready.groups, ready.support, left, more, replace(asked, seed=seed), limited, limits(loaded.reads_prompts)
    )


def readable(split: Split) -> np.ndarray:
    """bool[n]: what may be read as history on a file the model was not trained on."""
    return (split.part == TRAIN) | (split.part == VALID) | split.history


def no_test_pairs() -> DataError:
    """The error of a split without test pairs."""
    remedy = "bring more prompts, or mark some rows 'test' in the split column"
    return DataError("there are no test pairs", expected="held-out pairs to judge by", remedy=remedy)


def _report(
    data: PreferenceData,
    outcomes: Outcomes,
    curve: Outcomes,
    groups: Groups,
    support: Support,
    left: Exclusions,
    more: dict[str, str],
    asked: Asked,
    constraints: tuple[ConstraintFindings, ...],
    limits: tuple[str, ...] = LIMITS,
) -> Report:
    """The report of one model without a model to compare it with; `curve` are the outcomes that support may be held against."""
    exclusions = joined(data, left)

    def measured(some: Outcomes) -> Any:
        return examine_model(
            some, groups, support.values, support.rule, resamples=asked.resamples, seed=asked.seed, exclusions=data.exclusions
        )

    found = measured(outcomes)
    if curve is not outcomes:
        found = replace(found, support=measured(curve).support)
    return report_of(
        FairnessReport(
            title=f"Audit of {outcomes.model} on {data.source}",
            simulated=asked.simulated,
            requirements=check_requirements(outcomes, groups, asked.require, tolerance=asked.tolerance, seed=asked.seed),
            model=found,
            others=(),
            changes=(),
            cells=(),
            training=(),
            groups_rule=groups.rule,
            exclusions=exclusions,
            facts=facts(data, asked.seed, more),
            formulas=FORMULAS,
            limits=limits,
            command=asked.command,
            constraints=constraints,
            flaw=broken(outcomes, groups),
        )
    )

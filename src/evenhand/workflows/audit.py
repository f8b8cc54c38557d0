"""Audit any reward model: a saved one, one of the hub's format, or one that exists only as score columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from evenhand.audits.outcomes import Outcomes, outcomes_of
from evenhand.core import DataError, EvenhandError, Exclusions, PreferenceData, clip
from evenhand.data.batches import batches_of
from evenhand.data.canonical import canonical
from evenhand.data.rows import NUMBER_LIMIT
from evenhand.data.splits import DEAL, TEST, TRAIN, VALID, Split, deal
from evenhand.parts import calling
from evenhand.report import Report
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.batched import assign, audit_batches
from evenhand.workflows.events import examined
from evenhand.workflows.examples import ShowExamples
from evenhand.workflows.facts import LIMITS, limits, model_hash, split_digest
from evenhand.workflows.given import Constraints, GroupBy, Metrics, all_metrics, constraints_of, grouping_of, read, several
from evenhand.workflows.grouping import support_of
from evenhand.workflows.halves import halves_in_memory, no_test_pairs
from evenhand.workflows.hub_model import NO_USER, facts_of, hub_model, pair_rewards
from evenhand.workflows.model_report import report_on
from evenhand.workflows.outcome_batches import has_words
from evenhand.workflows.progress import Progress, shown, silent
from evenhand.workflows.score_columns import margins_of, no_scores
from evenhand.workflows.score_facts import score_facts
from evenhand.workflows.settings import AuditSettings

if TYPE_CHECKING:
    from evenhand.encode.hub_reward import HubRewardModel
    from evenhand.serve.reward_model import RewardModel

Ask = Callable[[Sequence[str], Sequence[str], Sequence[str]], Any]  # (prompts, responses, users) → one reward each


def audit(
    data: Any,
    scores: str | Sequence[str] | np.ndarray | None = None,
    *,
    model: RewardModel | str | Path | Ask | None = None,
    reward_model: HubRewardModel | str | Path | None = None,
    head: Any = None,
    encoder_at: str | Path | None = None,
    group_by: GroupBy = None,
    tolerance: float = 0.05,
    require: Sequence[str] = (),
    constraints: Constraints = (),
    metrics: Metrics = (),
    name: str = "",
    title: str = "",
    note: str = "",
    simulated: bool = False,
    assignments: str | Path | None = None,
    show_examples: ShowExamples | None = None,
    resamples: int = 1000,
    seed: int = 0,
    cache: Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Audit a reward model: one that was saved, one in memory, one of the hub's format, any function that scores texts, or any that left its
    scores in the data.

        evenhand.audit("choices.jsonl", scores=("reward_chosen", "reward_rejected"), group_by="country")
        evenhand.audit(data, model="out/model")
        evenhand.audit(data, reward_model="my-reward-model")  # a folder of transformers
        evenhand.audit(data, model=lambda prompts, responses, users: my_model(prompts, responses))

    Args:
        data: what `load` gives, or what it takes: a path or a table in memory. Score columns of a folder of Parquet files with over 5 million rows are
            read file by file (see `audit_partial`).
        scores: Column of margins, or two: CHOSEN,REJECTED rewards; or an array, one margin or two rewards a pair, in the order of the pairs.
        model: Folder of a saved model, a RewardModel, or a function of prompts, responses and users (lists of text) that gives their rewards.
        reward_model: Folder of a reward model of the hub's format (AutoModelForSequenceClassification), which reads no user; in Python also a
            HubRewardModel, which says on what device and in what numbers it runs.
        head: Head of a saved model that is from outside the package: ./FILE.py:NAME, or its class.
        encoder_at: Folder where the language model or encoder that a saved model stands on lies now, if it was moved.
        group_by: Attribute column to group users by; several: intersection. Default: the users with the lowest support against the others.
        tolerance: Largest accepted accuracy gap between groups: 0.05 is 5 points.
        require: Further requirements, such as 'worst_group>=0.6' or 'accuracy(minority)>=0.6'.
        constraints: Largest gaps of event rates: dp=0.05, eo=0.05 or cf=0.05.
        metrics: Further metrics: ./FILE.py:NAME of a function of margins, an entry point's name, or the function.
        name: What the model is called in the report.
        title: Title of the report.
        note: A sentence for the reader of the report.
        simulated: Say in the report that the users are simulated.
        assignments: CSV for every user's id, group and support: private, so only where you ask.
        show_examples: a private page of misordered pairs of the worst-served group: ShowExamples(pairs, folder).
        resamples: Draws of the bootstrap.
        seed: Seed of splits, training and resampling.
        cache: Folder for text vectors; default: the user's cache folder.
        command: what the report gives as the command that reproduces it.
        progress: called with (what, done, of how many); None shows a bar in a terminal or notebook, and else a line on stderr every 30 s.

    Raises EvenhandError, with what was found, what was expected and what to do, on wrong arguments and on data without pairs to judge.
    """
    if callable(scores):
        raise EvenhandError("Found a function as scores. Expected: columns or an array there. To do: audit(data, model=function).")
    if model is None and scores is None and reward_model is None and isinstance(data, str | Path):
        raise no_scores(Path(data))
    named = scores_named(scores)
    grouping = grouping_of(group_by)
    given = [name for name, value in (("a model", model), ("scores", scores), ("a reward model", reward_model)) if value is not None]
    settings = AuditSettings(
        grouping, tolerance, several(require), resamples, seed, simulated, command, constraints_of(constraints), assignments,
        all_metrics(metrics), name, title, note, show_examples,
    )  # fmt: skip
    in_one = model is not None or reward_model is not None or settings.constraints or show_examples is not None
    if named and not in_one and isinstance(data, str | Path) and Path(data).is_dir():
        from evenhand.engines.here import processes  # what one file does without
        from evenhand.workflows.audit_shards import audit_files, is_large
        from evenhand.workflows.shards import Reading

        files = Reading(named, grouping.attributes)
        if is_large(Path(data), files):
            with shown(progress) as told, TemporaryDirectory(prefix="evenhand-") as folder:
                return audit_files(Path(data), files, settings, processes(0), Path(folder), told)
    data = read(data, attributes=grouping.attributes, numbers=named)
    if len(given) != 1:
        found = "neither a model nor scores" if not given else f"both {given[0]} and {given[1]}"
        raise EvenhandError(f"Found {found}. Expected: one of them. To do: {'leave one out.' if given else _candidates(data)}")
    if show_examples is not None:
        show_examples.check(data)
    if scores is not None:
        return audit_scores(data, named or scores, settings)
    with shown(progress) as told:
        if reward_model is not None:
            return audit_scores(data, _judge(hub_model(reward_model), settings.seed, cache, told), settings)
        if callable(model):
            ask = model
            return audit_scores(data, Judge("function", lambda some: Judged(_rewards(ask, some, told))), settings)
        from evenhand.serve.reward_model import RewardModel

        if isinstance(model, RewardModel):
            return audit_model(data, model, settings, cache, "in memory", told)
        if not isinstance(model, str | Path):
            expected = "a folder, a RewardModel, or a function of prompts, responses and users"
            raise EvenhandError(f"Found {type(model).__name__} as model. Expected: {expected}. To do: give one of these.")
        return audit_model(data, RewardModel.load(model, head=head, encoder_at=encoder_at), settings, cache, Path(model).name, told)


def scores_named(scores: Any) -> tuple[str, ...]:
    """The columns, where scores are given by name ("chosen,rejected" are two); () for none and for arrays."""
    if isinstance(scores, str):
        names = tuple(name.strip() for name in scores.split(","))
        if not all(names):
            raise EvenhandError(
                f"Found scores {clip(scores)}. Expected: one column, or two with a comma between. To do: leave no name empty."
            )
        return names
    return tuple(scores) if isinstance(scores, Sequence) and len(scores) and all(isinstance(s, str) for s in scores) else ()


def _candidates(data: PreferenceData) -> str:
    known = ", ".join(sorted(data.numbers))
    return "name a saved model's folder, or score columns of the data" + (f" (it has {known})." if known else ".")


@dataclass(frozen=True)
class Judged:
    """rewards float[n, 2] of chosen and rejected; truncated, identical bool[n] as in `Outcomes`, None = not measured."""

    rewards: np.ndarray
    truncated: np.ndarray | None = None
    identical: np.ndarray | None = None


@dataclass(frozen=True)
class Judge:
    """What finds the rewards of pairs by their texts. about: facts of the report, found on the pairs that were judged."""

    name: str
    judge: Callable[[PreferenceData], Judged]
    about: Callable[[PreferenceData], dict[str, str]] = lambda _: {"scores": "a function of texts"}
    limits: tuple[str, ...] = LIMITS


def _judge(model: HubRewardModel, seed: int, cache: Path | None, progress: Progress) -> Judge:
    """A reward model of the hub's format."""

    def judge(data: PreferenceData) -> Judged:
        found = pair_rewards(model, data, cache, progress)
        return Judged(found.rewards, found.cut, found.same)

    return Judge(model.name, judge, lambda data: facts_of(model, data, seed), (*LIMITS, NO_USER))


Given = Sequence[str] | np.ndarray | Judge  # columns, one or two numbers a pair, or what finds two a pair


def audit_scores(data: PreferenceData, scores: Given, settings: AuditSettings) -> Report:
    """Audit a model by its scores: columns, an array in the order of the pairs, or whoever judges texts.

    A user's own choices must not decide both his or her support and how well he or she is served: the same noise would link the two. So
    test rows of a split column are audited, and support comes from train and validation rows; without a split column, prompts (or, with few,
    responses) are dealt to two halves. Groups by attributes need no such split for the verdict: then all rows are audited, and the
    support curve alone is drawn from halves. Raises DataError when a column was not loaded (`numbers=`).
    """
    if not (isinstance(scores, Judge | np.ndarray)) and not scores_named(scores):
        scores = np.asarray(scores)
    if isinstance(scores, np.ndarray):
        data, scores = _with_array(data, scores), scores_of(scores)
    users, data = data.users, canonical(data)
    batches = batches_of(data)
    in_one = settings.constraints or settings.show_examples or data.judgements is not None or batches.survey.matched
    if not in_one and not isinstance(scores, Judge):
        return audit_batches(batches, scores, settings, users=users)
    dealt, tested, known, where = halves_in_memory(data, settings.seed)
    support = support_of(dealt, known, whole=data)
    groups = settings.grouping.groups(data, support)
    settings.check(groups)
    assign(settings, users, groups, support)
    given = data.split is not None and (data.split >= 0).any()
    whole = bool(settings.grouping.attributes) and not given
    columns = REWARDS if isinstance(scores, Judge) else scores

    def judged(some: PreferenceData, rows: np.ndarray, split: str) -> tuple[PreferenceData, Outcomes]:
        """The pairs at mask `rows` with their scores as columns, and their outcomes. Texts of no other pair are judged."""
        pairs, name, found = some.take(rows), " - ".join(columns), None
        if isinstance(scores, Judge):
            name, found = scores.name, scores.judge(pairs)
            pairs = replace(pairs, numbers={**pairs.numbers, **dict(zip(REWARDS, found.rewards.T))})
        margin, ids = margins_of(pairs, columns), not has_words(some)
        out = outcomes_of(pairs, margin, model=settings.name or name, split=split, texts_are_ids=ids)
        return pairs, out if found is None else replace(out, truncated=found.truncated, identical=found.identical)

    pairs, curve = judged(dealt, tested, where)
    used, rows, outcomes = dealt, tested, curve
    if whole:
        used, rows = data, np.ones(len(data), bool)
        pairs, outcomes = judged(used, rows, "all rows")
    left = Exclusions(len(used), int(rows.sum()), {"serve for support, or in no scored part": int((~rows).sum())} if not rows.all() else {})
    about = scores.about(pairs) if isinstance(scores, Judge) else {"scores": ", ".join(columns)}
    more = about | {"support from": f"{int(known.sum()):,} pairs, none of which is in the support curve"}
    scored = pairs if isinstance(scores, Judge) else used
    more |= score_facts(scored, columns)
    events = settings.grouping.events(used, groups) if settings.constraints else None
    limited = examined(settings, None, outcomes, None if events is None else events.take(rows))
    limits = scores.limits if isinstance(scores, Judge) else LIMITS
    return report_on(used, outcomes, curve, groups, support, left, more, settings, limited, limits)


REWARDS = ("reward_chosen", "reward_rejected")  # columns of what a function or an array gives


def scores_of(array: np.ndarray) -> tuple[str, ...]:
    """Names for the columns of an array of scores."""
    return ("margin",) if array.ndim == 1 else REWARDS


def _with_array(data: PreferenceData, array: np.ndarray) -> PreferenceData:
    """The data with margins [n], or rewards [n, 2] of chosen and rejected, as columns."""
    if data.judgements is not None:
        raise EvenhandError(
            "Found an array of scores for data whose pairs are drawn from judgements, anew in each deal. Expected: a column of the table, with "
            "one number a response. To do: write the scores into the table, and name the column."
        )
    array = np.asarray(array)
    if array.shape not in ((len(data),), (len(data), 2)) or not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
        found = f"{array.dtype} of shape {array.shape}" if np.issubdtype(array.dtype, np.number) else f"values of type {array.dtype}"
        raise EvenhandError(
            f"Found scores {found}{', not all finite' if array.shape[:1] == (len(data),) else ''}. Expected: finite numbers of shape ({len(data)},), margins, or "
            f"({len(data)}, 2), rewards of chosen and rejected, in the order of the pairs. To do: score data's own pairs, in their order."
        )
    columns = array.astype(np.float64).reshape(len(data), -1).T
    if (large := (np.abs(columns) > NUMBER_LIMIT).any(axis=0)).any():
        row = int(np.argmax(large))
        raise EvenhandError(
            f"Found scores over {NUMBER_LIMIT:g} in size (the first: pair {row}, counted from 0, {columns[:, row].tolist()}). Expected: numbers of size "
            f"{NUMBER_LIMIT:g} at most. To do: scale the scores, or mend what gave them."
        )
    return replace(data, numbers={**data.numbers, **dict(zip(scores_of(array), columns))})


AT_ONCE = 512  # texts that a function is asked about at once


def _rewards(ask: Ask, data: PreferenceData, progress: Progress) -> np.ndarray:
    """Rewards float64[n, 2] of chosen and rejected, each distinct (prompt, response, user) asked about once."""
    if (data.chosen < 0).any():
        raise DataError("the data has no texts", expected="chosen and rejected texts to score", remedy="bring a table with texts")
    rows = np.stack([np.tile(data.prompt, 2), np.concatenate([data.chosen, data.rejected]), np.tile(data.user, 2)])
    distinct, place = np.unique(rows.astype(np.int64), axis=1, return_inverse=True)
    out = np.empty(distinct.shape[1])
    for at in range(0, len(out), AT_ONCE):
        progress("score", at, len(out))
        prompt, response, user = (part[at : at + AT_ONCE].tolist() for part in distinct)
        given = [data.texts[p] if p >= 0 else "" for p in prompt], [data.texts[r] for r in response], [data.users[u] for u in user]
        with calling("a function of prompts, responses and users (lists of text) that gives one number a response", ask):
            rewards = np.asarray(ask(*given), np.float64)
        if rewards.shape != (len(user),) or not (np.abs(rewards) <= NUMBER_LIMIT).all():
            what = (
                f"rewards that are not finite, or over {NUMBER_LIMIT:g} in size"
                if rewards.shape == (len(user),)
                else f"rewards of shape {rewards.shape}"
            )
            raise EvenhandError(f"The function gave {what}. Expected: {len(user)} finite numbers, one a response. To do: correct it.")
        out[at : at + AT_ONCE] = rewards
    progress("score", len(out), len(out))
    return out[place.ravel()].reshape(2, -1).T


def audit_model(
    data: PreferenceData,
    loaded: RewardModel,
    settings: AuditSettings,
    cache: Path | None = None,
    folder: str = "in memory",
    progress: Progress = silent,
) -> Report:
    """Audit a saved model on prompts that are not read as history; users are read from their pairs on the others.

    On the very file the model was trained on, its own split is dealt again, so that no training pair is scored; DataError if the file is
    read in another way now. Of another file nobody knows what the model was trained on, and the report says so.
    """
    from evenhand.workflows.encoding import Encoding
    from evenhand.workflows.prepare import held_out, judged, prepare, stability  # with torch, which score columns do without

    trained_here = loaded.facts.get("data") == data.fingerprint
    seed = int(loaded.facts["seed"]) if trained_here else settings.seed
    whole = data
    data, split = deal(whole, seed=seed, shares=loaded.facts.get("shares", DEAL) if trained_here else DEAL)
    if trained_here and loaded.facts.get("split") != split_digest(split):
        expected = (
            "the same columns, source, --on-bad, --swap and split column as in `evenhand fit`, so that training pairs can be left out"
        )
        raise DataError(
            "the model was trained on this file, read in another way", expected=expected, remedy="repeat the options of the fit"
        )
    if not trained_here:  # nobody was seen in training: whatever is not scored may be read
        split = replace(split, history=readable(split), unseen=np.ones(len(data.users), bool))
    test = split.rows(TEST)
    if not test.any():
        raise no_test_pairs()
    encoding = Encoding(loaded.encoder, loaded.with_prompt, cache=cache)
    ready = prepare(data, split, encoding, settings.grouping, feature_map=loaded.feature_map, seed=seed, whole=whole, progress=progress)
    settings.check(ready.groups)
    settings.assign(data.users, Assignment(seed, ready.groups, ready.support.values))
    where = (
        f"{held_out(split)}, the model's own split"
        if trained_here
        else f"{'responses' if split.unit == 'responses' else 'prompts'} not read as history; whether the model was trained on them is unknown"
    )
    title = settings.name or str(loaded.facts.get("title", "saved model"))
    outcomes = judged(ready, loaded.scorer, ready.counted(test), title, where)
    limited = (
        examined(
            settings, None, judged(ready, loaded.scorer, test, title, where), None if ready.events is None else ready.events.take(test)
        )
        if settings.constraints
        else ()
    )
    left = Exclusions(len(data), int(test.sum()), {"read as history, or in no scored part": int((~test).sum())})
    more = {
        "model": folder,
        "model sha256": model_hash(loaded.scorer, loaded.feature_map),
        "splits": split.rule
        if trained_here
        else f"{int(split.history.sum()):,} pairs are read as history, {int(test.sum()):,} are scored.",
        "stability": stability(ready, loaded.scorer, test, seed, loaded.encoder).sentence,
    }
    return report_on(
        data,
        outcomes,
        outcomes,
        ready.groups,
        ready.support,
        left,
        more,
        replace(settings, seed=seed),
        limited,
        limits(loaded.reads_prompts),
    )


def readable(split: Split) -> np.ndarray:
    """bool[n]: what may be read as history on a file the model was not trained on."""
    return (split.part == TRAIN) | (split.part == VALID) | split.history

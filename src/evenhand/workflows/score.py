"""Score candidates or pairs with a saved model, or with a reward model of the hub's format.

A file is read twice, batch by batch: for rewards, each batch a part that stays when the process ends; and for the rows that are written.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evenhand.core import DataError, EvenhandError, PreferenceData, clip
from evenhand.data.load import load
from evenhand.data.lookalikes import ALIKE
from evenhand.data.scorable import AT_ONCE, CANDIDATES, PAIRS, Asked, Scorable, of_pairs, scorable
from evenhand.engines import Engine, Hold, Lost
from evenhand.engines.asked import asked as engine_asked
from evenhand.engines.here import InProcess, processes
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows import finished_parts, ranked
from evenhand.workflows.facts import data_digest
from evenhand.workflows.finished_parts import Part, Parts
from evenhand.workflows.histories import Histories, Readers
from evenhand.workflows.hub_model import hub_model
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.responses import check_texts
from evenhand.workflows.rewarding import ByHub, BySaved, Given, Rewarding
from evenhand.workflows.scored import Scored, added, before

if TYPE_CHECKING:
    from evenhand.encode.hub_reward import HubRewardModel

NO_HISTORY = "no user of the data has a history left, so everybody got the reward for everybody."
ALIKE_USERS = f"users are not in the history, though their id {ALIKE}: they got the reward for everybody."
OF_CANDIDATES = ("response", "completion", "messages")  # columns that no history has


def score(
    model: RewardModel | str | Path | None = None,
    data: Any = None,
    history: Any = None,
    *,
    reward_model: HubRewardModel | str | Path | None = None,
    head: Any = None,
    encoder_at: str | Path | None = None,
    leave_own_out: bool = False,
    best: int | None = None,
    reward: str = "reward",
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    history_columns: Mapping[str, str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    one_user: bool = False,
    min_strength: float = 0.0,
    unfinished: str | Path | None = None,
    jobs: int | None = None,
    engine: str | Engine = "here",
    address: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Score candidates or pairs, each user read from his or her pairs in `history`, matched by user id.

        evenhand.score("out/model", "candidates.jsonl", history="choices.jsonl", best=4).save("best.jsonl")
        evenhand.score("out/model", "choices.jsonl", history="choices.jsonl", leave_own_out=True).to_frame()
        evenhand.score("new.jsonl", reward_model="my-reward-model")  # no saved model: the data comes first

    A row of `data` is a candidate (user?, prompt, response or completion; or messages) or a pair (user?, prompt, chosen, rejected), each a text
    or messages. Of other files that `load` takes, and of a named source, the pairs are scored that `load` draws.
    A user without a history gets the reward for everybody. A pair that is scored is never read: it would give its own answer away. Where
    nobody has a pair left to read, a warning says so.

    Args:
        model: Folder of a saved model, or a RewardModel.
        data: a path, a table in memory, or loaded pairs.
        history: Earlier pairs of the users; without it everybody gets the generic reward.
        leave_own_out: Each pair is scored with its user's other pairs as history, so that a file can be its own history; a candidate, with those
            on other prompts.
        best: Candidates that are kept of each user and prompt, the best ones.
        reward: Name of the column of rewards; of pairs, it ends in _chosen and _rejected. A column of the data that has it is NAME_before then.
        history_columns: As --column, for the history; default: the same names.
        unfinished: Folder for what is finished of the work: a run that was stopped goes on there.
        jobs: Workers at once, each with the model in memory; 0 = one a core. Default: this process alone, on Ray one a core.
        engine: Who scores: this machine (here) or the workers of a Ray cluster (ray; extra ray).

    Parameters that `audit`, `compare` or `load` has, too, mean the same here. Memory: a batch, the history, and 30 bytes a row.
    """
    model, data = placed(model, data, reward_model)
    columns, cache = dict(columns or {}), None if cache is None else Path(cache).absolute()  # a worker may stand in another folder
    if leave_own_out and history is None:
        raise EvenhandError(
            "Found leave_own_out without a history. Expected: the pairs that users are read from. To do: name it (--history)."
        )
    if reward_model is not None and history is not None:
        raise EvenhandError(
            "Found a history for a reward model of the hub's format. Expected: none: such a model reads no user. To do: leave it out."
        )
    how: dict[str, Any] = {"source": source, "on_bad": on_bad, "one_user": one_user, "min_strength": min_strength}
    table = _table(data, columns, how, history is not None)
    _check(table, best, reward)
    if history is not None and not isinstance(history, PreferenceData):
        names = columns if history_columns is None else history_columns
        names = {canonical: name for canonical, name in names.items() if canonical not in OF_CANDIDATES}
        try:
            history = load(history, columns=names, **how)
        except DataError as error:  # --column would be about the data too
            error.args = (str(error).replace("--column ", "--history-column "),)
            raise
    skip = on_bad == "skip"
    with shown(progress) as told:
        histories = Histories(history, table.sides)
        unread = 0
        settings: dict[str, Any] = {}
        if reward_model is not None:
            hub = hub_model(reward_model)
            judge: Rewarding = ByHub(hub, cache)
            decides = (
                {"sha256": hub.sha256, "label": hub.reward_label, "dtype": hub.dtype, "max_tokens": hub.max_tokens} if unfinished else {}
            )
        else:
            loaded = model if isinstance(model, RewardModel) else RewardModel.load(model, head=head, encoder_at=encoder_at)
            if loaded.with_prompt and not table.with_prompts:
                raise DataError(
                    "the data has no prompts", expected="a prompt in each row, which the model reads", remedy="name the prompt column"
                )
            if table.sides == PAIRS and history is not None and not leave_own_out:
                out = _leave_out(histories, table, skip)
                unread, settings = int(out.sum()), {"pairs of the history that are scored": hashlib.sha256(out.tobytes()).hexdigest()}
            judge = BySaved(loaded, Readers(loaded, histories, leave_own_out, cache, told), cache)
            decides = {"sha256": loaded.fingerprint} if unfinished else {}
        if unfinished:
            known = None if history is None else data_digest(history)
            settings = {"model": decides, "history": known, **settings, "leave_own_out": leave_own_out, "evenhand": version("evenhand")}
        here = InProcess() if jobs is None else processes(jobs)
        alike: set[str] = set()
        with (
            finished_parts.parts(None if unfinished is None else Path(unfinished), settings) as parts,
            engine_asked(engine, address, here, jobs or 0) as works,
        ):
            read = _read(table, skip, histories, alike)
            hold = partial(_hold, judge, histories if leave_own_out else None, table.sides)
            made = _made(read, table.rows(), parts, works, hold, judge.on_gpu, told)
    scored = replace(_together(made, table, best, reward, unread), alike=len(alike))
    if alike:
        warnings.warn(f"{scored.alike:,} {ALIKE_USERS}", stacklevel=2)
    if not len(scored):
        raise DataError("there is no row to score", expected="at least one", remedy="mend the rows, or check --column", file=table.name)
    if history is not None and not scored.known:
        why = " All pairs of the history are scored themselves: score other pairs than the history, or leave_own_out (--leave-own-out)."
        warnings.warn(f"{NO_HISTORY}{why if unread or scored.left_out else ''}", stacklevel=2)
    return scored


def _read(table: Scorable, skip: bool, histories: Histories, alike: set[str]) -> Iterator[Asked]:
    """The rows of each batch; users who look like one of the history are added to `alike`."""
    for batch in table.batches():
        asked = table.asked(batch, skip)
        alike.update(histories.alike(asked.users))
        yield asked


def _hold(judge: Rewarding, own: Histories | None, sides: Sequence[str]) -> Callable[[Asked], Part]:
    """What scores the rows of a batch. own: where each row is read without its own pair."""

    def do(asked: Asked) -> Part:
        count = 0 if own is None else int((own.own(asked) >= 0).sum())
        return _part(asked, judge(asked) if asked.kept.any() else _nothing(sides), count, sides)

    return do


def _made(read: Iterator[Asked], total: int, parts: Parts, engine: Engine, hold: Hold, gpu: bool, told: Progress) -> list[Part]:
    """Every batch's part, in their order: from the folder where it was finished, else by a worker."""
    made: dict[int, Part] = {}
    given: list[int] = []  # numbers of the batches that workers were given
    done = 0

    def finish(number: int, part: Part) -> None:
        nonlocal done
        made[number] = part
        done += len(part.kept)
        told("score", done, max(done, total))

    def missing() -> Iterator[Asked]:
        for number, asked in enumerate(read):
            if (part := parts.get(number, asked.content)) is None:
                given.append(number)
                yield asked
            else:
                finish(number, part)

    for place, part in engine.run(hold, missing(), gpu=gpu):
        if isinstance(part, Lost):
            raise EvenhandError(
                f"A batch of rows was given up: {part.why}. Expected: workers with room for the model and {AT_ONCE:,} rows. To do: fewer --jobs, or "
                "machines with more memory; the same command goes on with what is left."
            )
        parts.put(given[place], part)
        finish(given[place], part)
    return [made[number] for number in sorted(made)]


def placed(model: Any, data: Any, reward_model: Any) -> tuple[Any, Any]:
    """(model, data): with a reward model of the hub's format there is no saved one, and what stands first is the data."""
    if reward_model is not None and data is None:
        model, data = None, model
    if data is None or (model is None) == (reward_model is None):
        found = (
            "no data"
            if data is None
            else "neither a saved model nor a reward model"
            if model is None
            else "a saved model and a reward model"
        )
        raise EvenhandError(f"Found {found}. Expected: a saved model and data, or data and a reward model. To do: name both, and no more.")
    if isinstance(model, str | Path) and Path(model).is_file():
        raise DataError(
            "it is a file", expected="the folder of a saved model", remedy="name the model first, then the data", file=Path(model).name
        )
    return model, data


def _table(data: Any, columns: Mapping[str, str], how: Mapping[str, Any], users_wanted: bool) -> Scorable:
    table = None if isinstance(data, PreferenceData) else scorable(data, columns, how["source"], how["one_user"], users_wanted)
    if table is not None:
        return table
    pairs = data if isinstance(data, PreferenceData) else load(data, columns=columns, **how)
    check_texts(pairs, False)
    return of_pairs(pairs)


def _check(table: Scorable, best: int | None, reward: str) -> None:
    """Raises EvenhandError for what cannot be written of these rows."""
    if not reward.strip():
        raise EvenhandError("Found no name for the column of rewards. Expected: a name. To do: --reward NAME, or leave it out.")
    if best is not None and (table.sides != CANDIDATES or best < 1):
        found = f"best = {best}" if best < 1 else "best for pairs"
        raise EvenhandError(f"Found {found}. Expected: 1 or more of the candidates of each prompt. To do: correct it, or leave it out.")
    if taken := [name for name in added(table.sides, reward) if {name, before(name)} <= {*table.names}]:
        raise DataError(
            f"there are columns '{clip(taken[0])}' and '{clip(before(taken[0]))}' already", expected="one of them at most, which stays beside the new one",
            remedy="give the rewards another name: --reward NAME", file=table.name,
        )  # fmt: skip


def _leave_out(histories: Histories, table: Scorable, skip: bool) -> np.ndarray:
    """Nobody is read from a pair that is scored itself; which ones these are, bool[pairs of the history that may be read]."""
    out = np.zeros(len(histories.read), bool)
    for batch in table.batches():
        number = np.unique(histories.own(table.asked(batch, skip)))
        out |= histories.marked(number[number >= 0])
    histories.without(out)
    return out


def _part(asked: Asked, given: Given, own: int, sides: Sequence[str]) -> Part:
    keys = np.append(ranked.keys(asked.users), np.uint64(0))  # the last for nobody's rows
    prompt = np.append(ranked.keys(asked.texts), np.uint64(0))[asked.prompt] if tuple(sides) == CANDIDATES else np.zeros(0, np.uint64)
    key = ranked.together(keys[asked.user], prompt) if len(prompt) else prompt
    present = np.unique(asked.user[asked.user >= 0])
    known = np.zeros(len(keys), bool)
    known[asked.user[given.known]] = True
    counts = np.array([asked.skipped, own, int(given.cut.sum())])
    return Part(given.rewards, asked.kept, key, keys[present], known[present], counts, asked.content)


def _nothing(sides: Sequence[str]) -> Given:
    return Given(np.zeros((0, len(sides)), np.float32), np.zeros(0, bool), np.zeros(0, bool))


def _together(made: Sequence[Part], table: Scorable, best: int | None, reward: str, unread: int) -> Scored:
    rewards = np.concatenate([p.rewards for p in made]) if made else np.zeros((0, len(table.sides)), np.float32)
    every = np.concatenate([np.unique(p.users) for p in made]) if made else np.zeros(0, np.uint64)
    known = np.concatenate([np.unique(p.users[p.known]) for p in made]) if made else every
    skipped, own, cut = sum((p.counts for p in made), np.zeros(3, np.int64)).tolist()
    key = np.concatenate([p.key for p in made]) if made else np.zeros(0, np.uint64)
    return Scored(
        rewards, len(np.unique(every)), len(np.unique(known)), unread + own, cut, skipped, best, reward, table, [p.kept for p in made], key
    )

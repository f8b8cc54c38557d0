"""Many fits on one data set, dealt to the workers of an engine, whose figures are kept in files: a worker that dies takes no other with it,
and what is on disk is not computed again.

A trial file (safetensors) holds, for each user, accuracy and log-loss on validation and test pairs, the user's group and support in that
seed, and how many pairs there were; of each pair whether it was right, whose it is and what it is on; where pairs are in events (see `core.Events`) also each user's mean in every event. It holds neither
texts nor ids: users and texts are numbers of the data set.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from evenhand.audits.metrics import METRICS, Metric, log_loss
from evenhand.audits.rates import DECISIONS, matched_gaps, rates
from evenhand.core import NOTIONS, EvenhandError, Events, Exclusions, Groups, Method, Notion, PreferenceData, Scorer, clip
from evenhand.data.splits import TEST, TRAIN, VALID, Split, deal
from evenhand.encode.backbone_encoder import BackboneEncoder, history_pairs, language_model, on_gpu
from evenhand.engines import Engine, Lost
from evenhand.methods.pafo import Pafo
from evenhand.parts import Files, files_of, sources
from evenhand.serve.reads import what_is_read
from evenhand.training.calibration import Calibration, calibrate
from evenhand.training.groups import require_groups
from evenhand.training.scoring import margins
from evenhand.training.stack import fit_all
from evenhand.training.tune import tune
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import Assignment, write
from evenhand.workflows.audit import no_test_pairs
from evenhand.workflows.events import check_constraints
from evenhand.workflows.facts import data_digest, joined
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, Prepared, Progress, prepare
from evenhand.writing import put

FORMAT = "evenhand trial 3"
CELLS = {"valid": VALID, "test": TEST}


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: a method, and how many of its settings validation may choose among (1 = as it is)."""

    name: str
    method: Any
    budget: int = 1


@dataclass(frozen=True)
class Trial:
    """An entry's figures in one seed; arrays have one place a user of the data, nan or 0 where he or she has no such pair."""

    entry: str
    seed: int
    settings: Mapping[str, str]
    tried: int
    seconds: float
    groups: tuple[str, ...]
    rule: str  # how groups came about in this seed, a sentence
    split: str  # how pairs were dealt in this seed, a sentence
    exclusions: Exclusions
    # group, support, unseen; of each cell every metric, calibrated (log-loss), pairs, of each pair pair_user, pair_prompt, pair_chosen,
    # pair_rejected (numbers of texts), pair_share, pair_right, and where there are events those of `_rates`
    arrays: Mapping[str, np.ndarray]
    events: tuple[str, ...] = ()  # groups of pairs that constraints compare
    events_rule: str = ""  # how they came about, a sentence


@dataclass(frozen=True)
class Bench:
    """What all trials share: the data, how it is read, and where trial files lie."""

    data: PreferenceData
    encoding: Encoding
    grouping: Grouping
    folder: Path
    engine: Engine  # who trains
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    encodes: Engine | None = None  # whose workers encode texts; None = this process

    def run(
        self, entries: Sequence[Entry], seeds: Sequence[int], progress: Progress, say: Callable[[str], None], *, at_once: int = 1
    ) -> Iterator[Trial | Failure]:
        """Every entry in every seed, from disk where it was computed before. at_once: entries trained as one stack in one process.

        Before any training, say is told what a method cannot do here, and one that cannot be fitted at all raises EvenhandError.
        """
        total = len(entries) * len(seeds)
        if self.folder.exists() and not self.folder.is_dir():  # an error now, and not after training
            raise FileExistsError(17, "File exists", str(self.folder))
        for place, seed in enumerate(seeds):
            known = {e.name: self._read(e, seed) for e in entries}
            todo = [e for e in entries if known[e.name] is None]
            failed: dict[str, str] = {}
            done = place * len(entries) + len(entries) - len(todo)
            progress("trials", done, total)
            if todo:
                ready = self._ready(seed, progress)
                if place == 0:
                    check(entries, ready, say)
                    self.folder.mkdir(
                        parents=True, exist_ok=True
                    )  # an error now, if a file of this name lies there, and not after training
                step = min(at_once, -(-len(todo) // self.engine.at_once))
                # one stack reads one feature map, and what is built in does not fall with a part from outside
                kinds = [(e, (e.method.unreduced, bool(sources(e.method)))) for e in todo]
                alike = [[e for e, k in kinds if k == kind] for kind in itertools.product((False, True), repeat=2)]
                parts = [some[i : i + step] for some in alike for i in range(0, len(some), step)]
                for part, why in self._train(ready, parts, seed, partial(_told, progress, done, total)):
                    failed.update({e.name: why for e in part if why})
            for e in entries:
                found = known[e.name] or self._read(e, seed)
                yield found if found is not None else Failure(e.name, seed, failed.get(e.name) or "it left no figures")

    @cached_property
    def digest(self) -> str:
        return data_digest(self.data)

    @property
    def has_events(self) -> bool:
        """Whether trials hold rates of events: the data's own, or users' groups by attributes (see `Prepared.events`)."""
        return self.data.events is not None or bool(self.grouping.attributes)

    def about(self) -> dict[str, str]:
        """Facts for the report."""
        encoder = self.encoding.encoder
        name = "none" if encoder is None else f"{encoder.name}, fingerprint {encoder.fingerprint[:16]}"
        return {
            "encoder": name,
            **language_model(encoder, self.encoding.trained),
            "reads": what_is_read(bool(self.encoding.with_prompt), history_pairs(encoder)),
        }

    def _ready(self, seed: int, progress: Progress) -> Prepared:
        data, split = deal(self.data, seed=seed)
        if not split.rows(TEST).any():
            raise no_test_pairs()
        return prepare(data, split, self.encoding, self.grouping, seed=seed, progress=progress, whole=self.data, engine=self.encodes)

    def _train(
        self, ready: Prepared, parts: Sequence[Sequence[Entry]], seed: int, ended: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[Entry], str]]:
        """Each part by a worker → (part, why it failed) as they end. ended(so many entries) is called now and then. Leaving early ends them all."""
        outside = files_of([*(e.method for part in parts for e in part), *self.metrics.values()])
        read = {unreduced: ready.unreduced if unreduced else ready for unreduced in {part[0].method.unreduced for part in parts}}
        hold = partial(_trainer, outside, {unreduced: r.bare() for unreduced, r in read.items()}, parts, seed, self.metrics)
        count = 0

        def beat() -> None:
            ended(count)

        for number, found in self.engine.run(hold, range(len(parts)), gpu=on_gpu(self.encoding.encoder), beat=beat):
            part = parts[number]
            files, why = ([], found.why) if isinstance(found, Lost) else found
            for entry, content in zip(part, files, strict=False):
                _keep(self._file(entry, seed), content)
            count += len(part)
            ended(count)
            yield part, why

    def _file(self, entry: Entry, seed: int) -> Path:
        """Named by all that its figures depend on."""
        encoder = self.encoding.encoder
        told = {
            "format": [FORMAT, version("evenhand")],
            "data": self.digest,
            "encoding": [
                encoder and encoder.fingerprint,
                bool(self.encoding.with_prompt),
                self.encoding.tfidf,
                self.encoding.dim,
                entry.method.unreduced,
                *_language_model(self.encoding),
            ],
            "grouping": [list(self.grouping.attributes), self.grouping.threshold, self.grouping.minority],
            "method": describe(entry.method),
            "budget": entry.budget,
            "seed": seed,
            "metrics": {name: [metric.formula, *sources(metric)] for name, metric in self.metrics.items()},
        }
        if self.has_events:
            told["rates"] = sorted(DECISIONS)
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]
        return self.folder / f"{digest}.safetensors"

    def _read(self, entry: Entry, seed: int) -> Trial | None:
        """A trial from disk, under whatever name it was made; None where there is none or the file is damaged (it is then made again)."""
        file = self._file(entry, seed)
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="np") as opened:
                about = json.loads(opened.metadata()["trial"])
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            return Trial(
                **{
                    **about,
                    "entry": entry.name,
                    "groups": tuple(about["groups"]),
                    "events": tuple(about.get("events", ())),
                    "exclusions": Exclusions(**about["exclusions"]),
                    "arrays": arrays,
                }
            )
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Failure:
    """An entry that has no figures in a seed, and why."""

    entry: str
    seed: int
    why: str


def _language_model(encoding: Encoding) -> list[object]:
    """What figures depend on beside the encoder's fingerprint: what it is told of users, and how it trains."""
    if not isinstance(encoding.encoder, BackboneEncoder):
        return []
    b = encoding.encoder.backbone
    told: list[object] = [b.history_pairs, *sources(b.persona)] if b.history_pairs else []
    told += [f"{b.soft_user_tokens} soft tokens"] if b.soft_user_tokens else []
    return [*told, b.rank, repr(b.tuning)] if encoding.trained else told


def check(entries: Sequence[Entry], ready: Prepared, say: Callable[[str], None]) -> None:
    """What can be known before training: raises EvenhandError where a method lacks groups or events, and tells `say` of lesser limits."""
    ready.check_groups({e.name: e.method for e in entries}, say)
    train, valid = ready.training()
    if ready.events is not None and is_matched(ready.events):
        matched_gaps(np.zeros(len(ready.data)), ready.data.user, ready.events)  # sets of two users cannot be judged
    for e in entries:
        if e.method.needs_groups:
            require_groups(e.name, train, valid)
        try:
            check_constraints(ready, [] if (notion := notion_of(e.method)) is None else [notion])
        except EvenhandError as error:
            raise EvenhandError(f"{e.name}: {error}") from None
        note = cannot(e.method, new_users=bool(ready.split.unseen.any()), groups=len(set(train.groups())))
        if note:
            say(f"{e.name}: {note}")


def notion_of(method: Method) -> Notion | None:
    """The constraint that a method holds its model to, or penalises."""
    constraint = method.constraint
    return None if constraint is None else next(n for n in NOTIONS if n == constraint.notion)


def gamma_of(method: Method) -> float | None:
    """The largest violation that a method accepts; None where it promises nothing of the kind."""
    return None if method.constraint is None else method.constraint.gamma


def cannot(method: Method, *, new_users: bool, groups: int) -> str:
    """What a method cannot do on such data; empty if nothing."""
    parts = []
    if new_users and not hyperparameters.base(method).head.reads_new_users:
        parts.append("knows users by number, so users who were not in training get the reward for everybody")
    if isinstance(method, Pafo) and groups < 2:
        parts.append("without two groups it is self-distillation")
    return "; ".join(parts)


def describe(method: Method) -> list[Any]:
    """All that makes a method what it is, in JSON: its class, its hyperparameters, the classes of what it is built from, and the code of those
    from outside the package: an edited file is another method.
    """
    outside = sources(method)
    return [type(method).__name__, type(hyperparameters.base(method).head).__name__, settings(method), *([outside] if outside else [])]


def settings(method: Method) -> dict[str, str]:
    """Every hyperparameter's value; no two hyperparameters of a method have one name."""
    return {name: str(value) for name, value in hyperparameters.hyperparameters(method)}


def is_matched(events: Events) -> bool:
    """Whether two pairs are matched."""
    twins = events.sets[events.sets >= 0]
    return len(np.unique(twins)) < len(twins)


def _told(progress: Progress, before: int, total: int, more: int) -> None:
    progress("trials", before + more, total)


def _trainer(
    outside: Files, ready: Mapping[bool, Prepared], parts: Sequence[Sequence[Entry]], seed: int, metrics: Mapping[str, Metric]
) -> Callable[[int], tuple[list[bytes], str]]:
    """What does one of the parts, by its number. ready: with reduced features and, under True, with unreduced ones, as far as needed.

    outside comes first, so that a process that is given pickles can read the classes of what comes after it.
    """
    torch.set_num_threads(1)
    return lambda number: _work(ready[parts[number][0].method.unreduced], parts[number], seed, metrics)


def _work(ready: Prepared, part: Sequence[Entry], seed: int, metrics: Mapping[str, Metric]) -> tuple[list[bytes], str]:
    """Train and judge: the trial files of the entries, and where those of the last are missing, why."""
    torch.manual_seed(seed)  # for parts from outside that draw from these: no trial depends on which others its process did before
    np.random.seed(seed)
    files: list[bytes] = []
    try:
        train, valid = ready.training()
        start = time.perf_counter()
        if part[0].budget > 1:
            best, tried = tune(part[0].method, train, valid, seed, part[0].budget)
            found = [(best.method, best.fitted, len(tried))]
        else:
            fitted = fit_all([e.method for e in part], train, valid, seed)
            found = [(e.method, f, 1) for e, f in zip(part, fitted, strict=True)]
        seconds = (time.perf_counter() - start) / len(part)
        for entry, (method, fitted_one, tries) in zip(part, found, strict=True):
            files.append(_written(_judged(ready, fitted_one.scorer, entry.name, seed, settings(method), tries, seconds, metrics)))
    except Exception as error:
        if os.environ.get("EVENHAND_DEBUG"):
            traceback.print_exc()
        told = str(error) if isinstance(error, EvenhandError) else f"{type(error).__name__}: {error}"
        return files, " ".join(clip(told, 300).split()) or type(error).__name__
    return files, ""


def _judged(
    ready: Prepared,
    scorer: Scorer,
    entry: str,
    seed: int,
    told: Mapping[str, str],
    tried: int,
    seconds: float,
    metrics: Mapping[str, Metric] = METRICS,
) -> Trial:
    split: Split = ready.split
    users = len(ready.data.users)
    arrays: dict[str, np.ndarray] = {
        "group": ready.groups.of_user.astype(np.int16),
        "support": np.asarray(ready.support.values, np.float32),
        "unseen": split.unseen.astype(np.int8),
    }
    calibration: Calibration | None = None
    for cell, part in CELLS.items():  # validation first: it calibrates
        rows = ready.strict(split.rows(part))
        pairs = ready.pairs(rows, ready.strict(split.rows(TRAIN)) if cell == "valid" else split.history)
        margin = margins(scorer, pairs)
        if not bool(torch.isfinite(margin).all()):
            raise EvenhandError("Margins are not finite: the fit diverged. Expected: finite. To do: a smaller step (lr).")
        judged = np.flatnonzero(rows)
        if ready.events is not None:
            found = _rates(margin.numpy(), pairs.user.numpy(), ready.events.take(rows), users)
            arrays |= {f"{cell}.{name}": values for name, values in found.items()}
            counted = torch.from_numpy(ready.counted(rows)[rows])
            pairs, margin, judged = pairs.take(counted), margin[counted], judged[counted.numpy()]
        user, weight = pairs.user.numpy(), pairs.weight.double().numpy()
        calibration = calibration or calibrate(margin, pairs.user, users, weight=pairs.weight)
        total = np.bincount(user, weight, users)
        own = calibration.apply(margin, torch.where(torch.from_numpy(split.unseen)[pairs.user], -1, pairs.user))
        arrays[f"{cell}.pairs"] = np.bincount(user, minlength=users).astype(np.int32)
        of_pair = {name: metric.values(name, margin.double().numpy()) for name, metric in metrics.items()} | {
            "calibrated": log_loss(own.numpy())
        }
        for name, column in (("prompt", ready.data.prompt), ("chosen", ready.data.chosen), ("rejected", ready.data.rejected)):
            arrays[f"{cell}.pair_{name}"] = column[judged].astype(np.int32)
        arrays[f"{cell}.pair_user"] = user.astype(np.int32)
        arrays[f"{cell}.pair_share"] = weight / total[user]
        arrays[f"{cell}.pair_right"] = of_pair["accuracy"].astype(np.float32)
        for metric, values in of_pair.items():
            mean = np.full(users, np.nan)
            np.divide(np.bincount(user, weight * values, users), total, out=mean, where=total > 0)
            arrays[f"{cell}.{metric}"] = mean
    left = joined(ready.data, split.exclusions)
    events, rule = ((), "") if ready.events is None else (ready.events.names, ready.events.rule)
    return Trial(entry, seed, told, tried, seconds, ready.groups.names, ready.groups.rule, split.rule, left, arrays, events, rule)


def _rates(margin: np.ndarray, user: np.ndarray, events: Events, users: int) -> dict[str, np.ndarray]:
    """Of each notion that the pairs allow: `NOTION.DECISION` float64[users, events], nan where a user has no pair of the event, and
    `NOTION.pairs` int64[events] (matched sets for CF).
    """
    allowed = {"dp": len(events) > 1, "eo": len(events) > 1, "cf": is_matched(events)}
    out = {}
    for notion in (n for n in NOTIONS if allowed[n]):
        for name, decision in DECISIONS.items():
            found = rates(margin, user, events, notion, decision)
            whole = np.full((users, len(found.events)), np.nan)
            whole[found.user] = found.by_user
            out[f"{notion}.{name}"], out[f"{notion}.pairs"] = whole, found.pairs
    return out


def _written(trial: Trial) -> bytes:
    about = {k: getattr(trial, k) for k in ("entry", "seed", "settings", "tried", "seconds", "groups", "rule", "split")}
    left = trial.exclusions
    about |= {"events": trial.events, "events_rule": trial.events_rule} if trial.events_rule else {}
    about["exclusions"] = {"rows_in": left.rows_in, "rows_used": left.rows_used, "reasons": dict(left.reasons), "unit": left.unit}
    return save(dict(trial.arrays), metadata={"trial": json.dumps(about)})


def _keep(file: Path, content: bytes) -> None:
    """In one step: a reader, or a process that starts after a crash, never finds half of one. What lies there and is no trial (else it had
    been read, and nothing computed) steps aside under a free name: it may be anybody's.
    """
    if os.path.lexists(file):
        file.rename(next(p for n in itertools.count(1) if not os.path.lexists(p := file.with_suffix(f".unreadable-{n}"))))
    put(file, content)


def assign(file: Path, data: PreferenceData, trials: Sequence[Trial | Failure]) -> None:
    """Write every user's group and support in each seed of the trials that were not failures."""
    of_seed = {t.seed: t for t in trials if isinstance(t, Trial)}
    found = [
        Assignment(seed, Groups(t.groups, t.arrays["group"], t.rule), np.asarray(t.arrays["support"], np.float64))
        for seed, t in sorted(of_seed.items())
    ]
    write(file, data.users, found)

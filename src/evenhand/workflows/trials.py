"""Many fits on one data set, dealt to the workers of an engine, whose figures are kept in files: a worker that dies takes no other with it,
and what is on disk is not computed again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.audits.metrics import METRICS, Metric
from evenhand.audits.rates import DECISIONS, matched_gaps
from evenhand.core import NOTIONS, EvenhandError, Groups, Method, Notion, PreferenceData
from evenhand.data.splits import TEST, deal
from evenhand.encode.backbone_encoder import BackboneEncoder, history_pairs, language_model, on_gpu
from evenhand.engines import Engine, Lost
from evenhand.methods.pafo import Pafo
from evenhand.parts import files_of, sources
from evenhand.serve.reads import what_is_read
from evenhand.training.groups import require_groups
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import Assignment, write
from evenhand.workflows.audit import no_test_pairs
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.events import check_constraints
from evenhand.workflows.facts import data_digest
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Prepared, prepare
from evenhand.workflows.progress import Progress
from evenhand.workflows.trial import FORMAT, Failure, Trial, keep, read
from evenhand.workflows.trial_work import Entry, is_matched, trainer


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
        hold = partial(trainer, outside, {unreduced: r.bare() for unreduced, r in read.items()}, parts, seed, self.metrics)
        count = 0

        def beat() -> None:
            ended(count)

        for number, found in self.engine.run(hold, range(len(parts)), gpu=on_gpu(self.encoding.encoder), beat=beat):
            part = parts[number]
            files, why = ([], found.why) if isinstance(found, Lost) else found
            for entry, content in zip(part, files, strict=False):
                keep(self._file(entry, seed), content)
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
        """A trial from disk, under whatever name it was made."""
        found = read(self._file(entry, seed))
        return None if found is None else replace(found, entry=entry.name)


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
    return [
        type(method).__name__,
        type(hyperparameters.base(method).head).__name__,
        hyperparameters.settings(method),
        *([outside] if outside else []),
    ]


def _told(progress: Progress, before: int, total: int, more: int) -> None:
    progress("trials", before + more, total)


def assign(file: Path, data: PreferenceData, trials: Sequence[Trial | Failure]) -> None:
    """Write every user's group and support in each seed of the trials that were not failures."""
    of_seed = {t.seed: t for t in trials if isinstance(t, Trial)}
    found = [
        Assignment(seed, Groups(t.groups, t.arrays["group"], t.rule), np.asarray(t.arrays["support"], np.float64))
        for seed, t in sorted(of_seed.items())
    ]
    write(file, data.users, found)

"""Trainings that go on after a kill: where each one stood is written down now and then, and the same call reads it and goes on from there.

    with checkpointing(folder, steps=10, identity={"method": "pafo", "seed": "0"}):
        fitted = method.fit(train, valid, 0)

A method trains several models one after the other, so every training on texts has its number inside the `with`: those that were finished are
read instead of trained, the one that was in progress goes on, and all comes out as it would have undisturbed, bit by bit on one machine.
Ctrl-C and SIGTERM end a training after the step that it is in, with a checkpoint of it; a second one ends it at once (ending.py).
Trainings on frozen features take seconds and are repeated, as is the head's phase of a training that never came to its first checkpoint.
No number depends on how many processes (ranks.py) train, so any other number of them may go on; all must find the same files.

A file is one checkpoint: `000017.safetensors`, every tensor, and everything else as JSON in its header. The folder's list of files
(`evenhand.writing`) knows its SHA-256: of a damaged or half-written one the training takes the file before it, and says so. Nothing is
pickled, and nothing of anybody else's in the folder is read or replaced.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from evenhand import ranks, writing
from evenhand.core import DataError, EvenhandError, clip
from evenhand.training.ending import Ending
from evenhand.training.state_bytes import State, header, packed, random_state, set_random_state, unpacked

FORMAT = "3"  # of the files, and of how batches are drawn, which a training that goes on draws again; another one is refused
KIND = "checkpoint"
MINUTES = 10.0
NAME = re.compile(r"(\d{6})\.safetensors")


class Memory(Protocol):
    """Whatever remembers something from batch to batch: an optimiser, the weights of groups, a generator of its own."""

    def state(self) -> State:
        """All of it, in whatever order it was made."""

    def load(self, state: State) -> None:
        """Take what `state` gave as the present."""


def say_warning(sentence: str) -> None:
    """What a checkpoint has to say to a caller who named nobody to listen."""
    warnings.warn(sentence, stacklevel=3)


@contextmanager
def checkpointing(
    folder: Path | str,
    *,
    steps: int | None = None,
    minutes: float | None = MINUTES,
    identity: Mapping[str, str] | None = None,
    say: Callable[[str], None] = say_warning,
) -> Iterator[None]:
    """Inside, every training on texts is written to `folder` after so many steps or minutes, whichever comes first, and goes on from there.

    identity: what must be the same for a checkpoint to be gone on from, such as the method with its settings, the data's fingerprint and the
    seed: names and values that may stand in an error. Pairs, features, starting weights and schedule of each training are compared as
    well. say: told in a sentence what was found, a damaged file, a disk that is full (training goes on). When the block ends without an error
    the checkpoints are taken away, and the folder if nothing else is in it.

    Raises DataError if the folder cannot be used or holds checkpoints of something else; EvenhandError for steps or minutes out of range.
    """
    for name, value in (("steps", steps), ("minutes", minutes)):
        if value is not None and not value > 0:
            raise EvenhandError(f"checkpoint: {name} is {value}. Expected: a number above 0. To do: correct it, or leave it out.")
    keeper = _Keeper(Path(folder), steps, minutes, {"format": FORMAT, **(identity or {})}, say)
    before = _keeper.set(keeper)
    try:
        with keeper.ending.heard():
            yield
    finally:
        _keeper.reset(before)
    ranks.wait()  # the others may still read what a finished training left
    keeper.take_away()


def begun(lasting: Mapping[str, Memory], passing: Mapping[str, Memory], start: Callable[[], Mapping[str, str]]) -> Record | None:
    """Called by a training before its first step: the parts are brought to where the checkpoint of this training was. None: nobody keeps any.

    lasting: what a finished training leaves; passing: what only one in progress needs. start: digests of what it starts from, by name.
    """
    keeper = _keeper.get()
    return None if keeper is None else keeper.begun(lasting, passing, start())


@dataclass
class Record:
    """The checkpoints of one training."""

    keeper: _Keeper
    number: int
    lasting: Mapping[str, Memory]
    passing: Mapping[str, Memory]
    start: Mapping[str, str]
    finished: bool = False  # as it was found
    steps: int = 0
    unsaved: int = 0
    saved: float = field(default_factory=time.monotonic)

    def step(self) -> None:
        """After every step: write where the training stands, where that is due, and end where the program was asked to."""
        self.steps += 1
        self.unsaved += 1
        often, long = self.keeper.steps, self.keeper.minutes
        ends = self.keeper.is_to_end()
        if ends or (often is not None and self.unsaved >= often) or (long is not None and time.monotonic() - self.saved >= 60 * long):
            kept = self._write({**self.lasting, **self.passing}, finished=False)
            if ends:
                self.keeper.end(f"the training stopped after step {self.steps}", kept)
        self.keeper.ending.waits = True

    def finish(self) -> None:
        """Write what the training leaves, and end where the program was asked to."""
        kept = self._write(self.lasting, finished=True)
        self.keeper.ending.waits = False  # before all agree: whoever is asked to end after that would never be heard
        if self.keeper.is_to_end():
            self.keeper.end(f"the training was finished after step {self.steps}", kept)

    def _write(self, parts: Mapping[str, Memory], finished: bool) -> bool:
        said = {
            "training": self.number,
            "steps": self.steps,
            "finished": finished,
            "start": dict(self.start),
            "identity": self.keeper.identity,
            "ranks": ranks.count(),
        }
        states = {name: part.state() for name, part in parts.items()} | {"random": random_state()}
        self.unsaved, self.saved = 0, time.monotonic()
        return self.keeper.write(self.number, said, states, finished)


@dataclass(frozen=True)
class _File:
    """A checkpoint that is as it was written."""

    name: str
    said: State


class _Keeper:
    """The folder: which checkpoints it holds, by training, oldest first."""

    def __init__(self, folder: Path, steps: int | None, minutes: float | None, identity: Mapping[str, str], say: Callable[[str], None]):
        self.folder, self.steps, self.minutes, self.identity, self.say = folder, steps, minutes, dict(identity), say
        self.ending = Ending(say)
        self.trainings = 0  # begun so far
        self.writes = ranks.first()
        self.files: dict[int, list[_File]] = {}
        writing.check(folder, [], KIND)
        ranks.wait()  # the first may still be taking away what a fit before this one left
        self.last = 0  # number of the newest file, whoever's
        damaged = 0
        for name in self._names():
            self.last = int(name[:6])
            found = self._read(name)
            damaged += found is None
            if found is not None:
                self._require("identity", found.said["identity"], self.identity)
                self.files.setdefault(found.said["training"], []).append(found)
        newest = {number: files[-1].said for number, files in self.files.items()}
        ranks.same("checkpoints", json.dumps(newest, sort_keys=True))  # or each would go on from a place of its own
        if damaged:
            are = "s are" if damaged > 1 else " is"
            say(f"{folder}: {damaged} checkpoint{are} damaged or not evenhand's, and left alone; the last good one is used.")
        if newest:
            done = sum(said["finished"] for said in newest.values())
            parts = [f"{done} finished training{'' if done == 1 else 's'}"]
            parts += [f"one that stands after step {said['steps']}" for said in newest.values() if not said["finished"]]
            others = sorted({said["ranks"] for said in newest.values()} - {ranks.count()})
            left = f", as {' and '.join(map(str, others))} process{'es' if others != [1] else ''} left them" if others else ""
            say(f"{folder}: going on from {', '.join(parts)}{left}.")

    def begun(self, lasting: Mapping[str, Memory], passing: Mapping[str, Memory], start: Mapping[str, str]) -> Record:
        self.trainings += 1
        record = Record(self, self.trainings, lasting, passing, start)
        if record.number not in self.files:
            return record
        file = self.files[record.number][-1]
        self._require(f"training {record.number}", file.said["start"], start)
        try:
            states = unpacked((self.folder / file.name).read_bytes())[1]
        except OSError as error:
            raise self._refused(f"{file.name} cannot be read ({error.strerror or error})", "the file as it was when this began") from error
        record.finished, record.steps = file.said["finished"], file.said["steps"]
        for name, part in (lasting if record.finished else {**lasting, **passing}).items():
            part.load(states[name])
        set_random_state(states["random"])
        return record

    def is_to_end(self) -> bool:
        """Whether this process was asked to end, or another of those that work together: all of them end at the same place."""
        return ranks.lowest(-int(self.ending.asked > 0)) < 0

    def end(self, where: str, kept: bool) -> NoReturn:
        """Say what is kept, and end."""
        ranks.wait()  # the first one to leave makes torchrun end the others, of which one may be writing
        if self.writes and kept:
            self.say(f"{self.folder}: {where} and is kept; the same command goes on from there.")
        self.ending.act()

    def write(self, training: int, said: State, states: State, finished: bool) -> bool:
        """The newest checkpoint of a training; the one before it stays while it is in progress, for the case that the new one is damaged.

        False: it could not be written, which was said. Of several processes the first one writes: all of them stand at the same place.
        """
        if not self.writes:
            return True
        older = self.files.get(training, [])
        name = f"{self.last + 1:06}.safetensors"
        gone = older if finished else older[:-1]
        try:
            writing.write(self.folder, {name: packed(said, states)}, KIND, [f.name for f in gone], private=True)
        except DataError as error:
            self.say(f"No checkpoint was written: {error}{'' if self.ending.asked else ' Training goes on.'}")
            return False
        self.last += 1
        self.files[training] = [*([] if finished else older[-1:]), _File(name, said)]
        return True

    def take_away(self) -> None:
        """All is done. What is damaged or somebody else's stays, and the folder with it."""
        if not self.writes:
            return
        for file in [file for files in self.files.values() for file in files]:
            writing.remove(self.folder, file.name, KIND)
        with suppress(OSError):
            if [p.name for p in self.folder.iterdir()] != [writing.LIST]:
                return
            if not json.loads((self.folder / writing.LIST).read_bytes())["files"]:
                (self.folder / writing.LIST).unlink()
                self.folder.rmdir()

    def _names(self) -> list[str]:
        """Of the files that may be checkpoints, oldest first."""
        try:
            return sorted(p.name for p in self.folder.iterdir() if NAME.fullmatch(p.name)) if self.folder.exists() else []
        except OSError as error:
            raise self._refused(f"it cannot be read ({error.strerror or error})", "a folder that can be read and written to") from error

    def _read(self, name: str) -> _File | None:
        """The checkpoint's own words, or None where the file is not as this package wrote it."""
        try:
            writing.check(self.folder, [name], KIND)
            with (self.folder / name).open("rb") as file:
                return _File(name, header(file)["said"])
        except (DataError, OSError):
            return None

    def _require(self, what: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
        for name in [*expected, *(n for n in found if n not in expected)]:
            if found.get(name) != expected.get(name):
                there, here = (clip(values[name], 200) if name in values else "none" for values in (found, expected))
                raise self._refused(f"its checkpoints are of another training: {what}: {name} is {there}", f"{name} {here}")

    def _refused(self, found: str, expected: str) -> DataError:
        remedy = "choose another folder, or run again what these are of; move the folder away to begin anew"
        return DataError(found, expected=expected, remedy=remedy, file=str(self.folder))


_keeper: ContextVar[_Keeper | None] = ContextVar("keeper", default=None)

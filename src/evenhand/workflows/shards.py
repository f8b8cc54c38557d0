"""The files of a data set → shards, one a file, each on a process of its own: what is finished stays, whatever ends the work.

    OUT/
        files.json              every file that a shard was asked of, and in which folder; those that were left out, and why
        NAME-1a2b3c4d.shard/    see `data.shards`

One process at a time works in a folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from evenhand.core import DataError, EvenhandError, PreferenceData, clip
from evenhand.data.load import load
from evenhand.data.reading import Input, describe, fingerprint, split_of, tables
from evenhand.data.resolve import Plan, SourceHints, resolve, resolve_file
from evenhand.data.shards import ENDING, InputFile, Stored, code, durable, is_shard, opened, write
from evenhand.engines import Engine, Lost
from evenhand.workflows.progress import Told
from evenhand.workflows.unfinished import lock
from evenhand.writing import nothing_left, part, settled, sync

FILES, ABOUT = "files.json", "files of evenhand audit that are or become shards: the same command goes on"
FORMAT = "evenhand files 1"
EVENTS = ("event", "target", "twin")
NOTE = re.compile(r"([\d,]+) (.+)")
ALIKE = ({"Parquet"}, {"Arrow"}, {"JSONL"}, {"CSV"})
NAMED = 20  # files that an error or a report names
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Reading:
    """How files are read, as `load` takes it. scores: columns of margins or rewards. attributes: columns with one value a user."""

    scores: Sequence[str]
    attributes: Sequence[str] = ()
    source: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    on_bad: Literal["error", "skip"] = "error"
    missing: Sequence[str] = ()
    one_user: bool = False
    min_strength: float = 0.0
    weigh_strength: bool = False

    @property
    def hints(self) -> SourceHints:
        return SourceHints(self.source, dict(self.columns), False, self.one_user)

    @property
    def decides(self) -> dict[str, Any]:
        """What all shards of one audit have in common."""
        return {
            "scores": list(self.scores), "attributes": list(self.attributes), "missing": sorted(self.missing),
            "one_user": self.one_user, "min_strength": float(self.min_strength), "weigh_strength": self.weigh_strength,
        }  # fmt: skip

    def load(self, file: Input) -> PreferenceData:
        return load(
            file, source=self.source, columns=self.columns, on_bad=self.on_bad, attributes=self.attributes,
            numbers=self.scores, need_texts=False, one_user=self.one_user, missing=self.missing, min_strength=self.min_strength,
            weigh_strength=self.weigh_strength,
        )  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A shard that is to be. name: the file's below the folder that was named."""

    file: Input
    name: str
    place: Path


@dataclass(frozen=True)
class Broken:
    """A file that cannot be used, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Asked:
    """A file that a shard was asked of. folder: where `name` lay. left_out: why it has no shard; None where it has one, or is to have it."""

    folder: str
    left_out: str | None = None


@dataclass(frozen=True)
class Made:
    """What became of the files: shards, and which were left out, name → why. others: files with a shard in the folder that the data does not hold."""

    shards: Sequence[Path]
    left_out: Mapping[str, str]
    others: Sequence[str] = ()


def make(data: Path, out: Path, reading: Reading, engine: Engine, told: Told) -> Made:
    """A shard of each file of `data` in the folder `out`; those that are there already stay.

    A file that cannot be used is named when all others are done: in a DataError, or with on_bad "skip" in what is given back, and in files.json.
    Raises DataError, too, where the folder is somebody else's or in use, the disk is full, or files cannot be audited in shards.
    """
    data, out = data.absolute(), out.absolute()  # a worker may stand in another folder
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise DataError(
            "it would lie in DATA, whose files it would be taken for when the work goes on", expected="a place outside",
            remedy="choose another place for --partial or --out", file=out.name,
        )  # fmt: skip
    plan = plan_of(data, reading)
    refuse(plan)
    root = data if data.is_dir() else data.parent
    wanted = [Wanted(f, _below(f.path, root), out / _folder(_below(f.path, root))) for f in plan.files]
    own = replace(reading, source=reading.source or plan.source.name)  # all files are of the source that the first one is
    with nothing_left(out), working(out) as known:
        first = not known
        known = {name: file for name, file in known.items() if not _gone(out, root, name, file)}
        _save(out, {**known, **{w.name: Asked(str(root)) for w in wanted if w.name not in known}})
        failed: dict[str, str] = {}
        done = 0

        def tell() -> None:
            told("shards", done, len(wanted), f"{len(failed)} cannot be used" if failed else "")

        tell()
        for number, found in engine.run(partial(own_shard, own), wanted, beat=tell):
            if isinstance(found, Lost):
                failed[wanted[number].name] = found.why
            elif isinstance(found, Broken):
                failed[found.name] = found.why
            done += 1
            tell()
        if failed and (reading.on_bad != "skip" or len(failed) == len(wanted)):
            if first and len(failed) == len(wanted):  # as of a column that no file has: nothing was finished that could go on
                (out / FILES).unlink()
            raise _failed(failed, len(wanted), reading.on_bad)
        left = {name: failed[name] for name in sorted(failed)}
        _save(out, {**known, **{w.name: Asked(str(root), left.get(w.name)) for w in wanted}})
    others = sorted({name for name in known if (out / _folder(name)).is_dir()} - {w.name for w in wanted})
    return Made([w.place for w in wanted if w.name not in left], left, others)


def _gone(out: Path, root: Path, name: str, file: Asked) -> bool:
    """Whether a file that has no shard will never have one: somebody took it out of the folder."""
    return file.folder == str(root) and not (root / name).exists() and not (out / _folder(name)).is_dir()


def plan_of(data: Path, reading: Reading) -> Plan:
    """As `resolve`, but a folder may hold tables of any one kind of `ALIKE`, since each is read alone, and one that is broken does not hide the others."""
    try:
        return resolve(data, reading.hints)
    except DataError:
        found = tables(data) if data.is_dir() else {}
        if len(found) < 2 or {*found.values()} not in ALIKE:
            raise
        files = [_described(path, kind) for path, kind in found.items()]
        for file in files:
            try:
                return replace(resolve_file(file, reading.hints), files=files, path=data)
            except DataError:
                continue
        raise


def _described(path: Path, kind: str) -> Input:
    try:
        return describe(path, split_of(path))
    except DataError:
        return Input(path, kind, split=split_of(path))


def own_shard(reading: Reading) -> Callable[[Wanted], Broken | int]:
    """What one process does: a file → its shard's pairs, or why there is none."""

    def shard(wanted: Wanted) -> Broken | int:
        try:
            digest = fingerprint(wanted.file.path)
        except OSError as error:
            return Broken(wanted.name, f"it cannot be read ({error.strerror or error})")
        if (there := _there(wanted, digest, reading)) is not None:
            return there.about.pairs
        try:
            data = reading.load(wanted.file)
            if data.judgements is not None:
                raise _drawn(wanted.file.name)
            plan = resolve_file(wanted.file, reading.hints)
            kind, notes = _kind(data.source, wanted.file)
            coded = code(data, {
                "file": InputFile(name=wanted.name, sha256=data.fingerprint), "read": reading.decides, "on_bad": reading.on_bad, "source": plan.source.name,
                "columns": dict(reading.columns), "kind": kind, "notes": notes, "times": "time" in plan.names,
            }, wanted.name)  # fmt: skip
        except EvenhandError as error:
            return Broken(wanted.name, str(error).removeprefix(wanted.file.name).lstrip(":, "))  # whoever tells of it names the file
        except OSError as error:
            return Broken(wanted.name, f"it cannot be read ({error.strerror or error})")
        with writes(wanted.place):
            write(coded, wanted.place)
        return len(data)

    return shard


def _there(wanted: Wanted, digest: str, reading: Reading) -> Stored | None:
    """The shard of an earlier run; None where there is none that is whole. Raises DataError where it is of another file or other settings."""
    if not wanted.place.exists():
        return None
    if not is_shard(wanted.place):
        raise DataError(
            "it is not evenhand's", expected="no such folder", remedy="move it away, or choose another place", file=wanted.place.name
        )
    try:
        found = opened(wanted.place)
    except DataError:
        return None  # made again
    said = {**found.about.read, "columns": found.about.columns, "source": found.about.source}
    asked = {**reading.decides, "columns": dict(reading.columns), "source": reading.source}
    if found.about.left.reasons and (found.about.on_bad, reading.on_bad) == ("skip", "error"):  # there were bad rows
        said, asked = {**said, "on_bad": found.about.on_bad}, {**asked, "on_bad": reading.on_bad}
    folder = clip(wanted.place.parent.name)
    for key, value in asked.items():
        if said.get(key) != value:
            raise DataError(
                f"its shard is in {folder}, of other settings: {key} = {clip(said.get(key))}", expected=clip(value),
                remedy=f"give the same options to go on, take the folder {folder} away, or choose another place", file=wanted.name,
            )  # fmt: skip
    if found.about.file.sha256 != digest:
        raise DataError(
            f"its shard is in {folder}, but the file has changed since", expected="the file as it was",
            remedy=f"take the folder {folder}/{wanted.place.name} away to have it made again, or choose another place (as for a file of this name from elsewhere)",
            file=wanted.name,
        )  # fmt: skip
    return found


def found_in(folders: Sequence[Path]) -> Made:
    """The shards in these folders, or that these are. Raises DataError where one that a folder should have is missing."""
    shards: list[Path] = []
    left: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError("there is no such folder", expected="a folder that --partial wrote", remedy="name another", file=folder.name)
        if folder.suffix == ENDING:
            shards.append(folder)
            continue
        known = _load(folder)
        if known is None:
            raise DataError(
                "it holds no shards", expected=f"a folder that --partial wrote, with {FILES}", remedy="name another", file=folder.name
            )
        missing = [name for name, file in known.items() if file.left_out is None and not (folder / _folder(name)).is_dir()]
        if missing:
            raise DataError(
                f"shards of {len(missing):,} of {len(known):,} files are missing: {names(missing)}", expected="a shard of each file",
                remedy="give the command with --partial again, and it goes on; a file that is no longer in DATA is then forgotten", file=folder.name,
            )  # fmt: skip
        shards += [folder / _folder(name) for name, file in known.items() if file.left_out is None]
        for name, file in known.items():
            if file.left_out is not None:
                while name in left:  # of another folder
                    name = f"{folder.name}/{name}"
                left[name] = file.left_out
    return Made(shards, left)


def refuse(plan: Plan) -> None:
    """Raises DataError where files cannot be audited one by one and give what they give together."""
    file = plan.path.name
    if plan.sides or plan.source.needs:
        raise DataError(
            f"the source {plan.source.name} is read from several files together", expected="files that each can be read alone",
            remedy="audit it in one piece, without --partial", file=file,
        )  # fmt: skip
    if plan.source.pairing is not None:
        raise _drawn(file)
    if events := [name for name in EVENTS if name in plan.names]:
        raise DataError(
            f"there is a column '{events[0]}', and shards hold no events", expected="pairs alone", remedy=f"take {', '.join(events)} out of the file, or audit it in one piece, without --partial",
            file=file,
        )  # fmt: skip


def _drawn(file: str) -> DataError:
    return DataError(
        "its pairs are drawn from judgements of single responses, anew in each deal, so that they depend on what lies in a file together",
        expected="one pair of responses a row", remedy="audit it in one piece, without --partial, or bring pairs", file=file,
    )  # fmt: skip


def unwritable(place: Path, error: OSError) -> DataError:
    found = "it cannot be written"
    if isinstance(error, NotADirectoryError | FileExistsError):
        above = next((p.name for p in (place, *place.parents) if p.exists() and not p.is_dir()), place.name)
        found += f", since {clip(above)} is a file"
    mend = (
        "make room"
        if error.errno in FULL
        else "give yourself the right to write there"
        if isinstance(error, PermissionError)
        else "mend this"
    )
    return DataError(
        f"{found} ({error.strerror or error})", expected="a place that can be written to, with room",
        remedy=f"{mend} and give the same command again: finished shards are kept; or choose another place", file=place.name,
    )  # fmt: skip


@contextmanager
def writes(place: Path) -> Iterator[None]:
    """Raises DataError where what is done inside, which is to write there and nothing else, cannot be done."""
    try:
        yield
    except OSError as error:
        raise unwritable(place, error) from error


def putting(folder: Path, named: Path) -> Callable[[str, bytes], Path]:
    """What writes private files into `folder`. Raises DataError, in which the place is called `named`."""

    def put(name: str, content: bytes) -> Path:
        with writes(named):
            _create(folder / name, content)
        return folder / name

    return put


def _create(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)


def private_folder(out: Path) -> None:
    """Makes it, private, unless it is there. Raises DataError."""
    with writes(out):
        settled(out, lambda: None, mode=0o700)


@contextmanager
def working(out: Path) -> Iterator[dict[str, Asked]]:
    """The folder for this process alone, and its files.json. Raises DataError where it is somebody else's, in use or cannot be written to."""
    private_folder(out)
    with held(out):
        known = _load(out)
        if known is None and any(not _temporary(p) for p in out.iterdir()):
            raise DataError(
                "it is not evenhand's",
                expected="no such folder, or one of shards",
                remedy="move it away, or choose another place",
                file=out.name,
            )
        with writes(out):
            for stale in [p for p in out.iterdir() if _temporary(p)]:
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        yield known or {}


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else's for now. Raises DataError where another process holds it."""
    if os.name == "nt":
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(folder, error) from error
    try:
        lock(handle, folder)
        yield
    finally:
        os.close(handle)


def clear(out: Path) -> None:
    """Takes shards and their list away, and the folder unless something else lies there."""
    known = _load(out)
    if known is None:
        return
    for place in [out / _folder(name) for name in known]:
        if is_shard(place):
            shutil.rmtree(place)
    (out / FILES).unlink()
    if not any(out.iterdir()):
        out.rmdir()


def _load(out: Path) -> dict[str, Asked] | None:
    """None where there is none. Raises DataError where it is damaged: then nobody knows what is missing."""
    try:
        said = json.loads((out / FILES).read_bytes())
        assert said["about"] == ABOUT
        if said.get("format") != FORMAT:
            raise DataError(
                "it holds shards of another version of evenhand", expected=FORMAT, remedy="make them again, in another place", file=out.name
            )
        return {
            str(name): Asked(str(f["folder"]), None if f["left_out"] is None else str(f["left_out"])) for name, f in said["files"].items()
        }
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(out, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise DataError(f"{FILES} is damaged", expected="the list that evenhand keeps of its shards", remedy="move the folder away, or choose another place", file=out.name) from error  # fmt: skip


def _save(out: Path, files: Mapping[str, Asked]) -> None:
    staged = part(out / FILES)
    said = (
        json.dumps({"about": ABOUT, "format": FORMAT, "files": {name: asdict(file) for name, file in sorted(files.items())}}, indent=1)
        + "\n"
    )
    with writes(out):
        staged.write_text(said, "utf-8")
        durable(staged)
        os.replace(staged, out / FILES)
        sync(out)


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"it cannot be read ({error.strerror or error})", expected="a folder that you may read", remedy="give yourself the right, or choose another place",
        file=folder.name,
    )  # fmt: skip


def _temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".evenhand-part")


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _folder(name: str) -> str:
    """Where a file's shard lies: a name that tells which one it is, and no two have the same."""
    stem = re.sub(r"[^\w.-]", "_", name.rpartition("/")[2])[:60].lstrip(".")
    return f"{stem}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}{ENDING}"


def _kind(source: str, file: Input) -> tuple[str, dict[str, int]]:
    """What `load` says of a file, and its notes, without the file's name."""
    kind, *notes = source[source.find(" (", len(file.name)) + 2 : -1].split("; ")
    counted = [NOTE.fullmatch(note) for note in notes]
    return kind, {m[2] if m else note: int(m[1].replace(",", "")) if m else 0 for m, note in zip(counted, notes, strict=True)}


def _failed(failed: Mapping[str, str], of: int, on_bad: str) -> EvenhandError:
    first, why = min(failed.items())
    if len(failed) == of:  # whatever it is, it is no single file's
        return EvenhandError(f"{first}: {why}")
    more = f"; nor can {names(sorted(failed)[1:])}" if len(failed) > 1 else ""
    kept = f" The other {of - len(failed):,} of {of:,} files are finished and kept: give the same command again, and it goes on."
    leave = " Or leave such files out with --on-bad skip, and the report says so" if on_bad != "skip" else ""
    return DataError(
        f"this file cannot be used{more}: {clip(why.removesuffix('.'), 400)}", expected="files that can all be read",
        remedy=f"mend or remove {'it' if len(failed) == 1 else 'them'}.{kept}{leave}", file=first,
    )  # fmt: skip


def names(given: Sequence[str]) -> str:
    return ", ".join(clip(n, 100) for n in given[:NAMED]) + (f" and {len(given) - NAMED:,} more" if len(given) > NAMED else "")

"""Files of this package in its users' folders: each whole or not at all, and never in the place of a file that somebody else wrote.

A folder written to holds `.evenhand.json`, the list of what this package wrote there: every file's kind and the SHA-256 of its bytes. A
file that is not in the list, or is of another kind, or has changed since, is not replaced: `check` says so before any work, `write`
again. Steps of a write, any of which may be the last one (a kill, a full disk, a power cut):

1. every file under a temporary name, its bytes on the disk: whatever needs room has happened before anything is replaced
2. the list, with the hashes of what lies there and of what is to come, so that whichever is found later is known as ours
3. every file renamed to its place, in the order given
4. the list, with the hashes of what lies there now

After each of them every file is the old one or the new one, and the same call completes it, temporary files taken away. Names that end in
`.evenhand-part` and begin with a dot are temporary files. One process at a time writes to a folder, where the system can lock one. Of
several ranks (ranks.py) the first writes; the others have the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from evenhand import ranks
from evenhand.core import DataError

LIST = ".evenhand.json"
ABOUT = "What evenhand wrote into this folder, by SHA-256. A file that is not in this list, or has changed since, is never replaced."

MOST_TRIES = 100  # to make a folder that others take away

T = TypeVar("T")
Written = dict[str, tuple[str, list[str]]]  # name → kind, hashes


def check(folder: Path, names: Sequence[str], kind: str) -> None:
    """Whether files of these names may be written to `folder`. Raises DataError, naming the first one that would be lost."""
    if folder.exists() and not folder.is_dir():
        raise DataError("it is a file", expected="a folder", remedy="choose another one", file=str(folder))
    written = _list(folder)
    for name in names:
        if why := _foreign(folder / name, kind, written):
            raise DataError(
                f"it {why}, and would be lost",
                expected=f"no such file, or one of evenhand's own as it was written (a copied folder needs its {LIST} too)",
                remedy="move it away, or choose another place",
                file=str(folder / name),
            )


@contextmanager
def nothing_left(*places: Path) -> Iterator[None]:
    """Where what is done inside fails, takes away the folders, of `places` and of those above them, that were not there before and are empty."""
    real = [Path(os.path.realpath(place)) for place in places]  # NEW/../OLD is not there before NEW is, and OLD is not to go
    new = list(dict.fromkeys(p for place in real for p in (place, *place.parents) if not os.path.lexists(p)))
    try:
        yield
    except BaseException:
        if ranks.first():
            for folder in new:  # the inner ones first
                # it is not there, or something lies in it, or somebody is about to write there
                with suppress(OSError), _opened(folder) as handle:
                    if handle is not None:
                        _lock(handle, wait=False)
                    folder.rmdir()
        raise


def write(folder: Path, files: Mapping[str, bytes], kind: str, names: Sequence[str] = (), *, private: bool = False) -> None:
    """Write every file, name → bytes. names: all that such a set may hold; what an older set left under these is taken away. private: their
    owner alone may read them.

    Raises DataError if a file would be lost (see `check`) or the folder cannot be written to.
    """
    if not ranks.first():
        return
    every = list(dict.fromkeys([*names, *files]))
    try:
        with alone(folder):
            check(folder, every, kind)
            try:
                _write(folder, files, kind, every, private)
            finally:
                for name in (*every, LIST):
                    part(folder / name).unlink(missing_ok=True)
    except OSError as error:
        place = folder if len(files) != 1 else folder / next(iter(files))
        found, expected = f"it cannot be written ({error.strerror or error})", "a place that can be written to"
        raise DataError(found, expected=expected, remedy="make room, or choose another place", file=str(place)) from error


def write_as_it_comes(path: Path, fill: Callable[[IO[bytes]], None], kind: str) -> None:
    """One file that is too large for memory: `fill` writes it, all of it or no file. Raises DataError as `write` does."""
    if not ranks.first():
        return
    try:
        with alone(path.parent):
            check(path.parent, [path.name], kind)
            try:
                part(path).unlink(missing_ok=True)
                with part(path).open("xb") as stream:
                    fill(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                _place(path.parent, {path.name: _digest_of(part(path))}, kind, [path.name])
            finally:
                for name in (path.name, LIST):
                    part(path.with_name(name)).unlink(missing_ok=True)
    except OSError as error:
        found, expected = f"it cannot be written ({error.strerror or error})", "a place that can be written to"
        raise DataError(found, expected=expected, remedy="make room, or choose another place", file=str(path)) from error


def remove(folder: Path, name: str, kind: str) -> None:
    """Take away a file that an earlier run left; what is somebody else's, or was edited since, stays."""
    if (folder / name).exists():
        with suppress(DataError):
            write(folder, {}, kind, [name])


def _write(folder: Path, files: Mapping[str, bytes], kind: str, names: Sequence[str], private: bool) -> None:
    for name, content in files.items():
        stage(folder / name, content, private)
    _place(folder, {name: _digest(content) for name, content in files.items()}, kind, names)


def _place(folder: Path, new: Mapping[str, str], kind: str, names: Sequence[str]) -> None:
    """Every staged file, name → SHA-256, to its place, and what an older set left under `names` away."""
    written = {name: entry for name, entry in _list(folder).items() if (folder / name).exists()}
    left = [name for name in names if name in written and name not in new]
    there = {name: [_digest_of(folder / name)] for name in new if name in written}
    _save_list(folder, written | {name: (kind, [*there.get(name, []), digest]) for name, digest in new.items()})
    for name in new:
        os.replace(part(folder / name), folder / name)
    for name in left:
        (folder / name).unlink()
    kept = {name: entry for name, entry in written.items() if name not in left}
    _save_list(folder, kept | {name: (kind, [digest]) for name, digest in new.items()})


def stage(path: Path, content: bytes, private: bool = False) -> None:
    """The bytes on the disk, under the temporary name of `path`."""
    staged = part(path)
    staged.unlink(missing_ok=True)
    with open(staged, "xb", opener=_for_owner if private else None) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def part(path: Path) -> Path:
    """The temporary name of `path`."""
    return path.with_name(f".{path.name}.evenhand-part")


def put(path: Path, content: bytes) -> None:
    """One file whose name tells that it is ours: in one step, with no entry in the list. Raises OSError."""
    if not ranks.first():
        return
    with alone(path.parent):
        try:
            stage(path, content)
            os.replace(part(path), path)
        finally:
            part(path).unlink(missing_ok=True)


def settled(folder: Path, begin: Callable[[], T], mode: int = 0o777) -> T:
    """What `begin` does inside the folder, which is made first. Both are done again where another run, which failed, took the empty folder, or an
    empty one above it, away in between (see `nothing_left`). Raises OSError.
    """
    for left in reversed(range(MOST_TRIES)):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
            return begin()
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other processes of this package out of it, which lets go when this process ends, however it does. Where the
    system cannot lock a folder (Windows, some network disks), nothing is kept out.
    """
    with ExitStack() as stack:
        settled(folder, lambda: _taken(folder, stack))
        yield


def _taken(folder: Path, stack: ExitStack) -> None:
    """Opens and locks a folder for as long as the stack lasts. Raises FileNotFoundError if it was taken away before it was locked."""
    handle = stack.enter_context(_opened(folder))
    if handle is not None:
        _lock(handle, wait=True)
        if not os.path.samestat(os.fstat(handle), os.stat(folder)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))


def _lock(handle: int, wait: bool) -> None:
    """Raises BlockingIOError where another process has the lock and this one is not to wait; a file system without locks has none."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def sync(folder: Path) -> None:
    """Makes names in a folder durable; a no-op where folders cannot be opened (Windows)."""
    with _opened(folder) as handle:
        if handle is not None:
            try:
                os.fsync(handle)
            except OSError as error:
                if error.errno != errno.EINVAL:  # some file systems sync files alone
                    raise


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A folder's descriptor; None on Windows, which has none."""
    if os.name == "nt":
        yield None
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _foreign(path: Path, kind: str, written: Written) -> str:
    """Why `path` must stay as it is, or ''."""
    if path.name == LIST:
        return "is the list of evenhand's own files"
    if not os.path.lexists(path):
        return ""
    if path.name not in written or path.is_symlink() or not path.is_file():
        return "is not evenhand's"
    of, hashes = written[path.name]
    if of != kind:
        return f"is evenhand's, of another kind ({of})"
    return "" if _digest_of(path) in hashes else "was changed after evenhand wrote it"


def _list(folder: Path) -> Written:
    """What this package wrote into `folder`. Raises DataError if the list is damaged: then nobody knows."""
    try:
        said = json.loads((folder / LIST).read_bytes())
        return {str(n): (str(e["kind"]), [str(h) for h in e["sha256"]]) for n, e in said["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        expected = "the list that evenhand keeps of its own files"
        raise DataError(
            f"{LIST} is damaged", expected=expected, remedy="move it away, or choose another place", file=str(folder)
        ) from error


def _save_list(folder: Path, written: Written) -> None:
    files = {name: {"kind": kind, "sha256": list(dict.fromkeys(hashes))} for name, (kind, hashes) in sorted(written.items())}
    stage(folder / LIST, (json.dumps({"about": ABOUT, "files": files}, indent=1) + "\n").encode())
    os.replace(part(folder / LIST), folder / LIST)
    sync(folder)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

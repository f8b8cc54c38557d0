"""What was found out about a text, kept on disk: a text is looked at once, whatever run, method or file it is of.

    <cache>/found-1/<first 32 digits of a fingerprint>/<first key of the shard>.gz
        a line a text: SHA-256 over (fingerprint, text) in hex, a space, what was found as JSON

Shards are only ever added, each by one atomic rename, a few seconds of work apart: a process killed at any point loses those few seconds
and nothing else, and any number of processes may share a folder. A damaged shard (gzip checks its content) is dropped, and its texts are
looked at again. The texts themselves are not in it, but what is found may betray them, as nouns do: the folder is its owner's alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError
from evenhand.encode.cache import cache_folder
from evenhand.encode.encoder import Progress
from evenhand.engines import Engine, Lost
from evenhand.writing import put

SAVE_SECONDS = 3.0  # work between two saves: what a kill may cost
FIRST_SLAB, LARGEST_SLAB = 64, 8192  # texts between two saves, before any speed was measured and at most

Work = Callable[[Sequence[str]], list[Any]]  # texts → a JSON value each


def kept(
    texts: Sequence[str],
    fingerprint: str,
    work: Work,
    folder: Path | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Distinct text → what `work` finds out about it, a JSON value: from the cache where it is there, else found out now and saved every
    few seconds.

    fingerprint: SHA-256 in hex over all that decides what is found. folder: the cache, by default `cache_folder()`. progress(done, total)
    counts distinct texts. engine: whose workers do `work`, which must be a function of a module then; None: this process. Damaged shards raise a
    warning, no error. Raises EvenhandError when the cache cannot be written.
    """
    keys = {_key(fingerprint, text): text for text in texts}
    shards = (cache_folder() if folder is None else Path(folder)) / "found-1" / fingerprint[:32]
    found = _read_all(shards, keys)
    missing = [key for key, text in keys.items() if text not in found]
    total = len(keys)
    if progress is not None:
        progress(len(found), total)
    slabs = _in_turn(missing, keys, work) if engine is None else _side_by_side(missing, keys, work, engine)
    for slab, values in slabs:
        _write_shard(shards, dict(zip(slab, values, strict=True)))
        found |= {keys[key]: value for key, value in zip(slab, values)}
        if progress is not None:
            progress(len(found), total)
    return found


def _in_turn(missing: Sequence[str], keys: Mapping[str, str], work: Work) -> Iterator[tuple[Sequence[str], list[Any]]]:
    size, start = FIRST_SLAB, 0
    while start < len(missing):
        slab = missing[start : start + size]
        began = time.monotonic()
        yield slab, work([keys[key] for key in slab])
        start += len(slab)
        seconds = max(time.monotonic() - began, 1e-3)
        size = max(FIRST_SLAB, min(LARGEST_SLAB, int(len(slab) * SAVE_SECONDS / seconds)))


def _side_by_side(missing: Sequence[str], keys: Mapping[str, str], work: Work, engine: Engine) -> Iterator[tuple[Sequence[str], list[Any]]]:
    size = max(FIRST_SLAB, min(LARGEST_SLAB // 8, -(-len(missing) // (4 * engine.at_once))))
    slabs = [missing[i : i + size] for i in range(0, len(missing), size)]
    for number, values in engine.run(partial(_worker, work), ([keys[key] for key in slab] for slab in slabs)):
        if isinstance(values, Lost):
            raise EvenhandError(
                f"{len(slabs[number])} texts could not be looked at: {values.why}. Expected: workers with room for the instrument. To do: fewer at once, "
                "or machines with more memory; the same command goes on with what is left."
            )
        yield slabs[number], values


def _worker(work: Work) -> Work:
    return work


def _key(fingerprint: str, text: str) -> str:
    """The fingerprint has a fixed length, so that no two pairs run together."""
    return hashlib.sha256(fingerprint.encode() + text.encode("utf-8", "surrogatepass")).hexdigest()


def _write_shard(shards: Path, found: Mapping[str, Any]) -> None:
    """One shard, complete or not there at all. Its name follows from its first text: what a killed process left half written is written
    anew.
    """
    lines = "".join(f"{key} {json.dumps(value, separators=(',', ':'))}\n" for key, value in found.items())
    try:
        shards.mkdir(parents=True, exist_ok=True, mode=0o700)
        put(shards / f"{next(iter(found))}.gz", gzip.compress(lines.encode(), 1, mtime=0))
    except OSError as error:
        raise EvenhandError(
            f"The cache of what was found in texts cannot be written: {error.strerror} ({shards}). Expected: a folder with room and write "
            "access. To do: name another folder in the environment variable EVENHAND_CACHE."
        ) from error


def _read_all(shards: Path, keys: Mapping[str, str]) -> dict[str, Any]:
    """Text → what is kept of it."""
    found: dict[str, Any] = {}
    for shard in sorted(shards.glob("*.gz")):
        if len(found) == len(keys):
            break
        try:
            lines = gzip.decompress(shard.read_bytes()).decode().splitlines()
            if not lines:
                raise EOFError
            found |= {keys[line[:64]]: json.loads(line[65:]) for line in lines if line[:64] in keys}
        except FileNotFoundError:  # another process dropped it in the meantime
            continue
        except (OSError, EOFError, zlib.error, ValueError) as damage:
            warnings.warn(f"cache shard {shard.name} is damaged ({type(damage).__name__}); it is dropped and its texts are looked at again", stacklevel=3)  # fmt: skip
            with suppress(OSError):
                shard.unlink()
    return found

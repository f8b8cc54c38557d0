"""A cache of text vectors on disk, addressed by content: a text is encoded once, whatever the run, the method or the file it came in.

    <cache>/vectors-2/<first 32 digits of the encoder's fingerprint>/<time>-<process>-<random>.safetensors
        keys    uint8[n, 32]    SHA-256 over (encoder fingerprint, text): the text itself is never stored
        vectors float32[n, d]
        sums    uint32[n]       CRC-32 over key and vector

Shards are only ever added, each by one atomic rename, a few seconds of encoding apart: a process killed at any point loses those few
seconds, or the texts that it was reading together, and any number of processes may share a folder. A damaged shard is dropped and its texts
encoded again.

A backbone's vectors depend on the texts beside them in their last digits (`BackboneEncoder`). So texts are read in blocks whose bounds follow
from their places among all texts that were asked for, and a shard holds whole blocks: neither time, nor workers, nor a kill in the middle
change who is read with whom. What was in the cache before, from other texts, does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from evenhand import ranks
from evenhand.core import EvenhandError
from evenhand.encode.encoder import Progress, TextEncoder
from evenhand.encode.prompted import Prompted, apart
from evenhand.engines import Engine, Lost

SAVE_SECONDS = 3.0  # between two saves, at least
MOST = 8192  # texts of a shard, or a block more
FIRST, BLOCK = (
    32,
    256,
)  # texts in a row that are read together, or given to a worker of an engine: at first, so that something is kept early, and later
LETTERS = 65_536  # of a block, or a text more


def cache_folder() -> Path:
    """$EVENHAND_CACHE, else evenhand in $XDG_CACHE_HOME, else ~/.cache/evenhand."""
    if named := os.environ.get("EVENHAND_CACHE"):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "evenhand"
    return Path(os.path.expanduser("~")) / ".cache" / "evenhand"


def encode_cached(
    texts: Sequence[str],
    encoder: TextEncoder,
    folder: Path | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    gpu: bool = False,
) -> np.ndarray:
    """Vectors float32[n, encoder.dim] of `texts`: from the cache where it has them, else encoded and saved every few seconds.

    folder: the cache, by default `cache_folder()`. progress(done, total) counts distinct texts. engine: whose workers encode what is missing, each
    with the encoder in memory; None: this process. gpu: the encoder computes on a GPU, of which each worker needs one. Damaged shards raise a warning, no error. Raises EvenhandError when the cache cannot be written.
    """
    distinct: dict[bytes, int] = {}  # key → row; equal texts share one
    rows = np.empty(len(texts), dtype=np.int64)
    wording: list[str] = []
    fingerprint = encoder.fingerprint
    for i, text in enumerate(texts):
        rows[i] = row = distinct.setdefault(_key(fingerprint, text), len(distinct))
        if row == len(wording):
            wording.append(text)
    shards = (cache_folder() if folder is None else Path(folder)) / "vectors-2" / fingerprint[:32]
    vectors = np.empty((len(wording), encoder.dim), dtype=np.float32)
    stored = _read_all(shards, distinct, vectors) if ranks.first() else np.zeros(len(wording), dtype=bool)
    missing = np.flatnonzero(~ranks.of_first(stored))  # what one rank finds another may not, a moment later
    ranks.of_first(vectors)
    if progress is not None:
        progress(len(wording) - len(missing), len(wording))
    found = _Found(shards, list(distinct), vectors)
    of = _block_of(wording)[missing]
    blocks = np.split(missing, np.flatnonzero(np.diff(of)) + 1) if len(missing) else []
    known = len(wording) - len(missing)
    try:
        if engine is None or ranks.count() > 1:
            for block in blocks:
                report = None if progress is None else lambda done, _, known=known: progress(known + done, len(wording))
                found.add(block, ranks.of_first(encoder.encode([wording[row] for row in block], report)))
                known += len(block)
        else:
            asked = ([wording[row] for row in block] for block in blocks)
            for number, said in engine.run(partial(_encoding, encoder), asked, gpu=gpu, beat=found.save):
                if isinstance(said, Lost):
                    raise EvenhandError(
                        f"{len(blocks[number])} texts could not be encoded: {said.why}. Expected: workers with room for the encoder. To do: fewer "
                        "--jobs, or machines with more memory; the same command goes on with what is left."
                    )
                found.add(blocks[number], said)
                known += len(blocks[number])
                if progress is not None:
                    progress(known, len(wording))
    finally:
        found.save(at_once=True)
    return vectors if len(wording) == len(texts) else vectors[rows]


def _block_of(wording: Sequence[str]) -> np.ndarray:
    """The number of each text's block, int64[n], ascending. It follows from the texts alone."""
    block = np.empty(len(wording), dtype=np.int64)
    number = texts = letters = 0
    most = min(FIRST, BLOCK)
    for row, text in enumerate(wording):
        if texts == most or letters >= LETTERS:
            number, texts, letters, most = number + 1, 0, 0, min(2 * most, BLOCK)
        block[row] = number
        texts, letters = texts + 1, letters + len(text)
    return block


class _Found:
    """Vectors as they come, saved at once and then every few seconds."""

    def __init__(self, shards: Path, keys: Sequence[bytes], vectors: np.ndarray):
        self.shards, self.keys, self.vectors = shards, keys, vectors
        self.waiting: list[np.ndarray] = []  # rows that no shard has yet
        self.saved = -math.inf

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        self.vectors[rows] = vectors
        if ranks.first():
            self.waiting.append(rows)
            self.save()

    def save(self, at_once: bool = False) -> None:
        """Where it is time, or at once."""
        due = at_once or time.monotonic() - self.saved >= SAVE_SECONDS or sum(map(len, self.waiting)) >= MOST
        if self.waiting and due:
            rows = np.concatenate(self.waiting)
            self.waiting.clear()
            _write_shard(self.shards, [self.keys[row] for row in rows], self.vectors[rows])
            self.saved = time.monotonic()


def _encoding(encoder: TextEncoder) -> Callable[[Sequence[str]], np.ndarray]:
    return encoder.encode


def _key(fingerprint: str, text: str) -> bytes:
    """SHA-256 over both. The fingerprint has a fixed length, so no two pairs run together; nor do a prompt, its response and
    what is told of the user."""
    prompt, response, told = apart(text)
    before = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(text, Prompted) else ""
    before += hashlib.sha256(json.dumps(told).encode()).hexdigest() if told else ""
    return hashlib.sha256(f"{fingerprint}{before}".encode() + response.encode("utf-8", "surrogatepass")).digest()


def _sums(keys: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.array([crc32(vector.tobytes(), crc32(key.tobytes())) for key, vector in zip(keys, vectors)], dtype=np.uint32)


def _write_shard(shards: Path, keys: Sequence[bytes], vectors: np.ndarray) -> None:
    """One shard, complete or not there at all."""
    from safetensors.numpy import save

    raw = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), 32)
    content = save({"keys": raw, "vectors": vectors, "sums": _sums(raw, vectors)})
    name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = shards / f"{name}.partial"
    try:
        shards.mkdir(parents=True, exist_ok=True, mode=0o700)  # vectors can betray what a text says
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(shards / f"{name}.safetensors")
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise EvenhandError(
            f"The cache of text vectors cannot be written: {error.strerror} ({shards}). Expected: a folder with room and write access. "
            "To do: name another folder in the environment variable EVENHAND_CACHE."
        ) from error


def _read_all(shards: Path, distinct: dict[bytes, int], vectors: np.ndarray) -> np.ndarray:
    """Fills rows of `vectors` from the shards; bool[distinct texts], True where one was found."""
    stored = np.zeros(len(vectors), dtype=bool)
    for shard in sorted(shards.glob("*.safetensors")):
        if stored.all():
            break
        try:
            rows, values = _read_shard(shard, distinct, vectors.shape[1])
        except FileNotFoundError:  # another process dropped it in the meantime
            continue
        except _Damaged as damage:
            warnings.warn(f"cache shard {shard.name} is damaged ({damage}); it is dropped and its texts are encoded again", stacklevel=3)
            with suppress(OSError):
                shard.unlink()
            continue
        vectors[rows] = values
        stored[rows] = True
    return stored


class _Damaged(Exception):
    """What is wrong with a shard."""


def _read_shard(shard: Path, distinct: dict[bytes, int], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows of distinct texts, their vectors) of the shard's texts that are wanted. Vectors are read only if there are any."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(shard, framework="numpy") as file:
            keys = file.get_tensor("keys")
            raw = keys.tobytes()
            wanted = [(i, row) for i in range(len(keys)) if (row := distinct.get(raw[32 * i : 32 * i + 32])) is not None]
            if not wanted:
                return np.empty(0, dtype=np.int64), np.empty((0, dim), dtype=np.float32)
            vectors, sums = file.get_tensor("vectors"), file.get_tensor("sums")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise _Damaged(type(error).__name__) from error
    if keys.shape[1:] != (32,) or vectors.shape != (len(keys), dim) or vectors.dtype != np.float32 or sums.shape != (len(keys),):
        raise _Damaged("unexpected shapes")
    at, rows = np.array(wanted, dtype=np.int64).T
    if not np.array_equal(_sums(keys[at], vectors[at]), sums[at]):
        raise _Damaged("checksums differ")
    return rows, vectors[at]

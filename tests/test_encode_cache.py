"""The cache of vectors: what is encoded again, and what survives kills, neighbours and damage. All with the real encoder."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext as does_not_raise
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from evenhand.core import EvenhandError
from evenhand.encode import cache
from evenhand.encode.cache import cache_folder, encode_cached
from evenhand.encode.minilm import MiniLM
from evenhand.engines.here import InProcess

TEXTS = [f"Answer {i}: {word} and then some more words." for i, word in enumerate(["stir", "wait", "rest", "serve"] * 6)]


def encode(count: int, folder: Path, out: Path) -> None:
    """Life of a process that encodes and saves very often."""
    cache.SAVE_SECONDS, cache.BLOCK = 0.1, 8
    cache.encode_cached(long_texts(count), MiniLM(), folder).tofile(out)


@dataclass
class Counting:
    """The embedded encoder, with a list of the texts it was asked for."""

    inner: MiniLM
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name, self.fingerprint, self.dim = self.inner.name, self.inner.fingerprint, self.inner.dim
        self.max_tokens, self.chunked, self.tokens = self.inner.max_tokens, self.inner.chunked, self.inner.tokens

    def encode(self, texts: Sequence[str], progress=None) -> np.ndarray:
        self.asked += texts
        return self.inner.encode(texts, progress)


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


@pytest.fixture
def encoder(minilm: MiniLM) -> Counting:
    return Counting(minilm)


@pytest.fixture(scope="module")
def expected(minilm: MiniLM) -> np.ndarray:
    return minilm.encode(TEXTS)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def rows(shard: Path) -> int:
    with safe_open(shard, framework="numpy") as file:
        return file.get_slice("keys").get_shape()[0]


def long_texts(count: int) -> list[str]:
    return [f"text number {i} " + "with many words " * 20 for i in range(count)]


def start(count: int, folder: Path, out: Path) -> ForkProcess:
    """A copy of this process, which has loaded what takes seconds."""
    process = get_context("fork").Process(target=encode, args=(count, folder, out))
    process.start()
    return process


def test_each_distinct_text_is_encoded_once_ever(tmp_path, encoder: Counting, expected: np.ndarray) -> None:
    twice = [text for text in TEXTS for _ in range(2)]
    first = encode_cached(twice, encoder, tmp_path)
    assert encoder.asked == TEXTS
    assert np.array_equal(first, np.repeat(expected, 2, axis=0))
    again = encode_cached(TEXTS[::-1], encoder, tmp_path)
    assert encoder.asked == TEXTS
    assert np.array_equal(again, first[::2][::-1])  # to the bit
    more = encode_cached(["new", *TEXTS[:3]], encoder, tmp_path)
    assert encoder.asked == [*TEXTS, "new"]
    assert np.array_equal(more[1:], first[::2][:3])


@dataclass
class Together:
    """Vectors that tell whom a text was read with. ends: at this text, if it is not None."""

    ends: str | None = None
    fingerprint, dim = "e" * 64, 2

    def encode(self, texts: Sequence[str], progress=None) -> np.ndarray:
        if self.ends in texts:
            raise RuntimeError("the end")
        return np.array([[len(text), hash(tuple(texts)) % 1000] for text in texts], np.float32)


def test_neither_time_nor_an_end_nor_workers_change_who_is_read_with_whom(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cache, "BLOCK", 5)
    known = TEXTS[3:11:2]  # from another run
    found = {}
    for name, seconds, ends, engine in (("a", 0.0, TEXTS[17], None), ("b", 3600.0, TEXTS[8], None), ("c", 3600.0, None, InProcess())):
        monkeypatch.setattr(cache, "SAVE_SECONDS", seconds)
        encode_cached(known, Together(), tmp_path / name)
        with pytest.raises(RuntimeError, match="the end") if ends else does_not_raise():
            encode_cached(TEXTS, Together(ends), tmp_path / name, engine=engine)
        found[name] = encode_cached(TEXTS, Together(), tmp_path / name)
    assert np.array_equal(found["a"], found["b"])
    assert np.array_equal(found["a"], found["c"])
    assert len(set(found["a"][:, 1])) == 6  # the known ones, and five blocks of what is left


def test_encoders_do_not_share_vectors(tmp_path, encoder: Counting) -> None:
    encode_cached(TEXTS[:2], encoder, tmp_path)
    cut = Counting(MiniLM(chunked=False))
    encode_cached(TEXTS[:2], cut, tmp_path)
    assert cut.asked == TEXTS[:2]


def test_cache_holds_no_text(tmp_path, encoder: Counting) -> None:
    encode_cached(TEXTS[:2], encoder, tmp_path)
    content = b"".join(file.read_bytes() + file.name.encode() for file in tmp_path.rglob("*") if file.is_file())
    assert content
    assert b"Answer" not in content
    assert b"stir" not in content


def test_progress_counts_cached_texts_as_done(tmp_path, encoder: Counting) -> None:
    encode_cached(TEXTS[:4], encoder, tmp_path)
    seen: list[tuple[int, int]] = []
    encode_cached([*TEXTS[:8], *TEXTS[:8]], encoder, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[0] == (4, 8)
    assert seen[-1] == (8, 8)


def test_empty_and_odd_texts(tmp_path, encoder: Counting) -> None:
    assert encode_cached([], encoder, tmp_path).shape == (0, 384)
    odd = ["", "\ud800", "\udfff", "nul \0 inside"]
    first = encode_cached(odd, encoder, tmp_path)
    assert np.isfinite(first).all()
    assert np.array_equal(encode_cached(odd, encoder, tmp_path), first)
    assert encoder.asked == odd  # two different lone surrogates are two texts


def test_sigkill_loses_only_the_unsaved(tmp_path, encoder: Counting, minilm: MiniLM) -> None:
    count = 1500
    process = start(count, tmp_path, tmp_path / "out")
    deadline = time.monotonic() + 60
    while len(shards(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL  # it was at work
    saved = sum(rows(shard) for shard in shards(tmp_path))
    assert 24 <= saved < count
    wanted = long_texts(saved + 8)  # texts are encoded in order, so all but the last 8 are there
    resumed = encode_cached(wanted, encoder, tmp_path)
    assert encoder.asked == wanted[saved:]
    assert np.array_equal(resumed, minilm.encode(wanted))  # to the bit what an undisturbed run would have given


def test_two_processes_share_a_folder(tmp_path, encoder: Counting) -> None:
    count = 40
    processes = [start(count, tmp_path / "cache", tmp_path / f"out{i}") for i in range(2)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    results = [np.fromfile(tmp_path / f"out{i}", dtype=np.float32).reshape(count, 384) for i in range(2)]
    assert np.array_equal(results[0], results[1])
    cached = encode_cached(long_texts(count), encoder, tmp_path / "cache")
    assert encoder.asked == []
    assert np.array_equal(cached, results[0])
    assert not list(tmp_path.rglob("*.partial"))


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-100])


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def garbage(shard: Path) -> None:
    shard.write_bytes(os.urandom(4000))


def flip_a_bit(shard: Path) -> None:
    """Flips one bit near the middle of the file: inside a vector, where safetensors itself notices nothing."""
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, empty, garbage, flip_a_bit])
def test_damaged_shards_are_encoded_again(tmp_path, encoder: Counting, expected: np.ndarray, damage) -> None:
    encode_cached(TEXTS[:4], encoder, tmp_path)
    (whole,) = shards(tmp_path)
    encode_cached(TEXTS[:8], encoder, tmp_path)
    (broken,) = set(shards(tmp_path)) - {whole}
    damage(broken)
    encoder.asked.clear()
    with pytest.warns(UserWarning, match="damaged"):
        vectors = encode_cached(TEXTS[:8], encoder, tmp_path)
    assert encoder.asked == TEXTS[4:8]
    assert np.array_equal(vectors, expected[:8])
    encoder.asked.clear()
    assert np.array_equal(encode_cached(TEXTS[:8], encoder, tmp_path), vectors)
    assert encoder.asked == []


def test_partial_shards_of_a_killed_process_are_ignored(tmp_path, encoder: Counting) -> None:
    encode_cached(TEXTS[:2], encoder, tmp_path)
    (shard,) = shards(tmp_path)
    shard.rename(shard.with_suffix(".partial"))
    encode_cached(TEXTS[:2], encoder, tmp_path)
    assert encoder.asked == TEXTS[:2] * 2


def test_unwritable_cache_is_explained(tmp_path, encoder: Counting) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EvenhandError, match=r"cannot be written.*EVENHAND_CACHE"):
        encode_cached(TEXTS[:1], encoder, tmp_path / "file")


def test_default_folder(monkeypatch, tmp_path, encoder: Counting) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    encode_cached(TEXTS[:1], encoder)
    assert len(shards(tmp_path / "named")) == 1
    monkeypatch.delenv("EVENHAND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "evenhand"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "evenhand"

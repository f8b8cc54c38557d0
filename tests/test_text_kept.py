"""What is kept of texts: what is looked at again, and what survives kills, neighbours and damage."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evenhand.core import EvenhandError
from evenhand.encode.cache import cache_folder
from evenhand.texts.reading.kept import kept

PRINT = "a" * 64
TEXTS = [f"Text {i}: {word} and then some more words." for i, word in enumerate(["stir", "wait", "rest", "serve"] * 6)]

# A slow look at many texts, as one process or two: argv = count, folder, processes.
LOOK = """
import sys, time
from pathlib import Path
from evenhand.engines.here import Processes
from evenhand.texts.reading import kept

def lengths(texts):
    for text in texts:
        time.sleep(0.002)
    return [[len(text), text[:4]] for text in texts]

kept.SAVE_SECONDS, kept.FIRST_SLAB = 0.05, 8
if __name__ == "__main__":
    count, folder, processes = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    found = kept.kept([f"text number {i}" for i in range(count)], "a" * 64, lengths, folder, engine=None if processes == 1 else Processes(processes))
    print(len(found), sum(value[0] for value in found.values()))
"""


def lengths(texts: Sequence[str]) -> list[Any]:
    return [[len(text), text[:4]] for text in texts]


@dataclass
class Looking:
    """Lengths, with a list of the texts that were looked at."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, texts: Sequence[str]) -> list[Any]:
        self.asked += texts
        return lengths(texts)


@pytest.fixture
def look() -> Looking:
    return Looking()


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.gz"))


def rows(shard: Path) -> int:
    return len(gzip.decompress(shard.read_bytes()).splitlines())


def numbered(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


def start(count: int, folder: Path, processes: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LOOK, str(count), str(folder), str(processes)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_each_distinct_text_is_looked_at_once_ever(tmp_path: Path, look: Looking) -> None:
    first = kept([*TEXTS, *TEXTS], PRINT, look, tmp_path)
    assert look.asked == TEXTS
    assert first == dict(zip(TEXTS, lengths(TEXTS)))
    assert kept(TEXTS[::-1], PRINT, look, tmp_path) == first
    assert look.asked == TEXTS
    assert kept(["new", *TEXTS[:3]], PRINT, look, tmp_path) == {"new": [3, "new"], **{t: first[t] for t in TEXTS[:3]}}
    assert look.asked == [*TEXTS, "new"]


def test_another_fingerprint_shares_nothing(tmp_path: Path, look: Looking) -> None:
    kept(TEXTS[:2], PRINT, look, tmp_path)
    kept(TEXTS[:2], PRINT[:-1] + "b", look, tmp_path)  # the folder is the same: its name has the first 32 digits
    kept(TEXTS[:2], "b" + PRINT[1:], look, tmp_path)
    assert look.asked == TEXTS[:2] * 3


def test_the_texts_themselves_are_not_kept_and_the_folder_is_private(tmp_path: Path) -> None:
    kept(TEXTS[:2], PRINT, lambda texts: [0 for _ in texts], tmp_path)
    [shard] = shards(tmp_path)
    assert b"stir" not in gzip.decompress(shard.read_bytes()) + shard.name.encode()
    assert shard.parent.stat().st_mode & 0o077 == 0


def test_progress_counts_kept_texts_as_done(tmp_path: Path, look: Looking) -> None:
    kept(TEXTS[:4], PRINT, look, tmp_path)
    seen: list[tuple[int, int]] = []
    kept([*TEXTS[:8], *TEXTS[:8]], PRINT, look, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(4, 8), (8, 8)]


def test_odd_texts(tmp_path: Path, look: Looking) -> None:
    assert kept([], PRINT, look, tmp_path) == {}
    odd = ["", "\ud800", "\udfff", "nul \0 inside", "a\nb", "é", "e\u0301"]
    assert kept(odd, PRINT, look, tmp_path) == kept(odd, PRINT, look, tmp_path)
    assert look.asked == odd  # two different lone surrogates are two texts


@pytest.mark.parametrize("processes", [1, 2])
def test_sigkill_loses_only_the_unsaved(processes: int, tmp_path: Path, look: Looking) -> None:
    count = 4000  # 8 s
    process = start(count, tmp_path, processes)
    deadline = time.monotonic() + 60
    while len(shards(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it was at work
    saved = sum(rows(shard) for shard in shards(tmp_path))
    assert 0 < saved < count
    found = kept(numbered(count), PRINT, look, tmp_path)
    assert look.asked == numbered(count)[saved:]  # looked at in order, the unsaved alone
    assert found == dict(zip(numbered(count), lengths(numbered(count))))
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(process.pid) == []  # processes that were at work end with the one that gave it
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and f.suffix != ".gz" and f.name.endswith("part")]


def members(session: int) -> list[int]:
    """Processes of a session, as Linux lists them; those that ended and were not waited for left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_processes_side_by_side_find_the_same(tmp_path: Path) -> None:
    runs = [start(300, tmp_path / "shared", 1), start(300, tmp_path / "shared", 1), start(300, tmp_path / "own", 2)]
    said = {run.communicate(timeout=60)[0] for run in runs}
    assert said == {f"300 {sum(map(len, numbered(300)))}\n"}
    assert sum(rows(s) for s in shards(tmp_path / "own")) == 300


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-20])


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


def garbage(shard: Path) -> None:
    shard.write_bytes(os.urandom(4000))


def flip_a_bit(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def no_json(shard: Path) -> None:
    lines = gzip.decompress(shard.read_bytes()).splitlines()
    shard.write_bytes(gzip.compress(b"\n".join(line[:64] + b" {" for line in lines)))


@pytest.mark.parametrize("damage", [truncate, empty, garbage, flip_a_bit, no_json])
def test_damaged_shards_are_dropped(tmp_path: Path, look: Looking, damage: Callable[[Path], None]) -> None:
    kept(TEXTS[:4], PRINT, look, tmp_path)
    [whole] = shards(tmp_path)
    kept(TEXTS[:8], PRINT, look, tmp_path)
    [broken] = set(shards(tmp_path)) - {whole}
    damage(broken)
    look.asked.clear()
    with pytest.warns(UserWarning, match="damaged"):
        found = kept(TEXTS[:8], PRINT, look, tmp_path)
    assert look.asked == TEXTS[4:8]
    assert found == dict(zip(TEXTS[:8], lengths(TEXTS[:8])))
    look.asked.clear()
    assert kept(TEXTS[:8], PRINT, look, tmp_path) == found
    assert look.asked == []


def test_an_unwritable_cache_is_explained(tmp_path: Path, look: Looking) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EvenhandError, match=r"cannot be written.*EVENHAND_CACHE"):
        kept(TEXTS[:1], PRINT, look, tmp_path / "file")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, look: Looking) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path))
    kept(TEXTS[:1], PRINT, look)
    assert cache_folder() == tmp_path
    assert len(shards(tmp_path)) == 1

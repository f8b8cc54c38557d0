"""Many shards → pairs in batches of whole users, the same however the data was cut into shards.

Users and texts of all are put in order once; a batch holds the pairs of some users in the one order that such a multiset has
(`data.canonical`). Batches are coded as shards are, 12-24 bytes a pair, and lie in a folder while they are read; of few pairs, in memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import SafetensorError
from safetensors.numpy import load, save

from evenhand.core import DataError, Exclusions, PreferenceData, clip
from evenhand.data.batches import PAIRS_AT_ONCE, PairBatches, batch_ends
from evenhand.data.shards import CODES, MORE, NUMBER, Columns, Shard, attribute, broken, exact, in_order, narrow

Put = Callable[[str, bytes], Path]

STRINGS_AT_ONCE = 20_000_000  # of users or texts of several shards, in memory together
DEFAULTS: Mapping[str, Any] = {
    "weight": np.float32(1),
    "tie": np.bool_(False),
    "split": np.int8(-1),
}  # of a shard whose file lacked the column


@dataclass(frozen=True)
class Part:
    """One shard among all. user int32[users], text int32[texts + 1]: numbers among all; the last is -1. users_at, pairs_at int64[batches + 1]: where each batch
    begins among its users and pairs. out bool[users]: whose pairs are left out, None = nobody's.
    """

    shard: Shard
    user: np.ndarray
    text: np.ndarray
    users_at: np.ndarray
    pairs_at: np.ndarray
    out: np.ndarray | None


@dataclass(frozen=True)
class Merged:
    """Shards put together, their pairs still where they are. ends int64[batches]: numbers of users, exclusive."""

    users: pa.Array
    texts: pa.Array
    attributes: Mapping[str, Sequence[str]]
    exclusions: Exclusions
    source: str
    pairs: int
    ends: np.ndarray
    parts: Sequence[Part]
    more: Sequence[str]  # of `MORE` and numbers, those that a shard has

    def columns(self, number: int) -> Columns:
        """Of one batch, laid out as a shard's."""
        begin, end = int(self.ends[number - 1]) if number else 0, int(self.ends[number])
        found = [_rows(part, number) for part in self.parts if part.pairs_at[number + 1] > part.pairs_at[number]]
        together: Columns = {}
        for name in ("user", *CODES, *self.more):
            values = np.concatenate([rows[name] if name in rows else _gap(name, rows) for rows in found])
            if name not in CODES or (values >= 0).any():  # else it is as if no shard had it
                together[name] = values
        user = together.pop("user") - begin
        rows = {
            name: narrow(v, len(self.texts)) if name in CODES else exact(v) if name.startswith(NUMBER) else v
            for name, v in together.items()
        }
        return {"count": np.bincount(user, minlength=end - begin).astype(np.int32)} | in_order(user, rows)


def merge(shards: Sequence[Shard], *, repeated: bool = False, skip: bool = False, at_once: int = PAIRS_AT_ONCE) -> Merged:
    """Any order of the shards gives the same. repeated: one file may be there several times. skip: of a user whose attribute has several values the first
    one holds, in the order of the files' names, and pairs from files with another one are left out; else that is an error.

    Raises DataError, with the shard's name, where shards do not go together.
    """
    if not shards:
        raise DataError("there is no shard", expected="at least one", remedy="name folders that --partial wrote")
    shards = sorted(shards, key=lambda s: (s.about.file.name, s.about.file.sha256, s.about.content, s.name))
    _check(shards, repeated)
    texts, text_of = union(s.texts() for s in shards)
    users, user_of = union(s.users().column("user").combine_chunks() for s in shards)
    if any(s.about.times for s in shards) and sum(map(len, user_of)) > len(users):
        raise _times(shards, user_of, len(users))
    attributes, out, lost = _attributes(shards, user_of, len(users), skip)
    counts = [s.counts() for s in shards]
    of_user = np.zeros(len(users), np.int64)
    for numbers, count, gone in zip(user_of, counts, out, strict=True):
        of_user[numbers] += count if gone is None else np.where(gone, 0, count)
    ends = batch_ends(of_user, at_once)
    parts = []
    for shard, numbers, words, count, gone in zip(shards, user_of, text_of, counts, out, strict=True):
        users_at = np.append(0, np.searchsorted(numbers, ends))
        pairs_at = np.append(0, np.cumsum(count, dtype=np.int64))[users_at]
        parts.append(Part(shard, numbers, np.append(words, np.int32(-1)).astype(np.int32), users_at, pairs_at, gone))
    there = _columns(shards)
    more = [*(name for name in MORE if name in there), *(NUMBER + n for n in shards[0].about.numbers)]
    return Merged(users, texts, attributes, _left(shards, lost), _source(shards), int(of_user.sum()), ends, parts, more)


def _columns(shards: Sequence[Shard]) -> set[str]:
    """What a shard has, for all. Raises DataError where one has texts that another lacks: in one file each such row would be bad."""
    held = [(s, set(s.columns(0, 0))) for s in shards]
    there = {name for _, names in held for name in names}
    for name in CODES:
        full = next((s for s, names in held if name in names), None)
        lacking = [s for s, names in held if name not in names and s.about.pairs]
        if full is not None and lacking:
            raise DataError(
                f"it has no '{name}'" + (f", as {len(lacking) - 1:,} other shards" if len(lacking) > 1 else ""), expected=f"one, as in '{clip(full.name)}'",
                remedy="name its column (--column) when the shard is made, or leave it out", file=lacking[0].name,
            )  # fmt: skip
    return there


def union(arrays: Iterable[pa.Array]) -> tuple[pa.Array, list[np.ndarray]]:
    """(distinct values in order, int32[n] of each array: its values' places in that). Arrays hold distinct strings in order."""
    known = pa.array([], pa.large_string())
    codes: list[np.ndarray] = []
    waiting: list[pa.Array] = []

    def settle() -> None:
        nonlocal known
        filled = [a for a in (known, *waiting) if len(a)]  # Arrow drops empty chunks
        if filled:
            coded = pa.chunked_array(filled).dictionary_encode()  # what is known keeps its numbers
            found = iter(coded.chunks[1 if len(known) else 0 :])
            known = coded.chunk(coded.num_chunks - 1).dictionary
        codes.extend(next(found).indices.to_numpy().astype(np.int32, copy=False) if len(a) else np.zeros(0, np.int32) for a in waiting)
        waiting.clear()

    for array in arrays:
        waiting.append(array)
        if sum(map(len, waiting)) > STRINGS_AT_ONCE:
            settle()
    if waiting:
        settle()
    order = pc.sort_indices(known)
    place = np.empty(len(order), np.int32)
    place[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return known.take(order), [place[c] for c in codes]


def batches(merged: Merged, put: Put | None = None, told: Callable[[str, int, int], None] = lambda what, done, total: None) -> PairBatches:
    """Its pairs batch by batch. put: writes a batch's file of this name and says where; without it, or of one batch, they are in memory.

    Raises DataError where a shard is broken, and in reading where a batch's file is.
    """
    held: list[Columns | Path] = []
    digest = hashlib.sha256()
    for array in (merged.users, merged.texts, *(pa.array(v, pa.large_string()) for _, v in sorted(merged.attributes.items()))):
        _hash_strings(digest, array)
    digest.update("\0".join(sorted(merged.attributes)).encode())
    for number in range(len(merged.ends)):
        columns = merged.columns(number)
        packed = save(columns)
        digest.update(hashlib.sha256(packed).digest())
        if put is None or len(merged.ends) == 1:
            held.append(columns)
        else:
            held.append(put(f"batch-{number:06d}.safetensors", packed))
        told("merge", number + 1, len(merged.ends))
    users, texts, begins = merged.users.to_pylist(), merged.texts.to_pylist(), [0, *merged.ends.tolist()]

    def read() -> Iterator[PreferenceData]:
        for number, batch in enumerate(held):
            yield _data(_got(batch) if isinstance(batch, Path) else batch, begins[number], users, texts)

    return PairBatches(users, texts, merged.pairs, read, merged.attributes, merged.exclusions, merged.source, digest.hexdigest())


def _data(columns: Columns, begin: int, users: Sequence[str], texts: Sequence[str]) -> PreferenceData:
    user = np.repeat(np.arange(begin, begin + len(columns["count"]), dtype=np.int32), columns["count"])
    prompt, chosen, rejected = (
        columns[c].astype(np.int32, copy=False) if c in columns else np.full(len(user), -1, np.int32) for c in CODES
    )
    return PreferenceData(
        users, texts, user, prompt, chosen, rejected, weight=columns.get("weight"), tie=columns.get("tie"), split=columns.get("split"),
        numbers={c.removeprefix(NUMBER): v.astype(np.float64, copy=False) for c, v in columns.items() if c.startswith(NUMBER)},
    )  # fmt: skip


def _rows(part: Part, number: int) -> Columns:
    """One shard's pairs of a batch, users and texts numbered among all."""
    first, last = part.users_at[number : number + 2].tolist()
    count = part.shard.counts(first, last)
    rows = part.shard.columns(*part.pairs_at[number : number + 2].tolist())
    user = np.repeat(part.user[first:last], count)
    if any(len(values) != len(user) for values in rows.values()):
        raise broken(Path(part.shard.name), "users have other numbers of pairs")
    rows = {"user": user} | {name: part.text[values] if name in CODES else values for name, values in rows.items()}
    if part.out is not None and part.out[first:last].any():
        kept = ~np.repeat(part.out[first:last], count)
        rows = {name: values[kept] for name, values in rows.items()}
    return rows


def _gap(name: str, rows: Columns) -> np.ndarray:
    """What a shard says that lacks a column which another one has."""
    return np.full(len(rows["user"]), DEFAULTS.get(name, np.int32(-1)))


def _check(shards: Sequence[Shard], repeated: bool) -> None:
    first = shards[0]
    for shard in shards[1:]:
        if sorted(shard.about.numbers) != sorted(first.about.numbers):
            raise DataError(
                f"it holds other scores: {clip(', '.join(shard.about.numbers) or 'none')}", expected=f"those of '{clip(first.name)}': {clip(', '.join(first.about.numbers) or 'none')}",
                remedy="make both with the same --scores", file=shard.name,
            )  # fmt: skip
        for key in sorted({*first.about.read, *shard.about.read}):
            here, there = shard.about.read.get(key), first.about.read.get(key)
            if here != there:
                raise DataError(
                    f"it was read in another way: {clip(key)} = {clip(here)}", expected=f"{clip(there)}, as in '{clip(first.name)}'",
                    remedy="make both with the same options", file=shard.name,
                )  # fmt: skip
    if repeated:
        return
    seen: dict[str, Shard] = {}
    for shard in shards:
        same = seen.setdefault(f"file {shard.about.file.sha256}", shard)
        if same is shard and shard.about.files:
            same = seen.setdefault(f"content {shard.about.content}", shard)
        if same is not shard:
            raise DataError(
                f"it is '{clip(same.name)}' over again: {'the same file' if same.about.file.sha256 == shard.about.file.sha256 else 'the same pairs'}",
                expected="each file once", remedy="leave one out, or say --repeated if its pairs were made twice", file=shard.name,
            )  # fmt: skip


def _times(shards: Sequence[Shard], user_of: Sequence[np.ndarray], users: int) -> DataError:
    seen = np.zeros(users, bool)
    first, both = shards[0], 0
    for shard, numbers in zip(shards, user_of, strict=True):
        if both := int(seen[numbers].sum()):
            first = shard
            break
        seen[numbers] = True
    return DataError(
        f"{both:,} of its users are in another shard, too, and rows have times: which of a user's judgements is the last one, no shard knows alone",
        expected="all rows of a user in one file", remedy="deal the rows to files by user, or leave the column of times out", file=first.name,
    )  # fmt: skip


def _attributes(
    shards: Sequence[Shard], user_of: Sequence[np.ndarray], users: int, skip: bool
) -> tuple[dict[str, list[str]], list[np.ndarray | None], list[tuple[str, dict[str, Counter[str]]]]]:
    """(name → one value a user, whose pairs of each shard are left out, (reason, group → pairs) of what is left out).

    As in one file: the first value that is named for a user holds.
    """
    names = shards[0].about.attributes
    values: dict[str, list[str]] = {n: [""] for n in names}
    number: dict[str, dict[str, int]] = {n: {"": 0} for n in names}
    known = {n: np.zeros(users, np.int32) for n in names}
    out: list[np.ndarray | None] = []
    lost: list[tuple[Shard, str, np.ndarray, np.ndarray, dict[str, np.ndarray]]] = []
    for shard, of_all in zip(shards, user_of, strict=True):
        gone: np.ndarray | None = None
        people = shard.users() if names else None
        read: dict[str, np.ndarray] = {}
        for n in names:
            assert people is not None
            coded = people.column(attribute(n)).combine_chunks().dictionary_encode()
            coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
            place = np.array([number[n].setdefault(v, len(number[n])) for v in coded.dictionary.to_pylist()], np.int32)
            values[n] = [*number[n]]
            read[n] = place[coded.indices.to_numpy()]
        for n in names:
            ids, settled = read[n], known[n][of_all]
            here = ids > 0 if gone is None else (ids > 0) & ~gone
            known[n][of_all[here & (settled == 0)]] = ids[here & (settled == 0)]
            other = here & (settled > 0) & (settled != ids)
            if not other.any():
                continue
            if not skip:
                raise DataError(
                    f"attribute '{clip(n)}' contradicts an earlier shard in {int(other.sum()):,} of its users", expected="one value for each user",
                    remedy="mend the files, or give the commands with --partial again, with --on-bad skip", file=shard.name, column=n,
                )  # fmt: skip
            gone = other if gone is None else gone | other
            lost.append((shard, n, other, of_all, read))
        out.append(gone)
    told: list[tuple[str, dict[str, Counter[str]]]] = []
    for shard, n, other, of_all, read in lost:
        reason = f"attribute '{n}' contradicts an earlier row of the same user"
        groups: dict[str, Counter[str]] = {}
        count = shard.counts()[other]
        for name in names:
            ids = np.where(read[name][other] > 0, read[name][other], known[name][of_all[other]])
            for v in np.unique(ids).tolist():
                group = f"{name}={values[name][v]}" if v else f"{name} unknown"
                groups.setdefault(group, Counter())[reason] += int(count[ids == v].sum())
        told.append((reason, {**groups, "": Counter({reason: int(count.sum())})}))
    return {n: np.array(values[n], object)[known[n]].tolist() for n in names}, out, told


def _left(shards: Sequence[Shard], lost: Sequence[tuple[str, Mapping[str, Counter[str]]]]) -> Exclusions:
    """Rows of all files, by reason and group."""
    reasons: Counter[str] = Counter()
    groups: dict[str, Counter[str]] = {}
    rows_in = sum(s.about.left.rows_in for s in shards)
    for s in shards:
        reasons.update(s.about.left.reasons)
        for group, counts in s.about.left.by_group.items():
            groups.setdefault(group, Counter()).update(counts)
    for _, by_group in lost:
        for group, counts in by_group.items():
            (groups.setdefault(group, Counter()) if group else reasons).update(counts)
    ordered = dict(sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
    return Exclusions(rows_in, rows_in - sum(reasons.values()), ordered, {g: dict(c) for g, c in sorted(groups.items())})


def _source(shards: Sequence[Shard]) -> str:
    notes: Counter[str] = Counter()
    for s in shards:
        notes.update(s.about.notes)
    kinds = sorted({s.about.kind for s in shards})
    told = "".join(f"; {f'{count:,} ' if count else ''}{note}" for note, count in sorted(notes.items()))
    return f"shards ({' and '.join(kinds)}{told})"


def _hash_strings(digest: Any, array: pa.Array) -> None:
    """Values and where each of them ends."""
    whole = array if array.offset == 0 else pa.concat_arrays([array])
    offsets = np.frombuffer(whole.buffers()[1], np.int64, len(whole) + 1) if len(whole) else np.zeros(1, np.int64)
    digest.update(np.ascontiguousarray(offsets - offsets[0]))
    if len(whole) and whole.buffers()[2] is not None:
        digest.update(memoryview(whole.buffers()[2])[int(offsets[0]) : int(offsets[-1])])


def _got(path: Path) -> Columns:
    """Of a batch's file. Raises DataError."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not as it was written"
        raise DataError(
            f"merged pairs cannot be read again ({why})", expected="a disk that keeps what is written to it",
            remedy="give the same command again, or choose another place", file=path.name,
        ) from error  # fmt: skip

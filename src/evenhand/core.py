"""The nouns every room shares, and the contracts between rooms.

Data nouns are numpy so that an audit never imports torch; training nouns hold torch tensors, named here for the type
checker only. All are frozen: a room hands on a new object instead of changing one it was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

# Controls, marks of direction, line separators of Unicode, what is not seen (a byte order mark in a column's name), and lone surrogates, which no
# output can encode.
OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff"
    "\\U0001d173-\\U0001d17a\\U000e0000-\\U000e007f]"  # of music; letters of tags, which no font shows
)

SPLITS = ("train", "valid", "test", "certify")  # the values of PreferenceData.split, by number; -1 = in no split

Array = TypeVar("Array", np.ndarray, "Tensor")  # what an array noun holds: numpy in data and audits, torch in training

Verdict = Literal["PASS", "FAIL", "INSUFFICIENT"]
Notion = Literal["dp", "eo", "cf"]
NOTIONS: dict[Notion, str] = {"dp": "demographic parity", "eo": "equalized odds", "cf": "counterfactual fairness"}
TIE = 1e-6  # |margin| below it decides nothing: a rounding of equal rewards, in training as in audits
SMALLEST_CELL = 10  # users: a group of fewer is printed nowhere, lest a number tell of a person


class EvenhandError(Exception):
    """Something the user can mend. The message says what was found, what was expected and what to do; exit code 2.

    Messages repeat names out of files: what a terminal would obey shows as \\x1b and the like.
    """

    def __init__(self, message: str = "", *more: object):
        super().__init__(visible(message), *more)


class DataError(EvenhandError):
    """A defect of the input, with its place: file, line (1-based), column and the value, clipped to 80 characters."""

    def __init__(
        self, found: str, *, expected: str, remedy: str, file: str = "", line: int | None = None, column: str = "", value: str = ""
    ):
        place = ", ".join(p for p in (file, f"line {line}" if line is not None else "", f"column '{column}'" if column else "") if p)
        shown = f" (value: {clip(value)})" if value else ""
        super().__init__(f"{place + ': ' if place else ''}{found}{shown}. Expected: {expected}. To do: {remedy}.")
        self.file, self.line, self.column, self.value = file, line, column, value


def visible(text: str) -> str:
    """The text with everything that a terminal obeys or does not show, or that turns the direction of writing, as an escape; line breaks and tabs
    stay, and the joiners of Persian and emoji.

    >>> visible("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def clip(value: object, length: int = 80) -> str:
    """A value fit for one line of an error message: escaped, printable, at most `length` characters."""
    text = value if isinstance(value, str) else repr(value)
    text = text[: length + 1].encode("unicode_escape", "backslashreplace").decode("ascii")
    return text if len(text) <= length else text[: length - 1] + "…"


@dataclass(frozen=True)
class Exclusions:
    """Where every row went: rows_in = rows_used + sum of reasons, always."""

    rows_in: int = 0
    rows_used: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)  # reason → rows
    by_group: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # group → reason → rows, where a group is known
    unit: str = "rows"  # of the file, or "pairs", where one row makes several or none

    def __post_init__(self) -> None:
        if self.rows_in != self.rows_used + sum(self.reasons.values()):
            raise ValueError(f"{self.rows_in} rows in, but {self.rows_used} used and {sum(self.reasons.values())} excluded")


@dataclass(frozen=True)
class Events(Generic[Array]):
    """What constraints compare: groups of pairs, each pair oriented. Known in training and audits only, as groups of users are.

    The responses of a pair are called y1 and y2 by a rule that does not look at which one was chosen; the pair's label is 1 where y1 was.
    names: the groups. of_pair int16[n], -1 = in no group. first bool[n]: the label, True where the chosen response is y1.
    twin int64[n]: pairs of one number are one question asked about different groups, -1 = unmatched; None = nothing is matched.
    rule: how the groups came about and how pairs are oriented, one sentence for every output. copy bool[n]: made from another pair for a
    matched set, so that it counts in no accuracy; None = no pair is. Training has tensors without names, see `tensors`.
    """

    names: tuple[str, ...]
    of_pair: Array
    first: Array
    rule: str
    twin: Array | None = None
    copy: Array | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sets(self) -> Array:
        """twin, -1 throughout where nothing is matched."""
        return self.of_pair * 0 - 1 if self.twin is None else self.twin

    def take(self, rows: Array | slice) -> Events[Array]:
        """Those of the pairs at `rows` (boolean mask, indices or a slice)."""
        twin, copy = (None if a is None else a[rows] for a in (self.twin, self.copy))
        return replace(self, of_pair=self.of_pair[rows], first=self.first[rows], twin=twin, copy=copy)

    def tensors(self) -> Events[Tensor]:
        """The same for training, of_pair and twin int64: numbers alone, since a method never sees what a group is called."""
        import torch

        of_pair, first, twin = (torch.as_tensor(a) for a in (self.of_pair, self.first, self.sets))
        return Events((), of_pair.long(), first, "", twin.long())


@dataclass(frozen=True)
class Judgements:
    """Votes or ratings of single responses, one row a judgement: what pairs are drawn from. Pairs are formed only where user, prompt, block
    and split agree.

    A split that deals responses draws the pairs anew inside its parts: of pairs drawn before, most would straddle two.
    """

    user: np.ndarray  # int32[n]
    prompt: np.ndarray  # int32[n], -1 = none
    block: np.ndarray  # int32[n], such as one turn of one conversation; -1 = none
    split: np.ndarray  # int8[n], the part that a row belongs to, -1 = none
    response: np.ndarray  # int32[n]
    score: np.ndarray  # float64[n]
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)  # float64[n] each
    pairing: Callable[..., Any] | None = None  # (Judgements, Generator) → `data.pairing.Drawn`
    exclusions: Exclusions = field(default_factory=Exclusions)  # on reading alone, before any pair was drawn

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class PreferenceData:
    """Checked preference pairs of many users. Every text is stored once; pairs are rows of index arrays.

    users: distinct user ids (never printed by default). texts: distinct prompts and responses.
    user int32[n] indexes `users`; prompt, chosen, rejected int32[n] index `texts` (-1 where the table has no such column).
    """

    users: Sequence[str]
    texts: Sequence[str]
    user: np.ndarray
    prompt: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    weight: np.ndarray | None = None  # float32[n], > 0
    tie: np.ndarray | None = None  # bool[n]: no strict preference; not trained on, counted in audits
    split: np.ndarray | None = None  # int8[n], numbers of SPLITS, -1 = none
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)  # extra numeric columns such as scores, float64[n]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name → one value a user ("" = missing); audits only
    exclusions: Exclusions = field(default_factory=Exclusions)
    events: Events[np.ndarray] | None = None  # what constraints compare, where the data says so; audits and constrained training only
    source: str = ""  # how it was read, for the report: file name and format
    fingerprint: str = ""  # SHA-256 over the file's bytes
    judgements: Judgements | None = None  # what the pairs were drawn from, where they were drawn and no split was given

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        """Counts alone: ids and texts stay out of logs and notebooks."""
        return f"PreferenceData({len(self):,} pairs of {len(self.users):,} users, {len(self.texts):,} texts)"

    def take(self, rows: np.ndarray | slice) -> PreferenceData:
        """The pairs at `rows` (boolean mask, indices, or a slice: views), from now on as they are. Users and texts keep their numbers."""

        def pick(a: np.ndarray | None) -> np.ndarray | None:
            return None if a is None else a[rows]

        return replace(
            self, user=self.user[rows], prompt=self.prompt[rows], chosen=self.chosen[rows], rejected=self.rejected[rows],
            weight=pick(self.weight), tie=pick(self.tie), split=pick(self.split), numbers={k: v[rows] for k, v in self.numbers.items()},
            events=None if self.events is None else self.events.take(rows), judgements=None,
        )  # fmt: skip


@dataclass(frozen=True)
class Groups:
    """A partition of users, known in training and audits only. of_user int16[users]; -1 = in no group."""

    names: tuple[str, ...]
    of_user: np.ndarray
    rule: str  # how the groups came about, one sentence for the report

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Estimate:
    """One number as it leaves the package: never without an interval and the counts behind it."""

    value: float
    low: float
    high: float
    n_users: int
    n_pairs: int
    metric: str = ""
    group: str = ""
    level: float = 0.95
    suppressed: bool = False  # its numbers were hidden, as fewer than SMALLEST_CELL users stand behind them: all are nan, the counts 0


@dataclass(frozen=True)
class History:
    """Each user's own earlier pairs: all that a model may know about a user at inference. Ragged.

    items [texts, d]; offsets int64[users + 1]; user u owns pairs offsets[u]:offsets[u + 1] of chosen and rejected int64[m] (rows of items).
    row int64[users]: the user's number when he or she was seen in training, -1 else (for id-based baselines).
    """

    items: Tensor
    offsets: Tensor
    chosen: Tensor
    rejected: Tensor
    row: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, users: Tensor) -> History:
        """The histories of these users, renumbered in their order."""
        import torch

        count = (self.offsets[1:] - self.offsets[:-1])[users]
        offsets = torch.zeros(len(users) + 1, dtype=torch.long)
        offsets[1:] = torch.cumsum(count, 0)
        pairs = torch.repeat_interleave(self.offsets[users] - offsets[:-1], count) + torch.arange(int(offsets[-1]))
        return replace(self, offsets=offsets, chosen=self.chosen[pairs], rejected=self.rejected[pairs], row=self.row[users])

    def owner(self) -> Tensor:
        """The user of each pair, int64[m]."""
        import torch

        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(counts)), counts)

    def padded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """values float[m, k] of the pairs as float[rows, longest, k], 0 where a row ends early, and each row's user int64[rows], in order.

        A sum over a user's pairs is then a product. A user is one row where that at most doubles the memory; where histories are too uneven
        for it, rows are as long as the mean history and a long one has several.
        """
        import torch

        count = self.offsets[1:] - self.offsets[:-1]
        n, pairs = len(count), len(values)
        users = torch.arange(n)
        longest, mean = (int(count.max()), -(-pairs // n)) if n else (0, 0)
        rows, length = torch.ones_like(count), longest
        if n * longest > 2 * pairs:
            rows, length = -(-count // mean), mean
        before = torch.cumsum(rows, 0) - rows
        shift = before * length - self.offsets[:-1]
        owner = torch.repeat_interleave(users, rows)
        out, lines = values, len(owner)
        if pairs < lines * length:
            place = torch.repeat_interleave(shift, count) + torch.arange(pairs)
            out = values.new_zeros(lines * length, values.shape[1]).index_copy(0, place, values)
        return out.view(lines, length, values.shape[1]), owner

    def differences(self) -> Tensor:
        """Features of chosen minus features of rejected, float[m, d]."""
        return self.items[self.chosen] - self.items[self.rejected]


@dataclass(frozen=True)
class Tuning:
    """How the weights behind texts train, head and adapter together, once the head fits the features as they were.

    lr of the adapter, head_lr of the head: both rise over the share `warm_up` of the steps and fall to 0 along a cosine. weight_decay of
    the adapter, decoupled; the head keeps its schedule's. batch_texts: distinct texts a step, whoever judged them. eval_every: steps between
    two looks at validation; patience: of these without a better one before training stops. clip: largest norm of a step's gradient.
    own_history: histories are encoded with the batch, with gradient, instead of read from the features that their texts had last.
    """

    steps: int = 60
    lr: float = 5e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    batch_texts: int = 192
    eval_every: int = 10
    patience: int = 3
    warm_up: float = 0.03
    clip: float = 1.0
    own_history: bool = False

    def __post_init__(self) -> None:
        valid = {
            "steps": (isinstance(self.steps, Integral) and self.steps >= 1, "a whole number, 1 or more"),
            "lr": (0 <= self.lr < 1, "at least 0 and under 1"),
            "head_lr": (0 <= self.head_lr < 1, "at least 0 and under 1"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "0 or more"),
            "batch_texts": (isinstance(self.batch_texts, Integral) and self.batch_texts >= 2, "a whole number, 2 or more"),
            "eval_every": (isinstance(self.eval_every, Integral) and self.eval_every >= 1, "a whole number, 1 or more"),
            "patience": (self.patience >= 1, "1 or more"),
            "warm_up": (0 <= self.warm_up < 1, "at least 0 and under 1"),
            "clip": (self.clip > 0, "above 0"),
        }
        for name, (good, expected) in valid.items():
            if not good:
                raise EvenhandError(f"{name} is {getattr(self, name)}. Expected: {expected}. To do: correct it, or leave it out.")


class Texts(Protocol):
    """Texts whose features follow from weights that train: a language model with an adapter. Rows are numbered as in `History.items`."""

    @property
    def tuning(self) -> Tuning:
        """How the weights train."""

    def adapter(self, seed: int) -> Module:
        """Untrained weights, under which the features are those of `History.items`. What they are added to is shared, and never changes."""

    def encode(self, adapter: Module, rows: Tensor, *, keep: bool = False) -> Tensor:
        """Features float32[n, d] of the texts int64[n] without gradient. A text's features follow from it and the adapter alone.

        keep: `backward` on the same texts comes next, before the adapter changes. What it needs may be kept; no result follows from that.
        """

    def backward(self, adapter: Module, rows: Tensor, gradient: Tensor) -> None:
        """From a loss's gradient float32[n, d] with respect to these features, add its gradient to `.grad` of the adapter's parameters."""


@dataclass(frozen=True)
class Pairs:
    """Index arrays over items, one row a pair; `user` indexes `history`. group is there in training and audits only, -1 = none.

    block: what must not stand on both sides when one pair of a user is judged from another. int64[n], such as the pair's prompt, or
    int64[n, 2], such as its two responses where one vote on an item is in many pairs: two pairs of a user with a number in common are
    never judged from each other. None = no two have one in common.
    events: what constraints compare; None for methods that have none.
    texts: where the features follow from weights that train along; `items` are then the features before training. None = frozen features.
    """

    history: History
    user: Tensor  # int64[n], in 0..len(history)-1
    chosen: Tensor  # int64[n], rows of history.items
    rejected: Tensor  # int64[n]
    weight: Tensor  # float[n], > 0; 0 for a pair that nobody judged and constraints alone look at
    group: Tensor  # int64[n]
    block: Tensor | None = None  # int64[n] or int64[n, 2]
    events: Events[Tensor] | None = None
    texts: Texts | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def items(self) -> Tensor:
        return self.history.items

    def groups(self) -> Iterator[int]:
        """The groups present, in order, without -1."""
        return (int(g) for g in self.group.unique() if g >= 0)

    def take(self, rows: Tensor) -> Pairs:
        """The pairs at `rows`; users and histories keep their numbers."""
        return replace(
            self,
            user=self.user[rows],
            chosen=self.chosen[rows],
            rejected=self.rejected[rows],
            weight=self.weight[rows],
            group=self.group[rows],
            block=None if self.block is None else self.block[rows],
            events=None if self.events is None else self.events.take(rows),
        )

    def of(self, group: int) -> Pairs:
        """The pairs of one group."""
        return self.take(self.group == group)

    @cached_property
    def units(self) -> tuple[Tensor, Tensor]:
        """What training deals to one side or the other: each pair's units int64[n, 1 or 2], and the units' users int64[m].

        A unit is one number of `block` of one user, a single pair without blocks. They are numbered in order of first appearance, so
        that blocks of one pair each are dealt as the pairs themselves would be.
        """
        import torch

        if self.block is None:
            return torch.arange(len(self))[:, None], self.user
        ends = self.block.view(len(self), -1)
        values, number = ends.unique(return_inverse=True)
        keys, number = (self.user[:, None] * len(values) + number).unique(return_inverse=True)
        place = torch.arange(ends.numel())
        first, order = torch.full_like(keys, ends.numel()).scatter_reduce(0, number.flatten(), place, "amin").sort()
        return torch.argsort(order)[number], self.user[first // ends.shape[1]]


class Scorer(Protocol):
    """r(u, x, y). Inference is blind to groups by type: nothing here takes one."""

    def users(self, history: History) -> Tensor:
        """One state a user, float[users, s]."""

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        """Rewards float[n] of items [n, d], each under its row of state [n, s]."""


@runtime_checkable
class Projecting(Protocol):
    """A scorer that reads of an item a few numbers alone: where a text is in many pairs, these are worked out once for it."""

    def project(self, items: Tensor) -> Tensor:
        """What it reads, float[n, k] of items [n, d], row by row."""

    def on_projected(self) -> Scorer:
        """The same scorer for items that `project` has been through."""


class TrainableScorer(Scorer, Protocol):
    """A Scorer that is a torch module: what a head builds and a loop trains."""

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> object: ...


class Head(Protocol):
    """Frozen hyperparameters of a Scorer: a dataclass whose fields are saved with the model."""

    reads_new_users: ClassVar[bool] = (
        True  # False: users are known by number, and one who was not in training gets the reward for everybody
    )

    def build(self, dim: int, seed: int) -> TrainableScorer:
        """An untrained scorer for features of `dim` coordinates."""


@dataclass(frozen=True)
class Constraint:
    """What a method holds its model to. notion: "dp", "eo" or "cf"; gamma: the largest violation it accepts, None = a penalty that promises none."""

    notion: str
    gamma: float | None = None


class FittedModel(Protocol):
    """What a fit gives, at the least."""

    @property
    def scorer(self) -> Scorer: ...


class Method(Protocol):
    """A training rule: a frozen dataclass of hyperparameters. It sees index pairs, margins and groups; never text, never the metrics that measure it."""

    needs_groups: ClassVar[bool] = False  # True: it cannot be fitted unless every group has training and validation pairs
    unreduced: ClassVar[bool] = (
        False  # True: it reads features as they are and finds its own ridge weight; False: reduced to few coordinates
    )

    @property
    def constraint(self) -> Constraint | None:
        """What it constrains, None = nothing."""
        return None

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> FittedModel:
        """A trained Scorer; the same seed gives the same one."""

    def variants(self) -> Iterator[Self]:
        """Settings that a search on validation tries, itself first."""
        yield self

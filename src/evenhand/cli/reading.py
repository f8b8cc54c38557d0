"""How DATA is read, texts become features and users are grouped: the options of these, written once for all verbs; and what makes a
function a verb.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo, ParameterInfo

from evenhand.cli.documented import NONE, parameter
from evenhand.cli.inputs import assignments, encoder_named, listed
from evenhand.cli.options import (
    Backbone,
    BackboneLr,
    Bad,
    BadRows,
    BatchTexts,
    BatchTokens,
    Cache,
    Chunked,
    ChunkTokens,
    Columns,
    Device,
    Dim,
    Dtype,
    Encoder,
    GroupBy,
    HistoryPairs,
    LeaveOut,
    LoraRank,
    MaxTokens,
    Mentions,
    Minority,
    MinStrength,
    Missing,
    OnBad,
    OneUser,
    Pooling,
    RewardLabel,
    RewardModel,
    Sharded,
    SoftUserTokens,
    Source,
    Steps,
    Swap,
    Tfidf,
    Threshold,
    WeighStrength,
    WithPrompt,
)  # fmt: skip

if TYPE_CHECKING:
    from evenhand.core import PreferenceData
    from evenhand.encode.backbone_encoder import BackboneEncoder
    from evenhand.encode.hub_reward import HubRewardModel
    from evenhand.workflows.encoding import Encoding
    from evenhand.workflows.grouping import Grouping


@dataclass(frozen=True)
class Rows:
    """How the rows of a file are read."""

    source: Source = None
    columns: Columns = None
    on_bad: Bad = OnBad.error
    one_user: OneUser = False
    min_strength: MinStrength = 0.0

    def how(self) -> dict[str, Any]:
        """What `load` is given, in words that a document can keep; beyond source, columns and on_bad only what was asked for."""
        asked = {"one_user": self.one_user, "min_strength": self.min_strength}
        columns = assignments(self.columns, "--column", "user=annotator_id")
        return {"source": self.source, "columns": columns, "on_bad": self.on_bad.value, **{k: v for k, v in asked.items() if v}}

    def load(self, data: Path) -> PreferenceData:
        from evenhand.data.load import load

        return load(data, **self.how())


@dataclass(frozen=True)
class Reading(Rows):
    """How a file is read whose users have attributes, and whose pairs have weights."""

    weigh_strength: WeighStrength = False
    bad_rows_to: BadRows = None
    group_by: GroupBy = None
    missing: Missing = None

    def how(self) -> dict[str, Any]:
        missing = listed(self.missing, "--missing", "nan,N/A") if self.missing else []
        asked = {"weigh_strength": self.weigh_strength, "missing": missing}
        return super().how() | {k: v for k, v in asked.items() if v}

    def load(
        self,
        data: Path,
        numbers: Sequence[str] | None = None,
        *,
        mentions: Path | None = None,
        swap: Path | None = None,
        leave_out: list[str] | None = None,
    ) -> PreferenceData:
        from evenhand.data.load import load

        loaded = load(
            data, attributes=self.group_by or (), bad_rows_to=self.bad_rows_to, numbers=numbers or (), need_texts=not numbers, **self.how()
        )
        if mentions is None and swap is None and not leave_out:
            return loaded
        from evenhand.workflows.events import with_events

        return with_events(loaded, mentions, swap, leave_out or ())


@dataclass(frozen=True)
class Grouped(Reading):
    """How a file is read whose users are in groups, by attributes or by support."""

    minority: Minority = 0.2
    threshold: Threshold = None

    def grouping(self) -> Grouping:
        from evenhand.workflows.grouping import Grouping

        return Grouping(self.group_by or (), self.threshold, self.minority)


TRAINS = {"rank": "--lora-rank", "steps": "--steps", "batch_texts": "--batch-texts", "lr": "--backbone-lr"}
READS = {
    "pooling": "--pooling", "max_tokens": "--max-tokens", "device": "--device", "dtype": "--dtype", "chunk_tokens": "--chunk-tokens",
    "sharded": "--sharded",
}  # fmt: skip


@dataclass(frozen=True)
class Encoded:
    """How texts become features."""

    encoder: Encoder = "minilm"
    chunked: Chunked = True
    with_prompt: WithPrompt = None
    tfidf: Tfidf = True
    dim: Dim = None
    cache: Cache = None
    backbone: Backbone = None
    rank: LoraRank = 16
    pooling: Pooling = "mean"
    max_tokens: MaxTokens = None
    steps: Steps = 60
    batch_texts: BatchTexts = 192
    lr: BackboneLr = 5e-4
    history_pairs: HistoryPairs = 0
    soft_user_tokens: SoftUserTokens = 0
    device: Device = None
    dtype: Dtype = "float32"
    chunk_tokens: ChunkTokens = None
    sharded: Sharded = False

    def encoding(self) -> Encoding:
        """Looked up already, so that a name that is none is an error before DATA is read."""
        from evenhand.encode.backbone_encoder import BackboneEncoder
        from evenhand.workflows.encoding import Encoding

        if self.backbone and self.encoder != Encoded.encoder:
            from evenhand.core import EvenhandError, clip

            raise EvenhandError(
                f"Found --backbone {clip(self.backbone)} and --encoder {clip(self.encoder)}. Expected: one of them, since a backbone stands in "
                "the encoder's place. To do: leave --encoder out, or --backbone to read with frozen features."
            )
        encoder = self.language_model(self.backbone) if self.backbone else encoder_named(self.encoder, self.chunked)
        if not self.backbone:
            reads = isinstance(encoder, BackboneEncoder)
            self._without(TRAINS, "--backbone") if reads else self._without(TRAINS | READS, "a language model")
            encoder = self.language_model(self.encoder) if reads else encoder
        if isinstance(encoder, BackboneEncoder):
            _ = encoder.backbone.folder
        if self.history_pairs or self.soft_user_tokens:
            from evenhand.encode.backbone_encoder import telling

            encoder = telling(encoder, self.history_pairs, self.soft_user_tokens)
        return Encoding(encoder, self.with_prompt, self.tfidf, self.dim, self.cache, trained=self.backbone is not None)

    def _without(self, options: Mapping[str, str], what: str) -> None:
        """Raises EvenhandError where one of the options, by field, was given, which says something of a model that is not there."""
        given, left = asdict(self), asdict(Encoded())
        if said := [option for name, option in options.items() if given[name] != left[name]]:
            from evenhand.core import EvenhandError

            raise EvenhandError(
                f"Found {said[0]} without {what}. Expected: the model it is about. To do: name it with --backbone, or leave it out."
            )

    def language_model(self, model: str) -> BackboneEncoder:
        from evenhand.core import Tuning
        from evenhand.encode.backbone import Backbone
        from evenhand.encode.backbone_encoder import BackboneEncoder

        asked: dict[str, Any] = {
            "rank": self.rank, "pooling": self.pooling, "max_tokens": self.max_tokens, "device": self.device, "dtype": self.dtype,
            "chunk_tokens": self.chunk_tokens, "sharded": self.sharded,
        }  # fmt: skip  # checked by Backbone
        tuning = Tuning(steps=self.steps, batch_texts=self.batch_texts, lr=self.lr)
        return BackboneEncoder(Backbone(model, **asked, tuning=tuning))


@dataclass(frozen=True)
class Hub:
    """Which reward model of the hub's format, and how it runs."""

    reward_model: RewardModel = None
    reward_label: RewardLabel = None
    device: Device = None
    dtype: Dtype = "float32"
    max_tokens: MaxTokens = None
    batch_tokens: BatchTokens = 4096

    def model(self) -> HubRewardModel | None:
        """None where none is named, and then nothing may be said of how it runs."""
        if self.reward_model is None:
            if said := [name for name, value in asdict(self).items() if value != asdict(Hub())[name]]:
                from evenhand.core import EvenhandError

                option = f"--{said[0].replace('_', '-')}"
                raise EvenhandError(
                    f"Found {option} without --reward-model. Expected: the model it is about. To do: name it, or leave it out."
                )
            return None
        from evenhand.encode.hub_reward import HubRewardModel

        return HubRewardModel(self.reward_model, self.reward_label, self.device, self.dtype, self.max_tokens, self.batch_tokens)


@dataclass(frozen=True)
class Events:
    """Which pairs constraints compare."""

    mentions: Mentions = None
    swap: Swap = None
    leave_out: LeaveOut = None

    def files(self) -> dict[str, Any]:
        return {"mentions": self.mentions, "swap": self.swap, "leave_out": self.leave_out}


SETS = (Rows, Reading, Grouped, Encoded, Hub, Events)
PLACES = ("out", "partial")  # options that name what is written: a verb that is refused leaves no empty folder there


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """The verb as the command line takes it: a parameter whose type is one of SETS stands for the options of that class, and an option without
    help or default has those of the workflow's parameter of its name. Where it fails, it leaves no empty folder behind.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    options: list[inspect.Parameter] = []
    sets = {name: kind for name, kind in hints.items() if kind in SETS}
    for p in inspect.signature(function).parameters.values():
        if p.name not in sets:
            options.append(p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]))
            continue
        types = get_type_hints(sets[p.name], include_extras=True)
        options += [p.replace(name=f.name, default=f.default, annotation=types[f.name]) for f in fields(sets[p.name])]
    options = [_documented(function.__name__, p) for p in options]

    @wraps(function)
    def run(**given: Any) -> None:
        from evenhand.writing import nothing_left

        values = {p.name: p.default for p in options if p.default is not p.empty} | given
        for name, kind in sets.items():
            values[name] = kind(**{f.name: values.pop(f.name) for f in fields(kind)})
        with nothing_left(*(values[name] for name in PLACES if values.get(name) is not None)):
            function(**values)

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in options}
    return run


def _documented(name: str, p: inspect.Parameter) -> inspect.Parameter:
    """The option with the workflow's help where it has none of its own, and with its default where it has none either."""
    if get_origin(p.annotation) is not Annotated:
        return p
    kind, *more = get_args(p.annotation)
    said = parameter(name, p.name)
    default = p.default
    if default is p.empty and said.default is not NONE:
        default = None if said.default == () else said.default
    info: ParameterInfo = copy(next(m for m in more if isinstance(m, ParameterInfo)))
    info.help = info.help or said.help
    if list in (get_origin(part) for part in (kind, *get_args(kind))) and isinstance(info, OptionInfo):
        info.help += " May be repeated."
    if isinstance(info, OptionInfo) or default is p.empty:
        info.show_default = default not in (p.empty, None, False, "")
    return p.replace(default=default, annotation=Annotated[kind, info])

"""Options that several verbs share, each written once: its spelling, its type and its panel. Defaults and help are the workflows' own
(see `documented.py`), unless an option is of the command line alone.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

DATA, GROUPS, MODEL, CONSTRAINTS, OUTPUT = "Data", "Groups", "Model", "Constraints", "Output"  # panels of --help
LANGUAGE_MODEL, MACHINES = "Language model", "Machines"
MANY = "Many files"


def option(panel: str, *spelling: str, **more: Any) -> Any:
    return typer.Option(*spelling, rich_help_panel=panel, **more)


class OnBad(StrEnum):
    error = "error"
    skip = "skip"


class EngineName(StrEnum):
    here = "here"
    ray = "ray"


Texts = list[str] | None

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="A table (JSONL, JSON, CSV, Parquet, Arrow, Excel, SQL; docs/data-formats.md) or a folder.")
]
SavedModel = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
ModelUnlessHub = Annotated[
    Path | None, typer.Argument(metavar="MODEL", help="Folder of a saved model; left out where --reward-model names another.")
]

Source = Annotated[str | None, option(DATA)]
Columns = Annotated[Texts, option(DATA, "--column")]
Bad = Annotated[OnBad, option(DATA, "--on-bad")]
BadRows = Annotated[Path | None, option(DATA, "--bad-rows")]
OneUser = Annotated[bool, option(DATA, "--one-user", "--user-all")]
MinStrength = Annotated[float, option(DATA)]
WeighStrength = Annotated[bool, option(DATA, "--weigh-strength")]

GroupBy = Annotated[Texts, option(GROUPS)]
Missing = Annotated[str | None, option(GROUPS)]
Minority = Annotated[float, option(GROUPS)]
Threshold = Annotated[float | None, option(GROUPS)]
Assignments = Annotated[Path | None, option(GROUPS)]

Method = Annotated[str, option(MODEL)]
Head = Annotated[str | None, option(MODEL)]
OutsideHead = Annotated[str | None, option(MODEL, "--head")]  # of a saved model
EncoderAt = Annotated[Path | None, option(MODEL, "--encoder-at")]  # of a saved model
Settings = Annotated[Texts, option(MODEL, "--set")]
Tune = Annotated[int, option(MODEL, min=0)]
Encoder = Annotated[str, option(MODEL)]

Backbone = Annotated[str | None, option(LANGUAGE_MODEL)]
LoraRank = Annotated[int, option(LANGUAGE_MODEL, "--lora-rank", min=0, help="Rank of LoRA on all linear layers; 0 = all weights train.")]
Pooling = Annotated[str, option(LANGUAGE_MODEL, help="A text's vector: mean over its tokens, or its last token's.")]
MaxTokens = Annotated[int | None, option(LANGUAGE_MODEL, min=1)]
Steps = Annotated[int, option(LANGUAGE_MODEL, min=1, help="Steps of head and weights together.")]
BatchTexts = Annotated[int, option(LANGUAGE_MODEL, min=2, help="Distinct texts a step, however many people judged them.")]
BackboneLr = Annotated[float, option(LANGUAGE_MODEL, "--backbone-lr", help="Learning rate of the weights.")]
HistoryPairs = Annotated[
    int, option(LANGUAGE_MODEL, min=0, help="Choices of the user in the input before the prompt, in place of a head that reads users.")
]
SoftUserTokens = Annotated[
    int, option(LANGUAGE_MODEL, min=0, help="Soft tokens in place of these choices' words, made of them and learned (P-RLHF by cluster).")
]
Device = Annotated[str | None, option(LANGUAGE_MODEL)]
Dtype = Annotated[str, option(LANGUAGE_MODEL)]
ChunkTokens = Annotated[
    int | None,
    option(
        LANGUAGE_MODEL, min=1, help="Places for tokens in one pass: bounds memory; processes share passes. Default: fast on the device."
    ),
]
Sharded = Annotated[bool, option(LANGUAGE_MODEL, "--sharded", help="Each process of torchrun holds its part of the base's weights.")]
Chunked = Annotated[
    bool, option(MODEL, "--chunked/--cut", help="Read long texts whole, in windows, or cut them after the encoder's limit.")
]
WithPrompt = Annotated[bool | None, option(MODEL, "--with-prompt/--without-prompt")]
Tfidf = Annotated[bool, option(MODEL)]
Dim = Annotated[int | None, option(MODEL)]
Seed = Annotated[int, option(MODEL, min=0)]
Seeds = Annotated[int, option(MODEL, min=1)]
Jobs = Annotated[int, option(MACHINES, min=0)]
Engine = Annotated[EngineName, option(MACHINES)]
Address = Annotated[str | None, option(MACHINES)]
Cache = Annotated[Path | None, option(MODEL)]

Partial = Annotated[
    Path | None,
    option(MANY, help="Write what an audit needs of DATA into this folder, a private shard a file, and stop there. Run it again to go on."),
]
Merge = Annotated[bool, option(MANY, "--merge", help="DATA, and every further word, is a folder of --partial: one report of all of them.")]
Repeated = Annotated[bool, option(MANY, "--repeated")]
FilesAtOnce = Annotated[int, option(MACHINES, "--jobs", min=0, help="Files read at once, a process each; 0 = one a core.")]
MakerOfShards = Annotated[
    EngineName,
    option(MACHINES, "--engine", help="Who reads the files: here (processes of this machine) or ray (those of a Ray cluster; extra ray)."),
]

RewardModel = Annotated[
    Path | None,
    option(LANGUAGE_MODEL, help="Folder of a reward model of the hub's format (AutoModelForSequenceClassification); it reads no user."),
]
RewardLabel = Annotated[str | None, option(LANGUAGE_MODEL)]
BatchTokens = Annotated[int, option(LANGUAGE_MODEL, min=1)]

Tolerance = Annotated[float, option(CONSTRAINTS)]
Require = Annotated[Texts, option(CONSTRAINTS)]
Constraints = Annotated[Texts, option(CONSTRAINTS, "--constraint")]
Violation = Annotated[float | None, option(CONSTRAINTS)]
Mentions = Annotated[Path | None, option(CONSTRAINTS, help="JSON file of identities and their terms: the events that constraints compare.")]
Swap = Annotated[Path | None, option(CONSTRAINTS, help="JSON file of pairs of terms: counterfactual copies, for cf.")]
LeaveOut = Annotated[Texts, option(CONSTRAINTS, help="Events that are not compared.")]

Metrics = Annotated[Texts, option(OUTPUT, "--metric")]
Track = Annotated[str | None, option(OUTPUT, "--track")]
Name = Annotated[str, option(OUTPUT)]
Title = Annotated[str, option(OUTPUT)]
Note = Annotated[str, option(OUTPUT)]
Simulated = Annotated[bool, option(OUTPUT, "--simulated")]
Out = Annotated[Path, option(OUTPUT, help="Folder for the report.")]
Pdf = Annotated[bool, option(OUTPUT, "--pdf", help="Print the page as PDF beside it, by a Chromium on PATH.")]
ShowExamples = Annotated[
    int | None,
    option(OUTPUT, min=1, help="Pairs of the worst-served group that the model orders wrongly, in a private page with their texts."),
]
OutOfTrials = Annotated[Path, option(OUTPUT)]

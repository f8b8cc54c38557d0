"""Options that several verbs share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OnBad(StrEnum):
    error = "error"
    skip = "skip"


Data = Annotated[
    Path,
    typer.Argument(help="A table (JSONL, JSON, CSV, Parquet, Arrow, Excel, SQL; docs/data-formats.md) or a folder.", show_default=False),
]
Source = Annotated[str | None, typer.Option(help="Format of DATA; told from its columns when left out.", show_default=False)]
Column = Annotated[list[str] | None, typer.Option(help="Rename a column: user=annotator_id. May be repeated.", show_default=False)]
Bad = Annotated[OnBad, typer.Option("--on-bad", help="What to do with a bad row.")]
BadRows = Annotated[
    Path | None, typer.Option("--bad-rows", help="CSV for the numbers of skipped rows and the reasons.", show_default=False)
]
GroupBy = Annotated[
    list[str] | None, typer.Option("--group-by", help="Attribute column to group users by; several: intersection.", show_default=False)
]
Minority = Annotated[float, typer.Option(help="Share of users with the lowest support called the minority.")]
Threshold = Annotated[
    float | None, typer.Option(help="Support rate under which a user is in the minority, instead of --minority.", show_default=False)
]
Tolerance = Annotated[float, typer.Option(help="Largest accepted accuracy gap between groups: 0.05 is 5 points.")]
Require = Annotated[
    list[str] | None, typer.Option(help="Another requirement, such as 'gain(minority)>=0'. May be repeated.", show_default=False)
]
Mentions = Annotated[
    Path | None, typer.Option(help="JSON file of identities and their terms: the events that constraints compare.", show_default=False)
]
Swap = Annotated[Path | None, typer.Option(help="JSON file of pairs of terms: counterfactual copies, for cf.", show_default=False)]
LeaveOut = Annotated[list[str] | None, typer.Option(help="An event that is not compared. May be repeated.", show_default=False)]
Constraint = Annotated[
    list[str] | None,
    typer.Option(help="Largest gap of event rates: dp=0.05, eo=0.05 or cf=0.05. May be repeated.", show_default=False),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of splits, training and resampling.")]
Cache = Annotated[Path | None, typer.Option(help="Folder for text vectors; default: the user's cache folder.", show_default=False)]
Head = Annotated[
    str | None,
    typer.Option(
        help="How a user enters the reward of the method named: lore (default), low_rank, attention, linear, …", show_default=False
    ),
]
Encoder = Annotated[str, typer.Option(help="minilm (embedded), none (TF-IDF alone), or a sentence-transformers name or folder.")]
Chunked = Annotated[bool, typer.Option("--chunked/--cut", help="Read long texts whole, in windows, or cut them after the encoder's limit.")]
WithPrompt = Annotated[bool, typer.Option("--with-prompt", help="Encode prompt and response together; without it prompts do not count.")]
Tfidf = Annotated[bool, typer.Option(help="Put TF-IDF beside the encoder: style tells users apart too.")]
Dim = Annotated[int | None, typer.Option(help="Coordinates of reduced features; default by the number of responses.", show_default=False)]
Assignments = Annotated[
    Path | None,
    typer.Option("--assignments", help="CSV for every user's id, group and support: private, so only where you ask.", show_default=False),
]
ShowExamples = Annotated[
    int | None,
    typer.Option(
        "--show-examples",
        min=1,
        help="Pairs of the worst-served group that the model orders wrongly, in a private page with their texts.",
        show_default=False,
    ),
]
Pdf = Annotated[bool, typer.Option("--pdf", help="Print the page as PDF beside it, by a Chromium on PATH.")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Say in the report that the users are simulated.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many seeds, from --seed upwards: each deals the data and trains anew.")]
Jobs = Annotated[int, typer.Option(min=0, help="Processes at once, one thread each; 0 = one a core.")]
OneUser = Annotated[bool, typer.Option("--one-user", "--user-all", help="All rows are one user's, where DATA does not say whose they are.")]
Missing = Annotated[str | None, typer.Option(help="Attribute values that stand for none: nan,N/A,None.", show_default=False)]
MinStrength = Annotated[float, typer.Option(help="Graded choices weaker than this are ties: 1 slightly, 2 better, 3 much better.")]
WeighStrength = Annotated[bool, typer.Option("--weigh-strength", help="Let the strength of a graded choice be the weight of its pair.")]

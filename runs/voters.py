"""Real raters, unseen items: Polis voters, CREHate and MultiPICo raters. Who serves the rare view better, whatever the answer is.

A pair is an item a rater agrees with (Polis), finds not hateful (CREHate) or ironic (MultiPICo) over one that he or she judges the other
way. In every deal the items are dealt 60/15/25 to training, validation and test and pairs are drawn inside a part, so every scored item
is new to the model; a fifth of the raters is new, too. Usable raters have FEWEST_VOTES votes of either kind or more; sets with fewer than
FEWEST_USERS of them are left out, and of more than MOST_USERS so many are drawn. Groups: the lowest fifth of item support on training pairs, and, where raters told it, an attribute.
Nothing is tuned beyond early stopping and the evidence's own weights; settings are fixed and were chosen on other deals
than these; of four entries two were kept after two of these deals had been seen, which decided nothing, to make six affordable. Intervals draw raters, items and deals.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import evenhand
from evenhand.audits.findings import to_json
from evenhand.audits.results import Comparison
from evenhand.core import PreferenceData
from evenhand.encode.minilm import MiniLM
from evenhand.report import Report
from evenhand.report.comparison import COMPARISON
from evenhand.workflows import hyperparameters
from evenhand.workflows.comparing import Comparing
from evenhand.workflows.encoding import encoding_of
from evenhand.workflows.trials import Bench, Entry, Failure, Trial

FEWEST_USERS, MOST_USERS, FEWEST_VOTES, DEALS = 100, 400, 4, 6
PLAIN = "one reward for all (BT)"
METHODS = {
    PLAIN: ("bradley_terry", "linear", {}),
    "collaborative": ("collaborative", None, {}),
}


@dataclass(frozen=True)
class Vote:
    user: str
    item: str  # its text
    vote: int  # 1 chosen over -1
    about: dict[str, str]


@dataclass(frozen=True)
class Study:
    """One set of raters. dim: of the features, chosen on validation items of other splits."""

    name: str
    votes: Sequence[Vote]
    dim: int
    attribute: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the folders polis, crehate, multipico")
    parser.add_argument("--out", type=Path, default=Path("runs/results/voters.json"))
    parser.add_argument("--work", type=Path, default=Path("runs/out/voters"), help="reports, and finished fits: a study goes on from there")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--deals", type=int, default=DEALS)
    parser.add_argument(
        "--backbone",
        help="a language model that trains along with one reward for all: minilm, smollm2, or a folder; `collaborative` stays frozen",
    )
    parser.add_argument("--only", default="", help="studies whose names start so")
    args = parser.parse_args()
    found = [
        one(study, attribute, args)
        for study in studies(args.data)
        if study.name.startswith(args.only)
        for attribute in dict.fromkeys(("", study.attribute))
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"deals": args.deals, "methods": list(METHODS), "studies": found}) + "\n")


def studies(folder: Path) -> Iterator[Study]:
    if (folder / "polis").is_dir():
        by_name = {r["conversation"]: r for r in rows(folder / "polis" / "conversations.csv.gz")}
        text = {(r["conversation"], r["comment_id"]): r["comment_body"] for r in rows(folder / "polis" / "comments.csv.gz")}
        votes: dict[str, list[Vote]] = {name: [] for name in by_name}
        for r in rows(folder / "polis" / "votes.csv.gz"):
            said = text.get((r["conversation"], r["comment_id"]), "")
            if said.strip() and r["vote"] != "0":
                votes[r["conversation"]].append(Vote(r["participant"], said, int(r["vote"]), {}))
        yield from (Study(f"polis {name}", some, 16) for name, some in votes.items())
    if (folder / "crehate").is_dir():
        said = {r["ID"]: r["Text"] for r in rows(folder / "crehate" / "posts.csv.gz")}
        about = {r["annotator_id"]: r for r in rows(folder / "crehate" / "annotators.csv.gz")}
        judged = rows(folder / "crehate" / "annotations.csv.gz")
        votes_on = [
            Vote(
                r["annotator_id"],
                said[r["ID"]],
                {"0": 1, "1": -1}[r["annotation"]],
                {"nationality": about[r["annotator_id"]]["nationality"]},
            )
            for r in judged
            if r["annotation"] != "2"
        ]
        yield Study("crehate", votes_on, 64, "nationality")
    if (folder / "multipico").is_dir():
        with gzip.open(folder / "multipico" / "items.jsonl.gz", "rt") as lines:
            english = {r["item_id"]: f"{r['reply']}\n{r['post']}" for r in map(json.loads, lines) if r["lang"] == "en"}
        judged = rows(folder / "multipico" / "annotations.csv.gz")
        yield Study(
            "multipico, English",
            [
                Vote(
                    r["annotator_id"],
                    english[r["item_id"]],
                    1 if r["ironic"] == "1" else -1,
                    {"gender": about[r["annotator_id"]]["gender"]},
                )
                for r in judged
                if r["item_id"] in english
            ],
            128,
        )


def rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as stream:
        yield from csv.DictReader(stream)


def one(study: Study, attribute: str, args: argparse.Namespace) -> dict[str, Any]:
    """All entries on all splits of one set of raters."""
    name = f"{study.name} by {attribute}" if attribute else study.name
    entries = [Entry(title, method(*how)) for title, how in METHODS.items()]
    grouping = evenhand.Grouping((attribute,) if attribute else ())
    seeds = range(args.deals)
    data = table(study)
    encoding = encoding_of(evenhand.Encoding(MiniLM(), dim=study.dim, cache=args.cache), args.backbone, data)
    if len(data.users) < FEWEST_USERS:
        return {"name": name, "left_out": f"{len(data.users)} usable raters, {FEWEST_USERS} needed"}
    start = time.perf_counter()
    bench = Bench(data, encoding, grouping, args.work / "trials", args.jobs)
    trials: list[Trial | Failure] = list(bench.run(entries, seeds, lambda *a: None, print))
    report = Report(Comparing(entries, PLAIN, seeds, name, command="runs/voters.sh").results(data, trials, bench.about()), COMPARISON)
    report.save(args.work / name.replace(" ", "-"))
    print(f"\n{name}, {time.perf_counter() - start:.0f} s\n{report!r}", flush=True)
    for e in report.findings.entries:
        print(f"  {e.name:24s} {e.failed or ' / '.join(f'{100 * a.value:.1f}' for a in e.held_out)}", flush=True)
    return {"name": name, **told(report.findings)}


def method(name: str, head: str | None, settings: dict[str, str]) -> Any:
    return hyperparameters.method(name, settings, head)


def table(study: Study) -> PreferenceData:
    """The votes of usable raters as the package reads them."""
    said = Counter((v.user, v.vote) for v in study.votes)
    found = sorted({v.user for v in study.votes if min(said[v.user, 1], said[v.user, -1]) >= FEWEST_VOTES})
    usable = set(np.random.default_rng(60).permutation(found)[:MOST_USERS].tolist())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "votes.jsonl"
        with file.open("w") as out:
            for v in study.votes:
                if v.user in usable:
                    out.write(json.dumps({"user": v.user, "item": v.item, "vote": v.vote, **v.about}) + "\n")
        attributes = (study.attribute,) if study.attribute else ()
        if not usable:
            raise SystemExit(f"{study.name}: no rater has {FEWEST_VOTES} votes of either kind")
        return evenhand.load(file, source="votes", on_bad="skip", attributes=attributes)


def told(found: Comparison) -> dict[str, Any]:
    """What docs/results.md needs."""
    pairwise = {
        d.second: {
            "all": to_json(d.differences),
            "in_these_deals": to_json(d.in_these_deals),
            "by_run": to_json(d.by_run),
            "verdict": d.verdict,
        }
        for d in found.pairwise
        if d.first == PLAIN
    }
    entries = [
        {
            "name": e.name,
            "failed": e.failed,
            "held_out": to_json(e.held_out),
            "unfairness": {u.name: to_json(u) for u in e.unfairness if u.name in ("gap", "correlation with support", "worst decile")},
        }
        for e in found.entries
    ]
    return {"groups": list(found.groups), "entries": entries, "plain_minus": pairwise, "front": to_json(found.front)}


if __name__ == "__main__":
    main()

"""Real raters, unseen items: Polis voters, CREHate and MultiPICo raters. Who serves the rare view better, whatever the answer is.

A pair is an item a rater agrees with (Polis), finds not hateful (CREHate) or ironic (MultiPICo) over one that he or she judges the other
way. In every split the items are dealt 60/15/25 to training, validation and test, and a pair lies within one part, so every scored item
is new to the model. Usable raters have FEWEST_PAIRS training and test pairs or more in a split; sets with fewer than FEWEST_USERS of them are left
out. Groups: the lowest fifth of item support on training pairs, and, where raters told it, an attribute. Nothing is tuned beyond
early stopping and the evidence's own weights. Intervals are clustered by rater over all splits, whose raters are the same people.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import evenhand
from evenhand.audits.findings import to_json
from evenhand.audits.standings import Standings
from evenhand.core import PreferenceData
from evenhand.encode.minilm import MiniLM
from evenhand.jobs import dials
from evenhand.jobs.contest import Contest
from evenhand.jobs.trials import Bench, Entry, Failure, Trial
from evenhand.report.standings import StandingsReport

FEWEST_USERS, FEWEST_PAIRS, SPLITS = 100, 4, 2
PLAIN = "one reward for all (BT)"
METHODS = {
    PLAIN: ("bradley_terry", "linear", {}),
    "ridge, rank 6": ("bradley_terry", "low_rank", {"rank": "6"}),
    "PAFO on ridge, balance 1": ("pafo", "low_rank", {"rank": "6", "balance": "1"}),
    "lore, K 4": ("lore", None, {"rank": "4"}),
    "PAFO on lore": ("pafo", "lore", {"rank": "4"}),
    "PAFO on lore, balance 1": ("pafo", "lore", {"rank": "4", "balance": "1"}),
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
    args = parser.parse_args()
    found = [one(study, attribute, args) for study in studies(args.data) for attribute in dict.fromkeys(("", study.attribute))]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"splits": SPLITS, "methods": list(METHODS), "studies": found}) + "\n")


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
    encoding = evenhand.Encoding(MiniLM(), dim=study.dim, cache=args.cache)
    people = {user: i for i, user in enumerate(sorted({v.user for v in study.votes}))}
    seeds = range(SPLITS)
    trials: list[Trial | Failure] = []
    for seed in seeds:
        data = usable(table(study, seed))
        users = len(np.unique(data.user))
        if users < FEWEST_USERS:
            return {"name": name, "left_out": f"{users} usable raters in split {seed}, {FEWEST_USERS} needed"}
        bench = Bench(data, encoding, grouping, args.work / "trials", args.jobs)
        found = bench.run(entries, [seed], lambda *a: None, print)
        trials += [t if isinstance(t, Failure) else spread(t, data.users, people) for t in found]
    report = StandingsReport(Contest(entries, PLAIN, seeds, name, command="runs/voters.sh").standings(data, trials, bench.about()))
    report.save(args.work / name.replace(" ", "-"))
    print(f"\n{name}\n{report!r}", flush=True)
    for e in report.findings.entries:
        print(f"  {e.name:24s} {e.failed or ' / '.join(f'{100 * a.value:.1f}' for a in e.held_out)}", flush=True)
    return {"name": name, **told(report.findings)}


def method(name: str, head: str | None, settings: dict[str, str]) -> Any:
    return dials.method(name, settings, head)


def spread(trial: Trial, users: Sequence[str], people: dict[str, int]) -> Trial:
    """The trial with one place for each person of the whole set, so that splits can be laid side by side."""
    place = np.array([people[u] for u in users])
    arrays = {}
    for key, values in trial.arrays.items():
        absent = np.nan if values.dtype.kind == "f" else (-1 if key == "group" else 0)
        arrays[key] = np.full(len(people), absent, values.dtype)
        arrays[key][place] = values
    return replace(trial, arrays=arrays)


def table(study: Study, seed: int) -> PreferenceData:
    """The votes as the package reads them, each item in one part."""
    items = sorted({v.item for v in study.votes})
    order = np.random.default_rng([seed, 60]).permutation(len(items))
    edges = round(0.6 * len(order)), round(0.75 * len(order))
    part = {items[i]: "train" if k < edges[0] else "valid" if k < edges[1] else "test" for k, i in enumerate(order)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "votes.jsonl"
        with file.open("w") as out:
            for v in study.votes:
                out.write(json.dumps({"user": v.user, "item": v.item, "vote": v.vote, "split": part[v.item], **v.about}) + "\n")
        attributes = (study.attribute,) if study.attribute else ()
        return evenhand.load(file, source="votes", on_bad="skip", seed=seed, attributes=attributes)


def usable(data: PreferenceData) -> PreferenceData:
    assert data.split is not None
    enough = np.ones(len(data.users), bool)
    for part in (0, 2):
        enough &= np.bincount(data.user[data.split == part], minlength=len(data.users)) >= FEWEST_PAIRS
    return data.take(enough[data.user])


def told(found: Standings) -> dict[str, Any]:
    """What docs/results.md needs."""
    duels = {d.second: to_json(d.differences) for d in found.duels if d.first == PLAIN}
    entries = [
        {
            "name": e.name,
            "failed": e.failed,
            "held_out": to_json(e.held_out),
            "unfairness": {u.name: to_json(u) for u in e.unfairness if u.name in ("gap", "correlation with support", "worst decile")},
        }
        for e in found.entries
    ]
    return {"groups": list(found.groups), "entries": entries, "plain_minus": duels, "front": to_json(found.front)}


if __name__ == "__main__":
    main()

"""What a reward reads: the response cut at 256 tokens or whole, alone or together with its prompt, or both side by side.

The same pairs, users, splits and groups under every reading; personalised Bradley-Terry with LoRe's head, defaults, no search. Worlds: DSP
(4 domains as the minority x SEEDS), CREHate (posts, one question for all; SEEDS deals), English MultiPICo (a reply, and the post that it answers as
its prompt; SEEDS deals) and the built-in sample (SEEDS seeds). Differences are paired by user.

None of these worlds needs the prompt: taste decides. So in one more world it alone decides: of two DSP responses of one domain, the one to the
query was chosen over the one to another query of the same part; one reward for everybody, which half the pairs get right if it is blind.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dsp
import numpy as np
import torch
import voters
from torch import Tensor

from evenhand.core import History, Pairs, PreferenceData
from evenhand.data.simulate import simulated_users
from evenhand.data.sources.crehate import PROMPT
from evenhand.data.splits import TEST, TRAIN, deal
from evenhand.encode.cache import encode_cached
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap
from evenhand.encode.prompted import item_text
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.linear import Linear
from evenhand.training.scoring import margins
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import prepare

SEEDS = 2
CUT, CHUNKED, TOGETHER, BESIDE = (
    "response, cut at 256 tokens",
    "response, chunked",
    "prompt and response together, chunked",
    "response, and both together beside it, chunked",
)
TIMED = 256  # texts whose encoding is timed


@dataclass(frozen=True)
class World:
    """Pairs of simulated users or raters over items; what stands for an item's features is put in for every reading.

    fitted int64[k]: items of training pairs. groups: names by number.
    """

    study: str
    run: str
    prompts: Sequence[str]
    responses: Sequence[str]
    fitted: np.ndarray
    train: Pairs
    valid: Pairs
    test: Pairs
    groups: tuple[str, ...] = ("majority", "minority")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the folders dsp, crehate, multipico")
    parser.add_argument("--out", type=Path, required=True, help="JSON for runs/results.py")
    parser.add_argument("--cache", type=Path, default=Path("runs/out/vectors"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = {}
    for world in worlds(args.data, args.cache):
        found.setdefault(world.study, []).append(judged(world, args.cache))
        print(f"{world.study}, {world.run}: done", flush=True)
    queries, texts = dsp_texts(args.data / "dsp")
    told = {
        "seeds": SEEDS,
        "studies": {study: summary(runs) for study, runs in found.items()},
        "which answers": [which_answers(queries, texts, seed, args.cache) for seed in range(SEEDS)],
        "seconds": seconds(queries, texts),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(told) + "\n")


def worlds(folder: Path, cache: Path) -> Iterator[World]:
    queries, texts = dsp_texts(folder / "dsp")
    for seed in range(SEEDS):
        for minority, domain in enumerate(dsp.DOMAINS):
            order = np.random.default_rng([seed, minority]).permutation(len(queries))
            dealt = order[:360], order[360:460], order[460:]
            sets = dsp.world(torch.zeros(len(texts), 1), dealt, (minority,), seed)
            fitted = (4 * np.sort(dealt[0])[:, None] + np.arange(4)).ravel()
            prompts = [queries[i // 4] for i in range(len(texts))]
            yield World("DSP", f"minority {domain}, seed {seed}", prompts, texts, fitted, sets["train"], sets["valid"], sets["test"])
        yield of_data("built-in sample", seed, simulated_users(seed), Grouping(("taste",)), cache)
        for study in voters.studies(folder):
            if study.name == "crehate":
                asked = {v.item: PROMPT for v in study.votes}
                yield of_data("CREHate", seed, voters.table(study), Grouping(), cache, asked)
            elif study.name.startswith("multipico"):
                with gzip.open(folder / "multipico" / "items.jsonl.gz", "rt") as lines:
                    post = {f"{r['reply']}\n{r['post']}": r["post"] for r in map(json.loads, lines)}
                yield of_data("MultiPICo", seed, voters.table(study), Grouping(), cache, post)


def dsp_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Queries, and responses: row 4 q + d is the response of domain d to query q."""
    with gzip.open(folder / "domain_specific_preference.test.jsonl.gz", "rt") as lines:
        queries = [json.loads(line)["query"] for line in lines]
    return queries, dsp.responses(folder)


def of_data(study: str, seed: int, data: PreferenceData, grouping: Grouping, cache: Path, asked: dict[str, str] | None = None) -> World:
    """A data set as `fit` deals it. asked: the prompt of each item, where the data has none; it may stand at the end of the item's text."""
    whole = data
    data, split = deal(whole, seed=seed)
    ready = prepare(data, split, Encoding(None, cache=cache, dim=16), grouping, seed=seed, whole=whole)
    responses, prompt = list(ready.responses.texts), np.zeros(len(ready.responses.texts), np.int64)
    for side in (ready.responses.chosen, ready.responses.rejected):
        prompt[side] = data.prompt
    prompts = [data.texts[p] for p in prompt] if asked is None else [asked[text] for text in responses]
    responses = [text.removesuffix(f"\n{p}") for text, p in zip(responses, prompts, strict=True)]
    trained = ready.split.rows(TRAIN)
    fitted = np.unique(np.concatenate([ready.responses.chosen[trained], ready.responses.rejected[trained]]))
    test = ready.pairs(ready.strict(ready.split.rows(TEST)), ready.split.history)
    return World(study, f"seed {seed}", prompts, responses, fitted, *ready.training(), test, ready.groups.names)


def features(reading: str, prompts: Sequence[str], responses: Sequence[str], fitted: np.ndarray, cache: Path, seed: int = 0) -> Tensor:
    """float32[items, dim], the map fitted on the items of training pairs as in `fit`; words are the read text's, beside: the response's."""
    both = [item_text(p, r, True) for p, r in zip(prompts, responses, strict=True)]
    texts = both if reading == TOGETHER else list(responses)
    vectors = encode_cached(texts, MiniLM(chunked=reading != CUT), cache)
    if reading == BESIDE:
        vectors = np.concatenate([vectors, encode_cached(both, MiniLM(chunked=True), cache)], axis=1)
    dim = int(np.clip(len(fitted) // 6, 16, 256))
    fitted_map = FeatureMap.fit([texts[i] for i in fitted], vectors[fitted], dim=dim, seed=seed)
    return torch.from_numpy(fitted_map.apply(texts, vectors))


def judged(world: World, cache: Path) -> dict[str, Any]:
    """Each reading's accuracies by group, one a user with test pairs; users stand in one order."""
    found: dict[str, Any] = {}
    before = torch.zeros(0)
    for reading in (CUT, CHUNKED, TOGETHER, BESIDE):
        items = features(reading, world.prompts, world.responses, world.fitted, cache)
        if reading == CHUNKED and torch.equal(items, before):  # no text is over the limit
            found[reading] = found[CUT]
            continue
        before = items
        train, valid, test = (on(pairs, items) for pairs in (world.train, world.valid, world.test))
        right = (margins(BradleyTerry().fit(train, valid, 0).scorer, test) > 0).double().numpy()
        user, group = test.user.numpy(), test.group.numpy()
        found[reading] = {}
        for number, name in enumerate(world.groups):
            ours = group == number
            count = np.bincount(user[ours])
            found[reading][name] = np.bincount(user[ours], right[ours])[count > 0] / count[count > 0]
    return found


def on(pairs: Pairs, items: Tensor) -> Pairs:
    return replace(pairs, history=replace(pairs.history, items=items))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By reading and group: accuracy, and the difference from the cut response, paired by user and by run."""
    out: dict[str, Any] = {"runs": len(runs), "readings": {}}
    for reading in runs[0]:
        out["readings"][reading] = {}
        for group in runs[0][reading]:
            by_run = [r[reading][group] - r[CUT][group] for r in runs]
            out["readings"][reading][group] = {
                "accuracy": dsp.interval(np.concatenate([r[reading][group] for r in runs])),
                "difference": dsp.interval(np.concatenate(by_run)),
                "by_run": [100 * float(d.mean()) for d in by_run],
            }
    return out


def which_answers(queries: Sequence[str], responses: Sequence[str], seed: int, cache: Path) -> dict[str, float]:
    """Accuracy on test queries, by reading, of one reward trained to prefer the response to the query over one to another query.

    Items 0..n-1 are responses under their own query; item n + i is a response of i's domain, to another query of i's part, under i's query.
    """
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(queries))
    dealt = order[:360], order[360:460], order[460:]
    n = len(responses)
    foreign = np.arange(n)
    for part in dealt:
        next_query = dict(zip(part.tolist(), np.roll(part, 1).tolist(), strict=True))
        for q in part.tolist():
            foreign[4 * q : 4 * q + 4] = 4 * next_query[q] + np.arange(4)
    prompts = [queries[i // 4] for i in range(n)] * 2
    texts = [*responses, *(responses[i] for i in foreign)]

    def pairs(part: np.ndarray, items: Tensor) -> Pairs:
        chosen = torch.from_numpy((4 * part[:, None] + np.arange(4)).ravel())
        user = torch.arange(len(chosen)) % 100
        none = torch.zeros(0, dtype=torch.long)
        nobody = History(items, torch.zeros(101, dtype=torch.long), none, none, torch.full((100,), -1))
        return Pairs(nobody, user, chosen, chosen + n, torch.ones(len(chosen)), torch.full_like(user, -1))

    own = (4 * np.sort(dealt[0])[:, None] + np.arange(4)).ravel()
    found = {}
    for reading in (CUT, CHUNKED, TOGETHER, BESIDE):
        items = features(reading, prompts, texts, np.concatenate([own, own + n]), cache, seed)
        train, valid, test = (pairs(part, items) for part in dealt)
        margin = margins(BradleyTerry(head=Linear()).fit(train, valid, seed).scorer, test)
        found[reading] = 100 * float(((margin > 1e-6).double() + 0.5 * (margin.abs() <= 1e-6).double()).mean())
    return found


def seconds(queries: Sequence[str], responses: Sequence[str]) -> dict[str, float]:
    """CPU seconds a thousand texts for the vectors of each reading, least of two rounds, on every tenth DSP response or so."""
    some = range(0, len(responses), len(responses) // TIMED)
    plain = [responses[i] for i in some]
    both = [item_text(queries[i // 4], responses[i], True) for i in some]
    cut, chunked = MiniLM(chunked=False), MiniLM(chunked=True)
    cut.encode(plain[:8]), chunked.encode(plain[:8])  # weights are read on first use

    def timed(encoder: MiniLM, texts: list[str]) -> float:
        start = time.process_time()
        encoder.encode(texts)
        return 1000 * (time.process_time() - start) / len(texts)

    rounds = [(timed(cut, plain), timed(chunked, plain), timed(chunked, both)) for _ in range(2)]
    a, b, c = (min(values) for values in zip(*rounds, strict=True))
    return {CUT: a, CHUNKED: b, TOGETHER: c, BESIDE: b + c}


if __name__ == "__main__":
    main()

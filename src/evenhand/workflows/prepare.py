"""From checked pairs to what methods and audits take: features, splits, support, groups, index pairs; and what a model makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from evenhand.audits.outcomes import Outcomes, outcomes_of
from evenhand.audits.stability import Stability, check_stability
from evenhand.core import DataError, Events, Groups, History, Method, Pairs, PreferenceData, Scorer, Texts
from evenhand.data.matched import tied_texts
from evenhand.data.splits import TEST, TRAIN, VALID, Split
from evenhand.data.support import Support
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.projection import FeatureMap
from evenhand.encode.texts import encoded_texts
from evenhand.engines import Engine
from evenhand.parts import calling
from evenhand.training.scoring import margins, rewards
from evenhand.training.tuned import own_features
from evenhand.workflows import hyperparameters
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.grouping import Grouping, check_parted, support_of
from evenhand.workflows.progress import Progress, silent
from evenhand.workflows.responses import Responses, check_texts, encode_responses, fit_features, fit_unreduced, same_vectors
from evenhand.workflows.told import by_prompt, earlier, tellings

CHECKED = 64  # pairs whose scores are computed in every arrangement
READ_ANEW = 16  # pairs where a language model reads their texts each time: some 190 texts


@dataclass(frozen=True)
class Prepared:
    """One data set ready for training and audits."""

    data: PreferenceData
    split: Split
    support: Support
    groups: Groups
    responses: Responses
    feature_map: FeatureMap
    features: torch.Tensor  # float32[responses, dim]
    events: Events | None = None  # what constraints compare: the data's own groups of pairs, else the users' groups by attributes
    with_prompt: bool = False
    texts: Texts | None = None  # where the responses' features train along
    told: int = 0  # choices of the user that stand in the input before a pair; then no head reads a history
    tfidf: bool = True  # whether feature maps look at words beside the encoder's vectors
    seed: int = 0

    def on(self, method: Method) -> Prepared:
        """The same pairs, groups and support with the features that the method reads."""
        return self.unreduced if method.unreduced else self

    @cached_property
    def unreduced(self) -> Prepared:
        feature_map = fit_unreduced(self.split, self.responses, self.tfidf, self.seed)
        features = feature_map.apply(self.responses.texts, self.responses.vectors)
        return replace(self, feature_map=feature_map, features=torch.from_numpy(features), texts=None)

    def bare(self) -> Prepared:
        """What training and judging read, and no more of it: numbers of users and texts in place of ids and texts, which then stay here when
        another machine trains. Where a language model trains along, `texts` has the tokens that it reads.
        """
        data, responses, map_ = self.data, self.responses, self.feature_map
        return replace(
            self,
            data=replace(
                data, users=[""] * len(data.users), texts=[""] * len(data.texts), numbers={}, attributes={}, judgements=None, source=""
            ),
            responses=replace(responses, texts=[""] * len(responses.texts), vectors=None, tokens=None),
            feature_map=replace(map_, of_vector=None, tfidf=None, of_tfidf=None, letters=None, of_letters=None),
        )

    @property
    def seen(self) -> np.ndarray:
        """bool[users]: those with training pairs."""
        return np.bincount(self.data.user[self.split.rows(TRAIN)], minlength=len(self.data.users)) > 0

    def check_groups(self, methods: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Before training: `grouping.check_parted` for methods by name, of which those that work on groups need two."""
        check_parted(self.groups, self.seen, [name for name, method in methods.items() if hyperparameters.works_on_groups(method)], say)

    def strict(self, rows: np.ndarray) -> np.ndarray:
        """`rows` without ties: nobody can be right about these."""
        return rows if self.data.tie is None else rows & ~self.data.tie

    def counted(self, rows: np.ndarray) -> np.ndarray:
        """`rows` without counterfactual copies: what they are right about, their originals are."""
        return rows if self.events is None or self.events.copy is None else rows & ~self.events.copy

    def pairs(self, rows: np.ndarray, history: np.ndarray) -> Pairs:
        """The pairs at mask `rows`, every user's history being his or her pairs at mask `history`."""
        data = self.data
        weight = np.ones(len(data), np.float32) if data.weight is None else data.weight
        return Pairs(
            self.history(history),
            torch.from_numpy(data.user[rows].astype(np.int64)),
            torch.from_numpy(self.responses.chosen[rows]),
            torch.from_numpy(self.responses.rejected[rows]),
            torch.from_numpy(weight[rows].astype(np.float32)),
            torch.from_numpy(self.groups.of_user[data.user[rows]].astype(np.int64)),
            None if self.told else self.blocks(rows),
            None if self.events is None else self.events.take(rows).tensors(),
            self.texts,
        )

    def blocks(self, rows: np.ndarray) -> torch.Tensor | None:
        """What two pairs of a user at mask `rows` may share: a prompt, int64[n], else responses, int64[n, 2]; None where they share none.

        Of a matched set, the copies count as the original: whoever knows the choice on one knows it on the others.
        """
        data = self.data
        if data.events is None or data.events.twin is None:
            prompt, sides, count = data.prompt, (self.responses.chosen, self.responses.rejected), len(self.responses.texts)
        else:
            tied = np.append(tied_texts(data, np.arange(len(data.texts))), -1)
            prompt, sides, count = tied[data.prompt], (tied[data.chosen], tied[data.rejected]), len(data.texts)
        if self.by_prompt:
            return torch.from_numpy(prompt[rows].astype(np.int64))
        responses = np.stack([side[rows] for side in sides], axis=1).astype(np.int64)
        different = np.unique(data.user[rows].astype(np.int64)[:, None] * count + responses)
        return torch.from_numpy(responses) if len(different) < responses.size else None

    @property
    def by_prompt(self) -> bool:
        return by_prompt(self.data, self.split)

    def history(self, rows: np.ndarray) -> History:
        """Every user's pairs at mask `rows`, in the order of the data."""
        data = self.data
        order = np.flatnonzero(self.strict(rows))
        order = order[np.argsort(data.user[order], kind="stable")]
        offsets = np.zeros(len(data.users) + 1, np.int64)
        offsets[1:] = np.cumsum(np.bincount(data.user[order], minlength=len(data.users)))
        row = np.where(self.split.unseen, -1, np.arange(len(data.users)))
        return History(
            self.features,
            torch.from_numpy(offsets),
            torch.from_numpy(self.responses.chosen[order]),
            torch.from_numpy(self.responses.rejected[order]),
            torch.from_numpy(row),
        )

    def training(self) -> tuple[Pairs, Pairs]:
        """Train and validation pairs; a validation pair is judged with the user's training pairs as history.

        Counterfactual copies weigh nothing and are in no history: nobody judged them, and constraints alone look at them.
        """
        train = self.strict(self.split.rows(TRAIN))
        valid = self.strict(self.split.rows(VALID))
        for name, rows in (("training", train), ("validation", valid)):
            if not rows.any():
                remedy = "bring more prompts or users, or give a split column"
                raise DataError(f"there are no {name} pairs with a strict preference", expected="at least one", remedy=remedy)
        known = self.counted(train)
        return self._originals(self.pairs(train, known), train), self._originals(self.pairs(valid, known), valid)

    def _originals(self, pairs: Pairs, rows: np.ndarray) -> Pairs:
        """The pairs with weight 0 for copies."""
        if self.events is None or self.events.copy is None:
            return pairs
        return replace(pairs, weight=torch.where(torch.from_numpy(self.events.copy[rows]), 0.0, pairs.weight))


def held_out(split: Split) -> str:
    """What the test pairs are, for the report: on held-out prompts, unless a given split says otherwise."""
    unit = "responses" if split.unit == "responses" else "prompts"
    cells = split.cell[split.rows(TEST)]
    seen = float(np.isin(cells, (0, 2)).mean()) if len(cells) else 0.0
    users = "seen and unseen users" if (cells >= 2).any() and (cells < 2).any() else "unseen users" if (cells >= 2).any() else "seen users"
    return f"test: held-out {unit}, {users}" if seen == 0 else f"test: {seen:.0%} of the pairs on {unit} that training saw, {users}"


def prepare(
    data: PreferenceData,
    split: Split,
    encoding: Encoding,
    grouping: Grouping,
    *,
    feature_map: FeatureMap | None = None,
    whole: PreferenceData | None = None,
    seed: int = 0,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> Prepared:
    """Encode, fit the feature map unless one is given, and compute support and groups on what may enter a history alone.

    whole: the file's own pairs, where `data` was drawn anew for this split; they decide by which rule support is measured. engine: see `encode_responses`.
    """
    encoding = encoding.on(data)
    with_prompt = bool(encoding.with_prompt)
    check_texts(data, with_prompt)
    count, told = encoding.told, None
    if isinstance(encoding.encoder, BackboneEncoder) and count:
        told = tellings(data, earlier(data, split, count, seed), encoding.encoder.backbone, with_prompt)
    responses = encode_responses(data, encoding.encoder, with_prompt, encoding.cache, progress, told, engine)
    if feature_map is None:
        feature_map = fit_features(split, responses, encoding.dim, encoding.tfidf, seed)
    features = feature_map.apply(responses.texts, responses.vectors)
    if not features.any():
        found = "the texts carry no features: TF-IDF keeps words of three or more training responses, and there are none"
        raise DataError(found, expected="texts that share words, or an encoder", remedy="use --encoder minilm")
    seen = None if split.unseen.all() else ~split.unseen
    support = support_of(data, split.history, seen, whole)
    groups = grouping.groups(data, support, seen)
    events = grouping.events(data, groups)
    texts = None
    if encoding.trained and isinstance(encoding.encoder, BackboneEncoder):
        texts = encoded_texts(encoding.encoder, responses.texts, feature_map, responses.tokens)
    return Prepared(
        data, split, support, groups, responses, feature_map, torch.from_numpy(features), events, with_prompt, texts, count,
        encoding.tfidf, seed,
    )  # fmt: skip


def judged(ready: Prepared, scorer: Scorer, rows: np.ndarray, model: str, split: str) -> Outcomes:
    """The model's margins on the pairs at mask `rows`, each user read from the pairs that may enter a history."""
    pairs = ready.pairs(rows, ready.split.history)
    with calling("users(history) → states, and score(state, items) → rewards", scorer):
        margin = margins(scorer, pairs).numpy()
    out = outcomes_of(ready.data.take(rows), margin, model=model, split=split)
    cut, chosen, rejected = ready.responses.cut, ready.responses.chosen[rows], ready.responses.rejected[rows]
    hardly = ready.responses.hardly_read
    return replace(
        out,
        truncated=cut[chosen] | cut[rejected],
        identical=same_vectors(ready.responses, chosen, rejected),
        hardly_read=None if hardly is None else hardly[chosen] | hardly[rejected],
    )


def stability(ready: Prepared, scorer: Scorer, rows: np.ndarray, seed: int, encoder: TextEncoder | None) -> Stability:
    """Whether a pair's scores depend on the pairs scored beside it, on a sample of the pairs at mask `rows`.

    encoder: the model's. A language model reads these pairs' texts anew in other arrangements, since padding and precision are its own;
    users' histories, and what other encoders make of a text, are as they were judged.
    """
    scorer, pairs = own_features(scorer, ready.pairs(rows, ready.split.history))
    read: Callable[[Pairs], Pairs] = _same
    if isinstance(encoder, BackboneEncoder):
        drawn = np.random.default_rng([seed, 1601]).permutation(len(pairs))[:READ_ANEW]
        pairs = pairs.take(torch.from_numpy(drawn))
        read = _ReadAnew(ready, encoder, pairs)
    length = np.fromiter(map(len, ready.responses.texts), np.int64)
    longer = np.maximum(length[pairs.chosen.numpy()], length[pairs.rejected.numpy()])

    def score(picked: np.ndarray) -> np.ndarray:
        some = pairs.take(torch.from_numpy(picked))
        users, number = some.user.unique(return_inverse=True)
        return rewards(scorer, read(replace(some, history=some.history.take(users), user=number))).numpy()

    return check_stability(score, longer, rows=CHECKED, seed=seed)


def _same(pairs: Pairs) -> Pairs:
    return pairs


class _ReadAnew:
    """Pairs on the features that the language model gives their texts in one call; histories on the features that they had.

    The same texts are read together twice and not more often: that a call gives what it gave before has then been seen. Their words, which
    no batch changes, are counted once.
    """

    def __init__(self, ready: Prepared, encoder: BackboneEncoder, pairs: Pairs):
        self.ready, self.encoder = ready, encoder
        self.shown = torch.cat([pairs.chosen, pairs.rejected]).unique()
        self.words = ready.feature_map.constant([ready.responses.texts[i] for i in self.shown.tolist()])
        self.found: dict[tuple[int, ...], list[np.ndarray]] = {}

    def __call__(self, pairs: Pairs) -> Pairs:
        shown, place = torch.cat([pairs.chosen, pairs.rejected]).unique(return_inverse=True)
        found = self.found.setdefault(tuple(shown.tolist()), [])
        if len(found) < 2:
            found.append(self._features(shown))
        past = pairs.history
        items = torch.cat([past.items[past.chosen], past.items[past.rejected], torch.from_numpy(found[-1])])
        read = torch.arange(len(past.chosen))
        chosen, rejected = (2 * len(read) + place).split(len(pairs))
        history = replace(past, items=items, chosen=read, rejected=len(read) + read)
        return replace(pairs, history=history, chosen=chosen, rejected=rejected)

    def _features(self, shown: torch.Tensor) -> np.ndarray:
        tokens, of_vector = self.ready.responses.tokens, self.ready.feature_map.of_vector
        assert tokens is not None
        assert of_vector is not None
        vectors = self.encoder.vectors([tokens[i] for i in shown.tolist()])
        features: np.ndarray = self.words[torch.searchsorted(self.shown, shown).numpy()] + vectors @ of_vector
        return features

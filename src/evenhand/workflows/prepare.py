"""From checked pairs to what methods and audits take: features of distinct responses, splits, support, groups, index pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenhand.audits.outcomes import Outcomes, outcomes_of
from evenhand.audits.stability import Stability, check_stability
from evenhand.core import DataError, EvenhandError, Events, Groups, History, Method, Pairs, PreferenceData, Scorer, Texts, clip
from evenhand.data.matched import tied_texts
from evenhand.data.splits import TEST, TRAIN, VALID, Split
from evenhand.data.support import Support
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder, history_pairs, on_gpu
from evenhand.encode.cache import encode_cached
from evenhand.encode.chat import Told
from evenhand.encode.chunks import Tokens
from evenhand.encode.encoder import TextEncoder, truncated
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.encode.prompted import apart, item_text
from evenhand.encode.texts import encoded_texts
from evenhand.encode.unknown import hardly_read
from evenhand.engines import Engine
from evenhand.models.linear import Linear
from evenhand.parts import calling
from evenhand.training.scoring import margins, rewards
from evenhand.workflows import hyperparameters
from evenhand.workflows.grouping import Grouping, check_parted, support_of
from evenhand.workflows.progress import Progress, silent
from evenhand.workflows.told import by_prompt, earlier, tellings


@dataclass(frozen=True)
class Responses:
    """What the encoder is given: the distinct responses (with `with_prompt`, the distinct prompts and responses together).

    chosen, rejected int64[n]: each pair's rows in `texts`. vectors float32[responses, dim], None without an encoder.
    cut bool[responses]: the encoder does not see the text whole. hardly_read bool[responses]: a fifth or more of the text is unknown to it;
    None = not measured. tokens: prefix and own tokens of each, as a language model reads them; None = another encoder.
    """

    texts: list[str]
    chosen: np.ndarray
    rejected: np.ndarray
    vectors: np.ndarray | None
    cut: np.ndarray
    hardly_read: np.ndarray | None = None
    tokens: Sequence[Tokens] | None = None


def check_texts(data: PreferenceData, with_prompt: bool) -> None:
    """Raises DataError unless every pair has the texts that are read."""
    if len(data) == 0 or (data.chosen < 0).any():
        found = "the data has no texts" if len(data) else "the data has no pairs"
        raise DataError(
            found, expected="chosen and rejected texts", remedy="bring a table with texts, or audit score columns with --scores"
        )
    if with_prompt and (data.prompt < 0).any():
        raise DataError(
            "the data has no prompts", expected="a prompt for each pair", remedy="leave --with-prompt out, or name the prompt column"
        )


def encode_responses(
    data: PreferenceData,
    encoder: TextEncoder | None,
    with_prompt: bool,
    cache: Path | None,
    progress: Progress = silent,
    told: Sequence[Told] | None = None,
    engine: Engine | None = None,
) -> Responses:
    """Every distinct response once, from the cache where it was seen before.

    engine: whose workers encode; None: this process. told: what a language model reads of the user before each pair; then a response is one for everything that it stands behind.
    """
    check_texts(data, with_prompt)
    prompt = data.prompt if with_prompt else np.zeros_like(data.prompt)
    keys = np.concatenate([prompt.astype(np.int64) * len(data.texts) + side for side in (data.chosen, data.rejected)])
    distinct, rows = np.unique(keys, return_inverse=True)
    texts = [item_text(data.texts[k // len(data.texts)], data.texts[k % len(data.texts)], with_prompt) for k in distinct.tolist()]
    if told is not None:
        texts, rows = _behind(told, texts, rows, with_prompt)
    if encoder is None:
        return Responses(texts, rows[: len(data)], rows[len(data) :], None, np.zeros(len(texts), bool))
    vectors = encode_cached(texts, encoder, cache, lambda done, total: progress("encode", done, total), engine, on_gpu(encoder))
    tokens, cut = encoder.tokenized(texts) if isinstance(encoder, BackboneEncoder) else (None, truncated(encoder, texts))
    return Responses(texts, rows[: len(data)], rows[len(data) :], vectors, cut, hardly_read(encoder, texts), tokens)


def _behind(told: Sequence[Told], texts: Sequence[str], rows: np.ndarray, with_prompt: bool) -> tuple[list[str], np.ndarray]:
    """The distinct texts behind what is told before each pair, and both sides' rows in them."""
    number: dict[Told, int] = {}
    before = np.array([number.setdefault(t, len(number)) for t in told], np.int64)
    distinct, inverse = np.unique(np.concatenate([before, before]) * len(texts) + rows, return_inverse=True)
    known, parts = list(number), [apart(text) for text in texts]
    keys = [divmod(key, len(texts)) for key in distinct.tolist()]
    return [item_text(parts[i][0], parts[i][1], with_prompt, known[t]) for t, i in keys], inverse


def fit_features(split: Split, responses: Responses, dim: int | None, tfidf: bool, seed: int) -> FeatureMap:
    """The feature map of the responses that occur in training pairs; dim None = one coordinate for every 6 of them, 16 to 256."""
    rows = _trained(split, responses)
    return _fit_map(rows, responses, Recipe(dim=int(np.clip(len(rows) // 6, 16, 256)) if dim is None else dim), tfidf, seed)


def fit_unreduced(split: Split, responses: Responses, tfidf: bool, seed: int) -> FeatureMap:
    """The same responses by the recipe of that name, with as many coordinates as tell them apart, 512 at most."""
    rows = _trained(split, responses)
    return _fit_map(rows, responses, Recipe.unreduced(int(np.clip(len(rows) - 1, 16, 512))), tfidf, seed)


def _trained(split: Split, responses: Responses) -> np.ndarray:
    train = split.rows(TRAIN)
    return np.unique(np.concatenate([responses.chosen[train], responses.rejected[train]]))


def _fit_map(rows: np.ndarray, responses: Responses, recipe: Recipe, tfidf: bool, seed: int) -> FeatureMap:
    vectors = None if responses.vectors is None else responses.vectors[rows]
    return FeatureMap.fit([responses.texts[r] for r in rows], vectors, tfidf=tfidf, seed=seed, recipe=recipe)


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


@dataclass(frozen=True)
class Encoding:
    """How texts become features.

    Args:
        encoder: minilm (embedded), none (TF-IDF alone), smollm2, a folder of transformers, or a sentence-transformers name or folder.
        with_prompt: Encode prompt and response together; without it prompts do not count. Default: where a backbone trains and there are prompts.
        tfidf: Put TF-IDF beside the encoder: style tells users apart too.
        dim: Coordinates of reduced features; default by the number of distinct training responses, since more overfit on few.
        cache: as in `audit`.
        trained: the weights of the encoder, a language model, train along with the head; what its `Backbone` says of adapter and steps counts.

    Methods that find their own ridge weight (`unreduced`, a constant of their class) read encoder, words and letters side by side as they
    are, whatever `dim`.
    """

    encoder: TextEncoder | None  # an encoder as it is; None = TF-IDF alone
    with_prompt: bool | None = None
    tfidf: bool = True
    dim: int | None = None
    cache: Path | None = None
    trained: bool = False

    def __post_init__(self) -> None:
        if self.dim is not None and self.dim < 1:
            raise EvenhandError(f"dim is {self.dim}. Expected: 1 or more. To do: leave it out, and it follows the number of responses.")
        if self.encoder is None and not self.tfidf:
            raise EvenhandError("Found neither an encoder nor TF-IDF. Expected: one of them at least. To do: leave --no-tfidf out.")
        if isinstance(self.encoder, str | Backbone):
            name = self.encoder if isinstance(self.encoder, str) else self.encoder.model
            raise EvenhandError(
                f"Found a name or Backbone, {clip(name)}, in the encoder's place. Expected: an encoder. To do: Encoding(BackboneEncoder(Backbone(…))) "
                "of evenhand.encode.backbone_encoder, or Encoding(text_encoder(name)) of evenhand.encode; to train along, give backbone= instead."
            )
        if self.trained and not isinstance(self.encoder, BackboneEncoder):
            raise EvenhandError(
                "Found an encoder whose weights cannot train. Expected: a language model. To do: backbone='minilm', 'smollm2' or a folder."
            )

    @property
    def told(self) -> int:
        """So many choices of a user stand in the input."""
        return history_pairs(self.encoder)

    def on(self, data: PreferenceData) -> Encoding:
        """The same, with it settled whether prompts are read."""
        read = (self.trained or self.told > 0) and len(data) > 0 and bool((data.prompt >= 0).all())
        return self if self.with_prompt is not None else replace(self, with_prompt=read)


def encoding_of(encoding: Encoding | None, backbone: str | Path | Backbone | None, data: PreferenceData) -> Encoding:
    """The encoding asked for, on these data; a backbone takes the encoder's place and trains."""
    asked = encoding or Encoding(MiniLM())
    if backbone is not None:
        named = backbone if isinstance(backbone, Backbone) else Backbone(_model(backbone))
        asked = replace(asked, encoder=BackboneEncoder(named), trained=True)
    return asked.on(data)


def _model(backbone: object) -> str:
    if isinstance(backbone, str | Path):
        return str(backbone)
    raise EvenhandError(
        f"backbone is of type {type(backbone).__name__}. Expected: minilm, smollm2, a folder, or a Backbone. To do: name one, or leave it out."
    )


def check_heads(encoding: Encoding, methods: Mapping[str, Any]) -> None:
    """Raises EvenhandError where users stand in the input and the head of one of the methods, by name, would read them once more."""
    for name, method in methods.items() if encoding.told else ():
        head = hyperparameters.base(method).head
        if not isinstance(head, Linear):
            raise EvenhandError(
                f"{name} reads the user's choices in its head, {hyperparameters.name_of(head)}, and {encoding.told} of them stand in the "
                "input already. Expected: one of the two. To do: take the linear head (--head linear), or leave history_pairs out."
            )


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


def same_vectors(responses: Responses, chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Pairs of different texts that the encoder cannot tell apart since it does not see them whole, bool[n].

    A language model sees the same where the tokens of both are the same; of two texts, one alone may have been cut for that.
    """
    cut, tokens = responses.cut, responses.tokens
    out = cut[chosen] & cut[rejected] if tokens is None else cut[chosen] | cut[rejected]
    both = np.flatnonzero(out)
    if tokens is not None:
        out[both] = [all(map(np.array_equal, tokens[c], tokens[r])) for c, r in zip(chosen[both], rejected[both])]
    elif responses.vectors is not None:
        out[both] = [np.array_equal(responses.vectors[c], responses.vectors[r]) for c, r in zip(chosen[both], rejected[both])]
    return out


def stability(ready: Prepared, scorer: Scorer, rows: np.ndarray, seed: int) -> Stability:
    """Whether a pair's scores depend on the pairs scored beside it, on a sample of the pairs at mask `rows`."""
    pairs = ready.pairs(rows, ready.split.history)
    length = np.fromiter(map(len, ready.responses.texts), np.int64)
    longer = np.maximum(length[pairs.chosen.numpy()], length[pairs.rejected.numpy()])

    def score(picked: np.ndarray) -> np.ndarray:
        some = pairs.take(torch.from_numpy(picked))
        users, number = some.user.unique(return_inverse=True)
        return rewards(scorer, replace(some, history=some.history.take(users), user=number)).numpy()

    return check_stability(score, longer, rows=64, seed=seed)

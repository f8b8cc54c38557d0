"""A backbone as a frozen text encoder: pretrained, or with the adapter that a training left."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from evenhand.core import EvenhandError, clip
from evenhand.encode.adapter import Adapter
from evenhand.encode.backbone import Backbone, device
from evenhand.encode.chat import PERSONA, Told
from evenhand.encode.chunks import Tokens
from evenhand.encode.encoder import Progress, TextEncoder
from evenhand.encode.prompted import Prompted, apart
from evenhand.encode.user_tokens import read, sides

MOST_SEEN = 100_000  # texts of users' choices whose vectors are kept in memory
FORMATTING = 1  # raised when encode/chat.py gives a text other tokens than before: cached vectors and saved models are not of these


def history_pairs(encoder: TextEncoder | None) -> int:
    """How many of the user's earlier choices the encoder reads before a prompt."""
    return encoder.backbone.history_pairs if isinstance(encoder, BackboneEncoder) else 0


def language_model(encoder: TextEncoder | None, trained: bool) -> dict[str, str]:
    """A report's fact of which language model is read, and how it trained; nothing where there is none."""
    if not isinstance(encoder, BackboneEncoder):
        return {}
    backbone = encoder.backbone
    how = f"trained along: {backbone.trains}" if trained else "frozen"
    return {"language model": f"{encoder.name}, {how}; a text is {backbone.reads}"}


def telling(encoder: TextEncoder | None, pairs: int, soft: int = 0) -> TextEncoder:
    """The encoder with `pairs` of the user's choices before a prompt, or with `soft` tokens that follow from them. Raises EvenhandError unless it is a language model."""
    if not isinstance(encoder, BackboneEncoder):
        raise EvenhandError(
            f"history_pairs is {pairs}, and the encoder is {clip(encoder.name) if encoder else 'none'}. Expected: a language model, which reads "
            "a history in words. To do: name one as backbone or encoder, or leave history_pairs out."
        )
    return replace(encoder, backbone=replace(encoder.backbone, history_pairs=pairs, soft_user_tokens=soft))


def on_gpu(encoder: TextEncoder | None) -> bool:
    """Whether it computes on a GPU, as no encoder but a language model does."""
    return isinstance(encoder, BackboneEncoder) and device(encoder.backbone.device) != "cpu"


@dataclass(frozen=True, eq=False)
class BackboneEncoder:
    """A TextEncoder whose vectors are a language model's pooled hidden states. adapter: worn while encoding; None = as pretrained.

    A text with a prompt is read as the model's chat template writes it (encode/chat.py). Texts over the limit are cut. Vectors of a text
    alone and among others differ by rounding: at most by 1e-5 in float32.
    """

    backbone: Backbone
    adapter: Adapter | None = None

    chunked = False

    @property
    def name(self) -> str:
        return self.backbone.name

    @property
    def fingerprint(self) -> str:
        """Over the base's files, the settings that decide a vector, and the adapter's tensors."""
        b = self.backbone
        length = "l2" if b.base.unit else "own length"
        soft = f"{b.soft_user_tokens} user tokens " if b.soft_user_tokens else ""
        read = b.dtype if b.rank or b.dtype == "float32" else f"{b.dtype} of float32"  # see Base
        settings = f"{b.files_sha256} {b.pooling} {length} {self.max_tokens} {read} chat {FORMATTING} {soft}{self._adapter_sha256}"
        return hashlib.sha256(settings.encode()).hexdigest()

    @property
    def dim(self) -> int:
        return self.backbone.base.dim

    @property
    def max_tokens(self) -> int:
        return self.backbone.limit

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Vectors float32[n, dim]. Raises EvenhandError when the model cannot be loaded or gives no numbers."""
        if self.backbone.soft_user_tokens and self.adapter is None:  # tokens that nothing trained are the same for everybody
            number = {text: i for i, text in enumerate(dict.fromkeys(apart(text)[:2] for text in texts))}
            tokens = self._read([Prompted(*text) for text in number])[0]
            return self.vectors(tokens, progress)[[number[apart(text)[:2]] for text in texts]]
        return self.vectors(self.tokenized(texts)[0], progress)

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each whole text, prompt and special ones included, int64[n]."""
        return self._read(texts)[1]

    def tokenized(self, texts: Sequence[str]) -> tuple[list[Tokens], np.ndarray]:
        """(each text's prefix and own tokens, at most `max_tokens` together; which texts were cut bool[n])."""
        tokens, whole = self._read(texts)
        if self.backbone.soft_user_tokens:
            users = self._users([apart(text)[2] for text in texts])
            tokens = [(text[0], text[1], user) for text, user in zip(tokens, users)]
        return tokens, whole > self.max_tokens

    def _users(self, told: Sequence[Told]) -> list[np.ndarray]:
        """What the soft tokens before each text follow from, float32[dim] each."""
        base, chat = self.backbone.base, self.backbone.chat
        users = list(dict.fromkeys(told))
        asked = sides(users)
        if len(base.seen.keys() | asked) > MOST_SEEN:
            base.seen = {}
        seen = base.seen  # another thread may begin a new one
        if new := [side for side in asked if side not in seen]:
            prompts, responses = zip(*new)
            seen |= zip(new, base.vectors([text.tokens for text in chat.tokens(prompts, responses)], None).numpy())
        found = {user: read(user, seen, base.dim) for user in users}
        return [found[user] for user in told]

    def _read(self, texts: Sequence[str]) -> tuple[list[Tokens], np.ndarray]:
        """The one place where texts become tokens, and how many the whole texts would have, int64[n]."""
        if not texts:
            return [], np.zeros(0, dtype=np.int64)
        prompts, responses, told = zip(*map(apart, texts))
        soft = self.backbone.soft_user_tokens
        read = self.backbone.chat.tokens(prompts, responses, told if any(told) and not soft else None)
        whole = [soft + len(t.prefix) + len(t.own) + sum(t.dropped.values()) for t in read]
        before = self.backbone.chat.words(PERSONA, soft)
        distinct = {id(t.prefix): t.prefix for t in read}  # texts with one prompt have one array for it
        prefix = {number: np.concatenate([before, found]) if soft else found for number, found in distinct.items()}
        return [(prefix[id(t.prefix)], t.own) for t in read], np.array(whole, dtype=np.int64)

    def vectors(self, texts: Sequence[Tokens], progress: Progress | None = None) -> np.ndarray:
        """The same of texts in tokens."""
        vectors = self.backbone.base.vectors(texts, self.adapter, progress).numpy()
        if not np.isfinite(vectors).all():
            raise EvenhandError(
                f"Backbone '{clip(self.name)}' gives vectors that are not finite. Expected: numbers, whatever the text. "
                "To do: use float32, or check the weights in the backbone's folder."
            )
        return vectors

    @cached_property
    def _adapter_sha256(self) -> str:
        if self.adapter is None:
            return "pretrained"
        digest = hashlib.sha256()
        for name, array in sorted(self.adapter.arrays().items()):
            digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
        return digest.hexdigest()

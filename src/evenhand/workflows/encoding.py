"""How texts become features, as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError, PreferenceData, clip
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder, history_pairs
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.models.linear import Linear
from evenhand.workflows import hyperparameters


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
        untrained = (
            self.encoder if isinstance(self.encoder, BackboneEncoder) and self.encoder.adapter is None and not self.trained else None
        )
        if untrained and (soft := untrained.backbone.soft_user_tokens):  # the same for everybody: no user would be read
            raise EvenhandError(
                f"Found {soft} soft tokens of the user before a language model that does not train. Expected: one that trains, since they are "
                "learned with it. To do: name it as backbone (--backbone), or leave soft_user_tokens (--soft-user-tokens) out."
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

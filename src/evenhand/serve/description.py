"""What model.json may say: every field's type and range, checked before anything is built from it.

The file's SHA-256 tells damage, not malice: it is a checksum and no signature, and whoever edits the file can seal it again. So a value
that no model can have is refused here, and what has to fit the arrays is compared with them where they are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evenhand.core import DataError, clip
from evenhand.serve.wrong import why

LARGEST = 1_000_000  # of a dimension or a setting; the arrays, which lie in the same folder, bound it further
LONGEST_LOOP = 10_000  # steps or layers
MOST_BUCKETS = 2**24

Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """No conversion, no unknown field, no change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ArrayRecord(Strict):
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(max_length=8)]
    type: Literal["float16", "float32", "float64", "bfloat16", "int32", "int64", "bool"]


class HeadRecord(Strict):
    name: str
    settings: dict[str, Any]  # typed by the head's own dataclass
    source: Annotated[str, Field(max_length=500)] | None = None  # of a head from outside the package: where its class came from
    sha256: list[Sha256] | None = None  # of its code


class NoEncoder(Strict):
    kind: Literal["none"]
    with_prompt: bool


class EncoderRecord(Strict):
    kind: Literal["minilm", "given"]
    name: str
    chunked: bool
    fingerprint: Sha256
    with_prompt: bool


class SentenceRecord(Strict):
    kind: Literal["sentence-transformers"]
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    name: str
    chunked: bool
    fingerprint: Sha256
    with_prompt: bool


class BackboneRecord(Strict):
    kind: Literal["backbone"]
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    rank: Annotated[int, Field(ge=0, le=1024)]
    pooling: Literal["mean", "last"]
    max_tokens: Positive
    dtype: Literal["float32", "bfloat16"]
    history_pairs: Annotated[int, Field(ge=0, le=1000)] = 0
    persona: bool = False
    soft_user_tokens: Annotated[int, Field(ge=0, le=64)] = 0
    name: str
    chunked: Literal[False]
    fingerprint: Sha256
    with_prompt: bool


class RecipeRecord(Strict):
    """`Recipe` in encode/projection.py; a field that is left out has the value it has there."""

    dim: Positive
    svd: Positive = 1
    damping: Annotated[Finite, Field(ge=0, le=10)] = 0.0
    squared_norm: Annotated[Finite, Field(gt=0)] = 1.0
    min_df: Positive = 1
    max_buckets: Annotated[int, Field(ge=1, le=MOST_BUCKETS)] = 1
    max_texts: Annotated[int, Field(ge=1)] = 1
    standardise: bool = True
    letters: bool = False


class TermsRecord(Strict):
    ngrams: Annotated[int, Field(ge=1, le=10)]
    space: Annotated[int, Field(ge=1, le=MOST_BUCKETS)]
    letters: bool


class FeaturesRecord(Strict):
    recipe: RecipeRecord
    tfidf: TermsRecord | None
    letters: TermsRecord | None = None  # not in models of before there were letters


class Facts(BaseModel):
    """How the model was trained. Any JSON value is a fact; these are read again."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    evenhand: str
    torch: str
    numpy: str
    title: str = ""
    method: str = ""
    data: str = ""
    split: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    shares: Annotated[list[Annotated[Finite, Field(ge=0, le=1)]], Field(min_length=3, max_length=4)] | None = None


class Description(Strict):
    format: Literal[1]
    head: HeadRecord
    dim: Positive
    encoder: Annotated[NoEncoder | EncoderRecord | SentenceRecord | BackboneRecord, Field(discriminator="kind")]
    features: FeaturesRecord
    arrays: Annotated[dict[str, ArrayRecord], Field(min_length=1, max_length=10_000)]
    arrays_sha256: Sha256
    facts: Facts
    description_sha256: Sha256


def check(said: dict[str, Any], file: Path, remedy: str) -> None:
    """Raises DataError with the first field that no saved model can have, what it holds and what it should."""
    try:
        found = Description.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(clip(str(part), 40) for part in first["loc"])
        value = "" if first["type"] in ("missing", "extra_forbidden") else clip(first["input"])
        raise DataError(
            f"'{place}' is not what a saved model has: {why(first)}", expected="the file as evenhand wrote it", remedy=remedy,
            file=str(file), value=value,
        ) from error  # fmt: skip
    if found.features.recipe.dim != found.dim:
        problem = f"The feature map gives {found.features.recipe.dim} features"
        raise DataError(problem, expected=f"{found.dim}, as the head takes", remedy=remedy, file=str(file))

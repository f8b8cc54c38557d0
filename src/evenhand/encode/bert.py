"""The forward pass of a small BERT encoder, without masks and without gradients.

Texts of a batch are laid end to end, and rows of zeros fill it up: every dense layer sees one matrix [rows, hidden], and only attention
looks at texts, one at a time. The number of rows is the caller's. It must not follow from what else is in the batch: a matrix product of
few rows adds up in another order than one of many, and the last bits of a text's vector would tell which texts it was encoded with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

Dense = tuple[Tensor, Tensor]  # weight [out, in] and bias [out]; of a layer norm: scale and shift, both [hidden]


@dataclass(frozen=True)
class Layer:
    qkv: Dense  # query, key and value in one product: [3 * hidden, hidden]
    attended: Dense
    attended_norm: Dense
    up: Dense
    down: Dense
    down_norm: Dense


@dataclass(frozen=True)
class Bert:
    """Weights of one encoder (Devlin et al. 2019, arXiv 1810.04805; post-norm, exact GELU)."""

    words: Tensor  # [vocabulary, hidden]
    positions: Tensor  # [places, hidden], the constant token type already added
    norm: Dense
    layers: tuple[Layer, ...]
    heads: int

    def mean_states(self, texts: Sequence[Sequence[int]], rows: int) -> Tensor:
        """Mean over each text's last hidden states, float32[texts, hidden]. `texts` are token ids, at most `rows` together."""
        lengths = [len(ids) for ids in texts]
        fill = [0] * (rows - sum(lengths))
        ids = torch.tensor([*(i for t in texts for i in t), *fill])
        places = torch.tensor([*(i for n in lengths for i in range(n)), *fill])
        x = _norm(self.words[ids] + self.positions[places], self.norm)
        for layer in self.layers:
            x = self._layer(x, layer, lengths)
        return torch.stack([part.float().mean(0) for part in x[: sum(lengths)].split(lengths)])

    def _layer(self, x: Tensor, layer: Layer, lengths: Sequence[int]) -> Tensor:
        x = _norm(x + linear(self._attend(linear(x, *layer.qkv), lengths), *layer.attended), layer.attended_norm)
        return _norm(x + linear(gelu(linear(x, *layer.up)), *layer.down), layer.down_norm)

    def _attend(self, qkv: Tensor, lengths: Sequence[int]) -> Tensor:
        """Self-attention within each text. qkv [rows, 3 * hidden] → [rows, hidden], 0 in the rows behind the last text."""
        out, start = qkv.new_zeros(len(qkv), qkv.shape[1] // 3), 0
        heads = qkv.view(1, len(qkv), 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [3, 1, heads, rows, hidden / heads]
        for length in lengths:
            q, k, v = heads[:, :, :, start : start + length].unbind()
            out[start : start + length].view(length, self.heads, -1).copy_(scaled_dot_product_attention(q, k, v)[0].transpose(0, 1))
            start += length
        return out


def _norm(x: Tensor, scale_shift: Dense) -> Tensor:
    return layer_norm(x, x.shape[-1:], *scale_shift, eps=1e-12)


def load_bert(weights: bytes, heads: int, dtype: torch.dtype) -> Bert:
    """Weights from the bytes of a safetensors file with the tensor names of transformers' BertModel, cast to `dtype`."""
    w = {name: tensor.to(dtype) for name, tensor in load(weights).items() if tensor.is_floating_point()}

    def dense(name: str) -> Dense:
        return w[f"{name}.weight"], w[f"{name}.bias"]

    def layer(name: str) -> Layer:
        q, k, v = (dense(f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        return Layer(
            qkv=(torch.cat([q[0], k[0], v[0]]), torch.cat([q[1], k[1], v[1]])),
            attended=dense(f"{name}.attention.output.dense"),
            attended_norm=dense(f"{name}.attention.output.LayerNorm"),
            up=dense(f"{name}.intermediate.dense"),
            down=dense(f"{name}.output.dense"),
            down_norm=dense(f"{name}.output.LayerNorm"),
        )

    depth = sum(name.endswith("intermediate.dense.weight") for name in w)
    return Bert(
        words=w["embeddings.word_embeddings.weight"],
        positions=w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][0],
        norm=dense("embeddings.LayerNorm"),
        layers=tuple(layer(f"encoder.layer.{i}") for i in range(depth)),
        heads=heads,
    )


def faster_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions for its products (twice the speed of float32's), else float32.

    Read from the processor and not timed: a timing on a busy machine can come out either way, and with it the last digits of every vector.
    """
    processor = torch.cpu.get_capabilities()
    native = any(processor.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if native and torch.backends.mkldnn.is_available() else torch.float32

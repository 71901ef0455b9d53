"""SmolLM2 with BlockRank's mask (arXiv 2510.05396), as the Java engine computes it; own code, needs torch alone.

Weights are those of the GGUF file, dequantised as in Java. Positions and mask: the instruction block from 0; every
document starts after it and sees it and itself; the last block has a fixed position and sees everything. The score is
taken at one layer: softmax of the signal tokens' scaled logits over the tokens of documents, summed per document,
averaged over heads and signal tokens.
"""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gguf_file import BLOCK_BYTES, F32, Q8_0, read_gguf

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}


def dequantize(kind, shape, raw):
    """fp32 values."""
    raw = torch.from_numpy(np.array(raw))
    if kind == F32:
        return raw.view(torch.float32).reshape(shape)
    blocks = raw.view(-1, BLOCK_BYTES[kind])
    if kind == Q8_0:
        scale = blocks[:, :2].contiguous().view(torch.float16).float()
        return (scale * blocks[:, 2:].contiguous().view(torch.int8).float()).reshape(shape)
    scale = blocks[:, 0:2].contiguous().view(torch.float16).float()
    low = blocks[:, 2:4].contiguous().view(torch.float16).float()
    nibbles = torch.cat([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], 1).float()
    return (scale * nibbles + low).reshape(shape)


def pack_weights(gguf, layer, token_ids, out):
    """Writes what ranking at a layer needs: the layers below it, its norm, query and key, and some embeddings."""
    metadata, tensors = read_gguf(gguf)
    arrays = {"metadata": np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)}
    for name, (kind, shape, raw) in tensors.items():
        part = name.split(".")
        if name == "token_embd.weight":
            rows = np.array(raw).reshape(shape[0], -1)[token_ids]
            arrays[f"{kind}|{len(token_ids)},{shape[1]}|{name}"] = rows.ravel()
        elif part[0] == "blk" and (int(part[1]) < layer or
                                   int(part[1]) == layer and part[2] in ("attn_norm", "attn_q", "attn_k")):
            arrays[f"{kind}|{','.join(map(str, shape))}|{name}"] = np.array(raw)
    arrays["token_ids"] = np.asarray(token_ids, dtype=np.int32)
    np.savez(out, **arrays)


class Weights:
    """Dequantised weights by the names of Hugging Face's modules; query and key rows in the half-split order of RoPE."""

    def __init__(self, metadata, tensors):
        get = lambda key: metadata["llama." + key]
        self.hidden = get("embedding_length")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv")
        self.head_size = self.hidden // self.heads
        self.theta = get("rope.freq_base")
        self.epsilon = get("attention.layer_norm_rms_epsilon")
        self.values = {}
        for name, (kind, shape, raw) in tensors.items():
            part = name.split(".")
            if part[0] != "blk":
                self.values[name] = dequantize(kind, shape, raw)
                continue
            values = dequantize(kind, shape, raw)
            if part[2] in ("attn_q", "attn_k"):
                half = self.head_size // 2
                values = values.view(-1, half, 2, shape[1]).transpose(1, 2).reshape(shape)
            self.values[f"{part[1]}.{NAMES.get(part[2], part[2])}"] = values

    @staticmethod
    def of_gguf(path, layer):
        metadata, tensors = read_gguf(path)
        kept = {n: t for n, t in tensors.items()
                if n == "token_embd.weight" or n.startswith("blk.") and int(n.split(".")[1]) <= layer}
        return Weights(metadata, kept)

    @staticmethod
    def of_packed(paths):
        """Weights that pack_weights wrote, perhaps cut into several files."""
        tensors, metadata, ids = {}, None, None
        for path in paths:
            with np.load(path) as data:
                for key in data.files:
                    if key == "metadata":
                        metadata = json.loads(data[key].tobytes())
                    elif key == "token_ids":
                        ids = torch.from_numpy(data[key].astype(np.int64))
                    else:
                        kind, shape, name = key.split("|")
                        tensors[name] = (int(kind), tuple(map(int, shape.split(","))), data[key])
        weights = Weights(metadata, tensors)
        rows = weights.values["token_embd.weight"]
        table = torch.zeros(49152, rows.shape[1])
        table[ids] = rows
        weights.values["token_embd.weight"] = table
        return weights


class Lora(nn.Module):
    """A linear map without bias whose weight is W + scale · B A; only A and B are trained."""

    def __init__(self, weight, rank, scale, dtype):
        super().__init__()
        self.register_buffer("weight", weight.to(dtype), persistent=False)
        self.scale = scale
        self.rank = rank
        if rank:
            outputs, inputs = weight.shape
            self.lora_A = nn.Parameter(torch.empty(rank, inputs))
            self.lora_B = nn.Parameter(torch.zeros(outputs, rank))
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.merged = None

    def merge(self):
        """Computes the merged weight once for a pass; gradients flow through it."""
        if self.rank:
            self.merged = self.weight + (self.scale * (self.lora_B @ self.lora_A)).to(self.weight.dtype)
        else:
            self.merged = self.weight

    def forward(self, x):
        return F.linear(x, self.merged)


def rotate(x, cos, sin):
    """RoPE, half-split; x is [..., tokens, head size], cos and sin [tokens, half]."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class BlockRank(nn.Module):
    """The layers below {@code layer} and its query and key."""

    def __init__(self, weights, layer, rank=0, alpha=32, dtype=torch.float32):
        super().__init__()
        self.shape = weights
        self.layer = layer
        self.dtype = dtype
        # The service keeps keys and values of blocks in bf16; here only a check of the arithmetic needs that.
        self.round_kept = False
        self.register_buffer("embedding", weights.values["token_embd.weight"].to(dtype), persistent=False)
        self.maps = nn.ModuleDict()
        for i in range(layer + 1):
            for name in NAMES.values():
                if i < layer or name in ("self_attn.q_proj", "self_attn.k_proj"):
                    weight = weights.values[f"{i}.{name}"]
                    self.maps[f"{i}.{name}".replace(".", "-")] = Lora(weight, rank, alpha / max(1, rank), dtype)
            for name in ("attn_norm", "ffn_norm"):
                if f"{i}.{name}" in weights.values:
                    self.register_buffer(f"norm-{i}-{name}", weights.values[f"{i}.{name}"], persistent=False)
        half = weights.head_size // 2
        angles = torch.arange(4096).double()[:, None] * weights.theta ** (
            -2.0 * torch.arange(half).double() / weights.head_size)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def merge(self):
        for lora in self.maps.values():
            lora.merge()

    def linear(self, layer, name, x):
        return self.maps[f"{layer}-{name.replace('.', '-')}"](x)

    def norm(self, x, layer, name):
        weight = getattr(self, f"norm-{layer}-{name}")
        return F.rms_norm(x.float(), x.shape[-1:], weight, self.shape.epsilon).to(x.dtype)

    def projected(self, x, layer, name, heads, position):
        """[batch, heads, tokens, head size], rotated unless position is None."""
        y = self.linear(layer, f"self_attn.{name}_proj", x)
        y = y.view(*x.shape[:2], heads, self.shape.head_size).transpose(1, 2)
        if position is None:
            return y
        n = x.shape[1]
        return rotate(y, self.cos[position:position + n], self.sin[position:position + n])

    def attend(self, q, k, v, mask):
        repeat = self.shape.heads // self.shape.kv_heads
        k = k.repeat_interleave(repeat, 1)
        v = v.repeat_interleave(repeat, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)

    def block(self, x, layer, mixed):
        x = x + self.linear(layer, "self_attn.o_proj", mixed)
        y = self.norm(x, layer, "ffn_norm")
        return x + self.linear(
            layer, "mlp.down_proj", F.silu(self.linear(layer, "mlp.gate_proj", y)) * self.linear(layer, "mlp.up_proj", y))

    def read(self, tokens, position, prefix=None):
        """Keys and values per layer of blocks [batch, tokens] after a prefix of one block; the last has keys alone."""
        n = tokens.shape[1]
        before = 0 if prefix is None else prefix[0][0].shape[2]
        mask = torch.ones(n, before + n, dtype=torch.bool, device=tokens.device).tril(before)
        x = F.embedding(tokens, self.embedding)
        kept = []
        for layer in range(self.layer):
            y = self.norm(x, layer, "attn_norm")
            q = self.projected(y, layer, "q", self.shape.heads, position)
            k = self.projected(y, layer, "k", self.shape.kv_heads, position)
            v = self.projected(y, layer, "v", self.shape.kv_heads, None)
            keys, values = k, v
            if prefix is not None:
                keys = torch.cat([prefix[layer][0].expand(len(x), -1, -1, -1), k], 2)
                values = torch.cat([prefix[layer][1].expand(len(x), -1, -1, -1), v], 2)
            x = self.block(x, layer, self.attend(q, keys, values, mask))
            kept.append((self.stored(k), self.stored(v)))
        y = self.norm(x, self.layer, "attn_norm")
        kept.append((self.stored(self.projected(y, self.layer, "k", self.shape.kv_heads, position)), None))
        return kept

    def stored(self, x):
        return x.bfloat16().to(x.dtype) if self.round_kept else x

    def logits(self, last, position, prefix, documents, visible):
        """
        Scaled logits [lists, heads, last tokens, documents · tokens] at the layer, in fp32.

        documents: per layer keys and values [lists · documents, kv heads, tokens, head size]
        visible: [lists, documents · tokens], whether a token is there (and kept)
        """
        lists, n = last.shape
        before = prefix[0][0].shape[2]
        device = last.device
        causal = torch.ones(n, n, dtype=torch.bool, device=device).tril()
        mask = torch.cat([
            torch.ones(lists, n, before, dtype=torch.bool, device=device),
            visible[:, None, :].expand(-1, n, -1),
            causal.expand(lists, -1, -1)], 2)[:, None]

        def joined(block):
            d, heads, tokens, size = block.shape
            return block.view(lists, d // lists, heads, tokens, size).transpose(1, 2).reshape(lists, heads, -1, size)

        x = F.embedding(last, self.embedding)
        for layer in range(self.layer):
            y = self.norm(x, layer, "attn_norm")
            q = self.projected(y, layer, "q", self.shape.heads, position)
            k = self.projected(y, layer, "k", self.shape.kv_heads, position)
            v = self.projected(y, layer, "v", self.shape.kv_heads, None)
            keys = torch.cat([prefix[layer][0].expand(lists, -1, -1, -1), joined(documents[layer][0]), k], 2)
            values = torch.cat([prefix[layer][1].expand(lists, -1, -1, -1), joined(documents[layer][1]), v], 2)
            x = self.block(x, layer, self.attend(q, keys, values, mask))
        y = self.norm(x, self.layer, "attn_norm")
        q = self.projected(y, self.layer, "q", self.shape.heads, position).float()
        keys = joined(documents[self.layer][0]).repeat_interleave(self.shape.heads // self.shape.kv_heads, 1).float()
        return q, q @ keys.transpose(2, 3) / math.sqrt(self.shape.head_size)

    @staticmethod
    def masses(logits, signals, visible, documents):
        """Mass per document [lists, documents]; signals [lists, last tokens] says whose attention counts."""
        logits = logits.masked_fill(~visible[:, None, None], -torch.inf)
        weights = torch.softmax(logits, -1)
        weights = weights.view(*weights.shape[:3], documents, -1).sum(-1)
        share = signals.float() / signals.sum(1, keepdim=True)
        return (weights.mean(1) * share[:, :, None]).sum(1)

    def adapter(self, dtype=torch.bfloat16):
        """Tensors by PEFT's names."""
        state = {}
        for key, lora in self.maps.items():
            layer, module, name = key.split("-")
            for part in ("lora_A", "lora_B"):
                state[f"base_model.model.model.layers.{layer}.{module}.{name}.{part}.weight"] = (
                    getattr(lora, part).detach().to(dtype).cpu().contiguous())
        return state

    def load_adapter(self, state):
        for key, lora in self.maps.items():
            layer, module, name = key.split("-")
            for part in ("lora_A", "lora_B"):
                value = state[f"base_model.model.model.layers.{layer}.{module}.{name}.{part}.weight"]
                getattr(lora, part).data.copy_(value)

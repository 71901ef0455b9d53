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


def pack_weights(gguf, out, token_ids=None, below=1000, part=lambda name: True):
    """
    Writes what is needed of a GGUF file where the whole is too much to move: the layers below one, its norm, query and
    key, and the embeddings, all or some.

    part: which tensors, so that several files can share them
    """
    metadata, tensors = read_gguf(gguf)
    arrays = {"metadata": np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8)}
    for name, (kind, shape, raw) in tensors.items():
        block = name.split(".")
        if not part(name):
            continue
        if name == "token_embd.weight":
            ids = np.arange(shape[0]) if token_ids is None else token_ids
            rows = np.array(raw).reshape(shape[0], -1)[ids]
            arrays[f"{kind}|{len(ids)},{shape[1]}|{name}"] = rows.ravel()
            arrays["token_ids"] = np.asarray(ids, dtype=np.int32)
        elif block[0] != "blk" or int(block[1]) < below or (
                int(block[1]) == below and block[2] in ("attn_norm", "attn_q", "attn_k")):
            arrays[f"{kind}|{','.join(map(str, shape))}|{name}"] = np.array(raw)
    np.savez_compressed(out, **arrays)


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
                if n in ("token_embd.weight", "output_norm.weight")
                or n.startswith("blk.") and int(n.split(".")[1]) <= layer}
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


def rope_tables(weights, positions):
    """Cosines and sines [positions, half the head size], fp32 of angles in fp64."""
    half = weights.head_size // 2
    angles = torch.arange(positions).double()[:, None] * weights.theta ** (
        -2.0 * torch.arange(half).double() / weights.head_size)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    """RoPE, half-split; x is [..., tokens, head size], cos and sin [tokens, half]."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def norm(x, weight, epsilon):
    return F.rms_norm(x.float(), x.shape[-1:], weight, epsilon).to(x.dtype)


def heads_of(x, weight, size):
    """[batch, heads, tokens, head size]"""
    return F.linear(x, weight).unflatten(-1, (-1, size)).transpose(1, 2)


def added_mask(visible, shape, dtype):
    """To be added to logits; visible: bool [.., tokens, keys], repeated for the folded query heads."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, -torch.inf)
    return torch.cat([mask] * (shape.heads // shape.kv_heads), -2)


def attend(q, k, v, mask):
    """The query heads of a key head are folded into its tokens, so that no key is copied; mask is made for that."""
    batch, heads, tokens, size = q.shape
    kv = k.shape[1]
    folded = q.reshape(batch, kv, heads // kv * tokens, size)
    mixed = F.scaled_dot_product_attention(folded, k, v, attn_mask=mask)
    return mixed.reshape(batch, heads, tokens, size).transpose(1, 2).flatten(2)


def layer(x, weights, cos, sin, mask, before_k, before_v, size, epsilon):
    """
    One layer over blocks.

    x: [batch, tokens, hidden]; weights: query, key, value, output, gate, up, down, both norms
    before_k, before_v: rotated keys and values that stand before each block, [1 or batch, kv heads, tokens, head size]
    mask: added to the logits, [.., query heads of a key head · tokens, tokens before + tokens]
    Returns x after the layer and the block's own keys and values.
    """
    wq, wk, wv, wo, gate, up, down, first, second = weights
    y = norm(x, first, epsilon)
    q, k = rotate(heads_of(y, wq, size), cos, sin), rotate(heads_of(y, wk, size), cos, sin)
    v = heads_of(y, wv, size)
    keys = torch.cat([before_k.expand(len(x), -1, -1, -1), k], 2)
    values = torch.cat([before_v.expand(len(x), -1, -1, -1), v], 2)
    x = x + F.linear(attend(q, keys, values, mask), wo)
    y = norm(x, second, epsilon)
    return x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down), k, v


class BlockRank(nn.Module):
    """The layers below {@code layer} and its query and key."""

    def __init__(self, weights, layer, rank=0, alpha=32, dtype=torch.float32):
        super().__init__()
        self.shape = weights
        self.layer = layer
        self.dtype = dtype
        # The service keeps keys and values of blocks in bf16; here only a check of the arithmetic needs that.
        self.round_kept = False
        # Replaced by a compiled one where documents of few widths are read.
        self.read_layer = globals()["layer"]
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
        cos, sin = rope_tables(weights, 4096)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def merge(self):
        for lora in self.maps.values():
            lora.merge()

    def weights(self, i):
        return (*(self.maps[f"{i}-{name.replace('.', '-')}"].merged for name in NAMES.values()),
                getattr(self, f"norm-{i}-attn_norm"), getattr(self, f"norm-{i}-ffn_norm"))

    def scoring(self, x, name, heads, position):
        """Query or key of the scoring layer."""
        y = norm(x, getattr(self, f"norm-{self.layer}-attn_norm"), self.shape.epsilon)
        y = heads_of(y, self.maps[f"{self.layer}-self_attn-{name}_proj"].merged, self.shape.head_size)
        return rotate(y, *self.angles(position, x.shape[1]))

    def angles(self, position, tokens):
        return self.cos[position:position + tokens], self.sin[position:position + tokens]

    def mask(self, visible):
        return added_mask(visible, self.shape, self.dtype)

    def read(self, tokens, position, prefix=None, there=None):
        """
        Keys and values per layer of blocks [batch, tokens] after a prefix of one block; the last has keys alone.

        there: how many tokens of the prefix are there, when it was padded; without a prefix, to pad the result to
        """
        n = tokens.shape[1]
        device = tokens.device
        size = self.shape.head_size
        if prefix is None:
            empty = torch.zeros(1, self.shape.kv_heads, 0, size, dtype=self.dtype, device=device)
            prefix = [(empty, empty)] * self.layer
        before = prefix[0][0].shape[2]
        visible = torch.ones(n, before + n, dtype=torch.bool, device=device).tril(before)
        if there is not None:
            visible[:, there:before] = False
        mask = self.mask(visible)
        cos, sin = self.angles(position, n)
        x = F.embedding(tokens, self.embedding)
        kept = []
        step = self.read_layer if before else layer
        for i in range(self.layer):
            x, k, v = step(x, self.weights(i), cos, sin, mask, *prefix[i], size, self.shape.epsilon)
            kept.append((self.stored(k), self.stored(v)))
        kept.append((self.stored(self.scoring(x, "k", self.shape.kv_heads, position)), None))
        return kept

    def stored(self, x):
        return x.bfloat16().to(x.dtype) if self.round_kept else x

    def joined(self, block, lists):
        """[lists · documents, kv heads, tokens, head size] → [lists, kv heads, documents · tokens, head size]"""
        count, heads, tokens, size = block.shape
        return block.view(lists, count // lists, heads, tokens, size).transpose(1, 2).reshape(lists, heads, -1, size)

    def logits(self, last, position, prefix, documents, visible, signals, there=None):
        """
        Scaled logits [lists, heads, signals, documents · tokens] at the layer, in fp32.

        documents: per layer keys and values [lists · documents, kv heads, tokens, head size]
        visible: [lists, documents · tokens], whether a token is there (and kept)
        signals: [lists, signals], indices of tokens of the last block
        """
        lists, n = last.shape
        before = prefix[0][0].shape[2]
        device = last.device
        causal = torch.ones(n, n, dtype=torch.bool, device=device).tril()
        first = torch.arange(before, device=device) < (before if there is None else there)
        mask = self.mask(torch.cat([
            first.expand(lists, n, -1), visible[:, None, :].expand(-1, n, -1), causal.expand(lists, -1, -1)], 2))[:, None]
        cos, sin = self.angles(position, n)
        x = F.embedding(last, self.embedding)
        for i in range(self.layer):
            keys, values = (torch.cat([prefix[i][j].expand(lists, -1, -1, -1), self.joined(documents[i][j], lists)], 2)
                            for j in (0, 1))
            x, _, _ = layer(x, self.weights(i), cos, sin, mask, keys, values, self.shape.head_size, self.shape.epsilon)
        q = self.scoring(x, "q", self.shape.heads, position).float()
        q = q.gather(2, signals[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
        keys = self.joined(documents[self.layer][0], lists).float()
        folded = q.reshape(lists, self.shape.kv_heads, -1, q.shape[3])
        scores = folded @ keys.transpose(2, 3) / math.sqrt(self.shape.head_size)
        return scores.view(lists, self.shape.heads, -1, keys.shape[2])

    @staticmethod
    def masses(logits, counted, visible, documents):
        """Mass per document [lists, documents]; counted [lists, signals] says which signals are there."""
        logits = logits.masked_fill(~visible[:, None, None], -torch.inf)
        weights = torch.softmax(logits, -1)
        weights = weights.view(*weights.shape[:3], documents, -1).sum(-1)
        share = counted.float() / counted.sum(1, keepdim=True)
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

"""The whole model with an adapter on every projection, for training and sampling suggestions."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from blockrank import NAMES, added_mask, attend, heads_of, layer, norm, rope_tables, rotate

PREFIX = "base_model.model.model.layers"


class Causal(nn.Module):
    """
    rank: of the adapter; scale 2 (alpha = 2 · rank)

    The projections of all layers are kept in one tensor each, so that an adapter is merged by few operations.
    """

    def __init__(self, weights, rank, dtype):
        super().__init__()
        self.shape, self.dtype, self.rank, self.scale = weights, dtype, rank, 2.0
        self.layers = 1 + max(int(k.split(".")[0]) for k in weights.values if k.endswith("attn_norm"))
        self.register_buffer("embedding", weights.values["token_embd.weight"].to(dtype), persistent=False)
        self.register_buffer("last_norm", weights.values["output_norm.weight"], persistent=False)
        self.factors_a, self.factors_b, self.merged = nn.ParameterDict(), nn.ParameterDict(), {}
        for name in NAMES.values():
            base = torch.stack([weights.values[f"{i}.{name}"] for i in range(self.layers)]).to(dtype)
            key = name.replace(".", "-")
            self.register_buffer(f"base-{key}", base, persistent=False)
            bound = 1 / math.sqrt(base.shape[2])
            self.factors_a[key] = nn.Parameter(torch.empty(self.layers, rank, base.shape[2]).uniform_(-bound, bound))
            self.factors_b[key] = nn.Parameter(torch.zeros(self.layers, base.shape[1], rank))
        for i in range(self.layers):
            for name in ("attn_norm", "ffn_norm"):
                self.register_buffer(f"norm-{i}-{name}", weights.values[f"{i}.{name}"], persistent=False)
        cos, sin = rope_tables(weights, 1024)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def merge(self):
        """Computes the merged weights once for a pass; gradients flow through them."""
        for key, a in self.factors_a.items():
            change = self.scale * (self.factors_b[key] @ a)
            self.merged[key] = (getattr(self, f"base-{key}") + change.to(self.dtype)).unbind(0)

    def weights(self, i):
        return (*(self.merged[name.replace(".", "-")][i] for name in NAMES.values()),
                getattr(self, f"norm-{i}-attn_norm"), getattr(self, f"norm-{i}-ffn_norm"))

    def mask(self, visible):
        return added_mask(visible, self.shape, self.dtype)

    def causal(self, tokens, before):
        return self.mask(torch.ones(tokens, before + tokens, dtype=torch.bool, device=self.cos.device).tril(before))

    def states(self, tokens, position=0, prefix=None):
        """States before the output [batch, tokens, hidden], and keys and values per layer, after a common prefix."""
        n, size = tokens.shape[1], self.shape.head_size
        if prefix is None:
            empty = torch.zeros(1, self.shape.kv_heads, 0, size, dtype=self.dtype, device=tokens.device)
            prefix = [(empty, empty)] * self.layers
        mask = self.causal(n, prefix[0][0].shape[2])
        cos, sin = self.cos[position:position + n], self.sin[position:position + n]
        x, kept = F.embedding(tokens, self.embedding), []
        for i in range(self.layers):
            x, k, v = layer(x, self.weights(i), cos, sin, mask, *prefix[i], size, self.shape.epsilon)
            kept.append((k, v))
        return norm(x, self.last_norm, self.shape.epsilon), kept

    def after(self, instruction, tokens):
        """States [batch, tokens, hidden] of prompts after an instruction [length], both read in one pass."""
        first, (batch, n), size = len(instruction), tokens.shape, self.shape.head_size
        own, joint = self.causal(first, 0), self.causal(n, first)
        cos = torch.cat([self.cos[:first], self.cos[first:first + n].repeat(batch, 1)])[:, None]
        sin = torch.cat([self.sin[:first], self.sin[first:first + n].repeat(batch, 1)])[:, None]
        x = F.embedding(torch.cat([instruction, tokens.flatten()]), self.embedding)

        def parts(y):
            """Heads of the instruction [1, heads, first, size] and of the prompts [batch, heads, n, size]."""
            return y[:first].transpose(0, 1)[None], y[first:].unflatten(0, (batch, n)).transpose(1, 2)

        for i in range(self.layers):
            wq, wk, wv, wo, gate, up, down, before, between = self.weights(i)
            y = norm(x, before, self.shape.epsilon)
            q, k, v = (F.linear(y, w).unflatten(-1, (-1, size)) for w in (wq, wk, wv))
            (q0, q1), (k0, k1), (v0, v1) = parts(rotate(q, cos, sin)), parts(rotate(k, cos, sin)), parts(v)
            mixed = attend(q1, torch.cat([k0.expand(batch, -1, -1, -1), k1], 2),
                           torch.cat([v0.expand(batch, -1, -1, -1), v1], 2), joint)
            x = x + F.linear(torch.cat([attend(q0, k0, v0, own)[0], mixed.flatten(0, 1)]), wo)
            y = norm(x, between, self.shape.epsilon)
            x = x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)
        return norm(x[first:].unflatten(0, (batch, n)), self.last_norm, self.shape.epsilon)

    @torch.no_grad()
    def write(self, instruction, prompts, choose, end, most):
        """
        Goes on after prompts, lists of ids, without any constraint.

        choose: tokens [batch] for logits [batch, vocabulary] in fp32
        Returns lists of at most so many ids; those that ended, with the end.
        """
        device, batch = instruction.device, len(prompts)
        first, widest = len(instruction), max(map(len, prompts))
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        tokens = torch.zeros(batch, widest, dtype=torch.long)
        for row, prompt in zip(tokens, prompts):
            row[:len(prompt)] = torch.as_tensor(prompt)
        size, heads = self.shape.head_size, self.shape.kv_heads
        start = self.states(instruction[None])[1]
        states, read = self.states(tokens.to(device), first, start)
        kept = []
        for (k0, v0), (k, v) in zip(start, read):
            pair = torch.zeros(2, batch, heads, first + widest + most, size, dtype=self.dtype, device=device)
            for whole, begin, rest in zip(pair, (k0, v0), (k, v)):
                whole[:, :, :first], whole[:, :, first:first + widest] = begin, rest
            kept.append(pair)
        del read
        columns = torch.arange(first + widest + most, device=device)
        x = states[torch.arange(batch, device=device), lengths - 1]
        answers, ended = [], torch.zeros(batch, dtype=torch.bool, device=device)
        for place in range(most):
            chosen = choose(F.linear(x, self.embedding).float())
            answers.append(chosen)
            ended |= chosen == end
            if place == most - 1 or ended.all():
                break
            at = first + widest + place
            visible = (columns < first + lengths[:, None]) | (columns >= first + widest) & (columns <= at)
            mask = self.mask(visible[:, None, None])
            place_of = first + lengths + place
            cos, sin = self.cos[place_of][:, None, None], self.sin[place_of][:, None, None]
            x = F.embedding(chosen, self.embedding)[:, None]
            for i in range(self.layers):
                wq, wk, wv, wo, gate, up, down, before, between = self.weights(i)
                y = norm(x, before, self.shape.epsilon)
                kept[i][0][:, :, at] = rotate(heads_of(y, wk, size), cos, sin)[:, :, 0]
                kept[i][1][:, :, at] = heads_of(y, wv, size)[:, :, 0]
                q = rotate(heads_of(y, wq, size), cos, sin)
                x = x + F.linear(attend(q, *kept[i], mask), wo)
                y = norm(x, between, self.shape.epsilon)
                x = x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)
            x = norm(x, self.last_norm, self.shape.epsilon)[:, 0]
        rows = torch.stack(answers, 1).tolist()
        return [row[:row.index(end) + 1] if end in row else row for row in rows]

    def adapter(self):
        """Tensors by PEFT's names."""
        return {f"{PREFIX}.{i}.{key.replace('-', '.')}.{part}.weight": values[i].detach().bfloat16().cpu().contiguous()
                for part, factors in (("lora_A", self.factors_a), ("lora_B", self.factors_b))
                for key, values in factors.items() for i in range(self.layers)}

    def load_adapter(self, state):
        for part, factors in (("lora_A", self.factors_a), ("lora_B", self.factors_b)):
            for key, values in factors.items():
                values.data.copy_(torch.stack([state[f"{PREFIX}.{i}.{key.replace('-', '.')}.{part}.weight"]
                                               for i in range(self.layers)]))


def rank_of(state):
    return next(v.shape[0] for k, v in state.items() if ".lora_A." in k)

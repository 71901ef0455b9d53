"""Trains the adapter for suggestions: the rest of the next query, after context, topic and its first words.

Usage: python train_suggestions.py --weights MODEL.gguf|W.npz ... --data SUGGESTIONS.npz --out DIR [--seconds 60]

Next-token loss on the answer and its end alone. Prints, for the base weights and with the adapter, on the validation part:
perplexity a token, how often the greedy answer is the query that followed, and how many sampled answers break the format
(no word, a character that no query has, more than eight words, a word twice, no end within 16 tokens), without any
constraint on decoding. Seeded.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from blockrank import NAMES, Lora, Weights, layer, norm


class Causal(nn.Module):
    """The whole model with an adapter on every projection."""

    def __init__(self, weights, rank, alpha, dtype):
        super().__init__()
        self.shape, self.dtype = weights, dtype
        self.layers = 1 + max(int(k.split(".")[0]) for k in weights.values if k.endswith("attn_norm"))
        self.register_buffer("embedding", weights.values["token_embd.weight"].to(dtype), persistent=False)
        self.register_buffer("last_norm", weights.values["output_norm.weight"], persistent=False)
        self.maps = nn.ModuleDict()
        for i in range(self.layers):
            for name in NAMES.values():
                self.maps[f"{i}.{name}".replace(".", "-")] = Lora(weights.values[f"{i}.{name}"], rank, alpha / rank, dtype)
            for name in ("attn_norm", "ffn_norm"):
                self.register_buffer(f"norm-{i}-{name}", weights.values[f"{i}.{name}"], persistent=False)
        half = weights.head_size // 2
        angles = torch.arange(1024).double()[:, None] * weights.theta ** (
            -2.0 * torch.arange(half).double() / weights.head_size)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def weights(self, i):
        return (*(self.maps[f"{i}-{name.replace('.', '-')}"].merged for name in NAMES.values()),
                getattr(self, f"norm-{i}-attn_norm"), getattr(self, f"norm-{i}-ffn_norm"))

    def states(self, tokens, position=0, prefix=None):
        """States before the output [batch, tokens, hidden], and keys and values per layer, after a common prefix."""
        n, device, size = tokens.shape[1], tokens.device, self.shape.head_size
        if prefix is None:
            empty = torch.zeros(1, self.shape.kv_heads, 0, size, dtype=self.dtype, device=device)
            prefix = [(empty, empty)] * self.layers
        before = prefix[0][0].shape[2]
        visible = torch.ones(n, before + n, dtype=torch.bool, device=device).tril(before)
        mask = torch.zeros(visible.shape, dtype=self.dtype, device=device).masked_fill(~visible, -torch.inf)
        mask = torch.cat([mask] * (self.shape.heads // self.shape.kv_heads))
        cos, sin = self.cos[position:position + n], self.sin[position:position + n]
        x, kept = F.embedding(tokens, self.embedding), []
        for i in range(self.layers):
            x, k, v = layer(x, self.weights(i), cos, sin, mask, *prefix[i], size, self.shape.epsilon)
            kept.append((k, v))
        return norm(x, self.last_norm, self.shape.epsilon), kept

    def adapter(self):
        return {f"base_model.model.model.layers.{key.replace('-', '.')}.{part}.weight":
                getattr(lora, part).detach().bfloat16().cpu().contiguous()
                for key, lora in self.maps.items() for part in ("lora_A", "lora_B")}

    def load_adapter(self, state):
        for key, lora in self.maps.items():
            for part in ("lora_A", "lora_B"):
                value = state[f"base_model.model.model.layers.{key.replace('-', '.')}.{part}.weight"]
                getattr(lora, part).data.copy_(value)


class Examples:
    def __init__(self, path):
        with np.load(path) as data:
            self.arrays = {k: data[k] for k in data.files}

    def count(self, where):
        return len(self.arrays[f"{where}_prompt_offsets"]) - 1

    def take(self, where, name, i):
        a = self.arrays
        offsets = a[f"{where}_{name}_offsets"]
        return a[f"{where}_{name}"][offsets[i]:offsets[i + 1]].astype(np.int64)

    def batch(self, where, indices, device):
        """Tokens padded at the end, and targets: -1 where nothing is asked."""
        rows = [(self.take(where, "prompt", i), self.take(where, "answer", i)) for i in indices]
        width = (max(len(p) + len(a) for p, a in rows) + 7) // 8 * 8
        tokens = np.zeros((len(rows), width), np.int64)
        targets = np.full((len(rows), width), -1, np.int64)
        for j, (p, a) in enumerate(rows):
            tokens[j, :len(p) + len(a)] = np.concatenate([p, a])
            targets[j, len(p) - 1:len(p) + len(a) - 1] = a
        return torch.from_numpy(tokens).to(device), torch.from_numpy(targets).to(device)


def loss_of(model, instruction, tokens, targets):
    """Sum of the negative logarithms and number of the answer's tokens."""
    model_states, _ = model.states(tokens, len(instruction[0]), model.states(instruction)[1])
    asked = targets >= 0
    logits = F.linear(model_states[asked], model.embedding).float()
    return F.cross_entropy(logits, targets[asked], reduction="sum"), asked.sum()


@torch.no_grad()
def written(model, instruction, prompts, temperature, top_p, end, generator, most=16):
    """Answers of prompts, sampled without any constraint; greedy at temperature 0."""
    prefix = model.states(instruction)[1]
    device = instruction.device
    answers = [[] for _ in prompts]
    for _ in range(most):
        rows = [np.concatenate([p, np.array(a, np.int64)]) for p, a in zip(prompts, answers)]
        width = (max(map(len, rows)) + 7) // 8 * 8
        tokens = np.zeros((len(rows), width), np.int64)
        for j, row in enumerate(rows):
            tokens[j, :len(row)] = row
        states, _ = model.states(torch.from_numpy(tokens).to(device), instruction.shape[1], prefix)
        at = torch.tensor([len(row) - 1 for row in rows], device=device)
        logits = F.linear(states[torch.arange(len(rows), device=device), at], model.embedding).float()
        if temperature == 0:
            following = logits.argmax(1)
        else:
            probability, order = torch.softmax(logits / temperature, 1).sort(1, descending=True)
            probability[probability.cumsum(1) - probability >= top_p] = 0
            following = order.gather(1, torch.multinomial(probability, 1, generator=generator))[:, 0]
        for answer, token in zip(answers, following.tolist()):
            if not answer or answer[-1] != end:
                answer.append(token)
        if all(a[-1] == end for a in answers):
            break
    return answers


def fault(start, answer, end, texts):
    """What breaks the format, or None."""
    if answer[-1] != end:
        return "no end"
    text = "".join(texts[t] for t in answer[:-1])
    words = (start + text).split()
    if not text.strip():
        return "no word"
    if not text.startswith(" ") or any(c not in ALLOWED for c in text):
        return "character"
    if len(words) > 8:
        return "too long"
    return "word twice" if len(set(words)) < len(words) else None


ALLOWED = set("abcdefghijklmnopqrstuvwxyz0123456789 -'’")


@torch.no_grad()
def judge(model, examples, instruction, tokens_text, end, limit, device):
    model.eval()
    for lora in model.maps.values():
        lora.merge()
    count = examples.count("validation")
    films = int(examples.arrays["validation_films"])
    table = {}
    for name, low, high in (("films", 0, films), ("conversations", films, count)):
        indices = np.random.default_rng(0).permutation(np.arange(low, high))[:limit]
        if not len(indices):
            continue
        loss = total = same = word = 0
        faults = {}
        generator = torch.Generator(device).manual_seed(1)
        for start in range(0, len(indices), 128):
            chosen = indices[start:start + 128]
            tokens, targets = examples.batch("validation", chosen, device)
            part = loss_of(model, instruction, tokens, targets)
            loss, total = loss + float(part[0]), total + int(part[1])
            prompts = [examples.take("validation", "prompt", i) for i in chosen]
            truth = [examples.take("validation", "answer", i).tolist() for i in chosen]
            greedy = written(model, instruction, prompts, 0, 1, end, None)
            same += sum(g == t for g, t in zip(greedy, truth))
            word += sum(g[0] == t[0] for g, t in zip(greedy, truth))
            sampled = written(model, instruction, prompts, 0.7, 0.9, end, generator)
            for p, s in zip(prompts, sampled):
                first = "".join(tokens_text[t] for t in p).rsplit("\n", 1)[1]
                kind = fault(first, s, end, tokens_text)
                if kind:
                    faults[kind] = faults.get(kind, 0) + 1
        n = len(indices)
        table[name] = {"examples": n, "perplexity": round(math.exp(loss / total), 2), "greedy exact": round(same / n, 4),
                       "first token": round(word / n, 4), "format errors": round(sum(faults.values()) / n, 4), "faults": faults}
    model.train()
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--texts", required=True, help="JSON list: text of each token, of token_texts.py")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--limit", type=int, default=512, help="validation examples of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    began = time.time()
    weights = (Weights.of_gguf(options.weights[0], 1000) if options.weights[0].endswith(".gguf")
               else Weights.of_packed(options.weights))
    model = Causal(weights, options.rank, 2 * options.rank,
                   torch.bfloat16 if device == "cuda" else torch.float32).to(device)
    examples = Examples(options.data)
    texts = json.loads(pathlib.Path(options.texts).read_text())
    end = texts.index("<|im_end|>")
    instruction = torch.from_numpy(examples.arrays["instruction"].astype(np.int64)).to(device)[None]
    log = {"options": {k: str(v) for k, v in vars(options).items()}, "steps": [],
           "examples": {w: examples.count(w) for w in ("train", "validation")},
           "base": judge(model, examples, instruction, texts, end, options.limit, device)}
    print("base", log["base"], flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98))
    order, step, started, losses = [], 0, time.time(), []
    while step < options.steps and time.time() - started < options.seconds:
        progress = min(1, (time.time() - started) / options.seconds)
        for group in optimizer.param_groups:
            group["lr"] = options.rate * min(1, (step + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        if len(order) < options.batch:
            order = rng.permutation(examples.count("train")).tolist()
        chosen = [order.pop() for _ in range(min(options.batch, len(order)))]
        for lora in model.maps.values():
            lora.merge()
        loss, count = loss_of(model, instruction, *examples.batch("train", chosen, device))
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append((loss / count).detach())
        step += 1
        if step % 20 == 0:
            log["steps"].append({"step": step, "seconds": round(time.time() - started, 1),
                                 "loss": round(float(torch.stack(losses).mean()), 4)})
            losses = []
            if step % 100 == 0:
                print(log["steps"][-1], flush=True)
    log["epochs"] = step * options.batch / examples.count("train")
    from safetensors.torch import save_file
    save_file(model.adapter(), options.out / "suggestion_adapter.safetensors")
    log["adapter"] = judge(model, examples, instruction, texts, end, options.limit, device)
    log["seconds"] = time.time() - began
    print("adapter", log["adapter"], round(log["epochs"], 1), "epochs", flush=True)
    (options.out / "suggestion-log.json").write_text(json.dumps(log))


if __name__ == "__main__":
    main()

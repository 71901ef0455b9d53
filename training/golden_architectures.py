"""Writes tiny random checkpoints of every supported architecture, as safetensors and as GGUF, with a LoRA adapter made
by PEFT, and what Hugging Face transformers computes with them, for the test ArchitecturesTest.

Usage: python golden_architectures.py OUT_DIRECTORY      (needs torch, transformers, peft, gguf, tokenizers)

All weights are multiples of 1/256 below 1, so that f32, f16 and bf16 hold the same numbers. Per checkpoint and file
golden.json.gz: token ids of some texts, and logits in float32 of one token sequence, read from position 0 and from a
position far along.
"""

import gzip
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedTokenizerFast, Qwen2Config,
                          Qwen3Config)

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Crème brûlée — “quotes”, 3.14159 and 1,000,000;   three spaces\n\tand a tab",
    "the 中文 😀 end",
    "We've seen that I'll, you'd, they're don't. ",
]
CORPUS = ["the then there these they're and hand stand in inner thinner 12 123 over lazy brown fox jumps quotes"] * 20
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
START = [0, 300]
LENGTH = 40
LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+")
SHAPE = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=1024, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=2, pad_token_id=None)


def byte_level(kind):
    tokenizer = Tokenizer(models.BPE())
    if kind == "smollm":
        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    else:
        split = LLAMA_SPLIT if kind == "llama-bpe" else LLAMA_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
        parts = [pre_tokenizers.Split(Regex(split), "isolated"),
                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=288, special_tokens=CONTROLS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|endoftext|>",
                                   additional_special_tokens=["<|im_start|>"])


def sentence_piece():
    """Pieces with falling scores; merges follow from them. Returns the tokenizer and the scores by id."""
    pieces = ["the", "\u2581the", "he", "in", "\u2581th", "\u2581t", "an", "and", "\u2581and", "\u2581in", "re",
              "th", "er", "\u2581o", "ver", "\u2581over", "\u2581\u2581", "\u2581\u2581\u2581"]
    letters = ["\u2581", *"abcdefghijklmnopqrstuvwxyzTW.,"]
    vocabulary = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces + letters
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))] + [-1000.0 - i for i in range(len(letters))]
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    ways = []
    for piece in pieces:
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        cuts = [cut for cut in cuts if cut[0] in ids and cut[1] in ids]
        for left, right in sorted(cuts, key=lambda cut: (ids[cut[0]], ids[cut[1]])):
            ways.append((-scores[ids[piece]], -len(left), -len(right), left, right))
    ways.sort(key=lambda way: way[:3])
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[way[3:] for way in ways], unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>",
                                   eos_token="</s>"), scores


def random_model(config, seed):
    random = np.random.default_rng(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in dict.fromkeys(model.parameters()):
            numbers = random.integers(-128, 129, tuple(parameter.shape)).astype(np.float32) / 256
            if parameter.ndim == 1:
                numbers = numbers / 2 + (0.5 if (numbers.shape[0] in (8, 16)) else 0)
            parameter.copy_(torch.from_numpy(np.round(numbers * 256) / 256))
    return model


def logits(model, ids):
    result = []
    for start in START:
        with torch.no_grad():
            out = model(torch.tensor([ids]), position_ids=torch.arange(start, start + len(ids))[None]).logits[0, -3:]
        result.append([[round(float(v), 6) for v in row] for row in out])
    return result


def golden(directory, tokenizer, model, ids):
    content = {
        "texts": [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False)} for t in TEXTS],
        "ids": ids, "starts": START, "logits": logits(model, ids)}
    if directory.name == "smollm2":
        content["adapted"] = adapter(directory, model, ids)
    with gzip.GzipFile(directory / "golden.json.gz", "wb", mtime=0) as stream:
        stream.write(json.dumps(content, separators=(",", ":")).encode())


def permuted(weights, heads):
    """Rows as llama.cpp stores those of queries and keys of Llama."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    top = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight",
           "model.norm.weight": "output_norm.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[module]}.{kind}"


def write_gguf(path, model, tokenizer, pre, scores=None):
    config = model.config
    arch = {"mistral": "llama"}.get(config.model_type, config.model_type)
    writer = GGUFWriter(path, arch)
    writer.add_name("tiny " + config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_string(f"{arch}.rope.scaling.type", rope["rope_type"])
        writer.add_rope_scaling_factor(rope["factor"])
        if rope["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif rope["rope_type"] == "llama3":
        plain = 1 / rope["rope_theta"] ** (np.arange(0, 8, 2) / 8)
        writer.add_tensor("rope_freqs.weight",
                          (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    model_json = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("llama" if scores else "gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in vocabulary])
    if scores:
        writer.add_token_scores(scores)
        writer.add_unk_token_id(0)
    else:
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model_json["merges"]])
    special = set(tokenizer.all_special_tokens)
    writer.add_token_types([(2 if t == "<unk>" else 3) if t in special else 6 if t.startswith("<0x") else 1
                            for t, _ in vocabulary])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weights = parameter.numpy()
        if arch == "llama" and ("q_proj.weight" in name or "k_proj.weight" in name):
            weights = permuted(weights, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        if weights.ndim == 1:
            writer.add_tensor(gguf_name(name), weights)
        else:
            writer.add_tensor(gguf_name(name), weights.astype(np.float16), raw_dtype=GGMLQuantizationType.F16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def adapter(directory, model, ids):
    torch.manual_seed(5)
    adapted = get_peft_model(model, LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=[0, 1]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    adapted.eval()
    adapted.save_pretrained(directory / "adapter")
    (directory / "adapter" / "README.md").unlink(missing_ok=True)
    return logits(adapted, ids)


def older_layout(path):
    """config.json as transformers wrote it before version 5."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope
    path.write_text(json.dumps(config, indent=2) + "\n")


def main(out):
    torch.set_num_threads(1)
    pieces, scores = sentence_piece()
    rope = {"rope_theta": 10000.0}
    cases = {
        "llama": (LlamaConfig(**SHAPE, vocab_size=288, head_dim=8, rope_parameters=rope | dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=64)), byte_level("llama-bpe"), "llama-bpe", torch.float32),
        "smollm2": (LlamaConfig(**SHAPE, vocab_size=288, head_dim=8, tie_word_embeddings=True, rope_parameters=rope | dict(
            rope_type="default")), byte_level("smollm"), "smollm", torch.bfloat16),
        "mistral": (MistralConfig(**SHAPE, vocab_size=320, head_dim=8, sliding_window=512, rope_parameters=rope | dict(
            rope_type="default")), pieces, "default", torch.float16),
        "qwen2": (Qwen2Config(**SHAPE, vocab_size=288, head_dim=8, rope_parameters=rope | dict(
            rope_type="yarn", factor=4.0, original_max_position_embeddings=256)), byte_level("qwen2"), "qwen2",
                  torch.bfloat16),
        "qwen3": (Qwen3Config(**SHAPE, vocab_size=288, head_dim=8, tie_word_embeddings=True, rope_parameters=rope | dict(
            rope_type="linear", factor=2.0)), byte_level("qwen2"), "qwen2", torch.bfloat16),
    }
    for seed, (name, (config, tokenizer, pre, dtype)) in enumerate(cases.items()):
        directory = pathlib.Path(out) / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        model = random_model(config, seed)
        model.to(dtype).save_pretrained(directory, max_shard_size="20KB" if name == "llama" else "1GB")
        # Casting back would leave the rotary frequencies rounded.
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
        tokenizer.save_pretrained(directory)
        (directory / "generation_config.json").unlink(missing_ok=True)
        if name == "llama":
            older_layout(directory / "config.json")
        count = config.vocab_size - len(tokenizer)
        assert count >= 0
        if name != "smollm2":
            padded = scores + [-1e4] * count
            write_gguf(directory / f"{name}.gguf", model, with_padding(tokenizer, count), pre,
                       padded if name == "mistral" else None)
        ids = [int(i) for i in np.random.default_rng(7).integers(3, config.vocab_size, LENGTH)]
        golden(directory, tokenizer, model, ids)
        print(name, sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()))


class with_padding:
    """A tokenizer whose vocabulary is as long as the model's."""

    def __init__(self, tokenizer, count):
        self.tokenizer = tokenizer
        self.count = count

    def get_vocab(self):
        return self.tokenizer.get_vocab() | {f"[PAD{i}]": len(self.tokenizer) + i for i in range(self.count)}

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


if __name__ == "__main__":
    main(sys.argv[1])

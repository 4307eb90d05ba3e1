# Golden numbers: logits and perplexities of the two test checkpoints, computed by PyTorch and transformers in
# float32. Run it in a virtual environment of its own (requirements.txt beside it); no test needs Python.
#
#   python scripts/golden/make_golden.py \
#     --tinystories fixtures/tinystories-656k \
#     --smollm2 .cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --smollm2-tokenizer path/to/tokenizer.json \
#     --wikitext path/to/wiki.test.raw --stories fixtures/stories/heldout.txt --out fixtures/golden
#
# README.md beside this file gives the shape of the JSON files it writes.
import argparse
import base64
import hashlib
import json
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

PROMPT_LENGTH = 64
CONTEXT = 512
WINDOWS = 8
SAMPLES = 32

STORY_PROMPT = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside with her dog, Max. One day, "
    "they went to the park and saw a big, red ball. Lily wanted to play with it, but a boy named Tom said it was his. "
    "Lily was sad. Max wagged his tail and barked at the boy. Tom's mum said, \"Tom, you can share!\" So they played "
    "together until the sun went down, and Lily gave Tom a yellow flower to say thank you."
)
CHAT_PROMPT = (
    "<|im_start|>user\nExplain in three sentences why the sky is blue, and why sunsets are red.<|im_end|>\n"
    "<|im_start|>assistant\nSunlight is a mix of all colours. When it enters the atmosphere, air molecules scatter "
    "short waves (blue, ~450 nm) much more than long ones, following Rayleigh's law: intensity grows as 1/λ⁴."
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def encode_array(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


def load_tinystories(folder: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def rotate_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF interleaves the two halves of every head's rows for its rotary kernel; this puts them back."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def load_gguf(path: Path) -> LlamaForCausalLM:
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    heads = fields["llama.attention.head_count"]
    kv_heads = fields["llama.attention.head_count_kv"]
    blocks = fields["llama.block_count"]
    hidden = fields["llama.embedding_length"]
    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    embedding = tensors["token_embd.weight"]
    config = LlamaConfig(
        vocab_size=embedding.shape[0],
        hidden_size=hidden,
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        tie_word_embeddings="output.weight" not in tensors,
        attn_implementation="eager",
    )
    state = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": tensors["output_norm.weight"],
        "lm_head.weight": tensors.get("output.weight", embedding),
    }
    for block in range(blocks):
        def take(name: str, block: int = block) -> np.ndarray:
            return tensors[f"blk.{block}.{name}.weight"]

        prefix = f"model.layers.{block}"
        state[f"{prefix}.self_attn.q_proj.weight"] = rotate_halves(take("attn_q"), heads)
        state[f"{prefix}.self_attn.k_proj.weight"] = rotate_halves(take("attn_k"), kv_heads)
        state[f"{prefix}.self_attn.v_proj.weight"] = take("attn_v")
        state[f"{prefix}.self_attn.o_proj.weight"] = take("attn_output")
        state[f"{prefix}.input_layernorm.weight"] = take("attn_norm")
        state[f"{prefix}.post_attention_layernorm.weight"] = take("ffn_norm")
        state[f"{prefix}.mlp.gate_proj.weight"] = take("ffn_gate")
        state[f"{prefix}.mlp.up_proj.weight"] = take("ffn_up")
        state[f"{prefix}.mlp.down_proj.weight"] = take("ffn_down")
    model = LlamaForCausalLM(config).to(torch.float32)
    model.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in state.items()}, strict=True)
    assert math.isclose(model.model.config.rope_parameters["rope_theta"], fields["llama.rope.freq_base"])
    return model


def run(model: LlamaForCausalLM, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0]


def summarize_logits(model: LlamaForCausalLM, text: str, tokens: list[int]) -> dict:
    logits = run(model, tokens).numpy()
    model.to(torch.float64)
    exact = run(model, tokens).numpy()
    model.to(torch.float32)
    vocabulary = logits.shape[1]
    sampled = np.random.default_rng(0).choice(vocabulary, SAMPLES, replace=False)
    sampled.sort()
    positions = []
    for row in logits.astype(np.float64):
        positions.append(
            {
                "argmax": int(row.argmax()),
                "max": float(row.max()),
                "min": float(row.min()),
                "mean": float(row.mean()),
                "l2": float(np.sqrt((row * row).sum())),
                "values": [float(np.float32(row[i])) for i in sampled],
            }
        )
    return {
        "text": text,
        "tokens": tokens,
        "vocabulary": vocabulary,
        "sampled": sampled.tolist(),
        "positions": positions,
        "last": encode_array(logits[-1], "<f4"),
        "maxAbsDifferenceFromFloat64": float(np.abs(exact - logits).max()),
    }


def measure_perplexity(model: LlamaForCausalLM, tokenizer: Tokenizer, path: Path) -> dict:
    raw = path.read_bytes()
    ids = tokenizer.encode(raw.decode("utf-8"), add_special_tokens=False).ids
    windows = min(WINDOWS, len(ids) // CONTEXT)
    used = np.array(ids[: windows * CONTEXT], dtype=np.int32)
    means = []
    for window in used.reshape(windows, CONTEXT):
        logits = run(model, window.tolist())[:-1].to(torch.float64)
        target = torch.tensor(window[1:], dtype=torch.long)
        means.append(float(torch.nn.functional.cross_entropy(logits, target)))
    nll = sum(means) / windows
    return {
        "text": path.name,
        "textBytes": len(raw),
        "textSha256": sha256(raw),
        "textTokens": len(ids),
        "textTokensSha256": sha256(np.array(ids, dtype="<i4").tobytes()),
        "context": CONTEXT,
        "windows": windows,
        "predictions": windows * (CONTEXT - 1),
        "tokens": encode_array(used, "<i4"),
        "windowNll": means,
        "nll": nll,
        "perplexity": math.exp(nll),
    }


def make(model, tokenizer, name, source, prompt, bos, texts, out: Path) -> None:
    model.eval()
    tokens = bos + tokenizer.encode(prompt, add_special_tokens=False).ids
    assert len(tokens) >= PROMPT_LENGTH, len(tokens)
    golden = {
        "model": name,
        "source": {"file": source.name, "sha256": hash_file(source)},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "tokenizers", "gguf", "numpy")},
        },
        "logits": summarize_logits(model, prompt, tokens[:PROMPT_LENGTH]),
        "perplexity": [measure_perplexity(model, tokenizer, path) for path in texts],
    }
    target = out / f"{name}.json"
    target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    figures = ", ".join(f"{p['text']} {p['perplexity']:.4f} ({p['windows']} windows)" for p in golden["perplexity"])
    print(f"{target}: {figures}; f32 vs f64 {golden['logits']['maxAbsDifferenceFromFloat64']:.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the golden numbers of the test checkpoints.")
    parser.add_argument("--tinystories", type=Path, required=True, help="folder of TinyStories-656K")
    parser.add_argument("--smollm2", type=Path, required=True, help="SmolLM2-135M-Instruct as GGUF")
    parser.add_argument("--smollm2-tokenizer", type=Path, required=True, help="its tokenizer.json from the hub")
    parser.add_argument("--wikitext", type=Path, required=True, help="wiki.test.raw of WikiText-2 raw")
    parser.add_argument("--stories", type=Path, required=True, help="held-out stories")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    make(
        load_tinystories(options.tinystories),
        Tokenizer.from_file(str(options.tinystories / "tokenizer.json")),
        "tinystories-656k",
        options.tinystories / "model.safetensors",
        STORY_PROMPT,
        [1],
        [options.wikitext, options.stories],
        options.out,
    )
    make(
        load_gguf(options.smollm2),
        Tokenizer.from_file(str(options.smollm2_tokenizer)),
        "smollm2-135m-instruct-q4_1",
        options.smollm2,
        CHAT_PROMPT,
        [],
        [options.wikitext],
        options.out,
    )


if __name__ == "__main__":
    main()

# Log-likelihoods of multiple-choice questions by PyTorch and transformers in float32, for the evaluation's tests and for
# scripts/check-zeroshot.mjs. Written apart from packages/quantizer: every choice is run whole, without a cache.
#
#   python scripts/golden/zero_shot.py --model fixtures/tinystories-656k --data fixtures/zeroshot \
#     --out fixtures/golden/zeroshot-tinystories-656k.json [--limit N]
#
# --model: a Hugging Face folder, or a GGUF file together with --tokenizer. The rules are those of
# lm-evaluation-harness; README.md beside this file gives the shape of what is written.
import argparse
import bz2
import hashlib
import json
from pathlib import Path

import torch
from make_golden import load_gguf, load_tinystories
from tokenizers import Tokenizer

FILES = {
    "piqa": ["piqa.jsonl"],
    "arc_easy": ["arc_easy.jsonl"],
    "winogrande": ["winogrande.jsonl"],
    "openbookqa": ["openbook_qa.jsonl"],
    "hellaswag": ["hellaswag_val_full.txt", "hellaswag_val_full.txt.bz2"],
}


def read_questions(task: str, raw: bytes):
    """Yields (list of (context, choice), list of lengths, gold)."""
    lines = raw.decode("utf-8").split("\n")
    if task == "hellaswag":
        for start in range(0, len(lines) - 5, 6):
            context, gold, *endings = lines[start : start + 6]
            yield [(context, ending) for ending in endings], [len(e) for e in endings], int(gold)
        return
    for line in filter(str.strip, lines):
        row = json.loads(line)
        if task == "winogrande":
            yield [(context, row["continuation"]) for context in row["context_options"]], None, row["gold"]
            continue
        prompt = row["query"].rstrip()
        if task in ("piqa", "arc_easy"):
            prompt += "\nAnswer:"
        yield [(prompt, choice) for choice in row["choices"]], [len(c) for c in row["choices"]], row["gold"]


def log_likelihood(model, tokenizer, longest: int, context: str, choice: str) -> float:
    continuation = " " + choice
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    whole = encode(context + continuation)
    # Where tokens join across the border and none is left, the last one counts.
    target = whole[min(len(encode(context)), len(whole) - 1) :]
    given = whole[-(longest + 1) :][:-1]
    with torch.no_grad():
        logits = model(torch.tensor([given]), use_cache=False).logits[0, -len(target) :].to(torch.float64)
    return float(torch.log_softmax(logits, -1).gather(1, torch.tensor(target)[:, None]).sum())


def find_file(folders: list[Path], names: list[str]) -> Path | None:
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes log-likelihoods of multiple-choice questions.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json; default: that of the model's folder")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of task files")
    parser.add_argument("--limit", type=int, default=None, help="questions a task")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_tinystories(options.model) if options.model.is_dir() else load_gguf(options.model)
    model.eval()
    longest = model.config.max_position_embeddings
    tokenizer = Tokenizer.from_file(str(options.tokenizer or options.model / "tokenizer.json"))
    golden = {"model": options.model.name, "tasks": []}
    for task, names in FILES.items():
        path = find_file(options.data, names)
        if path is None:
            continue
        raw = path.read_bytes()
        if path.suffix == ".bz2":
            raw = bz2.decompress(raw)
        sums, right, right_normalized = [], 0, 0
        for pairs, lengths, gold in list(read_questions(task, raw))[: options.limit]:
            scores = torch.tensor([log_likelihood(model, tokenizer, longest, *pair) for pair in pairs], dtype=torch.float64)
            right += int(scores.argmax()) == gold
            if lengths:
                right_normalized += int((scores / torch.tensor(lengths)).argmax()) == gold
            sums.append([round(score, 6) for score in scores.tolist()])
        golden["tasks"].append(
            {
                "task": task,
                "sha256": hashlib.sha256(raw).hexdigest(),
                "right": right,
                "rightNormalized": right_normalized if lengths else None,
                "logLikelihoods": sums,
            }
        )
        print(f"{task}: {len(sums)} questions, {right} right, normalized {golden['tasks'][-1]['rightNormalized']}", flush=True)
    options.out.write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

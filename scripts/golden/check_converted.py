# Whether a folder that `duobit convert` wrote is, to PyTorch and transformers, the model that the container is: it must
# load whole, tokenize alike, and have the perplexity of `duobit eval ppl --activations f16` to 0.1 %, on the windows of
# make_golden.py. Writes a record and fails when a check fails. No test needs Python; README.md says how to run it.
#
#   python scripts/golden/check_converted.py --folder out/model-hf --evaluation out/model.json \
#     --text path/to/text --out fixtures/golden/converted-model.json
import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from make_golden import hash_file, measure_perplexity
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

LIMIT = 1e-3


def load(folder: Path):
    """The model in the type its config names, with the keys that were missing, unexpected or of another shape."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", attn_implementation="eager", output_loading_info=True
    )
    # A tied head is no tensor of its own, in the file or in the model's list of what it missed.
    return model.eval(), {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}


def main() -> None:
    parser = argparse.ArgumentParser(description="Checks a converted folder against its container.")
    parser.add_argument("--folder", type=Path, required=True, help="what `duobit convert` wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="`duobit eval ppl … --activations f16 --json`")
    parser.add_argument("--text", type=Path, required=True, help="the text that was evaluated")
    parser.add_argument("--out", type=Path, help="record to write")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    evaluation = json.loads(options.evaluation.read_text(encoding="utf-8"))
    failures = []

    config = AutoConfig.from_pretrained(options.folder)
    model, problems = load(options.folder)
    if problems:
        failures.append(f"not every key matched: {problems}")
    if [type(model).__name__] != config.architectures:
        failures.append(f"loaded as {type(model).__name__}, config.json names {config.architectures}")
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    model = model.to(torch.float32)

    measured = measure_perplexity(model, Tokenizer.from_file(str(options.folder / "tokenizer.json")), options.text)
    text = options.text.read_text(encoding="utf-8")
    auto = AutoTokenizer.from_pretrained(options.folder)
    plain = Tokenizer.from_file(str(options.folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    if auto(text, add_special_tokens=False)["input_ids"] != plain:
        failures.append("AutoTokenizer and tokenizer.json disagree about the text")

    settings, found = evaluation["options"], evaluation["result"]
    for field, value in (("context", settings["context"]), ("windows", found["windows"])):
        if value != measured[field]:
            failures.append(f"{field}: duobit {value}, here {measured[field]}")
    if settings["activations"] != "f16":
        failures.append("the evaluation quantized the activations; run it with --activations f16")
    difference = measured["perplexity"] / found["perplexity"] - 1
    if not abs(difference) < LIMIT:
        failures.append(f"perplexity differs by {difference:.2e}, allowed is {LIMIT}")

    weights = sorted(options.folder.glob("model*.safetensors"))
    record = {
        "container": {"file": evaluation["model"]["name"].split("/")[-1], "headerSha256": evaluation["model"]["sha256"]},
        "folder": {
            "class": type(model).__name__,
            "dtype": dtype,
            "weights": [{"file": w.name, "bytes": w.stat().st_size, "sha256": hash_file(w)} for w in weights],
        },
        **{key: measured[key] for key in ("text", "textSha256", "textTokens", "textTokensSha256", "context", "windows")},
        "predictions": measured["predictions"],
        "transformers": {key: measured[key] for key in ("perplexity", "nll", "windowNll")},
        "duobit": {key: (found | settings)[key] for key in ("perplexity", "nll", "backend", "activations")},
        "relativeDifference": difference,
        "limit": LIMIT,
        "failures": failures,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "tokenizers", "safetensors", "numpy")},
        },
    }
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(
        f"{options.folder}: {record['folder']['class']} in {dtype}; {measured['windows']} windows of {options.text.name}: "
        f"transformers {measured['perplexity']:.6f}, duobit {found['perplexity']:.6f}, difference {difference:+.2e}"
    )
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

# Runs the official code of GPTQ, PB-LLM and BiLLM on a small Llama checkpoint with the calibration windows that
# ours are calibrated on (tokens.mjs), and writes the perplexities; the page of quality puts ours beside them. README.md beside this file tells how to get the
# official code; nothing of it is in this repository.
#
#   python scripts/official/run_official.py --model fixtures/tinystories-656k --tokens out/tokens.json \
#     --gptq <IST-DASLab/gptq> --pbllm <hahnyuan/PB-LLM> --billm <Aaronhuang-778/BiLLM> --out <record.json>
import argparse
import contextlib
import importlib
import io
import json
import math
import os
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.pytorch_utils import Conv1D  # noqa: E402

CONTEXT = 512
GROUP = 128
# Linear layers of one input, in the order in which they run: each set is measured on the outputs of those before it,
# quantized.
ORDER = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


def prepare_imports() -> None:
    """What the official code expects of its surroundings and a CPU with a current transformers does not have."""
    torch.cuda.synchronize = lambda *_: None
    torch.cuda.empty_cache = lambda: None
    transformers.Conv1D = Conv1D
    # BiLLM imports these two names and does not use them.
    for name, member in (("exceptiongroup", "catch"), ("pyparsing", "line")):
        module = types.ModuleType(name)
        setattr(module, member, None)
        sys.modules.setdefault(name, module)


def load(folder: Path, *names: str) -> list:
    """Modules of one repository; those of another may have the same names."""
    folder = folder.resolve()
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return [importlib.import_module(name) for name in names]
    finally:
        sys.path.pop(0)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if origin.startswith(str(folder)):
                del sys.modules[name]


def make_gptq(folder: Path, bits: int):
    gptq, quant = load(folder, "gptq", "quant")

    def start(layer):
        solver = gptq.GPTQ(layer)
        solver.quantizer = quant.Quantizer()
        solver.quantizer.configure(bits, perchannel=True, sym=False, mse=False)
        return solver, lambda: solver.fasterquant(percdamp=0.01, groupsize=GROUP)

    return start


def make_pbllm(folder: Path, masked_means: bool):
    gptq, low, high = load(folder / "gptq_pb", "gptq", "low_quant", "high_quant")
    gptq.OUTPUTMASK = 0

    class MaskedMeans(low.LowQuantizer):
        """Mean and scale over the binary weights alone, without the zeros that stand for salient ones."""

        def calibrate(self, w, mask=None, groupi=0):
            count = mask.sum(-1, keepdim=True).clamp(min=1)
            self.mean[groupi] = (w * mask).sum(-1, keepdim=True) / count
            self.scale[groupi] = ((w - self.mean[groupi]).abs() * mask).sum(-1, keepdim=True) / count

    def start(layer):
        kind = MaskedMeans if masked_means else low.LowQuantizer
        binary = kind(layer.weight, method="xnor", groupsize=GROUP)
        solver = gptq.LowHighGPT(layer, binary, high.HighQuantizer(8, True, False, False), "hessian")
        return solver, lambda: solver.fasterquant(0.9, blocksize=GROUP, percdamp=0.01)

    return start


def make_billm(folder: Path):
    bigptq, binary = load(folder, "bigptq", "binary")

    def start(layer):
        quantizer = binary.Binarization(layer.weight, method="braq", groupsize=GROUP)
        solver = bigptq.BRAGPTQ(layer, quantizer, salient_metric="hessian")
        return solver, lambda: solver.fasterquant(blocksize=GROUP, percdamp=0.01)

    return start


def quantize(model, start, windows, order) -> None:
    for block in model.model.layers:
        for names in order:
            linears = [module for path, module in block.named_modules() if path.split(".")[-1] in names]
            solvers = [start(linear) for linear in linears]
            hooks = [
                linear.register_forward_hook(
                    lambda _, inputs, output, solver=solver: solver.add_batch(inputs[0], output)
                )
                for linear, (solver, _) in zip(linears, solvers)
            ]
            for window in windows:
                model(window)
            for hook in hooks:
                hook.remove()
            with contextlib.redirect_stdout(io.StringIO()):
                for _, finish in solvers:
                    finish()


def perplexity(model, tokens) -> float:
    total, count = 0.0, 0
    for start in range(0, len(tokens) - CONTEXT + 1, CONTEXT):
        window = torch.tensor([tokens[start : start + CONTEXT]])
        scores = model(window).logits[0, :-1].double().log_softmax(-1)
        total -= scores.gather(1, window[0, 1:, None]).sum().item()
        count += CONTEXT - 1
    return math.exp(total / count)


def commit_of(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "tokens", "gptq", "pbllm", "billm", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    prepare_imports()
    torch.set_num_threads(arguments.threads)
    given = json.loads(arguments.tokens.read_text())
    windows = [torch.tensor([window]) for window in given.pop("calibrationWindows")]
    evaluation = given.pop("evaluationTokens")

    def measure(start, order=ORDER) -> float:
        model = transformers.LlamaForCausalLM.from_pretrained(
            arguments.model, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        if start:
            quantize(model, start, windows, order)
        return perplexity(model, evaluation)

    starts = {
        "none": None,
        **{f"gptq-{bits}": make_gptq(arguments.gptq, bits) for bits in (2, 3, 4)},
        "pb-llm": make_pbllm(arguments.pbllm, masked_means=False),
        "pb-llm, masked means": make_pbllm(arguments.pbllm, masked_means=True),
        "billm": make_billm(arguments.billm),
    }
    at_once = (tuple(name for names in ORDER for name in names),)
    official = {}
    for name, start in starts.items():
        official[name] = {"perplexity": measure(start)}
        # As the scripts of PB-LLM and BiLLM do: all layers of a block measured before any is quantized.
        if start:
            official[name]["perplexityBlockAtOnce"] = measure(start, at_once)
        print(name, official[name], flush=True)
    record = {
        **given,
        "official": official,
        "commits": {
            "IST-DASLab/gptq": commit_of(arguments.gptq),
            "hahnyuan/PB-LLM": commit_of(arguments.pbllm),
            "Aaronhuang-778/BiLLM": commit_of(arguments.billm),
        },
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }
    arguments.out.write_text(json.dumps(record, indent=2) + "\n")


main()

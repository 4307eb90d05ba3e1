// Our backends as engines of the benchmark. A backend is one line in BACKENDS; one that the build does not have is
// reported as skipped.
import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { BACKEND_NAMES, createBackend, nativeSupport } from '@duobit/runtime-node';

/** Backends compared, by the names that createBackend knows. */
export const BACKENDS = ['native', 'wasm'];

/** Tokens whose logits are read at once for perplexity. */
const LOGIT_ROWS = 64;

export function hasBackend(name) {
  return BACKEND_NAMES.includes(name) && (name !== 'native' || nativeSupport().available);
}

export async function prepareEngine() {
  return { describe: () => null, open };
}

/** Backend and model both count as loading, unlike the peer's libraries: a backend compiles its kernels then. */
async function open({ file, threads, contextLength, backend, activations }) {
  const opened = await createBackend(backend, { threads });
  const source = await createFileSource(file);
  const model = await createModel(await openContainer(source), opened, {
    contextLength,
    activations,
    tokenizer: false,
  });
  let position = 0;
  return {
    threads: model.threads,
    weightBytes: model.weightBytes,
    async prefill(tokens) {
      await model.forward(tokens, { position: 0, logits: 'last' });
      position = tokens.length;
    },
    async step(token) {
      await model.forward([token], { position, logits: 'last' });
      position += 1;
    },
    async windowLoss(tokens, lossOf) {
      let sum = 0;
      for (let start = 0; start < tokens.length - 1; start += LOGIT_ROWS) {
        const rows = Math.min(LOGIT_ROWS, tokens.length - 1 - start);
        const logits = await model.forward(tokens.slice(start, start + rows), {
          position: start,
          logits: 'all',
        });
        const width = logits.length / rows;
        for (let row = 0; row < rows; row += 1) {
          sum += lossOf(logits.subarray(row * width, (row + 1) * width), tokens[start + row + 1]);
        }
      }
      return sum;
    },
    async close() {
      await model.dispose();
      await opened.dispose();
      await source.close();
    },
  };
}

// Quantizes the F16 GGUF with llama.cpp's own quantizer: each type as llama.cpp mixes it by default, and pure (one type
// for everything that its shape allows).
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild } from './child.mjs';
import { CACHE, identify, makeOnce } from './models.mjs';
import { PEERS } from './peers/setup.mjs';

const WORKER = fileURLToPath(new URL('./peers/quantize-worker.mjs', import.meta.url));

/** llama.h, enum llama_ftype. */
export const FILE_TYPES = { Q8_0: 7, Q4_0: 2, Q2_K: 10, TQ2_0: 37, Q2_0: 41, IQ2_XXS: 19 };

export const VARIANTS = ['default', 'pure'];

/**
 * @param options.type a key of FILE_TYPES @param options.variant one of VARIANTS
 * @param options.imatrix file of `makeImportance`; given to every type, those that do not use it pass it over
 */
export async function quantizePeer({ f16, type, variant, imatrix, threads }, log) {
  const file = path.join(CACHE, `${type}-${variant}.gguf`);
  const key = {
    source: await identify(f16),
    imatrix: await identify(imatrix),
    type,
    variant,
    packages: PEERS['llama.cpp'].packages,
  };
  return makeOnce(file, key, async () => {
    log(`llama.cpp quantizes to ${type}, ${variant}`);
    const target = `${file}.part`;
    await runChild(WORKER, {
      source: f16,
      target,
      type: FILE_TYPES[type],
      pure: variant === 'pure',
      threads,
      imatrix,
    });
    await rename(target, file);
  });
}

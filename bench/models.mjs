// The files that are compared, all made from one F16 GGUF and kept in the git-ignored .cache/bench: our container and
// the importance matrix for llama.cpp's quantizer come from the same calibration text.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { calibrate, importanceOf, openCheckpoint, quantize } from '@duobit/quantizer';
import { createBackend } from '@duobit/runtime-node';
import { exportGguf, toGgufName } from './gguf.mjs';
import { describeGguf, readGgufFields } from './gguf-read.mjs';

export const CACHE = fileURLToPath(new URL('../.cache/bench/', import.meta.url));

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Makes `file` unless it was made with the same `inputs` before; the inputs are kept beside it. */
export async function makeOnce(file, inputs, make) {
  const key = JSON.stringify(inputs);
  const keyFile = `${file}.inputs.json`;
  if (existsSync(file) && existsSync(keyFile) && (await readFile(keyFile, 'utf8')) === key) return file;
  await mkdir(path.dirname(file), { recursive: true });
  await rm(keyFile, { force: true });
  await make(file);
  await writeFile(keyFile, key);
  return file;
}

/** What code that makes a file is recognised by. @param specifier of a module, relative to this one or of a package */
export async function hashModule(specifier) {
  return sha256(await readFile(fileURLToPath(import.meta.resolve(specifier))));
}

/** What a source checkpoint is recognised by. */
export async function identify(file) {
  const { size, mtimeMs } = await stat(file);
  return { file: path.basename(file), size, mtimeMs };
}

/** The F16 GGUF of a GGUF checkpoint. */
export async function makeF16(source, log) {
  const file = path.join(CACHE, 'F16.gguf');
  return makeOnce(file, await identify(source), async () => {
    log('writing the F16 GGUF');
    const checkpoint = await openCheckpoint(source);
    try {
      await exportGguf(checkpoint, file, await readGgufFields(source, 'tokenizer.'));
    } finally {
      await checkpoint.close();
    }
  });
}

/** Our container, quantized from the F16 GGUF. @param calibration {text, maxWindows} @param embedding 'q8' or 'q4' */
export async function makeContainer(f16, calibration, embedding, log) {
  const file = path.join(CACHE, embedding === 'q8' ? 'w11.duo' : `w11-${embedding}.duo`);
  const inputs = {
    ...(await identify(f16)),
    calibration: { ...calibration, text: sha256(calibration.text) },
    embedding,
    quantizer: await hashModule('@duobit/quantizer'),
  };
  return makeOnce(file, inputs, async () => {
    log(`quantizing to W(1+1), embedding ${embedding}`);
    const backend = await createBackend('auto', {});
    try {
      await quantize(f16, file, { calibration, embedding, backend });
    } finally {
      await backend.dispose();
    }
  });
}

/** Mean square of every linear layer's inputs, under llama.cpp's names: its importance matrix, from our calibration. */
export async function makeImportance(f16, calibration, log) {
  const file = path.join(CACHE, 'imatrix.json');
  const inputs = {
    ...(await identify(f16)),
    calibration: { ...calibration, text: sha256(calibration.text) },
  };
  return makeOnce(file, inputs, async () => {
    log('computing the importance matrix');
    const checkpoint = await openCheckpoint(f16);
    const backend = await createBackend('wasm', {});
    try {
      const { squares, tokens } = await calibrate(checkpoint, backend, calibration);
      const entries = [...squares].map(([name, sums]) => [
        toGgufName(name),
        Array.from(importanceOf(sums), (sum) => Math.fround(sum / tokens)),
      ]);
      await writeFile(`${file}.part`, JSON.stringify(Object.fromEntries(entries)));
      await rename(`${file}.part`, file);
    } finally {
      await backend.dispose();
      await checkpoint.close();
    }
  });
}

/** Size, types and bits a weight of a GGUF file, as the record keeps them. */
export async function describePeerFile(file) {
  const { size } = await stat(file);
  const { types, weights, linearBitsPerWeight } = await describeGguf(file);
  return { fileBytes: size, bitsPerWeight: (8 * size) / weights, linearBitsPerWeight, types };
}

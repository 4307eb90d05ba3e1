// What is compared: every file with the engine that runs it.
import { accountSizes, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { runsInChromium } from './browser/measure.mjs';
import { describePeerFile, makeContainer, makeImportance } from './models.mjs';
import { hasBackend } from './ours.mjs';
import { installPeer } from './peers/setup.mjs';
import { prepareTransformers } from './peers/transformers-folder.mjs';
import { quantizePeer } from './quantize-peers.mjs';

/** Our containers: the embedding, which is also the head, in 8 bits as llama.cpp's default has it, and in 4. */
const CONTAINERS = [
  { embedding: 'q8', suffix: '', activations: ['a4', 'f16'] },
  { embedding: 'q4', suffix: ' q4', activations: ['a4'] },
];

/** Whether a file is run in Node: transformers.js' are for Chromium. */
export const runsInNode = ({ engine }) => engine !== 'transformers.js';

/**
 * Subjects {id, engine, label, short, file, open, and what describes the file}. What cannot be had is pushed to
 * `skipped`.
 */
export async function prepareSubjects(options, f16, calibration, skipped, log) {
  const subjects = await prepareOurs(options, f16, calibration, skipped, log);
  const peers = {};
  if (options.peers) {
    const { versions, reason } = installPeer('llama.cpp', log);
    if (reason !== undefined) skipped.push({ name: 'llama.cpp', reason });
    else {
      subjects.push(...(await prepareLlama(options, f16, calibration, skipped, log)));
      peers['llama.cpp'] = versions;
    }
    if (!options.speedOnly) {
      const transformers = await prepareTransformers(f16, skipped, log);
      subjects.push(...transformers.subjects);
      Object.assign(peers, transformers.peers);
    }
  } else {
    const name = 'llama.cpp, wllama, transformers.js, onnxruntime';
    skipped.push({ name, reason: 'not asked for (--peers)' });
  }
  return { subjects: options.browserOnly ? subjects.filter(runsInChromium) : subjects, peers };
}

async function prepareOurs(options, f16, calibration, skipped, log) {
  const backends = options.backends.filter((backend) => {
    if (hasBackend(backend)) return true;
    skipped.push({ name: `duobit, backend ${backend}`, reason: 'this build or machine does not have it' });
    return false;
  });
  const subjects = [];
  for (const { embedding, suffix, activations } of CONTAINERS) {
    const file = await makeContainer(f16, calibration, embedding, log);
    const sizes = await describeContainer(file);
    for (const backend of backends) {
      for (const kind of activations) {
        const short = `W(1+1)${kind === 'a4' ? 'A4' : 'A16'}${suffix} ${backend}`;
        subjects.push({
          id: `duobit-${backend}-${kind}${embedding === 'q8' ? '' : `-${embedding}`}`,
          engine: 'duobit',
          label: `**Duobit ${short}**`,
          short,
          file,
          open: { backend, activations: kind },
          ...sizes,
        });
      }
    }
  }
  return subjects;
}

async function prepareLlama({ types, variants, threads }, f16, calibration, skipped, log) {
  const imatrix = await makeImportance(f16, calibration, log);
  const subjects = [];
  for (const type of types) {
    for (const variant of type === 'F16' ? ['default'] : variants) {
      const short = variant === 'pure' ? `${type} pure` : type;
      try {
        const file =
          type === 'F16'
            ? f16
            : await quantizePeer({ f16, type, variant, imatrix, threads: Math.max(...threads) }, log);
        subjects.push({
          id: `llama.cpp-${type}-${variant}`,
          engine: 'llama.cpp',
          label: `llama.cpp ${short}`,
          short,
          file,
          open: {},
          ...(await describePeerFile(file)),
        });
      } catch (error) {
        skipped.push({ name: `llama.cpp ${short}`, reason: error.message.split('\n')[0] });
      }
    }
  }
  return subjects;
}

/** What `describePeerFile` says of a GGUF file, of one of ours. */
export async function describeContainer(file) {
  const source = await createFileSource(file);
  try {
    const { manifest } = await openContainer(source);
    const { fileBytes, linear, bitsPerWeightFile } = accountSizes(manifest);
    const types = {};
    for (const { shape, encoding } of manifest.tensors) {
      if (shape.length < 2) continue;
      types[encoding.kind] = (types[encoding.kind] ?? 0) + shape[0] * shape[1];
    }
    return { fileBytes, bitsPerWeight: bitsPerWeightFile, linearBitsPerWeight: linear.bitsPerWeight, types };
  } finally {
    await source.close();
  }
}

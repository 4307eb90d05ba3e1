// Files that must be refused, one broken rule each: how they are derived from good ones. The rules themselves are in
// bad-structure.mjs (bytes), bad-meaning.mjs (header) and bad-data.mjs (places, data, data files).
import { listDataFaults } from './bad-data.mjs';
import { listMeaningFaults } from './bad-meaning.mjs';
import { listStructureFaults } from './bad-structure.mjs';
import { rehash, writeHeaderFile } from './header.mjs';
import { fixModel, makeModel, writeModel } from './models.mjs';

/** The model that most bad files come from: everything in one segment, one tensor in w11, the rest f16. */
export const BASE = {
  segmentOf: 'all',
  encodings: {
    'q_proj.weight': {
      encoding: 'w11',
      group_size: 32,
      flags: 1,
      activation: { scheme: 'dynamic_asymmetric', bits: 4, clip_low: 1, clip_high: 1 },
    },
  },
};

/**
 * Derives a bad file. What is given is done in this order:
 * @param fault.what changes to BASE, as `makeModel` takes them
 * @param fault.data changes bytes of segments; hashes and places are made right after it
 * @param fault.tree changes the header; nothing is made right after it but the header hash
 * @param fault.bytes changes the file and makes the header hash right
 * @param fault.raw gives other bytes; nothing is made right
 * @param fault.others changes the map of files (data files)
 */
function derive({ name, what = {}, data, tree, bytes, raw, others }) {
  const model = makeModel({ ...BASE, ...what });
  if (data) {
    data(model);
    fixModel(model);
  }
  const tail = tree ? writeModelTail(model) : undefined;
  tree?.(model.tree, model);
  const files = writeModel(model, name);
  if (tail) files.set(`${name}.duo`, writeHeaderFile(model, tail));
  let file = files.get(`${name}.duo`);
  if (bytes) {
    bytes(new DataView(file.buffer), file);
    rehash(file);
  }
  if (raw) file = raw(file);
  files.set(`${name}.duo`, file);
  others?.(files);
  return files;
}

/** What stood behind the header before the header was changed. */
function writeModelTail(model) {
  const file = writeHeaderFile(model);
  return file.slice(Number(new DataView(file.buffer).getBigUint64(24, true)));
}

/** @returns {{ folder, name, covers, code, codes, stage, files }[]} */
export function listBad() {
  return [...listStructureFaults(), ...listMeaningFaults(), ...listDataFaults()].map((fault) => ({
    stage: 'open',
    ...fault,
    files: derive(fault),
  }));
}

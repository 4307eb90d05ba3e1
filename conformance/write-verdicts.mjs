// Writes what packages/format says, for other implementations to compare with; one JSON object a line:
//   { base, size, patches: [[offset, hex], …], open: code or null, first: code or null, codes: sorted }
//     of a damaged file, fixtures/good/BASE.duo with the patches written over it, in order, then cut to the size or filled
//     up with zero bytes, without data files beside it
//   { good, canonical: sorted codes of the check of the form, content_sha256 }  of fixtures/good/GOOD.duo
//   { row, rotated }  f32 values as hexadecimal bytes, and what rotation of an input makes of them
//   { quantizer, row, low, step, codes, values }  of a row of activations; NaN is null, quantizer has the schema's names
// Options: --mutants N, default 5000, of the first kind; --seed N, default 1; --out FILE
// Three quarters of the damage are repaired up to the hashes that cover it, so that they reach the rules behind them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleSource } from '../scripts/bundle-source.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const GOOD = join(ROOT, 'fixtures/good');
const ROWS = 500;
const ROTATIONS = 100;
const BASES = [
  'activations',
  'dense',
  'eight-bit-parts',
  'integers',
  'optional-parts',
  'rotated',
  'rotated-outliers',
  'w11',
];
const CHUNK = 4194304;
const HASH = 56;

const { values: options } = parseArgs({
  options: {
    mutants: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});

const bundle = await bundleSource(join(ROOT, 'packages/format/src/index.ts'), join(ROOT, 'out/conformance'));
const {
  contentDigest,
  createMemorySource,
  decodeActivations,
  openContainer,
  quantizeActivations,
  rotateInput,
  validateContainer,
} = await import(pathToFileURL(bundle).href);

/** mulberry32: the same numbers on every machine. */
function makeRandom(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

/** A good file, and where in its header the hash of each chunk is. */
function readBase(name) {
  const bytes = readFileSync(join(ROOT, 'fixtures/good', `${name}.duo`));
  const { manifest } = JSON.parse(readFileSync(join(ROOT, 'fixtures/good', `${name}.json`), 'utf8'));
  const base = Number(manifest.segment_base);
  const chunks = manifest.model.segments.flatMap((segment) => {
    const begin = base + Number(segment.offset);
    const end = begin + Number(segment.length);
    const places = [];
    for (let at = begin; at < end; at += CHUNK) {
      const stop = Math.min(end, at + CHUNK);
      places.push({ begin: at, end: stop, hash: bytes.indexOf(sha256(bytes.subarray(at, stop))) });
    }
    return places;
  });
  return { name, bytes, headerLength: manifest.header_length, base, chunks };
}

const random = makeRandom(Number(options.seed));
const pick = (list) => list[random(list.length)];

/** 1 to 8 bytes somewhere from `begin` to `end` - 1: single bytes anywhere, or numbers at places where numbers are. */
function makeDamage(bytes, begin, end) {
  if (random(2) === 0) {
    return Array.from({ length: 1 + random(8) }, () => {
      const at = begin + random(end - begin);
      const value = pick([random(256), bytes[at] ^ (1 << random(8)), (bytes[at] + 1) & 255, 0, 255]);
      return [at, Buffer.from([value])];
    });
  }
  const size = pick([2, 4, 8]);
  const at = Math.min(end - size, begin + random(end - begin) - (random(end - begin) % size));
  const place = at - (at % size);
  const patch = Buffer.alloc(size);
  const old = bytes.subarray(place, place + size);
  const small = random(64);
  const kind = random(5);
  if (kind === 0) patch.writeUInt16LE(small, 0);
  else if (kind === 1) patch.fill(255);
  else if (kind === 2) patch[size - 1] = 1 << random(8);
  else if (kind === 3) {
    old.copy(patch);
    patch[0] = (old[0] + small - 32) & 255;
  } else bytes.copy(patch, 0, begin + 4 * random((end - begin - 8) >> 2));
  return [[place, patch]];
}

/** The bytes with the patches, and further patches that make hashes of chunks (if wanted) and of the header right. */
function apply(file, patches, repair) {
  const bytes = Buffer.from(file.bytes);
  const write = ([at, patch]) => patch.copy(bytes, at);
  patches.forEach(write);
  if (!repair) return { bytes, patches };
  const all = [...patches];
  for (const { begin, end, hash } of file.chunks) {
    const digest = sha256(bytes.subarray(begin, end));
    if (patches.some(([at]) => at >= begin && at < end)) all.push([hash, digest]);
  }
  all.slice(patches.length).forEach(write);
  const header = Buffer.from(bytes.subarray(0, file.headerLength));
  header.fill(0, HASH, HASH + 32);
  all.push([HASH, sha256(header)]);
  write(all.at(-1));
  return { bytes, patches: all };
}

/** One file in 16 is cut somewhere or gets more bytes. */
function pickSize(file, size) {
  if (random(16) > 0) return size;
  return pick([
    random(128),
    random(file.headerLength),
    random(file.base),
    random(size),
    size - 1,
    size + 1 + random(64),
  ]);
}

async function judge(bytes) {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  const report = await validateContainer(createMemorySource(view), { maxProblems: 1e6 });
  const codes = report.problems.map((problem) => problem.code);
  let open = null;
  try {
    await openContainer(createMemorySource(view));
  } catch (error) {
    open = error.code ?? String(error);
  }
  return { open, first: codes[0] ?? null, codes: [...new Set(codes)].sort() };
}

async function describeGood(name) {
  const read = (file) => createMemorySource(new Uint8Array(readFileSync(join(GOOD, file))));
  const openDataFile = async (file) => read(file);
  const report = await validateContainer(read(`${name}.duo`), { openDataFile, canonical: true });
  const { sha256: digest } = await contentDigest(await openContainer(read(`${name}.duo`), { openDataFile }));
  const canonical = [...new Set(report.problems.map((problem) => problem.code))].sort();
  return { good: name, canonical, content_sha256: digest };
}

/** A row of any length, so that it is mostly not a power of two, with values far apart. */
function describeRotation() {
  const row = Float32Array.from(
    { length: 1 + random(200) },
    () => (random(2 ** 30) / 2 ** 26 - 8) * pick([1, 1, 1000, 2 ** -140]),
  );
  const given = Buffer.from(row.slice().buffer).toString('hex');
  rotateInput(row);
  return { row: given, rotated: Buffer.from(row.buffer).toString('hex') };
}

/** A row with ties, equal values or values that are not finite in it, and a quantizer of each kind. */
function describeRow() {
  const scale = pick([1, 1, 2 ** -140, 1e38, 0.1]);
  const whole = random(2) === 0;
  const row = Float32Array.from({ length: 1 + random(24) }, () => {
    const value = whole ? random(81) / 2 - 20 : random(2 ** 30) / 2 ** 26 - 8;
    return random(400) === 0 ? pick([NaN, Infinity, -Infinity]) : value * scale;
  });
  const clip = () => pick([1, 1, 0.875, 0.9, 3, random(1000) / 500 + 0.001]);
  const kind = random(3);
  const plain = { scheme: 'dynamic-asymmetric', bits: 4, clipLow: clip(), clipHigh: clip() };
  const knee = kind === 1 ? { code: 1 + random(14), slopeRatio: 2 + random(7) } : null;
  const scales = () => Array.from({ length: 4 }, () => pick([1, 2, 0.5, random(100) / 10 + 0.05]));
  const quantizer = { ...plain, knee, planeScales: kind === 2 ? scales() : null };
  const quantized = quantizeActivations(row, quantizer);
  return {
    quantizer: {
      clip_low: plain.clipLow,
      clip_high: plain.clipHigh,
      knee: knee?.code ?? null,
      slope_ratio: knee?.slopeRatio ?? 0,
      plane_scales: quantizer.planeScales ?? [],
    },
    row: Buffer.from(row.buffer).toString('hex'),
    low: quantized.low,
    step: quantized.step,
    codes: [...quantized.codes],
    values: [...decodeActivations(quantized, quantizer)],
  };
}

const files = BASES.map(readBase);
const names = readdirSync(GOOD).filter((name) => name.endsWith('.duo'));
const lines = [];
for (const name of names.sort()) lines.push(JSON.stringify(await describeGood(name.slice(0, -4))));
for (let index = 0; index < ROWS; index += 1) lines.push(JSON.stringify(describeRow()));
for (let index = 0; index < ROTATIONS; index += 1) lines.push(JSON.stringify(describeRotation()));
for (let index = 0; index < Number(options.mutants); index += 1) {
  const file = pick(files);
  const area = random(8);
  const damage =
    area < 1
      ? makeDamage(file.bytes, 0, 128)
      : area < 6
        ? makeDamage(file.bytes, 128, file.headerLength)
        : makeDamage(file.bytes, file.base, file.bytes.length);
  const { bytes, patches } = apply(file, damage, random(4) > 0);
  const hex = patches.map(([at, patch]) => [at, patch.toString('hex')]);
  const size = pickSize(file, bytes.length);
  const cut = Buffer.alloc(size);
  bytes.copy(cut);
  lines.push(JSON.stringify({ base: file.name, size, patches: hex, ...(await judge(cut)) }));
}
if (options.out === undefined) console.log(lines.join('\n'));
else writeFileSync(options.out, `${lines.join('\n')}\n`);

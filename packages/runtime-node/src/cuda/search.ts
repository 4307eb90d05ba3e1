// Searching a row of logits on the device, so that few bytes are read back (kernels/search.cu).
import type { Arena } from './arena.ts';
import type { Device } from './device.ts';

const BEST_THREADS = 1024;
const TOP_THREADS = 256;
/** Logits that a block looks at. */
const PART = 2048;
const PAIR_BYTES = 8;
const WHAT = 'the largest logits';

/** @returns key and turned place of the largest */
export function searchBest(device: Device, arena: Arena, logits: number, width: number): Uint32Array {
  const found = arena.scratch(PAIR_BYTES, WHAT);
  device.launch('search_best', [1, 1, 1], BEST_THREADS, [logits, found], [width]);
  return readPairs(device, found, 1);
}

/** @returns pairs of key and turned place of the `count` largest, in no order */
export function searchTop(
  device: Device,
  arena: Arena,
  logits: number,
  width: number,
  count: number,
): Uint32Array {
  const parts = Math.ceil(width / PART);
  const found = arena.scratch(PAIR_BYTES * count * (parts + 1), WHAT);
  const candidates = parts === 1 ? found : found + PAIR_BYTES * count;
  device.launch('search_top', [parts, 1, 1], TOP_THREADS, [logits, candidates], [width, PART, count]);
  if (parts > 1)
    device.launch('search_join', [1, 1, 1], TOP_THREADS, [candidates, found], [parts * count, count]);
  return readPairs(device, found, count);
}

function readPairs(device: Device, address: number, count: number): Uint32Array {
  return new Uint32Array(device.download(address, PAIR_BYTES * count).buffer);
}

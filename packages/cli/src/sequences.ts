// How many texts a model can write at the same time on this machine.
import { freemem } from 'node:os';
import type { Backend, KvPrecision } from '@duobit/core';
import type { Architecture } from '@duobit/format';

/** More write little faster together on a few cores, and each slower. */
const USUAL = 8;
/** Of the free memory, for KV caches: the rest is for what is loaded, and for others. */
const SHARE = 1 / 4;
/** Of a value, without the scales that integers have besides. */
const KV_BYTES: Readonly<Record<KvPrecision, number>> = { f32: 4, f16: 2, int8: 1, int4: 0.5 };
const DEFAULT_CONTEXT = 2048;

/** @param free bytes of memory */
export function chooseSequences(
  { maxSequences = 1, kv }: Pick<Backend, 'maxSequences' | 'kv'>,
  { blockCount, kvHeadCount, headSize, contextLength }: Architecture,
  context = Math.min(contextLength, DEFAULT_CONTEXT),
  free = freemem(),
): number {
  const cache = 2 * blockCount * kvHeadCount * headSize * context * KV_BYTES[kv];
  return Math.max(1, Math.min(USUAL, maxSequences, Math.floor((free * SHARE) / cache)));
}

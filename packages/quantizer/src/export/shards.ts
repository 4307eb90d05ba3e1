// Which tensor goes to which weights file, by the names and the index that transformers knows.
import type { ModelSource } from '@duobit/format';
import { INDEX_FILE, WEIGHTS_FILE } from '../checkpoint/hf-folder.ts';
import { tensorBytes } from './safetensors-writer.ts';
import type { ExportDtype } from './values.ts';

export interface Shard {
  readonly file: string;
  readonly names: readonly string[];
}

/** Every file name that weights of a folder may have, this split or another. */
export const WEIGHT_FILES = /^model(-\d{5,}-of-\d{5,})?\.safetensors(\.index\.json)?$/;

/**
 * Fills shards in the order of the source, each with at most `shardSize` bytes of values; a larger tensor has a
 * shard of its own. One shard is `model.safetensors`.
 */
export function planShards(source: ModelSource, dtype: ExportDtype, shardSize: number): Shard[] {
  const groups: string[][] = [[]];
  let room = shardSize;
  for (const name of source.tensorNames) {
    const bytes = tensorBytes(source, name, dtype);
    if (bytes > room && groups.at(-1)!.length > 0) {
      groups.push([]);
      room = shardSize;
    }
    groups.at(-1)!.push(name);
    room -= bytes;
  }
  if (groups.length === 1) return [{ file: WEIGHTS_FILE, names: groups[0]! }];
  const count = formatNumber(groups.length);
  return groups.map((names, index) => ({
    file: `model-${formatNumber(index + 1)}-of-${count}.safetensors`,
    names,
  }));
}

function formatNumber(number: number): string {
  return String(number).padStart(5, '0');
}

/** The index of several shards: file and text; null when there is only one. */
export function formatIndex(
  source: ModelSource,
  dtype: ExportDtype,
  shards: readonly Shard[],
): { readonly file: string; readonly text: string } | null {
  if (shards.length === 1) return null;
  const total = source.tensorNames.reduce((sum, name) => sum + tensorBytes(source, name, dtype), 0);
  const weightMap = shards.flatMap(({ file, names }) => names.map((name) => [name, file] as const));
  weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) };
  return { file: INDEX_FILE, text: `${JSON.stringify(index, null, 2)}\n` };
}

// Whether the tokenizer that a container carries fits its vocabulary.
import type { FileSet } from './file-set.ts';
import { scanJson } from './json-scan.ts';
import type { Manifest } from './manifest.ts';
import type { Report } from './problems.ts';

/** Reports a tokenizer.json that is not JSON, or that has ids for which there is no embedding. */
export async function checkTokenizer(manifest: Manifest, files: FileSet, report: Report): Promise<void> {
  const asset = manifest.assets.find(({ role }) => role === 'tokenizer');
  const segment = asset && manifest.segments[asset.segment];
  if (!asset || !segment) return;
  // A file that cannot be had, or is too short, is reported already.
  const source = await files.get(segment.file).catch(() => null);
  if (!source || segment.offset + asset.offset + asset.length > source.size) return;
  const bytes = await source.read(segment.offset + asset.offset, asset.length);
  checkTokenizerBytes(bytes, manifest.architecture.vocabularySize, report);
}

/** The same for the bytes of a tokenizer.json, which a writer has before there is a file. */
export function checkTokenizerBytes(bytes: Uint8Array, vocabularySize: number, report: Report): void {
  const largest = largestId(bytes);
  if (largest === null) {
    report('TOKENIZER_INVALID', 'asset tokenizer', 'tokenizer.json is not JSON');
  } else if (largest >= vocabularySize) {
    const message = `the tokenizer gives id ${largest}, but the vocabulary has ${vocabularySize} tokens`;
    report('TOKENIZER_VOCABULARY', 'asset tokenizer', message);
  }
}

/** Zones of a tokenizer.json, see `JsonVisitor`. */
const ROOT = 1;
const TOP = 2;
const MODEL = 3;
const VOCABULARY = 4;
const VOCABULARY_LIST = 5;
const ADDED_TOKENS = 6;
const ADDED_TOKEN = 7;

function openZone(zone: number, name: string, kind: 'object' | 'array'): number {
  const isObject = kind === 'object';
  if (zone === ROOT && isObject) return TOP;
  if (zone === TOP && name === 'model' && isObject) return MODEL;
  if (zone === TOP && name === 'added_tokens' && !isObject) return ADDED_TOKENS;
  if (zone === MODEL && name === 'vocab') return isObject ? VOCABULARY : VOCABULARY_LIST;
  return zone === ADDED_TOKENS && isObject ? ADDED_TOKEN : 0;
}

/**
 * Largest id in `model.vocab` (an object of ids, or a list for Unigram) and in elements of `added_tokens`; -1 without
 * any, null when the bytes are not JSON.
 */
export function largestId(bytes: Uint8Array): number | null {
  let largest = -1;
  const isJson = scanJson(bytes, {
    named: Array.from({ length: 8 }, (_, zone) => [TOP, MODEL, ADDED_TOKEN].includes(zone)),
    open: openZone,
    number(zone, name, value) {
      const isId = zone === VOCABULARY || (zone === ADDED_TOKEN && name === 'id');
      if (isId && value > largest) largest = value;
    },
    close(zone, count) {
      if (zone === VOCABULARY_LIST && count > largest) largest = count - 1;
    },
  });
  return isJson ? largest : null;
}

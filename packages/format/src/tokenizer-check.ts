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
  const largest = largestId(bytes);
  if (largest === null) {
    report('TOKENIZER_INVALID', 'asset tokenizer', 'tokenizer.json is not JSON');
    return;
  }
  const { vocabularySize } = manifest.architecture;
  if (largest >= vocabularySize) {
    const message = `the tokenizer gives id ${largest}, but the vocabulary has ${vocabularySize} tokens`;
    report('TOKENIZER_VOCABULARY', 'asset tokenizer', message);
  }
}

/**
 * Largest id in `model.vocab` (an object of ids, or a list for Unigram) and in elements of `added_tokens`; -1 without
 * any, null when the bytes are not JSON.
 */
export function largestId(bytes: Uint8Array): number | null {
  let largest = -1;
  const isJson = scanJson(bytes, {
    enter(path, kind) {
      const place = path.join('/');
      if (place === '' || place === 'model') return kind === 'object' ? 'names' : 'none';
      if (place === 'model/vocab') return kind === 'object' ? 'values' : 'none';
      if (place === 'added_tokens') return kind === 'array' ? 'values' : 'none';
      return place === 'added_tokens/' && kind === 'object' ? 'names' : 'none';
    },
    number(path, value) {
      const isId = path.length === 3 && (path[0] === 'model' ? path[1] === 'vocab' : path[2] === 'id');
      if (isId && value > largest) largest = value;
    },
    array(path, length) {
      if (path.length === 2 && path[0] === 'model' && path[1] === 'vocab')
        largest = Math.max(largest, length - 1);
    },
  });
  return isJson ? largest : null;
}

// Whether the tokenizer that a container carries fits its vocabulary.
import type { FileSet } from './file-set.ts';
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
  let largest: number;
  try {
    largest = largestId(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch {
    report('TOKENIZER_INVALID', 'asset tokenizer', 'tokenizer.json is not JSON');
    return;
  }
  const { vocabularySize } = manifest.architecture;
  if (largest >= vocabularySize) {
    const message = `the tokenizer gives id ${largest}, but the vocabulary has ${vocabularySize} tokens`;
    report('TOKENIZER_VOCABULARY', 'asset tokenizer', message);
  }
}

/** Largest id in `model.vocab` (an object of ids, or a list for Unigram) and `added_tokens`; -1 without any. */
function largestId(tokenizer: unknown): number {
  const model = property(tokenizer, 'model');
  const vocabulary = property(model, 'vocab');
  const added = property(tokenizer, 'added_tokens');
  let largest = -1;
  const see = (id: unknown): void => {
    if (typeof id === 'number' && id > largest) largest = id;
  };
  if (Array.isArray(vocabulary)) see(vocabulary.length - 1);
  else if (typeof vocabulary === 'object' && vocabulary !== null)
    for (const id of Object.values(vocabulary)) see(id);
  if (Array.isArray(added)) for (const token of added) see(property(token, 'id'));
  return largest;
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value
    ? value[name as keyof typeof value]
    : undefined;
}

// The model card: everything the container says about itself, in the order in which people ask.
import type { Architecture, SizeAccount } from '@duobit/format';
import type { ModelCard } from '../card.ts';
import { type Child, facts, h, replace } from '../dom.ts';
import type { State } from '../state.ts';
import type { Store } from '../store.ts';
import { formatBytes, formatCount, formatNumber } from '../text.ts';
import { createFingerprint } from './fingerprint.ts';

export function createModelCard(store: Store<State>): HTMLElement {
  const content = h('div', { class: 'card' });
  store.watch(
    ({ card }) => card,
    (card) =>
      replace(
        content,
        ...(card
          ? describeCard(card)
          : [h('p', { class: 'muted' }, 'The card of a model is shown here once there is one.')]),
      ),
  );
  return content;
}

function describeCard(card: ModelCard): Child[] {
  const { manifest, sizes, license, quality, metadata, name } = card;
  const { provenance, headerSha256, formatVersion, dataFiles } = manifest;
  return [
    h('h2', {}, 'Model'),
    createFingerprint(headerSha256, 'wide'),
    facts([
      ['Name', name],
      ['Made from', provenance.sourceName],
      ['Parameters', formatCount(sizes.parameters)],
      [
        'Size',
        `${formatBytes(sizes.fileBytes)}${dataFiles.length > 0 ? ` in ${dataFiles.length + 1} files` : ''}`,
      ],
      ['Bits a weight', describeBits(sizes)],
      ['Quality', quality.length === 0 && 'none recorded in this file'],
      ...quality,
      [
        'Licence',
        license === null && (metadata.find(([key]) => key === 'license')?.[1] ?? 'none in this file'),
      ],
    ]),
    license !== null && more('Licence', license),
    h('h3', {}, 'Where its bytes go'),
    describeBytes(sizes),
    h('h3', {}, 'Architecture'),
    describeArchitecture(manifest.architecture),
    h('h3', {}, 'Provenance'),
    facts([
      ['Producer', provenance.producer],
      ['Checkpoint', hash(provenance.sourceSha256)],
      ['Calibration', provenance.calibrationSha256 === null ? 'none' : hash(provenance.calibrationSha256)],
      ...metadata,
    ]),
    more('Recipe', indent(provenance.recipe)),
    h('h3', {}, 'Identity'),
    facts([
      ['Header', hash(headerSha256)],
      ['Format', `${formatVersion.major}.${formatVersion.minor}`],
      [
        'Chunks',
        `${formatNumber(manifest.segments.reduce((sum, { chunkHashes }) => sum + chunkHashes.length, 0))}, each checked by its SHA-256 as it is read`,
      ],
    ]),
  ];
}

function describeBits({ linear, bitsPerWeightFile }: SizeAccount): string {
  const whole = `${bitsPerWeightFile.toFixed(2)} with everything in the file`;
  return linear.bitsPerWeight === null
    ? whole
    : `${linear.bitsPerWeight.toFixed(2)} in linear layers, ${whole}`;
}

const USES: readonly (readonly [keyof SizeAccount['bytes'], string])[] = [
  ['linear', 'Linear layers'],
  ['embedding', 'Embedding'],
  ['head', 'Head'],
  ['norms', 'Norms'],
  ['assets', 'Tokenizer and other assets'],
  ['header', 'Header'],
  ['padding', 'Padding'],
  ['other', 'Other'],
];

function describeBytes({ bytes, fileBytes }: SizeAccount): HTMLElement {
  const rows = USES.filter(([use]) => bytes[use] > 0).map(([use, name]) => {
    const share = bytes[use] / fileBytes;
    const bar = h('progress', { max: 1, value: share, 'aria-hidden': 'true' });
    return h(
      'tr',
      {},
      h('th', { scope: 'row' }, name),
      h('td', {}, bar),
      h('td', {}, formatBytes(bytes[use])),
    );
  });
  return h('table', { class: 'bytes' }, h('tbody', {}, ...rows));
}

function describeArchitecture(architecture: Architecture): HTMLElement {
  const { headCount, kvHeadCount, headSize, ropeScaling, slidingWindow } = architecture;
  return facts([
    ['Family', architecture.family],
    ['Blocks', formatNumber(architecture.blockCount)],
    [
      'Hidden, intermediate',
      `${formatNumber(architecture.hiddenSize)}, ${formatNumber(architecture.intermediateSize)}`,
    ],
    ['Heads', `${headCount} of ${headSize}; ${kvHeadCount} for keys and values`],
    ['Vocabulary', formatNumber(architecture.vocabularySize)],
    ['Context', `${formatNumber(architecture.contextLength)} tokens`],
    ['Window', slidingWindow !== null && `${formatNumber(slidingWindow)} tokens`],
    [
      'RoPE',
      `theta ${formatNumber(architecture.ropeTheta)}${ropeScaling ? `, ${ropeScaling.kind} by ${ropeScaling.factor}` : ''}`,
    ],
    ['Head', architecture.tiedHead ? 'tied to the embedding' : 'of its own'],
  ]);
}

function hash(sha256: string): HTMLElement {
  return h('code', { class: 'hash' }, sha256);
}

function more(name: string, text: string): HTMLElement {
  return h('details', {}, h('summary', {}, name), h('pre', { tabindex: 0 }, text));
}

/** JSON with lines and indents; text that is none as it is. */
function indent(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

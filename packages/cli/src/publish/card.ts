// The model card, README.md: what a container says of itself, with what was measured of it, in the form that hubs read.
import { accountSizes, parseHubAddress } from '@duobit/format';
import type { EvaluationRecord } from '../record.ts';
import { formatBytes, formatCount } from '../text.ts';
import { VERSION } from '../version.ts';
import type { PublishedModel } from './model.ts';

/** A card with this line was written by us and is replaced; one without it is somebody's own. */
export const CARD_MARK =
  '<!-- Written by duobit publish, which replaces it next time. Delete this line to keep your own text. -->';

export interface CardFacts {
  /** What people load it by, an address on a hub, or null where the address is not known. */
  readonly address: string | null;
  /** Id of the base model on the hub; null: the container's words only. */
  readonly baseModel: string | null;
  /** Identifier of the licence as hubs know it; null: found in the container, or not known. */
  readonly license: string | null;
  /** Of this container, and of the checkpoint that it was made from. */
  readonly records: readonly EvaluationRecord[];
}

type Row = readonly [string, ...string[]];

export function renderCard(model: PublishedModel, facts: CardFacts): string {
  const title = facts.address
    ? parseHubAddress(facts.address).repo.split('/')[1]!
    : model.name.replace(/\.duo$/, '');
  return `${[
    frontMatter(model, facts),
    CARD_MARK,
    `# ${plainText(title)}`,
    summary(model, facts),
    modelTable(model, facts),
    '## Quality',
    quality(model, facts.records),
    '## Run it',
    usage(model, facts.address),
    '## How it was made',
    origin(model),
    '## Files',
    files(model),
  ].join('\n\n')}\n`;
}

/** YAML, whose texts are written as JSON, which it contains. */
function frontMatter(model: PublishedModel, facts: CardFacts): string {
  const license = licenseOf(model, facts);
  const base = baseModelOf(model, facts);
  return [
    '---',
    ...(license.id === null ? [] : [`license: ${JSON.stringify(license.id)}`]),
    ...(license.id === 'other' ? ['license_name: "see LICENSE"', 'license_link: LICENSE'] : []),
    ...(base === null ? [] : [`base_model: ${JSON.stringify(base)}`, 'base_model_relation: quantized']),
    'library_name: duobit',
    'pipeline_tag: text-generation',
    'tags:',
    ...['duobit', 'two-bit', 'quantized', model.manifest.architecture.family].map((tag) => `- ${tag}`),
    '---',
  ].join('\n');
}

const HUB_ID = /^[A-Za-z0-9._-]+\/[A-Za-z0-9._-]+$/;

function baseModelOf({ manifest }: PublishedModel, { baseModel }: CardFacts): string | null {
  const said = baseModel ?? manifest.metadata.base_model ?? manifest.provenance.sourceName;
  return HUB_ID.test(said) ? said : null;
}

/** Beginnings of the texts that checkpoints carry most. */
const KNOWN_LICENSES: readonly (readonly [id: string, begins: RegExp])[] = [
  ['apache-2.0', /^\W*Apache License\s+Version 2\.0/i],
  ['mit', /^\W*(The )?MIT License/i],
  ['bsd-3-clause', /^\W*BSD 3-Clause License/i],
];

export function licenseOf(
  { manifest, license }: Pick<PublishedModel, 'manifest' | 'license'>,
  facts: Pick<CardFacts, 'license'>,
): { readonly id: string | null } {
  const said = facts.license ?? manifest.metadata.license ?? null;
  if (said !== null) return { id: said };
  if (license === null) return { id: null };
  return { id: KNOWN_LICENSES.find(([, begins]) => begins.test(license))?.[0] ?? 'other' };
}

function summary({ manifest }: PublishedModel, facts: CardFacts): string {
  const base = facts.baseModel ?? manifest.metadata.base_model ?? manifest.provenance.sourceName;
  const { linear } = accountSizes(manifest);
  const kind =
    linear.bitsPerWeight === null
      ? 'in the container of [Duobit](https://www.npmjs.com/package/duobit); its linear layers are not quantized to two bits.'
      : 'at W(1+1)A4, for [Duobit](https://www.npmjs.com/package/duobit): each weight of a linear layer is a sign bit and a bit that chooses between two pairs of levels, and its inputs are quantized to four bits as it runs.';
  return `${plainText(base)} ${kind}`;
}

function modelTable(model: PublishedModel, facts: CardFacts): string {
  const { manifest, license } = model;
  const sizes = accountSizes(manifest);
  const { architecture: a, provenance, kvCache } = manifest;
  const linear = sizes.linear.bitsPerWeight;
  const bytes = model.files
    .filter(({ name }) => /\.duo(data)?$/.test(name))
    .reduce((sum, file) => sum + file.bytes, 0);
  const { id } = licenseOf(model, facts);
  const licence = id === null ? 'the container names none; that of the base model holds' : plainText(id);
  return table(
    ['', ''],
    [
      ['base model', plainText(facts.baseModel ?? manifest.metadata.base_model ?? provenance.sourceName)],
      ['licence', license === null ? licence : `${licence}, text in [LICENSE](LICENSE)`],
      ['size, all model files', formatBytes(bytes)],
      ['parameters', formatCount(sizes.parameters)],
      [
        'bits a weight, linear layers only',
        linear === null ? 'not quantized to two bits' : linear.toFixed(4),
      ],
      ['bits a weight, everything included', ((8 * bytes) / sizes.parameters).toFixed(4)],
      [
        'architecture',
        `${a.family}, ${a.blockCount} blocks of ${a.hiddenSize}, vocabulary of ${formatCount(a.vocabularySize)}`,
      ],
      ['context', `${formatCount(a.contextLength)} tokens`],
      ...(kvCache
        ? [['KV cache, advised', `${kvCache.keyBits}-bit keys, ${kvCache.valueBits}-bit values`] as const]
        : []),
    ],
  );
}

function quality({ manifest }: PublishedModel, records: readonly EvaluationRecord[]): string {
  const parts: string[] = [];
  const perplexities = records.filter((record) => record.kind === 'perplexity');
  if (perplexities.length > 0) {
    parts.push(
      table(
        ['perplexity', 'model', 'linear inputs', 'text', 'windows', 'backend'],
        perplexities.map(({ result, model, options, data }) => [
          result.perplexity.toFixed(3),
          model.sha256_of === 'header' ? 'this one' : 'unquantized',
          options.activations === 'a4' ? '4 bits' : 'not quantized',
          `${plainText(data[0]!.file)} (SHA-256 ${data[0]!.sha256.slice(0, 12)}…)`,
          `${formatCount(result.windows)} of ${formatCount(options.context)} tokens`,
          plainText(options.backend),
        ]),
      ),
    );
  }
  const tasks = records.flatMap((record) =>
    record.kind === 'zeroshot' ? record.result.tasks.map((task) => ({ task, model: record.model })) : [],
  );
  if (tasks.length > 0) {
    parts.push(
      table(
        ['task', 'model', 'questions', 'accuracy', 'standard error'],
        tasks.map(({ task, model }) => [
          task.task,
          model.sha256_of === 'header' ? 'this one' : 'unquantized',
          formatCount(task.questions),
          task.acc.toFixed(4),
          task.acc_stderr?.toFixed(4) ?? '',
        ]),
      ),
    );
  }
  const said = Object.entries(manifest.metadata).filter(([key]) => /perplexity|accuracy|quality/i.test(key));
  if (said.length > 0)
    parts.push(
      table(
        ['as the container says', ''],
        said.map(([key, value]) => [plainText(key), plainText(value)]),
      ),
    );
  if (parts.length === 0)
    return 'No measurement came with this model. `duobit eval ppl` measures its perplexity.';
  return parts.join('\n\n');
}

function usage({ name }: PublishedModel, address: string | null): string {
  const from = address ?? `https://…/${encodeURIComponent(name)}`;
  const lines = [
    'In a terminal, with Node 20.19 or newer; it is downloaded once:',
    code('sh', `npx duobit run ${inShell(from)} -p "Once upon a time" -n 100`),
    'In Node:',
    code(
      'js',
      `import { loadModel } from '@duobit/runtime-node';\n\nconst model = await loadModel(${inScript(from)});\nfor await (const event of model.generate('Once upon a time', { maxTokens: 100 })) process.stdout.write(event.text);\nawait model.dispose();`,
    ),
    'In a page:',
    code(
      'js',
      `import { loadModel } from '@duobit/runtime-web';\n\nconst model = await loadModel(${inScript(from)});\nfor await (const event of model.generate('Once upon a time', { maxTokens: 100 })) document.body.append(event.text);`,
    ),
  ];
  return lines.join('\n\n');
}

function origin({ manifest, keyId }: PublishedModel): string {
  const { producer, sourceName, sourceSha256, recipe, calibrationSha256 } = manifest.provenance;
  const rows: Row[] = [
    ['made by', plainText(producer)],
    ['made from', plainText(sourceName)],
    ['SHA-256 of its weights', `\`${sourceSha256}\``],
    [
      'SHA-256 of the calibration text',
      calibrationSha256 === null ? 'none was used' : `\`${calibrationSha256}\``,
    ],
    ['signature', keyId === null ? 'none' : `key \`${plainText(keyId)}\``],
    ['card written by', `duobit ${VERSION}`],
  ];
  return `${table(['', ''], rows)}\n\nRecipe:\n\n${code('json', prettyJson(recipe))}`;
}

function files(model: PublishedModel): string {
  const { name, headerSha256, contentSha256 } = model;
  return [
    table(
      ['file', 'bytes', 'SHA-256'],
      model.files.map((file) => [plainText(file.name), formatCount(file.bytes), `\`${file.sha256}\``]),
    ),
    table(
      ['identity', 'SHA-256'],
      [
        ['header, which covers all else', `\`${headerSha256}\``],
        ['content, however it is packed', `\`${contentSha256}\``],
      ],
    ),
    `${inline(`duobit validate ${inShell(name)}`)} checks every byte${model.keyId === null ? '' : `, ${inline(`duobit verify-signature ${inShell(name)} --key …`)} who vouches for it`}.`,
  ].join('\n\n');
}

function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function code(language: string, text: string): string {
  const fence = fenceOf(text, 3);
  return `${fence}${language}\n${text}\n${fence}`;
}

function inline(text: string): string {
  const fence = fenceOf(text, 1);
  return `${fence}${text.replace(/\s+/g, ' ')}${fence}`;
}

/** Longer than any in the text. */
function fenceOf(text: string, least: number): string {
  const longest = Math.max(least - 1, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  return '`'.repeat(longest + 1);
}

/** A name as one word of a POSIX shell. */
function inShell(name: string): string {
  return /^[\w@%+=:,./…-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}

/** A name as a literal of JavaScript. */
function inScript(name: string): string {
  return /['\\\p{Cc}]/u.test(name) ? JSON.stringify(name) : `'${name}'`;
}

function table(header: readonly string[], rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Text of a container as text of a card: nobody's markup, nobody's new line. */
function plainText(text: string): string {
  return text
    .slice(0, 500)
    .replace(/\s+/g, ' ')
    .replace(/[\\`*[\]<>|#]/g, (mark) => `\\${mark}`);
}

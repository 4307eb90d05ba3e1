// `duobit diff`: whether two containers are the same model, and what differs. Exit codes as diff(1): 0 same, 1 not.
import {
  type Container,
  type ContainerDifference,
  compareContainers,
  type FieldDifference,
  type TensorDifference,
  type TensorInfo,
} from '@duobit/format';
import type { Command } from 'commander';
import { withContainer } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { encodingName, shapeText } from '../encoding-text.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { formatCount, plural } from '../text.ts';

interface Options {
  readonly values: boolean;
  readonly json: boolean;
}

/** Exit code for two good containers that are not the same model. */
const DIFFERENT = 1;

const VERDICTS: Readonly<Record<ContainerDifference['verdict'], string>> = {
  identical: 'identical: the same bytes',
  repacked: 'the same model, packed in another way',
  metadata: 'the same model, with other words about it',
  different: 'different models',
};

export function addDiffCommand(program: Command, context: Context): void {
  const command = program
    .command('diff')
    .description('Tell whether two containers hold the same model, and what differs.')
    .argument('<a>', '.duo file')
    .argument('<b>', '.duo file')
    .option(
      '--values',
      'compare the decoded values of every tensor whose bytes differ, not only of small ones',
      false,
    )
    .action((a: string, b: string, options: Options) => runDiff(context, a, b, options));
  addJsonOption(command);
  addExamples(command, 'duobit diff old.duo new.duo', 'duobit diff old.duo new.duo --values --json');
  command.addHelpText(
    'after',
    '\nExit codes: 0 the same model, 1 different models (or a bad input), 2 usage\n',
  );
}

async function runDiff(context: Context, pathA: string, pathB: string, options: Options): Promise<void> {
  await withContainer(context, pathA, { store: false }, (a) =>
    withContainer(context, pathB, { store: false }, async (b) => {
      const progress = createProgress(context.io, { lines: { compare: 0 } });
      let difference: ContainerDifference;
      try {
        difference = await compareContainers(a, b, {
          values: options.values,
          onProgress: (done, total) => {
            checkAborted(context.signal);
            progress.update('compare', done, total);
          },
        });
      } finally {
        progress.stop();
      }
      if (difference.verdict === 'different') context.exitCode = DIFFERENT;
      emit(context, options.json, toJson(pathA, a, pathB, b, difference), () =>
        formatDifference(pathA, pathB, difference),
      );
    }),
  );
}

function toJson(pathA: string, a: Container, pathB: string, b: Container, d: ContainerDifference): object {
  const side = (path: string, { manifest }: Container): object => ({
    file: path,
    file_bytes: manifest.fileLength,
    header_sha256: manifest.headerSha256,
  });
  const brief = ({ name, shape, encoding }: TensorInfo): object => ({ name, shape, encoding });
  return {
    verdict: d.verdict,
    same_model: d.verdict !== 'different',
    a: side(pathA, a),
    b: side(pathB, b),
    model: d.model.map(showField),
    assets: d.assets.map(showField),
    metadata: d.metadata.map(showField),
    layout: d.layout.map(showField),
    tensors: {
      equal: d.tensors.equal,
      renamed: d.tensors.renamed.map(({ a, b, activation }) => ({
        a,
        b,
        activation: activation.map(showField),
      })),
      removed: d.tensors.removed.map(brief),
      added: d.tensors.added.map(brief),
      changed: d.tensors.changed.map(
        ({ name, shape, encoding, inputRotation, activation, planes, values }) => ({
          name,
          shape,
          encoding,
          input_rotation: inputRotation && { a: inputRotation.a ?? null, b: inputRotation.b ?? null },
          activation: activation.map(showField),
          planes,
          values: values && {
            count: values.count,
            max_abs: values.maximum,
            relative_rms: values.relativeRms,
          },
        }),
      ),
    },
  };
}

/** A side that lacks a field has null. */
function showField({ field, a, b }: FieldDifference): object {
  return { field, a: a ?? null, b: b ?? null };
}

function formatDifference(pathA: string, pathB: string, d: ContainerDifference): string {
  const { equal, renamed, removed, added, changed } = d.tensors;
  const sections = [
    [`${VERDICTS[d.verdict]}`, `  a: ${pathA}`, `  b: ${pathB}`],
    listFields('model', d.model),
    listFields('assets', d.assets),
    listLines('renamed tensors', [
      ...renamed.flatMap(({ a, b, activation }) => [`${a} -> ${b}`, ...activation.map(formatField)]),
    ]),
    listLines('only in a', removed.map(formatTensor)),
    listLines('only in b', added.map(formatTensor)),
    listLines('changed tensors', changed.flatMap(formatChange)),
    listFields('metadata', d.metadata),
    listFields('layout', d.layout),
  ];
  const end = `${plural(equal, 'equal tensor')}, ${formatCount(renamed.length)} renamed, ${formatCount(changed.length)} changed, ${formatCount(removed.length)} only in a, ${formatCount(added.length)} only in b`;
  return `${[...sections.flat(), end].join('\n')}\n`;
}

function listLines(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${line}`)];
}

function listFields(title: string, fields: readonly FieldDifference[]): string[] {
  return listLines(title, fields.map(formatField));
}

const LONGEST_VALUE = 100;

function formatField({ field, a, b }: FieldDifference): string {
  const show = (value: unknown): string => {
    const text = JSON.stringify(value ?? null);
    return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}...` : text;
  };
  return `${field}: ${show(a)} -> ${show(b)}`;
}

function formatTensor({ name, shape, encoding }: TensorInfo): string {
  return `${name}, ${encodingName(encoding)}, ${shapeText(shape)}`;
}

function formatChange({
  name,
  shape,
  encoding,
  inputRotation,
  activation,
  planes,
  values,
}: TensorDifference): string[] {
  const facts: string[] = [];
  if (shape) facts.push(`shape ${shapeText(shape.a)} -> ${shapeText(shape.b)}`);
  if (encoding) facts.push(`encoding ${encodingName(encoding.a)} -> ${encodingName(encoding.b)}`);
  if (inputRotation)
    facts.push(`input rotation ${inputRotation.a ?? 'none'} -> ${inputRotation.b ?? 'none'}`);
  if (planes.length > 0) facts.push(`bytes of ${planes.join(', ')}`);
  if (values) {
    const rms =
      values.relativeRms === null ? 'a is all zero' : `relative RMS ${values.relativeRms.toPrecision(4)}`;
    facts.push(
      values.count === 0
        ? 'equal values'
        : `${plural(values.count, 'value')}, at most ${values.maximum.toPrecision(4)}, ${rms}`,
    );
  } else if (!shape && (encoding || inputRotation || planes.length > 0))
    facts.push('values not compared, add --values');
  return [
    `${name}: ${facts.join('; ') || 'activation quantizer'}`,
    ...activation.map((f) => `  ${formatField(f)}`),
  ];
}

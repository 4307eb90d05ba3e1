// Rounding, and the written file read back: that it holds the weights, and that every name is made before it is used.
// Whether ONNX Runtime computes the same model from it is what check-onnx.mjs tells.
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from '@duobit/quantizer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildOnnxLlama } from './onnx-llama.mjs';
import { decodeValues, packNibbles, roundValues } from './onnx-weights.mjs';

const MODEL = fileURLToPath(new URL('../../fixtures/tinystories-656k', import.meta.url));

describe('roundValues', () => {
  it.each([4, 8])('keeps values of %i bits within half a step, or one at the far end', (bits) => {
    const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i) * (i < 32 ? 1 : 100));
    const rounded = roundValues(values, bits, 32);
    const decoded = decodeValues(rounded, bits);
    for (const [i, value] of values.entries()) {
      const step = Math.abs(rounded.scales[Math.floor(i / 32)]);
      const isFarEnd = rounded.codes[i] === 2 ** bits - 1;
      expect(Math.abs(decoded[i] - value), `value ${i}`).toBeLessThanOrEqual(step * (isFarEnd ? 1 : 0.501));
    }
  });

  it('gives the greatest magnitude code 0, whatever its sign, and zeros the middle code', () => {
    const { codes, scales } = roundValues(Float32Array.of(8, 4, -4, 0, 0, 0, 0, 0, -8, 1, 0, 7), 4, 4);
    expect([...codes]).toEqual([0, 4, 12, 8, 8, 8, 8, 8, 0, 9, 8, 15]);
    expect([...scales]).toEqual([-1, -0, 1]);
  });

  it('packs two codes a byte, the earlier in the low half', () => {
    expect([...packNibbles(Uint8Array.of(1, 2, 15, 0))]).toEqual([0x21, 0x0f]);
  });
});

/** Fields of a protobuf message: number -> values, a Buffer each or a number. */
function readMessage(bytes) {
  const fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const sizeOf = { 2: varint, 5: () => 4 }[key % 8];
    const start = () => at;
    const value =
      sizeOf === undefined ? varint() : ((size) => bytes.subarray(start(), (at += size)))(sizeOf());
    const field = Math.floor(key / 8);
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

const texts = (message, field) => (message.get(field) ?? []).map(String);

describe.each(['q4', 'q8'])('the file of %s', (dtype) => {
  let checkpoint;
  let graph;
  beforeAll(async () => {
    checkpoint = await openCheckpoint(MODEL);
    [graph] = readMessage(await buildOnnxLlama(checkpoint, dtype))
      .get(7)
      .map(readMessage);
  });
  afterAll(() => checkpoint?.close());

  it('makes every name once, and before it is used', () => {
    const named = (field, name) => graph.get(field).flatMap((bytes) => texts(readMessage(bytes), name));
    const made = new Set([...named(5, 8), ...named(11, 1)]);
    for (const bytes of graph.get(1)) {
      const node = readMessage(bytes);
      for (const input of texts(node, 1)) expect(input === '' || made.has(input), input).toBe(true);
      for (const output of texts(node, 2)) {
        expect(output !== '' && made.has(output), output).toBe(false);
        made.add(output);
      }
    }
    const outputs = named(12, 1);
    expect(outputs).toEqual(
      ['logits'].concat([0, 1].flatMap((block) => [`present.${block}.key`, `present.${block}.value`])),
    );
    for (const output of outputs) expect(made.has(output), output).toBe(true);
  });

  it('holds the query, key and value of a block as one matrix of rounded weights', async () => {
    const constants = new Map(
      graph.get(5).map((bytes) => {
        const constant = readMessage(bytes);
        return [String(constant.get(8)[0]), constant];
      }),
    );
    const codes = constants.get('qkv.1.codes');
    expect(codes.get(1)).toEqual(dtype === 'q4' ? [256, 4, 16] : [128, 256]);
    const row = 128 + 5; // the key's row 5, beneath 128 rows of the query
    const values = (await checkpoint.readF32('model.layers.1.self_attn.k_proj.weight')).subarray(
      5 * 128,
      6 * 128,
    );
    const expected = roundValues(values, dtype === 'q4' ? 4 : 8, dtype === 'q4' ? 32 : 128).codes;
    const [bytes] = codes.get(9);
    const stored =
      dtype === 'q4'
        ? bytes.subarray(row * 64, (row + 1) * 64)
        : Uint8Array.from({ length: 128 }, (_, column) => bytes[column * 256 + row]);
    expect([...stored]).toEqual([...(dtype === 'q4' ? packNibbles(expected) : expected)]);
  });
});

it('refuses what it does not write', async () => {
  const architecture = { ropeScaling: null, slidingWindow: null, tiedHead: false };
  await expect(buildOnnxLlama({ name: 'other', architecture }, 'q4')).rejects.toThrow(/^other: only a plain/);
});

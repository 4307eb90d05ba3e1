// Canonical form: what the writer makes has it, and anything else that means the same is told from it.
import { Builder, ByteBuffer } from 'flatbuffers';
import { describe, expect, it } from 'vitest';
import { forgeHeader, rehashHeader } from '../test/forge.ts';
import { makeSpec, writeSample } from '../test/sample.ts';
import { Model } from './generated/duobit/model.ts';
import { createMemorySource, validateContainer } from './index.ts';

const codesOf = async (bytes: Uint8Array, canonical = true) => {
  const report = await validateContainer(createMemorySource(bytes), { canonical });
  return report.problems.map(({ code }) => code);
};

describe('canonical form', () => {
  it('is what the writer writes', async () => {
    expect(await codesOf((await writeSample()).bytes)).toEqual([]);
    const bare = makeSpec({ assets: [], kvCache: null, metadata: {} });
    expect(await codesOf((await writeSample(bare, 2)).bytes)).toEqual([]);
  });

  it('CANONICAL_HEADER: padding inside the header that is not zero', async () => {
    const { bytes, summary } = await writeSample();
    const plain = await codesOf(bytes);
    let found = 0;
    for (let at = 128; at < summary.headerLength && found === 0; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 0xff;
      await rehashHeader(changed);
      // A byte that no rule looks at is padding of the FlatBuffer.
      if ((await codesOf(changed, false)).length > 0) continue;
      const codes = await codesOf(changed);
      if (codes.includes('CANONICAL_HEADER')) found += 1;
    }
    expect([plain, found]).toEqual([[], 1]);
  });

  it('CANONICAL_HEADER: a default value that is written out', async () => {
    const { bytes } = await writeSample();
    const forced = await forgeHeader(bytes, () => {});
    expect(forced).toEqual(bytes);
    // A builder that writes defaults gives a header with the same content and other bytes.
    const proto = Builder.prototype;
    const original = proto.addFieldInt32;
    proto.addFieldInt32 = function (this: Builder, slot, value, fallback) {
      if (value !== fallback) return original.call(this, slot, value, fallback);
      this.addInt32(value);
      this.slot(slot);
    };
    let changed: Uint8Array;
    try {
      changed = await forgeHeader(bytes, () => {});
    } finally {
      proto.addFieldInt32 = original;
    }
    expect(Model.getRootAsModel(new ByteBuffer(changed)).tensorsLength()).toBe(makeSpec().tensors.length);
    expect(await codesOf(changed, false)).toEqual([]);
    expect(await codesOf(changed)).toEqual(['CANONICAL_HEADER']);
  });

  it('CANONICAL_LAYOUT: another order of data', async () => {
    const { bytes } = await writeSample();
    const renamed = await forgeHeader(bytes, (content) => (content.segments[1]!.name = 'first'));
    expect(await codesOf(renamed, false)).toEqual([]);
    expect(await codesOf(renamed)).toEqual(['CANONICAL_LAYOUT']);
  });

  it('is not checked where the header has problems', async () => {
    const { bytes } = await writeSample();
    const forged = await forgeHeader(bytes, (content) => (content.architecture.ropeTheta = -1));
    const report = await validateContainer(createMemorySource(forged), { canonical: true, deep: false });
    expect(report.problems.map(({ code }) => code)).toEqual(['ARCHITECTURE_INVALID']);
    expect(report.notes).toEqual(['canonical form was not checked, as the header has problems']);
  });
});

// The one suite that every backend runs: single operations, exact integer sums, whole models, the contract. It depends on
// no test runner; `registerConformance` hands the cases to whichever there is.
import type { Backend, KvPrecision } from '@duobit/core';
import { attentionCases } from './attention-cases.ts';
import { columnCases } from './column-cases.ts';
import { contractCases } from './contract-cases.ts';
import { decodingCases } from './decoding-cases.ts';
import { exactCases } from './exact-cases.ts';
import { modelCases, textCases } from './model-cases.ts';
import { operationCases } from './operation-cases.ts';
import { outlierCases } from './outlier-cases.ts';
import { rotationCases } from './rotation-cases.ts';
import { searchCases } from './search-cases.ts';
import { oneSequenceCases, sequenceAttentionCases, sequenceCases } from './sequence-cases.ts';

export interface ConformanceCase {
  readonly name: string;
  /** @throws Error that says which values are off, and by how much */
  readonly run: (backend: Backend) => Promise<void>;
}

export interface BackendEntry {
  readonly name: string;
  readonly create: () => Backend | Promise<Backend>;
  /** Why this machine does not have the backend; null when it does. */
  readonly absent?: string | null;
  /** `Backend.kv` of what `create` gives. Default 'f32'. */
  readonly kv?: KvPrecision;
  /** Whether `Backend.maxSequences` of what `create` gives is more than one. Default false; the suite finds out where that is not so. */
  readonly severalSequences?: boolean;
}

/** What the suite needs of a test runner; vitest's `describe` and `it` fit. */
export interface TestRunner {
  readonly describe: (name: string, register: () => void) => unknown;
  readonly it: ((name: string, run: () => Promise<void>) => unknown) & {
    readonly skip: (name: string, run: () => Promise<void>) => unknown;
  };
}

/**
 * The suite; of a cache that does not keep f32, what reads the cache. Such a cache does not write the reference's text.
 * @param severalSequences with what only backends can that have more than one
 */
export function conformanceCases(kv: KvPrecision = 'f32', severalSequences = false): ConformanceCase[] {
  const cached = [
    ...attentionCases(),
    ...modelCases(),
    ...(severalSequences ? sequenceAttentionCases() : []),
  ];
  return kv === 'f32'
    ? [
        ...operationCases(),
        ...rotationCases(),
        ...columnCases(),
        ...cached,
        ...exactCases(),
        ...outlierCases(),
        ...searchCases(),
        ...decodingCases(),
        ...textCases(),
        ...contractCases(),
        ...(severalSequences ? sequenceCases() : oneSequenceCases()),
      ]
    : cached;
}

/** Registers the suite for one backend; an absent one is reported as skipped, by name and reason. */
export function registerConformance({ describe, it }: TestRunner, entry: BackendEntry): void {
  describe(`conformance of ${entry.name}`, () => {
    if (entry.absent) {
      it.skip(`${entry.name} is absent: ${entry.absent}`, async () => {});
      return;
    }
    let backend: Promise<Backend> | null = null;
    if (!entry.severalSequences) it.skip(`several sequences: ${entry.name} has one`, async () => {});
    for (const { name, run } of conformanceCases(entry.kv, entry.severalSequences))
      it(name, async () => {
        backend ??= Promise.resolve(entry.create());
        await run(await backend);
      });
  });
}

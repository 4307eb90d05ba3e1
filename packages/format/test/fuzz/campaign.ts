// Two campaigns: every value of every byte of one file, and random mutants of all. Both are numbered, so that
// workers share them and any case can be run alone.
import { LIMITS } from '@duobit/format';
import { type GoodFile, makeGoodFiles } from './good-files.ts';
import { Arena, makeRandomCase, type Repair, repairHashes } from './mutate.ts';
import { type CheckOptions, checkCase, type Outcome } from './oracle.ts';

/** Values that a byte can be changed to. */
const EDITS = 255;

/** A run of cases, counted. */
export interface Tally {
  cases: number;
  /** Cases that validation accepts: their hashes were made right, and nothing else is wrong with them. */
  accepted: number;
  /** Cases in which validation reports a code, by code. */
  readonly codes: Map<string, number>;
  /** Cases by what opening and reading give. */
  readonly opened: Map<string, number>;
}

export function createTally(): Tally {
  return { cases: 0, accepted: 0, codes: new Map(), opened: new Map() };
}

function count(map: Map<string, number>, key: string, by = 1): void {
  map.set(key, (map.get(key) ?? 0) + by);
}

function addOutcome(tally: Tally, { opened, codes }: Outcome): void {
  tally.cases += 1;
  if (codes?.length === 0) tally.accepted += 1;
  for (const code of codes ?? []) count(tally.codes, code);
  if (opened) count(tally.opened, opened);
}

export function addTally(tally: Tally, other: Tally): void {
  tally.cases += other.cases;
  tally.accepted += other.accepted;
  for (const [code, times] of other.codes) count(tally.codes, code, times);
  for (const [code, times] of other.opened) count(tally.opened, code, times);
}

/** One case that broke a promise, with what it takes to see it again. */
export interface Failure {
  readonly campaign: string;
  readonly seed: number;
  readonly index: number;
  readonly file: string;
  readonly repair: Repair;
  readonly changes: readonly string[];
  readonly error: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Campaign {
  readonly name: string;
  readonly cases: number;
  /** Runs one case and returns how it ended, or what went wrong. */
  run(index: number): Promise<Outcome | Failure>;
}

/** The campaigns, which share one arena: run them one after the other. */
export interface Campaigns {
  readonly files: readonly GoodFile[];
  /** Every byte to every other value, hashes left as they were: opening or reading must refuse each. */
  readonly exhaustive: Campaign;
  /** The same over header and data, hashes made right again (padding has none): what validation accepts must read. */
  readonly repaired: Campaign;
  readonly random: (seed: number, cases: number) => Campaign;
}

/** Codes that docs/errors.md has a row for. */
export function listKnownCodes(page: string): Set<string> {
  return new Set([...page.matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((match) => match[1]!));
}

/** @throws FuzzFailure when a good file is refused */
export async function createCampaigns(knownCodes: ReadonlySet<string>): Promise<Campaigns> {
  const files = await makeGoodFiles();
  const arena = new Arena(Math.max(...files.map(({ bytes }) => bytes.length)));
  const base = { knownCodes, pristine: false, mustRefuse: false, twice: false, readers: 'both' } as const;
  for (const file of files) {
    arena.load(file.bytes);
    await checkCase(arena, { ...base, file, pristine: true, twice: true });
  }
  const smallest = files[0]!;
  const data = smallest.chunks.flatMap(({ start, length }) => Array.from({ length }, (_, i) => start + i));
  const hashed = [...Array.from({ length: smallest.headerLength }, (_, i) => i), ...data];
  const whole = Array.from(smallest.bytes, (_, i) => i);
  const originals = files.map(({ bytes }) => Buffer.from(bytes.buffer));

  const attempt = async (
    facts: Omit<Failure, 'error' | 'bytes'>,
    options: CheckOptions,
  ): Promise<Outcome | Failure> => {
    try {
      return await checkCase(arena, options);
    } catch (error) {
      const text = error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
      return { ...facts, error: text, bytes: arena.bytes.slice() };
    }
  };

  const edits = (name: string, places: readonly number[], repair: Repair): Campaign => ({
    name,
    cases: places.length * EDITS,
    run(index) {
      const at = places[Math.floor(index / EDITS)]!;
      arena.load(smallest.bytes);
      const old = smallest.bytes[at]!;
      // 1 to 255 more, modulo 256: all values but the old one.
      arena.bytes[at] = old + 1 + (index % EDITS);
      const changes = [`byte ${at}: ${old} -> ${arena.bytes[at]}`];
      repairHashes(arena.bytes, smallest, repair);
      const facts = { campaign: name, seed: 0, index, file: smallest.name, repair, changes };
      // An edit of the stored hash itself is undone by making it right.
      const same = repair !== 'none' && Buffer.compare(arena.bytes, smallest.bytes) === 0;
      const mustRefuse = repair === 'none' || (!same && at < LIMITS.preambleBytes && at >= 88);
      // Every edit meets the reader that has more to lose by it, and every byte meets both many times.
      const readers = index % 8 === 0 ? 'both' : repair === 'none' ? 'open' : 'validate';
      return attempt(facts, {
        ...base,
        file: smallest,
        mustRefuse,
        pristine: same,
        twice: index % 64 === 0,
        readers,
      });
    },
  });

  return {
    files,
    exhaustive: edits('exhaustive', whole, 'none'),
    repaired: edits('repaired', hashed, 'all'),
    random: (seed, cases) => ({
      name: 'random',
      cases,
      run(index) {
        const { file, repair, changes } = makeRandomCase(arena, files, seed, index);
        const facts = { campaign: 'random', seed, index, file: file.name, repair, changes };
        // As another good file it may still lack its data files.
        const pristine = Buffer.compare(file.bytes, arena.bytes) === 0;
        const other = originals.some((original) => original.equals(arena.bytes));
        return attempt(facts, {
          ...base,
          file,
          pristine,
          mustRefuse: repair === 'none' && !other,
          twice: index % 8 === 0,
        });
      },
    }),
  };
}

/** Runs cases `from` to `to` and stops at the first failure; `onCase` hears of each before it runs. */
export async function runCases(
  campaign: Campaign,
  from: number,
  to: number,
  tally: Tally,
  onCase: (index: number) => void = () => {},
): Promise<Failure | null> {
  for (let index = from; index < to; index++) {
    onCase(index);
    const result = await campaign.run(index);
    if ('error' in result) return result;
    addOutcome(tally, result);
  }
  return null;
}

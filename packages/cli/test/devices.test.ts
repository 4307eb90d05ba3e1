// `duobit devices`, and the backend tfjs on the command line.
import { describe, expect, it } from 'vitest';
import { expectDocumented, PROMPT, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);

describe('duobit devices', () => {
  it('lists backends with the same fields each, documented, and the one that auto takes', async () => {
    const { code, json, stderr } = await runJson(['devices']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expectDocumented('devices', json);
    const devices = json.devices as Record<string, unknown>[];
    for (const device of devices)
      expect(Object.keys(device)).toEqual([
        'backend',
        'engine',
        'available',
        'reason',
        'name',
        'threads',
        'instruction_set',
        'features',
        'driver',
        'memory_bytes',
        'compute_capability',
      ]);
    expect(devices.find(({ backend }) => backend === json.auto)).toMatchObject({
      available: true,
      reason: null,
    });
    const run = await runJson(['run', container.path(), '-p', PROMPT, '-n', '1']);
    expect(run.json.backend).toBe(json.auto);
  });

  it('says it in a line each for people', async () => {
    const { code, stdout } = await runCli(['devices']);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    for (const line of lines.slice(0, -1))
      expect(line).toMatch(
        /^(cuda|webgpu|native|wasm|tfjs (tensorflow|webgpu|wasm|cpu)|reference) +(yes|no: .{10,})/,
      );
    expect(lines.at(-1)).toMatch(/^auto +(cuda|native|wasm)/);
  });
});

describe('a time limit', () => {
  it('that timers do not take is a usage error', async () => {
    for (const timeout of ['10000000', '0', '-1', 'Infinity'])
      expect((await runCli(['devices', `--timeout=${timeout}`])).stderr, timeout).toContain('0.1 to 86400');
  });
});

describe('duobit run --backend tfjs', () => {
  it('writes the text of the reference, 64 tokens', async () => {
    const argv = ['run', container.path(), '-p', PROMPT, '-n', '64', '--temperature', '0', '--backend'];
    const expected = await runJson([...argv, 'reference']);
    const found = await runJson([...argv, 'tfjs']);
    expect(found.json).toMatchObject({ backend: 'tfjs', kv: 'f32', tokens: 64 });
    expect(found.json.text).toBe(expected.json.text);
    const refused = await runJson([...argv, 'tfjs', '--kv', 'f16']);
    expect(refused.json.error).toMatchObject({ code: 'BACKEND_OPTION', where: 'kv' });
  }, 300_000);
});

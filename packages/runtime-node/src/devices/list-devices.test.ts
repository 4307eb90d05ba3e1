// What the list of devices says: all backends in order, a reason for each that is missing, 'auto' as it is really taken; and probes
// that crash, hang and say nothing.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BACKEND_NAMES, createBackend } from '../backends.ts';
import { absent, type Finding, present } from './entries.ts';
import { listDevices, probeApart, summarizeFindings } from './list-devices.ts';

const broken = new URL('./testing/broken-probe.mjs', import.meta.url);

describe('listDevices', () => {
  const { DUOBIT_NATIVE, DUOBIT_ISA } = process.env;
  afterEach(() => {
    for (const [name, value] of Object.entries({ DUOBIT_NATIVE, DUOBIT_ISA }))
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  });

  it.each(['as it is', 'off', 'asked for what there is not'])(
    'lists every backend, with native %s, and what auto really takes',
    async (native) => {
      if (native === 'off') process.env.DUOBIT_NATIVE = native;
      else if (native !== 'as it is') process.env.DUOBIT_ISA = 'sse9';
      const { auto, obstacle, devices } = await listDevices();
      const names = [...new Set(devices.map(({ backend }) => backend))];
      expect(names).toEqual(['cuda', 'webgpu', 'native', 'wasm', 'tfjs', 'reference']);
      expect([...names, 'auto'].sort()).toEqual([...BACKEND_NAMES].sort());
      expect(devices.flatMap(({ engine }) => engine ?? [])).toEqual(['tensorflow', 'webgpu', 'wasm', 'cpu']);
      for (const { backend, available, reason, engine } of devices) {
        expect(reason === null, `${backend} ${engine}`).toBe(available);
        if (reason !== null) expect(reason).toMatch(/^[^\n]{10,}$/);
      }
      const backend = await createBackend('auto', { onNotice: () => {} });
      expect(auto).toBe(backend.name);
      expect(obstacle === null).toBe(auto !== 'wasm');
      await backend.dispose();
      // What is there can be opened, and what is not says the same again.
      for (const device of devices) {
        const opened = createBackend(device.backend, { device: device.engine ?? undefined });
        if (device.available) await (await opened).dispose();
        else await expect(opened).rejects.toThrow(device.reason!);
      }
    },
  );
});

describe('a time limit', () => {
  it.each([Number.POSITIVE_INFINITY, Number.NaN, 0, -1, 2 ** 31, 'x'])(
    'that timers do not take is refused: %s',
    async (timeout) => {
      await expect(listDevices({ timeout: timeout as number })).rejects.toMatchObject({
        code: 'BACKEND_OPTION',
        where: 'timeout',
      });
    },
  );
});

describe('a probe that is broken', () => {
  it('costs a line when it crashes, and what it told before counts', async () => {
    const found = await probeApart(broken, 'tfjs', 20_000);
    const reasons = found.map(({ entry }) => [entry.engine, entry.available, entry.reason]);
    const crashed = 'its probe ended with SIGSEGV';
    expect(reasons).toEqual([
      ['cpu', true, null],
      ['wasm', false, crashed],
      ['webgpu', false, crashed],
      ['tensorflow', false, crashed],
    ]);
  });

  it('costs a line when it ends, says nothing, is not there, or hangs', async () => {
    const reasonOf = async (file: URL, group: 'cuda' | 'webgpu' | 'native', timeout: number) =>
      (await probeApart(file, group, timeout))[0]!.entry.reason;
    expect(await reasonOf(broken, 'webgpu', 20_000)).toBe('its probe ended with exit code 7');
    expect(await reasonOf(broken, 'native', 20_000)).toBe('its probe said nothing of it');
    expect(await reasonOf(new URL('./none.mjs', broken), 'native', 20_000)).toMatch('exit code 1');
    const started = performance.now();
    expect(await reasonOf(broken, 'cuda', 500)).toBe('its probe did not answer within 0.5 s');
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it('leaves auto to what is there', () => {
    const found = (cuda: boolean, native: boolean): Finding[] => [
      { entry: cuda ? present('cuda', null, {}) : absent('cuda', null, 'no GPU') },
      native
        ? {
            entry: present('native', null, {}),
            native: { available: true, path: 'x', instructionSets: ['avx2', 'scalar'] },
          }
        : { entry: absent('native', null, 'its probe ended with SIGILL') },
    ];
    expect(summarizeFindings(found(true, true)).auto).toBe('cuda');
    expect(summarizeFindings(found(false, true))).toMatchObject({ auto: 'native', obstacle: null });
    expect(summarizeFindings(found(false, false))).toMatchObject({
      auto: 'wasm',
      obstacle: expect.stringContaining('SIGILL'),
    });
    // Who has settings for a GPU is told that it is not used.
    vi.stubEnv('DUOBIT_CUDA', '/nowhere');
    expect(summarizeFindings(found(false, true))).toMatchObject({
      auto: 'native',
      obstacle: 'no GPU, using native',
    });
    vi.stubEnv('DUOBIT_CUDA', 'off');
    expect(summarizeFindings(found(false, true)).obstacle).toBeNull();
    vi.unstubAllEnvs();
  });
});

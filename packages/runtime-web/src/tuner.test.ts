// Which tuning an adapter gets: by the times that are measured, once, within a budget; and none of it where anything is amiss.
import { describe, expect, it } from 'vitest';
import type { WebGpuDevice } from './device.ts';
import { SHADERS_VERSION } from './generated/shaders.ts';
import { chooseTuning, listStages, type Stopwatch, type TuningStore, tuneDevice } from './tuner.ts';
import type { Tuning } from './tuning.ts';

const ADAPTER = { vendor: 'acme', architecture: 'a1', device: '', description: 'Acme A1' };

function deviceOf(adapter: object = {}, packedDot = true, subgroupSize = 32): WebGpuDevice {
  const variant = { packedDot, subgroups: subgroupSize > 1, f16: false };
  return { variant, subgroupSize, adapter: { ...ADAPTER, ...adapter } } as unknown as WebGpuDevice;
}

/** A clock that runs while something is measured. */
function stopwatchOf(timeOf: (tuning: Tuning) => number, cost = 1) {
  let time = 1000;
  const measured: Tuning[] = [];
  const stopwatch: Stopwatch = {
    now: () => time,
    measure: async (_subject, tuning) => {
      measured.push(tuning);
      time += cost;
      return timeOf(tuning);
    },
  };
  return { stopwatch, measured };
}

function storeOf(entries = new Map<string, string>()) {
  const store: TuningStore = {
    read: async (key) => entries.get(key) ?? null,
    write: async (key, value) => {
      entries.set(key, value);
    },
  };
  return { store, entries };
}

const DEFAULTS = { product: 'dot', streams: 2048, workgroup: 128, share: 256 };
const timeOf = ({ product, streams, workgroup, share }: Tuning) =>
  (product === 'bits' ? 8 : 10) +
  (streams === 0 ? 3 : 0) +
  (workgroup === 64 ? -0.1 : 0) +
  (share === 512 ? -4 : 0);

describe('chooseTuning', () => {
  it('takes the fastest of each stage, and what stands first where the others gain little', async () => {
    const { stopwatch, measured } = stopwatchOf(timeOf);
    const chosen = await chooseTuning(listStages(deviceOf()), stopwatch);
    expect(chosen).toEqual({ product: 'bits', streams: 2048, workgroup: 128, share: 512 });
    expect(measured).toHaveLength(2 + 2 + 3 + 4);
    expect(measured.at(-1)).toEqual({ ...chosen, share: 1024 });
  });

  it('ends when its time is over; a stage that was begun counts for nothing', async () => {
    const { stopwatch, measured } = stopwatchOf(timeOf, 40);
    // 5 measurements begin within 200 milliseconds: two stages, and the first choice of the third.
    expect(await chooseTuning(listStages(deviceOf()), stopwatch)).toEqual({ ...DEFAULTS, product: 'bits' });
    expect(measured).toHaveLength(5);
  });

  it('offers what the device has', () => {
    const offered = (open: WebGpuDevice) =>
      listStages(open).map(({ choices }) => Object.entries(choices[0]!)[0]);
    expect(offered(deviceOf())).toEqual(Object.entries(DEFAULTS));
    expect(offered(deviceOf({ vendor: 'nvidia' }))[0]).toEqual(['product', 'bits']);
    expect(offered(deviceOf({}, false, 1)).map((entry) => entry![0])).toEqual(['workgroup', 'share']);
  });
});

describe('tuneDevice', () => {
  it('measures an adapter once, and again when kernels, adapter or cache are others', async () => {
    const { store, entries } = storeOf();
    const first = stopwatchOf(timeOf);
    const tuning = await tuneDevice(deviceOf(), 'f16', store, first.stopwatch);
    expect(tuning.product).toBe('bits');
    expect([...entries.keys()][0]).toContain(SHADERS_VERSION);
    const second = stopwatchOf(() => 1);
    expect(await tuneDevice(deviceOf(), 'f16', store, second.stopwatch)).toEqual(tuning);
    expect(second.measured).toEqual([]);
    await tuneDevice(deviceOf({ description: 'Acme A2' }), 'f16', store, second.stopwatch);
    await tuneDevice(deviceOf(), 'int8', store, second.stopwatch);
    expect(entries.size).toBe(3);
  });

  it('measures again where what is kept is no choice', async () => {
    for (const text of [
      '{"product":',
      'null',
      '{}',
      '{"product":"dot","streams":7,"workgroup":128,"share":256}',
    ]) {
      const { store, entries } = storeOf();
      await tuneDevice(deviceOf(), 'f16', store, stopwatchOf(timeOf).stopwatch);
      entries.set([...entries.keys()][0]!, text);
      const { stopwatch, measured } = stopwatchOf(timeOf);
      await tuneDevice(deviceOf(), 'f16', store, stopwatch);
      expect(measured.length).toBeGreaterThan(0);
      expect(JSON.parse([...entries.values()][0]!).share).toBe(512);
    }
  });

  it('leaves the rules in force without a store, on software, and when measuring fails', async () => {
    const { store, entries } = storeOf();
    const { stopwatch, measured } = stopwatchOf(timeOf);
    const failing: Stopwatch = {
      now: () => 0,
      measure: async () => {
        throw new Error('the device was lost');
      },
    };
    expect(await tuneDevice(deviceOf(), 'f16', null, stopwatch)).toEqual({});
    for (const software of [{ isFallbackAdapter: true }, { architecture: 'swiftshader' }])
      expect(await tuneDevice(deviceOf(software), 'f16', store, stopwatch)).toEqual({});
    expect(await tuneDevice(deviceOf(), 'f16', store, failing)).toEqual({});
    expect([measured.length, entries.size]).toEqual([0, 0]);
  });

  it('chooses all the same where the store fails', async () => {
    const broken = async () => {
      throw new Error('quota');
    };
    const { stopwatch } = stopwatchOf(timeOf);
    const store = { read: broken, write: broken };
    expect((await tuneDevice(deviceOf(), 'f16', store, stopwatch)).share).toBe(512);
  });
});

// Finds out what a machine has by opening it, with the same functions and for the same reasons as whoever would run a model.
import type { Backend } from '@duobit/core';
import { createBackend } from '../backends.ts';
import { cudaSupport } from '../cuda/backend.ts';
import { nativeSupport } from '../native/backend.ts';
import type { TfjsDevice } from '../tfjs.ts';
import { createNodeWebGpuBackend } from '../webgpu/backend.ts';
import { absent, type DeviceEntry, type Finding, GROUPS, type Group, present } from './entries.ts';

/** Opens the backends of a group one after the other and closes each; never throws. */
export async function probeGroup(group: Group, tell: (finding: Finding) => void): Promise<void> {
  for (const [backend, engine] of GROUPS[group]) tell(await probe(backend, engine));
}

async function probe(backend: DeviceEntry['backend'], engine: TfjsDevice | null): Promise<Finding> {
  const native = backend === 'native' ? { native: nativeSupport() } : {};
  try {
    return { entry: await open(backend, engine), ...native };
  } catch (error) {
    return {
      entry: absent(backend, engine, error instanceof Error ? error.message : String(error)),
      ...native,
    };
  }
}

async function open(backend: DeviceEntry['backend'], engine: TfjsDevice | null): Promise<DeviceEntry> {
  switch (backend) {
    case 'cuda': {
      const support = cudaSupport();
      if (!support.available) return absent(backend, engine, support.reason);
      const { name, capability, driverVersion, memory } = support.facts;
      return present(backend, engine, {
        name,
        instructionSet: `sm_${capability}`,
        driver: `${Math.floor(driverVersion / 1000)}.${Math.floor((driverVersion % 1000) / 10)}`,
        memoryBytes: memory,
        computeCapability: (capability / 10).toFixed(1),
      });
    }
    case 'webgpu':
      return closing(await createNodeWebGpuBackend(), ({ device, instructionSet }) => {
        const { vendor, architecture, device: model, description } = device.adapter;
        const name = [vendor, architecture, description || model].filter(Boolean).join(' ');
        return present(backend, engine, {
          name: name || null,
          instructionSet: instructionSet ?? null,
          features: [...device.features].sort(),
        });
      });
    case 'native':
      return closing(await createBackend(backend), ({ threads, instructionSet }) => {
        const support = nativeSupport();
        return present(backend, engine, {
          threads,
          instructionSet: instructionSet ?? null,
          features: support.available ? support.instructionSets : [],
        });
      });
    case 'tfjs':
      return closing(await createBackend(backend, { device: engine ?? 'auto' }), ({ instructionSet }) =>
        present(backend, engine, { name: instructionSet ?? null }),
      );
    default:
      return closing(await createBackend(backend), ({ threads }) => present(backend, engine, { threads }));
  }
}

async function closing<T extends Backend>(
  backend: T,
  describe: (backend: T) => DeviceEntry,
): Promise<DeviceEntry> {
  try {
    return describe(backend);
  } finally {
    await backend.dispose();
  }
}

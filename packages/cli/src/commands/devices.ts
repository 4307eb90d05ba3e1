// `duobit devices`: which backends this machine has, why not the rest, and which one `--backend auto` takes.
import { type DeviceEntry, listDevices } from '@duobit/runtime-node';
import { type Command, Option } from 'commander';
import { type Context, emit } from '../context.ts';
import { addExamples, addJsonOption, decimal } from '../options.ts';
import { formatBytes, formatPairs, plural } from '../text.ts';

interface Options {
  readonly timeout: number;
  readonly json: boolean;
}

export function addDevicesCommand(program: Command, context: Context): void {
  const command = program
    .command('devices')
    .description('List the backends that this machine has, and why it does not have the rest.')
    .addOption(
      new Option('--timeout <seconds>', 'how long a backend may take to answer')
        .argParser(decimal(0.1, 86_400))
        .default(2.5),
    )
    .action((options: Options) => runDevices(context, options));
  addJsonOption(command);
  addExamples(command, 'duobit devices --timeout 20', 'duobit devices --json');
}

async function runDevices(context: Context, options: Options): Promise<void> {
  const { auto, obstacle, devices } = await listDevices({ timeout: options.timeout * 1000 });
  const result = {
    auto,
    obstacle,
    devices: devices.map((device) => ({
      backend: device.backend,
      engine: device.engine,
      available: device.available,
      reason: device.reason,
      name: device.name,
      threads: device.threads,
      instruction_set: device.instructionSet,
      features: device.features,
      driver: device.driver,
      memory_bytes: device.memoryBytes,
      compute_capability: device.computeCapability,
    })),
  };
  emit(context, options.json, result, () => {
    const lines = devices.map((device): [string, string] => [labelOf(device), describe(device)]);
    return formatPairs([...lines, ['auto', obstacle === null ? auto : `${auto} (${obstacle})`]]);
  });
}

function labelOf({ backend, engine }: DeviceEntry): string {
  return engine === null ? backend : `${backend} ${engine}`;
}

function describe(device: DeviceEntry): string {
  if (!device.available) return `no: ${device.reason}`;
  const { name, instructionSet, threads, driver, memoryBytes, computeCapability, features } = device;
  const facts = [
    name,
    memoryBytes === null ? null : formatBytes(memoryBytes),
    computeCapability === null ? instructionSet : `compute capability ${computeCapability}`,
    driver === null ? null : `driver for CUDA ${driver}`,
    threads === null ? null : plural(threads, 'thread'),
    device.backend === 'native' && features.length > 1 ? `could use ${features.join(', ')}` : null,
    device.backend === 'webgpu' && features.length > 0 ? `features ${features.join(' ')}` : null,
  ].filter((fact) => fact !== null);
  return ['yes', ...facts].join(', ').replace('yes, ', 'yes: ');
}

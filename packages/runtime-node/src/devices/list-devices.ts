// Lists the backends of this machine: which there are, why not the rest, and which one 'auto' would take. Drivers are opened in
// processes of their own, so that one that crashes or hangs costs a line in the list and nothing else.
import { fork } from 'node:child_process';
import { DuobitError } from '@duobit/format';
import { type AutomaticChoice, chooseAutomatic } from '../backends.ts';
import type { NativeSupport } from '../native/backend.ts';
import { absent, type DeviceEntry, type Finding, GROUPS, type Group } from './entries.ts';
import { probeGroup } from './probe.ts';

export type { DeviceEntry } from './entries.ts';

/** Options of `listDevices`. */
export interface ListDevicesOptions {
  /**
   * How long a probe may take, in milliseconds, before its backend counts as not available: more than 0, at most 2^31 - 1. Default 2500.
   */
  readonly timeout?: number | undefined;
}

/** The backends that a machine has, and why not the rest. */
export interface DeviceList {
  /** What `createBackend('auto')` would take. */
  readonly auto: AutomaticChoice['backend'];
  /** Why `auto` is 'wasm'; null otherwise. */
  readonly obstacle: string | null;
  /** Every backend, and 'tfjs' once for each backend of TensorFlow.js; always all of them, in the same order. */
  readonly devices: readonly DeviceEntry[];
}

/**
 * Opens every backend for a moment and says what it found; what is not available has its reason. Takes little longer than the
 * timeout at most, leaves nothing open, and never throws for what a backend does. From sources that have not been built probes run
 * in this process, one after the other and without a time limit.
 * @throws DuobitError `BACKEND_OPTION` for a timeout that is none
 */
export async function listDevices(options: ListDevicesOptions = {}): Promise<DeviceList> {
  const { timeout = 2500 } = options;
  if (!(timeout > 0 && timeout <= LONGEST_TIMEOUT))
    throw new DuobitError(
      'BACKEND_OPTION',
      `timeout is ${timeout}; it must be more than 0 and at most ${LONGEST_TIMEOUT}`,
      { where: 'timeout', remedy: 'Choose a number of milliseconds' },
    );
  const findings: Finding[] = [];
  const isBuilt = !import.meta.url.endsWith('.ts');
  const groups = (Object.keys(GROUPS) as Group[]).filter((group) => group !== 'here' || !isBuilt);
  const tell = (finding: Finding): unknown => findings.push(finding);
  if (isBuilt) {
    const file = new URL('./device-probe.js', import.meta.url);
    const apart = groups.map((group) => probeApart(file, group, timeout));
    await probeGroup('here', tell);
    findings.push(...(await Promise.all(apart)).flat());
  } else for (const group of groups) await probeGroup(group, tell);
  return summarizeFindings(findings);
}

/** What timers take: longer ones end at once. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;

/** In the order in which they are listed. */
const ORDER = ['cuda', 'webgpu', 'native', 'wasm', 'tfjs', 'reference'];
const ENGINES = ['tensorflow', 'webgpu', 'wasm', 'cpu'];

export function summarizeFindings(findings: readonly Finding[]): DeviceList {
  const devices = findings
    .map(({ entry }) => entry)
    .sort(
      (a, b) =>
        ORDER.indexOf(a.backend) - ORDER.indexOf(b.backend) ||
        ENGINES.indexOf(a.engine ?? '') - ENGINES.indexOf(b.engine ?? ''),
    );
  const find = (backend: string): Finding => findings.find(({ entry }) => entry.backend === backend)!;
  // Where the probe of the addon did not come to an end, or could not open it, its entry says more than what the addon can do.
  const { native, entry } = find('native');
  const support: NativeSupport =
    entry.available && native ? native : { available: false, reason: entry.reason ?? 'not probed' };
  const { backend, obstacle } = chooseAutomatic(
    () => find('cuda').entry,
    () => support,
  );
  return { auto: backend, obstacle, devices };
}

/** Runs the probe of a group in a process of its own. Never throws: what it did not tell is not available. */
export async function probeApart(file: URL, group: Group, timeout: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  const ending = await new Promise<string>((resolve) => {
    const child = fork(file, [group], { stdio: 'ignore', execArgv: [] });
    // Runs on when all was told: a driver may hang in the end, too.
    const timer = setTimeout(() => {
      resolve(`its probe did not answer within ${timeout / 1000} s`);
      child.kill('SIGKILL');
    }, timeout);
    const end = (how: string): void => {
      clearTimeout(timer);
      resolve(how);
    };
    child.on('message', (message: Finding | 'done') => {
      if (message === 'done') resolve('its probe said nothing of it');
      else findings.push(message);
    });
    child.on('error', (error) => end(`its probe did not start: ${error.message}`));
    child.on('exit', (code, signal) => {
      const how = `its probe ended with ${signal ?? `exit code ${code}`}`;
      // What it has told may still be on its way.
      if (child.connected) child.on('disconnect', () => end(how));
      else end(how);
    });
  });
  for (const [backend, engine] of GROUPS[group])
    if (!findings.some(({ entry }) => entry.backend === backend && entry.engine === engine))
      findings.push({ entry: absent(backend, engine, ending) });
  return findings;
}

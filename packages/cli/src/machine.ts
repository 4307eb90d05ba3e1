// What a measurement was made on, printed beside every figure, and the memory that it took.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly platform: string;
  readonly arch: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown CPU',
    cores: availableParallelism(),
    platform: process.platform,
    arch: process.arch,
    node: process.version,
  };
}

export function formatMachine(machine: Machine): string {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.platform} ${machine.arch}, Node ${machine.node}`;
}

/** The most memory that this process has had resident, in bytes. */
export function readPeakRss(): number {
  // What getrusage counts begins at the size that the parent had when it started this process; VmHWM of proc(5) is its own.
  if (process.platform === 'linux') {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]) * 1024;
  }
  // In KiB on every platform that Node runs on.
  return process.resourceUsage().maxRSS * 1024;
}

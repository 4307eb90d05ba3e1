// The most memory that a process has had resident.
import { readFileSync } from 'node:fs';

/**
 * Bytes, by VmHWM of proc(5) where there is one: what getrusage counts begins, in a child, at its parent's size when it was started.
 * @param id of the process, this one by default; of others on Linux alone
 */
export function readPeakRss(id = 'self') {
  // Kibibytes, as everywhere that Node runs on.
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'));
  // A process that has ended and was not waited for has none.
  return Number(peak?.[1] ?? 0) * 1024;
}

// What `listDevices` starts as a process of its own: probes one group, sends what it finds, ends. Whatever a driver keeps open or
// brings down goes with it.
import { GROUPS, type Group } from './entries.ts';
import { probeGroup } from './probe.ts';

const group = process.argv[2] as Group;
if (process.send && group in GROUPS) {
  await probeGroup(group, (finding) => process.send!(finding));
  // Sent in order: when this has gone, all have.
  process.send('done', () => process.exit(0));
}

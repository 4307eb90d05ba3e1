// Stands in for a probe whose driver is broken, in the way that the group is named for here.
const [group] = process.argv.slice(2);
const entry = { backend: 'tfjs', engine: 'cpu', available: true, reason: null };
if (group === 'tfjs') {
  // Tells of one backend, and the next brings it down.
  process.send({ entry }, () => process.kill(process.pid, 'SIGSEGV'));
} else if (group === 'cuda') {
  for (;;);
} else if (group === 'webgpu') {
  process.exit(7);
} else {
  // Says that it is through, and stays.
  process.send('done');
  setInterval(() => {}, 1000);
}

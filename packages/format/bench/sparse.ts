// What opening a container of 6 GiB costs, and reading its last tensor: as a file, and over HTTP from this machine.
// Its data are holes, so nothing but the header and that tensor is on the disk.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ByteSource, createHttpSource, decodeTensor, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { serveSource } from '../test/http-server.ts';
import { writeSparseModel } from '../test/sparse.ts';

const REPEATS = 5;
const LAST = 'model.norm.weight';

async function measure(
  name: string,
  lastValues: Float32Array,
  createSource: () => Promise<ByteSource>,
): Promise<void> {
  const times: { open: number; read: number }[] = [];
  for (let i = 0; i < REPEATS; i++) {
    const started = performance.now();
    const container = await openContainer(await createSource());
    const opened = performance.now();
    const values = decodeTensor(await container.readTensor(LAST));
    const read = performance.now();
    if (values.length !== lastValues.length || !values.every((value, k) => value === lastValues[k])) {
      throw new Error(`${name}: the last tensor is not what was written`);
    }
    await container.close();
    times.push({ open: opened - started, read: read - opened });
  }
  const show = ({ open, read }: { open: number; read: number }) =>
    `${open.toFixed(1)} + ${read.toFixed(1)} ms`;
  const slowest = times.reduce((a, b) => (b.open > a.open ? b : a));
  console.log(
    `${name}: open + last tensor, first ${show(times[0]!)}, slowest ${show(slowest)} of ${REPEATS}`,
  );
}

const folder = mkdtempSync(join(tmpdir(), 'duobit-sparse-'));
const path = join(folder, 'sparse.duo');
try {
  const { fileLength, lastValues } = await writeSparseModel(path, { gibibytes: 6 });
  console.log(`${fileLength} bytes, Node ${process.version}, ${cpus()[0]?.model}`);
  await measure('file', lastValues, () => createFileSource(path));
  const server = await serveSource(await createFileSource(path));
  await measure('http', lastValues, () => createHttpSource(server.url));
  await server.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

// Where the compiled kernels are: machine code for the GPU at hand if it was built, else PTX, which the driver compiles.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export interface KernelImage {
  /** The file's name. */
  readonly name: string;
  /** What it was compiled for: 80, 86, 89 or 90. */
  readonly architecture: number;
  /** Ends with a zero byte, as the driver wants of text. */
  readonly read: () => Uint8Array;
}

/** From src/cuda the package lies two folders up, from dist one; in a bundle the kernels lie beside it. */
const FOLDERS = ['../../kernels', '../kernels', './kernels'].map((folder) =>
  fileURLToPath(new URL(`${folder}/`, import.meta.url)),
);

/**
 * @param capability 90 for compute capability 9.0
 * @param folders where to look, in this order
 */
export function listKernelImages(capability: number, folders: readonly string[] = FOLDERS): KernelImage[] {
  // Machine code runs on its own architecture and those of the same major version that came later.
  const family = [90, 89, 86, 80].filter(
    (built) => built <= capability && Math.floor(built / 10) === Math.floor(capability / 10),
  );
  // PTX runs on the architecture it is for and all later ones. What is for 9.0 has twice as many weights under way, for which GPUs of 12.x
  // have too little shared memory: 99 KiB, as those of 8.6 and 8.9.
  const texts = capability >= 120 ? [80] : [90, 80].filter((built) => built <= capability);
  const images = [
    ...family.map((built) => ({ architecture: built, name: `build/sm_${built}.cubin` })),
    ...texts.map((built) => ({ architecture: built, name: `generated/kernels_${built}.ptx.gz` })),
  ];
  return images.flatMap((image) =>
    folders
      .map((folder) => folder + image.name)
      .filter((path, i) => existsSync(path) && (path.endsWith('.gz') || isCurrent(folders[i]!)))
      .slice(0, 1)
      .map((path) => ({ ...image, read: () => readImage(path) })),
  );
}

/**
 * Whether machine code is of the sources that the PTX is of: it is not committed, and what was built before a change would be given
 * arguments that it does not know. Beside it lies the first line of its PTX.
 */
function isCurrent(folder: string): boolean {
  const [beside, text] = [`${folder}build/sources`, `${folder}generated/kernels_90.ptx.gz`];
  if (!existsSync(beside) || !existsSync(text)) return false;
  const ptx = gunzipSync(readFileSync(text)).toString('utf8');
  return ptx.split('\n', 1)[0] === readFileSync(beside, 'utf8').trim();
}

function readImage(path: string): Uint8Array {
  const bytes = readFileSync(path);
  return Buffer.concat([path.endsWith('.gz') ? gunzipSync(bytes) : bytes, Buffer.alloc(1)]);
}

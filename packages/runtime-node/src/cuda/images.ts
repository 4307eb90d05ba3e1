// Where the compiled kernels are: machine code for the GPU at hand if it was built, else PTX, which the driver compiles.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export interface KernelImage {
  /** The file's name. */
  readonly name: string;
  /** Ends with a zero byte, as the driver wants of text. */
  readonly read: () => Uint8Array;
}

/** From src/cuda the package lies two folders up, from dist one; in a bundle the kernels lie beside it. */
const FOLDERS = ['../../kernels', '../kernels', './kernels'].map((folder) =>
  fileURLToPath(new URL(`${folder}/`, import.meta.url)),
);

/** @param capability 90 for compute capability 9.0 */
export function listKernelImages(capability: number): KernelImage[] {
  // Machine code runs on its own architecture and those of the same major version that came later.
  const family = [90, 89, 86, 80].filter(
    (built) => built <= capability && Math.floor(built / 10) === Math.floor(capability / 10),
  );
  // PTX runs on the architecture it is for and all later ones.
  const texts = [90, 80].filter((built) => built <= capability);
  const names = [
    ...family.map((built) => `build/sm_${built}.cubin`),
    ...texts.map((built) => `generated/kernels_${built}.ptx.gz`),
  ];
  return names.flatMap((name) =>
    FOLDERS.map((folder) => folder + name)
      .filter((path) => existsSync(path))
      .slice(0, 1)
      .map((path) => ({ name, read: () => readImage(path) })),
  );
}

function readImage(path: string): Uint8Array {
  const bytes = readFileSync(path);
  return Buffer.concat([path.endsWith('.gz') ? gunzipSync(bytes) : bytes, Buffer.alloc(1)]);
}

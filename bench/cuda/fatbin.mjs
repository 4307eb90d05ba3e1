// Machine code inside a shared library that CUDA's compiler linked (section .nv_fatbin): containers of entries, each for one architecture, of
// which the driver takes the one that fits the device. The layout is described by readers of such files, not by NVIDIA; it is
// checked here as far as it is used.

const CONTAINER = 0xba55ed50;
const PTX = 1;
const MACHINE_CODE = 2;

/**
 * Fills with zeros all entries but the machine code of one architecture. Their headers stay, and the library as long as it was: it only
 * compresses better, and runs on that architecture alone.
 * @param library the bytes of a 64-bit ELF file; changed in place
 * @param architecture as 90 for sm_90
 * @returns how many entries were kept
 */
export function keepArchitecture(library, architecture) {
  const { offset, size } = findSection(library, '.nv_fatbin');
  const end = offset + size;
  let kept = 0;
  for (let at = offset; at + 16 <= end; ) {
    // Containers are aligned, with zeros between.
    if (library.readUInt32LE(at) !== CONTAINER) {
      at += 8;
      continue;
    }
    const next = at + library.readUInt16LE(at + 6) + Number(library.readBigUInt64LE(at + 8));
    at += library.readUInt16LE(at + 6);
    while (at < next) {
      const kind = library.readUInt16LE(at);
      const headerBytes = library.readUInt32LE(at + 4);
      const target = library.readUInt32LE(at + 28);
      const payload = at + headerBytes;
      at = payload + Number(library.readBigUInt64LE(at + 8));
      if ((kind !== PTX && kind !== MACHINE_CODE) || headerBytes < 32 || at > next)
        throw new Error('the entries of .nv_fatbin are not where they are expected');
      if (kind === MACHINE_CODE && target === architecture) kept++;
      else library.fill(0, payload, at);
    }
  }
  return kept;
}

function findSection(library, name) {
  const table = Number(library.readBigUInt64LE(0x28));
  const bytes = library.readUInt16LE(0x3a);
  const header = (index) => {
    const at = table + index * bytes;
    return {
      name: library.readUInt32LE(at),
      offset: Number(library.readBigUInt64LE(at + 24)),
      size: Number(library.readBigUInt64LE(at + 32)),
    };
  };
  const names = header(library.readUInt16LE(0x3e)).offset;
  for (let index = 0; index < library.readUInt16LE(0x3c); index++) {
    const section = header(index);
    const start = names + section.name;
    if (library.toString('latin1', start, library.indexOf(0, start)) === name) return section;
  }
  throw new Error(`the library has no section ${name}`);
}

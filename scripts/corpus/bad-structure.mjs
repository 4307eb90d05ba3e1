// Broken bytes: the preamble and the structure of the header (steps 1 to 3 of validation).
import { locate } from './header.mjs';

const fault = (name, covers, code, how) => ({ folder: 'malformed', name, covers, code, ...how });
const future = (name, covers, code, how) => ({ folder: 'future', name, covers, code, ...how });

/** Validation stops before it looks at anything behind the preamble, so little is kept of the file. */
const alone = (change) => ({
  bytes: change,
  raw: (file) => file.slice(0, 256),
});

const PREAMBLE = [
  fault('file-too-short', 'PRE-1', 'FILE_TOO_SHORT', { raw: (file) => file.slice(0, 127) }),
  fault(
    'identifier',
    'PRE-2',
    'CONTAINER_MAGIC',
    alone((_, file) => file.set([0x44, 0x55, 0x4f, 0x32], 4)),
  ),
  fault(
    'magic-text-mode',
    'PRE-2',
    'CONTAINER_MAGIC',
    alone((_, file) => file.set([0x0a, 0x1a, 0x0a, 0], 12)),
  ),
  fault('reserved', 'PRE-13', 'PREAMBLE_RESERVED', { bytes: (_, file) => file.set([1], 127) }),
  fault(
    'header-length-128',
    'PRE-5',
    'HEADER_LENGTH',
    alone((view) => view.setUint32(20, 128, true)),
  ),
  fault(
    'header-length-16-mib',
    'PRE-5',
    'HEADER_LENGTH',
    alone((view) => view.setUint32(20, 2 ** 24 + 1, true)),
  ),
  fault('header-beyond-file', 'PRE-6', 'FILE_TRUNCATED', { raw: (file) => file.slice(0, 1024) }),
  fault('segment-base', 'PRE-7 LAY-2', 'SEGMENT_BASE', {
    bytes: (view) => view.setBigUint64(24, 32_768n, true),
  }),
  fault('truncated', 'PRE-8', 'FILE_TRUNCATED', { raw: (file) => file.slice(0, -1) }),
  fault('file-length-2-64', 'PRE-8 GEN-2', 'FILE_TRUNCATED', {
    bytes: (view) => view.setBigUint64(32, 2n ** 64n - 1n, true),
  }),
  fault('trailing-byte', 'PRE-9', 'FILE_TRAILING', { raw: (file) => new Uint8Array([...file, 0]) }),
  fault('header-padding', 'LAY-3', 'PADDING_NONZERO', { raw: (file) => file.with(16_383, 1) }),
  fault('header-hash', 'PRE-12 INT-1', 'HEADER_HASH', {
    raw: (file) => file.with(locate(file, ['provenance', 'recipe']).target + 4, 0x5b),
  }),
  future(
    'major-version',
    'PRE-3 EVO-6',
    'VERSION_UNSUPPORTED',
    alone((view) => view.setUint16(16, 2, true)),
  ),
  future(
    'incompatible-feature',
    'PRE-10 EVO-5',
    'FEATURE_UNSUPPORTED',
    alone((view) => view.setBigUint64(40, 4n, true)),
  ),
];

/** Sets the u32 that leads to `path` so that it leads to `place(target, header length)`. */
const redirect = (path, place) => ({
  bytes: (view, file) => {
    const { field, target } = locate(file, path);
    view.setUint32(field, (place(target, view.getUint32(20, true)) - field) >>> 0, true);
  },
});
/** Changes the vtable of the table at `path`. */
const vtable = (path, change) => ({
  bytes: (view, file) => {
    const place = locate(file, path);
    change(view, place.vtable, place.table);
  },
});

const STRUCTURE = [
  fault('root-zero', 'STR-13 STR-20', 'HEADER_OFFSET', { bytes: (view) => view.setUint32(0, 0, true) }),
  fault('vtable-in-preamble', 'STR-4', 'HEADER_VTABLE', {
    bytes: (view, file) => {
      const { table } = locate(file, []);
      view.setInt32(table, table - 8, true);
    },
  }),
  fault('vtable-odd-place', 'STR-4', 'HEADER_VTABLE', {
    bytes: (view, file) => {
      const { table } = locate(file, ['architecture']);
      view.setInt32(table, view.getInt32(table, true) - 1, true);
    },
  }),
  fault(
    'vtable-long',
    'STR-5',
    'HEADER_VTABLE',
    vtable([], (view, at) => view.setUint16(at, 65_534, true)),
  ),
  fault(
    'vtable-odd-length',
    'STR-5',
    'HEADER_VTABLE',
    vtable([], (view, at) => view.setUint16(at, 17, true)),
  ),
  fault(
    'table-short',
    'STR-6',
    'HEADER_VTABLE',
    vtable([], (view, at) => view.setUint16(at + 2, 3, true)),
  ),
  fault(
    'table-beyond',
    'STR-6',
    'HEADER_VTABLE',
    vtable([], (view, at) => view.setUint16(at + 2, 65_535, true)),
  ),
  fault('required-absent', 'STR-8', 'HEADER_REQUIRED', {
    bytes: (view, file) => view.setUint16(locate(file, ['tensors']).slot, 0, true),
  }),
  fault('unknown-field', 'STR-9 EVO-8', 'HEADER_UNKNOWN_FIELD', {
    what: { provenance: { unknownFields: [[5, 1]] } },
  }),
  fault('field-outside-table', 'STR-11', 'HEADER_OFFSET', {
    bytes: (view, file) => {
      const { slot, vtable: at } = locate(file, ['architecture', 'family']);
      view.setUint16(slot, view.getUint16(at + 2, true), true);
    },
  }),
  fault('field-unaligned', 'STR-11', 'HEADER_OFFSET', {
    bytes: (view, file) => {
      const { slot } = locate(file, ['architecture', 'hidden_size']);
      view.setUint16(slot, view.getUint16(slot, true) - 2, true);
    },
  }),
  fault('bool-two', 'STR-12', 'HEADER_VALUE', {
    bytes: (_, file) => file.set([2], locate(file, ['architecture', 'tied_head']).field),
  }),
  fault(
    'offset-into-preamble',
    'STR-13',
    'HEADER_OFFSET',
    redirect(['provenance'], () => 8),
  ),
  fault(
    'offset-into-segment',
    'STR-2 STR-13',
    'HEADER_OFFSET',
    redirect(['provenance'], () => 16_384),
  ),
  fault(
    'offset-unaligned',
    'STR-13',
    'HEADER_OFFSET',
    redirect(['provenance'], (target) => target + 2),
  ),
  fault('vector-long', 'STR-14 VAL-4', 'HEADER_VECTOR', {
    bytes: (view, file) => view.setUint32(locate(file, ['tensors']).target, 2 ** 32 - 1, true),
  }),
  fault('vector-unaligned', 'STR-14', 'HEADER_VECTOR', {
    what: { tensors: [{ name: 'x', shape: [1, 1], encoding: 'f32' }] },
    ...redirect(['tensors', 11, 'shape'], (target) => target + 4),
  }),
  fault('string-without-zero', 'STR-17', 'HEADER_STRING', {
    bytes: (view, file) => {
      const { target } = locate(file, ['tensors', 0, 'name']);
      view.setUint32(target, view.getUint32(target, true) - 1, true);
    },
  }),
  fault('string-not-utf-8', 'STR-19', 'HEADER_STRING', {
    what: { metadata: { a: 'abc' } },
    // A surrogate, which UTF-8 does not have.
    bytes: (_, file) => file.set([0xed, 0xa0, 0x80], locate(file, ['metadata', 0, 'value']).target + 4),
  }),
  fault('work-budget', 'STR-7 STR-15 SEC-1', 'HEADER_BUDGET', {
    what: {
      metadata: Object.fromEntries(
        Array.from({ length: 100 }, (_, i) => [`k${i}`, i === 0 ? 'x'.repeat(2000) : '']),
      ),
    },
    // All hundred pairs become the one that is long: 200 kB to look at in a header of 8 kB.
    bytes: (view, file) => {
      const { target } = locate(file, ['metadata', 0]);
      for (let i = 1; i < 100; i++) {
        const { field } = locate(file, ['metadata', i]);
        view.setUint32(field, target - field, true);
      }
    },
  }),
];

export const listStructureFaults = () => [...PREAMBLE, ...STRUCTURE];

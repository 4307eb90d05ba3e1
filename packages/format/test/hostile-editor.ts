// Edits to a good header that no encoder would make, with the header hash made right again.
import { LIMITS } from '@duobit/format';
import { ByteBuffer } from 'flatbuffers';
import { Model } from '../src/generated/duobit/model.ts';
import { alignUp } from '../src/preamble.ts';
import { forgeHeader, type MutableContent, rehashHeader } from './forge.ts';
import type { Sample } from './sample.ts';

export interface HostileHeader {
  readonly name: string;
  /** The code that opening it gives. */
  readonly code: string;
  readonly make: (sample: Sample) => Promise<Uint8Array<ArrayBuffer>>;
}

/** A generated accessor, or anything else that knows where its table is. */
export interface Table {
  readonly bb: ByteBuffer | null;
  readonly bb_pos: number;
}

/** The sample's header, with room behind it, open to every edit. */
export class HeaderEditor {
  readonly view: DataView;
  readonly model: Model;
  /** Where the room begins, a multiple of 8. */
  readonly room: number;
  /** The next byte of the room that is free. */
  #end: number;

  constructor(bytes: Uint8Array<ArrayBuffer>, room: number) {
    this.view = new DataView(bytes.buffer);
    this.model = Model.getRootAsModel(new ByteBuffer(bytes));
    this.room = room;
    this.#end = room;
  }

  /** Takes bytes of the room; the result is a multiple of 8. */
  take(bytes: number): number {
    const at = this.#end;
    this.#end = alignUp(at + bytes, 8);
    return at;
  }

  /** Where a field of a table is. */
  field(table: Table, id: number): number {
    const offset = table.bb!.__offset(table.bb_pos, 4 + 2 * id);
    if (offset === 0) throw new Error(`field ${id} is absent`);
    return table.bb_pos + offset;
  }

  /** What an offset field points at. */
  target(table: Table, id: number): number {
    const field = this.field(table, id);
    return field + this.view.getUint32(field, true);
  }

  point(from: number, to: number): void {
    this.view.setUint32(from, to - from, true);
  }

  /** Writes a vector of offsets that all lead to one place, which may be `null` for the vector's own end. */
  repeatOffset(count: number, target: number | null): number {
    const vector = this.take(4 + 4 * count);
    const to = target ?? alignUp(vector + 4 + 4 * count, 8);
    this.view.setUint32(vector, count, true);
    for (let at = vector + 4; at < vector + 4 + 4 * count; at += 4) this.point(at, to);
    return vector;
  }

  vtableOf(table: number): number {
    return table - this.view.getInt32(table, true);
  }
}

/** A header edited byte by byte, with `room` bytes more. */
export function edited(
  code: string,
  name: string,
  edit: (editor: HeaderEditor) => void,
  room = 0,
): HostileHeader {
  return {
    code,
    name,
    async make({ bytes, summary }) {
      const start = alignUp(summary.headerLength, 8);
      const oldBase = alignUp(summary.headerLength, LIMITS.segmentAlignment);
      const base = alignUp(start + room, LIMITS.segmentAlignment);
      const grown = new Uint8Array(base + bytes.length - oldBase);
      grown.set(bytes.subarray(0, summary.headerLength));
      grown.set(bytes.subarray(oldBase), base);
      const editor = new HeaderEditor(grown, start);
      editor.view.setUint32(20, start + room, true);
      editor.view.setBigUint64(24, BigInt(base), true);
      editor.view.setBigUint64(32, BigInt(grown.length), true);
      edit(editor);
      return rehashHeader(grown);
    },
  };
}

/** A header encoded anew from changed content. */
export function forged(code: string, name: string, change: (content: MutableContent) => void): HostileHeader {
  return { code, name, make: ({ bytes }) => forgeHeader(bytes, change) };
}

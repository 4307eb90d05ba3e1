// What the host writes into linear memory before a run: the plan as a table of phases and steps, and the request. The host's
// side is src/backends/wasm/table.ts; fields there are named and ordered as here.

/** Row-by-row kinds come first, then products, then the others. */
export namespace Kind {
  export const EmbedF32: u32 = 0;
  export const EmbedInt8: u32 = 1;
  export const EmbedInt4: u32 = 2;
  export const RmsNorm: u32 = 3;
  export const Quantize: u32 = 4;
  export const RoundRows: u32 = 5;
  export const Rope: u32 = 6;
  export const CacheRows: u32 = 7;
  export const SiluMul: u32 = 8;
  export const Decode: u32 = 9;
  export const Rotate: u32 = 10;
  export const TakeColumns: u32 = 11;
  export const Add: u32 = 12;
  export const W11: u32 = 13;
  export const Dense: u32 = 14;
  export const Int8: u32 = 15;
  export const Int4: u32 = 16;
  export const Attention: u32 = 17;
  export const Gram: u32 = 18;
}

/** One operation. Strides and sizes in bytes where the kernel takes bytes; unused fields are 0. */
@unmanaged export class Step {
  kind: u32;
  /** 1 where only the rows that the run asks logits for take part. */
  logits: u32;
  /** Units of the work that threads share out (tiles of a product, strips of sums), and where they begin in the phase. */
  units: u32;
  base: u32;
  input: usize;
  inputStride: u32;
  second: usize;
  secondStride: u32;
  third: usize;
  thirdStride: u32;
  out: usize;
  outStride: u32;
  weight: usize;
  scales: usize;
  params: usize;
  sums: usize;
  sumStride: u32;
  width: u32;
  outputs: u32;
  groupSize: u32;
  groups: u32;
  unitsPerGroup: u32;
  lastUnits: u32;
  headCount: u32;
  kvHeadCount: u32;
  headSize: u32;
  size: u32;
  capacity: u32;
  window: u32;
  x: f32;
  y: f32;
  spare: u32;
}

/** Steps of which none reads what another thread wrote in the same phase. 128 bytes. */
@unmanaged export class Phase {
  first: usize;
  end: usize;
  /** Units of all its steps. */
  total: u32;
  spare0: u32;
  spare1: u64;
  spare2: u64;
  spare3: u64;
  spare4: u64;
  spare5: u64;
  spare6: u64;
  /** The next unit to be taken and the number of those done, each with the number of its run: pool.ts. */
  next: u64;
  done: u64;
  spare7: u64;
  spare8: u64;
  spare9: u64;
  spare10: u64;
  spare11: u64;
  spare12: u64;
}

/** Whose row it is, and where it comes in that sequence. */
@unmanaged export class Place {
  sequence: u32;
  position: u32;
}

/** Neighbouring rows. */
@unmanaged export class RowRange {
  first: u32;
  count: u32;
}

/** At address 64. Lines that several threads write are 64 bytes apart. */
@unmanaged export class Control {
  phases: usize;
  phaseCount: u32;
  threads: u32;
  /** Scratch of thread t begins at scratch + t * scratchStride. */
  scratch: usize;
  scratchStride: u32;
  /** Of the run: rows, parts (each of another sequence), ranges of rows that logits are wanted of. */
  rows: u32;
  partCount: u32;
  wantedCount: u32;
  /** 1 when helpers are to leave. */
  leaving: u32;
  spare0: u32;
  runs: u64;
  /** Tables of the run: Place of each row, RowRange of each part and of rows wanted. They change from run to run, so only threads look that hold a unit. */
  places: usize;
  parts: usize;
  wanted: usize;
  spare1: u32;
  /** Even while a run is open to helpers; goes up by one when a run opens and when it closes. */
  turn: u32;
  turnSleepers: u32;
  spare2: u64;
  spare3: u64;
  spare4: u64;
  spare5: u64;
  spare6: u64;
  spare7: u64;
  spare8: u64;
  /** Goes up when the last unit of a phase is done. */
  ended: u32;
  endedSleepers: u32;
}

export const CONTROL: usize = 64;
export const STEP_BYTES: usize = 128;
export const ENTRY_BYTES: usize = 8;
export const PHASE_BYTES: usize = 128;

// How threads share a run: units of a phase are taken one at a time by whoever is free. Threads other than the caller's come
// and go as the system schedules them: a run is complete when its work is, whoever did it, and never waits for a thread
// that holds none of it. Waiting is spinning first, since phases last microseconds, then sleeping, which the host does.
import { CONTROL, Control, Phase } from './layout';

/** Returns when the word at `address` may differ from `seen`; 0 when that took longer than a lost thread would explain. */
@external("env", "wait")
declare function hostWait(address: usize, seen: u32): u32;

/** About 30 microseconds on a machine of 2023. */
const SPINS: u32 = 10000;
const UNIT_BITS: u64 = 24;
const UNITS: u64 = (1 << UNIT_BITS) - 1;

@inline export function control(): Control {
  return changetype<Control>(CONTROL);
}

/** The word at `signal` goes up by one; those who sleep on it wake. The word behind it counts them. */
@inline export function advance(signal: usize): void {
  atomic.add<u32>(signal, 1);
  if (atomic.load<u32>(signal, 4) != 0) atomic.notify(signal, -1);
}

/** Returns once the word at `signal` differs from `seen`; false when it never did, which is a thread that died. */
export function waitFor(signal: usize, seen: u32): bool {
  for (let i: u32 = 0; i < SPINS; ++i) {
    if (atomic.load<u32>(signal) != seen) return true;
  }
  let alive = true;
  atomic.add<u32>(signal + 4, 1);
  // The host looks at the word again, so a change between here and there wakes at once.
  while (alive && atomic.load<u32>(signal) == seen) alive = hostWait(signal, seen) != 0;
  atomic.sub<u32>(signal + 4, 1);
  return alive;
}

/** The next unit below `count`, -1 when there is none, -2 when a later run has begun. */
export function claim(phase: Phase, run: u64, count: u32): i32 {
  const next = changetype<usize>(phase) + offsetof<Phase>('next');
  let word = atomic.load<u64>(next);
  while (true) {
    if (word >> UNIT_BITS > run) return -2;
    const unit = word >> UNIT_BITS == run ? word & UNITS : 0;
    if (unit >= <u64>count) return -1;
    const found = atomic.cmpxchg<u64>(next, word, (run << UNIT_BITS) | (unit + 1));
    if (found == word) return <i32>unit;
    word = found;
  }
}

/** Marks a unit as done; true for the last one. */
export function finishUnit(phase: Phase, run: u64, count: u32): bool {
  const done = changetype<usize>(phase) + offsetof<Phase>('done');
  let word = atomic.load<u64>(done);
  while (true) {
    const units = (word >> UNIT_BITS == run ? word & UNITS : 0) + 1;
    const found = atomic.cmpxchg<u64>(done, word, (run << UNIT_BITS) | units);
    if (found == word) return units == <u64>count;
    word = found;
  }
}

/** 1 when all units are done, 0 when not, -2 when a later run has begun. */
export function isDone(phase: Phase, run: u64, count: u32): i32 {
  const word = atomic.load<u64>(changetype<usize>(phase) + offsetof<Phase>('done'));
  if (word >> UNIT_BITS > run) return -2;
  return count == 0 || (word >> UNIT_BITS == run && (word & UNITS) >= <u64>count) ? 1 : 0;
}

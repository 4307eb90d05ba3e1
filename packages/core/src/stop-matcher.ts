// Finds stop strings in streamed text, across the pieces it comes in. Text that may be the beginning of a stop string is
// held back until it is known not to be.

export interface StopMatcher {
  /** Whether a stop string was found; nothing more comes out then. */
  readonly stopped: boolean;
  /** Takes a piece of text and gives what may be shown. */
  push(piece: string): string;
  /** Gives what is held back, at the end of the text. */
  flush(): string;
}

/**
 * The stop string that is complete first ends the text, just before its beginning; of two complete at the same place the
 * longer counts. So the outcome does not depend on how the text is cut into pieces.
 * @param stops not empty strings
 */
export function createStopMatcher(stops: readonly string[]): StopMatcher {
  let held = '';
  let stopped = false;
  return {
    get stopped() {
      return stopped;
    },
    push(piece) {
      if (stopped) return '';
      held += piece;
      let start = held.length;
      let end = Number.POSITIVE_INFINITY;
      for (const stop of stops) {
        const at = held.indexOf(stop);
        if (at < 0) continue;
        const after = at + stop.length;
        if (after < end || (after === end && at < start)) {
          start = at;
          end = after;
        }
      }
      stopped = end !== Number.POSITIVE_INFINITY;
      if (!stopped) start = held.length - longestBeginning(held, stops);
      const shown = held.slice(0, start);
      held = stopped ? '' : held.slice(start);
      return shown;
    },
    flush() {
      const rest = held;
      held = '';
      return rest;
    },
  };
}

/** @internal Length of the longest end of `text` that a stop string begins with. */
export function longestBeginning(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
      if (text.endsWith(stop.slice(0, length))) longest = length;
  return longest;
}

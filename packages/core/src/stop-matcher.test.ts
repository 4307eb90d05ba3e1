import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStopMatcher } from './stop-matcher.ts';

function feed(stops: string[], pieces: string[]): { text: string; stopped: boolean } {
  const matcher = createStopMatcher(stops);
  const shown = pieces.map((piece) => matcher.push(piece)).join('');
  return { text: shown + matcher.flush(), stopped: matcher.stopped };
}

describe('createStopMatcher', () => {
  it('finds a stop string across pieces and holds its beginning back', () => {
    const matcher = createStopMatcher(['<end>']);
    expect(matcher.push('one <')).toBe('one ');
    expect(matcher.push('en')).toBe('');
    expect(matcher.push('d> two')).toBe('');
    expect(matcher.stopped).toBe(true);
    expect(matcher.push('more')).toBe('');
    expect(matcher.flush()).toBe('');
  });

  it('gives held text when the beginning leads nowhere', () => {
    const matcher = createStopMatcher(['<end>']);
    expect(matcher.push('a <e')).toBe('a ');
    expect(matcher.push('lse> <')).toBe('<else> ');
    expect(matcher.flush()).toBe('<');
    expect(matcher.stopped).toBe(false);
  });

  it('handles a stop string that overlaps itself', () => {
    expect(feed(['aab'], ['a', 'a', 'a', 'b', 'c'])).toEqual({ text: 'a', stopped: true });
  });

  it('takes the one that is complete first, the longer of two that end together', () => {
    expect(feed(['abcd', 'c'], ['abcd'])).toEqual({ text: 'ab', stopped: true });
    expect(feed(['c', 'bc'], ['abcd'])).toEqual({ text: 'a', stopped: true });
  });

  it('gives the same whatever the pieces are', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), maxLength: 30 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        text,
        fc.array(stop, { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(5)),
        (whole, stops, cuts) => {
          const pieces: string[] = [];
          let rest = [...whole];
          for (const cut of cuts) {
            pieces.push(rest.slice(0, cut).join(''));
            rest = rest.slice(cut);
          }
          pieces.push(rest.join(''));
          const outcome = feed(stops, pieces);
          expect(outcome).toEqual(feed(stops, [whole]));
          expect(outcome.stopped).toBe(stops.some((string) => whole.includes(string)));
          expect(whole.startsWith(outcome.text)).toBe(true);
          if (!outcome.stopped) expect(outcome.text).toBe(whole);
        },
      ),
      { seed: 5, numRuns: 500 },
    );
  });
});

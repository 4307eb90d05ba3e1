// How rules report what they find: opening a container throws at the first problem, validating collects them all.
import { DuobitError } from './errors.ts';

/** One broken rule: a stable code, the place, the facts with numbers, and what to do. */
export interface Problem {
  readonly code: string;
  readonly where: string;
  readonly message: string;
  readonly remedy: string;
}

/** Receives each problem. May throw, so rules must hold no resource while they report. */
export type Report = (code: string, where: string, message: string, remedy?: string) => void;

/** What to do about bytes that are not what was written. */
export const REMEDY_DAMAGED =
  'Download or copy the file again; if it stays so, make it again from the checkpoint';
/** What to do about a file that was written so. */
export const REMEDY_PRODUCER = 'Report it to whoever made the file, or make it again with a current duobit';
/** What to do about a file from the future. */
export const REMEDY_UPDATE = 'Use a newer release of duobit';

export function throwProblems(source: string): Report {
  return (code, where, message, remedy = REMEDY_PRODUCER) => {
    throw new DuobitError(code, message, { source, where, remedy });
  };
}

/** Keeps the first `limit` problems, and says when more were dropped. */
export class ProblemList {
  readonly problems: Problem[] = [];
  readonly #limit: number;
  dropped = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get full(): boolean {
    return this.problems.length >= this.#limit;
  }

  readonly report: Report = (code, where, message, remedy = REMEDY_PRODUCER) => {
    if (this.full) this.dropped += 1;
    else this.problems.push({ code, where, message, remedy });
  };

  /** Records a thrown DuobitError; anything else is a defect of this package and is thrown on. */
  reportError(error: unknown, where: string): void {
    if (!(error instanceof DuobitError)) throw error;
    this.report(error.code, error.where ?? where, error.message, error.remedy);
  }
}

// The one error class of the project: a stable code, the facts, and what to do about it.

/** Where in the input a problem is: a path, a tensor, a byte offset; whatever is known. */
export interface ErrorFacts {
  /** File, URL or folder the problem is in. */
  readonly source?: string | undefined;
  /** Tensor, plane, segment, field or option concerned. */
  readonly where?: string | undefined;
  /** What the reader can do about it, as an imperative sentence. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/**
 * Every failure that a user can cause or meet. `code` is stable across releases and listed in
 * `docs/errors.md`; `message` states the facts with numbers; `remedy` says what to do.
 */
export class DuobitError extends Error {
  override readonly name = 'DuobitError';
  readonly code: string;
  readonly source: string | undefined;
  readonly where: string | undefined;
  readonly remedy: string | undefined;

  constructor(code: string, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.source = facts.source;
    this.where = facts.where;
    this.remedy = facts.remedy;
  }

  /** One line for terminals: `CODE: message (where). Remedy` */
  describe(): string {
    const place = [this.source, this.where].filter(Boolean).join(', ');
    return `${this.code}: ${this.message}${place ? ` (${place})` : ''}${this.remedy ? `. ${this.remedy}` : ''}`;
  }
}

// A Jinja template from a stranger, run within bounds: a loop that would not end, or values that would fill the memory, end in an
// error instead. The library runs what it is given; here its interpreter counts.
import { Environment, Interpreter, parse, Template, tokenize } from '@huggingface/jinja';

/** Statements and expressions evaluated. The 2,000 turns of the test take fewer than 100,000; all of them, some seconds. */
const MOST_STEPS = 1_000_000;
/** Characters, and list items, that count as a step where they are made. */
const CHARACTERS_A_STEP = 256;
const ITEMS_A_STEP = 64;
/** Items of a list, also one that `range` makes. */
const MOST_ITEMS = 100_000;

type Evaluate = Interpreter['evaluate'];
type Statement = Parameters<Evaluate>[0];
/** Parts of the library's syntax tree, whose types it does not export. */
type Loop = NonNullable<Statement> & { readonly iterable: NonNullable<Statement> };
type Selection = NonNullable<Statement> & { readonly lhs: Statement };

class BoundedInterpreter extends Interpreter {
  #steps = 0;
  /** What loops run over: each item is a turn, which is a step even where nothing is in the loop. */
  readonly #looped = new Set<Statement>();

  override evaluate(statement: Statement, scope: Environment): ReturnType<Evaluate> {
    this.#spend(1);
    if (statement?.type === 'For') {
      const { iterable } = statement as Loop;
      this.#looped.add(iterable.type === 'SelectExpression' ? (iterable as Selection).lhs : iterable);
    }
    const result = super.evaluate(statement, scope);
    if (this.#looped.has(statement) && Array.isArray(result.value)) this.#spend(result.value.length);
    // To name a value makes none.
    if (statement?.type === 'Identifier' || statement?.type === 'MemberExpression') return result;
    const { value } = result;
    if (typeof value === 'string') this.#spend(value.length / CHARACTERS_A_STEP);
    else if (Array.isArray(value)) {
      if (value.length > MOST_ITEMS) throw new Error(`a list has more than ${MOST_ITEMS} items`);
      this.#spend(value.length / ITEMS_A_STEP);
    }
    return result;
  }

  #spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw new Error(`it takes more than ${MOST_STEPS} steps`);
  }
}

/** @returns what renders the template with variables. Throws, as that does, whatever the library throws. */
export function compileTemplate(text: string): (variables: Readonly<Record<string, unknown>>) => string {
  // As `Template` reads it, which is as transformers reads it.
  const program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  return (variables) => {
    const scope = new Environment();
    for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) scope.set(name, value);
    return String(new BoundedInterpreter(scope).run(program).value);
  };
}

/** The names that the library's own `Template` has. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  false: false,
  true: true,
  none: null,
  False: false,
  True: true,
  None: null,
  raise_exception(message: unknown) {
    throw new Error(String(message));
  },
  range,
  strftime_now: (format: unknown) => new Template('{{ strftime_now(format) }}').render({ format }),
};

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (step === 0 || !(count <= MOST_ITEMS)) {
    throw new Error(`range(${start}, ${stop}, ${step}) is no list of at most ${MOST_ITEMS} numbers`);
  }
  return Array.from({ length: count }, (_, i) => start + i * step);
}

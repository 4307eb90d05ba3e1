// Multiple-choice tasks: what the model is shown of each question, and the readers of their files. Prompts are those of
// lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness, lm_eval/tasks), without examples.
import { DuobitError } from '@duobit/format';

/** A text and what may follow it; the continuation's log-likelihood is the choice's score. */
export interface Choice {
  readonly context: string;
  readonly continuation: string;
}

/** A question with its choices, as a model scores them. */
export interface Question {
  /** At least two. Their contexts differ where the task puts its alternatives there (WinoGrande). */
  readonly choices: readonly Choice[];
  /** Index of the right choice. */
  readonly gold: number;
  /** Characters (code points) of each choice, without the space before it; null where the continuation is common. */
  readonly lengths: readonly number[] | null;
}

interface Task {
  /** Name of the file in a folder of data. */
  readonly file: string;
  /** Questions of a file's text; `source` names it in errors. */
  readonly parse: (text: string, source: string) => Question[];
}

/** `{"query", "choices", "gold"}` a line; the prompt is the query, without spaces at its end, and `ending`. */
const queries = (ending: string) => (text: string, source: string) =>
  parseLines(text, source, (fields, refuse) => {
    const query = textOf(fields, 'query', refuse);
    const choices = textsOf(fields, 'choices', refuse);
    const context = query.trimEnd() + ending;
    return {
      choices: choices.map((choice) => ({ context, continuation: ` ${choice}` })),
      gold: goldOf(fields.gold, choices.length, refuse),
      lengths: choices.map(countCharacters),
    };
  });

/**
 * `{"context_options", "continuation", "gold"}` a line: partial evaluation (Trinh and Le 2018, arXiv 1806.02847), the
 * same continuation after each context.
 */
const schemas = (text: string, source: string) =>
  parseLines(text, source, (fields, refuse) => {
    const contexts = textsOf(fields, 'context_options', refuse);
    const continuation = ` ${textOf(fields, 'continuation', refuse)}`;
    return {
      choices: contexts.map((context) => ({ context, continuation })),
      gold: goldOf(fields.gold, contexts.length, refuse),
      lengths: null,
    };
  });

/** The data sets by name; files as github.com/mosaicml/llm-foundry and github.com/klosax/hellaswag_text_data have them. */
export const TASKS = {
  piqa: { file: 'piqa.jsonl', parse: queries('\nAnswer:') },
  arc_easy: { file: 'arc_easy.jsonl', parse: queries('\nAnswer:') },
  winogrande: { file: 'winogrande.jsonl', parse: schemas },
  openbookqa: { file: 'openbook_qa.jsonl', parse: queries('') },
  hellaswag: { file: 'hellaswag_val_full.txt', parse: parseSixLines },
} as const satisfies Record<string, Task>;

/** One of `TASK_NAMES`. */
export type TaskName = keyof typeof TASKS;

/** Tasks of multiple choice that there are. */
export const TASK_NAMES: readonly TaskName[] = ['piqa', 'arc_easy', 'winogrande', 'openbookqa', 'hellaswag'];

/**
 * The questions of a task's file.
 * @param source name of the file, for errors
 * @throws DuobitError `EVALUATION_DATA` with file and line
 */
export function parseTask(name: TaskName, text: string, source: string): Question[] {
  const questions = TASKS[name].parse(text, source);
  if (questions.length === 0) throw badData(source, 1, 'the file has no question');
  return questions;
}

type Refuse = (fact: string) => DuobitError;
type Fields = Readonly<Record<string, unknown>>;

/** One JSON object a line; empty lines are left out. */
function parseLines(
  text: string,
  source: string,
  parse: (fields: Fields, refuse: Refuse) => Question,
): Question[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const refuse: Refuse = (fact) => badData(source, index + 1, fact);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw refuse('it is not JSON');
    }
    if (!isFields(value)) throw refuse('it is not a JSON object');
    return [parse(value, refuse)];
  });
}

/** HellaSwag as text: context, index of the right ending, four endings, a line each. */
function parseSixLines(text: string, source: string): Question[] {
  const lines = text.split(/\r?\n/);
  while (lines.at(-1)?.trim() === '') lines.pop();
  const questions: Question[] = [];
  for (let first = 0; first < lines.length; first += 6) {
    const task = lines.slice(first, first + 6);
    const empty = task.findIndex((line) => line.trim() === '');
    if (task.length < 6)
      throw badData(source, first + 1, `only ${task.length} of a question's 6 lines follow`);
    if (empty >= 0) throw badData(source, first + 1 + empty, 'it is empty');
    const [context, gold, ...endings] = task;
    const refuse: Refuse = (fact) => badData(source, first + 2, fact);
    questions.push({
      choices: endings.map((ending) => ({ context: context!, continuation: ` ${ending}` })),
      gold: goldOf(/^\d+$/.test(gold!) ? Number(gold) : gold, endings.length, refuse),
      lengths: endings.map(countCharacters),
    });
  }
  return questions;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

function textOf(fields: Fields, name: string, refuse: Refuse): string {
  const value = fields[name];
  if (!isText(value)) throw refuse(`"${name}" is not a text`);
  return value;
}

function textsOf(fields: Fields, name: string, refuse: Refuse): string[] {
  const value = fields[name];
  if (!Array.isArray(value) || value.length < 2 || !value.every(isText))
    throw refuse(`"${name}" is not a list of two or more texts`);
  return value;
}

function goldOf(value: unknown, count: number, refuse: Refuse): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < count) return value;
  throw refuse(`the right choice is ${JSON.stringify(value) ?? 'missing'}, not 0 to ${count - 1}`);
}

/** As Python's `len`, which lm-evaluation-harness divides by. */
function countCharacters(text: string): number {
  return [...text].length;
}

function badData(source: string, line: number, fact: string): DuobitError {
  return new DuobitError('EVALUATION_DATA', `line ${line}: ${fact}`, {
    source,
    where: `line ${line}`,
    remedy: 'Correct the line, or get the file again; docs/evaluation.md describes the formats',
  });
}

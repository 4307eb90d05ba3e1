// Kernels as text: a file of src/kernels with its imports resolved. `#import name` stands for the file of that name, or for
// the one that a choice puts in its place, once in a text; constants come first.
import { DuobitError } from '@duobit/format';
import { SHADERS } from './generated/shaders.ts';

export interface ShaderChoice {
  /** File of src/kernels, without its ending. */
  readonly name: string;
  /** What stands for names in imports, where that is not the file of the same name. */
  readonly imports?: Readonly<Record<string, string>> | undefined;
  /** Numbers that the text is compiled with. */
  readonly constants?: Readonly<Record<string, number>> | undefined;
}

const IMPORT = /^#import (\S+)$/;
const ENABLE = /^enable (\S+);$/;

/** The complete text of a kernel. */
export function assembleShader({ name, imports = {}, constants = {} }: ShaderChoice): string {
  const seen = new Set<string>();
  const enabled = new Set<string>();
  const lines: string[] = [];
  const add = (wanted: string): void => {
    const file = imports[wanted] ?? wanted;
    if (seen.has(file)) return;
    seen.add(file);
    const source = SHADERS[file];
    if (source === undefined)
      throw new DuobitError('INTERNAL', `there is no kernel file "${file}"`, {
        where: name,
        remedy: 'Report this as a bug',
      });
    for (const line of source.split('\n')) {
      const imported = IMPORT.exec(line)?.[1];
      const feature = ENABLE.exec(line)?.[1];
      if (imported !== undefined) add(imported);
      else if (feature !== undefined) enabled.add(feature);
      else lines.push(line);
    }
  };
  add(name);
  return [
    ...[...enabled].map((feature) => `enable ${feature};`),
    ...Object.entries(constants).map(([constant, value]) => `const ${constant}: u32 = ${value}u;`),
    ...lines,
    '',
  ].join('\n');
}

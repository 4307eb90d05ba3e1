// Usage errors and help: exit code 2, one line, and documentation that lists every option.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram, main } from '../src/main.ts';
import { Capture, createIo, ROOT, runCli, runJson } from './harness.ts';

const COMMANDS = [
  ['quantize'],
  ['worker'],
  ['validate'],
  ['inspect'],
  ['diff'],
  ['split'],
  ['merge'],
  ['annotate'],
  ['convert'],
  ['hash'],
  ['sign'],
  ['verify-signature'],
  ['publish'],
  ['pull'],
  ['list'],
  ['remove'],
  ['run'],
  ['chat'],
  ['serve'],
  ['eval', 'ppl'],
  ['eval', 'zeroshot'],
  ['eval', 'rerun'],
  ['bench'],
  ['devices'],
] as const;

describe('output that cannot be written', () => {
  const broken = (code: string) =>
    new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })) });
  const run = async (stdout: Writable, stderr: Writable) =>
    main(['devices', '--help'], createIo({ stdout, stderr }));

  it('is an error on stdout, but where its reader has left, and none on stderr', async () => {
    const stderr = new Capture();
    expect(await run(broken('ENOSPC'), stderr)).toBe(1);
    expect(stderr.text).toMatch(/^error FILE_IO: ENOSPC \(stdout\)\. .*\n$/);
    const quiet = new Capture();
    expect(await run(broken('EPIPE'), quiet)).toBe(0);
    expect(quiet.text).toBe('');
    expect(await run(new Capture(), broken('EPIPE'))).toBe(0);
    expect(await main(['frobnicate'], createIo({ stderr: broken('EPIPE') }))).toBe(2);
  });
});

describe('usage errors', () => {
  it.each([
    { argv: [], says: 'a command is missing' },
    { argv: ['frobnicate'], says: "unknown command 'frobnicate'" },
    { argv: ['--frobnicate'], says: "unknown option '--frobnicate'" },
    { argv: ['eval'], says: 'a command is missing' },
    { argv: ['quantize', '-o', 'x.duo'], says: "missing required argument 'checkpoint'" },
    { argv: ['quantize', 'folder'], says: "required option '-o, --output <file>' not specified" },
    {
      argv: ['quantize', 'folder', '-o', 'x.duo', '--group', '48'],
      says: 'Allowed choices are 32, 64, 128, 256',
    },
    {
      argv: ['quantize', 'folder', '-o', 'x.duo', '--embedding', 'q2'],
      says: 'Allowed choices are q8, q4, f16',
    },
    { argv: ['validate'], says: "missing required argument 'file'" },
    { argv: ['validate', 'a.duo', 'b.duo'], says: 'too many arguments' },
    { argv: ['inspect', 'a.duo', '--frobnicate'], says: "unknown option '--frobnicate'" },
    {
      argv: ['validate', 'a.duo', '--deep', '--header-only'],
      says: "option '--header-only' cannot be used with option '--deep'",
    },
    { argv: ['diff', 'a.duo'], says: "missing required argument 'b'" },
    { argv: ['split', 'a.duo', '--max-size', '1MB'], says: "required option '-o, --output <folder>'" },
    { argv: ['split', 'a.duo', '-o', 'x'], says: "required option '--max-size <size>' not specified" },
    {
      argv: ['split', 'a.duo', '-o', 'x', '--max-size', '1.5'],
      says: 'Give a whole number of bytes',
    },
    { argv: ['merge', 'a.duo'], says: "required option '-o, --output <file>' not specified" },
    { argv: ['annotate', 'a.duo', '--range', '12'], says: 'Give start:end in bytes' },
    { argv: ['annotate', 'a.duo', '--range', ':'], says: 'Give start:end in bytes' },
    { argv: ['annotate', 'a.duo', '--range', '5:5'], says: 'Give start:end in bytes' },
    { argv: ['annotate', 'a.duo', '--range', '-1:5'], says: 'Give start:end in bytes' },
    { argv: ['convert', 'a.duo'], says: "required option '-o, --output <path>' not specified" },
    { argv: ['convert', 'a.duo', '-o', 'x', '--dtype', 'f64'], says: 'Allowed choices are f32, f16, bf16' },
    { argv: ['convert', 'a.duo', '-o', 'x', '--shard-size', '5XB'], says: 'Give a whole number of bytes' },
    { argv: ['convert', 'a.duo', '-o', 'x', '--shard-size', '0.5'], says: 'Give a whole number of bytes' },
    {
      argv: ['convert', 'a.duo', '-o', 'x.safetensors', '--shard-size', '1GB'],
      says: "'--shard-size <size>' needs a folder",
    },
    { argv: ['convert', 'a.duo', '-o', 'x.gguf'], says: 'x.gguf is neither' },
    { argv: ['run', 'a.duo'], says: "a prompt is missing: give '-p, --prompt <text>', or pipe one" },
    { argv: ['chat'], says: "missing required argument 'model'" },
    { argv: ['chat', 'a.duo', '-n', '0'], says: 'Give a whole number, 1 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '-n', '0'], says: 'Give a whole number, 1 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '-n', 'ten'], says: 'Give a whole number, 1 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '-n', '1.5'], says: 'Give a whole number, 1 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '--temperature', '-1'], says: 'Give a number, 0 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '--temperature', 'NaN'], says: 'Give a number, 0 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '--temperature', ''], says: 'Give a number, 0 or more' },
    { argv: ['run', 'a.duo', '-p', 'x', '--top-p', '1.1'], says: 'Give a number, 0 to 1' },
    {
      argv: ['run', 'a.duo', '-p', 'x', '--backend', 'tpu'],
      says: 'Allowed choices are auto, cuda, native, webgpu, tfjs, wasm, reference',
    },
    { argv: ['run', 'a.duo', '-p', 'x', '--threads', '0'], says: 'Give a whole number, 1 to 1024' },
    { argv: ['run', 'a.duo', '-p', 'x', '--activations', 'a8'], says: 'Allowed choices are a4, f16' },
    { argv: ['run', 'a.duo', '-p', 'x', '--system', 'be brief'], says: 'needs --chat' },
    { argv: ['eval', 'ppl', 'a.duo'], says: "required option '--text <file>' not specified" },
    {
      argv: ['eval', 'ppl', 'a.duo', '--text', 'x', '--context', '1'],
      says: 'Give a whole number, 2 or more',
    },
    { argv: ['eval', 'zeroshot', 'a.duo'], says: "required option '--data <paths...>' not specified" },
    {
      argv: ['eval', 'zeroshot', 'a.duo', '--data', 'x', '--tasks', 'piqa,boolq'],
      says: 'Give some of piqa, arc_easy',
    },
    { argv: ['eval', 'rerun', 'a.json', '--data', 'x'], says: "required option '--model <path>'" },
    { argv: ['bench', 'a.duo', '--repeats', '-3'], says: 'Give a whole number, 1 or more' },
  ])('duobit $argv', async ({ argv, says }) => {
    const { code, stdout, stderr } = await runCli(argv);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(says);
    const last = stderr.trimEnd().split('\n').at(-1);
    expect(last).toMatch(/^error USAGE: .*\. Add --help to the command/);
  });

  it('prints an error object with --json', async () => {
    const { code, json, stderr } = await runJson(['run', 'a.duo', '-p', 'x', '-n', 'ten']);
    expect(code).toBe(2);
    expect(json).toEqual({
      error: {
        code: 'USAGE',
        message: expect.stringContaining("'ten' is invalid"),
        where: null,
        remedy: expect.stringContaining('--help'),
      },
    });
    expect(stderr).toMatch(/^error USAGE: /);
  });
});

describe('help', () => {
  it('is printed for the program and each command, with an example, and is no failure', async () => {
    const program = await runCli(['--help']);
    expect(program.code).toBe(0);
    for (const names of COMMANDS) {
      expect(program.stdout).toContain(names[0]);
      const { code, stdout, stderr } = await runCli([...names, '--help']);
      expect(code).toBe(0);
      expect(stderr).toBe('');
      expect(stdout).toMatch(new RegExp(`Examples?:\\n  \\$ duobit ${names.join(' ')} `));
      expect(stdout).toContain('--json');
    }
  });

  it('prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'packages/cli/package.json'), 'utf8'));
    const { code, stdout } = await runCli(['--version']);
    expect(code).toBe(0);
    expect(stdout).toBe(`${version}\n`);
  });

  it('lists no option that docs/cli.md leaves out, and the other way round', () => {
    const page = readFileSync(join(ROOT, 'docs/cli.md'), 'utf8');
    const io = createIo();
    const program = createProgram({ io, signal: io.signal, exitCode: 0 });
    for (const names of COMMANDS) {
      let command: Command = program;
      for (const name of names) command = command.commands.find((child) => child.name() === name)!;
      const section = page.split(`\n## duobit ${names.join(' ')}\n`)[1]?.split('\n## ')[0] ?? '';
      const documented = [...section.matchAll(/^\| (`.*?) \|/gm)]
        .flatMap(([, cell]) => [...cell!.matchAll(/--[a-z-]+/g)])
        .map(([flag]) => flag)
        .sort();
      expect(documented, names.join(' ')).toEqual(command.options.map((option) => option.long).sort());
    }
  });
});

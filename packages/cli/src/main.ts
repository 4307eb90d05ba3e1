// The `duobit` command line: builds the program, runs one command in-process, turns failures into exit codes.
import { Command } from 'commander';
import { addAnnotateCommand } from './commands/annotate.ts';
import { addBenchCommand } from './commands/bench.ts';
import { addChatCommand } from './commands/chat.ts';
import { addConvertCommand } from './commands/convert.ts';
import { addDevicesCommand } from './commands/devices.ts';
import { addDiffCommand } from './commands/diff.ts';
import { addEvalCommand } from './commands/eval.ts';
import { addHashCommand } from './commands/hash.ts';
import { addInspectCommand } from './commands/inspect.ts';
import { addMergeCommand } from './commands/merge.ts';
import { addPublishCommand } from './commands/publish.ts';
import { addListCommand, addPullCommand, addRemoveCommand } from './commands/pull.ts';
import { addQuantizeCommand } from './commands/quantize.ts';
import { addRunCommand } from './commands/run.ts';
import { addServeCommand } from './commands/serve.ts';
import { addSignCommand } from './commands/sign.ts';
import { addSplitCommand } from './commands/split.ts';
import { addValidateCommand } from './commands/validate.ts';
import { addVerifySignatureCommand } from './commands/verify-signature.ts';
import { addWorkerCommand } from './commands/worker.ts';
import type { Context } from './context.ts';
import { describeFailure, EXIT } from './failure.ts';
import { type Io, processIo } from './io.ts';
import { VERSION } from './version.ts';

export { type Io, processIo } from './io.ts';

/** All commands. Exported so that the documentation can be checked against them. */
export function createProgram(context: Context): Command {
  const program = new Command('duobit')
    .description(
      'Quantize, validate, inspect, compare, convert, publish, run, talk with, serve, evaluate and bench two-bit language models.',
    )
    .version(VERSION)
    .showHelpAfterError(false);
  // Set before the subcommands are made: they inherit it.
  program.exitOverride();
  program.configureOutput({
    writeOut: (text) => context.io.stdout.write(text),
    writeErr: (text) => context.io.stderr.write(text),
    // Usage errors are printed by `main`, in the form of all other errors.
    outputError: () => undefined,
  });
  addQuantizeCommand(program, context);
  addWorkerCommand(program, context);
  addValidateCommand(program, context);
  addInspectCommand(program, context);
  addDiffCommand(program, context);
  addSplitCommand(program, context);
  addMergeCommand(program, context);
  addAnnotateCommand(program, context);
  addConvertCommand(program, context);
  addHashCommand(program, context);
  addSignCommand(program, context);
  addVerifySignatureCommand(program, context);
  addPublishCommand(program, context);
  addPullCommand(program, context);
  addListCommand(program, context);
  addRemoveCommand(program, context);
  addRunCommand(program, context);
  addChatCommand(program, context);
  addServeCommand(program, context);
  addEvalCommand(program, context);
  addBenchCommand(program, context);
  addDevicesCommand(program, context);
  program.addHelpText(
    'after',
    '\nExit codes: 0 ok, 1 the input is bad, 2 usage, 130 stopped by Ctrl-C. Errors: docs/errors.md\n',
  );
  return program;
}

/**
 * Runs one command line (without node and script) and gives its exit code:
 * 0 ok, 1 the input is bad, 2 usage, 130 interrupted. Never throws, never exits the process.
 */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const output = watchOutput(io);
  const exitCode = await runCommand(argv, io, output.signal);
  // Whether all was written is known when it is.
  await new Promise((resolve) => io.stdout.write('', resolve));
  return output.failed ? EXIT.badInput : exitCode;
}

async function runCommand(argv: readonly string[], io: Io, output: AbortSignal): Promise<number> {
  const signal = AbortSignal.any([io.signal, output]);
  const context: Context = { io, signal, exitCode: EXIT.ok };
  try {
    await createProgram(context).parseAsync([...argv], { from: 'user' });
    return io.signal.aborted && !context.endsOnSignal ? EXIT.interrupted : context.exitCode;
  } catch (thrown) {
    // Nobody is there to be told, and of a full disk it was said.
    if (output.aborted) return EXIT.ok;
    const failure = describeFailure(thrown, io.signal.aborted);
    if (failure === null) return EXIT.ok;
    io.stderr.write(`error ${failure.line}\n`);
    if (io.env.DUOBIT_DEBUG === '1' && thrown instanceof Error) io.stderr.write(`${thrown.stack}\n`);
    if (argv.includes('--json')) io.stdout.write(`${JSON.stringify({ error: failure.error }, null, 2)}\n`);
    return failure.exitCode;
  }
}

/**
 * Turns an error of stdout into an abort. Without a listener it would end the process with a stack trace. EPIPE is no failure:
 * whoever read our output has left (`duobit … | head`). The listener stays, because EPIPE may arrive after the command has ended.
 */
function watchOutput(io: Io): { readonly signal: AbortSignal; readonly failed: boolean } {
  const controller = new AbortController();
  const output = { signal: controller.signal, failed: false };
  // Notices that nobody can be told are no reason to stop, or to leave temporary files.
  io.stderr.on('error', () => {});
  io.stdout.on('error', (error: Error) => {
    if (!('code' in error) || error.code !== 'EPIPE') {
      if (!output.failed)
        io.stderr.write(
          `error FILE_IO: ${error.message} (stdout). Free some space, or write the output to another place\n`,
        );
      output.failed = true;
    }
    controller.abort();
  });
  return output;
}

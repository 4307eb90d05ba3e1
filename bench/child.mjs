// Runs a script in a process of its own, hands it one job over IPC and waits for its answer.
import { fork } from 'node:child_process';

const LIMIT_MS = 900_000;

/** @throws Error with the end of the child's stderr when it fails, crashes or takes longer than 15 minutes. */
export function runChild(script, job) {
  return new Promise((resolve, reject) => {
    const child = fork(script, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] });
    let log = '';
    let answer = null;
    child.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-4000);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    child.on('message', (message) => {
      answer = message;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (answer === null) reject(new Error(`the process ended with ${signal ?? code}\n${log.trim()}`));
      else if (answer.error) reject(new Error(`${answer.error}\n${log.trim()}`));
      else resolve(answer);
    });
    child.send(job);
  });
}

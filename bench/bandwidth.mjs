// Builds and runs bandwidth.cpp, which measures how fast this machine's threads read memory.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CACHE } from './models.mjs';

const SOURCE = fileURLToPath(new URL('./bandwidth.cpp', import.meta.url));
const ROUNDS = 7;

/** {measure(bytes, threads): bytes a second, best of some rounds} or {reason}. CXX names the compiler. */
export function prepareBandwidth() {
  const { CXX } = process.env;
  const compilers = CXX ? [CXX] : ['g++', 'clang++'];
  const binary = path.join(CACHE, 'bandwidth');
  mkdirSync(CACHE, { recursive: true });
  const flags = ['-O3', '-march=native', '-std=c++17', '-pthread', SOURCE, '-o', binary];
  let reason = `no compiler found as ${compilers.join(', ')}`;
  for (const compiler of compilers) {
    const { status, stderr } = spawnSync(compiler, flags, { encoding: 'utf8' });
    if (status === 0) return { measure: (bytes, threads) => measure(binary, bytes, threads) };
    if (stderr) reason = `${compiler}: ${stderr.trim().split('\n')[0]}`;
  }
  return { reason };
}

function measure(binary, bytes, threads) {
  const { status, stdout } = spawnSync(binary, [bytes, threads, ROUNDS].map(String), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the measurement of bandwidth ended with ${status}`);
  return Math.max(...stdout.trim().split('\n').map(Number));
}

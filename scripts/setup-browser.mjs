// `npm run setup:browser`: a Chromium for the tests that need one. Debian's package where there is apt, whose SwiftShader also serves
// WebGPU in Node; Playwright's own build elsewhere. Does nothing where one is found already.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { findChromium } from '@duobit/testkit/chromium';

const run = (command, ...parts) => {
  console.log(`${command} ${parts.join(' ')}`);
  return spawnSync(command, parts, { stdio: 'inherit' }).status === 0;
};
const find = () => {
  try {
    return findChromium();
  } catch {
    return null; // in CI it throws
  }
};
const installWithApt = () => {
  if (spawnSync('apt-get', ['--version']).status !== 0) return false;
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo'];
  const [command, ...first] = [...asRoot, 'apt-get'];
  return (
    run(command, ...first, 'update', '-qq') &&
    run(command, ...first, 'install', '-y', '-qq', 'chromium', 'libvulkan1')
  );
};
const installWithPlaywright = () => {
  const cli = createRequire(import.meta.url).resolve('playwright-core/cli.js');
  return run(process.execPath, cli, 'install', 'chromium');
};

if (!find() && !(installWithApt() && find())) installWithPlaywright();
const found = find();
console.log(found ? `Chromium: ${found}` : 'no Chromium could be installed; name one in CHROMIUM');
process.exitCode = found ? 0 : 1;

// How much comes with a package: all that npm installs for it, development dependencies not counted. A budget for each.
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from './workspace.mjs';

/** At most: installed packages, itself included, and megabytes of their files, on Linux x64 without the prebuilt addon. */
const BUDGETS = {
  '@duobit/format': { packages: 2, megabytes: 2 },
  '@duobit/core': { packages: 5, megabytes: 4 },
  '@duobit/runtime-web': { packages: 7, megabytes: 7 },
  '@duobit/runtime-node': { packages: 15, megabytes: 18 },
  '@duobit/grammar': { packages: 8, megabytes: 8 },
  '@duobit/server': { packages: 65, megabytes: 18 },
  '@duobit/tfjs': { packages: 80, megabytes: 300 },
  '@duobit/quantizer': { packages: 80, megabytes: 310 },
  duobit: { packages: 160, megabytes: 340 },
};

/** Bytes of a package's files, those of packages nested in it left out. */
function sizeOf(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => name !== 'node_modules')
    .map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? sizeOf(path) : lstatSync(path).size;
    })
    .reduce((sum, size) => sum + size, 0);
}

/** @returns what is over the budget of the package that a project has installed, as sentences */
export function checkFootprint(name, project) {
  const { packages } = readJson(join(project, 'node_modules', '.package-lock.json'));
  const folders = Object.entries(packages)
    .filter(([path, { dev }]) => !dev && !/\/@duobit\/native-/.test(path) && existsSync(join(project, path)))
    .map(([path]) => join(project, path));
  const megabytes = folders.reduce((sum, folder) => sum + sizeOf(folder), 0) / 1e6;
  const budget = BUDGETS[name];
  console.log(
    `${name} installs ${folders.length} packages, ${megabytes.toFixed(1)} MB` +
      (budget ? `; at most ${budget.packages} and ${budget.megabytes} MB` : ''),
  );
  if (!budget) return [`${name} has no budget in scripts/packages/footprint.mjs; add one`];
  if (folders.length <= budget.packages && megabytes <= budget.megabytes) return [];
  return [`${name} installs more than its budget: ${folders.length} packages, ${megabytes.toFixed(1)} MB`];
}

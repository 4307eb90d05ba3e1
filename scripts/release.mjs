// `npm run release`: publishes the version that is committed, the prebuilt packages of the addon first. Runs where provenance can be
// attested: in the workflow .github/workflows/release.yml of the repository that the packages name. What was published already is
// passed over, so a release that broke off is run again.
//
//   npm run release -- --dry-run     what the next release would be: versions, changelogs, and what npm would take of each package.
//                                    In a copy of the last commit; the work tree stays as it is, and nothing is sent.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageName, TARGETS } from '../packages/runtime-node/scripts/native-targets.mjs';
import { listPublished, npm, pack, ROOT } from './packages/workspace.mjs';

const CHANGESET = join(ROOT, 'node_modules/@changesets/cli/bin.js');

const run = (command, args, cwd = ROOT) => execFileSync(command, args, { cwd, stdio: 'inherit' });
const git = (...args) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
const versionsOf = (root) =>
  new Map(listPublished(root).map(({ manifest: { name, version } }) => [name, version]));

/** Files of changes that have no version yet. */
const listChangesets = (root) =>
  readdirSync(join(root, '.changeset')).filter((name) => /^(?!README).*\.md$/.test(name));

/** The newest part of a changelog, without its headings. */
function readChanges(folder) {
  const path = join(folder, 'CHANGELOG.md');
  if (!existsSync(path)) return [];
  const [, newest = ''] = readFileSync(path, 'utf8').split(/^## .*$/m);
  return newest.split('\n').filter((line) => line.startsWith('- '));
}

/** Sends nothing. @throws where npm would refuse one of them, or a package has a change but no new version */
function rehearse() {
  const work = mkdtempSync(join(tmpdir(), 'duobit-release-'));
  try {
    const copy = join(work, 'repository');
    run('git', ['clone', '--quiet', '--no-hardlinks', ROOT, copy]);
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    for (const { folder } of listPublished(copy)) {
      const built = join(ROOT, 'packages', basename(folder));
      for (const name of ['dist', 'LICENSE'])
        cpSync(join(built, name), join(folder, name), { recursive: true });
    }
    const before = versionsOf(copy);
    const hasChanges = listChangesets(copy).length > 0;
    run(process.execPath, [CHANGESET, 'version'], copy);
    const after = versionsOf(copy);
    if (new Set(after.values()).size !== 1) throw new Error(`several versions: ${[...after].join(' ')}`);
    const [version] = after.values();
    if (hasChanges && before.values().next().value === version)
      throw new Error(`there are changes, but the version is still ${version}`);
    const tarballs = join(work, 'tarballs');
    mkdirSync(tarballs);
    for (const { folder, manifest } of listPublished(copy)) {
      const { tarball, unpackedBytes } = pack(folder, tarballs);
      npm(['publish', tarball, '--dry-run', '--json', '--loglevel=error'], work);
      const changes = readChanges(folder);
      console.log(`\n${manifest.name} ${before.get(manifest.name)} -> ${version}, ${unpackedBytes} bytes`);
      for (const line of changes) console.log(`  ${line}`);
    }
    console.log(`\nand, built for every platform first: ${TARGETS.map(packageName).join(', ')}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @throws where a release cannot be made from here */
function checkPlace() {
  const { url } = listPublished()[0].manifest.repository;
  const here = `git+${process.env.GITHUB_SERVER_URL}/${process.env.GITHUB_REPOSITORY}.git`;
  if (here !== url)
    throw new Error(
      `the packages name ${url} and this is not a GitHub workflow of it, so npm cannot attest where they come from; ` +
        'start the workflow "release" there, or look with --dry-run',
    );
  if (git('status', '--porcelain') !== '')
    throw new Error('the work tree has changes that are not committed');
  const { length } = listChangesets(ROOT);
  if (length > 0)
    throw new Error(`${length} changes have no version yet; run npm run version and commit what it writes`);
}

/** Whether the registry has it. */
function isPublished(name, version) {
  try {
    return npm(['view', `${name}@${version}`, 'version', '--loglevel=silent'], ROOT).trim() === version;
  } catch {
    return false;
  }
}

function publish() {
  checkPlace();
  run('npm', ['run', 'build']);
  run('npm', ['run', 'check']);
  run('npm', ['run', 'build:prebuilt', '-w', '@duobit/runtime-node']);
  run('npm', ['run', 'check:tarballs']);
  const [{ manifest }] = listPublished();
  for (const target of TARGETS)
    if (!isPublished(packageName(target), manifest.version))
      run('npm', ['publish'], join(ROOT, 'out', 'npm', target.name));
  run(process.execPath, [CHANGESET, 'publish']);
}

try {
  const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean', default: false } } });
  if (values['dry-run']) rehearse();
  else publish();
} catch (error) {
  console.error(`release: ${error.message}`);
  process.exitCode = 1;
}

// Prints one plain line from vitest's JSON results: `123 passed, 0 failed`. Exits 1 when a test failed, when none
// ran, or when there are no results at all.
import { existsSync, readFileSync } from 'node:fs';

const path = process.argv[2] ?? 'out/ci/test-results.json';
if (!existsSync(path)) {
  console.log('no test results: the checks before the tests failed');
  process.exit(1);
}
const results = JSON.parse(readFileSync(path, 'utf8'));
const passed = results.numPassedTests;
// A file that cannot be loaded has no tests to count, and fails all the same.
const brokenFiles = results.testResults.filter(
  (file) => file.status === 'failed' && file.assertionResults.length === 0,
);
const failed = results.numFailedTests + brokenFiles.length;
const skipped = results.numPendingTests + results.numTodoTests;
for (const file of results.testResults) {
  for (const test of file.assertionResults) {
    if (test.status === 'failed') console.log(`failed: ${test.fullName}`);
  }
}
for (const file of brokenFiles) console.log(`failed to load: ${file.name}`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed === 0 && passed > 0 && results.success ? 0 : 1;

// Runs vitest over all projects and ends with one line, 'N passed, N failed'. Arguments go to vitest:
// `npm test -- test/domain/plan.test.ts`.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = mkdtempSync(join(tmpdir(), 'tcr-report-'));
const reportFile = join(scratch, 'report.json');

const exitCode = await runVitest(process.argv.slice(2));
const report = readReport();
const totals = count(report, exitCode);
rmSync(scratch, { recursive: true, force: true });

process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;
for (const line of failures(report)) console.log(line);
if (totals.skipped > 0) console.log(`${totals.skipped} skipped: not selected, or of a provider that cannot`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);

/** Resolves to vitest's exit code; 1 when a signal ended it or it did not start. */
function runVitest(args) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const names = ['default', 'json', './test/support/matrix-reporter.ts'];
  const reporters = [...names.map((name) => `--reporter=${name}`), `--outputFile.json=${reportFile}`];
  const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...args], { cwd: root, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.on('error', () => resolve(1));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function readReport() {
  try {
    return JSON.parse(readFileSync(reportFile, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Each failed test and its reason: where only the end of the output is kept, they are in it. */
function failures(report) {
  const files = report?.testResults ?? [];
  const tests = files.flatMap((file) => file.assertionResults).filter((test) => test.status === 'failed');
  const reasons = [
    ...files.filter(({ message }) => message).map(({ name, message }) => [name, message]),
    ...tests.map(({ fullName, failureMessages }) => [fullName, failureMessages.join('\n')]),
  ];
  // eslint-disable-next-line no-control-regex -- the colours of a terminal
  return reasons.map(([name, reason]) => `FAILED ${name}\n${shorten(reason.replace(/\x1b\[\d+m/g, ''))}\n`);
}

/** What it says first, and its end: that of a server's log. */
function shorten(text) {
  return text.length <= 1_600 ? text : `${text.slice(0, 600)}\n[…]\n${text.slice(-1_000)}`;
}

/**
 * A file that fails outside its tests (does not load, a hook throws) counts as one failure, and so does what
 * only the exit code tells: an unhandled error, a crash. A green line must mean that nothing went wrong.
 */
function count(report, exitCode) {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const failedOutsideTests = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = report.numFailedTests + failedOutsideTests;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

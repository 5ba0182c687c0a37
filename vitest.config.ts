import { configDefaults, defineConfig } from 'vitest/config';

/** `npm run test:fast`: no ClickHouse, and of the workflow only the recorded histories. */
const isFast = process.env['TEST_FAST'] === '1';
/** `npm run e2e -- --provider external`. */
const isExternal = process.env['E2E_RECOVERY_YAML'] !== undefined;
const workflowTests = ['test/workflow/**/*.test.ts', 'test/replay/**/*.test.ts'];
const slowTests = isFast ? ['test/embedded/**', 'test/workflow/**'] : [];
const clusterTests = ['test/e2e/**/*.test.ts', 'test/faults/**/*.test.ts'];

export default defineConfig({
  test: {
    // Forks: native modules (libchdb, the ZooKeeper client) and signals do not go with worker threads.
    pool: 'forks',
    reporters: ['default', './test/support/matrix-reporter.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          // Those that go through all cases take seconds, and more on a machine that is busy.
          testTimeout: 30_000,
          hookTimeout: 30_000,
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...workflowTests, ...clusterTests, ...slowTests],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'workflow',
          include: workflowTests,
          exclude: [...configDefaults.exclude, ...slowTests],
          // A recovery takes a second or so, and with each task replayed on a busy machine ten.
          testTimeout: 180_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: clusterTests,
          globalSetup: './test/support/probe-providers.ts',
          testTimeout: 300_000,
          hookTimeout: 120_000,
          // Each file starts clusters of its own, and waits most of the time; there is but one cluster of yours.
          maxWorkers: isExternal ? 1 : 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

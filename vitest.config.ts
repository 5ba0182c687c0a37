import { configDefaults, defineConfig } from 'vitest/config';

const workflowTests = ['test/workflow/**/*.test.ts', 'test/replay/**/*.test.ts'];
const clusterTests = ['test/e2e/**/*.test.ts', 'test/faults/**/*.test.ts'];

export default defineConfig({
  test: {
    // Forks: native modules (libchdb, the ZooKeeper client) and signals do not go with worker threads.
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...workflowTests, ...clusterTests],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'workflow',
          include: workflowTests,
          testTimeout: 60_000,
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
          testTimeout: 300_000,
          hookTimeout: 120_000,
          // One file at a time: each starts a cluster of its own, and their timings are part of what is tested.
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

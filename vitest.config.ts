import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['packages/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts', 'tools/**/*.test.ts'],
    globalSetup: ['tools/test-servers.ts'],
    reporters: ['default', './tools/count-reporter.ts'],
    pool: 'forks',
    // Tests wait for half of their time, for processes to start and servers to answer.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})

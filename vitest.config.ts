import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Not one less than there are cores: the process that collects results has little to do.
    maxWorkers: availableParallelism(),
    minWorkers: 1,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['packets', 'browser', 'package', 'role', 'qemu'].map((folder) => `test/${folder}/**`),
          setupFiles: ['test/seed.ts'],
          env: { TZ: 'UTC' },
          // Against what hangs; a machine that is busy with something else is none of it.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'packets',
          include: ['test/packets/**/*.test.ts'],
          // One file at a time: many measure time, and the machine has two cores.
          pool: 'forks',
          poolOptions: { forks: { singleFork: true } },
          testTimeout: 30_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          pool: 'forks',
          poolOptions: { forks: { singleFork: true } },
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      ...['package', 'role'].map((name) => ({
        test: {
          name,
          include: [`test/${name}/**/*.test.ts`],
          pool: 'forks' as const,
          poolOptions: { forks: { singleFork: true } },
          testTimeout: 60_000,
          // Debian is fetched and unpacked in them.
          hookTimeout: 600_000,
        },
      })),
      {
        test: {
          name: 'qemu',
          include: ['test/qemu/**/*.test.ts'],
          pool: 'forks',
          // Against what hangs: all of it is emulated.
          testTimeout: 3_600_000,
          hookTimeout: 3_600_000,
        },
      },
    ],
  },
})

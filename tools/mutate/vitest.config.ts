import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { defineConfig, mergeConfig } from 'vitest/config'
import base from '../../vitest.config.ts'
import { mutated } from './mutant.ts'

/** The configuration of all tests, in which one module is loaded as its mutant. */
export default mergeConfig(
  base,
  defineConfig({
    root: join(import.meta.dirname, '../..'),
    // A mutant must not be taken for the module of another run.
    test: { fsModuleCache: false },
    plugins: [
      {
        name: 'mutant',
        enforce: 'pre',
        async load(id) {
          if (!id.endsWith('.ts')) return null
          const text = await readFile(id, 'utf8')
          const changed = mutated(id, text)
          return changed === text ? null : changed
        },
      },
    ],
  }),
)

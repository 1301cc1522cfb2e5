import { fileURLToPath } from 'node:url'

/** The program of this package: the processes that it starts are verbs of it. */
export const binPath: string = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './bin.ts' : './bin.js', import.meta.url),
)

import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { mutated } from './mutant.ts'

// Lets the programs that tests start load the mutant too. Loaded with `node --import`.
registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.startsWith('file:') || loaded.source === null || loaded.source === undefined) return loaded
    return { ...loaded, source: mutated(fileURLToPath(url), String(loaded.source)) }
  },
})

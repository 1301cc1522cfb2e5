import { registerHooks } from 'node:module'

/**
 * Lets the files of the README, wherever they lie, import what their reader would have installed. Loaded with
 * `node --import`.
 */
const installed = new URL('../../server/package.json', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const isBare = specifier.startsWith('@quintet/') || specifier === 'zod'
    return next(specifier, isBare ? { ...context, parentURL: installed } : context)
  },
})

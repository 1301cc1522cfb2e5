import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build as bundle, type Plugin } from 'esbuild'
import { build as viteBuild } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serve } from '../support/serve.ts'

/** The most that the typed client may weigh in a page, minified and compressed. */
const budget = 12 * 1024

const page = `
import { createClient, httpLink, socketLink } from '@quintet/server/client'
export const connect = (url) => createClient(url.startsWith('ws') ? socketLink({ url }) : httpLink({ url }))
`

let folder: string
let entry: string
beforeAll(async () => {
  // Below the package, so that its name resolves as it does for an app.
  folder = await mkdtemp(new URL('../bundle-', import.meta.url).pathname)
  entry = join(folder, 'page.js')
  await writeFile(entry, page)
})
afterAll(() => rm(folder, { recursive: true }))

/** Fails for whatever a browser has not. */
const noNodeModules: Plugin = {
  name: 'no-node-modules',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, importer }) => ({
      errors: [{ text: `${importer} imports ${path}` }],
    }))
  },
}

const bundlers: Record<string, () => Promise<string>> = {
  async esbuild() {
    const { outputFiles } = await bundle({
      entryPoints: [entry],
      bundle: true,
      minify: true,
      write: false,
      format: 'esm',
      platform: 'browser',
      plugins: [noNodeModules],
      logLevel: 'silent',
    })
    return outputFiles[0]?.text ?? ''
  },
  async vite() {
    const result = await viteBuild({
      root: folder,
      configFile: false,
      logLevel: 'silent',
      build: { write: false, minify: true, lib: { entry, formats: ['es'] } },
    })
    const [output] = Array.isArray(result) ? result : [result]
    if (output === undefined || !('output' in output)) throw new Error('vite has built nothing.')
    return output.output[0].code
  },
}

describe.each(Object.keys(bundlers))('the client, bundled for a browser by %s', (name) => {
  it('holds no Node module, keeps its budget, and calls', async () => {
    const text = (await bundlers[name]?.()) ?? ''
    expect(text).not.toMatch(/["']node:/)
    expect(gzipSync(text).length).toBeLessThanOrEqual(budget)
    const file = join(folder, `${name}.js`)
    await writeFile(file, text)
    const { connect } = (await import(pathToFileURL(file).href)) as {
      connect: (url: string) => { math: { add(input: object): Promise<unknown> } }
    }
    await using app = await serve()
    expect(await connect(app.url).math.add({ a: 1, b: 2 })).toEqual({ sum: 3 })
  })
})

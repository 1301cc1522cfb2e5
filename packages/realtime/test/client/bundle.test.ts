import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build as buildWithEsbuild } from 'esbuild'
import { build as buildWithVite, type Rollup } from 'vite'
import { describe, expect, it } from 'vitest'

const entry = fileURLToPath(new URL('../../src/client.ts', import.meta.url))
const budget = 4 * 1_024

async function withEsbuild(platform: 'browser' | 'node'): Promise<string> {
  const { outputFiles } = await buildWithEsbuild({
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    platform,
  })
  return outputFiles.map(({ text }) => text).join('')
}

async function withVite(ssr: boolean): Promise<string> {
  const output = (await buildWithVite({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, minify: true, ssr, lib: { entry, formats: ['es'] } },
  })) as Rollup.RollupOutput | Rollup.RollupOutput[]
  return [output]
    .flat()
    .flatMap(({ output: files }) => files.map((file) => ('code' in file ? file.code : '')))
    .join('')
}

describe('the client, bundled', () => {
  it.each([
    ['esbuild for browsers', () => withEsbuild('browser')],
    ['esbuild for Node', () => withEsbuild('node')],
    ['vite for browsers', () => withVite(false)],
    ['vite for Node', () => withVite(true)],
  ])('by %s imports nothing and stays within 4 KB', async (_name, bundle) => {
    const code = await bundle()
    expect(code).toContain('quintet.realtime.v1')
    expect(code).not.toMatch(/\bimport\b|\brequire\b/)
    expect(gzipSync(code).byteLength).toBeLessThanOrEqual(budget)
  })
})

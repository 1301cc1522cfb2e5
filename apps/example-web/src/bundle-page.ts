import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { build, stop } from 'esbuild'

/** A file of the page. */
export interface Asset {
  readonly type: string
  readonly etag: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

export interface WebServices {
  /** By name. */
  readonly assets: ReadonlyMap<string, Asset>
}

const page = join(import.meta.dirname, '../page')
const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
}

/** Bundles the page: one document, one script, one style. */
export async function bundlePage(): Promise<WebServices> {
  const { outputFiles } = await build({
    entryPoints: ['main.ts', 'main.css', 'index.html'].map((file) => join(page, file)),
    loader: { '.html': 'copy' },
    outdir: page,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2024',
    write: false,
  })
  await stop()
  return {
    assets: new Map(outputFiles.map(({ path, contents }) => toAsset(path.slice(page.length + 1), contents))),
  }
}

function toAsset(name: string, contents: Uint8Array): [string, Asset] {
  const bytes = new Uint8Array(contents)
  const hash = createHash('sha256').update(bytes).digest('base64url')
  return [name, { type: types[name.split('.').at(-1) ?? ''] ?? '', etag: `"${hash.slice(0, 22)}"`, bytes }]
}

import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

/**
 * Builds the JavaScript of one package: an entry for each of its exports (and bins), as ESM, with the
 * package's dependencies left outside. Declarations come from `tsc` afterwards.
 */
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string>
  bin?: Record<string, string>
}

export default defineConfig({
  entry: [...Object.values(manifest.exports), ...Object.values(manifest.bin ?? {})],
  format: 'esm',
  target: 'node24',
  platform: 'node',
  splitting: true,
  clean: true,
  sourcemap: true,
  outDir: 'dist',
  dts: false,
})

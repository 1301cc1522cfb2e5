import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, type Gate } from './gate.ts'

/** Builds and packs every public package, and checks the tarball as its users will install it. */
export const packedPackages: Gate = {
  name: 'packed-packages',
  async run() {
    const build = await execute('turbo', ['run', 'build', '--output-logs=errors-only'])
    if (build.code !== 0) return build.output
    const problems: string[] = []
    for (const name of await readdir('packages')) {
      problems.push(...(await checkPacked(join('packages', name))))
    }
    return problems.join('\n')
  },
}

async function checkPacked(directory: string): Promise<readonly string[]> {
  const target = await mkdtemp(join(tmpdir(), 'quintet-pack-'))
  try {
    const packed = await execute('pnpm', ['pack', '--pack-destination', target], directory)
    const tarball = (await readdir(target)).find((file) => file.endsWith('.tgz'))
    if (packed.code !== 0 || tarball === undefined)
      return [`${directory}: cannot be packed\n${packed.output}`]
    const path = join(target, tarball)
    const problems: string[] = []
    const lint = await execute('publint', ['run', path, '--strict'])
    if (lint.code !== 0) problems.push(`${directory}: publint\n${lint.output}`)
    const types = await execute('attw', [path, '--profile', 'esm-only', '--format', 'ascii'])
    if (types.code !== 0) problems.push(`${directory}: attw\n${types.output}`)
    const sources = await listTarball(path)
    for (const file of await missingFiles(directory, sources))
      problems.push(`${directory}: the tarball lacks ${file}`)
    return problems
  } finally {
    await rm(target, { recursive: true, force: true })
  }
}

async function listTarball(path: string): Promise<ReadonlySet<string>> {
  const { output } = await execute('tar', ['-tzf', path])
  return new Set(output.split('\n').map((line) => line.replace(/^package\//, './')))
}

/** The files that the published manifest names and the tarball does not hold. */
async function missingFiles(directory: string, files: ReadonlySet<string>): Promise<readonly string[]> {
  const manifest = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as {
    publishConfig: {
      exports: Record<string, { types: string; default: string }>
      bin?: Record<string, string>
    }
  }
  const named = [
    ...Object.values(manifest.publishConfig.exports).flatMap((entry) => [entry.types, entry.default]),
    ...Object.values(manifest.publishConfig.bin ?? {}),
    './README.md',
  ]
  return named.filter((file) => !files.has(file))
}

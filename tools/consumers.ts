import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startTestServers } from '../packages/orchestrator/src/infrastructure.ts'
import { checkTypes, importEntries, install, runExamples, type Packed } from './consumers/consumer.ts'
import { peerVersions } from './consumers/peer-versions.ts'
import { markdownExamples } from './doctest/examples.ts'
import { execute } from './gates/gate.ts'

// `pnpm consumers [package…]`: installs each packed package into a project of its own, with the lowest and the highest
// versions of its peers; imports its entries, checks its types and runs the examples of its README. Asks the npm registry.

const build = await execute('turbo', ['run', 'build', '--output-logs=errors-only'])
if (build.code !== 0) throw new Error(build.output)
const target = await mkdtemp(join(tmpdir(), 'quintet-consumers-'))
const servers = await startTestServers({})
process.env['DATABASE_URL'] = servers.postgres.url
process.env['REDIS_URL'] = servers.redis.url
try {
  const packages = await packAll()
  const wanted = process.argv.slice(2)
  const unknown = wanted.filter((name) => !packages.some((each) => each.name === `@quintet/${name}`))
  if (unknown.length > 0) throw new Error(`No package is called ${unknown.join(', ')}.`)
  const tarballs = new Map(packages.map(({ name, tarball }) => [name, tarball]))
  for (const packed of packages) {
    if (wanted.length > 0 && !wanted.includes(packed.name.slice('@quintet/'.length))) continue
    for (const { name, versions } of peerVersions(packed.peers)) {
      const problems = await tryOut(packed, name, versions, tarballs)
      const with_ = Object.entries(versions).map(([peer, version]) => `${peer} ${version}`)
      console.log(
        `${problems.length === 0 ? 'ok    ' : 'FAILED'} ${packed.name}, ${name}: ${with_.join(', ')}`,
      )
      for (const problem of problems) console.log(problem)
      if (problems.length > 0) process.exitCode = 1
      if (with_.length === 0) break
    }
  }
} finally {
  await servers.stop()
  await rm(target, { recursive: true, force: true })
}

async function tryOut(
  packed: Packed,
  name: string,
  versions: Readonly<Record<string, string>>,
  tarballs: ReadonlyMap<string, string>,
): Promise<readonly string[]> {
  const consumer = { packed, folder: join(target, `${packed.name.replace('/', '-')}-${name}`) }
  const failed = (await install(consumer, tarballs, versions)) || (await importEntries(consumer))
  if (failed !== '') return [failed]
  return [...(await checkTypes(consumer)), ...(await runExamples(consumer))]
}

interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly publishConfig: { readonly exports: Readonly<Record<string, unknown>> }
}

async function packAll(): Promise<readonly Packed[]> {
  const manifests = new Map<string, Manifest>()
  for (const folder of await readdir('packages')) {
    const text = await readFile(join('packages', folder, 'package.json'), 'utf8')
    manifests.set(folder, JSON.parse(text) as Manifest)
  }
  const siblingsOf = (name: string): readonly string[] => {
    const { dependencies = {} } = [...manifests.values()].find((each) => each.name === name) as Manifest
    const own = Object.keys(dependencies).filter((each) => each.startsWith('@quintet/'))
    return [...new Set([...own, ...own.flatMap(siblingsOf)])]
  }
  return Promise.all(
    [...manifests].map(async ([folder, { name, peerDependencies = {}, publishConfig }]) => {
      const at = join('packages', folder)
      const destination = join(target, folder)
      const packed = await execute('pnpm', ['pack', '--pack-destination', destination], at)
      if (packed.code !== 0) throw new Error(packed.output)
      const [file] = await readdir(destination)
      const page = await readFile(join(at, 'README.md'), 'utf8')
      const examples = markdownExamples('README.md', page).filter(({ prints }) => prints !== undefined)
      // An example shows what a user writes, who has what it imports.
      const siblings = [...siblingsOf(name), ...examples.flatMap(({ code }) => importedSiblings(code))]
      return {
        name,
        tarball: join(destination, file ?? ''),
        entries: Object.keys(publishConfig.exports),
        peers: peerDependencies,
        siblings: [...new Set(siblings.flatMap((each) => [each, ...siblingsOf(each)]))].filter(
          (each) => each !== name,
        ),
        examples,
      }
    }),
  )
}

function importedSiblings(code: string): readonly string[] {
  return [...code.matchAll(/from '(@quintet\/[\w-]+)/g)].map(([, name]) => name ?? '')
}

import { spawn } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mutantEnvironment, type Mutant } from './mutate/mutant.ts'
import { mutationsOf } from './mutate/mutations.ts'

/*
 * pnpm mutate <package> [--count n] [--seed n]: changes one small thing in the package at a time, runs the tests that
 * reach the file, and then all of the package's, and tells which changes no test noticed. Files stay as they are: the change is made while
 * they are loaded.
 */

const root = join(import.meta.dirname, '..')
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '30' }, seed: { type: 'string', default: '1' } },
})
const [name] = positionals
const [count, seed] = [Number(values.count), Number(values.seed)]
const packages = await readdir(join(root, 'packages'))
if (name === undefined || !packages.includes(name) || !(count >= 1) || !Number.isInteger(seed)) {
  console.error(`Usage: pnpm mutate <package> [--count n] [--seed n]. Packages: ${packages.join(', ')}.`)
  process.exit(2)
}

if (!(await passes(['packages/' + name + '/test'], {}))) {
  console.error(`The tests of ${name} fail as they are.`)
  process.exit(1)
}
const sampled = sample(await mutantsOf(name), count, seed)
let noticed = 0
for (const mutant of sampled) {
  const isNoticed = !(await survives(name, mutant))
  if (isNoticed) noticed++
  console.log(`${isNoticed ? 'noticed ' : 'SURVIVED'} ${await describe(mutant)}`)
}
const percent = ((100 * noticed) / sampled.length).toFixed(0)
console.log(`${noticed} of ${sampled.length} noticed (${percent} %), seed ${seed}`)
if (noticed < sampled.length) process.exitCode = 1

async function mutantsOf(packageName: string): Promise<readonly Mutant[]> {
  const folder = join(root, 'packages', packageName, 'src')
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.ts')).toSorted()
  const mutants = await Promise.all(
    files.map(async (each) => {
      const file = join(folder, each)
      return mutationsOf(file, await readFile(file, 'utf8')).map((mutation) => ({ file, ...mutation }))
    }),
  )
  return mutants.flat()
}

/** Draws without repetition, by a generator (mulberry32) that gives the same for the same seed. */
function sample(mutants: readonly Mutant[], wanted: number, from: number): readonly Mutant[] {
  const pool = [...mutants]
  let state = from
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return Array.from({ length: Math.min(wanted, pool.length) }, () =>
    pool.splice(Math.floor(random() * pool.length), 1),
  ).flat()
}

async function survives(packageName: string, mutant: Mutant): Promise<boolean> {
  const hook = `--import=${join(import.meta.dirname, 'mutate/load-hook.ts')}`
  const env = {
    ...mutantEnvironment(mutant),
    NODE_OPTIONS: [process.env['NODE_OPTIONS'], hook].filter(Boolean).join(' '),
  }
  return (
    (await passes(['related', mutant.file], env)) && (await passes([`packages/${packageName}/test`], env))
  )
}

/** Whether the tests pass, in the time that a run may take: a mutant may make them hang. */
async function passes(tests: readonly string[], env: Readonly<Record<string, string>>): Promise<boolean> {
  const config = ['--config', 'tools/mutate/vitest.config.ts']
  const args = [...tests, '--run', '--bail=1', '--passWithNoTests', ...config]
  const child = spawn('vitest', args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: 'ignore',
    timeout: 15 * 60_000,
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return code === 0
}

async function describe({ file, start, end, replacement }: Mutant): Promise<string> {
  const text = await readFile(file, 'utf8')
  const line = text.slice(0, start).split('\n').length
  const short = (code: string): string => code.replaceAll(/\s+/g, ' ').slice(0, 60)
  return `${file.slice(root.length + 1)}:${line}: ${short(text.slice(start, end))} -> ${short(replacement)}`
}

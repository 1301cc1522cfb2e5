import { boundaries } from './gates/boundaries.ts'
import { command, type Gate } from './gates/gate.ts'
import { packedPackages } from './gates/packed-packages.ts'

const typesCache = 'node_modules/.cache/types.tsbuildinfo'

/** Every static gate, in the order of how soon it can tell. `pnpm check types lint` runs only those named. */
const gates: readonly Gate[] = [
  // What it knows of unchanged files is kept, and a second run takes a sixth of the time.
  command('types', 'tsc', [
    '-p',
    'tsconfig.json',
    '--noEmit',
    '--incremental',
    '--tsBuildInfoFile',
    typesCache,
  ]),
  // What runs in browsers.
  command('page', 'tsc', ['-p', 'apps/example-web/page']),
  command('lint', 'oxlint', ['--type-aware', '--deny-warnings']),
  command('format', 'oxfmt', ['--check']),
  command('manifests', 'sherif', ['--fail-on-warnings']),
  command('unused', 'knip', ['--no-config-hints']),
  boundaries,
  packedPackages,
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !gates.some((gate) => gate.name === name))
if (unknown.length > 0) {
  console.error(
    `No gate is called ${unknown.join(', ')}. Gates: ${gates.map((gate) => gate.name).join(', ')}.`,
  )
  process.exit(2)
}

const failed: string[] = []
for (const gate of gates.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const start = performance.now()
  const problems = await gate.run()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${problems === '' ? 'ok    ' : 'FAILED'} ${gate.name} (${seconds} s)`)
  if (problems !== '') {
    console.log(problems)
    failed.push(gate.name)
  }
}
if (failed.length > 0) {
  console.error(`\nGates that failed: ${failed.join(', ')}`)
  process.exitCode = 1
}

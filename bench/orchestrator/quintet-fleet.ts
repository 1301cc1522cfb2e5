import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { EcosystemStatus } from '@quintet/orchestrator'
import { answers, until, type Fleet, type FleetOptions } from './fleet.ts'

export const quintetBin = join(
  dirname(createRequire(import.meta.url).resolve('@quintet/orchestrator')),
  'bin.ts',
)

/** Apps under `quintet up`. */
export async function createQuintetFleet(options: FleetOptions): Promise<Fleet> {
  // Beside this file, whose dependencies they import.
  const project = await mkdtemp(join(import.meta.dirname, 'tmp-'))
  const data = await mkdtemp(join(tmpdir(), 'qb-'))
  const names = Array.from({ length: options.apps }, (_, n) => `app-${n}`)
  const kind = options.reloadable ? 'reloadableApp' : 'trivialApp'
  for (const name of names)
    await writeFile(
      join(project, `${name}.ts`),
      `import { ${kind} } from '../trivial-app.ts'\nexport default ${kind}('${name}')\n`,
    )
  const apps = names.map((name) => ({ name, bootstrap: `./${name}.ts` }))
  await writeFile(
    join(project, 'quintet.config.ts'),
    `import { defineEcosystem } from '@quintet/core/ecosystem'\nexport default defineEcosystem(${JSON.stringify({ project: 'bench', apps })})\n`,
  )

  const quintet = async (...args: string[]): Promise<string> => {
    const where = ['--config', join(project, 'quintet.config.ts'), '--data', data]
    const { stdout } = await promisify(execFile)(process.execPath, [quintetBin, ...args, ...where])
    return stdout
  }
  const status = async (): Promise<EcosystemStatus> =>
    JSON.parse(await quintet('status', '--json')) as EcosystemStatus
  const running: Fleet['apps'] = async () =>
    (await status()).processes.map(({ id, pid, urls }) => ({
      name: id,
      pid: pid ?? 0,
      url: urls['http'] ?? '',
    }))
  let isUp = false
  return {
    async up() {
      const started = performance.now()
      await quintet('up')
      isUp = true
      const elapsed = performance.now() - started
      for (const { url } of await running()) await until(() => answers(url))
      return elapsed
    },
    daemon: async () => (await status()).pid,
    apps: running,
    status: async () => void (await quintet('status')),
    reload: async () => void (await quintet('reload', 'app-0')),
    async down() {
      await quintet('down')
      isUp = false
    },
    async dispose() {
      if (isUp) await quintet('down', '--force')
      await rm(project, { recursive: true, force: true })
      await rm(data, { recursive: true, force: true })
    },
  }
}

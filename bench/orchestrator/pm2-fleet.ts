import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '@quintet/test-kit'
import { answers, until, type Fleet, type FleetOptions } from './fleet.ts'

const pm2Bin = join(dirname(createRequire(import.meta.url).resolve('pm2/package.json')), 'bin/pm2')

/** Apps under PM2: forked, and in cluster mode where they are to be reloaded, since PM2 reloads nothing else gracefully. */
export async function createPm2Fleet(options: FleetOptions): Promise<Fleet> {
  const home = await mkdtemp(join(tmpdir(), 'pm2-'))
  const apps: { name: string; env: { PORT: number }; [key: string]: unknown }[] = []
  for (let n = 0; n < options.apps; n++)
    apps.push({
      name: `app-${n}`,
      script: join(import.meta.dirname, 'plain.mjs'),
      env: { PORT: await freePort() },
      wait_ready: true,
      ...(options.reloadable ? { exec_mode: 'cluster', instances: 1 } : {}),
    })
  const file = join(home, 'apps.json')
  await writeFile(file, JSON.stringify({ apps }))
  const urlOf = ({ env }: { env: { PORT: number } }): string => `http://127.0.0.1:${env.PORT}`

  const pm2 = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, PM2_HOME: home, PM2_DISCRETE_MODE: 'true' }
    const { stdout } = await promisify(execFile)(process.execPath, [pm2Bin, ...args], {
      env,
      maxBuffer: 2 ** 26,
    })
    return stdout
  }
  return {
    async up() {
      const started = performance.now()
      await pm2('start', file)
      for (const app of apps) await until(() => answers(urlOf(app)))
      return performance.now() - started
    },
    daemon: async () => Number(await readFile(join(home, 'pm2.pid'), 'utf8')),
    async apps() {
      const listed = JSON.parse(await pm2('jlist', '--silent')) as { name: string; pid: number }[]
      return apps.map((app) => ({
        name: app.name,
        pid: listed.find(({ name }) => name === app.name)?.pid ?? 0,
        url: urlOf(app),
      }))
    },
    status: async () => void (await pm2('list')),
    reload: async () => void (await pm2('reload', 'app-0')),
    down: async () => void (await pm2('kill')),
    async dispose() {
      await pm2('kill')
      await rm(home, { recursive: true, force: true })
    },
  }
}

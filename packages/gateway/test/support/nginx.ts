import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort, until } from '@quintet/test-kit'
import { generateNginxConfig, type NginxOptions } from '../../src/nginx.ts'

const moduleFolder = '/usr/lib/nginx/modules'
const luaModules = ['ndk_http_module.so', 'ngx_http_lua_module.so'].map((name) => join(moduleFolder, name))

/** Whether an nginx with Lua is installed here, as Debian packages it (libnginx-mod-http-lua, lua-resty-core, lua-nginx-redis). */
export const nginxIsInstalled: boolean =
  spawnSync('nginx', ['-v']).status === 0 &&
  luaModules.every((path) => existsSync(path)) &&
  existsSync('/usr/share/lua/5.1/nginx/redis.lua')

export interface TestNginx extends AsyncDisposable {
  readonly url: string
  readonly log: string
}

/** Starts an nginx with the generated configuration on a free port. */
export async function startNginx(
  options: Omit<NginxOptions, 'modules' | 'workers'>,
  env: Record<string, string> = {},
): Promise<TestNginx> {
  const folder = await mkdtemp(join(tmpdir(), 'quintet-nginx-'))
  const port = await freePort()
  const files = generateNginxConfig({
    port,
    maxConnections: 200,
    ...options,
    modules: luaModules,
    workers: 1,
  })
  for (const [path, text] of Object.entries({ ...files, 'temp/.keep': '' })) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const child = spawn(
    'nginx',
    ['-p', folder, '-c', join(folder, 'nginx.conf'), '-g', 'daemon off; user root;'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    },
  )
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`nginx ended: ${log}`)
      return (await fetch(`${url}/livez`)).ok
    }, 5_000)
  } catch (error) {
    await stop()
    throw new Error(`nginx does not answer: ${log}`, { cause: error })
  }
  return {
    url,
    get log() {
      return log
    },
    [Symbol.asyncDispose]: stop,
  }
}

import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Environment } from '../environment.ts'
import { InfrastructureError } from '../errors.ts'
import { isRoot } from '../server-user.ts'

/** How to run a Redis server that reads its configuration from standard input. */
export interface RedisCommand {
  readonly source: 'path' | 'installed' | 'docker'
  readonly command: string
  /** What comes before the configuration. */
  args(port: number): readonly string[]
  /** Where the server keeps its files, as the server sees it; undefined for the folder that it is given. */
  readonly directory: string | undefined
  /** What it listens on, as the server sees it. */
  listen(port: number): { readonly bind: string; readonly port: number }
}

const names = ['redis-server', 'valkey-server']

/**
 * Finds a Redis: `redis-server` or `valkey-server` on PATH; else, on Debian or Ubuntu as root, installs one
 * with apt; else Docker.
 *
 * @throws InfrastructureError `ERR_INFRASTRUCTURE_NOT_AVAILABLE` with the command to type.
 */
export async function findRedis(
  env: Environment,
  onProgress: (message: string) => void,
): Promise<RedisCommand> {
  const present = findOnPath(names, env)
  if (present) return program(present, 'path')
  if (isRoot() && findOnPath(['apt-get'], env)) {
    await installWithApt(env, onProgress)
    const installed = findOnPath(names, env)
    if (installed) return program(installed, 'installed')
  }
  const docker = findOnPath(['docker'], env)
  if (docker && (await succeeds(docker, ['info'], env))) return container(docker)
  throw new InfrastructureError(
    `There is no Redis to start: no ${names.join(' or ')} on PATH, and no running Docker. ${advice()} Or set REDIS_URL to one that runs.`,
    { code: 'ERR_INFRASTRUCTURE_NOT_AVAILABLE' },
  )
}

function program(command: string, source: 'path' | 'installed'): RedisCommand {
  return {
    source,
    command,
    args: () => ['-'],
    directory: undefined,
    listen: (port) => ({ bind: '127.0.0.1', port }),
  }
}

function container(docker: string): RedisCommand {
  return {
    source: 'docker',
    command: docker,
    // In the foreground: the client passes SIGTERM on, and the container goes with it.
    args: (port) => [
      'run',
      '--rm',
      '-i',
      '-p',
      `127.0.0.1:${port}:6379`,
      'redis:8-alpine',
      'redis-server',
      '-',
    ],
    directory: '/data',
    listen: () => ({ bind: '0.0.0.0', port: 6379 }),
  }
}

export function findOnPath(programs: readonly string[], env: Environment): string | undefined {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  for (const name of programs) {
    for (const folder of folders) {
      const path = join(folder, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // Not here.
      }
    }
  }
  return undefined
}

function advice(): string {
  if (process.platform === 'darwin') return 'Type: brew install redis.'
  if (existsSync('/etc/debian_version')) return 'Type: sudo apt-get install -y redis-server.'
  if (existsSync('/etc/alpine-release')) return 'Type: apk add redis.'
  if (existsSync('/etc/redhat-release')) return 'Type: sudo dnf install -y redis.'
  return 'Install redis-server with your package manager.'
}

/**
 * The package would start a server for the whole machine unasked: while there is a policy
 * that says no, it does not.
 */
const aptScript = `
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy" && chmod 755 "$policy"
fi
install() { apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends redis-server; }
install || { apt-get -o DPkg::Lock::Timeout=120 update && install; }
`

async function installWithApt(env: Environment, onProgress: (message: string) => void): Promise<void> {
  onProgress('Installing redis-server with apt-get')
  const output: string[] = []
  const child = spawn('/bin/sh', ['-c', aptScript], {
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) {
        if (line.trim() === '') continue
        output.push(line)
        if (/^(Get:|Fetched|Unpacking|Setting up)/.test(line))
          onProgress(`apt-get: ${line.trim().slice(0, 100)}`)
      }
    })
  }
  const failure = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code) => resolve(code === 0 ? undefined : `exit code ${code}`))
  })
  if (failure === undefined) return
  throw new InfrastructureError(
    `There is no Redis, and "apt-get install -y redis-server" failed (${failure}):\n${output.slice(-5).join('\n')}\nRepair that and try again, or set REDIS_URL to a Redis that runs.`,
    { code: 'ERR_INFRASTRUCTURE_NOT_AVAILABLE' },
  )
}

function succeeds(command: string, args: readonly string[], env: Environment): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env: env as NodeJS.ProcessEnv, stdio: 'ignore', timeout: 5_000 })
    child.once('error', () => resolve(false))
    child.once('close', (code) => resolve(code === 0))
  })
}

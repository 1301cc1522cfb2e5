import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { procedureDefaults, systemDefaults, type CoreErrorCode } from '../src/kit.ts'
import { settingsDefaults } from '../src/settings.ts'
import type { ErrorKind } from '../src/index.ts'

const root = new URL('../', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')
const blocks = [...readme.matchAll(/^```ts\n([\s\S]*?)\n```$/gm)].map(([, code = '']) => code)

/** Every code once, with its kind: the compiler holds the keys against the union. */
const codes: Record<CoreErrorCode, ErrorKind> = {
  ERR_CORE_CANCELED: 'canceled',
  ERR_CORE_CONFIG_INVALID: 'internal',
  ERR_CORE_DEADLINE_EXCEEDED: 'timeout',
  ERR_CORE_FORBIDDEN: 'forbidden',
  ERR_CORE_INTERNAL: 'internal',
  ERR_CORE_INVALID_INPUT: 'invalid-input',
  ERR_CORE_NOT_FOUND: 'not-found',
  ERR_CORE_OVERLOADED: 'unavailable',
  ERR_CORE_SETTING_INVALID: 'invalid-input',
  ERR_CORE_RATE_LIMITED: 'rate-limited',
  ERR_CORE_SETTINGS_CONFLICT: 'conflict',
  ERR_CORE_START_FAILED: 'internal',
  ERR_CORE_STOPPING: 'unavailable',
  ERR_CORE_STOP_FAILED: 'internal',
  ERR_CORE_UNAUTHENTICATED: 'unauthenticated',
  ERR_CORE_UNAVAILABLE: 'unavailable',
}

async function sources(folder: string): Promise<string> {
  const names = await readdir(new URL(folder, root), { recursive: true })
  const files = names.filter((name) => name.endsWith('.ts'))
  return (await Promise.all(files.map((name) => readFile(new URL(`${folder}${name}`, root), 'utf8')))).join(
    '\n',
  )
}

describe('the exports', () => {
  it('are those of the README', async () => {
    const index = await readFile(new URL('src/index.ts', root), 'utf8')
    const exported = [...index.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names = '']) =>
      names.split(',').flatMap((name) => name.replace(/^\s*(?:type )?/, '').trim() || []),
    )
    const section = readme.split('## What it exports')[1]?.split('## Links')[0] ?? ''
    const rows = section
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .join('\n')
    const listed = [...rows.matchAll(/`(\w+)`/g)].map(([, name]) => name)
    expect(listed.toSorted()).toEqual(exported.toSorted())
  })
})

describe('the errors', () => {
  it('are those of the README, with their kinds', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_CORE_\w+)` \| ([\w-]+) \|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    expect(Object.fromEntries(rows)).toEqual(codes)
    expect(rows).toHaveLength(Object.keys(codes).length)
  })

  it('are those that the code throws, with one kind each', async () => {
    const thrown = [...(await sources('src/')).matchAll(/code: '(ERR_CORE_\w+)',\s*kind: '([\w-]+)'/g)]
    const kinds = new Map<string, Set<string>>()
    for (const [, code = '', kind = ''] of thrown) kinds.set(code, (kinds.get(code) ?? new Set()).add(kind))
    expect(Object.fromEntries([...kinds].map(([code, each]) => [code, [...each].join()]))).toEqual(codes)
  })
})

describe('the README', () => {
  it('states the defaults that the code has', () => {
    const { shutdown, process: defaults, health, dev } = systemDefaults
    for (const row of [
      `| \`timeout\` | \`'${procedureDefaults.timeout}'\`, none for streams |`,
      `| \`maxInputSize\` | \`'${procedureDefaults.maxInputSize}'\` |`,
      `| \`shutdown.timeout\` | \`'${shutdown.timeout}'\` |`,
      `| \`shutdown.priority\` | ${shutdown.priority} |`,
      `| \`shutdown.drainConnections\` | ${shutdown.drainConnections} |`,
      `| \`dev.logLevel\`, \`dev.sourceMaps\` | \`'${dev.logLevel}'\`, ${dev.sourceMaps} |`,
      `| \`critical\` | ${defaults.critical} |`,
      `| \`instances\` | ${defaults.instances} |`,
      `| \`startupTimeout\` | \`'${defaults.startupTimeout}'\` |`,
      `| \`maxConcurrentCalls\` | ${defaults.maxConcurrentCalls.toLocaleString('en').replace(',', ' ')} |`,
      `\`{ interval: '${health.interval}', timeout: '${health.timeout}', retries: ${health.retries} }\``,
      `(\`pollInterval\`, \`'${settingsDefaults.pollInterval}'\`)`,
    ]) {
      expect(readme).toContain(row)
    }
  })

  it('has a system of two processes that runs from its blocks alone', async () => {
    await using cleanup = new AsyncDisposableStack()
    const folder = await mkdtemp(join(tmpdir(), 'quintet-readme-'))
    cleanup.defer(() => rm(folder, { recursive: true }))
    const port = await freePort()
    for (const block of blocks) {
      const path = /^\/\/ (src\/\S+)\n/.exec(block)?.[1]
      if (path === undefined) continue
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), block.replace('port: 3000', `port: ${port}`))
    }
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')

    const processes = ['images', 'http'].map((name) => start(folder, name))
    for (const child of processes) cleanup.defer(() => stop(child))
    await Promise.all(processes.map(untilStarted))

    const response = await fetch(`http://127.0.0.1:${port}/rpc/gallery/show`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name":"a bird"}',
    })
    expect(await response.json()).toEqual({
      title: 'Uffizi',
      picture: `a picture of a bird, painted by process ${processes[0]?.pid}`,
    })
    await Promise.all(processes.map(stop))
    expect(processes.map((child) => child.exitCode)).toEqual([0, 0])
  }, 30_000)
})

function start(folder: string, name: string): ChildProcess {
  const hooks = new URL('test/workspace-hooks.ts', root).href
  return spawn(process.execPath, ['--import', hooks, 'src/main.ts', name], {
    cwd: folder,
    env: { ...process.env, LINK_SECRET: 'x'.repeat(64), GALLERY_TITLE: 'Uffizi' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

function untilStarted(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    child.stdout?.on('data', (chunk) => {
      output += String(chunk)
      if (output.includes('"started"')) resolve()
    })
    child.once('exit', () => reject(new Error(`the process ended: ${output}`)))
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

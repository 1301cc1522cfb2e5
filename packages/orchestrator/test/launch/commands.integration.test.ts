import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { startEcosystem, type EcosystemEvent, type RunningEcosystem } from '../../src/index.ts'

// A whole ecosystem runs here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const fixture = fileURLToPath(new URL('../fixtures/commands/quintet.config.ts', import.meta.url))
const example = fileURLToPath(new URL('../../examples/commands/quintet.config.ts', import.meta.url))

interface Told {
  readonly pid: number
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

describe('an app that is a command', () => {
  const events: EcosystemEvent[] = []
  let folder: string
  let ecosystem: RunningEcosystem
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'qc-'))
    ecosystem = await startEcosystem(fixture, {
      dataDirectory: folder,
      env: { ...process.env, PLAIN_OWN: 'mine', OTHER_SECRET: 'not for it' },
      onEvent: (event) => events.push(event),
    })
  })
  afterAll(async () => {
    await ecosystem?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const urlOf = (id: string, transport = 'http'): string => ecosystem.urls[id]?.[transport] ?? ''
  const ask = async (url: string): Promise<Told> =>
    (await (await fetch(url, { headers: { connection: 'close' } })).json()) as Told
  const find = async (id: string) => (await ecosystem.status()).processes.find((each) => each.id === id)
  const turned = (id: string, phase: string): number =>
    events.findIndex((event) => event.type === 'process' && event.id === id && event.to === phase)

  it('is ready when it answers, and what depends on it starts then', async () => {
    const { processes } = await ecosystem.status()
    expect(processes.map(({ id, phase }) => [id, phase])).toEqual([
      ['plain/main', 'ready'],
      ['socket/main', 'ready'],
      ['worker/main', 'ready'],
      ['gateway/http', 'ready'],
    ])
    expect(turned('plain/main', 'ready')).toBeLessThan(turned('socket/main', 'starting'))
    expect(turned('socket/main', 'ready')).toBeLessThan(turned('worker/main', 'starting'))
    await until(() => ecosystem.logs('worker/main').some((line) => line.includes('works')))
  })

  it('gets its ports, a database, Redis and its secrets, and none of the keys of ours', async () => {
    const { args, env } = await ask(urlOf('plain/main'))
    expect(args).toEqual(['argument'])
    expect(urlOf('plain/main')).toBe(`http://127.0.0.1:${env['PORT']}`)
    expect(env).toMatchObject({
      COLOR: 'red',
      PLAIN_OWN: 'mine',
      PORT_HTTP: env['PORT'],
      PORT_ADMIN: new URL(urlOf('plain/main', 'admin')).port,
      PLAIN_DATABASE__URL: expect.stringMatching(/^postgres/) as string,
      PLAIN_REDIS__URL: expect.stringMatching(/^redis/) as string,
      PLAIN_SECRETS__COOKIE: ecosystem.secret('cookie'),
    })
    const ours = Object.keys(env).filter((name) => /^(QUINTET_|OTHER_|GATEWAY_)/.test(name))
    expect(ours.toSorted()).toEqual(['QUINTET_MARK', 'QUINTET_PUBLIC_ORIGIN', 'QUINTET_PUBLIC_URL'])
  })

  it('is reached through the gateway', async () => {
    const { args } = await ask(`${ecosystem.gatewayUrl}/api/plain/anything`)
    expect(args).toEqual(['argument'])
  })

  it('is unhealthy while its path says so, is restarted when it gives no answer, and after a crash', async () => {
    const url = urlOf('plain/main')
    await ask(`${url}/sick`)
    await until(async () => (await find('plain/main'))?.phase === 'unhealthy')
    await ask(`${url}/well`)
    await until(async () => (await find('plain/main'))?.phase === 'ready')
    expect((await find('plain/main'))?.restarts).toBe(0)

    await expect(fetch(`${url}/crash`)).rejects.toThrow()
    await until(async () => (await find('plain/main'))?.restarts === 1)
    await until(async () => (await find('plain/main'))?.phase === 'ready')
    expect(await find('plain/main')).toMatchObject({ lastFailure: 'exit code 7' })

    fetch(`${url}/hang`).catch(() => undefined)
    await until(async () => (await find('plain/main'))?.restarts === 2)
    await until(async () => (await find('plain/main'))?.phase === 'ready')
  })

  it('is stopped by SIGTERM', async () => {
    await ecosystem.restart('plain')
    expect(ecosystem.logs('plain/main').some((line) => line.includes('has heard SIGTERM'))).toBe(true)
  })
})

it('the example runs programs that know nothing of Quintet', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'qc-'))
  try {
    await using ecosystem = await startEcosystem(example, { dataDirectory: folder })
    const answer = await fetch(`${ecosystem.gatewayUrl}/api/shop/tea`)
    expect(await answer.text()).toMatch(/^hello, .*tea$/)
    await until(() => ecosystem.logs('mailer/main').some((line) => line.includes('sends mail')))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

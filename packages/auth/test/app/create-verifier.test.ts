import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createApp, defineProcess, defineSystem, overrides, silentLogger, type Schema } from '@quintet/core'
import { freePort, redisUrl } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createVerifier, type VerifierConfig } from '../../src/app.ts'
import { jwksAnswer, type JwtAuthManager } from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'

let redis: Redis
let auth: TestAuth

beforeAll(async () => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: 0 })
  auth = await createTestAuth({ redis })
})

afterAll(async () => {
  await auth.close()
  redis.disconnect()
})

const schema: Schema<unknown, VerifierConfig> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as VerifierConfig }) },
}

const systemThatTrusts = (jwksUrl: string) =>
  defineSystem({
    name: 'app',
    version: '1.0.0',
    config: {
      schema,
      sources: [
        overrides({
          identity: { issuer: auth.issuer, audience: auth.audience, jwksUrl },
          secrets: { cnf: auth.secrets.cnf.reveal() },
        }),
      ],
    },
    setup: (context) => ({
      verifier: createVerifier(context, { client: () => redis }, { clock: auth.clock }),
    }),
    processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
  })

describe('createVerifier', () => {
  it('takes the tokens of the issuer of the configuration', async () => {
    const issuer = createServer((_, response) => {
      const { body, headers } = jwksAnswer(auth.keys)
      response.writeHead(200, headers).end(body)
    })
    await once(issuer.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks.json`
    await using app = await createApp(systemThatTrusts(url), { logger: silentLogger, env: {} })
    expect((await app.health.report()).status).toBe('pass')
    const { verifier } = app.services as { verifier: JwtAuthManager }
    const { accessToken } = await auth.signIn({ roles: ['editor'] })
    const credentials = { scheme: 'bearer', token: accessToken } as const
    expect(await verifier.authenticate(credentials)).toMatchObject({ kind: 'user', roles: ['editor'] })
    issuer.close()
  })

  it('is not ready while it has no keys', async () => {
    const url = `http://127.0.0.1:${await freePort()}/jwks.json`
    await using app = await createApp(systemThatTrusts(url), { logger: silentLogger, env: {} })
    expect((await app.health.report()).status).toBe('fail')
  })
})

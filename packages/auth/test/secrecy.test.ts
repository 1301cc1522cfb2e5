import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import { createLogger, type Logger } from '@quintet/core'
import {
  createDpopVerifier,
  createJwtAuthManager,
  createKeyRing,
  createSessionAuthority,
  deriveSecrets,
} from '../src/index.ts'
import { startPrivateRedis } from '@quintet/test-kit'
import { RefreshTokenCodec } from '../src/sessions/refresh-token.ts'
import { connect } from './support/redis.ts'
import { createSessionDatabase, type SessionDatabase } from './support/modes.ts'

let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  redis = connect()
  database = await createSessionDatabase()
})
afterAll(async () => {
  redis.disconnect()
  await database[Symbol.asyncDispose]()
})

const root = 'root-secret-that-nobody-may-ever-see'
const secrets = deriveSecrets(root)

describe('secrets', () => {
  it('show themselves to nobody who does not ask', () => {
    const all = Object.values(secrets) as { reveal(): string }[]
    const shown = `${inspect(secrets, { depth: 9, showHidden: true })} ${JSON.stringify(secrets)} ${all.map(String).join()}`
    for (const secret of all) expect(shown).not.toContain(secret.reveal())
    expect(shown).not.toContain(root)
  })

  it('are all different, and the same for the same root', () => {
    const all = Object.values(secrets).map((secret: { reveal(): string }) => secret.reveal())
    expect(new Set(all).size).toBe(all.length)
    expect(deriveSecrets({ reveal: () => root }).cnf.reveal()).toBe(secrets.cnf.reveal())
    expect(deriveSecrets(Buffer.from(root)).csrf.reveal()).toBe(secrets.csrf.reveal())
    expect(() => deriveSecrets('short')).toThrow('32 bytes')
  })

  it('and tokens are in no log line, no event, no error and not readable in Redis or PostgreSQL', async () => {
    const lines: string[] = []
    const sink = { write: (line: string) => void lines.push(line) }
    const logger: Logger = createLogger({ level: 'trace', destination: sink })
    const keys = await createKeyRing()
    const shared = { keys, issuer: 'i', audience: 'a' }
    const heard: string[] = []
    const audit = (event: object): void => void heard.push(inspect(event, { depth: 9 }))
    const store = database.store()
    const tenantId = `secrecy-${process.pid}`
    await using server = await startPrivateRedis()
    const fragile = connect(server.url)
    const errors: unknown[] = []
    const seen: string[] = []
    const collect = async (promise: Promise<unknown>): Promise<void> => {
      await promise.catch((error: unknown) => errors.push(error))
    }
    for (const [client, kept] of [
      [redis, undefined],
      [fragile, store],
    ] as const) {
      await using authority = createSessionAuthority({
        redis: client,
        secrets,
        logger,
        audit,
        ...shared,
        ...(kept === undefined ? {} : { store: kept }),
      })
      await using manager = createJwtAuthManager({
        logger,
        audit,
        sessionRedis: client,
        cnf: { secret: secrets.cnf },
        ...shared,
        ...(kept === undefined ? {} : { sessionLookup: kept.find.bind(kept) }),
      })
      const first = await authority.signIn({ userId: 'alice', tenantId })
      const second = await authority.refresh(first.refreshToken)
      const stored =
        kept === undefined
          ? ''
          : JSON.stringify((await database.pool.query('select * from auth_sessions')).rows)
      const hash = await client.hgetall(`s:{${tenantId}:alice}:${first.session.sessionId}`)
      for (const tokens of [first, second]) {
        const codec = new RefreshTokenCodec(secrets, 'test')
        const { secret } = codec.parse(tokens.refreshToken)
        seen.push(tokens.accessToken, tokens.accessToken.split('.')[2] ?? '', tokens.refreshToken, secret)
        expect(stored + JSON.stringify(hash)).not.toContain(secret)
      }
      await collect(manager.authenticate({ scheme: 'bearer', token: first.accessToken }))
      await collect(manager.authenticate({ scheme: 'bearer', token: `${first.accessToken}x` }))
      await collect(authority.refresh(`${second.refreshToken}x`))
      await collect(
        createDpopVerifier({ redis: client }).verify(first.accessToken, {
          method: 'GET',
          url: 'https://a',
          accessToken: second.accessToken,
        }),
      )
      if (kept !== undefined) {
        server.freeze()
        await collect(authority.refresh(second.refreshToken))
        await collect(manager.authenticate({ scheme: 'bearer', token: second.accessToken }))
        await collect(authority.revoke(second.session))
        server.thaw()
      } else {
        await authority.revoke(second.session)
        await collect(authority.refresh(second.refreshToken))
      }
    }
    fragile.disconnect()
    for (const error of errors) logger.error({ err: error }, 'refused')
    const everything = [
      ...lines,
      ...heard,
      ...errors.map((error) => inspect(error, { depth: 9, showHidden: true })),
    ].join('\n')
    expect(errors.length).toBeGreaterThanOrEqual(8)
    expect(heard.length).toBeGreaterThan(3)
    const privateParts = keys.export().map(({ jwk }) => jwk.d ?? '')
    const derived = Object.values(secrets).map((secret: { reveal(): string }) => secret.reveal())
    for (const secret of [root, ...derived, ...privateParts, ...seen]) {
      expect(secret.length).toBeGreaterThan(20)
      expect(everything).not.toContain(secret)
    }
  })
})

import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPrivateRedis, type PrivateRedis } from '@quintet/test-kit'
import type { SessionRedis, SessionTokens } from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { sessionKey } from '../../src/sessions/session-keys.ts'
import { codeOf } from '../support/code-of.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { connect } from '../support/redis.ts'

let server: PrivateRedis
let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  server = await startPrivateRedis({ args: ['--maxmemory-policy', 'noeviction'] })
  redis = connect(server.url)
  database = await createSessionDatabase()
})
afterAll(async () => {
  redis.disconnect()
  await database[Symbol.asyncDispose]()
  await server.stop()
})

/** A Redis whose memory is used up just before a command is sent, counted from when it is told so. */
function filling(): SessionRedis & { fillAt(command: number): void; empty(): Promise<void>; sent: number } {
  let at = Infinity
  const self = {
    sent: 0,
    fillAt(command: number): void {
      self.sent = 0
      at = command
    },
    async empty(): Promise<void> {
      at = Infinity
      await redis.config('SET', 'maxmemory', '0')
    },
    get: (key: string) => send(() => redis.get(key)),
    hmget: (key: string, ...fields: string[]) => send(() => redis.hmget(key, ...fields)),
    evalsha: (sha: string, keys: number, ...args: string[]) => send(() => redis.evalsha(sha, keys, ...args)),
    eval: (lua: string, keys: number, ...args: string[]) => send(() => redis.eval(lua, keys, ...args)),
  }
  async function send<T>(command: () => Promise<T>): Promise<T> {
    if (self.sent++ === at) await redis.config('SET', 'maxmemory', '1')
    return await command()
  }
  return self
}

const token = (tokens: SessionTokens) => ({ scheme: 'bearer', token: tokens.accessToken }) as const
const works = async (auth: TestAuth, tokens: SessionTokens): Promise<boolean> =>
  (await codeOf(auth.manager.authenticate(token(tokens)))) === 'resolved'

const modes = ['with PostgreSQL', 'in Redis alone'] as const
/** More commands than any step takes. */
const points = Array.from({ length: 5 }, (_, index) => index)

describe.each(modes)('when the memory of Redis is used up at any command, %s', (mode) => {
  const kit = async () => {
    const far = filling()
    const store = mode === 'with PostgreSQL' ? { store: database.store() } : {}
    const auth = await createTestAuth({
      redis: far,
      authority: store,
      manager: store.store === undefined ? {} : { sessionLookup: (ref) => store.store.find(ref) },
    })
    return { far, auth }
  }

  const endings: Record<
    string,
    (auth: TestAuth, tokens: SessionTokens, other: SessionTokens) => Promise<unknown>
  > = {
    revoke: (auth, { session }) => auth.authority.revoke(session),
    revokeAll: (auth, { session }) => auth.authority.revokeAll(session),
    revokeOthers: (auth, _, { session }) => auth.authority.revokeOthers(session),
    signOut: (auth, { refreshToken }) => auth.authority.signOut(refreshToken),
  }
  it.each(Object.keys(endings))('%s ends the session and says so', async (how) => {
    for (const point of points) {
      const { far, auth } = await kit()
      const [tokens, other] = [await auth.signIn(), await auth.signIn()]
      far.fillAt(point)
      try {
        await endings[how]?.(auth, tokens, other)
        expect(await codeOf(auth.manager.authenticate(token(tokens)))).toBe('ERR_AUTH_SESSION_REVOKED')
        expect(await works(auth, other)).toBe(how !== 'revokeAll')
      } finally {
        await far.empty()
        await auth.close()
      }
    }
  })

  it('a used refresh token that comes back ends the session', async () => {
    for (const point of points) {
      const { far, auth } = await kit()
      const first = await auth.signIn()
      const second = await auth.authority.refresh(first.refreshToken)
      const third = await auth.authority.refresh(second.refreshToken)
      far.fillAt(point)
      try {
        expect(await codeOf(auth.authority.refresh(first.refreshToken))).toBe('ERR_AUTH_REFRESH_REUSED')
        expect(await codeOf(auth.manager.authenticate(token(third)))).toBe('ERR_AUTH_SESSION_REVOKED')
      } finally {
        await far.empty()
        await auth.close()
      }
    }
  })

  // What Redis alone has lost is lost.
  const states = mode === 'with PostgreSQL' ? ['warm', 'cold'] : ['warm']
  it.each(states)('a refresh of a %s session gives tokens that work, or changes nothing', async (state) => {
    for (const point of points) {
      const { far, auth } = await kit()
      const tokens = await auth.signIn()
      if (state === 'cold') await redis.del(sessionKey(tokens.session))
      far.fillAt(point)
      try {
        const next = await auth.authority.refresh(tokens.refreshToken).catch(() => undefined)
        if (next !== undefined) expect(await works(auth, next)).toBe(true)
        await far.empty()
        if (next === undefined) expect(await works(auth, tokens)).toBe(true)
        expect(await works(auth, await auth.authority.refresh((next ?? tokens).refreshToken))).toBe(true)
      } finally {
        await far.empty()
        await auth.close()
      }
    }
  })

  it('a sign-in that is refused evicts no session', async () => {
    for (const point of points) {
      const { far, auth } = await kit()
      const tokens = await auth.signIn()
      far.fillAt(point)
      try {
        const made = await codeOf(auth.signIn())
        await far.empty()
        expect(await auth.authority.list(tokens.session)).toHaveLength(made === 'resolved' ? 2 : 1)
        expect(await works(auth, tokens)).toBe(true)
      } finally {
        await far.empty()
        await auth.close()
      }
    }
  })
})

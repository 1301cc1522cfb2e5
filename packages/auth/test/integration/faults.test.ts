import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTrackedCache } from '@quintet/redis'
import { startPrivateRedis, until, type PrivateRedis } from '@quintet/test-kit'
import type { TrackedSessions } from '../../src/index.ts'
import { createTestAuth, type TestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { startFailoverPair } from '../support/failover.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { connect } from '../support/redis.ts'

let database: SessionDatabase
beforeAll(async () => {
  database = await createSessionDatabase()
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

/** How long one answer may take: the command timeout, a re-warm, and room for a busy machine. */
const bound = 4_000

/** Calls without a pause for as long as it is asked to, and every answer with the time that it took. */
class Load {
  readonly counts = new Map<string, number>()
  slowest = 0
  #going = true
  readonly #lanes: Promise<void>[]

  constructor(call: () => Promise<unknown>, lanes = 4) {
    this.#lanes = Array.from({ length: lanes }, () => this.#lane(call))
  }

  count(code: string): number {
    return this.counts.get(code) ?? 0
  }

  async stop(): Promise<void> {
    this.#going = false
    await Promise.all(this.#lanes)
  }

  async #lane(call: () => Promise<unknown>): Promise<void> {
    while (this.#going) {
      const started = performance.now()
      const code = await codeOf(call())
      this.slowest = Math.max(this.slowest, performance.now() - started)
      this.counts.set(code, this.count(code) + 1)
      // Lets the others and the network have their turn.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

async function kit(redis: Redis, freshness: 'strict' | 'tracked'): Promise<TestAuth> {
  const store = database.store()
  let cache: TrackedSessions | undefined
  const auth = await createTestAuth({
    redis,
    authority: { store, commandTimeout: 300 },
    manager: {
      sessionLookup: (ref) => store.find(ref),
      commandTimeout: 300,
      ...(freshness === 'strict'
        ? {}
        : {
            freshness,
            track: (options) => (cache = createTrackedCache({ client: redis, lease: 300, ...options })),
          }),
    },
  })
  await cache?.whenTrusted()
  return auth
}

/**
 * Runs load on a live and on a revoked session while something happens to Redis. Whatever it is, the live one is never
 * refused but as unavailable, the revoked one never accepted, and afterwards the same manager works again.
 */
async function underLoad(
  auth: TestAuth,
  happen: (live: Load, signIns: Load) => Promise<void>,
): Promise<{ readonly live: Load; readonly signIns: Load }> {
  const live = await auth.signIn()
  const revoked = await auth.signIn()
  await auth.authority.revoke(revoked.session)
  const call = (token: string) => () => auth.manager.authenticate({ scheme: 'bearer', token })
  await call(live.accessToken)()
  const loads = {
    live: new Load(call(live.accessToken)),
    revoked: new Load(call(revoked.accessToken)),
    signIns: new Load(() => auth.signIn({ userId: 'bob' }), 1),
  }
  await until(() => loads.live.count('resolved') > 10 && loads.revoked.count('ERR_AUTH_SESSION_REVOKED') > 10)
  await happen(loads.live, loads.signIns)
  const [passed, refused, made] = [
    loads.live.count('resolved'),
    loads.revoked.count('ERR_AUTH_SESSION_REVOKED'),
    loads.signIns.count('resolved'),
  ]
  await until(
    () =>
      loads.live.count('resolved') > passed + 10 &&
      loads.revoked.count('ERR_AUTH_SESSION_REVOKED') > refused + 10 &&
      loads.signIns.count('resolved') > made,
    20_000,
  )
  for (const load of Object.values(loads)) await load.stop()
  const others = (load: Load, ...expected: string[]): string[] =>
    [...load.counts.keys()].filter((code) => ![...expected, 'ERR_AUTH_UNAVAILABLE'].includes(code))
  expect(others(loads.live, 'resolved')).toEqual([])
  expect(others(loads.revoked, 'ERR_AUTH_SESSION_REVOKED')).toEqual([])
  expect(others(loads.signIns, 'resolved')).toEqual([])
  for (const load of Object.values(loads)) expect(load.slowest).toBeLessThan(bound)
  return loads
}

const unavailable = (load: Load, times = 20): Promise<unknown> =>
  until(() => load.count('ERR_AUTH_UNAVAILABLE') >= times, 10_000)

describe.each(['strict', 'tracked'] as const)(
  'in %s mode, calls are never refused nor let through when Redis',
  (mode) => {
    let server: PrivateRedis
    let redis: Redis
    let auth: TestAuth
    beforeAll(async () => {
      server = await startPrivateRedis()
      redis = connect(server.url)
      auth = await kit(redis, mode)
    })
    afterAll(async () => {
      await auth.close()
      redis.disconnect()
      await server.stop()
    })

    it('is stopped and comes back empty', async () => {
      await underLoad(auth, async (load) => {
        await server.kill()
        await unavailable(load)
        await server.restart()
      })
    })

    it('is emptied', async () => {
      await underLoad(auth, async () => {
        const admin = connect(server.url)
        await admin.flushall()
        admin.disconnect()
      })
    })

    it('is frozen', async () => {
      await underLoad(auth, async (load) => {
        server.freeze()
        await unavailable(load).finally(() => server.thaw())
      })
    })

    it('is slow', async () => {
      await underLoad(auth, async (load) => {
        const admin = connect(server.url)
        // Every command of every client waits so long.
        await admin.client('PAUSE', 2_000, 'ALL')
        await unavailable(load)
        await admin.client('UNPAUSE')
        admin.disconnect()
      })
    })

    it('is out of memory, and then only what must be written is unavailable', async () => {
      const loads = await underLoad(auth, async (load, signIns) => {
        const admin = connect(server.url)
        await admin.config('SET', 'maxmemory', '1')
        await unavailable(signIns, 8)
        const passed = load.count('resolved')
        await until(() => load.count('resolved') > passed + 100)
        await admin.config('SET', 'maxmemory', '0')
        admin.disconnect()
      })
      expect([...loads.live.counts.keys()]).toEqual(['resolved'])
    })
  },
)

describe('when Redis fails over', () => {
  it('calls are unavailable until the replica has taken over, and then go on', async () => {
    await using pair = await startFailoverPair()
    const redis = pair.client()
    await using strict = await kit(redis, 'strict')
    await using tracked = await kit(redis, 'tracked')
    let ready = 0
    let killed: Promise<void> | undefined
    const kill = async (): Promise<void> => {
      await pair.replicated()
      await pair.killPrimary()
    }
    const failOver = async (load: Load): Promise<void> => {
      ready++
      await until(() => ready === 2)
      await (killed ??= kill())
      await unavailable(load)
    }
    await Promise.all([strict, tracked].map((auth) => underLoad(auth, failOver)))
    redis.disconnect()
  }, 60_000)
})

import type { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { advisoryLockKey, createSingletonJob, withAdvisoryLock } from '../../src/data.ts'
import { startSilentProxy, type SilentProxy } from '../fixtures/silent-proxy.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let proxy: SilentProxy

beforeAll(async () => {
  fixture = await createTwoTenants()
  proxy = await startSilentProxy(fixture.url)
})
afterAll(async () => {
  await proxy[Symbol.asyncDispose]()
  await fixture.drop()
})

/** A pool whose connections can be lost without a word. */
const losable = (): Pool => fixture.pgPool({ connectionString: proxy.through(fixture.url) })

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve())
  })

describe('a lock whose connection is lost without a word', () => {
  it('aborts the signal, and leaves the lock to the next one', { timeout: 30_000 }, async () => {
    const held = withAdvisoryLock(
      losable(),
      'silent',
      async (signal) => {
        proxy.fallSilent()
        await untilAborted(signal)
      },
      { heartbeat: 500 },
    )
    await expect(held).rejects.toMatchObject({
      code: 'ERR_RLS_LOCK_LOST',
      cause: { code: 'ERR_RLS_DATABASE_UNAVAILABLE' },
    })
    expect(await withAdvisoryLock(losable(), 'silent', async () => 'next')).toBe('next')
  })

  it('ends the call within its limits when the function has not waited for the signal', async () => {
    const held = withAdvisoryLock(losable(), 'done', async () => proxy.fallSilent(), { heartbeat: 500 })
    await expect(held).resolves.toBeUndefined()
    expect(await withAdvisoryLock(losable(), 'done', async () => 'next')).toBe('next')
  })

  it('lets a job close', { timeout: 30_000 }, async () => {
    const job = createSingletonJob({ pool: losable(), name: 'leader', run: untilAborted })
    await vi.waitFor(() => expect(job.leading).toBe(true))
    proxy.fallSilent()
    await job.close()
    expect(job.leading).toBe(false)
  })
})

describe('a lock that its session holds no more', () => {
  it('is lost', async () => {
    const key = advisoryLockKey('taken away')
    const held = withAdvisoryLock(
      {
        async connect() {
          const client = await fixture.pgPool().connect()
          const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<unknown>
          client.query = (async (text: string, values?: unknown[]) => {
            if (text.includes('pg_locks')) await query('select pg_advisory_unlock($1)', [key])
            return query(text, values)
          }) as typeof client.query
          return client
        },
      },
      'taken away',
      untilAborted,
      { heartbeat: 50 },
    )
    await expect(held).rejects.toMatchObject({ code: 'ERR_RLS_LOCK_LOST' })
  })
})

describe('the heartbeat of a lock', () => {
  it('keeps the connection from being idle', { timeout: 30_000 }, async () => {
    const beats = new Set<string>()
    const beat = async (): Promise<void> => {
      const [row] = await fixture.asAdmin<{ at: string }>(
        `select query_start::text as at from pg_stat_activity where query like '%pg_locks%' and usename = $1`,
        [fixture.roles.login],
      )
      if (row !== undefined) beats.add(row.at)
      expect(beats.size).toBeGreaterThan(1)
    }
    const run = (): Promise<void> => vi.waitFor(beat, { timeout: 20_000 })
    await withAdvisoryLock(fixture.pgPool(), 'busy', run, { heartbeat: '1s' })
  })
})

describe('a lock of a server that does not answer', () => {
  it.each([
    ['its time', () => ({ timeout: 500 }), { code: 'ERR_RLS_DATABASE_UNAVAILABLE' }],
    ['its signal', () => ({ signal: AbortSignal.timeout(500) }), { name: 'TimeoutError' }],
  ])('is given up after %s', { timeout: 20_000 }, async (_, options, error) => {
    const pool = losable()
    await pool.query('select 1')
    proxy.fallSilent()
    await expect(withAdvisoryLock(pool, 'unanswered', async () => 1, options())).rejects.toMatchObject(error)
    expect(await withAdvisoryLock(pool, 'unanswered', async () => 'again')).toBe('again')
  })
})

describe('a lock that is given up while another one is held', () => {
  it('leaves the other its connection', { timeout: 20_000 }, async () => {
    const pool = losable()
    let delayed = false
    const slow = {
      async connect() {
        const client = await pool.connect()
        const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<unknown>
        client.query = (async (text: string, values?: unknown[]) => {
          const answer = await query(text, values)
          if (delayed && text.includes('pg_try')) await new Promise((resolve) => setTimeout(resolve, 1_500))
          return answer
        }) as typeof client.query
        return client
      },
    }
    await withAdvisoryLock(slow, 'kept', async (signal) => {
      delayed = true
      await expect(withAdvisoryLock(slow, 'late', async () => 1, { timeout: 0 })).rejects.toMatchObject({
        code: 'ERR_RLS_DATABASE_UNAVAILABLE',
      })
      expect(signal.aborted).toBe(false)
      // What was granted too late is given back.
      expect(await withAdvisoryLock(fixture.pgPool(), 'late', async () => 'free')).toBe('free')
    })
  })
})

describe('a lock whose connection PostgreSQL ends as it is asked for', () => {
  it('is asked for on another one', async () => {
    const pool = fixture.pgPool()
    let ends = 2
    const ending = {
      async connect() {
        const client = await pool.connect()
        const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<unknown>
        client.query = ((text: string, values?: unknown[]) => {
          if (!text.includes('pg_try') || ends-- <= 0) return query(text, values)
          return query('select pg_terminate_backend(pg_backend_pid())')
        }) as typeof client.query
        return client
      },
    }
    expect(await withAdvisoryLock(ending, 'ended', async () => 'held')).toBe('held')
    ends = Infinity
    await expect(withAdvisoryLock(ending, 'ended', async () => 'held', { timeout: 0 })).rejects.toMatchObject(
      { code: 'ERR_RLS_DATABASE_UNAVAILABLE', kind: 'unavailable' },
    )
  })
})

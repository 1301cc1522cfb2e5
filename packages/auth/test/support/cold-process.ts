import { Pool } from 'pg'
import { silentLogger } from '@quintet/core'
import { createJwtAuthManager, keySet, type JwkSet, type SessionLookup } from '../../src/index.ts'
import { createPostgresSessionStore } from '../../src/postgres.ts'
import { codeOf } from './code-of.ts'
import { connect } from './redis.ts'

/** What one process of the test of cold sessions is told. */
export interface ColdProcessOptions {
  readonly redisUrl: string
  readonly databaseUrl: string
  readonly keys: JwkSet
  readonly cnfSecret: string
  readonly issuer: string
  readonly audience: string
}

/** The word to begin: how many calls, with which token. */
export interface ColdCalls {
  readonly token: string
  readonly calls: number
}

/** How often each outcome came, and how many sessions this process has brought back. */
export interface ColdAnswer {
  readonly outcomes: Readonly<Record<string, number>>
  readonly warmed: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as ColdProcessOptions
const redis = connect(options.redisUrl)
const pool = new Pool({ connectionString: options.databaseUrl, max: 100 })
const store = createPostgresSessionStore({ pool })

/** Counts in the database itself, and is slow enough for everybody else to ask meanwhile. */
const sessionLookup: SessionLookup = async (ref) => {
  await pool.query('insert into cold_lookups (session_id, pid) values ($1, $2)', [ref.sessionId, process.pid])
  await pool.query('select pg_sleep(0.05)')
  return await store.find(ref)
}

let warmed = 0
const manager = createJwtAuthManager({
  logger: silentLogger,
  sessionRedis: redis,
  sessionLookup,
  keys: await keySet(options.keys),
  cnf: { secret: options.cnfSecret },
  issuer: options.issuer,
  audience: options.audience,
  commandTimeout: '10s',
  audit: ({ type }) => {
    if (type === 'session.warmed') warmed++
  },
})

process.on('message', async ({ token, calls }: ColdCalls) => {
  warmed = 0
  const outcomes: Record<string, number> = {}
  await Promise.all(
    Array.from({ length: calls }, async () => {
      const code = await codeOf(manager.authenticate({ scheme: 'bearer', token }))
      outcomes[code] = (outcomes[code] ?? 0) + 1
    }),
  )
  process.send?.({ outcomes, warmed } satisfies ColdAnswer)
})

process.on('disconnect', async () => {
  await manager.close()
  await pool.end()
  redis.disconnect()
})

await Promise.all([redis.ping(), pool.query('select 1')])
process.send?.('ready')

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redisUrl } from '@quintet/test-kit'
import { createKeyRing, createSessionAuthority, deriveSecrets } from '../../src/index.ts'
import { sessionKey } from '../../src/sessions/session-keys.ts'
import type { ColdAnswer, ColdCalls, ColdProcessOptions } from '../support/cold-process.ts'
import { createSessionDatabase, type SessionDatabase } from '../support/modes.ts'
import { connect } from '../support/redis.ts'

const program = resolve(import.meta.dirname, '../support/cold-process.ts')

let redis: Redis
let database: SessionDatabase
beforeAll(async () => {
  redis = connect()
  database = await createSessionDatabase()
  await database.pool.query('create table cold_lookups (session_id text, pid integer)')
})
afterAll(async () => {
  redis.disconnect()
  await database[Symbol.asyncDispose]()
})

async function start(options: ColdProcessOptions): Promise<ChildProcess> {
  const child = fork(program, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'message')
  return child
}

async function ask(child: ChildProcess, calls: ColdCalls): Promise<ColdAnswer> {
  const answer = once(child, 'message')
  child.send(calls)
  const [message] = (await answer) as [ColdAnswer]
  return message
}

describe('a session that Redis has lost', () => {
  it('is looked up once for 400 calls of four processes', async () => {
    const secrets = deriveSecrets('the root secret of the cold processes')
    const keys = await createKeyRing()
    const shared = { issuer: 'https://auth.test', audience: 'test' }
    await using authority = createSessionAuthority({
      redis,
      secrets,
      keys,
      store: database.store(),
      commandTimeout: '10s',
      ...shared,
    })
    const options = {
      redisUrl: redisUrl(),
      databaseUrl: database.url,
      keys: keys.jwks(),
      cnfSecret: secrets.cnf.reveal(),
      ...shared,
    }
    const children = await Promise.all(Array.from({ length: 4 }, () => start(options)))
    try {
      expect(new Set(children.map(({ pid }) => pid)).size).toBe(4)
      for (let round = 0; round < 5; round++) {
        const user = { userId: 'alice', tenantId: `cold-${process.pid}` }
        const { accessToken: token, session } = await authority.signIn(user)
        await redis.del(sessionKey(session))
        const answers = await Promise.all(children.map((child) => ask(child, { token, calls: 100 })))
        expect(answers.map(({ outcomes }) => outcomes)).toEqual(children.map(() => ({ resolved: 100 })))
        expect(answers.reduce((sum, { warmed }) => sum + warmed, 0)).toBe(1)
        const { rows } = await database.pool.query<{ count: string }>(
          'select count(*) from cold_lookups where session_id = $1',
          [session.sessionId],
        )
        expect(Number(rows[0]?.count)).toBe(1)
      }
    } finally {
      const ends = children.map((child) => once(child, 'exit'))
      for (const child of children) child.disconnect()
      expect(await Promise.all(ends)).toEqual(children.map(() => [0, null]))
    }
  })
})

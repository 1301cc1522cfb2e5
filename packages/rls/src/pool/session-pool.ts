import type { Logger } from '@quintet/core'
import type { Pool, PoolClient } from 'pg'
import type { ResolvedConnectionOptions } from './pool-options.ts'
import { runDetached } from '../context/rls-context.ts'
import { createSettingsReader } from '../context/context-settings.ts'
import { defineContextQuery } from '../wire/context-query.ts'
import { findQueryClass } from '../wire/driver.ts'
import { createSession, resetSession, type Session, type SessionOptions } from './session.ts'
import { createStatementReader } from '../wire/statement-text.ts'

/** The connections of one login, each with what we know of it. */
export interface SessionPool {
  /** Calls back in any async context: whoever needs that of the caller binds its callback. */
  connect(callback: (error: Error | undefined, session?: Session) => void): void
  /** The connection that a process of the server works for. */
  find(processId: number): Session | undefined
}

export interface SessionPoolOptions extends ResolvedConnectionOptions {
  readonly role: string | null
  readonly system: boolean
}

export function createSessionPool(pool: Pool, options: SessionPoolOptions): SessionPool {
  const sessions = new Map<PoolClient, Session>()
  const shared: SessionOptions = {
    ContextQuery: contextQueryFor(pool, options),
    readStatement: createStatementReader(),
    settings: createSettingsReader(options),
    system: options.system,
  }
  survive(pool, options.logger)

  return {
    connect(callback) {
      const take = (error: Error | undefined, client: PoolClient | undefined): void => {
        if (error || client === undefined) return callback(error ?? new Error('The pool gave no connection.'))
        let session = sessions.get(client)
        const holder = holders.get(client)
        holders.set(client, sessions)
        if (session === undefined) {
          session = createSession(client, shared)
          // The statement in flight is told; without a listener the same error would end the process.
          client.on('error', (lost) =>
            options.logger.debug({ err: lost }, 'a connection to the database was lost'),
          )
          client.once('end', () => sessions.delete(client))
          sessions.set(client, session)
        } else {
          resetSession(session)
        }
        // Two wrappers of one pool: what the other one's tenant has left is not known here.
        if (holder !== undefined && holder !== sessions) session.sealedFor = undefined
        callback(undefined, session)
      }
      runDetached(() => pool.connect(take))
    },
    find: (processId) =>
      sessions
        .values()
        .find(({ client }) => (client as unknown as { processID: number | null }).processID === processId),
  }
}

function contextQueryFor(pool: Pool, options: SessionPoolOptions): SessionOptions['ContextQuery'] {
  if (options.protocol === 'transaction') return undefined
  const Query = findQueryClass((pool as unknown as { Client?: unknown }).Client)
  if (Query) return defineContextQuery(Query, options)
  options.logger.warn(
    { path: 'transaction' },
    'the database driver is not one we know: every statement takes an explicit transaction, which is slower',
  )
  return undefined
}

/** A connection that breaks while it is idle is dropped by its pool; without a listener it would end the process. */
function survive(pool: Pool, logger: Logger): void {
  if (watched.has(pool)) return
  watched.add(pool)
  pool.on('error', (error) => logger.warn({ err: error }, 'an idle connection to the database was lost'))
}

const watched = new WeakSet<Pool>()

/** Which pool of sessions had a connection last. */
const holders = new WeakMap<PoolClient, object>()

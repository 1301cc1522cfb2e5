import type { Pool, PoolClient } from 'pg'
import { assertSafeRoles } from '../roles/check-roles.ts'
import { canonicalId } from '../context/context-settings.ts'
import {
  bindCallback,
  currentScope,
  runDetached,
  runInScope,
  runWithRlsContext,
  type RlsContextInput,
} from '../context/rls-context.ts'
import { RlsError } from '../errors.ts'
import {
  resolveRlsPoolOptions,
  resolveSystemPoolOptions,
  type RlsPoolOptions,
  type SystemPoolOptions,
} from './pool-options.ts'
import { createSystemAudit, noSystemPool } from '../context/system-access.ts'
import { invocationSignal, takeForInvocation } from './cancel-on-abort.ts'
import { defineControlClient, type ClientClass } from './control-client.ts'
import { createRlsClient, isSubmittable, readArguments, release, type QueryArguments } from './client.ts'
import type { DriverCallback } from '../wire/driver.ts'
import { runSingleStatement } from './run-statement.ts'
import { createSafetyCheck } from '../roles/safety-check.ts'
import type { Session } from './session.ts'
import { createSessionPool, type SessionPool } from './session-pool.ts'
import { createTenantShares } from './tenant-shares.ts'

/**
 * The members of pg's `Pool` that libraries use, with the context in every statement. Kysely's
 * PostgresDialect takes it as its `pool`.
 */
export interface RlsPool
  extends
    Pick<
      Pool,
      | 'connect'
      | 'query'
      | 'end'
      | 'options'
      | 'totalCount'
      | 'idleCount'
      | 'waitingCount'
      | 'ending'
      | 'ended'
    >,
    AsyncDisposable {
  /** The driver's client class, with which Kysely opens a connection of its own to cancel a statement. */
  readonly Client: ClientClass
  /**
   * Resolves once the pool can serve: its roles and tables are safe, and PostgreSQL answers on a connection of it. For a
   * health check, or before an app listens.
   *
   * Roles and tables are looked at again after 30 seconds, and what has become unsafe is refused from then on.
   *
   * @throws RlsError `ERR_RLS_UNSAFE_ROLES` while they are not safe (the next call asks again), and the driver's errors.
   */
  ready(): Promise<void>
  /** This pool for one context, whatever surrounds the running code. It ends with this pool; its own `end` does nothing. */
  withContext(context: RlsContextInput): RlsPool
}

/**
 * Wraps a pool of the tenants' login so that each statement carries the context of
 * {@link runWithRlsContext} as transaction-local settings, in the statement's own round trip.
 *
 * Without a context the statement runs with the rights of the login, which has none: PostgreSQL answers
 * 42501. `end()` ends the given pools.
 *
 * @throws TypeError for options that make no sense.
 */
export function createRlsPool(pool: Pool, options: RlsPoolOptions): RlsPool {
  const resolved = resolveRlsPoolOptions(options)
  const tenants = createSessionPool(pool, { ...resolved, system: false })
  const system = resolved.system
    ? createSessionPool(resolved.system, { ...resolved, role: null, system: true })
    : undefined
  const recordAccess = createSystemAudit(resolved.audit, resolved.logger)
  const check = createSafetyCheck(
    resolved.check ? () => runDetached(() => assertSafeRoles(pool, resolved)) : undefined,
  )

  const shares = createTenantShares(resolved.tenantConnections, pool.options.connectionTimeoutMillis ?? 0)

  const acquireFor = (tenant: string | null, callback: Parameters<Acquire>[0]): void => {
    if (tenant === null || resolved.tenantConnections === Infinity) return tenants.connect(callback)
    const id = canonicalId(tenant, resolved.tenantIdType)
    shares.enter(id, invocationSignal(), (refused, leave) => {
      if (refused) return callback(refused)
      tenants.connect((error, session) => {
        if (session === undefined) leave?.()
        else session.leave = leave
        callback(error, session)
      })
    })
  }

  const acquire: Acquire = (callback) => {
    const scope = currentScope()
    const reason = scope?.systemReason ?? null
    if (scope === undefined || reason === null) {
      const tenant = scope?.context.tenantId ?? null
      if (check.passed) return acquireFor(tenant, callback)
      check.assertSafe().then(
        () => acquireFor(tenant, callback),
        (error: Error) => callback(error),
      )
      return
    }
    if (system === undefined) return callback(noSystemPool(reason))
    recordAccess(scope).then(
      () => system.connect(callback),
      (error: Error) => callback(error),
    )
  }
  const find = (processId: number): Session | undefined => tenants.find(processId) ?? system?.find(processId)
  return poolOver(pool, {
    acquire,
    find,
    owned: resolved.system === undefined ? [pool] : [pool, resolved.system],
    assertSafe: () => check.assertSafe({ maxAge: rlsPoolCheckAge }),
  })
}

/** Milliseconds for which `ready` takes the last check's word: tables may be opened while an app runs. */
const rlsPoolCheckAge = 30_000

/**
 * Wraps a pool of the system login for code that never works for a tenant. Every statement must run
 * inside {@link asSystem}, whose reason is recorded.
 */
export function createSystemPool(pool: Pool, options: SystemPoolOptions = {}): RlsPool {
  const resolved = resolveSystemPoolOptions(options)
  const sessions = createSessionPool(pool, { ...resolved, role: null, system: true })
  const recordAccess = createSystemAudit(resolved.audit, resolved.logger)
  const acquire: Acquire = (callback) => {
    const scope = currentScope()
    if (scope === undefined || scope.systemReason === null) {
      return callback(
        new RlsError('The database is not open to this caller.', {
          code: 'ERR_RLS_WRONG_SCOPE',
          kind: 'forbidden',
          cause: new Error('A connection of the system login was asked for outside of asSystem.'),
        }),
      )
    }
    recordAccess(scope).then(
      () => sessions.connect(callback),
      (error: Error) => callback(error),
    )
  }
  const find = (processId: number): Session | undefined => sessions.find(processId)
  return poolOver(pool, { acquire, find, owned: [pool], assertSafe: () => Promise.resolve() })
}

type Acquire = SessionPool['connect']

interface PoolParts {
  readonly acquire: Acquire
  readonly find: SessionPool['find']
  /** The pools that end with this one. */
  readonly owned: readonly Pool[]
  readonly assertSafe: () => Promise<void>
}

function poolOver(pool: Pool, { acquire, find, owned, assertSafe }: PoolParts): RlsPool {
  let ended: Promise<void> | undefined
  const end = (): Promise<void> =>
    (ended ??= runDetached(() => Promise.all(owned.map((one) => one.end()))).then(() => undefined))
  const take = takeForInvocation(acquire, release)

  const connect = (callback?: ConnectCallback): Promise<PoolClient> | void => {
    if (callback) {
      const bound = bindCallback(callback)
      take((error, session) => {
        if (session === undefined) return bound(error, undefined, () => undefined)
        const client = createRlsClient(session)
        bound(undefined, client, (destroy) => client.release(destroy))
      })
      return
    }
    return new Promise((resolve, reject) => {
      take((error, session) =>
        session === undefined ? reject(error as Error) : resolve(createRlsClient(session)),
      )
    })
  }

  const query = (...args: QueryArguments): Promise<unknown> | void => {
    const [config] = args
    if (isSubmittable(config)) {
      throw new TypeError('query: a cursor or stream needs a connection of its own. Take one with connect().')
    }
    const { statement, callback } = readArguments(args)
    const run = (settle: DriverCallback): void => {
      const scope = currentScope()
      take((error, session) => {
        if (session === undefined) return settle(error)
        const done: DriverCallback = (failure, result) => {
          release(session, isLost(session) || isReadTimeout(failure))
          settle(failure, result)
        }
        runInScope(scope, () => runSingleStatement(session, statement, done))
      })
    }
    if (callback) return run(callback)
    return new Promise((resolve, reject) => {
      run((error, result) => (error ? reject(error) : resolve(result)))
    })
  }

  const view: RlsPool = {
    connect: connect as RlsPool['connect'],
    query: query as RlsPool['query'],
    end: ((callback?: (error?: Error) => void) => {
      if (callback === undefined) return end()
      const bound = bindCallback(callback)
      end().then(() => bound(), bound)
    }) as RlsPool['end'],
    get options() {
      return pool.options
    },
    get totalCount() {
      return pool.totalCount
    },
    get idleCount() {
      return pool.idleCount
    },
    get waitingCount() {
      return pool.waitingCount
    },
    get ending() {
      return pool.ending
    },
    get ended() {
      return pool.ended
    },
    Client: defineControlClient((pool as unknown as { Client: ClientClass }).Client, find),
    async ready() {
      await assertSafe()
      await runDetached(() => pool.query('select 1'))
    },
    withContext: (context) => boundTo(view, context),
    [Symbol.asyncDispose]: end,
  }
  Object.defineProperty(view, 'constructor', { value: namedClass })
  return view
}

/** ORMs that know a pool by the name of its class, as Drizzle does, take a connection of it for each transaction. */
const namedClass = { name: 'RlsPool' }

type ConnectCallback = (
  error: Error | undefined,
  client: PoolClient | undefined,
  release: (destroy?: boolean | Error) => void,
) => void

/** Whether pg has given the connection up. */
function isLost(session: Session): boolean {
  return (session.client as unknown as { _queryable?: boolean })._queryable === false
}

/** Whether pg has stopped waiting for the answer, which says that it may never come. */
function isReadTimeout(failure: Error | null | undefined): boolean {
  return failure?.message === 'Query read timeout'
}

/** A pool whose every statement runs in one context. */
function boundTo(pool: RlsPool, context: RlsContextInput): RlsPool {
  const within =
    <Arguments extends readonly unknown[], Result>(
      run: (...args: Arguments) => Result,
    ): ((...args: Arguments) => Result) =>
    (...args) => {
      // A callback belongs to the code that gives it, not to the context of the statement.
      const bound = args.map(bindCallback) as unknown as Arguments
      return runWithRlsContext(context, () => run(...bound))
    }

  const bindClient = (client: PoolClient): PoolClient => {
    const bound: PoolClient = new Proxy(client, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        const method = value as (...args: readonly unknown[]) => unknown
        if (key === 'query') return within(method)
        return (...args: readonly unknown[]) => {
          const result = method(...args)
          return result === target ? bound : result
        }
      },
    })
    return bound
  }
  const connect = async (): Promise<PoolClient> => bindClient(await within(() => pool.connect())())

  return Object.create(pool, {
    connect: {
      value: (given?: ConnectCallback) => {
        if (given === undefined) return connect()
        const callback = bindCallback(given)
        connect().then(
          (client) => callback(undefined, client, (destroy) => client.release(destroy)),
          (error: Error) => callback(error, undefined, () => undefined),
        )
      },
    },
    query: { value: within(pool.query as (...args: readonly unknown[]) => unknown) },
    // The pool below belongs to whoever made it, and to the other contexts.
    end: {
      value: (callback?: () => void) => (callback === undefined ? Promise.resolve() : void callback()),
    },
    [Symbol.asyncDispose]: { value: () => Promise.resolve() },
    withContext: { value: (other: RlsContextInput) => boundTo(pool, other) },
  }) as RlsPool
}

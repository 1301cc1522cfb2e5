import { AsyncLocalStorage } from 'node:async_hooks'
import { RlsError } from '../errors.ts'
import type { ContextSettings } from './settings.ts'

/**
 * For whom the database works. Every statement carries it as transaction-local settings:
 * `app.tenant_id`, `app.user_id`, `app.roles` (comma-separated) and `app.is_system`.
 *
 * None of them grants a right by itself: rights come from the database role, and `isSystem` is only
 * readable for policies.
 */
export interface RlsContext {
  readonly tenantId: string | null
  readonly userId: string | null
  readonly roles: readonly string[]
  readonly isSystem: boolean
}

/** What is open around the running code: a context, and whether it acts for the system. */
export interface RlsScope {
  readonly context: RlsContext
  /** Why the system login is in use; null for work of a tenant. */
  readonly systemReason: string | null
  /** The settings of the context, as the pool that asked last has read them. */
  settings: { readonly reader: unknown; readonly read: ContextSettings } | undefined
}

export function createScope(context: RlsContext, systemReason: string | null = null): RlsScope {
  return { context, systemReason, settings: undefined }
}

const storeKey = Symbol.for('quintet.rls.scope')

/** One store per process, also when two copies of this package are installed. */
function store(): AsyncLocalStorage<RlsScope | undefined> {
  const holder = globalThis as unknown as Record<symbol, AsyncLocalStorage<RlsScope | undefined> | undefined>
  return (holder[storeKey] ??= new AsyncLocalStorage())
}

const scopes = store()

/** The part of a context that may be left out: no user, no roles, not the system. */
export type RlsContextInput = Pick<RlsContext, 'tenantId'> & Partial<RlsContext>

/**
 * Runs the function so that every statement in it, also after an `await`, is held to the context.
 *
 * A nested call replaces the context for its function and restores it afterwards, also within one
 * transaction.
 *
 * @throws RlsError `ERR_RLS_INVALID_CONTEXT` when a member has the wrong shape; nothing is sent.
 */
export function runWithRlsContext<Result>(context: RlsContextInput, run: () => Result): Result {
  return runWholly(createScope(parseRlsContext(context)), run)
}

/** The context around the running code, or undefined where there is none. */
export function currentRlsContext(): RlsContext | undefined {
  return scopes.getStore()?.context
}

export function currentScope(): RlsScope | undefined {
  return scopes.getStore()
}

export function runInScope<Result>(scope: RlsScope | undefined, run: () => Result): Result {
  return scopes.run(scope, run)
}

/** {@link runInScope}, and so for what the function returns to be iterated or awaited: its work is done in the scope too. */
export function runWholly<Result>(scope: RlsScope | undefined, run: () => Result): Result {
  const result = scopes.run(scope, run)
  if (!isPromise(result)) return bindLazy(scope, result)
  return result.then((value) => bindLazy(scope, value)) as Result
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise && value.constructor === Promise
}

type Method = (...args: unknown[]) => unknown

/** Iterators, what is iterated asynchronously, and thenables that are no promises. */
function isLazy<Value>(value: Value): value is Value & object {
  if (typeof value !== 'object' || value === null || value instanceof Promise) return false
  if (value instanceof ReadableStream) return false
  return hasMethod(value, 'next') || hasMethod(value, 'then') || hasMethod(value, Symbol.asyncIterator)
}

function hasMethod(value: object, name: PropertyKey): boolean {
  return name in value && typeof (value as Record<PropertyKey, unknown>)[name] === 'function'
}

/** A Readable of Node, which reads by `_read`. */
function isNodeStream(value: object): value is { _read: Method } {
  return hasMethod(value, '_read') && hasMethod(value, 'pipe')
}

/**
 * The value; where its work starts only as it is consumed, bound to the scope. What a method of it returns is bound as
 * well, as the iterators that `map` of an iterator gives.
 */
export function bindLazy<Value>(scope: RlsScope | undefined, value: Value): Value {
  if (!isLazy(value)) return value
  if (isNodeStream(value)) {
    const read = value._read
    value._read = function (this: unknown, ...args) {
      return scopes.run(scope, () => read.apply(this, args))
    }
    return value
  }
  const bound: Value & object = new Proxy(shadowOf(value), {
    get(_, key) {
      const member: unknown = Reflect.get(value, key, value)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        // A callback belongs to the code that gives it.
        const given = args.map(bindCallback)
        const result: unknown = scopes.run(scope, () => (member as Method).apply(value, given))
        return result === value ? bound : bindLazy(scope, result)
      }
    },
    has: (_, key) => Reflect.has(value, key),
    set: (_, key, next) => Reflect.set(value, key, next, value),
    ownKeys: () => Reflect.ownKeys(value),
    getOwnPropertyDescriptor(_, key) {
      const property = Reflect.getOwnPropertyDescriptor(value, key)
      return property && { ...property, configurable: true }
    },
  })
  return bound
}

/** An object of the same class without members: a proxy may not change those of one that is frozen. */
function shadowOf<Value extends object>(value: Value): Value {
  return Object.create(Object.getPrototypeOf(value) as object | null) as Value
}

const moduleLoad = AsyncLocalStorage.snapshot()

/**
 * Runs the function detached from the calling code: outside of every scope and invocation. Connections are
 * opened and handed on here, since what a socket calls back inherits the async context that opened it.
 */
export function runDetached<Result>(run: () => Result): Result {
  return moduleLoad(() => scopes.run(undefined, run))
}

/** Binds a callback to the async context of the calling code; any other value is returned as it is. */
export function bindCallback<Value>(value: Value): Value {
  return typeof value === 'function'
    ? (AsyncLocalStorage.bind(value as unknown as (...args: unknown[]) => unknown) as unknown as Value)
    : value
}

/** Checks a context and freezes a copy of it. */
export function parseRlsContext(input: RlsContextInput): RlsContext {
  const { tenantId, userId = null, roles = [], isSystem = false } = input
  assertIdentifier(tenantId, 'tenantId')
  assertIdentifier(userId, 'userId')
  if (!Array.isArray(roles)) throw invalid('roles', 'must be a list of names')
  for (const role of roles as readonly unknown[]) {
    if (typeof role !== 'string' || !isText(role) || role.includes(',')) {
      throw invalid('roles', 'must be names of at most 200 characters without commas')
    }
  }
  if (typeof isSystem !== 'boolean') throw invalid('isSystem', 'must be true or false')
  return Object.freeze({ tenantId, userId, roles: Object.freeze([...roles]), isSystem })
}

function assertIdentifier(value: unknown, member: string): void {
  if (value === null) return
  if (typeof value !== 'string' || !isText(value)) {
    throw invalid(member, 'must be null or a text of 1 to 200 characters')
  }
}

/** Half a surrogate pair would be sent as U+FFFD, so that two texts were one in the database. */
function isText(value: string): boolean {
  return value.length > 0 && value.length <= 200 && !value.includes('\0') && value.isWellFormed()
}

export function invalid(member: string, reason: string): RlsError {
  return new RlsError(`The row-level security context is not valid: ${member} ${reason}.`, {
    code: 'ERR_RLS_INVALID_CONTEXT',
    kind: 'invalid-input',
    details: { member },
  })
}

import type { Lifecycle } from './lifecycle.ts'

const brand = Symbol.for('quintet.lazy')

/** A service that is made when it is first asked for. */
export interface Lazy<Service> {
  (): Promise<Service>
}

interface BoundLazy extends Lazy<unknown> {
  readonly [brand]: (lifecycle: Lifecycle) => void
}

/**
 * A service for the value that `setup` returns, made at the first call and kept. Calls meanwhile wait for the same one;
 * one that could not be made is tried again at the next call. A disposable one is disposed when the process stops,
 * before everything that was made before it.
 *
 * A process that must not make its first caller wait names it under `eager`.
 *
 * @example
 * setup: ({ config }) => ({ model: lazy(() => loadModel(config.model)) })
 * // in a handler
 * const model = await services.model()
 */
export function lazy<Service>(make: () => Promise<Service> | Service): Lazy<Service> {
  if (typeof make !== 'function') throw new TypeError('lazy: needs a function that makes the service.')
  let lifecycle: Lifecycle | undefined
  let made: Promise<Service> | undefined
  const start = async (): Promise<Service> => {
    const service = await make()
    await keep(service, lifecycle)
    return service
  }
  const get = (): Promise<Service> =>
    (made ??= start().catch((error: unknown) => {
      made = undefined
      throw error
    }))
  const bind = (to: Lifecycle): void => {
    lifecycle = to
  }
  return Object.assign(get, { [brand]: bind })
}

/** Gives what is made to the lifecycle; what comes after its end is let go at once. */
async function keep(service: unknown, lifecycle: Lifecycle | undefined): Promise<void> {
  if (!isDisposable(service)) return
  if (lifecycle !== undefined && !lifecycle.signal.aborted) return void lifecycle.use(service)
  if (lifecycle === undefined) return
  if (Symbol.asyncDispose in service) await service[Symbol.asyncDispose]()
  else service[Symbol.dispose]()
  throw new DOMException('The process has stopped.', 'AbortError')
}

/** The lazy services among what `setup` returned, by name, bound to the lifecycle of the process. */
export function bindLazyServices(
  services: unknown,
  lifecycle: Lifecycle,
): ReadonlyMap<string, Lazy<unknown>> {
  if (typeof services !== 'object' || services === null) return new Map()
  // Descriptors, because a getter may do work that is not for this process.
  const entries = Object.entries(Object.getOwnPropertyDescriptors(services))
    .map(([name, { value }]): [string, unknown] => [name, value])
    .filter((entry): entry is [string, BoundLazy] => isLazy(entry[1]))
  for (const [, service] of entries) service[brand](lifecycle)
  return new Map(entries)
}

function isLazy(value: unknown): value is BoundLazy {
  return typeof value === 'function' && brand in value
}

function isDisposable(value: unknown): value is AsyncDisposable | Disposable {
  return (
    typeof value === 'object' && value !== null && (Symbol.asyncDispose in value || Symbol.dispose in value)
  )
}

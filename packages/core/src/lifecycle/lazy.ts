import { AsyncLocalStorage } from 'node:async_hooks'
import type { OwnedLifecycle } from './create-lifecycle.ts'
import type { Lifecycle } from './lifecycle.ts'

const brand = Symbol.for('quintet.lazy')

/** A service that is made when it is first asked for. */
export interface Lazy<Service> {
  (): Promise<Service>
}

interface BoundLazy extends Lazy<unknown> {
  readonly [brand]: (name: string, lifecycle: OwnedLifecycle) => void
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
  const self: Making = { name: 'a service' }
  let lifecycle: OwnedLifecycle | undefined
  let made: Promise<Service> | undefined
  const start = async (): Promise<Service> => {
    const service = await make()
    await keep(service, lifecycle)
    return service
  }
  const begin = (): Promise<Service> => {
    const work = chain.run([...(chain.getStore() ?? []), self], start)
    return lifecycle === undefined ? work : lifecycle.making(self.name, work)
  }
  const get = (): Promise<Service> => {
    if (made !== undefined && self.isBeingMade !== true) return made
    const cycle = findCycle(self)
    if (cycle !== undefined) return Promise.reject(new TypeError(`lazy: a service needs itself: ${cycle}.`))
    if (made !== undefined) return made
    self.isBeingMade = true
    made = begin().finally(() => {
      self.isBeingMade = false
    })
    made.catch(() => {
      made = undefined
    })
    return made
  }
  const bind = (name: string, to: OwnedLifecycle): void => {
    self.name = name
    lifecycle = to
  }
  return Object.assign(get, { [brand]: bind })
}

/** A service in the making, by the name that `setup` gave it. */
interface Making {
  name: string
  isBeingMade?: boolean
}

/** The services whose making has led here, the outermost first. */
const chain = new AsyncLocalStorage<readonly Making[]>()

/** The way from a service back to itself, `model -> tokenizer -> model`. */
function findCycle(self: Making): string | undefined {
  const makers = chain.getStore() ?? []
  const from = makers.indexOf(self)
  if (from < 0) return undefined
  return [...makers.slice(from), self].map(({ name }) => name).join(' -> ')
}

/** Gives what is made to the lifecycle; what comes after its end is released at once. */
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
  lifecycle: OwnedLifecycle,
): ReadonlyMap<string, Lazy<unknown>> {
  if (typeof services !== 'object' || services === null) return new Map()
  // Descriptors, because a getter may do work that is not for this process.
  const entries = Object.entries(Object.getOwnPropertyDescriptors(services))
    .map(([name, { value }]): [string, unknown] => [name, value])
    .filter((entry): entry is [string, BoundLazy] => isLazy(entry[1]))
  for (const [name, service] of entries) service[brand](name, lifecycle)
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

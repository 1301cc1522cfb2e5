import type { Logger } from '@quintet/core'
import type { Clock } from '@quintet/core/kit'
import type { ResolvedMaintenance } from './maintenance-options.ts'

/** The flags as they were read last. */
export interface MaintenanceState {
  /** The notice for everybody, or undefined when the platform is open. Empty when the flag has no text of its own. */
  readonly all: string | undefined
  /** Notices by route name. */
  readonly apps: ReadonlyMap<string, string>
  readonly tenants: ReadonlySet<string>
}

/** Knows whether the platform, an app or a tenant is closed, without asking anybody while a request waits. */
export interface Maintenance extends AsyncDisposable {
  readonly state: MaintenanceState
  /** Milliseconds since the flags were last read; Infinity before the first time. */
  readonly age: number
  /** True when several readings in a row have failed. */
  readonly stale: boolean
  /** The notice that closes this app for this tenant, or undefined when it is open. */
  notice(app: string, tenant: () => string | undefined): string | undefined
  /** Calls back whenever the flags have changed. */
  onChange(listener: () => void): void
  close(): Promise<void>
}

const open: MaintenanceState = Object.freeze({
  all: undefined,
  apps: new Map<string, string>(),
  tenants: new Set<string>(),
})

/**
 * Reads the flags every `interval`. While Redis does not answer, the last known ones hold for `holdFor`;
 * then everything opens. Ready when the first reading has come to an end, well or not.
 */
export async function watchMaintenance(
  options: ResolvedMaintenance,
  apps: readonly string[],
  logger: Logger,
  clock: Clock,
): Promise<Maintenance> {
  const keys = [options.prefix, `${options.prefix}:tenants`, ...apps.map((app) => `${options.prefix}:${app}`)]
  let state = open
  let readAt = Number.NEGATIVE_INFINITY
  let failing = false
  let onChange: (() => void) | undefined
  let pending: Promise<(string | null)[]> | undefined

  async function read(): Promise<void> {
    // One question at a time: a client that queues while it reconnects must not be given a queue.
    if (pending) return lost(new Error('Redis has not answered the last question yet.'))
    // One question a key: those of a cluster are on several servers.
    const asked = Promise.all(keys.map((key) => options.redis.get(key)))
    pending = asked
    const settled = (): void => {
      if (pending === asked) pending = undefined
    }
    asked.then(settled, settled)
    let timer: NodeJS.Timeout | undefined
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
          reject,
          options.timeout,
          new Error(`Redis took longer than ${options.timeout} ms.`),
        )
      })
      got(await Promise.race([asked, late]))
    } catch (error) {
      lost(error)
    } finally {
      clearTimeout(timer)
    }
  }

  function got(values: readonly (string | null)[]): void {
    readAt = clock.monotonic()
    if (failing) logger.info({}, 'the maintenance flags can be read again')
    failing = false
    const next = toState(values, apps)
    const changed = describe(next) !== describe(state)
    state = next
    if (!changed) return
    logger.warn({ maintenance: describe(next) }, 'the maintenance flags have changed')
    onChange?.()
  }

  function lost(error: unknown): void {
    if (!failing)
      logger.error(
        { err: error },
        'the maintenance flags cannot be read, the last known ones hold for a while',
      )
    failing = true
    if (state !== open && clock.monotonic() - readAt > options.holdFor) {
      logger.error(
        { maintenance: describe(state) },
        'the maintenance flags are too old to be believed, the gateway opens',
      )
      state = open
    }
  }

  await read()
  let running = Promise.resolve()
  const timer = setInterval(() => {
    running = read()
  }, options.interval)
  const close = async (): Promise<void> => {
    clearInterval(timer)
    await running
  }
  return {
    get state() {
      return state
    },
    get age() {
      return clock.monotonic() - readAt
    },
    get stale() {
      return clock.monotonic() - readAt > 3 * options.interval + options.timeout
    },
    notice(app, tenant) {
      if (state === open) return undefined
      const notice = state.all ?? state.apps.get(app)
      if (notice !== undefined || state.tenants.size === 0) return notice
      const id = tenant()
      return id !== undefined && state.tenants.has(id) ? '' : undefined
    },
    onChange(listener) {
      onChange = listener
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function toState(values: readonly (string | null)[], apps: readonly string[]): MaintenanceState {
  const all = toNotice(values[0])
  const tenants = new Set(
    (values[1] ?? '')
      .split(',')
      .map((id) => id.trim())
      .filter((id) => id !== ''),
  )
  const closed = new Map<string, string>()
  apps.forEach((app, index) => {
    const notice = toNotice(values[index + 2])
    if (notice !== undefined) closed.set(app, notice)
  })
  return all === undefined && tenants.size === 0 && closed.size === 0 ? open : { all, apps: closed, tenants }
}

/** A flag is on unless it says no; text that is neither yes nor no is told to the client. */
function toNotice(value: string | null | undefined): string | undefined {
  const text = (value ?? '').trim()
  if (['', '0', 'false', 'off', 'no'].includes(text.toLowerCase())) return undefined
  return ['1', 'true', 'on', 'yes'].includes(text.toLowerCase()) ? '' : text.slice(0, 500)
}

function describe(state: MaintenanceState): string {
  if (state.all !== undefined) return 'all'
  const parts = [...state.apps.keys()]
    .map((app) => `app ${app}`)
    .concat([...state.tenants].map((tenant) => `tenant ${tenant}`))
  return parts.length === 0 ? 'off' : parts.join(', ')
}

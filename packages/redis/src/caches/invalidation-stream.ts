import type { Logger } from '@quintet/core'
import type { Clock } from '@quintet/core/kit'
import type { Redis } from 'ioredis'
import { detached } from '../clients/async-context.ts'
import { endConnection } from '../clients/close-connection.ts'
import { openCompanion } from '../clients/companion.ts'
import { onClose } from './on-close.ts'
import { describeFailure } from '../errors.ts'

/** The channel on which a RESP2 connection receives the names of keys that were written. */
const channel = '__redis__:invalidate'

export interface InvalidationStreamOptions {
  readonly client: Redis
  /** What the keys begin with, as the server sees them. */
  readonly prefix: string
  readonly lease: number
  readonly clock: Clock
  readonly logger: Logger
  /** These keys were written, deleted, evicted or have expired. */
  onKeys(keys: readonly string[]): void
  /** From here on writes may have been missed: whatever was read before is no longer to be trusted. */
  onDoubt(): void
  onTrust(): void
}

/** Hears of every write to keys with one prefix, and knows whether it still hears. */
export interface InvalidationStream {
  /** True while the server is known to have answered on this connection within the lease. */
  trusted(): boolean
  close(): Promise<void>
}

/**
 * Opens a connection of its own that receives the invalidations which it asked for itself, so data
 * and tracking cannot be lost apart from one another.
 *
 * A pong grants the lease from the moment at which the ping *before* it was sent: a server may answer a ping
 * just ahead of the invalidations of the same turn of its loop, never ahead of those of an earlier turn.
 */
export function openInvalidationStream(options: InvalidationStreamOptions): InvalidationStream {
  const { client, clock, lease, logger } = options
  let established = false
  let live = false
  let closed = false
  let leaseUntil = 0
  let previousPing: number | undefined
  let failures = 0

  const connection = openCompanion(client, {
    name: 'tracking',
    logger,
    commandTimeout: lease,
    failures: () => failures,
  })

  function doubt(): void {
    if (!live) return
    live = false
    options.onDoubt()
  }

  function trusted(): boolean {
    if (!live) return false
    if (clock.monotonic() < leaseUntil) return true
    doubt()
    return false
  }

  async function ping(): Promise<void> {
    const sent = clock.monotonic()
    const before = previousPing
    previousPing = sent
    await connection.ping()
    if (!established || before === undefined) return
    leaseUntil = Math.max(leaseUntil, before + lease)
    if (live || closed || clock.monotonic() >= leaseUntil) return
    live = true
    options.onTrust()
  }

  async function establish(): Promise<void> {
    try {
      const id = await connection.client('ID')
      await connection.call(
        'CLIENT',
        'TRACKING',
        'ON',
        'REDIRECT',
        String(id),
        'BCAST',
        'PREFIX',
        options.prefix,
      )
      await connection.subscribe(channel)
      established = true
      await ping()
      await ping()
      failures = 0
    } catch (error) {
      restart(error)
    }
  }

  function restart(error: unknown): void {
    if (closed) return
    failures += 1
    if (failures === 1) logger.warn({ reason: describeFailure(error) }, 'redis tracking interrupted')
    if (connection.status === 'ready') connection.disconnect(true)
  }

  function forget(): void {
    established = false
    previousPing = undefined
    doubt()
  }

  /** A client that lost its connection may find another server next: then this connection must follow. */
  function follow(): void {
    forget()
    if (!closed && connection.status === 'ready') connection.disconnect(true)
  }

  connection.on('ready', () => void establish())
  connection.on('close', forget)
  connection.on('messageBuffer', (from: Buffer, payload: unknown) => {
    if (from.toString() !== channel) return
    if (Array.isArray(payload)) options.onKeys(payload.map(String))
    // Without keys: the database was flushed, or the server dropped its own records.
    else options.onDoubt()
  })
  const following = onClose(client, follow)
  connection.connect().catch(() => undefined)

  const beat = (): void => {
    if (live) trusted()
    if (established && connection.status === 'ready') ping().catch(restart)
  }
  const timer = detached(() => setInterval(beat, lease / 4))

  return {
    trusted,
    async close() {
      if (closed) return
      closed = true
      clearInterval(timer)
      following[Symbol.dispose]()
      forget()
      await endConnection(connection)
    },
  }
}

import { option, readOptions } from '@quintet/core/kit'
import type { Lease, Leases } from './leases.ts'

export interface RecoverStaleOptions<Item> {
  readonly leases: Leases
  /** What may have been left behind, e.g. rows in state `running`. */
  readonly items: Iterable<Item> | AsyncIterable<Item>
  /** The lease that the owner of an item holds while it works on it. */
  readonly leaseOf: (item: Item) => string
  /** Puts one item right, in transactions that are fenced with the lease. */
  readonly recover: (item: Item, lease: Lease, signal: AbortSignal) => Promise<unknown>
  /** Items at once. @defaultValue 4 */
  readonly concurrency?: number
  /** Ends it early; items in progress are finished. */
  readonly signal?: AbortSignal
}

export interface RecoveryReport<Item> {
  readonly recovered: number
  /** Items whose owner lives. */
  readonly held: number
  readonly failed: readonly { readonly item: Item; readonly reason: unknown }[]
}

/** What applies where {@link RecoverStaleOptions} says nothing. */
export const recoverStaleDefaults = Object.freeze({ concurrency: 4 })

const spec = {
  leases: option.collaborator<Leases>(['hold'], 'the leases of createLeases'),
  items: option.collaborator<object>([], 'a list or an iterable'),
  leaseOf: option.function(),
  recover: option.function(),
  concurrency: option.count(recoverStaleDefaults.concurrency, { min: 1 }),
  signal: option.signal(),
}

/**
 * Puts right what owners that died have left behind, e.g. when a process starts. An item whose owner holds its lease is
 * not touched; of several processes that try, one recovers it.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export async function recoverStale<Item>(options: RecoverStaleOptions<Item>): Promise<RecoveryReport<Item>> {
  const { leases, items, leaseOf, recover, concurrency, signal } = readOptions<
    RecoverStaleOptions<Item>,
    typeof spec
  >(options, spec, 'recoverStale') as RecoverStaleOptions<Item> & { readonly concurrency: number }
  let recovered = 0
  let held = 0
  const failed: { readonly item: Item; readonly reason: unknown }[] = []
  const queue = toAsyncIterator(items)

  const lane = async (): Promise<void> => {
    while (signal?.aborted !== true) {
      const next = await queue.next()
      if (next.done === true) return
      const item = next.value
      try {
        const done = await leases.hold(leaseOf(item), (lease, lost) => recover(item, lease, lost))
        if (done === undefined) held++
        else recovered++
      } catch (reason) {
        failed.push({ item, reason })
      }
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  return { recovered, held, failed }
}

async function* toAsyncIterator<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
): AsyncGenerator<Item, void, undefined> {
  yield* items
}

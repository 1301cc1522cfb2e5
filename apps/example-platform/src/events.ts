import { defineJob } from '@quintet/queue'
import { z } from 'zod'

/**
 * What the apps tell each other: which topic, and its facts. Published through the outbox of the app where
 * it happened, so an event exists exactly when what it tells of was committed.
 */
export const PlatformEvent = z.strictObject({
  id: z.uuid(),
  topic: z.enum([
    'media.object-stored',
    'media.object-removed',
    'media.thumbnail-made',
    'ledger.funded',
    'ledger.transferred',
    'ledger.settled',
  ]),
  occurredAt: z.iso.datetime(),
  data: z.record(z.string(), z.unknown()),
})
export type PlatformEvent = z.infer<typeof PlatformEvent>
export type Topic = PlatformEvent['topic']

/** Counted by analytics. */
export const recordEvent = defineJob('record-event', { payload: PlatformEvent })

/** Sent to WebSocket clients by realtime. */
export const announceEvent = defineJob('announce-event', { payload: PlatformEvent })

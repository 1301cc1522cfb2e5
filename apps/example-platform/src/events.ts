import { defineTopics } from '@quintet/queue'
import { z } from 'zod'

const ObjectEvent = z.strictObject({ objectId: z.uuid(), name: z.string() })
const TransferEvent = z.strictObject({
  transferId: z.uuid(),
  from: z.uuid(),
  to: z.uuid(),
  amount: z.string(),
  currency: z.string(),
})

/** What the apps tell each other. An event exists exactly when what it tells of was committed. */
export const topics = defineTopics({
  'media.object-stored': ObjectEvent.extend({
    contentType: z.string(),
    size: z.int(),
    imageFormat: z.string().nullable(),
  }),
  'media.object-removed': ObjectEvent,
  'media.thumbnail-made': ObjectEvent,
  'ledger.funded': TransferEvent,
  'ledger.transferred': TransferEvent,
})

const all = [
  'media.object-stored',
  'media.object-removed',
  'media.thumbnail-made',
  'ledger.funded',
  'ledger.transferred',
] as const

/** Counted by analytics. */
export const countedEvents = topics.subscription('record-event', all)

/** Sent to WebSocket clients by realtime. */
export const announcedEvents = topics.subscription('announce-event', all)

/** The topics, for the type of an app's event bus. */
export type PlatformTopics = (typeof topics)['schemas']

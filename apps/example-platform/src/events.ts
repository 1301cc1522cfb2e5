import { defineEvent, defineEvents, defineJob } from '@quintet/queue'
import { z } from 'zod'

const ObjectEvent = z.strictObject({ objectId: z.uuid(), ownerId: z.uuid(), name: z.string() })
/** Who has stored the object hears of it, and the owners of the tenant. */
const ofObject = {
  audience: ({ ownerId }: { ownerId: string }) => ({ users: [ownerId], roles: ['owner'] }),
  personal: ({ ownerId }: { ownerId: string }) => [ownerId],
}

const TransferEvent = z.strictObject({
  transferId: z.uuid(),
  from: z.uuid(),
  to: z.uuid(),
  amount: z.string(),
  currency: z.string(),
  /** Whose accounts these are; null for the tenant's equity. */
  payer: z.uuid().nullable(),
  payee: z.uuid().nullable(),
})
type Parties = Pick<z.output<typeof TransferEvent>, 'payer' | 'payee'>
const parties = ({ payer, payee }: Parties): readonly string[] =>
  [payer, payee].filter((each) => each !== null)
/** Its parties hear of a transfer, and the owners of the tenant. */
const ofTransfer = {
  audience: (transfer: Parties) => ({ users: parties(transfer), roles: ['owner'] }),
  personal: parties,
}
/** For the apps alone. */
const internal = { audience: {}, personal: false } as const

/** What the apps tell each other. An event exists exactly when what it tells of was committed. */
export const topics = defineEvents(
  defineEvent(
    'media.object-stored',
    ObjectEvent.extend({ contentType: z.string(), size: z.int(), imageFormat: z.string().nullable() }),
    ofObject,
  ),
  defineEvent('media.object-removed', ObjectEvent, ofObject),
  defineEvent('media.thumbnail-made', ObjectEvent, ofObject),
  defineEvent('ledger.funded', TransferEvent, ofTransfer),
  defineEvent('ledger.transferred', TransferEvent, ofTransfer),
  defineEvent('account.user-added', z.strictObject({ userId: z.uuid() }), internal),
  defineEvent('account.user-removed', z.strictObject({ userId: z.uuid() }), internal),
  defineEvent(
    'account.roles-changed',
    z.strictObject({ userId: z.uuid(), roles: z.array(z.string()) }),
    internal,
  ),
  defineEvent('account.tenant-removed', z.strictObject({}), internal),
  defineEvent(
    'account.export-requested',
    z.strictObject({
      exportId: z.uuid(),
      userId: z.uuid().nullable(),
      /** Which part is wanted, and the end of the one before. */
      part: z.int().min(0),
      after: z.string().max(1_000).nullable(),
    }),
    internal,
  ),
)

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

/** What one app hears of a user or tenant that is removed. */
const removal = (app: string) =>
  topics.subscription(`erase-in-${app}`, ['account.user-removed', 'account.tenant-removed'], {
    access: 'system',
    attempts: 20,
    backoff: { min: '1s', max: '10m' },
    // As long as it takes.
    timeout: 0,
  })

/** By the apps that keep something of users and tenants; each has a worker that tries until nothing is left. */
export const removals = {
  auth: removal('auth'),
  media: removal('media'),
  ledger: removal('ledger'),
  analytics: removal('analytics'),
  realtime: removal('realtime'),
}

/** Of whom the ledger knows that they belong to their tenant. */
export const userChanges = topics.subscription(
  'follow-users-in-ledger',
  ['account.user-added', 'account.user-removed'],
  { access: 'system', attempts: 20, backoff: { min: '1s', max: '1m' } },
)

/** What the ledger hears of users who are removed or have other roles: what owners have asked for ends with their role. */
export const roleLosses = topics.subscription(
  'follow-roles-in-ledger',
  ['account.user-removed', 'account.roles-changed'],
  { access: 'system', attempts: 20, backoff: { min: '1s', max: '1m' } },
)

/** What one app hears of a user or owner who wants to have what is kept of them, or of the tenant. */
const exporting = (app: string) =>
  topics.subscription(`export-from-${app}`, ['account.export-requested'], {
    access: 'system',
    attempts: 20,
    retention: { completed: 0, dead: '1d' },
  })

/** By the apps that keep something that belongs to users or tenants. */
export const exports = {
  media: exporting('media'),
  ledger: exporting('ledger'),
  analytics: exporting('analytics'),
}

/** A part of an export, on its way to the auth app; nothing of it stays behind in the queue. */
export const exportParts = defineJob('collect-export', {
  payload: z.strictObject({
    exportId: z.uuid(),
    userId: z.uuid().nullable(),
    app: z.string(),
    part: z.int().min(0),
    /** Where the next part begins; null with the last one. */
    next: z.string().max(1_000).nullable(),
    rows: z.array(z.unknown()),
  }),
  access: 'system',
  attempts: 20,
  retention: { completed: 0, dead: '1d' },
  maxPayloadSize: '4mb',
})

/** The topics, for the type of an app's event bus. */
export type PlatformTopics = (typeof topics)['schemas']

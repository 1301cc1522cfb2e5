import { channel } from '@quintet/realtime'

/** What happens in a tenant: each tenant has a channel of its own under this name. */
export const tenantEvents = channel('events', {
  access: 'authenticated',
  description: "What happens in the caller's tenant: media, ledger.",
})

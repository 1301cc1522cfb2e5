import type { Audience } from '@quintet/queue'
import { channel } from '@quintet/realtime'

/** What all users of a tenant hear, and where they see who of them is there. Each tenant has channels of its own under these names. */
export const tenantEvents = channel('events', {
  access: 'authenticated',
  presence: true,
  description: "What all users of the caller's tenant hear.",
})

/** What one user hears. */
export const userEvents = channel('users/:user', {
  access: 'authenticated',
  description: 'What the caller alone hears.',
  authorize: ({ principal, params }) => params.user === principal.userId,
})

/** What users with a role hear. */
export const roleEvents = channel('roles/:role', {
  access: 'authenticated',
  description: 'What users with a role hear.',
  authorize: ({ principal, params }) => principal.roles.includes(params.role),
})

export const allChannels = [tenantEvents, userEvents, roleEvents]

/** The channels that reach an audience, and no one else. */
export function channelsOf(audience: Audience): readonly string[] {
  if (audience === 'tenant') return ['events']
  const { users = [], roles = [] } = audience
  return [...new Set([...users.map((user) => `users/${user}`), ...roles.map((role) => `roles/${role}`)])]
}

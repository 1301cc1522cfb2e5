/** What owners may let machines do: the permissions that procedures ask for beside signed-in users. */
export const scopes = ['stats:read'] as const
export type Scope = (typeof scopes)[number]

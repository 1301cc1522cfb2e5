/** What a context sets, and the messages that do so, once they have been written. */
export interface ContextSettings {
  /** Of the context statement: role, user, tenant, is_system, roles. */
  readonly values: readonly [role: string, user: string, tenant: string, system: string, roles: string]
  messages: Buffer | undefined
  sealingMessages: Buffer | undefined
}

export function settingsOf(...values: ContextSettings['values']): ContextSettings {
  return { values, messages: undefined, sealingMessages: undefined }
}

/** Whether both work for the same user of the same tenant, who may see what the other has left in a session. */
export function haveSameOwner(one: ContextSettings, other: ContextSettings): boolean {
  return one === other || (one.values[2] === other.values[2] && one.values[1] === other.values[1])
}

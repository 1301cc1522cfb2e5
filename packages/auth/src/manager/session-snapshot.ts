/** What a check needs to know of a session: as Redis has it now, or had it when it was last read. */
export interface SessionSnapshot {
  readonly state: 'active' | 'revoked'
  /** The id of the current refresh token, and of the one before. */
  readonly refreshId: string
  readonly previousId: string
  readonly rotatedAt: number
  /** When it ends if it is not refreshed, in milliseconds since the epoch. */
  readonly expiresAt: number
}

/** The fields of the Redis hash that a check reads; the last two only where a grace for former tokens is given. */
export const snapshotFields: readonly string[] = Object.freeze(['st', 'rt', 'exp'])
export const snapshotFieldsWithPrevious: readonly string[] = Object.freeze(['st', 'rt', 'exp', 'prt', 'rat'])

/** Undefined when the session is not there, or is only the placeholder of a process that re-warms it. */
export function toSnapshot(values: readonly (string | null)[]): SessionSnapshot | undefined {
  const [state, refreshId, expiresAt, previousId, rotatedAt] = values
  if (state === 'a') {
    return {
      state: 'active',
      refreshId: refreshId ?? '',
      previousId: previousId ?? '',
      rotatedAt: Number(rotatedAt ?? 0),
      expiresAt: Number(expiresAt ?? 0),
    }
  }
  return state === 'r' ? revokedSnapshot : undefined
}

/** Whether the session is being re-warmed now. */
export function isPlaceholder([state]: readonly (string | null)[]): boolean {
  return state === 'w'
}

const revokedSnapshot: SessionSnapshot = Object.freeze({
  state: 'revoked',
  refreshId: '',
  previousId: '',
  rotatedAt: 0,
  expiresAt: 0,
})

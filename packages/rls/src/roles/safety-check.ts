import { isQuintetError } from '@quintet/core'

/** Whether the roles and tables behind a pool are safe, as far as was seen. */
export interface SafetyCheck {
  /** Whether the last answer was good. */
  readonly passed: boolean
  /**
   * Resolves at once while the last answer was good and is not older than `maxAge` milliseconds, else asks. Callers at the
   * same time share one answer; after a bad one the next caller asks again, since it may have been mended.
   */
  assertSafe(options?: { readonly maxAge?: number }): Promise<void>
}

/** @param ask rejects with `ERR_RLS_UNSAFE_ROLES` for what is not safe; undefined where nothing is checked. */
export function createSafetyCheck(ask: (() => Promise<void>) | undefined): SafetyCheck {
  let passedAt: number | undefined = ask === undefined ? Infinity : undefined
  let asked: Promise<void> | undefined

  const look = async (): Promise<void> => {
    try {
      await ask?.()
      passedAt = performance.now()
    } catch (error) {
      // A database that does not answer says nothing against what it said before.
      if (isQuintetError(error) && error.code === 'ERR_RLS_UNSAFE_ROLES') passedAt = undefined
      throw error
    } finally {
      asked = undefined
    }
  }
  return {
    get passed() {
      return passedAt !== undefined
    },
    async assertSafe({ maxAge = Infinity } = {}) {
      if (passedAt !== undefined && performance.now() - passedAt <= maxAge) return
      await (asked ??= look())
    },
  }
}

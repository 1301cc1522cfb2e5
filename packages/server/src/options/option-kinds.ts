import type { AccessRule } from '@quintet/core'
import { assertAccessRule, option, type Option } from '@quintet/core/kit'

/** The form of a path on this server. */
export const pathForm = Object.freeze({ pattern: /^\/\S*$/, expected: 'a path: it must start with "/"' })

/** An access rule. */
export function accessRule(fallback: AccessRule): Option<AccessRule> {
  return option
    .parsed('an access rule', (given, path) => {
      assertAccessRule(given as AccessRule, path)
      return given as AccessRule
    })
    .or(fallback)
}

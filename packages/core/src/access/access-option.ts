import { Option } from '../options/option.ts'
import { assertAccessRule, type AccessRule } from './access-rule.ts'

/** The option that every way in has: its {@link AccessRule}. It must be declared, unless there is a default. */
export function accessOption(fallback?: AccessRule): Option<AccessRule> {
  const reader = new Option<AccessRule>('an access rule', read, read)
  return fallback === undefined ? reader : reader.or(fallback)

  function read(...[given, path, problems]: Parameters<Option<AccessRule>['read']>): AccessRule | undefined {
    return problems.attempt(() => {
      assertAccessRule(given, path.replace(/\.?access$/, ''))
      return given
    })
  }
}

import { changeOf, type PolicyChange } from './policy-change.ts'
import type { PolicySnapshot, RoleSecurity } from './policy-snapshot.ts'

const none: RoleSecurity = { attributes: [], memberOf: [] }

/** What roles may do more or less by their attributes, and as members of others. */
export function diffRoles(
  { roles: before }: PolicySnapshot,
  { roles: after }: PolicySnapshot,
  trusted: ReadonlySet<string>,
): readonly PolicyChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted()
  return names.flatMap((name) => {
    const was = before[name] ?? none
    const is = after[name] ?? none
    // A group that had no right here before is told of by what is granted to it.
    const known = (group: string): boolean => name in before || group in before || group.startsWith('pg_')
    const gained = [
      ...is.attributes.filter((each) => name in before && !was.attributes.includes(each)),
      ...is.memberOf.filter((group) => !was.memberOf.includes(group) && known(group)).map(memberOf),
    ]
    const lost = [
      ...was.attributes.filter((each) => name in after && !is.attributes.includes(each)),
      ...was.memberOf.filter((group) => !is.memberOf.includes(group)).map(memberOf),
    ]
    const isTrusted = trusted.has(name)
    return [
      ...gained.map((what) =>
        isTrusted ? changeOf('safe', `is ${what} now`) : changeOf('dangerous', `is ${what} now`, [name]),
      ),
      ...lost.map((what) => changeOf(isTrusted ? 'safe' : 'breaking', `is no longer ${what}`)),
    ].map((change) => ({ ...change, object: `role ${name}` }))
  })
}

function memberOf(group: string): string {
  return `a member of ${group}`
}

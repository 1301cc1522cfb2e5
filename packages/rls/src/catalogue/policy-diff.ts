import type { CatalogueColumnGrant, CatalogueGrant } from './catalogue.ts'
import { diffPolicyLists } from './diff-policy-lists.ts'
import { changeOf, without, type Change, type PolicyChange } from './policy-change.ts'
import { diffRoles } from './diff-roles.ts'
import type {
  ContainerSecurity,
  FunctionSecurity,
  PolicySnapshot,
  RelationSecurity,
} from './policy-snapshot.ts'

export interface PolicyDiffOptions {
  /** Roles that see everything anyway (system and owner): what changes for them alone is safe. */
  readonly trustedRoles?: readonly string[]
}

/** Every difference between two snapshots, the dangerous ones first. */
export function diffPolicies(
  before: PolicySnapshot,
  after: PolicySnapshot,
  options: PolicyDiffOptions = {},
): readonly PolicyChange[] {
  const trusted = new Set(options.trustedRoles)
  const order = ['dangerous', 'breaking', 'safe']
  return [
    ...eachOf(before.relations, after.relations, (was, is) => diffRelation(was, is, trusted)),
    ...eachOf(before.functions, after.functions, (was, is) => diffFunction(was, is, trusted, after)),
    ...eachOf(before.containers, after.containers, (was, is) => diffContainer(was, is, trusted)),
    ...diffRoles(before, after, trusted),
    ...eachOf(before.defaultGrants, after.defaultGrants, (was = [], is = []) =>
      diffGrants(was, is, trusted).map((change) => ({
        ...change,
        change: `${change.change} on each table that it creates`,
      })),
    ),
  ].toSorted((a, b) => order.indexOf(a.class) - order.indexOf(b.class))
}

/** One line per change, for a terminal: what changes, and who may see or do more by it. */
export function formatPolicyDiff(changes: readonly PolicyChange[]): string {
  if (changes.length === 0) return 'The policies are the same.'
  return changes
    .map(({ class: kind, object, change, roles, gain }) => {
      const who = roles.map((role) => (role === 'public' ? 'everybody' : role)).join(', ')
      return `${kind.padEnd(9)}  ${object}: ${change}${who === '' ? '' : `: ${who} may ${gain} more`}`
    })
    .join('\n')
}

function eachOf<Value>(
  before: Readonly<Record<string, Value>>,
  after: Readonly<Record<string, Value>>,
  diff: (was: Value | undefined, is: Value | undefined) => readonly Change[],
): readonly PolicyChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted()
  return names.flatMap((name) =>
    diff(before[name], after[name]).map((change) => ({ ...change, object: name })),
  )
}

type Trusted = ReadonlySet<string>

function diffRelation(
  before: RelationSecurity | undefined,
  after: RelationSecurity | undefined,
  trusted: Trusted,
): readonly Change[] {
  if (after === undefined) return [changeOf('breaking', `the ${before?.kind ?? 'table'} is gone`)]
  const users = usersOf(after, trusted)
  if (before === undefined) {
    const text = `a new ${after.kind} is open`
    if (users.length === 0) return [changeOf('safe', `a new ${after.kind}`)]
    return [
      changeOf('dangerous', isProtected(after) ? text : `${text} without forced row-level security`, users),
    ]
  }
  return [
    ...diffOwner(before.owner, after.owner, trusted, ownersRights(after) ? users : []),
    ...diffSwitches(before, after, users),
    ...diffDefinition(before, after, users),
    ...diffGrants(before.grants, after.grants, trusted),
    ...diffGrants(before.columnGrants.map(ofColumn), after.columnGrants.map(ofColumn), trusted),
    ...diffPolicyLists(before.policies, after.policies, trusted),
  ]
}

function diffContainer(
  before: ContainerSecurity | undefined,
  after: ContainerSecurity | undefined,
  trusted: Trusted,
): readonly Change[] {
  if (after === undefined) return [changeOf('breaking', 'the schema is gone')]
  if (before === undefined) {
    const grants = diffGrants([], after.grants, trusted)
    return grants.length === 0 ? [changeOf('safe', 'a new schema')] : grants
  }
  return [
    ...diffOwner(before.owner, after.owner, trusted, []),
    ...diffGrants(before.grants, after.grants, trusted),
  ]
}

/** Who has a right to the relation, to all of it or to a column. */
function usersOf(relation: RelationSecurity, trusted: Trusted): readonly string[] {
  return without(
    [...relation.grants, ...relation.columnGrants].map(({ grantee }) => grantee),
    trusted,
  )
}

function isProtected({ kind, rowSecurity, forced, securityInvoker }: RelationSecurity): boolean {
  return kind === 'table' ? rowSecurity && forced : kind === 'view' && securityInvoker
}

/** Whether who reads the relation does so with the rights of its owner. */
function ownersRights({ kind, securityInvoker }: RelationSecurity): boolean {
  return kind === 'materialized-view' || (kind === 'view' && !securityInvoker)
}

function diffOwner(was: string, is: string, trusted: Trusted, users: readonly string[]): readonly Change[] {
  if (was === is) return []
  const gaining = trusted.has(is) ? users : without([is, ...users], trusted)
  const text = `belongs to ${is}, no longer to ${was}`
  return [gaining.length === 0 ? changeOf('safe', text) : changeOf('dangerous', text, gaining)]
}

function diffSwitches(
  before: RelationSecurity,
  after: RelationSecurity,
  users: readonly string[],
): readonly Change[] {
  return (
    [
      ['rowSecurity', 'row-level security', users],
      ['forced', 'FORCE ROW LEVEL SECURITY', [after.owner]],
      ['securityInvoker', 'security_invoker', users],
    ] as const
  ).flatMap(([key, name, gaining]) => {
    if (before[key] === after[key]) return []
    return after[key]
      ? [changeOf('breaking', `${name} is turned on`)]
      : [changeOf('dangerous', `${name} is turned off`, gaining)]
  })
}

function diffDefinition(
  before: RelationSecurity,
  after: RelationSecurity,
  users: readonly string[],
): readonly Change[] {
  if (before.definition === after.definition) return []
  const text = `the query of the ${after.kind} is another one`
  const matters = ownersRights(after) && users.length > 0
  return [matters ? changeOf('dangerous', text, users) : changeOf('safe', text)]
}

function ofColumn(grant: CatalogueColumnGrant): CatalogueGrant {
  return { grantee: grant.grantee, privilege: `${grant.privilege} (${grant.column})` }
}

/** WITH GRANT OPTION is a right of its own. */
function withGrantOptions(grants: readonly CatalogueGrant[]): readonly CatalogueGrant[] {
  return grants.flatMap((grant) =>
    grant.grantable ? [grant, { ...grant, privilege: `the grant option for ${grant.privilege}` }] : [grant],
  )
}

function diffGrants(
  grantsBefore: readonly CatalogueGrant[],
  grantsAfter: readonly CatalogueGrant[],
  trusted: Trusted,
): readonly Change[] {
  const before = withGrantOptions(grantsBefore)
  const after = withGrantOptions(grantsAfter)
  const key = ({ grantee, privilege }: CatalogueGrant): string => `${privilege} to ${grantee}`
  const had = new Set(before.map(key))
  const has = new Set(after.map(key))
  return [
    ...after
      .filter((grant) => !had.has(key(grant)))
      .map((grant) =>
        trusted.has(grant.grantee)
          ? changeOf('safe', `grants ${key(grant)}`)
          : changeOf(
              'dangerous',
              `grants ${key(grant)}`,
              [grant.grantee],
              grant.privilege.startsWith('select') ? 'see' : 'do',
            ),
      ),
    ...before
      .filter((grant) => !has.has(key(grant)))
      .map((grant) =>
        changeOf(trusted.has(grant.grantee) ? 'safe' : 'breaking', `no longer grants ${key(grant)}`),
      ),
  ]
}

function diffFunction(
  before: FunctionSecurity | undefined,
  after: FunctionSecurity | undefined,
  trusted: Trusted,
  snapshot: PolicySnapshot,
): readonly Change[] {
  if (after === undefined) return [changeOf('breaking', 'the function is gone')]
  const users = functionUsers(after, trusted, snapshot)
  const definer = after.securityDefiner && users.length > 0
  if (before === undefined) {
    return [
      definer
        ? changeOf('dangerous', `a new function with the rights of ${after.owner}`, users, 'do')
        : changeOf('safe', 'a new function'),
    ]
  }
  const added = without(
    after.grantees.filter((role) => !before.grantees.includes(role)),
    trusted,
  )
  const removed = without(
    before.grantees.filter((role) => !after.grantees.includes(role)),
    trusted,
  )
  const changes: Change[] = [...diffOwner(before.owner, after.owner, trusted, definer ? users : [])]
  if (!before.securityDefiner && after.securityDefiner) {
    changes.push(
      changeOf(definer ? 'dangerous' : 'safe', 'is SECURITY DEFINER now', definer ? users : [], 'do'),
    )
  }
  if (before.securityDefiner && !after.securityDefiner)
    changes.push(changeOf('breaking', 'is no longer SECURITY DEFINER'))
  if (before.pinnedSearchPath && !after.pinnedSearchPath) {
    changes.push(
      changeOf(
        definer ? 'dangerous' : 'safe',
        'trusts the search_path of its caller',
        definer ? users : [],
        'do',
      ),
    )
  }
  if (added.length > 0) {
    const text = `may be called by ${added.join(', ')}`
    changes.push(
      after.securityDefiner && !after.trigger
        ? changeOf('dangerous', text, added, 'do')
        : changeOf('safe', text),
    )
  }
  if (removed.length > 0)
    changes.push(changeOf('breaking', `may no longer be called by ${removed.join(', ')}`))
  if (before.tables.join() !== after.tables.join())
    changes.push(
      changeOf(definer ? 'dangerous' : 'safe', 'its triggers are others', definer ? users : [], 'do'),
    )
  if (before.digest !== after.digest) changes.push(diffBody(after, users))
  return changes
}

/** Who calls a function, or sets it off by a trigger. */
function functionUsers(
  { trigger, grantees, tables }: FunctionSecurity,
  trusted: Trusted,
  { relations }: PolicySnapshot,
): readonly string[] {
  const writers = tables.flatMap((table) => {
    const relation = relations[table]
    return relation === undefined ? [] : usersOf(relation, trusted)
  })
  return without(trigger ? writers : grantees, trusted)
}

function diffBody({ securityDefiner }: FunctionSecurity, users: readonly string[]): Change {
  const text = 'does something else'
  return securityDefiner && users.length > 0
    ? changeOf('dangerous', text, users, 'do')
    : changeOf(users.length > 0 ? 'breaking' : 'safe', text)
}

import type { CatalogueGrant, CataloguePolicy } from './catalogue.ts'
import type { PolicySnapshot, TableSecurity } from './policy-snapshot.ts'

/** One difference between two snapshots. */
export interface PolicyChange {
  /**
   * `safe`: nobody sees or may do more, and nothing stops working. `breaking`: something that worked may
   * be refused. `dangerous`: somebody may see or do more than before.
   */
  readonly class: 'safe' | 'breaking' | 'dangerous'
  readonly table: string
  readonly change: string
}

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
  const tables = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted()
  const order = ['dangerous', 'breaking', 'safe']
  return tables
    .flatMap((table) => diffTable(table, before[table], after[table], trusted))
    .toSorted((a, b) => order.indexOf(a.class) - order.indexOf(b.class))
}

/** One line per change, for a terminal. */
export function formatPolicyDiff(changes: readonly PolicyChange[]): string {
  if (changes.length === 0) return 'The policies are the same.'
  return changes.map((change) => `${change.class.padEnd(9)}  ${change.table}: ${change.change}`).join('\n')
}

type Trusted = ReadonlySet<string>

function diffTable(
  table: string,
  before: TableSecurity | undefined,
  after: TableSecurity | undefined,
  trusted: Trusted,
): PolicyChange[] {
  const change = (kind: PolicyChange['class'], text: string): PolicyChange => ({
    class: kind,
    table,
    change: text,
  })
  if (after === undefined) return [change('breaking', 'the table is gone')]
  if (before === undefined) {
    const open =
      after.grants.some(({ grantee }) => !trusted.has(grantee)) && !(after.rowSecurity && after.forced)
    return [
      open
        ? change('dangerous', 'a new table is open without forced row-level security')
        : change('safe', 'a new table'),
    ]
  }
  const changes: PolicyChange[] = []
  for (const [key, name] of [
    ['rowSecurity', 'row-level security'],
    ['forced', 'FORCE ROW LEVEL SECURITY'],
  ] as const) {
    if (before[key] && !after[key]) changes.push(change('dangerous', `${name} is turned off`))
    if (!before[key] && after[key]) changes.push(change('breaking', `${name} is turned on`))
  }
  return [
    ...changes,
    ...diffGrants(before.grants, after.grants, trusted).map(([kind, text]) => change(kind, text)),
    ...diffPolicyLists(before.policies, after.policies, trusted).map(([kind, text]) => change(kind, text)),
  ]
}

type Verdict = readonly [PolicyChange['class'], string]

function diffGrants(
  before: readonly CatalogueGrant[],
  after: readonly CatalogueGrant[],
  trusted: Trusted,
): Verdict[] {
  const key = ({ grantee, privilege }: CatalogueGrant): string => `${privilege} to ${grantee}`
  const had = new Set(before.map(key))
  const has = new Set(after.map(key))
  const verdict = (grant: CatalogueGrant, kind: PolicyChange['class'], verb: string): Verdict => [
    trusted.has(grant.grantee) ? 'safe' : kind,
    `${verb} ${key(grant)}`,
  ]
  return [
    ...after.filter((grant) => !had.has(key(grant))).map((grant) => verdict(grant, 'dangerous', 'grants')),
    ...before
      .filter((grant) => !has.has(key(grant)))
      .map((grant) => verdict(grant, 'breaking', 'no longer grants')),
  ]
}

function diffPolicyLists(
  before: readonly CataloguePolicy[],
  after: readonly CataloguePolicy[],
  trusted: Trusted,
): Verdict[] {
  const names = [...new Set([...before, ...after].map(({ name }) => name))]
  return names.flatMap((name) => {
    const was = before.find((policy) => policy.name === name)
    const is = after.find((policy) => policy.name === name)
    const onlyTrusted = [was, is].every(
      (policy) => policy === undefined || policy.roles.every((role) => trusted.has(role)),
    )
    return diffPolicy(name, was, is).map(([kind, text]): Verdict => [onlyTrusted ? 'safe' : kind, text])
  })
}

function diffPolicy(
  name: string,
  was: CataloguePolicy | undefined,
  is: CataloguePolicy | undefined,
): Verdict[] {
  if (was === undefined || is === undefined) {
    const policy = (was ?? is) as CataloguePolicy
    const more = policy.permissive === (is !== undefined)
    const kind = policy.permissive ? 'policy' : 'restrictive policy'
    return [
      [
        more ? 'dangerous' : 'breaking',
        `the ${kind} ${name} for ${policy.command} is ${is ? 'new' : 'gone'}`,
      ],
    ]
  }
  if (was.permissive !== is.permissive || was.command !== is.command) {
    return [['dangerous', `the policy ${name} changes from ${describe(was)} to ${describe(is)}`]]
  }
  const verdicts: Verdict[] = []
  // A policy for public holds for every role.
  const added = is.roles.filter((role) => !was.roles.includes(role) && !was.roles.includes('public'))
  const removed = was.roles.filter((role) => !is.roles.includes(role) && !is.roles.includes('public'))
  // A restrictive policy for fewer roles admits more; a permissive one for fewer admits less.
  if (added.length > 0) {
    verdicts.push([
      is.permissive ? 'dangerous' : 'breaking',
      `the policy ${name} now holds for ${added.join(', ')}`,
    ])
  }
  if (removed.length > 0) {
    verdicts.push([
      is.permissive ? 'breaking' : 'dangerous',
      `the policy ${name} no longer holds for ${removed.join(', ')}`,
    ])
  }
  for (const [clause, from, to] of [
    ['USING', was.using, is.using],
    ['WITH CHECK', was.check ?? was.using, is.check ?? is.using],
  ] as const) {
    if (normalize(from) === normalize(to)) continue
    verdicts.push([
      isNarrowed(from, to) ? 'breaking' : 'dangerous',
      `${clause} of the policy ${name} changes from ${from ?? 'nothing'} to ${to ?? 'nothing'}`,
    ])
  }
  return verdicts.filter(([, text], index) => verdicts.findIndex(([, other]) => other === text) === index)
}

/** Whether the new expression is the old one with a further condition. Anything else cannot be told. */
function isNarrowed(from: string | null, to: string | null): boolean {
  const old = normalize(from)
  const now = normalize(to)
  if (now === 'false') return true
  const literals = now.match(/'(?:[^']|'')*'/g) ?? []
  if (literals.some((literal) => /[()]| or /i.test(literal))) return false
  const inner = stripParentheses(now)
  return (
    old !== '' && !hasTopLevelOr(inner) && (inner.startsWith(`${old} and `) || inner.endsWith(` and ${old}`))
  )
}

function hasTopLevelOr(expression: string): boolean {
  let depth = 0
  for (let at = 0; at < expression.length; at++) {
    if (expression[at] === '(') depth++
    else if (expression[at] === ')') depth--
    else if (depth === 0 && expression.startsWith(' or ', at)) return true
  }
  return false
}

function stripParentheses(expression: string): string {
  if (!expression.startsWith('(') || !expression.endsWith(')')) return expression
  let depth = 0
  for (let at = 0; at < expression.length; at++) {
    depth += expression[at] === '(' ? 1 : expression[at] === ')' ? -1 : 0
    if (depth === 0 && at < expression.length - 1) return expression
  }
  return expression.slice(1, -1)
}

/** Case matters only in literals and quoted names, so an expression with either keeps it. */
function normalize(expression: string | null): string {
  const text = (expression ?? '').replaceAll(/\s+/g, ' ').trim()
  return text.replaceAll(/ (?:AND|OR) /g, (word) => word.toLowerCase())
}

function describe({ permissive, command }: CataloguePolicy): string {
  return `${permissive ? 'permissive' : 'restrictive'} for ${command}`
}

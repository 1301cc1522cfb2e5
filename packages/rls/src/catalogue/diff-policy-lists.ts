import type { CataloguePolicy } from './catalogue.ts'
import { changeOf, without, type Change } from './policy-change.ts'

/** What changes about the policies of one table. */
export function diffPolicyLists(
  before: readonly CataloguePolicy[],
  after: readonly CataloguePolicy[],
  trusted: ReadonlySet<string>,
): readonly Change[] {
  const names = [...new Set([...before, ...after].map(({ name }) => name))]
  return names.flatMap((name) => {
    const was = before.find((policy) => policy.name === name)
    const is = after.find((policy) => policy.name === name)
    const concerned = without(
      [was, is].flatMap((policy) => policy?.roles ?? []),
      trusted,
    )
    return diffPolicy(name, was, is, concerned).map((change) =>
      concerned.length === 0 ? { ...change, class: 'safe' as const, roles: [] } : change,
    )
  })
}

function diffPolicy(
  name: string,
  was: CataloguePolicy | undefined,
  is: CataloguePolicy | undefined,
  concerned: readonly string[],
): readonly Change[] {
  const gain = gainOf(is ?? was)
  if (was === undefined || is === undefined) {
    const policy = (was ?? is) as CataloguePolicy
    const kind = policy.permissive ? 'policy' : 'restrictive policy'
    const text = `the ${kind} ${name} for ${policy.command} is ${is ? 'new' : 'gone'}`
    return [
      policy.permissive === (is !== undefined)
        ? changeOf('dangerous', text, concerned, gain)
        : changeOf('breaking', text),
    ]
  }
  if (was.permissive !== is.permissive || was.command !== is.command) {
    return [
      changeOf('dangerous', `the policy ${name} changes from ${describe(was)} to ${describe(is)}`, concerned),
    ]
  }
  const changes: Change[] = []
  // A policy for public holds for every role.
  const added = is.roles.filter((role) => !was.roles.includes(role) && !was.roles.includes('public'))
  const removed = was.roles.filter((role) => !is.roles.includes(role) && !is.roles.includes('public'))
  // A restrictive policy for fewer roles admits more; a permissive one for fewer admits less.
  if (added.length > 0) {
    const text = `the policy ${name} now holds for ${added.join(', ')}`
    changes.push(is.permissive ? changeOf('dangerous', text, added, gain) : changeOf('breaking', text))
  }
  if (removed.length > 0) {
    const text = `the policy ${name} no longer holds for ${removed.join(', ')}`
    changes.push(is.permissive ? changeOf('breaking', text) : changeOf('dangerous', text, removed, gain))
  }
  for (const [clause, from, to] of [
    ['USING', was.using, is.using],
    ['WITH CHECK', was.check ?? was.using, is.check ?? is.using],
  ] as const) {
    if (normalize(from) === normalize(to)) continue
    const text = `${clause} of the policy ${name} changes from ${from ?? 'nothing'} to ${to ?? 'nothing'}`
    changes.push(
      isNarrowed(from, to) ? changeOf('breaking', text) : changeOf('dangerous', text, concerned, gain),
    )
  }
  return changes
}

/** What one may do more by a policy. */
function gainOf(policy: CataloguePolicy | undefined): Change['gain'] {
  if (policy?.command === 'select') return 'see'
  return policy?.command === 'all' ? 'see and do' : 'do'
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

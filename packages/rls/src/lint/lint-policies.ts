import type { CataloguePolicy } from '../catalogue/catalogue.ts'
import type { LintFinding, LintRule, LintSubject } from './lint-rule.ts'

/** What is wrong with the expressions of policies, as PostgreSQL prints them. */
export function lintPolicies({ catalogue, isTenant }: LintSubject): LintFinding[] {
  const functions = new Set(catalogue.functions.map(({ name }) => bareName(name)))
  return catalogue.relations.flatMap((relation) =>
    relation.policies
      .filter(({ roles }) => roles.some(isTenant))
      .flatMap((policy) => lintPolicy(policy, `${relation.name}.${policy.name}`, functions)),
  )
}

function lintPolicy(policy: CataloguePolicy, object: string, functions: ReadonlySet<string>): LintFinding[] {
  const found: LintFinding[] = []
  const report = (rule: LintRule, severity: LintFinding['severity'], message: string): void => {
    if (!found.some((finding) => finding.rule === rule)) found.push({ rule, severity, object, message })
  }
  if (policy.roles.includes('public')) {
    report('policy-for-public', 'warning', 'holds for everybody. Name the role of the tenants.')
  }
  if (policy.permissive && isTrue(policy.check ?? (policy.command === 'select' ? null : policy.using))) {
    report('always-true', 'error', 'lets tenants write any row: its check is always true.')
  } else if (policy.permissive && policy.command !== 'select' && isTrue(policy.using)) {
    report('always-true', 'error', 'lets tenants change any row: its expression is always true.')
  }
  for (const expression of [policy.using, policy.check]) {
    if (expression === null) continue
    if (/app\.is_system/.test(expression) || /\bis_system\b/.test(expression)) {
      report(
        'system-flag-in-policy',
        'error',
        'trusts app.is_system, which every tenant can set itself; with OR it also disables the index. Use a policy for the system role.',
      )
    }
    if (settingOutsideSubselect(expression)) {
      report(
        'setting-outside-subselect',
        'warning',
        'reads a setting once per row. Write (select current_setting(…)).',
      )
    }
    if (/current_setting\([^)]*\)\s*\)*::(?!text\b)/.test(expression) && !/NULLIF\(/i.test(expression)) {
      report(
        'setting-without-nullif',
        'warning',
        "casts a setting that is '' after use. Write nullif(current_setting(…), '').",
      )
    }
    if (columnCast.test(expression)) {
      report('column-cast', 'warning', 'casts the column, so no index is used. Cast the setting.')
    }
    const called = [...expression.matchAll(/\b([a-z_][a-z0-9_.]*)\(/gi)].map(([, name = '']) =>
      bareName(name),
    )
    const own = called.find((name) => functions.has(name))
    if (own !== undefined) {
      report(
        'function-in-policy',
        'warning',
        `calls ${own}() for each row. Inline it, or wrap it in a subselect.`,
      )
    }
  }
  return found
}

/** A column, not a setting, under a cast, on either side of a comparison: `(tenant_id)::text = …`. */
const columnCast = /\(([a-z_][a-z0-9_]*)\)::[a-z]+\s*=|=\s*\(([a-z_][a-z0-9_]*)\)::[a-z]+(?!\s*\()/i

function isTrue(expression: string | null): boolean {
  return expression !== null && /^\(*true\)*$/i.test(expression.trim())
}

function settingOutsideSubselect(expression: string): boolean {
  return /current_setting\(/.test(withoutSubselects(expression))
}

/** The expression without what stands in `(SELECT …)`. */
export function withoutSubselects(expression: string): string {
  let rest = ''
  let depth = 0
  for (let at = 0; at < expression.length; at++) {
    const character = expression[at] ?? ''
    if (depth === 0 && /^\(\s*select\b/i.test(expression.slice(at))) depth = 1
    else if (depth > 0) depth += character === '(' ? 1 : character === ')' ? -1 : 0
    else rest += character
  }
  return rest
}

function bareName(name: string): string {
  return (name.split('(')[0] ?? '').split('.').at(-1) ?? ''
}

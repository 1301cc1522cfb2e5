import { refuseUnknownKeys } from '@quintet/core/kit'
import type { Queryable } from '../sql/queryable.ts'
import { refusePool } from '../sql/rolled-back.ts'
import { readCatalogue, type Catalogue } from '../catalogue/catalogue.ts'
import type { PolicySnapshot } from '../catalogue/policy-snapshot.ts'
import { evaluatePolicies } from './evaluate-policies.ts'
import { lintDatabase } from './lint-database.ts'
import { lintDrift } from './lint-drift.ts'
import { lintFunctions } from './lint-functions.ts'
import { lintIndexes } from './lint-indexes.ts'
import { lintPolicies } from './lint-policies.ts'
import { lintRoles } from './lint-roles.ts'
import type { LintFinding, LintRule, LintSubject } from './lint-rule.ts'
import { lintTables } from './lint-tables.ts'

export interface LintOptions {
  /** The roles that tenants work under. */
  readonly tenantRoles: readonly string[]
  /** The column that holds the tenant in most tables. @defaultValue `'tenant_id'` */
  readonly tenantColumn?: string
  /** How the database is meant to be; what differs is reported. @defaultValue nothing is compared */
  readonly expected?: PolicySnapshot
  /** Rules to leave out, or `rule:object` for one place. */
  readonly ignore?: readonly string[]
}

export const lintDefaults = Object.freeze({ tenantColumn: 'tenant_id' } as const)

/**
 * Reads the catalogue, holds it against every rule, and evaluates the policies of tenant tables on sample
 * rows. Needs one connection, not a pool: it works in a transaction (or a savepoint of the one that is open)
 * and rolls it back.
 */
export async function lintCatalogue(
  connection: Queryable,
  options: LintOptions,
): Promise<readonly LintFinding[]> {
  refusePool(connection, 'lintCatalogue')
  const catalogue = await readCatalogue(connection)
  const subject = subjectOf(catalogue, options)
  return order([...findings(subject, options), ...(await evaluatePolicies(connection, subject))], options)
}

/** Holds a catalogue against every rule that needs no database: errors first, then by object. */
export function lint(catalogue: Catalogue, options: LintOptions): readonly LintFinding[] {
  return order(findings(subjectOf(catalogue, options), options), options)
}

function subjectOf(catalogue: Catalogue, options: LintOptions): LintSubject {
  refuseUnknownKeys(options, ['tenantRoles', 'tenantColumn', 'expected', 'ignore'], 'lint')
  const roles = new Set([...options.tenantRoles, 'public'])
  return {
    catalogue,
    isTenant: (role) => roles.has(role),
    tenantRoles: options.tenantRoles,
    tenantColumn: options.tenantColumn ?? lintDefaults.tenantColumn,
  }
}

function findings(subject: LintSubject, { expected }: LintOptions): readonly LintFinding[] {
  return [
    ...(expected === undefined ? [] : lintDrift(subject, expected)),
    ...lintDatabase(subject),
    ...lintRoles(subject),
    ...lintTables(subject),
    ...lintPolicies(subject),
    ...lintIndexes(subject),
    ...lintFunctions(subject),
  ]
}

function order(found: readonly LintFinding[], { ignore }: LintOptions): readonly LintFinding[] {
  const ignored = new Set(ignore)
  const kept = found.filter(({ rule, object }) => !ignored.has(rule) && !ignored.has(`${rule}:${object}`))
  return kept
    .filter(({ rule, object }) => !kept.some((other) => other.object === object && covers(other.rule, rule)))
    .toSorted(
      (a, b) => compare(a.severity, b.severity) || compare(a.object, b.object) || compare(a.rule, b.rule),
    )
}

/** Whether one rule says of an object what the other one says too, and more. */
function covers(rule: LintRule, other: LintRule): boolean {
  return (
    (rule === 'tenant-not-implied' && other === 'always-true') ||
    (rule === 'system-flag-in-policy' && other === 'tenant-not-implied')
  )
}

/** One line per finding, for a terminal. */
export function formatLint(findings: readonly LintFinding[]): string {
  if (findings.length === 0) return 'Nothing to report.'
  return findings
    .map(({ severity, rule, object, message }) => `${severity.padEnd(7)}  ${object}: ${message} (${rule})`)
    .join('\n')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

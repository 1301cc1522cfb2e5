import { attempt, inRolledBackTransaction } from '../sql/rolled-back.ts'
import type { Queryable } from '../sql/queryable.ts'
import { quoteName, quoteTable, quoteText } from '../sql/sql-text.ts'
import type { CatalogueColumn, CataloguePolicy, CatalogueRelation } from '../catalogue/catalogue.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'
import { asRole, weakestForm, withoutLiterals } from './policy-expression.ts'

/**
 * Evaluates the permissive policies of every tenant table: on rows of another tenant, in the context of one
 * and in none, none of them may be true. Conditions on other columns and settings count as met, since an
 * attacker may choose the row; restrictive policies that hold for the same roles count as well.
 *
 * Subselects that read tables are asked on the data that is there. Everything is rolled back.
 */
export async function evaluatePolicies(
  connection: Queryable,
  subject: LintSubject,
): Promise<readonly LintFinding[]> {
  const findings: LintFinding[] = []
  await inRolledBackTransaction(connection, async () => {
    for (const table of subject.catalogue.relations) {
      const column = table.columns.find(({ name }) => name === subject.tenantColumn)
      const policies = table.policies.filter(
        ({ permissive, roles }) => permissive && roles.some(subject.isTenant),
      )
      if (table.kind !== 'table' || column === undefined || policies.length === 0) continue
      const tenants = await sampleTenants(connection, column)
      for (const policy of policies) {
        const finding = await evaluatePolicy(connection, { ...subject, table, column, tenants }, policy)
        if (finding) findings.push(finding)
      }
    }
  })
  return findings
}

interface Tenants {
  readonly own: string
  readonly other: string
}

interface Evaluated extends LintSubject {
  readonly table: CatalogueRelation
  readonly column: CatalogueColumn
  readonly tenants: Tenants | undefined
}

type Command = Exclude<CataloguePolicy['command'], 'all'>

const clauses = [
  { clause: 'USING', commands: ['select', 'update', 'delete'], verb: 'reaches' },
  { clause: 'WITH CHECK', commands: ['insert', 'update'], verb: 'writes' },
] as const

async function evaluatePolicy(
  connection: Queryable,
  subject: Evaluated,
  policy: CataloguePolicy,
): Promise<LintFinding | undefined> {
  const { table, tenants, tenantColumn } = subject
  const object = `${table.name}.${policy.name}`
  const unevaluated = (reason: string): LintFinding => ({
    rule: 'policy-not-evaluated',
    severity: 'warning',
    object,
    message: `could not be evaluated on sample rows: ${reason}.`,
  })
  if (tenants === undefined) return unevaluated(`${tenantColumn} is of a type without samples`)
  const seen = new Set<string>()
  let undecided: string | undefined
  for (const { clause, commands, verb } of clauses) {
    for (const command of commands) {
      if (policy.command !== 'all' && policy.command !== command) continue
      const { expression: written, mixed } = combined(subject, policy, command, clause)
      for (const role of subject.tenantRoles) {
        const expression = asRole(written, quoteText(role))
        if (seen.has(expression)) continue
        seen.add(expression)
        const answer = await whoIsAdmitted(connection, subject, tenants, expression)
        if (answer.failure !== undefined) return unevaluated(answer.failure)
        if (answer.context === undefined) {
          undecided ??= mixed[0]
          continue
        }
        return {
          rule: 'tenant-not-implied',
          severity: 'error',
          object,
          message: `${verb} rows of another tenant ${answer.context}: its ${clause} does not imply that ${tenantColumn} is the tenant of the context.`,
        }
      }
    }
  }
  return undecided === undefined
    ? undefined
    : unevaluated(`what ${undecided} admits depends on other columns too. Compare ${tenantColumn} by itself`)
}

interface Combined {
  readonly expression: string
  /** Conditions that decide over the tenant and over other columns at once. */
  readonly mixed: readonly string[]
}

/** The policy together with the restrictive ones that hold wherever it does, in their weakest form. */
function combined(
  { table, isTenant, tenantColumn }: Evaluated,
  policy: CataloguePolicy,
  command: Command,
  clause: 'USING' | 'WITH CHECK',
): Combined {
  const mixed: string[] = []
  const holders = policy.roles.filter(isTenant)
  const restrictive = table.policies.filter(
    (other) =>
      !other.permissive &&
      (other.command === 'all' || other.command === command) &&
      (other.roles.includes('public') || holders.every((role) => other.roles.includes(role))),
  )
  const expression = [policy, ...restrictive]
    .map((one) => (clause === 'USING' ? one.using : (one.check ?? one.using)) ?? 'true')
    .map((written) =>
      weakestForm(written, (condition) => {
        if (isMixed(condition, table, tenantColumn)) mixed.push(condition)
        return isFree(condition, table, tenantColumn)
      }),
    )
    .join(' and ')
  return { expression, mixed }
}

/**
 * Whether a condition weighs the tenant of the row together with other columns, in anything but a comparison of two values:
 * what it is for the values of the sample rows says nothing of others.
 */
function isMixed(condition: string, table: CatalogueRelation, tenantColumn: string): boolean {
  if (readsTables(condition) || isComparison(condition)) return false
  const names = namesIn(condition)
  return (
    (names.has(tenantColumn) || settingsOf(condition).includes('app.tenant_id')) &&
    table.columns.some(({ name }) => name !== tenantColumn && names.has(name))
  )
}

/** Whether a condition compares two columns, or a column with a setting. */
function isComparison(condition: string): boolean {
  const value = String.raw`\(*(?:"[^"]+"|[a-z_][\w$]*|\( SELECT [^(]*\(?current_setting\([^()]*\)[^()]*\)[^()]*\)?)(?:\)*::[\w ]+)*\)*`
  return new RegExp(`^${value} (?:=|<>|<|>|<=|>=) ${value}$`).test(condition)
}

function readsTables(condition: string): boolean {
  const code = withoutLiterals(condition)
  return /\bSELECT\b/i.test(code) && /(?<!DISTINCT )\bFROM\b/i.test(code)
}

/** Names of columns, functions and words, but not of the types that values are cast to. */
function namesIn(condition: string): ReadonlySet<string> {
  const code = withoutLiterals(condition).replaceAll(/::[a-z_][\w$]*/g, '')
  return new Set([...code.matchAll(/"((?:[^"]|"")+)"|[a-z_][\w$]*/g)].map(([all, quoted]) => quoted ?? all))
}

/** Whether a condition speaks of the row or the context, but not of a tenant. */
function isFree(condition: string, table: CatalogueRelation, tenantColumn: string): boolean {
  if (settingsOf(condition).includes('app.tenant_id') || readsTables(condition)) return false
  const names = namesIn(condition)
  if (names.has(tenantColumn)) return false
  return settingsOf(condition).length > 0 || table.columns.some(({ name }) => names.has(name))
}

function settingsOf(expression: string): readonly string[] {
  return [...expression.matchAll(/current_setting\('((?:[^']|'')+)'/g)].map(([, name = '']) =>
    name.toLowerCase(),
  )
}

interface Admission {
  /** In which context another tenant's row is admitted. */
  readonly context?: string
  readonly failure?: string
}

async function whoIsAdmitted(
  connection: Queryable,
  { table, column }: Evaluated,
  { own, other }: Tenants,
  expression: string,
): Promise<Admission> {
  const rows = sampleRows(table, column, { own, other })
  const settings = new Set(settingsOf(expression).filter((name) => name.startsWith('app.')))
  for (const tenant of [own, '']) {
    for (const rest of [other, '']) {
      for (const name of new Set([...settings, 'app.tenant_id'])) {
        const value = name === 'app.tenant_id' ? tenant : rest
        await connection.query('select set_config($1, $2, true)', [name, value])
      }
      for (const row of rows) {
        const answer = await attempt(connection, () => isAdmitted(connection, table, row, expression))
        if (answer.error !== undefined && !isDataException(answer.error)) {
          return { failure: (answer.error as Error).message }
        }
        if (answer.value === true) return { context: tenant === '' ? 'without a context' : 'in a context' }
      }
    }
  }
  return {}
}

async function isAdmitted(
  connection: Queryable,
  table: CatalogueRelation,
  row: object,
  expression: string,
): Promise<boolean> {
  const alias = quoteName(table.name.slice(table.name.indexOf('.') + 1))
  const { rows } = await connection.query(
    `select exists (select from jsonb_populate_record(null::${quoteTable(table.name)}, $1::jsonb) as ${alias} where ${expression}) as admitted`,
    [JSON.stringify(row)],
  )
  return (rows[0] as { admitted: boolean }).admitted
}

/** Rows of the other tenant: empty otherwise, with each truth value, and with one of the tenants elsewhere. */
function sampleRows(
  table: CatalogueRelation,
  tenant: CatalogueColumn,
  { own, other }: Tenants,
): readonly object[] {
  const filled = (type: string, value: unknown): object => ({
    ...Object.fromEntries(
      table.columns.filter((column) => column.type === type).map(({ name }) => [name, value]),
    ),
    [tenant.name]: other,
  })
  return [
    { [tenant.name]: other },
    filled('boolean', true),
    filled('boolean', false),
    filled(tenant.type, own),
    filled(tenant.type, other),
  ]
}

/** Two values of the tenant column's type. */
async function sampleTenants(
  connection: Queryable,
  { type, labels }: CatalogueColumn,
): Promise<Tenants | undefined> {
  const pairs = [
    ['00000000-0000-4000-8000-00000000a11a', '00000000-0000-4000-8000-00000000b22b'],
    ['7001', '7002'],
    ['a', 'b'],
    labels ?? [],
  ]
  for (const [own, other] of pairs) {
    if (own === undefined || other === undefined) continue
    const { error } = await attempt(connection, () =>
      connection.query(`select $1::text::${type}, $2::text::${type}`, [own, other]),
    )
    if (error === undefined) return { own, other }
  }
  return undefined
}

/** A value that the expression cannot be computed for admits nothing. */
function isDataException(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith('22')
}

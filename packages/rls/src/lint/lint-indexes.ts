import { quoteName } from '../sql/sql-text.ts'
import type { CatalogueIndex, CatalogueRelation } from '../catalogue/catalogue.ts'
import type { LintFinding, LintSubject } from './lint-rule.ts'

/** Keys and indexes: what is slow under a policy, and what tells one tenant of another. */
export function lintIndexes(subject: LintSubject): LintFinding[] {
  const { catalogue, tenantColumn } = subject
  const tenantTables = new Map(
    catalogue.relations
      .filter(({ kind, columns }) => kind === 'table' && columns.some(({ name }) => name === tenantColumn))
      .map((table) => [table.name, table]),
  )
  return [
    ...[...tenantTables.values()].flatMap((table) => [
      ...unindexed(table, tenantColumn),
      ...uniqueAcross(table, tenantColumn),
      ...referencesAcross(table, tenantColumn, tenantTables),
      ...expressionIndexes(table, subject),
    ]),
    ...catalogue.relations.flatMap(unindexedForeignKeys),
  ]
}

function unindexed(table: CatalogueRelation, column: string): LintFinding[] {
  const filtered = table.policies.some(
    ({ using }) => using !== null && new RegExp(`\\b${column}\\b`).test(using),
  )
  if (!filtered || table.indexes.some((index) => finds(index, [column]))) return []
  return [
    {
      rule: 'unindexed-policy-column',
      severity: 'warning',
      object: table.name,
      message: `has no index that starts with ${column}, so each statement of a tenant reads the whole table.`,
    },
  ]
}

/** Without an index, each DELETE or UPDATE of a row that is referred to reads the whole table. */
function unindexedForeignKeys(table: CatalogueRelation): LintFinding[] {
  return table.foreignKeys
    .filter(({ columns, inherited }) => !inherited && !table.indexes.some((index) => finds(index, columns)))
    .map(({ name, columns, references }) => ({
      rule: 'unindexed-foreign-key',
      severity: 'warning',
      object: `${table.name}.${name}`,
      message: `has no index that starts with ${columns.join(', ')}, so each change of a row of ${references} reads the whole table.`,
    }))
}

/** Whether an index finds rows by values of these columns, none of which is null. */
function finds({ method, columns, predicate }: CatalogueIndex, wanted: readonly string[]): boolean {
  if (method !== 'btree' && !(method === 'hash' && wanted.length === 1)) return false
  const first = new Set(columns.slice(0, wanted.length))
  if (!wanted.every((column) => first.has(column))) return false
  return predicate === null || wanted.some((column) => predicate === `(${quoteName(column)} IS NOT NULL)`)
}

function uniqueAcross(table: CatalogueRelation, column: string): LintFinding[] {
  return table.indexes
    .filter(
      ({ unique, inherited, columns }) =>
        unique && !inherited && !columns.includes(column) && !isRandomKey(table, columns),
    )
    .map(({ name }) => ({
      rule: 'unique-across-tenants',
      severity: 'warning',
      object: `${table.name}.${name}`,
      message: `is unique across tenants: a duplicate (23505) tells that another tenant has the value. Add ${column} to it.`,
    }))
}

/** A key that cannot be guessed, or that the database alone gives out, tells nothing. */
function isRandomKey(table: CatalogueRelation, columns: readonly (string | null)[]): boolean {
  return columns.every((name) => {
    const column = table.columns.find((one) => one.name === name)
    return column !== undefined && (column.type === 'uuid' || column.generated === 'always')
  })
}

function referencesAcross(
  table: CatalogueRelation,
  column: string,
  tenantTables: ReadonlyMap<string, CatalogueRelation>,
): LintFinding[] {
  return table.foreignKeys
    .filter(
      ({ columns, references, inherited }) =>
        !inherited && tenantTables.has(references) && !columns.includes(column),
    )
    .map(({ name, references }) => ({
      rule: 'foreign-key-across-tenants',
      severity: 'warning',
      object: `${table.name}.${name}`,
      message: `can point to another tenant's row of ${references}: foreign keys are checked without policies. Add ${column} to both sides.`,
    }))
}

function expressionIndexes(table: CatalogueRelation, { isTenant }: LintSubject): LintFinding[] {
  // A policy for INSERT has no USING: under it, no index is looked up.
  if (!table.policies.some(({ using, roles }) => using !== null && roles.some(isTenant))) return []
  return table.indexes
    .filter(({ columns, inherited }) => !inherited && columns.length > 0 && columns[0] === null)
    .map(({ name }) => ({
      rule: 'expression-index',
      severity: 'warning',
      object: `${table.name}.${name}`,
      message:
        'starts with an expression, which is used under a policy only if its function is LEAKPROOF. Store the value in a column.',
    }))
}

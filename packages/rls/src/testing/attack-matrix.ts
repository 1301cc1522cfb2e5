import type { PoolClient } from 'pg'
import { asSystem } from '../context/as-system.ts'
import { readCatalogue, type CatalogueRelation } from '../catalogue/catalogue.ts'
import { inReferenceOrder } from '../catalogue/reference-order.ts'
import { runInScope, runWithRlsContext, type RlsContextInput } from '../context/rls-context.ts'
import type { TablePolicy } from '../policies/table-policy.ts'
import type { RlsPool } from '../pool/rls-pool.ts'
import {
  attackStatement,
  insert,
  returning,
  type AttackStatement,
  type AttackTarget,
} from './attack-statements.ts'
import { expectedOutcome } from './attack-expectation.ts'
import type { AttackActor, AttackCase, AttackOperation, AttackOutcome } from './attack-case.ts'
import { sampleId, sampleRow, type SampleOwner, type SampleRow } from './sample-rows.ts'

export interface AttackTable {
  /** Values for columns that a sample cannot know, e.g. those under a CHECK. */
  readonly row?: (owner: SampleOwner) => SampleRow
}

export interface AttackMatrixOptions {
  /** A pool with a system pool, as {@link createRlsPool} makes it. Use a database that may be written to. */
  readonly pool: RlsPool
  readonly policies: readonly TablePolicy[]
  /** By `table` or `schema.table`. */
  readonly tables?: Readonly<Record<string, AttackTable>>
  /** The roles of the actors. @defaultValue those that the policies name */
  readonly roles?: readonly string[]
}

export interface AttackReport {
  readonly cases: readonly AttackCase[]
  /** Cases that came out otherwise than the policies promise. */
  readonly failures: readonly AttackCase[]
}

const operations: readonly AttackOperation[] = [
  'select',
  'insert',
  'update',
  'delete',
  'upsert',
  'move-tenant',
  'move-user',
  'truncate',
]
const actors: readonly AttackActor[] = [
  'none',
  'own',
  'roleless',
  'colleague',
  'namesake',
  'other',
  'malformed',
  'forged',
  'system',
]

/**
 * Tries every operation on every table as everybody: creates a row of one user in each, lets each actor go for it in a
 * transaction that is rolled back, and compares with what the policies declare. The rows are removed at the end.
 *
 * An UPDATE or DELETE of a tenant names no row, so that it meets all that its policies let through: use a database that may
 * be written to, and of which nothing else works.
 */
export async function runAttackMatrix(options: AttackMatrixOptions): Promise<AttackReport> {
  const { pool, policies } = options
  const tables = await readTables(options)
  const ids = {
    tenant: idTypesOf(tables, policies, 'tenantColumn'),
    user: idTypesOf(tables, policies, 'userColumn'),
  }
  const newOwner = (): SampleOwner => ({ tenantId: sampleId(ids.tenant), userId: sampleId(ids.user) })
  const [victim, attacker] = [newOwner(), newOwner()]
  const roles = options.roles ?? policies.flatMap((policy) => policy.roles)
  const rows: Rows = new Map()
  try {
    await asSystem('attack matrix: create rows', () => createRows(options, tables, victim, rows))
    const cases: AttackCase[] = []
    for (const table of tables) {
      const rules = policies.filter((policy) => qualified(policy.table) === table.name)
      for (const operation of operations) {
        for (const actor of actors) {
          const expected = expectedOutcome(operation, actor, rules)
          const statement = attackStatement(operation, {
            table,
            row: rows.get(table.name) ?? {},
            fresh: freshRow(options, table, victim, rows),
            thief: ownedBy(rules, attacker),
            named: actor === 'system',
          })
          if (expected === undefined || statement === undefined) continue
          const context = contextOf(actor, victim, attacker, roles)
          const outcome = await attempt(pool, actor, context, statement)
          // Where an id may be any text, none is malformed: it is that of another tenant.
          const isText = actor === 'malformed' && ids.tenant.has('text') && outcome.actual !== 'invalid'
          const meant = isText ? (expectedOutcome(operation, 'other', rules) ?? expected) : expected
          cases.push({ table: table.name, operation, actor, expected: meant, ...outcome })
        }
      }
    }
    return { cases, failures: cases.filter(({ expected, actual }) => expected !== actual) }
  } finally {
    await asSystem('attack matrix: remove rows', () => removeRows(pool, tables, rows))
  }
}

/** The matrix as a table: one line per table and operation, one column per actor. */
export function formatAttackMatrix({ cases, failures }: AttackReport): string {
  const keys = [...new Set(cases.map(({ table, operation }) => `${table} ${operation}`))]
  const width = Math.max(...keys.map((key) => key.length), 10)
  const lines = keys.map((key) => {
    const cells = actors.map((actor) => {
      const found = cases.find((one) => `${one.table} ${one.operation}` === key && one.actor === actor)
      if (found === undefined) return ''.padEnd(12)
      return `${found.actual}${found.actual === found.expected ? '' : ' (!)'}`.padEnd(12)
    })
    return `${key.padEnd(width)}  ${cells.join('')}`.trimEnd()
  })
  const head = `${''.padEnd(width)}  ${actors.map((actor) => actor.padEnd(12)).join('')}`.trimEnd()
  return [head, ...lines, `${cases.length} attempts, ${failures.length} unexpected`].join('\n')
}

function contextOf(
  actor: AttackActor,
  victim: SampleOwner,
  attacker: SampleOwner,
  roles: readonly string[],
): RlsContextInput | undefined {
  switch (actor) {
    case 'own':
      return { ...victim, roles }
    case 'roleless':
      return victim
    case 'colleague':
      return { ...victim, userId: attacker.userId, roles }
    case 'namesake':
      return { ...attacker, userId: victim.userId, roles }
    case 'other':
    case 'forged':
      return { ...attacker, roles }
    case 'malformed':
      return { tenantId: `${victim.tenantId}' or '1'='1`, userId: attacker.userId, roles }
    case 'none':
    case 'system':
      return undefined
  }
}

/** The columns that say whose row it is, with the ids of an owner. */
function ownedBy(rules: readonly TablePolicy[], owner: SampleOwner): AttackTarget['thief'] {
  const tenant = rules.find((rule) => rule.tenantColumn !== null)?.tenantColumn
  const user = rules.find((rule) => rule.userColumn !== null)?.userColumn
  return {
    tenant: tenant ? { [tenant]: owner.tenantId } : {},
    user: user ? { [user]: owner.userId } : {},
  }
}

/** The types of the columns that hold a tenant or a user. */
function idTypesOf(
  tables: readonly CatalogueRelation[],
  policies: readonly TablePolicy[],
  member: 'tenantColumn' | 'userColumn',
): ReadonlySet<string> {
  const types = policies.flatMap((policy) => {
    const table = tables.find(({ name }) => name === qualified(policy.table))
    return table?.columns.filter(({ name }) => name === policy[member]).map(({ type }) => type) ?? []
  })
  return new Set(types)
}

interface Attempt {
  readonly actual: AttackOutcome
  readonly reason: string | undefined
}

async function attempt(
  pool: RlsPool,
  actor: AttackActor,
  context: RlsContextInput | undefined,
  statement: AttackStatement,
): Promise<Attempt> {
  const run = async (): Promise<Attempt> => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      if (actor === 'forged') await forge(client)
      const { rowCount } = await client.query(statement.text, [...statement.values])
      return { actual: rowCount ? 'done' : 'no rows', reason: undefined }
    } catch (error) {
      return outcomeOf(error)
    } finally {
      await client.query('rollback').catch(() => undefined)
      client.release()
    }
  }
  if (actor === 'system') return asSystem('attack matrix', run)
  return context === undefined ? runInScope(undefined, run) : runWithRlsContext(context, run)
}

/** What a tenant can do to its own settings, which must gain nothing. */
async function forge(client: PoolClient): Promise<void> {
  await client.query("select set_config('app.is_system', 'true', true)")
  await client.query('savepoint forged')
  const { rows } = await client.query<{ name: string }>(
    'select rolname as name from pg_roles where rolsuper or rolbypassrls or not pg_has_role(session_user, oid, $1) limit 20',
    ['MEMBER'],
  )
  for (const { name } of rows) {
    const taken = await client.query("select set_config('role', $1, true)", [name]).then(
      () => true,
      () => false,
    )
    if (taken) throw new Error(`The tenants' login could become ${name}.`)
    await client.query('rollback to savepoint forged')
  }
}

function outcomeOf(error: unknown): Attempt {
  const code = String((error as { code?: unknown }).code ?? '')
  const reason = error instanceof Error ? error.message : String(error)
  // A constraint stands in the way, which PostgreSQL looks at after the policies: the rights were there.
  if (code.startsWith('23')) return { actual: 'done', reason }
  if (code === '42501') return { actual: 'refused', reason }
  return {
    actual: code === 'ERR_RLS_INVALID_CONTEXT' ? 'invalid' : 'error',
    reason: `${code} ${reason}`.trim(),
  }
}

async function readTables({ pool, policies }: AttackMatrixOptions): Promise<readonly CatalogueRelation[]> {
  const names = new Set(policies.map(({ table }) => qualified(table)))
  const { relations } = await asSystem('attack matrix: read the catalogue', () => readCatalogue(pool))
  const missing = [...names].filter((name) => !relations.some((relation) => relation.name === name))
  if (missing.length > 0) throw new Error(`The database has no table ${missing.join(', ')}.`)
  return inReferenceOrder(relations.filter(({ name }) => names.has(name)))
}

type Rows = Map<string, SampleRow>

/** A row in each table, noted as it is created. */
async function createRows(
  options: AttackMatrixOptions,
  tables: readonly CatalogueRelation[],
  owner: SampleOwner,
  rows: Rows,
): Promise<void> {
  for (const table of tables) {
    const { text, values } = insert(table, freshRow(options, table, owner, rows))
    const result = await options.pool.query(`${text} returning ${returning}`, [...values])
    rows.set(table.name, result.rows[0] as SampleRow)
  }
}

function freshRow(
  options: AttackMatrixOptions,
  table: CatalogueRelation,
  owner: SampleOwner,
  rows: Rows,
): SampleRow {
  const rules = options.policies.filter((policy) => qualified(policy.table) === table.name)
  const given = options.tables?.[table.name] ?? options.tables?.[table.name.replace(/^public\./, '')]
  const { tenant, user } = ownedBy(rules, owner)
  const overrides = { ...tenant, ...user, ...given?.row?.(owner) }
  return sampleRow(table, (name) => rows.get(name), overrides)
}

async function removeRows(pool: RlsPool, tables: readonly CatalogueRelation[], rows: Rows): Promise<void> {
  for (const table of tables.toReversed()) {
    const row = rows.get(table.name)
    const statement =
      row &&
      attackStatement('delete', { table, row, fresh: {}, thief: { tenant: {}, user: {} }, named: true })
    if (statement) await pool.query(statement.text, [...statement.values])
  }
}

function qualified(table: string): string {
  return table.includes('.') ? table : `public.${table}`
}

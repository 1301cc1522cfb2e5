import { randomUUID } from 'node:crypto'
import type { PoolClient } from 'pg'
import { asSystem } from '../context/as-system.ts'
import { readCatalogue, type CatalogueRelation } from '../catalogue/catalogue.ts'
import { inReferenceOrder } from '../catalogue/reference-order.ts'
import { runInScope, runWithRlsContext, type RlsContextInput } from '../context/rls-context.ts'
import type { TablePolicy } from '../policies/table-policy.ts'
import type { RlsPool } from '../pool/rls-pool.ts'
import { quoteTable } from '../sql/sql-text.ts'
import { attackStatement } from './attack-statements.ts'
import { expectedOutcome } from './attack-expectation.ts'
import type { AttackActor, AttackCase, AttackOperation, AttackOutcome } from './attack-case.ts'
import { sampleRow, type SampleOwner, type SampleRow } from './sample-rows.ts'

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
  /** The roles of the user whose rows they are, for policies that ask for one. */
  readonly roles?: readonly string[]
}

export interface AttackReport {
  readonly cases: readonly AttackCase[]
  /** Cases that came out otherwise than the policies promise. */
  readonly failures: readonly AttackCase[]
}

const operations: readonly AttackOperation[] = ['select', 'insert', 'update', 'delete', 'upsert']
const actors: readonly AttackActor[] = ['none', 'own', 'other', 'malformed', 'forged', 'system']

/**
 * Tries every operation on every table as everybody: creates rows of two tenants, lets each actor go for
 * the first tenant's row in a transaction that is rolled back, and compares with what the policies say.
 * The rows are removed at the end.
 */
export async function runAttackMatrix(options: AttackMatrixOptions): Promise<AttackReport> {
  const { pool, policies } = options
  const victim: SampleOwner = { tenantId: randomUUID(), userId: randomUUID() }
  const attacker: SampleOwner = { tenantId: randomUUID(), userId: randomUUID() }
  const tables = await readTables(options)
  const rows = await asSystem('attack matrix: create rows', () => createRows(options, tables, victim))
  try {
    const cases: AttackCase[] = []
    for (const table of tables) {
      const rules = policies.filter((policy) => qualified(policy.table) === table.name)
      for (const operation of operations) {
        const fresh = freshRow(options, table, victim, rows)
        const statement = attackStatement(operation, table, rows.get(table.name) ?? {}, fresh)
        if (statement === undefined) continue
        for (const actor of actors) {
          const outcome = await attempt(
            pool,
            actor,
            contextOf(actor, victim, attacker, options.roles),
            statement,
          )
          const expected = expectedOutcome(operation, actor, rules)
          cases.push({ table: table.name, operation, actor, expected, ...outcome })
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
  roles: readonly string[] | undefined,
): RlsContextInput | undefined {
  if (actor === 'own') return { ...victim, roles: roles ?? [] }
  if (actor === 'other' || actor === 'forged') return { ...attacker, roles: roles ?? [] }
  if (actor === 'malformed') return { tenantId: `${victim.tenantId}' or '1'='1`, userId: attacker.userId }
  return undefined
}

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

interface Attempt {
  readonly actual: AttackOutcome
  readonly reason: string | undefined
}

async function attempt(
  pool: RlsPool,
  actor: AttackActor,
  context: RlsContextInput | undefined,
  statement: Statement,
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
  // A reference from another table stands in the way: the rights were there.
  if (code === '23503') return { actual: 'done', reason }
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

async function createRows(
  options: AttackMatrixOptions,
  tables: readonly CatalogueRelation[],
  owner: SampleOwner,
): Promise<Rows> {
  const rows: Rows = new Map()
  for (const table of tables) {
    const row = freshRow(options, table, owner, rows)
    const names = Object.keys(row)
    const columns = names.map((name) => `"${name}"`).join(', ')
    const places = names.map((_, index) => `$${index + 1}`).join(', ')
    const values = names.length === 0 ? 'default values' : `(${columns}) values (${places})`
    const result = await options.pool.query(
      `insert into ${quoteTable(table.name)} ${values} returning *`,
      Object.values(row),
    )
    rows.set(table.name, result.rows[0] as SampleRow)
  }
  return rows
}

function freshRow(
  options: AttackMatrixOptions,
  table: CatalogueRelation,
  owner: SampleOwner,
  rows: Rows,
): SampleRow {
  const rules = options.policies.filter((policy) => qualified(policy.table) === table.name)
  const tenant = rules.find((rule) => rule.tenantColumn !== null)?.tenantColumn ?? null
  const user = rules.find((rule) => rule.userColumn !== null)?.userColumn ?? null
  const given = options.tables?.[table.name] ?? options.tables?.[table.name.replace(/^public\./, '')]
  return sampleRow(table, owner, { tenant, user }, (name) => rows.get(name), given?.row?.(owner) ?? {})
}

async function removeRows(pool: RlsPool, tables: readonly CatalogueRelation[], rows: Rows): Promise<void> {
  for (const table of tables.toReversed()) {
    const row = rows.get(table.name)
    const statement = row && attackStatement('delete', table, row, {})
    if (statement) await pool.query(statement.text, [...statement.values])
  }
}

function qualified(table: string): string {
  return table.includes('.') ? table : `public.${table}`
}

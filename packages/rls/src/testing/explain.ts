import { runWithRlsContext, type RlsContextInput } from '../context/rls-context.ts'
import type { RlsPool } from '../pool/rls-pool.ts'

export interface ExplainedStatement {
  /** Tables that the plan can only read from end to end. */
  readonly seqScans: readonly string[]
  /** Indexes that it uses. */
  readonly indexes: readonly string[]
  /** The plan as PostgreSQL's EXPLAIN (FORMAT JSON) gives it. */
  readonly plan: unknown
}

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly Plans?: readonly PlanNode[]
}

/**
 * Plans a statement as a tenant would run it, with sequential scans made unattractive: one that is left
 * has no index to use, however small the table is.
 */
export async function explainTenantStatement(
  pool: RlsPool,
  context: RlsContextInput,
  text: string,
  values: readonly unknown[] = [],
): Promise<ExplainedStatement> {
  return runWithRlsContext(context, async () => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      await client.query('set local enable_seqscan = off')
      const { rows } = await client.query<{ 'QUERY PLAN': readonly [{ Plan: PlanNode }] }>(
        `explain (format json) ${text}`,
        [...values],
      )
      const plan = rows[0]?.['QUERY PLAN'][0].Plan
      const nodes = plan === undefined ? [] : flatten(plan)
      return {
        seqScans: nodes
          .filter((node) => node['Node Type'] === 'Seq Scan')
          .map((node) => node['Relation Name'] ?? '?'),
        indexes: nodes.flatMap((node) => node['Index Name'] ?? []),
        plan,
      }
    } finally {
      await client.query('rollback')
      client.release()
    }
  })
}

/** @throws Error naming the tables that a tenant's statement would read from end to end. */
export async function assertNoSeqScan(
  pool: RlsPool,
  context: RlsContextInput,
  text: string,
  values: readonly unknown[] = [],
): Promise<void> {
  const { seqScans, plan } = await explainTenantStatement(pool, context, text, values)
  if (seqScans.length === 0) return
  throw new Error(
    `The statement reads all of ${seqScans.join(', ')} for one tenant. Add an index that starts with the policy's column.\n${text}\n${JSON.stringify(plan, null, 2)}`,
  )
}

function flatten(node: PlanNode): readonly PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)]
}

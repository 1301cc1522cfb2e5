import { firstWords, withoutComments } from '../sql/comments.ts'

/** What a statement does to the transaction around it. */
export type StatementKind = 'begin' | 'end' | 'end-and-chain' | 'rollback-to' | 'set-transaction' | 'other'

export interface StatementTraits {
  readonly kind: StatementKind
  /** For `begin` and `end`: the tag PostgreSQL would answer with. */
  readonly command: string
  /** It leaves something on the connection that outlives the transaction. */
  readonly staysOnConnection: boolean
  /** Its result has other columns once its table has. */
  readonly readsAllColumns: boolean
  /** Under which it is prepared; undefined as long as it is not. */
  name: string | undefined
  /** How often the pool has been given it. */
  uses: number
}

const connectionState =
  /^(?:listen|prepare|declare|load|discard|create\s+(?:or\s+replace\s+)?(?:local\s+|global\s+)?temp|set\b(?!\s+(?:local|transaction|constraints)\b)|reset\b)|\bpg_(?:try_)?advisory_lock|\bset_config\b|\binto\s+temp|\bwith\s+hold\b/i

/** A name with escapes can spell any other one. */
const escapedName = /\bu&"/i

/** Whether the pattern is found in the text without its comments, or without what looks like one in a quoted text. */
function finds(pattern: RegExp, body: string): boolean {
  if (pattern.test(body) || escapedName.test(body)) return true
  return (['kept', 'ignored'] as const).some((quotes) => pattern.test(withoutComments(body, { quotes })))
}

/** Reads what matters of a statement's text. Comments before the first word are skipped. */
export function readStatement(text: string): StatementTraits {
  const body = firstWords(text)
  const plain = withoutComments(body, { quotes: 'kept' })
  const kind = kindOf(plain)
  return {
    kind,
    command: kind === 'begin' ? (/^start/i.test(body) ? 'START TRANSACTION' : 'BEGIN') : endCommand(body),
    staysOnConnection: finds(connectionState, body) && !/^prepare\s+transaction\b/i.test(plain),
    readsAllColumns: allColumns.test(body),
    name: undefined,
    uses: 0,
  }
}

/** The columns of a result that a later change of its table adds to. */
const allColumns = /(?:\b(?:select|all|distinct|returning)\b|[.,)])\s*\*/i

function kindOf(body: string): StatementKind {
  if (/^(?:begin|start\s+transaction)\b/i.test(body)) return 'begin'
  if (/^set\s+transaction\b/i.test(body)) return 'set-transaction'
  if (/^rollback\s+(?:work\s+|transaction\s+)?to\b/i.test(body)) return 'rollback-to'
  if (/^(?:commit|end|rollback|abort|prepare\s+transaction)\b/i.test(body)) {
    return /\band\s+chain\b/i.test(body) ? 'end-and-chain' : 'end'
  }
  return 'other'
}

function endCommand(body: string): string {
  return /^(?:rollback|abort)\b/i.test(body) ? 'ROLLBACK' : 'COMMIT'
}

/** Characters of a text that is worth remembering. Longer ones are mostly written for one batch of rows. */
export const longestRemembered = 8_192

/** {@link readStatement} with a memory of the last texts. */
export function createStatementReader(limit = 1_000): (text: string) => StatementTraits {
  const known = new Map<string, StatementTraits>()
  return (text) => {
    const ready = known.get(text)
    if (ready) return ready
    const traits = readStatement(text)
    if (text.length > longestRemembered) return traits
    if (known.size >= limit) known.delete(known.keys().next().value ?? '')
    known.set(text, traits)
    return traits
  }
}

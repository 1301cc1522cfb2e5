/** What a statement does to the transaction around it. */
export type StatementKind = 'begin' | 'end' | 'end-and-chain' | 'rollback-to' | 'set-transaction' | 'other'

export interface StatementTraits {
  readonly kind: StatementKind
  /** For `begin` and `end`: the tag PostgreSQL would answer with. */
  readonly command: string
  /** It leaves something on the connection that outlives the transaction. */
  readonly staysOnConnection: boolean
}

const leading = /^(?:\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/|;)+/
const connectionState =
  /^(?:listen|prepare|declare|load|discard|create\s+(?:or\s+replace\s+)?(?:local\s+|global\s+)?temp|set\b(?!\s+(?:local|transaction|constraints)\b)|reset\b)|\bpg_(?:try_)?advisory_lock|\bset_config\b|\binto\s+temp|\bwith\s+hold\b/i

/** Texts in quotes, which may hold what looks like a comment, and comments. */
const quotedOrComment = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//g
const comment = /--[^\n]*|\/\*[\s\S]*?\*\//g
/** A name with escapes can spell any other one. */
const escapedName = /\bu&"/i

/** Whether the pattern is found in the text without its comments, or without what looks like one in a quoted text. */
function finds(pattern: RegExp, body: string): boolean {
  if (pattern.test(body) || escapedName.test(body)) return true
  if (!body.includes('--') && !body.includes('/*')) return false
  const outer = body.replace(quotedOrComment, (found) => (/^(?:--|\/\*)/.test(found) ? ' ' : found))
  return pattern.test(outer) || pattern.test(body.replace(comment, ' '))
}

/** Reads what matters of a statement's text. Comments before the first word are skipped. */
export function readStatement(text: string): StatementTraits {
  const body = text.replace(leading, '')
  const kind = kindOf(body)
  return {
    kind,
    command: kind === 'begin' ? (/^start/i.test(body) ? 'START TRANSACTION' : 'BEGIN') : endCommand(body),
    staysOnConnection: finds(connectionState, body) && !/^prepare\s+transaction\b/i.test(body),
  }
}

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

/** {@link readStatement} with a memory of the last texts. */
export function createStatementReader(limit = 1_000): (text: string) => StatementTraits {
  const known = new Map<string, StatementTraits>()
  return (text) => {
    const ready = known.get(text)
    if (ready) return ready
    const traits = readStatement(text)
    if (known.size >= limit) known.delete(known.keys().next().value ?? '')
    known.set(text, traits)
    return traits
  }
}

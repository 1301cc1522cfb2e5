import { firstWords, withoutComments } from '../sql/comments.ts'

/** A statement that keeps the app from working on a table for as long as it reads or writes all of it. */
export interface BlockingStatement {
  readonly rule: BlockingRule
  /** As the statement spells it. */
  readonly table: string
  readonly message: string
}

export type BlockingRule =
  | 'blocking-index'
  | 'blocking-constraint'
  | 'blocking-unique'
  | 'blocking-not-null'
  | 'blocking-rewrite'
  | 'blocking-lock'

const name = String.raw`((?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))?)`

const statements: readonly (readonly [RegExp, BlockingRule, string])[] = [
  [
    new RegExp(
      String.raw`^create\s+(?:unique\s+)?index\s+(?!concurrently\b)[\s\S]*?\bon\s+(?:only\s+)?${name}`,
      'i',
    ),
    'blocking-index',
    'builds an index while nobody can write. Use CREATE INDEX CONCURRENTLY, without a transaction.',
  ],
  [
    new RegExp(String.raw`^reindex\s+(?:\([^)]*\)\s*)?(?:table|index)\s+(?!concurrently\b)${name}`, 'i'),
    'blocking-index',
    'builds an index while nobody can write. Use REINDEX … CONCURRENTLY, without a transaction.',
  ],
  [
    new RegExp(
      String.raw`^reindex\s+(?:\([^)]*\)\s*)?(?:schema|database|system)\s+(?!concurrently\b)(?:${name})?`,
      'i',
    ),
    'blocking-index',
    'builds all indexes while nobody can write. Use REINDEX … CONCURRENTLY, without a transaction.',
  ],
  [
    new RegExp(
      String.raw`^alter\s+domain\s+${name}\s+(?:set\s+not\s+null|add\s+(?:constraint\s+\S+\s+)?(?:not\s+null|check)\b(?![\s\S]*\bnot\s+valid\b))`,
      'i',
    ),
    'blocking-constraint',
    'reads every table that has a column of the domain while nobody can write to it. Add the constraint NOT VALID, and VALIDATE it in a migration of its own.',
  ],
  [
    /^(?:cluster|vacuum\s+(?:full\b|\([^)]*\bfull\b[^)]*\)))(?:\s+(?:verbose|analyze))*\s*$/i,
    'blocking-rewrite',
    'writes every table anew while nobody can read it.',
  ],
  [
    new RegExp(
      String.raw`^(?:cluster|vacuum\s+(?:full\b|\([^)]*\bfull\b[^)]*\)))\s+(?:(?:verbose|analyze)\s+)*${name}`,
      'i',
    ),
    'blocking-rewrite',
    'writes the table anew while nobody can read it.',
  ],
  [
    new RegExp(String.raw`^refresh\s+materialized\s+view\s+(?!concurrently\b)${name}`, 'i'),
    'blocking-rewrite',
    'fills the view while nobody can read it. Use REFRESH MATERIALIZED VIEW CONCURRENTLY.',
  ],
  [
    new RegExp(String.raw`^lock\s+(?:table\s+)?(?:only\s+)?${name}`, 'i'),
    'blocking-lock',
    'keeps others from the table until the migration has ended.',
  ],
]

/** An action that adds a column, and no constraint. */
const addColumn = String.raw`^add\s+(?!constraint\b|foreign\b|check\b|unique\b|primary\b|exclude\b)`

/** A call in a default that may give another value for each row; words and types before a parenthesis are none. */
const volatileCall = String.raw`(?<![\w.]|::\s*)(?!(?:now|nullif|coalesce|greatest|least|current_\w+|localtime\w*|statement_timestamp|transaction_timestamp|lower|upper|to_jsonb?|jsonb?_build_\w+|make_\w+|array|row|and|or|not|in|any|all|case|when|then|else|check|unique|key|using|references|include|with|collate)\s*\()[a-z_][\w.]*\s*\(`

const actions: readonly (readonly [RegExp, BlockingRule, string])[] = [
  [
    /^add\s+(?:constraint\s+\S+\s+)?(?:foreign\s+key|check)\b(?![\s\S]*\bnot\s+valid\b)/i,
    'blocking-constraint',
    'checks every row while nobody can write. Add the constraint NOT VALID, and VALIDATE it in a migration of its own.',
  ],
  [
    /^add\s+(?:constraint\s+\S+\s+)?(?:unique|primary\s+key|exclude)\b(?!\s+using\s+index\b)/i,
    'blocking-unique',
    'builds an index while nobody can read or write. Build it CONCURRENTLY, and add the constraint USING INDEX.',
  ],
  [
    /^alter\s+(?:column\s+)?\S+\s+set\s+not\s+null\b/i,
    'blocking-not-null',
    'reads every row while nobody can read or write. Add CHECK (… IS NOT NULL) NOT VALID, VALIDATE it, and set NOT NULL then.',
  ],
  [
    /^alter\s+(?:column\s+)?\S+\s+(?:set\s+data\s+)?type\b/i,
    'blocking-rewrite',
    'writes the table anew while nobody can read it. Add a column of the new type, and fill it in steps.',
  ],
  [
    /^attach\s+partition\b/i,
    'blocking-constraint',
    'reads every row of the partition while nobody can write to it, unless a valid CHECK implies its bounds. Add that before.',
  ],
  [
    new RegExp(String.raw`${addColumn}[\s\S]*\b(?:unique|primary\s+key)\b`, 'i'),
    'blocking-unique',
    'builds an index while nobody can read or write. Add the column, build the index CONCURRENTLY, and add the constraint USING INDEX.',
  ],
  [
    new RegExp(
      String.raw`${addColumn}[\s\S]*(?:\bgenerated\b|\b(?:small|big)?serial\b|\bdefault\b[\s\S]*${volatileCall})`,
      'i',
    ),
    'blocking-rewrite',
    'writes the table anew while nobody can read it. Add the column without it, and fill it in steps.',
  ],
  [
    new RegExp(String.raw`${addColumn}[\s\S]*\bcheck\b`, 'i'),
    'blocking-constraint',
    'reads every row while nobody can read or write. Add the column, then the constraint NOT VALID, and VALIDATE it in a migration of its own.',
  ],
  [
    new RegExp(String.raw`${addColumn}[\s\S]*\breferences\b`, 'i'),
    'blocking-constraint',
    'locks the table that is referred to as well. Add the column, then the constraint NOT VALID, and VALIDATE it in a migration of its own.',
  ],
  [
    /^set\s+(?:logged|unlogged|tablespace)\b/i,
    'blocking-rewrite',
    'writes the table anew while nobody can read it.',
  ],
]

const alterTable = new RegExp(
  String.raw`^alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?${name}\s*\*?\s+([\s\S]*)$`,
  'i',
)
const createTable = new RegExp(
  String.raw`^create\s+(?:unlogged\s+|temp(?:orary)?\s+)?(?:table|materialized\s+view)\s+(?:if\s+not\s+exists\s+)?${name}`,
  'i',
)

/**
 * The statements of a migration that block an app which is serving: they read or write a whole table, or build an
 * index on it, under a lock. A table that the migration creates itself is empty, so what is done to it counts as nothing.
 */
export function findBlockingDdl(migration: readonly string[]): readonly BlockingStatement[] {
  const created = new Set<string>()
  return migration.flatMap((text): readonly BlockingStatement[] => {
    const statement = withoutComments(firstWords(text), { quotes: 'kept' })
    const makes = createTable.exec(statement)?.[1]
    if (makes !== undefined) created.add(bare(makes))
    return [statement, ...statementsOfBlock(statement)]
      .flatMap(blockingIn)
      .filter(({ table }) => !created.has(bare(table)))
  })
}

/** The statements that a DO block runs as they stand, or has executed as a text. */
function statementsOfBlock(statement: string): readonly string[] {
  const [, , dollars, quoted] =
    /^do\s+(?:language\s+\w+\s+)?(?:\$(\w*)\$([\s\S]*?)\$\1\$|'((?:[^']|'')*)')/i.exec(statement) ?? []
  const body = dollars ?? quoted?.replaceAll("''", "'")
  if (body === undefined) return []
  return splitParts(withoutComments(body, { quotes: 'kept' }), ';').flatMap((part) => {
    const [, executed] = /\bexecute\s+(?:format\s*\(\s*)?'((?:[^']|'')*)'/i.exec(part) ?? []
    // The placeholders of format() stand for names.
    if (executed !== undefined)
      return [
        executed
          .replaceAll("''", "'")
          .replaceAll(/%(?:\d+\$)?[ILs]/g, 'given')
          .trim(),
      ]
    const [, direct] =
      /^(?:[\s\S]*?\b(?:begin|then|else|loop)\s+)?((?:alter|create|reindex|cluster|refresh|lock)\s[\s\S]*)$/i.exec(
        part,
      ) ?? []
    return direct === undefined ? [] : [direct]
  })
}

function blockingIn(statement: string): readonly BlockingStatement[] {
  for (const [pattern, rule, message] of statements) {
    const found = pattern.exec(statement)
    if (found !== null) return [{ rule, table: found[1] ?? 'the whole database', message }]
  }
  const [, table, rest = ''] = alterTable.exec(statement) ?? []
  if (table === undefined) return []
  return splitParts(rest, ',').flatMap((action) => {
    // Neither what stands in a text nor in a quoted name is a word of the statement.
    const words = action.replaceAll(/'(?:[^']|'')*'/g, "''").replaceAll(/"(?:[^"]|"")*"/g, '""')
    const found = actions.find(([pattern]) => pattern.test(words))
    return found === undefined ? [] : [{ rule: found[1], table, message: found[2] }]
  })
}

/** The parts between separators that stand in no parentheses and no literal. */
function splitParts(text: string, separator: ',' | ';'): readonly string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (const { 0: token, index } of text.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),;]/g)) {
    if (token === '(') depth++
    else if (token === ')') depth--
    else if (token === separator && depth === 0) {
      parts.push(text.slice(from, index))
      from = index + 1
    }
  }
  return [...parts, text.slice(from)].map((part) => part.trim())
}

/** A table's name without its schema, as PostgreSQL folds it. */
function bare(table: string): string {
  const last = /(?:"(?:[^"]|"")+"|[\w$]+)$/.exec(table)?.[0] ?? table
  return last.startsWith('"') ? last.slice(1, -1) : last.toLowerCase()
}

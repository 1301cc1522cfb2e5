/** A name as SQL reads it back unchanged. */
export function quoteName(name: string): string {
  if (name === '' || name.includes('\0')) throw new TypeError('A name in the database must not be empty.')
  return /^[a-z_][a-z0-9_]*$/.test(name) && !reserved.has(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/** A table, with its schema when the name has one: the part before the first dot. */
export function quoteTable(table: string): string {
  const dot = table.indexOf('.')
  if (dot < 0) return quoteName(table)
  return `${quoteName(table.slice(0, dot))}.${quoteName(table.slice(dot + 1))}`
}

/** A text as an SQL literal. */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw new TypeError('A text in the database cannot hold a NUL character.')
  const escaped = text.replaceAll("'", "''")
  return escaped.includes('\\') ? ` E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`
}

const reserved = new Set(
  'all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral leading limit localtime localtimestamp not null offset on only or order placing primary references returning select session_user some symmetric system_user table then to trailing true union unique user using variadic when where window with authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left like natural notnull outer overlaps right similar tablesample verbose'.split(
    ' ',
  ),
)

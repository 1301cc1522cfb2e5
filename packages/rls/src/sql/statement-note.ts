const statementKey = Symbol.for('quintet.rls.statement')

/** Keeps the text of a failed statement with its error, where logs can find it and `inspect` does not. */
export function noteStatement(error: unknown, text: string): void {
  if (typeof error !== 'object' || error === null || Object.hasOwn(error, statementKey)) return
  if (!Object.isExtensible(error)) return
  Object.defineProperty(error, statementKey, { value: text })
}

/** The text of the statement that a PostgreSQL error answers, without its values. */
export function failedStatement(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const text = (error as Record<symbol, unknown>)[statementKey]
  return typeof text === 'string' ? text : undefined
}

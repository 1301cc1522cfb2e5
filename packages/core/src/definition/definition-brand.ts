/** Marks a value as made by a definition function, for two installed copies of this package alike. */
export function brandDefinition<Value extends object>(
  kind: 'system' | 'process' | 'ecosystem',
  value: Value,
): Value {
  return Object.defineProperty(value, Symbol.for(`quintet.${kind}`), { value: true })
}

export function isDefinition(kind: 'system' | 'process' | 'ecosystem', value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, Symbol.for(`quintet.${kind}`))
}

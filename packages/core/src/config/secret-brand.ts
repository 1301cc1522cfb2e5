const brand = Symbol.for('quintet.secret')

/** Marks the definition of a zod schema as that of a secret. zod shares it with every schema derived from this one. */
export function brandSecretDefinition(definition: object): void {
  Object.defineProperty(definition, brand, { value: true, enumerable: true })
}

/** Whether a zod definition is that of a schema made by `secret`. */
export function isSecretDefinition(definition: object): boolean {
  return (definition as Record<symbol, unknown>)[brand] === true
}

const longest = 80

/** A value as an error message shows it. Of objects and lists only that they are some: they may hold secrets. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length <= longest ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, longest))}…`
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value)
    default:
      return kindOf(value)
  }
}

/** What a value is, without what it holds. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  switch (typeof value) {
    case 'string':
      return 'a text'
    case 'object':
      return 'an object'
    case 'undefined':
      return 'undefined'
    default:
      return `a ${typeof value}`
  }
}

/** The path of a member: `http.port`, or the name alone at the top. */
export function memberPath(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

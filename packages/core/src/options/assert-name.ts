const pattern = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/

/** Names that mean something to JavaScript objects or promises; a client proxy could not tell them apart. */
const taken: ReadonlySet<string> = new Set([
  ...Object.getOwnPropertyNames(Object.prototype),
  'prototype',
  'then',
])

/**
 * Holds a name to the form that every surface can carry: a letter, then letters, digits, `-` and `_`, at most
 * 64 characters, and nothing that JavaScript gives a meaning to (`constructor`, `__proto__`, `then`).
 *
 * @throws TypeError otherwise.
 */
export function assertName(name: unknown, path: string): asserts name is string {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new TypeError(`${path}: ${problem}`)
}

/** What is wrong with a name, or undefined. */
function nameProblem(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'needs a name.'
  if (taken.has(name)) return `the name "${name}" has a meaning in JavaScript; take another.`
  if (!pattern.test(name)) {
    return `the name ${JSON.stringify(name)} must start with a letter and go on with letters, digits, "-" or "_", 64 at most.`
  }
  return undefined
}

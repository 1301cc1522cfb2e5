import { describeUnknownKey } from '../options/known-keys.ts'

const names = [
  'beforeCreate',
  'afterCreate',
  'beforeStart',
  'afterStart',
  'beforeStop',
  'afterStop',
  'onHealthCheck',
]

/** What is wrong with a set of hooks: unknown names, and values that are not functions. */
export function hookProblems(hooks: unknown, path: string): string[] {
  if (hooks === undefined) return []
  if (typeof hooks !== 'object' || hooks === null) return [`${path}: must be an object of functions.`]
  return Object.entries(hooks).flatMap(([name, hook]) => {
    if (!names.includes(name)) return [describeUnknownKey(name, names, path)]
    return typeof hook === 'function' || hook === undefined ? [] : [`${path}.${name}: must be a function.`]
  })
}

/** @throws TypeError naming every problem. */
export function assertHooks(hooks: unknown, path: string): void {
  const problems = hookProblems(hooks, path)
  if (problems.length > 0) throw new TypeError(problems.join('\n'))
}

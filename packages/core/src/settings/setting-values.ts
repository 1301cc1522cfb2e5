import type { StandardSchemaV1 } from '@standard-schema/spec'
import { QuintetError } from '../errors.ts'
import { describeUnknownKey } from '../options/known-keys.ts'

export type SettingsTree = Readonly<Record<string, unknown>>

/** Makes typed settings of stored values, and refuses what the schema refuses. */
export interface SettingValues {
  /** What applies where nothing is stored. */
  readonly defaults: SettingsTree
  readonly keys: readonly string[]
  /** @throws QuintetError `ERR_CORE_SETTING_INVALID` when there is no such setting. */
  assertKey(key: string): void
  /**
   * Stored keys that the schema does not know are left out: another version of the app may know them.
   *
   * @throws QuintetError `ERR_CORE_SETTING_INVALID` with the schema's message.
   */
  parse(stored: ReadonlyMap<string, unknown>): Promise<SettingsTree>
}

/** @throws TypeError, starting with the path, when a setting has no default. */
export function createSettingValues(schema: StandardSchemaV1, path: string): SettingValues {
  const empty = schema['~standard'].validate({})
  if (empty instanceof Promise) throw new TypeError(`${path}: must not be asynchronous.`)
  if (empty.issues !== undefined) {
    const missing = empty.issues.map((issue) => `${pathOf(issue).join('.')} (${issue.message})`)
    throw new TypeError(`${path}: every setting needs a default. Without: ${missing.join(', ')}.`)
  }
  const defaults = Object.freeze({ ...(empty.value as SettingsTree) })
  const keys = Object.keys(defaults)
  return {
    defaults,
    keys,
    assertKey(key) {
      if (!keys.includes(key)) throw invalid(describeUnknownKey(key, keys, 'settings'), [])
    },
    async parse(stored) {
      const known = Object.fromEntries([...stored].filter(([key]) => keys.includes(key)))
      const result = await schema['~standard'].validate(known)
      if (result.issues === undefined) return Object.freeze({ ...(result.value as SettingsTree) })
      const issues = result.issues.map((issue) => ({ path: pathOf(issue).join('.'), message: issue.message }))
      throw invalid(issues.map(({ path, message }) => `${path}: ${message}`).join('; '), issues)
    },
  }
}

function pathOf(issue: StandardSchemaV1.Issue): readonly string[] {
  return (issue.path ?? []).map((segment) => String(typeof segment === 'object' ? segment.key : segment))
}

function invalid(message: string, issues: readonly object[]): QuintetError<'ERR_CORE_SETTING_INVALID'> {
  return new QuintetError(message, {
    code: 'ERR_CORE_SETTING_INVALID',
    kind: 'invalid-input',
    details: { issues },
  })
}

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { Option } from './option.ts'

/** A validator that implements Standard Schema. */
export function schemaOption(): Option<StandardSchemaV1> {
  return new Option<StandardSchemaV1>('a Standard Schema', (given, path, problems) => {
    const isObject = (typeof given === 'object' && given !== null) || typeof given === 'function'
    if (isObject && '~standard' in given) return given as StandardSchemaV1
    problems.note(
      path,
      'is not a Standard Schema. Give one of zod, valibot, arktype or another library that implements it.',
    )
    return undefined
  })
}

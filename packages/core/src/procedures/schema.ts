import type { StandardSchemaV1 } from '@standard-schema/spec'
import { QuintetError } from '../errors.ts'

/** Any validator that implements Standard Schema (zod, valibot, arktype, …). */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>

/** What a caller may send for a schema. */
export type SchemaInput<S> = S extends StandardSchemaV1<infer Input, unknown> ? Input : unknown

/** What a handler gets from a schema. */
export type SchemaOutput<S> = S extends StandardSchemaV1<unknown, infer Output> ? Output : unknown

/** One thing that is wrong with a value: where, and what. */
export interface InputIssue {
  /** JSON Pointer (RFC 6901) to the member; empty for the whole value. */
  readonly pointer: string
  readonly message: string
}

/**
 * Checks a value and returns what the schema makes of it, without a promise where the schema needs none.
 *
 * @param place JSON Pointer to the value within what the caller sent; goes before that of each issue.
 * @throws QuintetError `ERR_CORE_INVALID_INPUT` with `details.issues: InputIssue[]`.
 */
export function validate<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  place = '',
): SchemaOutput<S> | Promise<SchemaOutput<S>> {
  const result = schema['~standard'].validate(value)
  return result instanceof Promise ? result.then((made) => unwrap<S>(made, place)) : unwrap<S>(result, place)
}

/**
 * Checks a value that is not there: as such, else as an object without members. Of a schema that refuses both, the
 * second answer counts where it is about members, so that they are named; else the first.
 *
 * @throws QuintetError as {@link validate}.
 */
export async function validateAbsent<S extends StandardSchemaV1>(schema: S): Promise<SchemaOutput<S>> {
  const { validate: check } = schema['~standard']
  const absent = await check(undefined)
  if (absent.issues === undefined) return unwrap<S>(absent, '')
  const empty = await check({})
  const isAboutMembers = empty.issues?.every(({ path }) => path !== undefined && path.length > 0) ?? true
  return unwrap<S>(isAboutMembers ? empty : absent, '')
}

function unwrap<S>(result: StandardSchemaV1.Result<unknown>, place: string): SchemaOutput<S> {
  if (result.issues === undefined) return result.value as SchemaOutput<S>
  const issues = result.issues.map((issue) => toInputIssue(issue, place))
  const first = issues[0]
  throw new QuintetError(
    `The input is not valid: ${first ? `${first.pointer === '' ? '' : `${first.pointer}: `}${first.message}` : 'unknown reason'}`,
    { code: 'ERR_CORE_INVALID_INPUT', kind: 'invalid-input', details: { issues } },
  )
}

function toInputIssue(issue: StandardSchemaV1.Issue, place: string): InputIssue {
  const segments = (issue.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment))
  const pointer = segments
    .map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
  return { pointer: `${place}${pointer}`, message: issue.message }
}

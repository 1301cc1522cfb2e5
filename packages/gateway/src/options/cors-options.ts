import { option, type Option } from '@quintet/core/kit'

/** @see https://fetch.spec.whatwg.org/#http-cors-protocol */
export interface CorsOptions {
  /** Origins such as `https://app.example`, or `'*'` for any. */
  readonly origins: '*' | readonly string[]
  /** Whether requests may carry cookies; not with `'*'`. @defaultValue false */
  readonly credentials?: boolean
}

export interface ResolvedCors {
  readonly origins: '*' | ReadonlySet<string>
  readonly credentials: boolean
}

const origins: Option<ResolvedCors['origins']> = option.parsed('a list of origins', (given, path) => {
  if (given === '*') return given
  if (!Array.isArray(given)) throw new TypeError(`${path}: must be a list of origins, or '*'.`)
  const strange: unknown = given.find((origin) => !URL.canParse(origin) || new URL(origin).origin !== origin)
  if (strange === undefined) return new Set<string>(given)
  throw new TypeError(`${path}: ${JSON.stringify(strange)} is not an origin such as "https://app.example".`)
})

/** How {@link CorsOptions} are read. */
export const corsOption: Option<ResolvedCors> = option
  .nested({ origins, credentials: option.boolean(false) })
  .map((value, path) => {
    if (value.origins !== '*' || !value.credentials) return value
    throw new TypeError(`${path}.credentials: browsers refuse cookies for any origin. List the origins.`)
  })

import { RealtimeError } from '../errors.ts'

/** The parameters that a pattern names: `'rooms/:room'` has `{ room: string }`. */
export type ChannelParams<Pattern extends string> = string extends Pattern
  ? Readonly<Record<string, string>>
  : { readonly [Name in ParamName<Pattern>]: string }

type ParamName<Pattern extends string> = Pattern extends `${infer Head}/${infer Rest}`
  ? ParamName<Head> | ParamName<Rest>
  : Pattern extends `:${infer Name}`
    ? Name
    : never

export interface ChannelPattern {
  readonly text: string
  /** Each literal or `:parameter`. */
  readonly segments: readonly string[]
  /** The parameters of a channel of this pattern, or undefined when it is none. */
  match(name: string): Readonly<Record<string, string>> | undefined
}

const segment = '[A-Za-z0-9_.~@-]+'
const nameGrammar = new RegExp(`^${segment}(?:/${segment})*$`)
const longestName = 255

/** @throws TypeError when it is no pattern of segments separated by slashes, each literal or `:parameter`. */
export function parseChannelPattern(text: unknown): ChannelPattern {
  const segments = typeof text === 'string' ? text.split('/') : []
  const names = segments.filter((part) => part.startsWith(':')).map((part) => part.slice(1))
  const sound = segments.every(
    (part) => /^:[a-zA-Z]\w*$/.test(part) || (nameGrammar.test(part) && !part.startsWith(':')),
  )
  if (
    typeof text !== 'string' ||
    !sound ||
    new Set(names).size !== names.length ||
    text.length > longestName
  ) {
    throw new TypeError(
      `channel: ${JSON.stringify(text)} is no pattern. Give segments of letters, digits and . _ ~ @ -, or ":name", separated by slashes, e.g. 'rooms/:room'.`,
    )
  }
  const expression = new RegExp(
    `^${segments.map((part) => (part.startsWith(':') ? `(${segment})` : part.replaceAll('.', '\\.'))).join('/')}$`,
  )
  return {
    text,
    segments,
    match(name) {
      const match = expression.exec(name)
      return match
        ? Object.fromEntries(names.map((param, index) => [param, match[index + 1] ?? '']))
        : undefined
    },
  }
}

/** @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE` when it can be no channel's name. */
export function assertChannelName(name: unknown): asserts name is string {
  if (typeof name === 'string' && name.length <= longestName && nameGrammar.test(name)) return
  throw new RealtimeError(
    'ERR_REALTIME_BAD_MESSAGE',
    'The channel is not a name of segments separated by slashes.',
  )
}

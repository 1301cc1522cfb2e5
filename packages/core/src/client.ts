export {
  isErrorKind,
  isQuintetError,
  QuintetError,
  toQuintetError,
  type ErrorKind,
  type QuintetErrorOptions,
} from './errors.ts'
export { fromProblem, toProblem, type Problem } from './http/problem.ts'
export { parseDuration, type Duration } from './options/duration.ts'
export type { Size } from './options/size.ts'
export { option } from './options/options.ts'
export type { OptionSpec, ResolvedOptions } from './options/option-spec.ts'
export { readOptions } from './options/read-options.ts'
export { delay } from './timing/delay.ts'
export { createLiveness, type Liveness } from './timing/liveness.ts'
export { orAborted, within } from './timing/within.ts'
export type { BinaryClientLink, CallOptions, ClientLink } from './transport/link.ts'

import type { Option } from './option.ts'

/** How each option of an options object is read, by name. */
export type OptionSpec<Options = unknown> = {
  readonly [Name in keyof Options]-?: Option<unknown>
}

/** What {@link readOptions} makes of a spec: every option with its value or its default. */
export type ResolvedOptions<Spec> = {
  readonly [Name in keyof Spec]: Spec[Name] extends Option<infer Value> ? Value : never
}

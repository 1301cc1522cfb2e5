import { option } from '../options/options.ts'

/** Environment variables: names that a shell accepts, and texts. */
export const environmentOption = option.record(
  option.text(undefined, { pattern: /^/, expected: 'a text. Put numbers and booleans in quotes' }),
  {
    key: option.text(undefined, { pattern: /^[A-Za-z_]\w*$/, expected: 'a name of an environment variable' }),
  },
)

/** Names, each at most once. */
export const namesOption = option.list(option.text(), { unique: (name) => name })

import { option } from '@quintet/core/client'

/** A bearer token, or what gives one each time that it is needed. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>)

/** The option `token` of a link; undefined where it is not given. */
export function tokenOption() {
  const giver = option.function<Exclude<TokenSource, string>>()
  return option.either(option.text(), giver).optional()
}

import type { IncomingHttpHeaders } from 'node:http'
import { option, safeEqual, type SecretText } from '@quintet/core/kit'

/** How operators are known. Everybody else gets nothing but pass or fail. */
export interface OperatorOptions {
  /** Accepts `Authorization: Bearer` with this token, at least 16 characters. @defaultValue no token is accepted */
  readonly token?: SecretText
}

/** What applies where the options of operators say nothing. */
export const operatorDefaults = Object.freeze({ host: '127.0.0.1' })

export const operatorSpec = { token: option.secretText({ minLength: 16 }).optional() }

/** What is known about a caller. */
export interface Caller {
  readonly headers: Pick<IncomingHttpHeaders, 'authorization'>
  /** It came over a listener that only operators can reach. */
  readonly isOperator?: boolean
}

export type OperatorDecision = 'granted' | 'unauthenticated' | 'forbidden'

/**
 * Makes the guard of everything that is for operators only. The address of the peer proves nothing: behind a proxy on
 * the same machine every caller comes from loopback.
 */
export function createOperatorGuard(token: SecretText | undefined): (caller: Caller) => OperatorDecision {
  const text = typeof token === 'object' ? token.reveal() : token
  return ({ headers, isOperator }) => {
    if (isOperator === true) return 'granted'
    if (text === undefined) return 'forbidden'
    const given = /^Bearer ([\w\-.~+/]+=*)$/i.exec(headers.authorization ?? '')?.[1]
    return given !== undefined && safeEqual(given, text) ? 'granted' : 'unauthenticated'
  }
}

import type { ClientInfo } from '@quintet/core'
import { requestIdOf, traceparentOf } from '@quintet/core/http'
import { type ForwardedCall, unknownClient } from '@quintet/core/kit'

/** What a call says of the one that it is made for, beside its principal. */
export interface CallOrigin {
  readonly client: ClientInfo
  readonly requestId: string
  readonly traceparent: string | undefined
}

/** A header of a client can be as long as all headers may be; so much of it is forwarded. */
const maxUserAgent = 1_024

/** Taken when the call is made: the request may be over when it is sent, or sent again. */
export function takeAlong({ principal, client, requestId, traceparent }: ForwardedCall): ForwardedCall {
  return {
    principal,
    ...(client === undefined ? {} : { client }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(traceparent === undefined ? {} : { traceparent }),
  }
}

/** The text of a call frame; empty for a call that the process makes for itself. */
export function writeOrigin({ client, requestId, traceparent }: ForwardedCall): string {
  if (requestId === undefined && client === undefined && traceparent === undefined) return ''
  const { address = null, userAgent = null } = client ?? {}
  return JSON.stringify([requestId, traceparent, address, userAgent?.slice(0, maxUserAgent)])
}

/** What is malformed is left out; a call without a request id gets one. */
export function readOrigin(text: string): CallOrigin {
  if (text === '') return { client: unknownClient, requestId: requestIdOf(undefined), traceparent: undefined }
  const [requestId, traceparent, address, userAgent] = JSON.parse(text) as readonly unknown[]
  return {
    client: { address: textOrNull(address), userAgent: textOrNull(userAgent) },
    requestId: requestIdOf(requestId),
    traceparent: traceparentOf(traceparent),
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

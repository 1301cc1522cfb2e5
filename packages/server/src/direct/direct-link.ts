import type { Principal } from '@quintet/core'
import type { CallOptions, ClientLink } from '@quintet/core/client'
import {
  callProcedure,
  type Credentials,
  findProcedure,
  type IncomingCall,
  type NamedProcedure,
  noCredentials,
  type ProcedureHost,
  option,
  readOptions,
  streamProcedure,
} from '@quintet/core/kit'
import { encodeInput } from '../encode-input.ts'

export interface DirectLinkOptions {
  /** Call with this bearer token. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>)
  /** Call as this principal, without a token; for code inside the process and tests. */
  readonly principal?: Principal
}

const spec = {
  token: option
    .either(option.text(), option.function<Exclude<DirectLinkOptions['token'], string | undefined>>())
    .optional(),
  principal: option.collaborator<Principal>([], 'a principal').optional(),
}

/**
 * Calls the procedures of an app in this process, through its pipeline. Inputs and outputs are those of the wire: each
 * passes through JSON, so that what works here works over any other link.
 */
export function directLink(app: ProcedureHost, options: DirectLinkOptions = {}): ClientLink {
  const { token: source, principal } = readOptions(options, spec, 'directLink', {
    check({ token, principal }, note) {
      if (token !== undefined && principal !== undefined) note('', 'give a token or a principal, not both.')
    },
  })

  const credentials = async (): Promise<Credentials> => {
    if (principal !== undefined) {
      if (principal.kind === 'anonymous') return noCredentials
      return { scheme: 'attested', principal, by: 'in-process' }
    }
    const token = typeof source === 'function' ? await source() : source
    return token === undefined ? noCredentials : { scheme: 'bearer', token }
  }
  const incoming = async ({ operation }: NamedProcedure, call: CallOptions): Promise<IncomingCall> => ({
    operation,
    credentials: await credentials(),
    requestId: crypto.randomUUID(),
    signal: call.signal ?? new AbortController().signal,
    deadline: call.deadline,
  })
  async function* stream(method: string, input: unknown, call: CallOptions = {}): AsyncGenerator<unknown> {
    const named = findProcedure(app, method)
    const given = fromWire(encodeInput(input))
    yield* streamProcedure(app, named.procedure, await incoming(named, call), () => given, {
      lastEventId: call.lastEventId,
      encode: throughJson,
    })
  }
  return {
    async call(method, input, call = {}) {
      const named = findProcedure(app, method)
      if (named.procedure.mode === 'stream') return stream(method, input, call)
      const given = fromWire(encodeInput(input))
      return callProcedure(app, named.procedure, await incoming(named, call), () => given, throughJson)
    },
    stream,
  }
}

function throughJson(value: unknown): unknown {
  return fromWire(JSON.stringify(value))
}

function fromWire(text: string | undefined): unknown {
  return text === undefined ? undefined : (JSON.parse(text) as unknown)
}

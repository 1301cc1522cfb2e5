import {
  type CallOptions,
  type ClientLink,
  type Duration,
  type Size,
  isQuintetError,
  option,
  readOptions,
  type QuintetError,
  toQuintetError,
  orAborted,
} from '@quintet/core/client'
import { takeToken, tokenOption } from './token-option.ts'
import { serverError } from '../errors.ts'
import { fromProblem } from '../problem.ts'
import { encodeInput } from '../encode-input.ts'
import { toEventIdHeader } from '../streams/event-id.ts'
import { readEvents } from './event-source.ts'
import { resumeStream, type StreamItem } from '../streams/resume.ts'

export interface HttpLinkOptions {
  /** Where the app is; procedures are under `<url>/rpc`. */
  readonly url: string
  /** The bearer token of a call, asked for before each one; undefined for an anonymous call. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>)
  /** @defaultValue the global `fetch` */
  readonly fetch?: typeof fetch
  /** How long a call may take, and a stream to begin; told to the server. 0 for no limit. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** The largest event of a stream, in characters. @defaultValue `'16mb'` */
  readonly maxEventSize?: Size
}

/** What applies where {@link HttpLinkOptions} says nothing. */
export const httpLinkDefaults: Readonly<{ timeout: '30s'; maxEventSize: '16mb' }> = Object.freeze({
  timeout: '30s',
  maxEventSize: '16mb',
})

const spec = {
  url: option.url(undefined, { protocols: ['http:', 'https:'] }),
  token: tokenOption(),
  fetch: option.function<typeof fetch>().optional(),
  timeout: option.delay(httpLinkDefaults.timeout),
  maxEventSize: option.size(httpLinkDefaults.maxEventSize, { min: 1 }),
}

/**
 * Reaches an app over HTTP.
 *
 * A stream that breaks is resumed after its last event, where its events have ids.
 *
 * @throws QuintetError the error that the server threw; `ERR_SERVER_CONNECT_FAILED` when there is no server;
 *   `ERR_SERVER_RESPONSE_INVALID` when something else answered.
 */
export function httpLink(options: HttpLinkOptions): ClientLink {
  const {
    url,
    token: givenToken,
    timeout,
    maxEventSize,
    fetch: send = fetch,
  } = readOptions(options, spec, 'httpLink')
  const base = url.href.replace(/\/+$/, '')

  const request = async (
    method: string,
    input: unknown,
    call: CallOptions,
    signal: AbortSignal,
  ): Promise<Response> => {
    const headers: Record<string, string> = {
      accept: 'application/json, text/event-stream, application/problem+json',
    }
    const token = await takeToken(givenToken, signal)
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`
    const body = encodeInput(input)
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (call.deadline !== undefined)
      headers['x-deadline-ms'] = String(Math.max(0, Math.ceil(call.deadline - Date.now())))
    if (timeout > 0) headers['x-timeout-ms'] = String(Math.ceil(timeout))
    if (call.lastEventId !== undefined) headers['last-event-id'] = toEventIdHeader(call.lastEventId)
    const path = method.split('.').map(encodeURIComponent).join('/')
    const init = { method: 'POST', headers, signal, ...(body === undefined ? {} : { body }) }
    // One that was instrumented or is a double may not listen to the signal.
    const answer = await orAborted(send(`${base}/rpc/${path}`, init), signal)
    if (answer.ok) return answer
    throw await orAborted(readProblem(answer), signal)
  }

  /** Calls, and says whether a value or a stream came back. */
  const begin = async (
    method: string,
    input: unknown,
    call: CallOptions,
  ): Promise<{ readonly value: unknown } | { readonly items: AsyncIterable<StreamItem> }> => {
    const limit = startTimeLimit(call.signal, remainingOf(call, timeout))
    let streams = false
    try {
      const answer = await request(method, input, call, limit.signal)
      if (isEventStream(answer)) {
        streams = true
        limit.began()
        return { items: readStream(answer, maxEventSize, call.signal, limit.end) }
      }
      if (answer.status === 204) return { value: undefined }
      return { value: (await orAborted(answer.json(), limit.signal)) as unknown }
    } catch (error) {
      throw translate(error, call.signal)
    } finally {
      if (!streams) limit.end()
    }
  }

  async function* open(method: string, input: unknown, call: CallOptions): AsyncGenerator<StreamItem> {
    const answer = await begin(method, input, call)
    if (!('items' in answer)) {
      throw serverError('ERR_SERVER_MODE_MISMATCH', `${method} answers with a value and not with a stream.`)
    }
    yield* answer.items
  }

  const stream = (
    method: string,
    input: unknown,
    call: CallOptions,
    begun?: AsyncIterable<StreamItem>,
  ): AsyncIterable<unknown> =>
    resumeStream((lastEventId) => open(method, input, { ...call, lastEventId }), call, begun)

  return {
    async call(method, input, call = {}) {
      const answer = await begin(method, input, call)
      return 'items' in answer ? stream(method, input, call, answer.items) : answer.value
    },
    stream: (method, input, call = {}) => stream(method, input, call),
  }
}

async function* readStream(
  answer: Response,
  maxEventSize: number,
  signal: AbortSignal | undefined,
  onEnd: () => void,
): AsyncGenerator<StreamItem, void, undefined> {
  try {
    if (answer.body === null) throw unexpected(answer)
    for await (const { event, data, id } of readEvents(answer.body, maxEventSize)) {
      if (event === 'end') return
      if (event === 'error') throw fromProblem(JSON.parse(data) as unknown)
      // What JSON leaves out has no data.
      yield { event: data === '' ? undefined : (JSON.parse(data) as unknown), id }
    }
    throw serverError('ERR_SERVER_CLOSED', 'The stream broke off before its end.')
  } catch (error) {
    throw translate(error, signal)
  } finally {
    onEnd()
  }
}

/** A signal that aborts with the caller's, or when the time is up before the answer has begun. */
function startTimeLimit(
  signal: AbortSignal | undefined,
  remaining: number | undefined,
): { readonly signal: AbortSignal; began(): void; end(): void } {
  const controller = new AbortController()
  const leave = (): void => controller.abort(signal?.reason)
  if (signal?.aborted === true) leave()
  signal?.addEventListener('abort', leave, { once: true })
  const timer =
    remaining === undefined
      ? undefined
      : setTimeout(
          () => controller.abort(new DOMException('The call took too long.', 'TimeoutError')),
          remaining,
        )
  return {
    signal: controller.signal,
    began: () => clearTimeout(timer),
    end() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', leave)
    },
  }
}

function remainingOf({ deadline }: CallOptions, timeout: number): number | undefined {
  const own = deadline === undefined ? undefined : Math.max(0, deadline - Date.now())
  if (timeout === 0) return own
  return own === undefined ? timeout : Math.min(own, timeout)
}

async function readProblem(answer: Response): Promise<QuintetError> {
  const text = await answer.text()
  let problem: unknown
  if (answer.headers.get('content-type')?.includes('json') === true) {
    try {
      problem = JSON.parse(text)
    } catch {
      problem = undefined
    }
  }
  const seconds = Number(answer.headers.get('retry-after') ?? Number.NaN)
  const withRetry =
    typeof problem === 'object' && problem !== null
      ? { ...(Number.isFinite(seconds) ? { retryAfter: seconds * 1_000 } : {}), ...problem }
      : problem
  return fromProblem(withRetry, answer.status)
}

function translate(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) return signal.reason
  if (isQuintetError(error)) return error
  const name = error instanceof Error ? error.name : ''
  if (name === 'AbortError' || name === 'TimeoutError') return toQuintetError(error)
  if (error instanceof SyntaxError) {
    return serverError('ERR_SERVER_RESPONSE_INVALID', 'The answer is not JSON.', { cause: error })
  }
  return serverError('ERR_SERVER_CONNECT_FAILED', 'The server cannot be reached.', { cause: error })
}

function isEventStream(answer: Response): boolean {
  return answer.headers.get('content-type')?.startsWith('text/event-stream') === true
}

function unexpected(answer: Response): QuintetError {
  return serverError(
    'ERR_SERVER_RESPONSE_INVALID',
    `The server answered with ${String(answer.status)} and no stream.`,
  )
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The parsed JSON body, or undefined when the body is none. */
  readonly body: unknown
}

export interface RequestOptions {
  readonly token?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** A client that knows nothing but the gateway's address. */
export interface Client {
  rpc(app: string, method: string, input?: unknown, options?: RequestOptions): Promise<Answer>
  /** Sends JSON to a route. */
  post(path: string, body: unknown, options?: RequestOptions): Promise<Answer>
  get(path: string, options?: RequestOptions): Promise<Answer>
  getBytes(
    path: string,
    options?: RequestOptions,
  ): Promise<{ status: number; headers: Headers; bytes: Buffer }>
  upload(
    path: string,
    body: AsyncIterable<Uint8Array> | Uint8Array,
    contentType: string,
    options?: RequestOptions,
  ): Promise<Answer>
}

export function createHttpClient(gatewayUrl: string): Client {
  const headersOf = (options: RequestOptions, more: Record<string, string> = {}): Record<string, string> => ({
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    ...options.headers,
    ...more,
  })
  const signalOf = (options: RequestOptions): { signal?: AbortSignal } =>
    options.signal === undefined ? {} : { signal: options.signal }

  const post: Client['post'] = async (path, body, options = {}) =>
    answer(
      await fetch(gatewayUrl + path, {
        method: 'POST',
        headers: headersOf(options, { 'content-type': 'application/json' }),
        body: JSON.stringify(body),
        ...signalOf(options),
      }),
    )

  return {
    rpc: (app, method, input = {}, options = {}) =>
      post(`/api/${app}/rpc/${method.replace('.', '/')}`, input, options),
    post,
    async get(path, options = {}) {
      return answer(await fetch(gatewayUrl + path, { headers: headersOf(options), ...signalOf(options) }))
    },
    async getBytes(path, options = {}) {
      const response = await fetch(gatewayUrl + path, { headers: headersOf(options), ...signalOf(options) })
      return {
        status: response.status,
        headers: response.headers,
        bytes: Buffer.from(await response.arrayBuffer()),
      }
    },
    async upload(path, body, contentType, options = {}) {
      const response = await fetch(gatewayUrl + path, {
        method: 'POST',
        headers: headersOf(options, { 'content-type': contentType }),
        body: body instanceof Uint8Array ? Buffer.from(body) : ReadableStream.from(body),
        duplex: 'half',
        ...signalOf(options),
      })
      return answer(response)
    },
  }
}

async function answer(response: Response): Promise<Answer> {
  const text = await response.text()
  const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '')
  return {
    status: response.status,
    headers: response.headers,
    body: isJson && text !== '' ? JSON.parse(text) : undefined,
  }
}

/** Who is signed in. */
export interface User {
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
}

interface Tokens {
  readonly accessToken: string
  readonly refreshToken: string
  /** Seconds. */
  readonly expiresIn: number
}

/**
 * A session of this page. Its tokens live in these closures alone: a script that was smuggled in could read any storage, a
 * cookie would go to every port of this host, and neither outlives the page for the next one at this machine. Whoever loads
 * the page anew signs in anew.
 */
export interface Session {
  readonly user: User
  /** An access token that is good for a while. */
  token(): Promise<string>
  /** Calls a procedure of an app, e.g. `call('ledger', 'ledger/accounts', {})`. */
  call<Output>(app: string, procedure: string, input: object): Promise<Output>
  /** Asks an app for anything else. @throws Error with what the app has said. */
  request(path: string, init?: RequestInit): Promise<Response>
}

/** Signs in, or up with a name and a new tenant. */
export async function startSession(path: 'sign-in' | 'sign-up', credentials: object): Promise<Session> {
  const answer = await post<Tokens & { readonly user: User }>(path, credentials)
  const { user } = answer
  let [tokens, renewAt] = [answer as Tokens, renewalOf(answer)]
  let renewing: Promise<void> | undefined

  async function renew(): Promise<void> {
    tokens = await post<Tokens>('refresh', { refreshToken: tokens.refreshToken })
    renewAt = renewalOf(tokens)
  }
  async function token(): Promise<string> {
    if (performance.now() > renewAt) {
      // A refresh token is good for one exchange: whoever comes meanwhile waits for that one.
      renewing ??= renew().finally(() => {
        renewing = undefined
      })
      await renewing
    }
    return tokens.accessToken
  }
  const request: Session['request'] = async (path, init = {}) => {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${await token()}`)
    return okay(await fetch(path, { ...init, headers }))
  }
  return {
    user,
    token,
    request,
    async call<Output>(app: string, procedure: string, input: object) {
      const response = await request(`/api/${app}/rpc/${procedure}`, json(input))
      return (await response.json()) as Output
    },
  }
}

/** When three quarters of the life of an access token are over. */
function renewalOf({ expiresIn }: Tokens): number {
  return performance.now() + expiresIn * 750
}

async function post<Output>(path: string, body: object): Promise<Output> {
  const response = await okay(await fetch(`/api/auth/${path}`, json(body)))
  return (await response.json()) as Output
}

function json(body: object): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

async function okay(response: Response): Promise<Response> {
  if (response.ok) return response
  const problem = (await response.json().catch(() => ({}))) as { detail?: string; title?: string }
  throw new Error(problem.detail ?? problem.title ?? `The answer was ${response.status}.`)
}

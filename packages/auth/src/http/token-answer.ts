/** What to answer with after a sign-in or a refresh, for any framework. */
export interface TokenAnswer {
  readonly body: string
  readonly headers: Readonly<Record<string, string | string[]>>
}

/**
 * A JSON answer that no cache keeps, since it hands out tokens, with the cookies that go with it, e.g. those of
 * `SessionCookies.set` and `SessionCookies.setDevice`.
 *
 * @see RFC 6749 section 5.1
 *
 * @example
 * const { body, headers } = tokenAnswer({ expiresIn: tokens.expiresIn }, cookies.set(tokens))
 * response.writeHead(200, headers).end(body)
 */
export function tokenAnswer(body: unknown, setCookies: readonly string[] = []): TokenAnswer {
  return {
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      ...(setCookies.length === 0 ? {} : { 'set-cookie': [...setCookies] }),
    },
  }
}

/** The same as a Web `Response`. */
export function tokenResponse(body: unknown, setCookies: readonly string[] = []): Response {
  const answer = tokenAnswer(body, setCookies)
  const headers = Object.entries(answer.headers).flatMap(([name, value]) =>
    [value].flat().map((each): [string, string] => [name, each]),
  )
  return new Response(answer.body, { headers })
}

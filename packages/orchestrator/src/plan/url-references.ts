/** `${url:<app>/<process>}` or `${url:<app>/<process>/<transport>}` in an environment variable; `<process>.<n>` for an instance. */
const reference = /^\$\{url:([a-z0-9-]+\/[a-z0-9-]+(?:\.\d+)?)(?:\/([a-z0-9-]+))?\}$/

/** What is meant as one, well-formed or not. */
const attempt = /\$\{url:[^}]*\}?/g

/** The port of a transport of a process, or undefined where there is none. */
export type FindPort = (process: string, transport: string) => number | undefined

/**
 * Puts in the addresses of other processes, so that an app can be told where another one is, whatever ports they have.
 * Without a transport, `http` is meant.
 *
 * @throws TypeError naming the variable when a reference is malformed, or there is no such process or transport.
 */
export function resolveUrls(
  env: Readonly<Record<string, string>>,
  findPort: FindPort,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => [
      name,
      value.replaceAll(attempt, (text) => {
        const [, process, transport = 'http'] = reference.exec(text) ?? []
        if (process === undefined)
          throw new TypeError(
            `env.${name}: ${text} is no reference. Write \${url:<app>/<process>} or \${url:<app>/<process>/<transport>}.`,
          )
        const port = findPort(process, transport)
        if (port !== undefined) return `http://127.0.0.1:${port}`
        throw new TypeError(`env.${name}: ${text} names no process with a transport "${transport}".`)
      }),
    ]),
  )
}

import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Where free ports are looked for: below those that a system gives to outgoing connections and to whoever asks for any (Linux
 * from 32768, macOS and Windows from 49152), one of which may be gone by the time that a process has started.
 */
const [lowest, highest] = [20_000, 32_767]

/** A port on 127.0.0.1 that was free a moment ago. Another process may take it first: be ready to ask again. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1)
  return port
}

/** Ports on 127.0.0.1 that were free a moment ago, all different: one after the other from a random one on. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = []
  let port = randomInt(lowest, highest + 1)
  for (let looked = lowest; looked <= highest && found.length < count; looked++) {
    if (await isPortFree(port)) found.push(port)
    port = port === highest ? lowest : port + 1
  }
  if (found.length < count)
    throw new Error(`Fewer than ${count} ports from ${lowest} to ${highest} are free.`)
  return found
}

/** Why nothing can listen on the port now, as the code of the error (`EADDRINUSE`, `EACCES`); undefined when it can. */
export async function portProblem(port: number): Promise<string | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

export async function isPortFree(port: number): Promise<boolean> {
  return (await portProblem(port)) === undefined
}

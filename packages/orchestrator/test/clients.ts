import { Agent, request } from 'node:http'

/** Clients that ask again and again over connections that they keep. */
export interface Clients {
  readonly answered: number
  readonly failures: readonly string[]
  /** Asks no more, and waits for the answers that are on their way. */
  stop(): Promise<void>
}

/** Starts so many clients; each asks when its last answer is there. An answer that is not 200 is a failure. */
export function startClients(url: string, count: number): Clients {
  const agent = new Agent({ keepAlive: true, maxSockets: count })
  const failures: string[] = []
  let answered = 0
  let stopped = false
  const running = Array.from({ length: count }, async () => {
    while (!stopped) {
      try {
        const status = await ask(url, agent)
        if (status === 200) answered += 1
        else failures.push(`status ${status}`)
      } catch (error) {
        failures.push((error as Error).message)
      }
    }
  })
  return {
    get answered() {
      return answered
    },
    failures,
    async stop() {
      stopped = true
      await Promise.all(running)
      agent.destroy()
    },
  }
}

function ask(url: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode))
      response.once('error', reject)
    })
    asked.once('error', reject)
    asked.end()
  })
}

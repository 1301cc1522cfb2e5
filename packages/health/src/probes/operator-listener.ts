import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AnswerProbe } from './probe-answers.ts'
import { writeProbe } from './write-answer.ts'

/** A listener whose every caller is an operator. */
export interface OperatorListener extends AsyncDisposable {
  readonly port: number
}

/** Answers the probes on an address that only operators can reach. */
export async function listenForOperators(
  answerProbe: AnswerProbe,
  { port, host }: { readonly port: number; readonly host: string },
): Promise<OperatorListener> {
  const server = createServer((request, response) => {
    // A page in a browser on this machine reaches loopback under a name of its own (DNS rebinding).
    const isOperator = !isOnLoopback || isLoopback(hostName(request.headers.host ?? ''))
    if (!writeProbe(answerProbe, request, response, isOperator)) response.writeHead(404).end()
  })
  let isOnLoopback = true
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host }, resolve)
  })
  const bound = server.address() as AddressInfo
  // Whatever the name was that it was given by, e.g. `127.1`.
  isOnLoopback = isLoopback(bound.address)
  return {
    port: bound.port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
}

import { get } from 'node:http'
import { connect } from 'node:net'
import type { ProbeAnswer } from './probe-answer.ts'

/** Where a process is asked that does not speak with its supervisor. */
export interface AskedAt {
  readonly port: number
  /** Null: a connection is enough. */
  readonly path: string | null
}

/** Asks a process over its port. It is responsive when it answers at all, and healthy with a status below 400. */
export function askCommand({ port, path }: AskedAt, timeoutMs: number): Promise<ProbeAnswer> {
  return path === null ? connectTo(port, timeoutMs) : askForPath(port, path, timeoutMs)
}

function askForPath(port: number, path: string, timeoutMs: number): Promise<ProbeAnswer> {
  const signal = AbortSignal.timeout(timeoutMs)
  return new Promise((resolve) => {
    const headers = { connection: 'close' }
    const asked = get({ host: '127.0.0.1', port, path, headers, agent: false, signal }, (response) => {
      const { statusCode = 0 } = response
      response.destroy()
      resolve({ responsive: true, healthy: statusCode < 400, detail: `${path} answers ${statusCode}` })
    })
    asked.once('error', (error) => resolve(silent(signal.aborted ? timeoutMs : error)))
  })
}

function connectTo(port: number, timeoutMs: number): Promise<ProbeAnswer> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const finish = (answer: ProbeAnswer): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => finish(silent(timeoutMs)), timeoutMs)
    socket.once('connect', () => finish({ responsive: true, healthy: true, detail: 'it takes connections' }))
    socket.once('error', (error) => finish(silent(error)))
  })
}

function silent(why: Error | number): ProbeAnswer {
  const detail =
    typeof why === 'number'
      ? `it did not answer a probe within ${why} ms`
      : `it cannot be asked: ${why.message}`
  return { responsive: false, healthy: false, detail }
}

/** A server that is run outside the ecosystem, and left running. */
export interface ExternalServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pid: undefined
  readonly source: 'external'
  readonly ended: Promise<void>
  stop(): Promise<void>
}

export function externalServer(url: string, defaultPort: number): ExternalServer {
  return {
    url,
    port: Number(new URL(url).port || defaultPort),
    pid: undefined,
    source: 'external',
    ended: new Promise(() => {}),
    stop: leaveRunning,
    [Symbol.asyncDispose]: leaveRunning,
  }
}

async function leaveRunning(): Promise<void> {}

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { BoundSocket, createServer } from 'node:net'

/** A program that was started with listening sockets, as systemd starts a service of socket units. */
export interface Activated extends AsyncDisposable {
  readonly child: ChildProcess
  /** The port of each socket, by its name. */
  readonly ports: Readonly<Record<string, number>>
}

/** Acts as systemd: listens on a free port of 127.0.0.1 for each name, and starts the program with these sockets. */
export async function spawnActivated(
  command: readonly string[],
  names: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Activated> {
  const sockets = names.map(() => new BoundSocket({ host: '127.0.0.1', port: 0 }))
  const fds = sockets.map((socket) => socket.fd())
  const ports = sockets.map((socket) => (socket.address() as { port: number }).port)
  const servers = await Promise.all(
    sockets.map(async (socket) => {
      const server = createServer().listen(socket)
      await once(server, 'listening')
      return server
    }),
  )
  // systemd knows the pid after the fork; a shell that is replaced by the program has it too.
  const script = 'export LISTEN_PID=$$; exec "$@"'
  const child = spawn('/bin/sh', ['-c', script, 'activated', ...command], {
    env: { ...env, LISTEN_FDS: String(names.length), LISTEN_FDNAMES: names.join(':') },
    stdio: ['ignore', 'pipe', 'pipe', ...fds],
  })
  for (const server of servers) server.close()
  return {
    child,
    ports: Object.fromEntries(names.map((name, index) => [name, ports[index] as number])),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

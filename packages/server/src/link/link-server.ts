import { access, chmod, unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { Transport } from '@quintet/core'
import { stopListening } from '@quintet/core/http'
import type { RunningTransport, TransportHost } from '@quintet/core/kit'
import { frameType, FrameReader, FrameWriter, type Frame } from './frames.ts'
import { isSameProof, linkVersion, makeNonce, proveKey, type LinkIdentity } from './handshake.ts'
import { linkedProcedures, LinkSession, type LinkedProcedure } from './link-session.ts'
import type { SocketFolder } from './socket-files.ts'

export interface LinkServerOptions {
  readonly folder: SocketFolder
  readonly identity: LinkIdentity
  readonly key: Buffer
  /** Bytes. */
  readonly maxFrameSize: number
}

/** How long a stranger may take to prove itself, in milliseconds, and how much it may send until then. */
const handshakeTimeout = 5_000
const handshakeSize = 4 * 1024

/** The transport by which a process answers its siblings. */
export function linkTransport(options: LinkServerOptions): Transport {
  const { folder, identity } = options
  return {
    name: 'link',
    async start(host: TransportHost): Promise<RunningTransport> {
      const procedures = linkedProcedures(host)
      const connections = new Set<ServedConnection>()
      const accept = (socket: Socket): void => {
        const connection = new ServedConnection(host, procedures, socket, options)
        connections.add(connection)
        socket.once('close', () => connections.delete(connection))
      }
      await folder.prepare()
      await folder.sweep(identity.system, identity.process)
      const listening = new Set<Server>()
      let path = ''
      const open = async (): Promise<void> => {
        path = folder.pathFor(identity.system, identity.process, identity.instance)
        const server = createServer(accept)
        listening.add(server)
        await listen(server, path)
        await chmod(path, 0o600)
      }
      await open()

      let opening: Promise<void> | undefined
      const look = async (): Promise<void> => {
        if (await isThere(path)) return
        host.logger.warn({ path }, 'the socket of the link was removed, another one is made')
        const lost = [...listening]
        listening.clear()
        await open()
        // Its connections go on; only new callers need the new one.
        for (const server of lost) server.close()
      }
      const timer = setInterval(() => {
        opening ??= look()
          .catch((error: unknown) =>
            host.logger.error({ err: error, path }, 'the socket of the link could not be made'),
          )
          .finally(() => (opening = undefined))
      }, lookEvery).unref()
      const stop = async (): Promise<void> => {
        clearInterval(timer)
        await opening
        await unlink(path).catch(() => {})
        await Promise.all([...listening].map(stopListening))
        listening.clear()
      }

      let closing: Promise<void> | undefined
      return {
        url: `unix:${path}`,
        async drain(_reason, signal) {
          await stop()
          await Promise.all([...connections].map((connection) => connection.drain(signal)))
        },
        close: () =>
          (closing ??= (async () => {
            await stop()
            const gone = [...connections].map((connection) => connection.destroy())
            await Promise.all(gone)
          })()),
      }
    },
  }
}

/** How often a server looks whether its socket is still there, in milliseconds. */
const lookEvery = 1_000

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    // What says nothing about the file is no reason to make another.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** One sibling's connection: a stranger until it has proved that it knows the key. */
class ServedConnection {
  readonly #host: TransportHost
  readonly #procedures: ReadonlyMap<string, LinkedProcedure>
  readonly #socket: Socket
  readonly #options: LinkServerOptions
  readonly #writer: FrameWriter
  readonly #reader = new FrameReader(handshakeSize)
  readonly #nonce = makeNonce()
  readonly #timer: NodeJS.Timeout
  #session: LinkSession | undefined

  constructor(
    host: TransportHost,
    procedures: ReadonlyMap<string, LinkedProcedure>,
    socket: Socket,
    options: LinkServerOptions,
  ) {
    this.#host = host
    this.#procedures = procedures
    this.#socket = socket
    this.#options = options
    this.#writer = new FrameWriter(socket)
    this.#timer = setTimeout(() => socket.destroy(), handshakeTimeout)
    const onFrame = (frame: Frame): void => this.#frame(frame)
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#reader.read(chunk, onFrame)
      } catch (error) {
        host.logger.warn({ err: error }, 'a link was ended because of what its caller sent')
        socket.destroy()
      }
    })
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      clearTimeout(this.#timer)
      this.#session?.closed()
    })
    this.#writer.write(frameType.hello, 0, 0, [JSON.stringify({ version: linkVersion, nonce: this.#nonce })])
  }

  /** Breaks the connection off; resolves when it is gone. */
  destroy(): Promise<void> {
    if (this.#socket.closed) return Promise.resolve()
    return new Promise((resolve) => this.#socket.once('close', () => resolve()).destroy())
  }

  /** Takes no new calls from this sibling, and ends when the last one is answered. */
  async drain(signal: AbortSignal): Promise<void> {
    const session = this.#session
    if (session === undefined || this.#socket.destroyed) {
      this.#socket.destroy()
      return
    }
    this.#writer.write(frameType.leaving, 0, 0, [])
    session.endStreams()
    const idle = new Promise<void>((resolve) => {
      session.onIdle = resolve
      if (session.active === 0) resolve()
      this.#socket.once('close', () => resolve())
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    await idle
    // The answers of this turn are written at its end.
    await new Promise((resolve) => setImmediate(resolve))
    this.#socket.destroySoon()
  }

  #frame(frame: Frame): void {
    if (this.#session !== undefined) this.#session.frame(frame)
    else this.#admit(frame)
  }

  #admit({ type, payload }: Frame): void {
    if (type !== frameType.proof) throw new TypeError('The caller did not prove itself.')
    const said = JSON.parse(payload.toString()) as Record<string, unknown>
    const { identity, key } = this.#options
    const nonces = { caller: String(said['nonce']), callee: this.#nonce }
    const caller: LinkIdentity = {
      system: identity.system,
      process: String(said['process']),
      instance: Number(said['instance']),
    }
    if (nonces.caller.length < 16 || !isSameProof(said['proof'], proveKey(key, 'caller', nonces, caller))) {
      throw new TypeError('The caller does not know the secret of this system.')
    }
    clearTimeout(this.#timer)
    this.#reader.limit = this.#options.maxFrameSize
    this.#session = new LinkSession(
      this.#host,
      this.#procedures,
      this.#socket,
      this.#writer,
      this.#options.maxFrameSize,
    )
    this.#writer.write(frameType.welcome, 0, 0, [
      JSON.stringify({ proof: proveKey(key, 'callee', nonces, identity) }),
    ])
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

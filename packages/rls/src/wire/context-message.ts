import type { ContextSettings } from '../context/context-settings.ts'

/** Bytes of a Bind for the context statement under that name, and of its Execute. */
export type ContextMessages = (settings: ContextSettings, name: string) => Buffer

/**
 * Writes Bind and Execute of the context statement, once per context and name: a context is sent with
 * each of its statements.
 *
 * @see PostgreSQL, Frontend/Backend Protocol, Message Formats
 */
export function createContextMessages(): ContextMessages {
  const known = new WeakMap<ContextSettings, { readonly name: string; readonly bytes: Buffer }>()
  return (settings, name) => {
    const ready = known.get(settings)
    if (ready !== undefined && ready.name === name) return ready.bytes
    const bytes = bindAndExecute(settings, name)
    known.set(settings, { name, bytes })
    return bytes
  }
}

/** Length of everything but the name and the values, with Execute; a text takes three bytes a character at most. */
const fixedLength = 1 + 4 + 1 + 1 + 2 + 2 + 2 + 10

function bindAndExecute(settings: ContextSettings, name: string): Buffer {
  let longest = fixedLength + name.length
  for (const value of settings) longest += 4 + value.length * 3
  const message = Buffer.allocUnsafe(longest)
  message[0] = 0x42
  // The portal without a name, then the statement; no format codes: every value is text.
  message[5] = 0
  let at = 6 + message.write(name, 6, 'latin1')
  message[at++] = 0
  at = message.writeInt16BE(0, at)
  at = message.writeInt16BE(settings.length, at)
  for (const value of settings) {
    const length = message.write(value, at + 4)
    at = message.writeInt32BE(length, at) + length
  }
  at = message.writeInt16BE(0, at)
  message.writeInt32BE(at - 1, 1)
  // Execute: the portal without a name, all rows.
  message[at] = 0x45
  message.writeInt32BE(9, at + 1)
  message.fill(0, at + 5, at + 10)
  return message.subarray(0, at + 10)
}

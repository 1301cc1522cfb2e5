import { contextStatement, sealingContextStatement, sealStatements } from '../context/context-settings.ts'
import type { ContextSettings } from '../context/settings.ts'
import { namePrefix } from './statement-names.ts'

/** A statement of ours that goes ahead of others, under the same name on every connection. */
export interface AheadStatement {
  readonly name: string
  readonly text: string
}

const context: AheadStatement = { name: `${namePrefix}context`, text: contextStatement }
const sealing: readonly AheadStatement[] = sealStatements.map((text, index) => ({
  name: `${namePrefix}seal${index}`,
  text,
}))
const sealingContext: AheadStatement = { name: `${namePrefix}sealing`, text: sealingContextStatement }

/** The statements of {@link contextMessages}, in their order; the last one sets the context. */
export const aheadStatements = {
  context: [context],
  sealing: [...sealing, sealingContext],
} as const

/**
 * The messages that set a context, sealing the session first where that is asked for; written once, since a context is
 * sent with each of its statements. Without prepared statements each brings its Parse along.
 *
 * @see PostgreSQL, Frontend/Backend Protocol, Message Formats
 */
export function contextMessages(settings: ContextSettings, seal: boolean, prepared: boolean): Buffer {
  return seal
    ? (settings.sealingMessages ??= prepared
        ? writeMessages(sealsPrepared, sealingContext.name, settings)
        : writeMessages(sealsUnprepared, '', settings))
    : (settings.messages ??= prepared
        ? writeMessages(nothing, context.name, settings)
        : writeMessages(contextParse, '', settings))
}

/** Parse of a statement without a name. */
function parse(text: string): Buffer {
  const message = Buffer.alloc(8 + text.length + 1)
  message[0] = 0x50
  message.writeInt32BE(message.length - 1, 1)
  message.write(text, 6, 'latin1')
  return message
}

/** Bind and Execute of a statement without parameters. */
function run(name: string): Buffer {
  const bind = Buffer.alloc(13 + name.length)
  bind[0] = 0x42
  bind.writeInt32BE(bind.length - 1, 1)
  bind.write(name, 6, 'latin1')
  return Buffer.concat([bind, execute])
}

/** Execute of the portal without a name, for all rows. */
const execute = Buffer.from([0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0])

const nothing = Buffer.alloc(0)
const contextParse = parse(context.text)
const sealsPrepared = Buffer.concat(sealing.map(({ name }) => run(name)))
const sealsUnprepared = Buffer.concat([
  ...sealing.flatMap(({ text }) => [parse(text), run('')]),
  parse(sealingContext.text),
])

/** What goes first, then Bind and Execute of the context statement of that name. */
function writeMessages(first: Buffer, name: string, { values }: ContextSettings): Buffer {
  // A text takes three bytes a character at most.
  let longest = first.length + 13 + name.length + execute.length
  for (const value of values) longest += 4 + value.length * 3
  const message = Buffer.allocUnsafe(longest)
  first.copy(message)
  const start = first.length
  message[start] = 0x42
  // The portal without a name, then the statement; no format codes: every value is text.
  message[start + 5] = 0
  let at = start + 6 + message.write(name, start + 6, 'latin1')
  message[at++] = 0
  at = message.writeInt16BE(0, at)
  at = message.writeInt16BE(values.length, at)
  for (const value of values) {
    const length = message.write(value, at + 4)
    at = message.writeInt32BE(length, at) + length
  }
  at = message.writeInt16BE(0, at)
  message.writeInt32BE(at - start - 1, start + 1)
  return message.subarray(0, at + execute.copy(message, at))
}

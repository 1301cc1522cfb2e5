import { isUtf8 } from 'node:buffer'
import { readFile } from 'node:fs/promises'
import { parseStrictJson } from '../security/strict-json.ts'
import { losesDigits } from './loses-digits.ts'
import type { ConfigTree } from './source.ts'

/** Reads a file of configuration; undefined for one that does not exist and need not. */
export async function readConfigFile(location: string, optional: boolean): Promise<ConfigTree | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(location)
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (isMissing && optional) return undefined
    throw new Error(
      isMissing
        ? `does not exist (${location}). Pass { optional: true } if it need not.`
        : `cannot be read: ${String(error)}`,
      { cause: error },
    )
  }
  const tree = parseJson(decode(bytes))
  if (typeof tree === 'object' && tree !== null && !Array.isArray(tree)) return tree as ConfigTree
  throw new Error('must hold a JSON object.')
}

/** The text of a file in UTF-8. A byte order mark, which some editors write, is no part of it. */
function decode(bytes: Buffer): string {
  const isUtf16 =
    [0xfffe, 0xfeff].includes(bytes.length < 2 ? 0 : bytes.readUInt16BE(0)) ||
    bytes.subarray(0, 2).includes(0)
  if (isUtf16) throw new Error('is encoded in UTF-16. Save it as UTF-8.')
  if (!isUtf8(bytes)) throw new Error('is not encoded in UTF-8. Save it as UTF-8.')
  return bytes.toString('utf8').replace(/^\uFEFF/, '')
}

function parseJson(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text, refuseRounded)
  } catch (error) {
    if (error instanceof RangeError) throw new Error(error.message, { cause: error })
    // The engine's message quotes the text around the mistake, and that may be a secret.
    const position = /position (\d+)/.exec(String(error))?.[1]
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split('\n').length
    // oxlint-disable-next-line preserve-caught-error
    throw new Error(`is not valid JSON${line === undefined ? '' : ` (line ${line})`}.`)
  }
  try {
    parseStrictJson(text)
  } catch (error) {
    throw new Error(`${(error as SyntaxError).message}.`, { cause: error })
  }
  return value
}

/** A reviver that refuses whole numbers which JavaScript would round. */
function refuseRounded(key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || !losesDigits(context?.source ?? '')) return value
  throw new RangeError(`has a number at "${key}" that loses digits. Write it as a text.`)
}

import { serverError } from '../errors.ts'
import type { ByteRange } from './byte-range.ts'

/** A value as it travels on a link: JSON, with the binary values that JSON cannot hold behind it. */
export interface EncodedBody {
  readonly binary: boolean
  /** Bytes. */
  readonly size: number
  readonly pieces: readonly (string | number | Uint8Array)[]
}

type Path = readonly (string | number)[]

interface BinaryIndex {
  /** The value, with null in the place of each binary one. */
  readonly value?: unknown
  /** Where each binary value belongs, and how long it is, in the order in which they follow. */
  readonly binary: readonly (readonly [path: Path, length: number])[]
}

const nothing: EncodedBody = Object.freeze({ binary: false, size: 0, pieces: Object.freeze([]) })

/**
 * Encodes a value; `Uint8Array`s anywhere in it travel as bytes and are not copied.
 *
 * @param limit the most bytes that it may have.
 * @throws QuintetError `ERR_SERVER_TOO_LARGE`; a TypeError for what JSON cannot hold.
 */
export function encodeBody(value: unknown, limit: number): EncodedBody {
  const body = encode(value)
  if (body.size <= limit) return body
  throw serverError('ERR_SERVER_TOO_LARGE', `The message is larger than ${String(limit)} bytes.`, {
    details: { limit },
  })
}

function sizeOf(pieces: EncodedBody['pieces']): number {
  let size = 0
  for (const piece of pieces) {
    if (typeof piece === 'number') size += 4
    else size += typeof piece === 'string' ? Buffer.byteLength(piece) : piece.byteLength
  }
  return size
}

function encode(value: unknown): EncodedBody {
  const { binary, pieces } = encodePieces(value)
  return pieces.length === 0 ? nothing : { binary, size: sizeOf(pieces), pieces }
}

function encodePieces(value: unknown): Pick<EncodedBody, 'binary' | 'pieces'> {
  if (value === undefined) return nothing
  if (!holdsBinary(value, 0)) {
    const text = JSON.stringify(value) as string | undefined
    return text === undefined ? nothing : { binary: false, pieces: [text] }
  }
  const found: [Path, Uint8Array][] = []
  const plain = takeBinary(value, [], found)
  const index: BinaryIndex = { value: plain, binary: found.map(([path, bytes]) => [path, bytes.byteLength]) }
  const text = Buffer.from(JSON.stringify(index), 'utf8')
  return { binary: true, pieces: [text.length, text, ...found.map(([, bytes]) => bytes)] }
}

/** @throws QuintetError `ERR_SERVER_BODY_INVALID`; a RangeError when the parts do not fit together. */
export function decodeBody(payload: ByteRange, binary: boolean, parse: ParseJson = parseAnswer): unknown {
  if (payload.length === 0) return undefined
  if (!binary) return parse(payload.toString())
  const length = payload.readUInt32LE(0)
  const index = parse(payload.slice(4, 4 + length).toString()) as BinaryIndex
  let value = index.value
  let at = 4 + length
  for (const [path, size] of index.binary) {
    const bytes = payload.slice(at, at + size).copy()
    at += size
    if (path.length === 0) value = bytes
    else putAt(value, path, bytes)
  }
  return value
}

type ParseJson = (text: string) => unknown

/** What a sibling answers is taken as what its own code has made. */
function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw serverError('ERR_SERVER_RESPONSE_INVALID', 'The answer is not JSON.', { cause: error })
  }
}

/** How deep is looked for binary values; deeper ones become objects of numbers. */
const deepest = 64

function holdsBinary(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null || depth > deepest) return false
  if (value instanceof Uint8Array) return true
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) if (holdsBinary(item, depth + 1)) return true
    return false
  }
  for (const key in value) {
    const member: unknown = (value as Record<string, unknown>)[key]
    if (typeof member === 'object' && holdsBinary(member, depth + 1)) return true
  }
  return false
}

function takeBinary(value: unknown, path: Path, found: [Path, Uint8Array][]): unknown {
  if (typeof value !== 'object' || value === null || path.length > deepest) return value
  if (value instanceof Uint8Array) {
    found.push([path, value])
    return null
  }
  if (Array.isArray(value)) return value.map((item, index) => takeBinary(item, [...path, index], found))
  if ('toJSON' in value) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, takeBinary(member, [...path, key], found)]),
  )
}

function putAt(root: unknown, path: Path, bytes: Uint8Array): void {
  let target = root
  for (const key of path.slice(0, -1)) target = memberOf(target, key)
  const last = path.at(-1)
  if (last === undefined || memberOf(target, last) !== null)
    throw new RangeError('A binary value has no place.')
  ;(target as Record<string | number, unknown>)[last] = bytes
}

function memberOf(target: unknown, key: string | number): unknown {
  if (typeof target === 'object' && target !== null && Object.hasOwn(target, key))
    return (target as Record<string | number, unknown>)[key]
  throw new RangeError('A binary value has no place.')
}

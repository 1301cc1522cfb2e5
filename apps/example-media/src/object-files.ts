import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { QuintetError } from '@quintet/core'
import { noObject } from './objects.ts'
import { thumbnailVariant } from './thumbnail-events.ts'

export interface StoredFile {
  /** Bytes. */
  readonly size: number
  /** Hexadecimal. */
  readonly sha256: string
  /** The first bytes, which tell what the file is. */
  readonly head: Uint8Array
}

/** A part of a file, or all of it, as a stream. */
export interface OpenFile {
  readonly stream: ReadableStream
}

export interface FoundFile {
  /** Bytes. */
  readonly size: number
  /** Opens the bytes from `start` to `end`, both included; without them all. */
  open(range?: { readonly start: number; readonly end: number }): OpenFile
}

/** The files behind the objects: one folder a tenant, one file an object, complete or absent. */
export interface ObjectFiles {
  pathOf(tenantId: string, objectId: string, variant?: string): string
  /**
   * Streams the body to disk. What is written so far is removed when it breaks off.
   *
   * @throws QuintetError `ERR_MEDIA_NO_OBJECT` (not-found) for an object that was removed meanwhile, `ERR_MEDIA_NO_SPACE` (unavailable).
   */
  store(
    tenantId: string,
    objectId: string,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<StoredFile>
  /** Keeps what was made of an object. Of many, the oldest go; the thumbnail, which is made once, stays. */
  writeVariant(tenantId: string, objectId: string, variant: string, bytes: Uint8Array): Promise<void>
  /** The file, or undefined when there is none. */
  find(tenantId: string, objectId: string, variant?: string): Promise<FoundFile | undefined>
  /** Removes the object and all that was made of it. */
  remove(tenantId: string, objectId: string): Promise<void>
}

const headLength = 64
/** How much may be made of one object and kept. */
const maxVariants = 32

export function createObjectFiles(directory: string): ObjectFiles {
  const variantsOf = (tenantId: string, objectId: string): string =>
    join(directory, tenantId, `${objectId}.variants`)
  const pathOf: ObjectFiles['pathOf'] = (tenantId, objectId, variant) =>
    variant === undefined
      ? join(directory, tenantId, objectId)
      : join(variantsOf(tenantId, objectId), variant)

  const remove: ObjectFiles['remove'] = async (tenantId, objectId) => {
    await Promise.all([
      rm(pathOf(tenantId, objectId), { force: true }),
      rm(`${pathOf(tenantId, objectId)}.part`, { force: true }),
      rm(variantsOf(tenantId, objectId), { recursive: true, force: true }),
    ])
  }

  return {
    pathOf,

    async store(tenantId, objectId, body, signal) {
      const path = pathOf(tenantId, objectId)
      const part = `${path}.part`
      await mkdir(dirname(path), { recursive: true })
      const hash = createHash('sha256')
      let size = 0
      let head = Buffer.alloc(0)
      try {
        await using file = await open(part, 'wx')
        for await (const chunk of body) {
          signal.throwIfAborted()
          hash.update(chunk)
          size += chunk.length
          if (head.length < headLength) head = Buffer.concat([head, chunk.subarray(0, headLength)])
          await file.writev([chunk])
        }
        await file.datasync()
        // What was written is gone when the object has been erased meanwhile.
        await rename(part, path).catch((error) =>
          isMissing(error) ? noObject(error) : Promise.reject(error),
        )
        await syncDirectory(dirname(path))
      } catch (error) {
        await rm(part, { force: true })
        throw isFull(error) ? noSpace(error) : error
      }
      return { size, sha256: hash.digest('hex'), head: head.subarray(0, headLength) }
    },

    async writeVariant(tenantId, objectId, variant, bytes) {
      const path = pathOf(tenantId, objectId, variant)
      const part = `${path}.${randomUUID()}.part`
      await mkdir(dirname(path), { recursive: true })
      try {
        await using file = await open(part, 'wx')
        await file.writeFile(bytes)
        await rename(part, path)
      } catch (error) {
        await rm(part, { force: true })
        throw error
      }
      await keepNewest(dirname(path), maxVariants)
      // The object may have been removed meanwhile.
      if ((await sizeOf(pathOf(tenantId, objectId))) === undefined) await remove(tenantId, objectId)
    },

    async find(tenantId, objectId, variant) {
      const path = pathOf(tenantId, objectId, variant)
      const size = await sizeOf(path)
      if (size === undefined) return undefined
      return {
        size,
        open: (range = {} as never) => ({
          stream: Readable.toWeb(createReadStream(path, range)) as ReadableStream,
        }),
      }
    },

    remove,
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ENOENT'
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(String((error as { code?: unknown }).code))
}

function noSpace(cause: unknown): QuintetError {
  return new QuintetError('There is no room for the object now.', {
    code: 'ERR_MEDIA_NO_SPACE',
    kind: 'unavailable',
    retryAfter: 60_000,
    cause,
  })
}

async function sizeOf(path: string): Promise<number | undefined> {
  const file = await stat(path).catch(() => undefined)
  return file?.size
}

/** A rename survives a crash of the machine only when its folder has been written. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

async function keepNewest(directory: string, most: number): Promise<void> {
  const found = await readdir(directory).catch(() => [])
  const names = found.filter((name) => name !== thumbnailVariant)
  if (names.length <= most) return
  const files = await Promise.all(
    names.map(async (name) => ({
      name,
      at: (await stat(join(directory, name)).catch(() => undefined))?.mtimeMs ?? 0,
    })),
  )
  const oldest = files.toSorted((a, b) => a.at - b.at).slice(0, names.length - most)
  await Promise.all(oldest.map(({ name }) => rm(join(directory, name), { force: true })))
}

import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'

export interface StoredFile {
  /** Bytes. */
  readonly size: number
  /** Hexadecimal. */
  readonly sha256: string
}

/** The files behind the objects: one folder a tenant, one file an object, complete or absent. */
export interface ObjectFiles {
  pathOf(tenantId: string, objectId: string, variant?: 'thumbnail'): string
  /** Streams the body to disk. What is written so far is removed when it breaks off. */
  store(
    tenantId: string,
    objectId: string,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<StoredFile>
  write(tenantId: string, objectId: string, variant: 'thumbnail', bytes: Uint8Array): Promise<void>
  /** The file as a stream, or undefined when there is none. */
  read(
    tenantId: string,
    objectId: string,
    variant?: 'thumbnail',
  ): Promise<{ size: number; stream: ReadableStream } | undefined>
  remove(tenantId: string, objectId: string): Promise<void>
}

export function createObjectFiles(directory: string): ObjectFiles {
  const pathOf: ObjectFiles['pathOf'] = (tenantId, objectId, variant) =>
    join(directory, tenantId, variant === undefined ? objectId : `${objectId}.${variant}`)

  return {
    pathOf,

    async store(tenantId, objectId, body, signal) {
      const path = pathOf(tenantId, objectId)
      const part = `${path}.${randomUUID()}.part`
      await mkdir(dirname(path), { recursive: true })
      const hash = createHash('sha256')
      let size = 0
      try {
        await using file = await open(part, 'wx')
        for await (const chunk of body) {
          signal.throwIfAborted()
          hash.update(chunk)
          size += chunk.length
          await file.writev([chunk])
        }
        await file.datasync()
        await rename(part, path)
      } catch (error) {
        await rm(part, { force: true })
        throw error
      }
      return { size, sha256: hash.digest('hex') }
    },

    async write(tenantId, objectId, variant, bytes) {
      const path = pathOf(tenantId, objectId, variant)
      const part = `${path}.${randomUUID()}.part`
      await using file = await open(part, 'wx')
      await file.writeFile(bytes)
      await rename(part, path)
    },

    async read(tenantId, objectId, variant) {
      const path = pathOf(tenantId, objectId, variant)
      const file = await stat(path).catch(() => undefined)
      if (file === undefined) return undefined
      return { size: file.size, stream: Readable.toWeb(createReadStream(path)) as ReadableStream }
    },

    async remove(tenantId, objectId) {
      await Promise.all([
        rm(pathOf(tenantId, objectId), { force: true }),
        rm(pathOf(tenantId, objectId, 'thumbnail'), { force: true }),
      ])
    },
  }
}

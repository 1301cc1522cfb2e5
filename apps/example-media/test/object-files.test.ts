import { randomUUID } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createObjectFiles } from '../src/object-files.ts'
import { thumbnailVariant } from '../src/thumbnail-events.ts'

it('keeps the newest variants of an object, and its thumbnail however many there are', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'quintet-media-'))
  const files = createObjectFiles(directory.path)
  const [tenantId, objectId] = [randomUUID(), randomUUID()]
  const bytes = new Uint8Array(1)
  await files.store(tenantId, objectId, new Blob(['x']).stream(), new AbortController().signal)
  for (const variant of [thumbnailVariant, ...Array.from({ length: 40 }, (_, index) => `${index}.webp`)])
    await files.writeVariant(tenantId, objectId, variant, bytes)
  const isKept = async (variant: string): Promise<boolean> =>
    (await files.find(tenantId, objectId, variant)) !== undefined
  expect([await isKept(thumbnailVariant), await isKept('39.webp'), await isKept('0.webp')]).toEqual([
    true,
    true,
    false,
  ])
})

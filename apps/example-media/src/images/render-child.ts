import { setPriority } from 'node:os'
import sharp from 'sharp'
import type { Transform } from './transform.ts'

/** What the pool asks of a child, and what it answers. */
export interface RenderRequest {
  readonly path: string
  readonly transform: Transform
}
export type RenderReply = { readonly bytes: Uint8Array } | { readonly problem: string }

/** Files that unpack to more pixels than this are refused. */
const maxInputPixels = 50_000_000

sharp.cache(false)
sharp.concurrency(1)
// Only what the sniffed formats need may read a file.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: [
    'VipsForeignLoadJpegFile',
    'VipsForeignLoadPngFile',
    'VipsForeignLoadWebpFile',
    'VipsForeignLoadNsgifFile',
    'VipsForeignLoadHeifFile',
  ],
})

async function render({ path, transform }: RenderRequest): Promise<RenderReply> {
  const { width, height, format, quality } = transform
  try {
    const bytes = await sharp(path, { limitInputPixels: maxInputPixels, sequentialRead: true })
      .autoOrient()
      .resize({ width, height, fit: 'inside', withoutEnlargement: true })
      .toFormat(format, { quality, ...(format === 'avif' && { effort: 2 }) })
      .toBuffer()
    return { bytes }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

// Those who answer requests come first.
setPriority(10)
process.on('message', (request: RenderRequest) => {
  void render(request).then((reply) => process.send?.(reply))
})
// The pool is gone; work in progress would go on for nothing.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))

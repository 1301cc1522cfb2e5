import sharp from 'sharp'
import { z } from 'zod'

/** How an image is to look. */
export const Transform = z.strictObject({
  width: z.int().min(1).max(4096).optional(),
  height: z.int().min(1).max(4096).optional(),
  format: z.enum(['webp', 'jpeg', 'png', 'avif']).default('webp'),
  quality: z.int().min(1).max(100).default(80),
})
export type Transform = z.infer<typeof Transform>

/** More pixels than this are refused, so that a small file cannot unpack to gigabytes. */
const maxPixels = 64 * 1024 * 1024

/** @throws Error when the file is no image, or too large a one. */
export async function transformImage(
  path: string,
  { width, height, format, quality }: Transform,
): Promise<Uint8Array<ArrayBuffer>> {
  return sharp(path, { limitInputPixels: maxPixels })
    .rotate()
    .resize({ ...(width && { width }), ...(height && { height }), fit: 'inside', withoutEnlargement: true })
    .toFormat(format, { quality })
    .toBuffer() as Promise<Buffer<ArrayBuffer>>
}

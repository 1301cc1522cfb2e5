import { z } from 'zod'

/** No image is made wider or higher than this, so none has more than 4.2 million pixels. */
export const maxEdge = 2048

const Edge = z.coerce.number().int().min(1).max(maxEdge)

/** How an image is to look. It is made to fit, and never larger than it was. */
export const Transform = z.strictObject({
  width: Edge.default(maxEdge),
  height: Edge.default(maxEdge),
  format: z.enum(['webp', 'jpeg', 'png', 'avif']).default('webp'),
  quality: z.coerce.number().int().min(1).max(100).default(80),
})
export type Transform = z.output<typeof Transform>

/** The name under which the result is kept. */
export function variantOf({ width, height, format, quality }: Transform): string {
  return `${width}x${height}-${quality}.${format}`
}

import { createBrotliCompress, createGzip, constants, type BrotliCompress, type Gzip } from 'node:zlib'
import type { Size } from '@quintet/core'

export interface CompressionOptions {
  /** Smaller answers are sent as they are. @defaultValue `'4kb'` */
  readonly threshold?: Size
}

/** What applies where {@link CompressionOptions} says nothing. */
export const compressionDefaults: Readonly<{ threshold: '4kb' }> = Object.freeze({ threshold: '4kb' })

export type ContentCoding = 'br' | 'gzip'

/**
 * The coding that the client likes best, if it likes one no less than none; of two that it likes alike, `br`.
 *
 * @see RFC 9110 section 12.5.3
 */
export function chooseCoding(acceptEncoding: string | string[] | undefined): ContentCoding | undefined {
  if (typeof acceptEncoding !== 'string') return undefined
  const weights = new Map<string, number>()
  for (const part of acceptEncoding.toLowerCase().split(',')) {
    const [coding = '', ...parameters] = part.split(';').map((piece) => piece.trim())
    const quality = parameters.find((parameter) => parameter.startsWith('q='))
    weights.set(coding, quality === undefined ? 1 : Number(quality.slice(2)) || 0)
  }
  const weightOf = (coding: string): number => weights.get(coding) ?? weights.get('*') ?? 0
  const br = weightOf('br')
  const gzip = weightOf('gzip')
  const best = Math.max(br, gzip)
  if (best === 0 || best < (weights.get('identity') ?? 0)) return undefined
  return br === best ? 'br' : 'gzip'
}

const compressible =
  /^(?:text\/(?!event-stream)|application\/(?:[\w.+-]*json|javascript|xml|[\w.+-]*\+xml)|image\/svg\+xml)/i

/** Whether content of this type gets smaller: text does, images and archives do not. */
export function isCompressible(contentType: string): boolean {
  return compressible.test(contentType)
}

/** A stream that compresses; each write can be flushed on, so that a slow answer still flows. */
export function createCompressor(coding: ContentCoding): BrotliCompress | Gzip {
  return coding === 'br'
    ? createBrotliCompress({
        params: { [constants.BROTLI_PARAM_QUALITY]: 4 },
        flush: constants.BROTLI_OPERATION_FLUSH,
      })
    : createGzip({ level: 6, flush: constants.Z_SYNC_FLUSH })
}

import { createHash } from 'node:crypto'
import sharp from 'sharp'
import { eventually, expectStatus, expectThat, milliseconds, stringOf } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Listener } from './realtime.ts'
import type { Cast } from './sign-up.ts'

export interface StoredMedia {
  readonly photoId: string
  readonly streamId: string
}

const streamSize = 256 * 1024 * 1024

export async function storeAndTransform(
  _: Stage,
  steps: StepRunner,
  cast: Cast,
  listener: Listener,
): Promise<StoredMedia> {
  const { client, ada } = cast
  const options = { token: ada.accessToken }

  const photoId = await steps.step('upload a JPEG', async () => {
    const photo = await makePhoto(1600, 1200)
    const body = expectStatus(
      await client.upload('/api/media/objects?name=harbour.jpg', photo, 'image/jpeg', options),
      201,
      'upload',
    )
    expectThat(body['size'] === photo.length, `stored ${String(body['size'])} bytes of ${photo.length}`)
    return { detail: `${(photo.length / 1024).toFixed(0)} KiB stored`, value: stringOf(body, 'id') }
  })

  const streamId = await steps.step('upload a 256 MB stream', async () => {
    const hash = createHash('sha256')
    const start = performance.now()
    const answer = await client.upload(
      '/api/media/objects?name=stream.bin',
      noise(streamSize, hash),
      'application/octet-stream',
      options,
    )
    const body = expectStatus(answer, 201, 'upload')
    const seconds = (performance.now() - start) / 1000
    expectThat(body['size'] === streamSize, `stored ${String(body['size'])} bytes of ${streamSize}`)
    expectThat(body['sha256'] === hash.digest('hex'), 'the stored bytes are not those that were sent')
    return { detail: `${(256 / seconds).toFixed(0)} MB/s, SHA-256 agrees`, value: stringOf(body, 'id') }
  })

  await steps.check('get a transformed image', async () => {
    const answer = await client.getBytes(`/api/media/render/image/${photoId}?width=320&format=webp`, options)
    expectThat(
      answer.status === 200,
      `expected 200, got ${answer.status} ${answer.bytes.toString().slice(0, 200)}`,
    )
    const { format, width, height } = await sharp(answer.bytes).metadata()
    expectThat(format === 'webp' && width === 320 && height === 240, `got ${format} ${width}x${height}`)
    return `webp 320x240, ${(answer.bytes.length / 1024).toFixed(1)} KiB, made by a sibling process`
  })

  await steps.check('the thumbnail appears through the queue', async () => {
    const { value, afterMs } = await eventually('the thumbnail', async () => {
      const answer = await client.getBytes(`/api/media/objects/${photoId}/thumbnail`, options)
      return answer.status === 200 ? answer.bytes : undefined
    })
    const { format, width } = await sharp(value).metadata()
    expectThat(format === 'webp' && width === 160, `got ${format} of width ${width}`)
    return `webp of width 160, seen after ${milliseconds(afterMs)}`
  })

  await steps.check('the WebSocket client receives the media events', async () => {
    const uploaded = await listener.next('media.object-stored', (event) => event['objectId'] === photoId)
    const thumbnail = await listener.next('media.thumbnail-made', (event) => event['objectId'] === photoId)
    return `${uploaded.topic} and ${thumbnail.topic}`
  })
  return { photoId, streamId }
}

async function makePhoto(width: number, height: number): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height * 3)
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      pixels[at++] = (x * 255) / width
      pixels[at++] = (y * 255) / height
      pixels[at++] = 128 + 127 * Math.sin((x + y) / 40)
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 85 })
    .toBuffer()
}

/** So many bytes that do not compress, hashed on their way out. */
async function* noise(size: number, hash: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(256 * 1024)
  let state = 0x9e3779b9
  for (let at = 0; at < chunk.length; at += 4) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) | 0
    chunk.writeInt32LE(state, at)
  }
  for (let sent = 0; sent < size; sent += chunk.length) {
    chunk.writeUInt32LE(sent / chunk.length, 0)
    hash.update(chunk)
    yield Buffer.from(chunk)
  }
}

import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@quintet/test-kit'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRenderPool, type RenderPool } from '../../src/images/render-pool.ts'
import { sniffImage } from '../../src/images/sniff.ts'
import { Transform } from '../../src/images/transform.ts'

let directory: string
let pool: RenderPool

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quintet-render-'))
  pool = createRenderPool({ timeout: '60s' })
})

afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

const user = { tenantId: 'acme', userId: 'ann' }
const never = new AbortController().signal
const transform = (input: Partial<Record<keyof Transform, unknown>> = {}): Transform => Transform.parse(input)

async function fileOf(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, bytes)
  return path
}

/** Noise, which is slow to encode. */
async function costlyImage(): Promise<string> {
  const [width, height] = [3000, 3000]
  const pixels = randomBytes(width * height * 3)
  const bytes = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toBuffer()
  return fileOf('noise.png', bytes)
}

/** The processes that this one has started and that have not ended. */
async function childrenOf(pid: number): Promise<readonly string[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return list.split(' ').filter((each) => each !== '')
}

describe('a render pool', () => {
  it.each(['jpeg', 'png', 'webp', 'gif', 'avif'] as const)('reads %s', async (format) => {
    const original = await sharp({ create: { width: 300, height: 200, channels: 3, background: 'teal' } })
      .toFormat(format)
      .toBuffer()
    expect(sniffImage(original)).toBe(format)
    const path = await fileOf(`image.${format}`, original)
    const bytes = await pool.render(user, { path, transform: transform({ width: '30' }) }, never)
    expect(await sharp(bytes).metadata()).toMatchObject({ format: 'webp', width: 30, height: 20 })
  })

  it('makes no image larger than its bound', async () => {
    const path = await fileOf(
      'wide.png',
      await sharp({ create: { width: 6000, height: 3000, channels: 3, background: 'teal' } })
        .png()
        .toBuffer(),
    )
    const bytes = await pool.render(user, { path, transform: transform() }, never)
    expect(await sharp(bytes).metadata()).toMatchObject({ width: 2048, height: 1024 })
    expect(Transform.safeParse({ width: 2049 }).success).toBe(false)
  })

  it.each([
    ['a file that is cut off', Buffer.from('\x89PNG\r\n\x1A\n', 'latin1')],
    ['an SVG', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'],
    ['too many pixels', undefined],
  ])('refuses %s', async (name, bytes) => {
    const content =
      bytes ??
      (await sharp({ create: { width: 8000, height: 8000, channels: 3, background: 'teal' } })
        .png()
        .toBuffer())
    const path = await fileOf(name, content)
    await expect(pool.render(user, { path, transform: transform() }, never)).rejects.toMatchObject({
      code: 'ERR_MEDIA_BROKEN_IMAGE',
      kind: 'invalid-input',
    })
  })

  it('kills the process of an image that takes too long, and goes on', async () => {
    const path = await costlyImage()
    const before = await childrenOf(process.pid)
    await using hasty = createRenderPool({ timeout: 100 })
    const request = { path, transform: transform({ format: 'avif', quality: 100 }) }
    await expect(hasty.render(user, request, never)).rejects.toMatchObject({
      code: 'ERR_MEDIA_IMAGE_TOO_COSTLY',
    })
    await until(async () => (await childrenOf(process.pid)).length === before.length)
    const small = await fileOf('image.png', await sharp(path).resize(10).png().toBuffer())
    await expect(pool.render(user, { path: small, transform: transform() }, never)).resolves.toBeDefined()
  })

  it('kills the process when the caller has gone away', async () => {
    const path = await costlyImage()
    const before = await childrenOf(process.pid)
    await using own = createRenderPool({ timeout: '60s' })
    const caller = new AbortController()
    const request = { path, transform: transform({ format: 'avif', quality: 100 }) }
    await Promise.all([
      expect(own.render(user, request, caller.signal)).rejects.toMatchObject({ name: 'AbortError' }),
      until(async () => (await childrenOf(process.pid)).length > before.length).then(() => caller.abort()),
    ])
    await until(async () => (await childrenOf(process.pid)).length === before.length)
  })

  it('makes the image of a user next, however many another one of the tenant waits for', async () => {
    const path = await costlyImage()
    await using own = createRenderPool({ timeout: '60s' })
    const made: string[] = []
    const ask = async (userId: string, width: number): Promise<void> => {
      const request = { path, transform: transform({ width }) }
      await own.render({ tenantId: 'acme', userId }, request, never)
      made.push(userId)
    }
    const results = Promise.allSettled([
      ...Array.from({ length: 20 }, async (_, index) => ask('eve', 40 + index)),
      ask('ann', 20),
    ])
    const [refused, last] = [
      (await results).filter(({ status }) => status === 'rejected'),
      (await results).at(-1),
    ]
    expect(refused).toHaveLength(11)
    expect(refused[0]).toMatchObject({ reason: { code: 'ERR_CORE_RATE_LIMITED' } })
    expect(last).toMatchObject({ status: 'fulfilled' })
    expect(made.indexOf('ann')).toBe(1)
  })
})

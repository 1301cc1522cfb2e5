import { randomUUID } from 'node:crypto'
import { expectStatus, expectThat } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { StoredMedia } from './media.ts'
import type { Cast } from './sign-up.ts'

export async function keepTenantsApart(
  _: Stage,
  steps: StepRunner,
  cast: Cast,
  media: StoredMedia,
): Promise<void> {
  const { client, ada, grace } = cast
  const options = { token: grace.accessToken }

  await steps.check('the other tenant sees nothing in a list', async () => {
    const mine = expectStatus(
      await client.rpc('media', 'objects.list', {}, { token: ada.accessToken }),
      200,
      'own list',
    )
    const theirs = expectStatus(
      await client.rpc('media', 'objects.list', {}, options),
      200,
      "the other tenant's list",
    )
    const counts = [mine, theirs].map((body) => (body['items'] as unknown[]).length)
    expectThat(counts[0] === 2 && counts[1] === 0, `lists of ${counts[0]} and ${counts[1]} objects`)
    return 'Ada lists 2 objects, Grace 0'
  })

  await steps.check('the other tenant cannot get by id', async () => {
    expectStatus(await client.rpc('media', 'objects.get', { id: media.photoId }, options), 404, 'get')
    for (const path of [
      `objects/${media.photoId}/content`,
      `objects/${media.photoId}/thumbnail`,
      `render/image/${media.photoId}?width=10`,
    ]) {
      expectStatus(await client.get(`/api/media/${path}`, options), 404, path)
    }
    return '404 from the call, the content, the thumbnail and the rendered image'
  })

  await steps.check('the other tenant cannot guess', async () => {
    const known = expectStatus(
      await client.rpc('media', 'objects.get', { id: media.photoId }, options),
      404,
      'an id that exists',
    )
    const made = expectStatus(
      await client.rpc('media', 'objects.get', { id: randomUUID() }, options),
      404,
      'an id that does not',
    )
    expectThat(
      known['code'] === made['code'] && known['title'] === made['title'],
      'the two answers can be told apart',
    )
    const forged = await client.rpc(
      'media',
      'objects.list',
      { tenantId: ada.tenantId },
      { ...options, headers: { 'x-tenant-id': ada.tenantId } },
    )
    expectThat(forged.status === 400, `a tenant in the input: expected 400, got ${forged.status}`)
    return 'an id that exists and one that does not get the same answer; a forged tenant is refused'
  })

  await steps.check('a caller without a token is refused', async () => {
    expectStatus(await client.rpc('media', 'objects.list'), 401, 'call')
    expectStatus(await client.get(`/api/media/render/image/${media.photoId}`), 401, 'route')
    return '401 from calls and routes alike'
  })
}

import { byId, element, onSubmit } from './elements.ts'
import type { Session } from './session.ts'

interface StoredObject {
  readonly id: string
  readonly name: string
  readonly size: number
  readonly hasThumbnail: boolean
}

/** Uploads files, and shows those that are there. */
export function startFiles(session: Session): { show(): Promise<void> } {
  onSubmit('upload', async (fields, form) => {
    const file = fields.get('file') as File
    await session.request(`/api/media/objects?name=${encodeURIComponent(file.name)}`, {
      method: 'POST',
      body: file,
      headers: { 'content-type': file.type || 'application/octet-stream' },
    })
    form.reset()
  })
  const thumbnails = new Map<string, string>()
  const picture = async (id: string): Promise<string> => {
    const response = await session.request(`/api/media/objects/${id}/thumbnail`)
    return URL.createObjectURL(await response.blob())
  }
  return {
    async show() {
      const { items } = await session.call<{ items: readonly StoredObject[] }>('media', 'objects/list', {
        limit: 20,
      })
      const lines = items.map(async ({ id, name, size, hasThumbnail }) => {
        const line = element('li', `${name}, ${size} bytes`)
        if (!hasThumbnail) return line
        const url = thumbnails.get(id) ?? (await picture(id))
        thumbnails.set(id, url)
        line.append(Object.assign(element('img'), { src: url, alt: '' }))
        return line
      })
      byId('files').replaceChildren(...(await Promise.all(lines)))
    },
  }
}

import { once } from 'node:events'
import { createServer } from 'node:http'

const chunk = `${'x'.repeat(99)}\n`.repeat(1_000)

export function createOkServer() {
  return createServer(async (request, response) => {
    const megabytes = Number(new URL(request.url, 'http://localhost').searchParams.get('megabytes') ?? 0)
    for (let written = 0; written < megabytes * 10; written++)
      if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
    response.end('ok')
  })
}

import { request } from 'node:http'
import type { Problem } from '@quintet/core/http'

/** Asks for an upgrade; gives the status, and the problem document unless it is 101. */
export function handshake(
  url: string,
  headers: Record<string, string | string[]> = {},
): Promise<{ readonly status: number; readonly problem?: Problem; readonly retryAfter?: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url.replace(/^ws/, 'http'), {
      headers: {
        connection: 'upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'sec-websocket-protocol': 'quintet.rpc.v1',
        ...headers,
      },
    })
    asked.on('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => {
        const problem = text.startsWith('{') ? { problem: JSON.parse(text) as Problem } : {}
        const retryAfter = response.headers['retry-after']
        resolve({
          status: response.statusCode ?? 0,
          ...problem,
          ...(retryAfter === undefined ? {} : { retryAfter }),
        })
      })
    })
    asked.on('upgrade', (_response, socket) => {
      socket.destroy()
      resolve({ status: 101 })
    })
    asked.on('error', reject)
    asked.end()
  })
}

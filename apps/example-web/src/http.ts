import { withServices, type Route } from '@quintet/core'
import type { WebServices } from './bundle-page.ts'

const { defineProcess, route } = withServices<WebServices>()

/** The page runs its own script, talks to its own origin, and is framed by no one. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src blob: data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const asset = (pattern: string, name: string, description: string): Route =>
  route({
    method: 'GET',
    pattern,
    access: 'public',
    description,
    handler: (request, { services }) => {
      const found = services.assets.get(name)
      if (!found) return null
      const headers = {
        etag: found.etag,
        'cache-control': 'no-cache',
        'content-security-policy': contentSecurityPolicy,
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
      }
      return request.headers.get('if-none-match') === found.etag
        ? new Response(null, { status: 304, headers })
        : new Response(found.bytes, { headers: { ...headers, 'content-type': found.type } })
    },
  })

export default defineProcess({
  routes: [
    asset('/', 'index.html', 'The page.'),
    asset('/main.js', 'main.js', 'Its script.'),
    asset('/main.css', 'main.css', 'Its style.'),
  ],
})

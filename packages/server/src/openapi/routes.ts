import { route, type Route } from '@quintet/core'
import { type Operation, routeOperation, type TransportHost } from '@quintet/core/kit'
import type { OpenApiOptions } from './openapi-options.ts'
import { createDocument } from './document.ts'
import { docsPagePolicy, renderDocsPage } from './docs-page.ts'

/** The ways in that serving the document opens. */
export function openApiOperations(options: Required<OpenApiOptions>): readonly Operation[] {
  const paths = options.docs === false ? [options.path] : [options.path, options.docs]
  return paths.map((pattern) =>
    routeOperation(route({ method: 'GET', pattern, access: options.access, handler: () => null }), 0),
  )
}

/** The routes that serve the document and the page to read it; ways in like all others. */
export function openApiRoutes(host: TransportHost, options: Required<OpenApiOptions>): readonly Route[] {
  let text: string | undefined
  const document = route({
    method: 'GET',
    pattern: options.path,
    access: options.access,
    description: 'This document.',
    handler: () => {
      text ??= JSON.stringify(
        createDocument(host, {
          converters: options.converters,
          // Relative, so that it holds behind a prefix that a gateway strips.
          server: relativePath(options.path, '/').replace(/\/$/, ''),
        }),
      )
      return new Response(text, { headers: { 'content-type': 'application/json' } })
    },
  })
  if (options.docs === false) return [document]
  const page = route({
    method: 'GET',
    pattern: options.docs,
    access: options.access,
    description: 'The API, to read.',
    handler: () =>
      new Response(renderDocsPage(relativePath(options.docs === false ? '/' : options.docs, options.path)), {
        headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': docsPagePolicy },
      }),
  })
  return [document, page]
}

/** The document as seen from the page, so that both may lie behind a prefix that a gateway strips. */
function relativePath(from: string, to: string): string {
  const up = from.split('/').length - 2
  return `${up === 0 ? './' : '../'.repeat(up)}${to.slice(1)}`
}

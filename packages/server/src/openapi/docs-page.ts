import { createHash } from 'node:crypto'

const script = `
const make = (tag, text, className) => {
  const element = document.createElement(tag)
  if (text !== undefined) element.textContent = text
  if (className) element.className = className
  return element
}
const show = (parent, title, value) => {
  if (value === undefined) return
  parent.append(make('h4', title), make('pre', JSON.stringify(value, null, 2)))
}
const main = document.querySelector('main')
const load = async () => {
  const answer = await fetch(main.dataset.document)
  if (!answer.ok) throw new Error('The document cannot be read: ' + answer.status)
  const api = await answer.json()
  document.title = api.info.title
  document.querySelector('h1').textContent = api.info.title + ' ' + api.info.version
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const details = make('details')
      const summary = make('summary')
      summary.append(make('b', method.toUpperCase()), make('code', path), make('span', operation['x-access'], 'access'))
      details.append(summary)
      if (operation.summary) details.append(make('p', operation.summary))
      show(details, 'Input', operation.requestBody?.content['application/json']?.schema)
      show(details, 'Event', operation.responses['200']?.['x-event-schema'])
      show(details, 'Output', operation.responses['200']?.content['application/json']?.schema)
      main.append(details)
    }
  }
}
load().catch((error) => main.append(make('p', error.message)))
`

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color-scheme: light dark }
details { border-top: 1px solid #8884; padding: .5rem 0 }
summary { cursor: pointer; display: flex; gap: .75rem } b { width: 4.5rem } .access { margin-left: auto; opacity: .7 }
pre { background: #8881; border-radius: 4px; overflow: auto; padding: .75rem } h4 { margin: .75rem 0 .25rem }
`

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Lets the page run its own script, read its own server, and nothing else. */
export const docsPagePolicy: string =
  `default-src 'none'; connect-src 'self'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** A page that shows an OpenAPI document. It is one file and loads nothing but the document. */
export function renderDocsPage(documentPath: string): string {
  const path = documentPath.replace(/[&<>"]/g, (char) => `&#${String(char.charCodeAt(0))};`)
  return (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">' +
    `<title>API</title><style>${style}</style><h1>API</h1><main data-document="${path}"></main><script>${script}</script></html>`
  )
}

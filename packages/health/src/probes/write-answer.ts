import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AnswerProbe } from './probe-answers.ts'

/** Answers a Node request if it asks for a probe; false when it does not. */
export function writeProbe(
  answerProbe: AnswerProbe,
  request: IncomingMessage,
  response: ServerResponse,
  isOperator = false,
): boolean {
  const method = request.method ?? 'GET'
  const [path = ''] = (request.url ?? '').split('?', 1)
  const caller = { headers: request.headers, isOperator }
  const pending = answerProbe(method, path, caller)
  if (pending === undefined) return false
  void pending.then((answer) => {
    if (response.destroyed || response.headersSent) return
    response.writeHead(answer.status, { ...answer.headers, 'content-length': Buffer.byteLength(answer.body) })
    response.end(method === 'HEAD' ? undefined : answer.body)
  })
  return true
}

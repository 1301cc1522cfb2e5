import { createServer } from 'node:http'

// A server that knows nothing of Quintet: it listens where PORT says, and ends on SIGTERM when its clients have their answers.
const server = createServer((request, response) => {
  response.end(request.url === '/ok' ? 'ok' : `${process.env['GREETING']}, ${request.url}`)
})
server.listen(Number(process.env['PORT']), '127.0.0.1')
process.on('SIGTERM', () => server.close())

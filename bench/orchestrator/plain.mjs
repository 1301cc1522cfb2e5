import { createOkServer } from './ok-server.mjs'

const server = createOkServer()
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(server.address().port)
  process.send?.('ready')
})
// What the guide of PM2 says about a graceful reload.
process.on('SIGINT', () => server.close(() => process.exit()))

import { fileURLToPath } from 'node:url'
import { startEcosystem } from '@quintet/orchestrator'

const config = fileURLToPath(new URL('./quintet.config.ts', import.meta.url))
await using hello = await startEcosystem(config, {
  gatewayPort: 0,
  dataDirectory: process.argv[2] ?? './.quintet',
})

const answer = await fetch(`${hello.gatewayUrl}/api/greeter/rpc/greeter/say`, { method: 'POST' })
console.log(await answer.json())

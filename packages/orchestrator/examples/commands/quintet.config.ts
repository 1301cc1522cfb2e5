import { defineEcosystem } from '@quintet/core/ecosystem'

export default defineEcosystem({
  project: 'commands',
  apps: [
    {
      name: 'shop',
      command: ['node', 'shop.js'],
      ports: { http: 0 },
      health: { http: '/ok' },
      env: { GREETING: 'hello' },
    },
    { name: 'mailer', command: ['sh', '-c', 'echo sends mail; exec sleep 1000000'], dependsOn: ['shop'] },
  ],
  infrastructure: { services: { gateway: { preset: 'quintet', ports: { http: 0 } } } },
})

import { defineEcosystem } from '@quintet/core/ecosystem'

export default defineEcosystem({
  project: 'hello',
  apps: [
    { name: 'words', bootstrap: './words.ts', critical: true },
    { name: 'greeter', bootstrap: './greeter.ts', dependsOn: ['words'] },
  ],
  infrastructure: { services: { gateway: { preset: 'quintet', ports: { http: 8080 } } } },
})

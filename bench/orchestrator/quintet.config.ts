import { defineEcosystem } from '@quintet/core/ecosystem'

export default defineEcosystem({
  project: 'bench',
  apps: ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, bootstrap: `./${name}.ts` })),
})

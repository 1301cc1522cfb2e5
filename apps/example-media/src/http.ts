import { withServices } from '@quintet/core'
import { objectRoutes } from './object-routes.ts'
import { objects } from './object-service.ts'
import type { MediaServices } from './services.ts'

export default withServices<MediaServices>().defineProcess({
  services: [objects],
  routes: objectRoutes,
  workers: ({ events }) => [events.relay],
})

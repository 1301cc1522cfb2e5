import { images } from '../image-service.ts'
import { withServices } from '@quintet/core'
import type { MediaServices } from '../services.ts'

export default withServices<MediaServices>().defineProcess({ services: [images] })

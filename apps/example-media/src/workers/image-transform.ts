import { withServices } from '@quintet/core'
import { images } from '../images/image-service.ts'
import type { MediaServices } from '../services.ts'

export default withServices<MediaServices>().defineProcess({ services: [images] })

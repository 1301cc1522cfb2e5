import { trivialApp } from './trivial-app.ts'

export default trivialApp('d')

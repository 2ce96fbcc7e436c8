export * from './index.js'
import * as posthouse from './index.js'
export default posthouse

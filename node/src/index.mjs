// The same objects as `require` gives: one native part, no second copy.
import posthouse from './index.js'

export const { connect, PosthouseError, Reject, Retry, Server, version } = posthouse
export default posthouse

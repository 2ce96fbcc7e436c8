// The same object as `require` gives.
import otel from './otel.js'

export const { instrument } = otel

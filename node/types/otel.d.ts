import type * as api from '@opentelemetry/api'

/**
 * Makes spans of OpenTelemetry: `send`, whose context travels in the message's property `traceparent` (W3C); `process`,
 * around every handler, the child of that of its message; `receive`, of what was polled or received. Returns what ends
 * that.
 */
export function instrument(opentelemetry: typeof api): () => void

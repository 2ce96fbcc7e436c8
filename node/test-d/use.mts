// The same names by `import`, also as a whole.
import posthouse, { Server, connect } from 'posthouse'
import type { Client } from 'posthouse'
import * as opentelemetry from '@opentelemetry/api'
import { instrument } from 'posthouse/otel'

const server = await Server.embedded()
const client: Client = await server.connect({ namespace: 'eu' })
const stop: () => void = instrument(opentelemetry)
await client.close()
stop()
const same: typeof connect = posthouse.connect
console.log(same === connect)

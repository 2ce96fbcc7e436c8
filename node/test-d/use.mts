// The same names by `import`, also as a whole.
import posthouse, { Server, connect } from 'posthouse'
import type { Client } from 'posthouse'

const server = await Server.embedded()
const client: Client = await server.connect()
await client.close()
const same: typeof connect = posthouse.connect
console.log(same === connect)

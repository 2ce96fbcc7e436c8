'use strict'
// The package's names. Loading them starts nothing: no thread, no file, no timer.

require('./dispose.js')
const { connect } = require('./client.js')
const { PosthouseError } = require('./errors.js')
const native = require('./native.js')
const { Server } = require('./server.js')
const { Reject, Retry } = require('./verdicts.js')

exports.connect = connect
exports.PosthouseError = PosthouseError
exports.Reject = Reject
exports.Retry = Retry
exports.Server = Server
exports.version = native.version()

// Builds the package from a checkout: the native part with cargo, next to this file, and `dist` from `src`.
// It needs Rust and nothing from npm. A packed tarball has `dist` and never runs this. POSTHOUSE_NATIVE is a native part
// that is built already.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)
const { platformName } = createRequire(import.meta.url)('./src/platform.js')

rmSync(join(here, 'dist'), { recursive: true, force: true })
cpSync(join(here, 'src'), join(here, 'dist'), { recursive: true })

const built = process.env.POSTHOUSE_NATIVE ?? build()
const binary = join(here, `posthouse.${platformName()}.node`)
// A process that has the old one loaded keeps it: the new one is another file under the same name.
cpSync(built, `${binary}.new`)
renameSync(`${binary}.new`, binary)

function build() {
  if (!existsSync(join(root, 'bindings/posthouse-node/Cargo.toml'))) {
    throw new Error('build.mjs builds from a whole checkout of the repository: bindings/posthouse-node is missing')
  }
  const words = ['build', '--release', '--package', 'posthouse-node']
  const cargo = spawnSync(process.env.CARGO ?? 'cargo', words, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  if (cargo.error) throw new Error(`posthouse is built with Rust, and cargo cannot be run: ${cargo.error.message}`)
  if (cargo.status !== 0) process.exit(cargo.status ?? 1)
  const names = { darwin: 'libposthouse_node.dylib', win32: 'posthouse_node.dll' }
  return resolve(root, process.env.CARGO_TARGET_DIR ?? 'target', 'release', names[process.platform] ?? 'libposthouse_node.so')
}

// Builds the package from a checkout: the native part with cargo, next to this file, and `dist` from `src`.
// It needs Rust and nothing from npm. A packed tarball has `dist` and never runs this.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)
const { platformName } = createRequire(import.meta.url)('./src/platform.js')

rmSync(join(here, 'dist'), { recursive: true, force: true })
cpSync(join(here, 'src'), join(here, 'dist'), { recursive: true })

if (!existsSync(join(root, 'bindings/posthouse-node/Cargo.toml'))) {
  throw new Error('build.mjs builds from a whole checkout of the repository: bindings/posthouse-node is missing')
}
const built = spawnSync(
  process.env.CARGO ?? 'cargo',
  // Only the last step strips: what it links is shared with every other release build.
  ['rustc', '--release', '--lib', '--package', 'posthouse-node', '--', '-C', 'strip=symbols'],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }
)
if (built.error) throw new Error(`posthouse is built with Rust, and cargo cannot be run: ${built.error.message}`)
if (built.status !== 0) process.exit(built.status ?? 1)

const library = { darwin: 'libposthouse_node.dylib', win32: 'posthouse_node.dll' }[process.platform] ?? 'libposthouse_node.so'
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target')
const binary = join(here, `posthouse.${platformName()}.node`)
// A process that has the old one loaded keeps it: the new one is another file under the same name.
cpSync(join(target, 'release', library), `${binary}.new`)
renameSync(`${binary}.new`, binary)

// `node pack.mjs FOLDER`: the tarballs of the package and of this platform's native part, made from what build.mjs
// built. They are installed together: npm install posthouse-*.tgz
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const { platformName } = createRequire(import.meta.url)('./src/platform.js')

function pack(folder, out) {
  const packed = spawnSync('npm', ['pack', folder, '--ignore-scripts', '--silent', '--pack-destination', out], { encoding: 'utf8' })
  if (packed.status !== 0) throw new Error(`npm pack ${folder}: ${packed.stderr ?? packed.error}`)
  return join(out, packed.stdout.trim().split('\n').at(-1))
}

const out = resolve(process.argv[2] ?? '.')
const name = platformName()
const binary = `posthouse.${name}.node`
if (!existsSync(join(here, binary))) throw new Error(`${binary} is not built: run node build.mjs`)
mkdirSync(out, { recursive: true })
const platform = mkdtempSync(join(tmpdir(), 'posthouse-pack-'))
try {
  cpSync(join(here, 'npm', name), platform, { recursive: true })
  cpSync(join(here, binary), join(platform, binary))
  console.log(pack(here, out))
  console.log(pack(platform, out))
} finally {
  rmSync(platform, { recursive: true })
}

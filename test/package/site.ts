/** Releases as a web server has them, signed by a key of the test. */
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import type { Lab } from '../lab/index.ts'
import { OLD_VERSION, VERSION } from './debs.ts'

const PORT = 8099
const SERVER = resolve('test/package/serve.mjs')
/** Where a lab's node finds what it serves itself. */
export const BASE = `http://127.0.0.1:${PORT}`
const MAINTAINER = 'test@pvenat.invalid'
/** Its signature is not to be believed. */
export const STRANGER = 'stranger@pvenat.invalid'

export class Releases {
  private constructor(
    readonly folder: string,
    /** Of gpg. */
    readonly env: { GNUPGHOME: string },
  ) {}

  static async create(): Promise<Releases> {
    const folder = await mkdtemp(join(tmpdir(), 'pvenat-release-'))
    const env = { GNUPGHOME: join(folder, 'gnupg') }
    await execa('mkdir', ['-m', '700', env.GNUPGHOME])
    for (const name of [MAINTAINER, STRANGER]) {
      const words = ['--batch', '--passphrase', '', '--faked-system-time', '20260101T000000!']
      await execa('gpg', [...words, '--quick-generate-key', name, 'ed25519', 'sign', 'never'], { env })
    }
    return new Releases(folder, env)
  }

  /** This version; gives the folder to serve. */
  make(name: string): Promise<string> {
    return this.release(name, { [`## ${VERSION} (unreleased)`]: `## ${VERSION} (2026-02-01)` })
  }

  /** The same sources as an older version; the package of Node.js may be of another release, as its bytes are the same. */
  makeOld(name: string, nodejsOf?: string): Promise<string> {
    const heading = `## ${OLD_VERSION} (unreleased)`
    const changes = { [VERSION]: OLD_VERSION, [heading]: `## ${OLD_VERSION} (2026-01-15)` }
    return this.release(name, changes, nodejsOf)
  }

  async remove(): Promise<void> {
    await execa('gpgconf', ['--kill', 'all'], { env: this.env, reject: false })
    await rm(this.folder, { recursive: true, force: true })
  }

  /** Runs `npm run release` in a clone with these changes of text. */
  private async release(
    name: string,
    changes: Readonly<Record<string, string>>,
    nodejsOf?: string,
  ): Promise<string> {
    const folder = join(this.folder, name)
    await execa('git', ['clone', '--quiet', '.', folder])
    if (nodejsOf !== undefined)
      await execa('sh', ['-c', `mkdir '${folder}/dist'; cp '${nodejsOf}'/pvenat-nodejs_* '${folder}/dist'`])
    for (const file of ['package.json', 'package-lock.json', 'CHANGELOG.md']) {
      let text = await readFile(join(folder, file), 'utf8')
      for (const [from, to] of Object.entries(changes)) text = text.replace(from, to)
      await writeFile(join(folder, file), text)
    }
    const git = ['-c', 'user.name=test', '-c', `user.email=${MAINTAINER}`, 'commit', '--quiet', '-am']
    await execa('git', [...git, 'Release'], { cwd: folder })
    await symlink(resolve('node_modules'), join(folder, 'node_modules'))
    const words = ['--key', MAINTAINER, '--base', BASE]
    await execa('npm', ['run', 'release', '--', ...words], { cwd: folder, env: this.env })
    return join(folder, 'dist/release')
  }
}

/** Serves a folder to a lab's node while `work` goes on. */
export async function serving<T>(lab: Lab, folder: string, work: () => Promise<T>): Promise<T> {
  const server = lab.spawn('pve', [process.execPath, SERVER, folder, String(PORT)])
  await server.says(/listening/)
  try {
    return await work()
  } finally {
    await server.stop()
  }
}

/** Builds of the package: this one, and the same sources under an older version. */
import { cp, mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'

export const VERSION = (JSON.parse(await readFile('package.json', 'utf8')) as { version: string }).version
/** What `npm run deb` makes. */
export const DEB = `dist/pvenat_${VERSION}_all.deb`

export const OLD_VERSION = '0.0.1'

/** Makes a package of these sources as if they were of an older version; gives the folder that it is in. */
export async function buildOldDeb(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pvenat-old-'))
  const { stdout } = await execa('git', ['ls-files', '-co', '--exclude-standard', '--deduplicate'])
  for (const file of stdout.split('\n')) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await cp(file, join(folder, file), { verbatimSymlinks: true }).catch(() => undefined)
  }
  for (const file of ['package.json', 'CHANGELOG.md']) {
    const text = await readFile(file, 'utf8')
    await writeFile(join(folder, file), text.replace(VERSION, OLD_VERSION))
  }
  return makeDeb(folder, { SOURCE_DATE_EPOCH: '1700000000' })
}

/** Runs `npm run deb` in a folder with the sources; gives the folder that the package is in. */
export async function makeDeb(folder: string, env: Record<string, string> = {}): Promise<string> {
  await symlink(resolve('node_modules'), join(folder, 'node_modules'))
  await execa('npm', ['run', 'deb'], { cwd: folder, env })
  return join(folder, 'dist')
}

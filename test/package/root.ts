/** Roots of Debian releases, made by debootstrap once and kept for later runs; each machine of a test writes over its own copy. */
import { createHash } from 'node:crypto'
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { searchPath } from '../lab/machine.ts'

export type Suite = 'bookworm' | 'trixie'

/** The releases that Proxmox VE 8 and 9 are made of. */
export const suites: readonly Suite[] = ['bookworm', 'trixie']

const MIRROR = 'http://deb.debian.org/debian'
const COMMON = [
  'systemd-sysv',
  'init-system-helpers',
  'procps',
  'kmod',
  'nftables',
  'inotify-tools',
  'logrotate',
]
/** What has no place in a container, or would run in the middle of a test. */
const MASKED = [
  'systemd-logind.service',
  'console-getty.service',
  'getty.target',
  'timers.target',
  'systemd-journal-flush.service',
  'systemd-timesyncd.service',
]

/** Where a root has the packages that it was made of, as a repository for tests without a network. */
export const ARCHIVES = '/var/cache/apt/archives'
const INDEX = 'dpkg-scanpackages --multiversion . >Packages'

/** A folder with a minimal system of that release, and what the package depends on, and `more`. Nobody writes there. */
export async function debianRoot(suite: Suite, more: readonly string[] = []): Promise<string> {
  const control = await readFile('debian/control', 'utf8')
  const depends = /^Depends:\n((?: .*\n)+)/m.exec(control)?.[1]?.match(/^ [a-z][\w-]+/gm) ?? []
  const packages = [...depends.map((name) => name.trim()), ...COMMON, ...more]
  const key = createHash('sha256').update([packages, MASKED, INDEX].join()).digest('hex').slice(0, 8)
  const folder = join(tmpdir(), 'pvenat-roots')
  const root = join(folder, `${suite}-${key}`)
  if (await exists(root)) return root
  await mkdir(folder, { recursive: true })
  const making = `${root}.${process.pid}`
  const include = `--include=${packages.join(',')}`
  await execa('debootstrap', ['--variant=minbase', include, suite, making, MIRROR], {
    env: { PATH: searchPath },
    all: true,
  })
  await execa('systemctl', ['--root', making, 'mask', ...MASKED])
  await execa('systemctl', ['--root', making, 'set-default', 'multi-user.target'])
  await writeFile(join(making, 'etc/hostname'), 'pve1\n')
  await execa('sh', ['-c', INDEX], { cwd: join(making, ARCHIVES) })
  await rename(making, root)
  return root
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

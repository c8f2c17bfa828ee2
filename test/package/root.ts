/** Roots of Debian releases, made by debootstrap once and kept for later runs; each machine of a test writes over its own copy. */
import { createHash } from 'node:crypto'
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
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

/** A folder with a minimal system of that release, and what the package depends on. Nobody writes there. */
export async function debianRoot(suite: Suite): Promise<string> {
  const control = await readFile('debian/control', 'utf8')
  const depends = /^Depends:\n((?: .*\n)+)/m.exec(control)?.[1]?.match(/^ [a-z][\w-]+/gm) ?? []
  const packages = [...depends.map((name) => name.trim()), ...COMMON]
  const key = createHash('sha256')
    .update(packages.join() + MASKED.join())
    .digest('hex')
    .slice(0, 8)
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
  await rm(join(making, 'var/cache/apt/archives'), { recursive: true, force: true })
  await rename(making, root)
  return root
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

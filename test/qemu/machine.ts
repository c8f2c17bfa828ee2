/** A Debian release with its own kernel, in QEMU: what it is booted from, and a job that it does. */
import { createHash } from 'node:crypto'
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { dieWithParent } from '../lab/child.ts'
import { searchPath } from '../lab/machine.ts'
import { debianRoot, type Suite } from '../package/root.ts'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const env = { PATH: searchPath }

export interface Job {
  /** Shell script, run in the folder of the files. */
  script: string
  /** Files and folders of this one that it needs. */
  files: readonly string[]
  /** Files that are put beside them: path to text. */
  texts?: Readonly<Record<string, string>>
  memoryMb: number
  timeoutMs: number
}

/** What the job wrote to descriptor 3, and what it printed. */
export interface Done {
  told: string
  printed: string
}

/** Boots that release and has it do the job. */
export async function runIn(
  suite: Suite,
  { script, files, texts = {}, memoryMb, timeoutMs }: Job,
): Promise<Done> {
  const image = await bootImage(suite)
  const scratch = await mkdtemp(join(tmpdir(), 'pvenat-qemu-'))
  try {
    for (const [path, text] of Object.entries({ ...texts, job: script })) {
      await execa('mkdir', ['-p', dirname(join(scratch, 'tree/pvenat', path))])
      await writeFile(join(scratch, 'tree/pvenat', path), text)
    }
    await execa('cp', ['-r', '--parents', ...files, join(scratch, 'tree/pvenat')])
    await execa('install', ['-m', '755', here('init.sh'), join(scratch, 'tree/init')])
    const pack = 'cd "$1/tree" && { cat "$2"; find . -print0 | cpio --quiet --null -o -H newc; } >"$1/initrd"'
    await execa('sh', ['-c', pack, 'sh', scratch, join(image, 'root.cpio')], { env })
    const [told, words] = [join(scratch, 'told'), machine(memoryMb)]
    const boot = ['-kernel', join(image, 'vmlinuz'), '-initrd', join(scratch, 'initrd')]
    const serial = ['-serial', 'stdio', '-serial', `file:${told}`]
    const args = ['qemu-system-x86_64', ...words, ...boot, ...serial]
    const { all, timedOut } = await execa('setpriv', [...dieWithParent.slice(1), ...args], {
      env,
      all: true,
      reject: false,
      stdin: 'ignore',
      timeout: timeoutMs,
    })
    if (timedOut) throw new Error(`${suite} did not end:\n${all}`)
    return { told: await readFile(told, 'utf8'), printed: all }
  } finally {
    await rm(scratch, { recursive: true })
  }
}

/** Without KVM, which machines of CI do not have. The kernel's messages stay away, its guards against spies are of no use. */
function machine(memoryMb: number): string[] {
  const kernel = 'console=ttyS0 quiet panic=-1 mitigations=off'
  const bare = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot']
  const cpu = ['-M', 'q35', '-accel', 'tcg,thread=multi,tb-size=1024', '-cpu', 'Nehalem', '-smp', '2']
  return [...bare, ...cpu, '-m', String(memoryMb), '-append', kernel]
}

/** A folder with vmlinuz and root.cpio; made once, and kept for later runs. */
async function bootImage(suite: Suite): Promise<string> {
  const root = await debianRoot(suite)
  const recipe = createHash('sha256')
    .update(await readFile(here('image.sh')))
    .digest('hex')
  const folder = join(dirname(root), `boot-${basename(root)}-${recipe.slice(0, 8)}`)
  const isThere = await access(folder).then(
    () => true,
    () => false,
  )
  if (!isThere) await execa('sh', [here('image.sh'), root, folder], { env })
  return folder
}

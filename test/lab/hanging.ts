/** /etc/pve as a file system of its own on a lab node, which answers, or does not, as a test orders. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Lab } from './lab.ts'
import type { Running } from './running.ts'

const program = fileURLToPath(new URL('hanging-fs.mjs', import.meta.url))

interface Orders {
  /** Requests of matching paths are not answered. */
  hang?: string
  /** Requests are answered after that time, each by itself. */
  slowMs?: number
  /** Only these requests, as hanging-fs.mjs names them; else all. */
  ops?: readonly string[]
  /** Without write bits, as pmxcfs without quorum. */
  readOnly?: boolean
}

/** `dir` shows `folder`. It is made on the machine and mounted in the node alone. */
export class HangingFolder {
  private constructor(
    readonly dir: string,
    private readonly lab: Lab,
    private readonly node: string,
    private readonly control: string,
    private readonly process: Running,
  ) {}

  static async mount(lab: Lab, node: string, folder: string): Promise<HangingFolder> {
    const [dir, control] = [`${folder}-mount`, `${folder}-control`]
    await mkdir(dir, { recursive: true })
    await writeFile(control, '{}')
    const process = lab.spawn(node, ['node', program, folder, dir, control])
    await process.says(/mounted/)
    return new HangingFolder(dir, lab, node, control, process)
  }

  /** Saves as the GUI of this node does, so that the kernel tells of it. */
  async save(path: string, text: string): Promise<void> {
    const file = join(this.dir, path)
    const script = 'cat > "$1.tmp.1"; mv "$1.tmp.1" "$1"'
    await this.lab.exec(this.node, ['sh', '-ec', script, '-', file], { input: text })
  }

  /** `{}` answers everything, also what waits. */
  async order(orders: Orders): Promise<void> {
    await writeFile(this.control, JSON.stringify(orders))
  }

  async unmount(): Promise<void> {
    await this.order({})
    await this.process.stop()
    for (const path of [this.dir, this.control]) await rm(path, { recursive: true, force: true })
  }
}

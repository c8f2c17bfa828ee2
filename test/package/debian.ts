/** A Debian machine in the lab: files and processes of its own, systemd as its first process, the network of a lab's node. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { waitFor, type Lab, type Result, type Running } from '../lab/index.ts'

const bootScript = fileURLToPath(new URL('boot.sh', import.meta.url))
const ROOT = '/run/debian'

export class Debian {
  private init: { running: Running; pid: number } | undefined

  private constructor(
    private readonly lab: Lab,
    private readonly node: string,
    private readonly cgroup: string,
  ) {}

  /**
   * Lays a copy of `root` into the node, switched off as yet. Folders of `shown` (place inside → folder here) can be seen
   * in it.
   */
  static async create(
    lab: Lab,
    root: string,
    shown: Readonly<Record<string, string>>,
    node = 'pve',
  ): Promise<Debian> {
    const debian = new Debian(lab, node, `pvenat-test-${process.pid}-${node}`)
    const parts = { upper: '/run/.debian/upper', work: '/run/.debian/work' }
    const layers = `lowerdir=${root},upperdir=${parts.upper},workdir=${parts.work}`
    await lab.exec(node, ['mkdir', '-p', parts.upper, parts.work, ROOT])
    await lab.exec(node, ['mount', '-t', 'overlay', '-o', layers, 'overlay', ROOT])
    for (const [inside, folder] of Object.entries(shown)) {
      await lab.exec(node, ['mkdir', '-p', ROOT + inside])
      await lab.exec(node, ['mount', '--bind', folder, ROOT + inside])
    }
    return debian
  }

  /** Runs systemd until all that services need is there: before, /tmp may still be mounted over. */
  async boot(): Promise<void> {
    const running = this.lab.spawn(this.node, ['sh', bootScript, ROOT, this.cgroup])
    const pid = await waitFor(() => this.initOf(running.pid), { what: 'the first process' })
    this.init = { running, pid }
    const state = async () => (await this.run('systemctl', 'is-system-running')).stdout
    await waitFor(async () => !['', 'offline', 'initializing'].includes(await state()), {
      timeoutMs: 20_000,
      what: `systemd to run:\n${running.stdout}${running.stderr}`,
    })
  }

  /** Switches it off as a power failure does; its files stay. */
  async kill(): Promise<void> {
    await this.init?.running.stop('SIGKILL')
    this.init = undefined
  }

  /** Ends it for good. */
  async remove(): Promise<void> {
    await this.kill()
    const sweep = `[ ! -e /run/cgroup/${this.cgroup} ] || find /run/cgroup/${this.cgroup} -depth -type d -exec rmdir {} +`
    const isSwept = async () =>
      (await this.lab.exec(this.node, ['sh', '-c', sweep], { check: false })).exitCode === 0
    await waitFor(isSwept, { what: 'the end of its last process' })
  }

  /** Runs a command to its end, inside while it is on, else in its root alone; a non-zero exit is no error here. */
  run(...argv: string[]): Promise<Result> {
    const options = { check: false, cwd: '/', env: { DEBIAN_FRONTEND: 'noninteractive' } }
    return this.lab.exec(this.node, [...this.entering(), ...argv], options)
  }

  /** As `run`, but a failure is one of the test; gives what the command said. */
  async must(...argv: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(...argv)
    if (exitCode !== 0) throw new Error(`${argv.join(' ')}: exit ${exitCode}\n${stdout}\n${stderr}`)
    return `${stdout}\n${stderr}`
  }

  /** Runs lines of shell. */
  sh(script: string): Promise<string> {
    return this.must('sh', '-euc', script)
  }

  /** One property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.run('systemctl', 'show', '--value', '-p', name, unit)).stdout.trim()
  }

  private entering(): string[] {
    if (!this.init) return ['chroot', ROOT]
    const spaces = ['--mount', '--pid', '--ipc', '--cgroup', '--root', '--wd']
    return ['nsenter', '--target', String(this.init.pid), ...spaces, '--']
  }

  /** The shell starts `unshare`, whose only child is the first process inside; 0 while it is not there. */
  private async initOf(pid: number): Promise<number> {
    const [child] = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ')
    if (!child) return 0
    const name = await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')
    return /^(systemd|init)\n$/.test(name) ? Number(child) : 0
  }
}

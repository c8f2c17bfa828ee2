/**
 * `run`: the service. Events and the clock raise flags; each turn of the loop compares the desired with the installed ruleset and writes the
 * diff. It never touches /etc/pve; a reader process does (node/reader.ts).
 */
import type { Io } from '../io.ts'
import { makeLink } from '../node/link.ts'
import type { Paths } from '../node/look.ts'
import { monitorNetwork } from '../node/monitor.ts'
import { recall } from '../node/recall.ts'
import { writePid } from '../node/unit.ts'
import { makeFlags } from './flags.ts'
import { makeJournal } from './journal.ts'
import { makeNotify } from './notify.ts'
import { readFolder } from '../node/published.ts'
import { Reconciler } from './reconcile.ts'
import { watchFiles } from './watch.ts'

export async function runCommand({ io, paths }: { io: Io; paths: Paths }): Promise<number> {
  const journal = makeJournal(io.stdout, process.env.JOURNAL_STREAM !== undefined)
  const flags = makeFlags()
  let isStopping = false
  let reload = (): void => undefined
  const look = (): void => flags.raise('look')
  const stop = (): void => {
    isStopping = true
    look()
  }
  process
    .on('SIGTERM', stop)
    .on('SIGINT', stop)
    .on('SIGHUP', () => reload())
  // After the handlers, because a program that reads the pid may send signals.
  await writePid(paths.runDir).catch(({ message }: Error) =>
    journal.warning(`cannot write into ${paths.runDir}: ${message}`),
  )
  const link = makeLink(paths, look)
  const notify = makeNotify(process.env)
  const [{ rows }, { remembered }] = await Promise.all([readFolder(paths.runDir), recall(paths.runDir)])
  const reconciler = new Reconciler(paths, journal, flags, link, rows, remembered)
  await reconciler.begin()
  const watch = watchFiles(paths.config, look)
  const monitor = monitorNetwork(() => reconciler.networkChanged())
  reload = () => reconciler.reload()
  while (!isStopping) {
    await reconciler.turn()
    notify.turned(reconciler.summary())
    await flags.wait(() => (isStopping ? 0 : reconciler.due()))
  }
  notify.close()
  link.close()
  monitor.close()
  await watch.close()
  await reconciler.close()
  journal.info('stopped; the installed rules stay')
  return 0
}

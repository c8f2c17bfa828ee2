/** Programs that tell when something changed in the kernel. */
import { otherBackend, type Backend } from '../facts/backend.ts'
import { hold, type Held } from './exec.ts'

const RESTART_MS = 5000
/** A monitor that worked this long is restarted at once: it ended because events flooded it. */
const LASTED_MS = 2000
const SOON_MS = 100

interface Monitor {
  close: () => void
  /** Whether it would tell just now. */
  isAlive: () => boolean
}

/** Links (their MTU and carrier, too), addresses, routes and their rules that appear, change or go. */
export function monitorNetwork(hint: () => void): Monitor {
  return monitorProgram('ip', ['monitor', 'link', 'address', 'route', 'rule'], hint)
}

export interface KernelMonitor extends Monitor {
  backend: Backend
}

/** Rules of the other backend matter for the ports that they publish. They are written in groups, and to read them takes 40 ms. */
const OTHERS_SETTLE_MS = 700

/**
 * `hint` hears of writes into the backend, `hintOthers` of those into the other one. `isAlive` is about the first.
 */
export function monitorKernel(backend: Backend, hint: () => void, hintOthers: () => void): KernelMonitor {
  let timer: NodeJS.Timeout | undefined
  const hintLater = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      hintOthers()
    }, OTHERS_SETTLE_MS).unref()
  }
  const own = monitorRules(backend, hint)
  const others = monitorRules(otherBackend(backend), hintLater)
  return {
    backend,
    isAlive: own.isAlive,
    close() {
      clearTimeout(timer)
      own.close()
      others.close()
    },
  }
}

/**
 * Watches writes to the rules of a backend. Legacy has no events, but each writer opens and closes one lock file (inotifywait of
 * inotify-tools). nft reports each change (xtables-monitor of iptables, a tenth of the memory of `nft monitor`). Without the program there are
 * no hints. It also hints when it begins to watch, because it saw no earlier change.
 */
function monitorRules(backend: Backend, hint: () => void): Monitor {
  if (backend === 'legacy')
    return monitorProgram('inotifywait', ['-m', '-q', '-e', 'close', '/run/xtables.lock'], hint, hint)
  const onOutput = (text: string): void => {
    if (OURS.test(text)) hint()
  }
  return monitorProgram('stdbuf', ['-oL', 'xtables-monitor', '--event'], onOutput, hint)
}

/** Own chains, kernel chains that ours hang in, tables, and rules of others that may translate. Other chains of other programs do not matter. */
const OURS =
  /PVENAT-|-t (raw|mangle|filter|nat) -\S+ (PREROUTING|FORWARD|OUTPUT|POSTROUTING)\b|nft: ip6? (raw|mangle|filter|nat) | type nat hook |-t (?!raw |mangle |filter |security )\S+ -[ADIR] |DEL table|cannot receive/

/** Should the program end, it is started again after a while. */
function monitorProgram(
  file: string,
  args: readonly string[],
  onOutput: (text: string) => void,
  onStart: () => void = () => undefined,
): Monitor {
  let closed = false
  let held: Held | undefined
  let timer: NodeJS.Timeout | undefined
  const start = async (): Promise<void> => {
    const since = performance.now()
    held = await hold(file, args, onOutput)
    if (closed) return held?.stop()
    if (held) onStart()
    await held?.ended
    held = undefined
    const restartMs = performance.now() - since > LASTED_MS ? SOON_MS : RESTART_MS
    if (!closed) timer = setTimeout(() => void start(), restartMs)
  }
  void start()
  return {
    close() {
      closed = true
      clearTimeout(timer)
      held?.stop()
    },
    isAlive: () => held !== undefined,
  }
}

//! The program that this process waits for, and the signal that asks both to end.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The process that is waited for; 0 for none.
static AWAITED: AtomicI32 = AtomicI32::new(0);
/// Whether this process is about to end, and does nothing more by itself.
static ENDING: AtomicBool = AtomicBool::new(false);
/// What to do before it ends.
static AT_END: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();
/// How often it looks whether the child has ended.
const POLL: Duration = Duration::from_millis(10);

/// As long as it lives, a child is waited for.
#[derive(Debug)]
pub struct Awaited(());

/// Starts `command`, to be waited for. A SIGTERM that comes meanwhile goes to the child first, which would run on alone; once that has
/// ended, or when the signal comes again, it ends this process, as ever.
///
/// Ctrl-C and a terminal that is closed reach the child by themselves, as it is of the same process group.
pub fn spawn(command: &mut Command) -> io::Result<(Child, Awaited)> {
    watch(&[SIGTERM]);
    let child = command.spawn()?;
    AWAITED.store(Pid::from_child(&child).as_raw_pid(), Ordering::SeqCst);
    Ok((child, Awaited(())))
}

/// Does the same, and returns how it ended.
pub fn status(command: &mut Command) -> io::Result<ExitStatus> {
    let (mut child, _awaited) = spawn(command)?;
    child.wait()
}

/// Has `clean` called before a signal ends this process: a Ctrl-C and a closed terminal, too. To be called first.
pub fn at_end(clean: impl Fn() + Send + Sync + 'static) {
    drop(AT_END.set(Box::new(clean)));
    watch(&[SIGTERM, SIGINT, SIGHUP]);
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.store(0, Ordering::SeqCst);
        while ENDING.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

/// Watches for `signals`, once in a process; where that cannot be done, they end it as ever.
fn watch(signals: &[i32]) {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let Ok(watched) = Signals::new(signals) else {
            return;
        };
        let thread = std::thread::Builder::new();
        if thread.spawn(|| end(watched)).is_err() {
            for signal in signals {
                drop(register_conditional_default(*signal, Arc::new(true.into())));
            }
        }
    });
}

/// Waits for a signal, and ends the child and this process.
fn end(mut signals: Signals) {
    let Some(signal) = signals.forever().next() else {
        return;
    };
    ENDING.store(true, Ordering::SeqCst);
    let child = Pid::from_raw(AWAITED.load(Ordering::SeqCst));
    if let Some(child) = child.filter(|child| kill_process(*child, Signal::TERM).is_ok()) {
        let now = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let runs = || matches!(waitid(WaitId::Pid(child), now), Ok(None));
        while runs() && signals.pending().next().is_none() {
            std::thread::sleep(POLL);
        }
    }
    if let Some(clean) = AT_END.get() {
        clean();
    }
    drop(emulate_default_handler(signal));
}

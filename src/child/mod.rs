//! The program that this process waits for, and the signal that asks it to end.

use std::process::Child;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The process that is waited for; 0 for none.
static AWAITED: AtomicI32 = AtomicI32::new(0);

/// Whether a command ends by itself what a SIGTERM ends.
static ENDED: AtomicBool = AtomicBool::new(false);

/// As long as it lives, a SIGTERM to this process goes to a child.
#[derive(Debug)]
pub struct Awaited(());

/// Passes a SIGTERM that comes meanwhile on to `child`, which would run on alone; what it does then is how it ended. At any
/// other time the signal ends this process, as ever.
///
/// Ctrl-C and a terminal that is closed reach the child by themselves, as it is of the same process group.
pub fn awaited(child: &Child) -> Awaited {
    static WATCH: Once = Once::new();
    AWAITED.store(Pid::from_child(child).as_raw_pid(), Ordering::SeqCst);
    // Where no handler can be installed, the signal ends this process alone.
    WATCH.call_once(|| {
        if let Ok(signals) = Signals::new([SIGTERM]) {
            std::thread::spawn(|| pass_on(signals));
        }
    });
    Awaited(())
}

/// From now on a SIGTERM that no child is there for is the caller's to handle.
pub fn ended_by_caller() {
    ENDED.store(true, Ordering::SeqCst);
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.store(0, Ordering::SeqCst);
    }
}

fn pass_on(mut signals: Signals) {
    for signal in signals.forever() {
        let child = Pid::from_raw(AWAITED.load(Ordering::SeqCst));
        let passed = child.map(|child| kill_process(child, Signal::TERM));
        if passed.is_none() && !ENDED.load(Ordering::SeqCst) {
            drop(emulate_default_handler(signal));
        }
    }
}

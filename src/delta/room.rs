//! Memory that several share: whoever wants more than is left waits.

use std::sync::{Condvar, Mutex, PoisonError};

/// What deltas that are made or applied at once take together.
const MAX_BYTES: u64 = 256 << 20;

/// Memory that is shared, or what else there is so much of.
#[derive(Debug)]
pub struct Room {
    most: u64,
    taken: Mutex<u64>,
    left: Condvar,
}

/// A part of it, until this is dropped.
#[derive(Debug)]
pub struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Default for Room {
    fn default() -> Room {
        Room::of(MAX_BYTES)
    }
}

impl Room {
    /// Returns room for `most`.
    pub fn of(most: u64) -> Room {
        Room {
            most,
            taken: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Takes `bytes`, once there are so many left; more than there are, once nobody else has any.
    pub fn take(&self, bytes: u64) -> Taken<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u64| *taken > 0 && taken.saturating_add(bytes) > self.most;
        let taken = self.left.wait_while(taken, is_full);
        *taken.unwrap_or_else(PoisonError::into_inner) += bytes;
        Taken { room: self, bytes }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let taken = self.room.taken.lock();
        *taken.unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.room.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, Room};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Ten large files at once would take ten times as much as one.
    #[test]
    fn no_more_is_taken_than_there_is() {
        let (room, taken) = (Room::default(), AtomicU64::new(0));
        let one = |bytes: u64| {
            let _own = room.take(bytes);
            let before = taken.fetch_add(bytes, Ordering::SeqCst);
            assert!(before == 0 || before + bytes <= MAX_BYTES);
            std::thread::yield_now();
            taken.fetch_sub(bytes, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for at in 1..=40 {
                scope.spawn(move || one(MAX_BYTES * (at % 9) / 4));
            }
        });
        assert_eq!(*room.taken.lock().unwrap(), 0);
    }
}
